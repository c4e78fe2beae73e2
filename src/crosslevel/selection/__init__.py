"""The search for the random-effects structure."""
