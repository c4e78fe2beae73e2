"""The same model in the syntax of other packages, and back."""
