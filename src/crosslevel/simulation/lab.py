"""Monte Carlo studies of estimators: `cl.lab`."""

from crosslevel.simulation.estimates import Estimates, Estimator, Prepared

__all__ = [
    "Estimates",
    "Estimator",
    "Prepared",
]
