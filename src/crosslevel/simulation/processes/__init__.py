"""Processes that data come from, and the ways to draw their cross-products."""
