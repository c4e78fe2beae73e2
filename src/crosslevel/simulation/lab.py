"""Monte Carlo studies of estimators: `cl.lab`."""

from crosslevel.simulation.correlations import RandomCorrelation
from crosslevel.simulation.documents import failures, table
from crosslevel.simulation.drawn import Drawn
from crosslevel.simulation.estimates import Estimates, Estimator, Prepared
from crosslevel.simulation.measures import MEASURES
from crosslevel.simulation.model import Model
from crosslevel.simulation.process import Process
from crosslevel.simulation.sampler import Sampler, sampler_of
from crosslevel.simulation.sizes import Sizes
from crosslevel.simulation.stored import replications, summarise
from crosslevel.simulation.study import Study
from crosslevel.simulation.variables import Arms, Binary, Context, Normal, Skewed, StudentT, Variable

__all__ = [
    "MEASURES",
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
    "Study",
    "Variable",
    "failures",
    "replications",
    "sampler_of",
    "summarise",
    "table",
]
