"""Estimators of panel data: within, between, first differences, random effects, instruments."""
