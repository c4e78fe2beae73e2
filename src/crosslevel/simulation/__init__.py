"""Monte Carlo studies: processes that data come from, estimators, what is measured, and how large a study must be."""
