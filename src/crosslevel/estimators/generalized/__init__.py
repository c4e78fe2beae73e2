"""Fitted generalized linear mixed models: what they answer, each kind of question in a module."""
