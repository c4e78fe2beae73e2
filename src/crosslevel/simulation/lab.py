"""Monte Carlo studies of estimators: `cl.lab`."""

from crosslevel.simulation.correlations import RandomCorrelation
from crosslevel.simulation.drawn import Drawn
from crosslevel.simulation.estimates import Estimates, Estimator, Prepared
from crosslevel.simulation.model import Model
from crosslevel.simulation.process import Process
from crosslevel.simulation.sampler import Sampler, sampler_of
from crosslevel.simulation.sizes import Sizes
from crosslevel.simulation.variables import Arms, Binary, Context, Normal, Skewed, StudentT, Variable

__all__ = [
    "Arms",
    "Binary",
    "Context",
    "Drawn",
    "Estimates",
    "Estimator",
    "Model",
    "Normal",
    "Prepared",
    "Process",
    "RandomCorrelation",
    "Sampler",
    "Sizes",
    "Skewed",
    "StudentT",
    "Variable",
    "sampler_of",
]
