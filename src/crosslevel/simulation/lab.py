"""Monte Carlo studies of estimators: `cl.lab`."""

from crosslevel.simulation.estimators.bootstraps import Bootstrap
from crosslevel.simulation.estimators.estimates import Estimates, Estimator, Prepared
from crosslevel.simulation.estimators.mixed import Mixed
from crosslevel.simulation.estimators.ols import OLS
from crosslevel.simulation.estimators.ordinary import Custom
from crosslevel.simulation.estimators.searches import Selected
from crosslevel.simulation.estimators.two_step import TwoStep
from crosslevel.simulation.processes.correlations import RandomCorrelation
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.model import Model
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.sampler import Sampler, sampler_of
from crosslevel.simulation.processes.sizes import Sizes
from crosslevel.simulation.processes.variables import Arms, Binary, Context, Normal, Skewed, StudentT, Variable
from crosslevel.simulation.published.heisig2017 import heisig2017
from crosslevel.simulation.published.numbers import published
from crosslevel.simulation.studies.documents import failures, table
from crosslevel.simulation.studies.measures import MEASURES
from crosslevel.simulation.studies.stored import replications, summarise
from crosslevel.simulation.studies.study import Study

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
