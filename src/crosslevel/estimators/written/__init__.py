"""A fitted model written down as equations."""
