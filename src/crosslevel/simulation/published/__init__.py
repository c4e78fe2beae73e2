"""Published Monte Carlo studies."""
