"""Monte Carlo studies of estimators: `cl.lab`."""

from crosslevel.simulation.bootstraps import Bootstrap
from crosslevel.simulation.correlations import RandomCorrelation
from crosslevel.simulation.documents import failures, table
from crosslevel.simulation.drawn import Drawn
from crosslevel.simulation.estimates import Estimates, Estimator, Prepared
from crosslevel.simulation.heisig2017 import heisig2017
from crosslevel.simulation.measures import MEASURES
from crosslevel.simulation.mixed import Mixed
from crosslevel.simulation.model import Model
from crosslevel.simulation.ols import OLS
from crosslevel.simulation.ordinary import Custom
from crosslevel.simulation.process import Process
from crosslevel.simulation.published import published
from crosslevel.simulation.sampler import Sampler, sampler_of
from crosslevel.simulation.searches import Selected
from crosslevel.simulation.sizes import Sizes
from crosslevel.simulation.stored import replications, summarise
from crosslevel.simulation.study import Study
from crosslevel.simulation.two_step import TwoStep
from crosslevel.simulation.variables import Arms, Binary, Context, Normal, Skewed, StudentT, Variable

__all__ = [
    "MEASURES",
    "OLS",
    "Arms",
    "Binary",
    "Bootstrap",
    "Context",
    "Custom",
    "Drawn",
    "Estimates",
    "Estimator",
    "Mixed",
    "Model",
    "Normal",
    "Prepared",
    "Process",
    "RandomCorrelation",
    "Sampler",
    "Selected",
    "Sizes",
    "Skewed",
    "StudentT",
    "Study",
    "TwoStep",
    "Variable",
    "failures",
    "heisig2017",
    "published",
    "replications",
    "sampler_of",
    "summarise",
    "table",
]
