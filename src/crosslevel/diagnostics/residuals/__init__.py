"""Residuals of every level, and whether they are as the model says.

`record` holds residuals, `linear`, `generalized` and `ordinary` compute those of each kind of model, `tables` the parts
they share. `envelope` compares their distribution with simulations from the model, `homogeneity` their spread between
clusters and along the fitted values, `linearity` their course along each predictor.
"""
