"""Questions asked of data and of fits, one per file."""
