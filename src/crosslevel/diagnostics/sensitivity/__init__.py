"""How much results depend on choices of the analysis, on error in predictors, on missing rows, and on clusters."""
