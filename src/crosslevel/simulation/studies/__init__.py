"""Studies: conditions, replications in batches and files, and what is measured."""
