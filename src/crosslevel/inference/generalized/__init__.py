"""What generalized linear mixed models mean: averages over random effects, shares of variance, ratios of odds."""
