"""Estimators of studies: what is made of simulated data, a batch of replications at a time."""
