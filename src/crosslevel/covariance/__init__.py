"""Covariance structures of random effects: how parameters theta make the relative factor Lambda.

A structure says, for a block of q random effects, how many parameters it has, what Lambda (q, q) they make, and which
parameters come nearest to a given covariance. Variances, correlations, singularity and printing all derive from
Lambda: the covariance of the random effects is sigma^2 Lambda Lambda'.

To add a structure: one final class in this package, and its entry in `COVARIANCES`, or in `KNOWN` if it carries a
matrix. Its spelling in formulas is its key.
"""

from collections.abc import Callable

from crosslevel.covariance.base import Covariance as Covariance
from crosslevel.covariance.blocks import BlockStructure as BlockStructure
from crosslevel.covariance.independent import Diagonal, Unstructured
from crosslevel.covariance.known import Fixed, Proportional
from crosslevel.covariance.tied import Autoregressive, CompoundSymmetry, HeterogeneousAR1, HeterogeneousCS
from crosslevel.types import FloatArray

COVARIANCES: dict[str, Covariance] = {
    "us": Unstructured(),
    "diag": Diagonal(),
    "cs": CompoundSymmetry(),
    "ar1": Autoregressive(),
    "hcs": HeterogeneousCS(),
    "har1": HeterogeneousAR1(),
}
"""Structures by the name they have in formulas."""

KNOWN: dict[str, Callable[[FloatArray], Covariance]] = {"propto": Proportional, "equalto": Fixed}
"""Structures that are made of a known matrix (q, q)."""
