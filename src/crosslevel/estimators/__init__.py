"""The models users call: façades that delegate."""
