"""Covariance structures of the residuals: heteroscedasticity, autocorrelation, known standard errors."""

from crosslevel.residual.structures import AR1 as AR1
from crosslevel.residual.structures import CAR1 as CAR1
from crosslevel.residual.structures import By as By
from crosslevel.residual.structures import CompoundSymmetry as CompoundSymmetry
from crosslevel.residual.structures import Known as Known
from crosslevel.residual.structures import Power as Power
from crosslevel.residual.structures import ResidualStructure as ResidualStructure
from crosslevel.residual.structures import Unstructured as Unstructured
from crosslevel.residual.units import Levels as Levels
