"""Whether a generalized linear mixed model could have produced its outcome: checks by simulation."""
