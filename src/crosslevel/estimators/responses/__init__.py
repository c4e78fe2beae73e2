"""Regressions of binary, count and ordered outcomes without random effects: GLM, conditional logit, GEE."""
