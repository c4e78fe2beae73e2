"""Checks of a fitted model, one question a file: each gives a light, a sentence, and what to do."""
