"""Criteria: theta -> deviance, gradient, information."""
