"""The analysis of context effects on binary, count, ordered and other outcomes."""
