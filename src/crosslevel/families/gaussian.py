"""The Gaussian working family: one step of a quasi-likelihood search as an exact linear model."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import stats

from crosslevel.families.base import Family, refuse
from crosslevel.kernels import responses
from crosslevel.types import FloatArray


@dataclass(frozen=True)
class GaussianWorking(Family):
    """Outcomes with mean eta and the known variance 1 / size, for the linearised models of PQL and MQL.

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import GaussianWorking
    >>> GaussianWorking().mean(np.zeros(1))
    array([0.])
    """

    kind: ClassVar[str] = "measured"

    @property
    def name(self) -> str:
        """Its name in `family=`."""
        return "gaussian working"

    @property
    def link(self) -> str:
        """The identity."""
        return "identity"

    @property
    def code(self) -> int:
        """Its number in `kernels.responses`."""
        return responses.GAUSSIAN

    @property
    def log_concave(self) -> bool:
        """True."""
        return True

    @property
    def description(self) -> str:
        """The family in words."""
        return "Gaussian with known precisions, identity link"

    def outcome_mean(self, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Eta itself; the size is a precision here."""
        return eta

    def variance(self, mu: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """1 / size."""
        return 1.0 / size

    def draw(self, rng: np.random.Generator, eta: FloatArray, size: FloatArray, shape: FloatArray) -> FloatArray:
        """Draw outcomes (n,)."""
        return eta + rng.standard_normal(len(eta)) / np.sqrt(size)

    def cdf(self, y: FloatArray, eta: FloatArray, size: FloatArray, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """P(Y <= y), twice."""
        below = stats.norm.cdf((y - eta) * np.sqrt(size))
        return below, below

    def check_outcome(self, y: FloatArray, size: FloatArray, name: str) -> None:
        """Finite numbers."""
        refuse(
            ~np.isfinite(y), y, name=name, needed="a finite number",
            advice="Drop these rows or mark them as missing.",
        )  # fmt: skip

    def start(self, y: FloatArray, size: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The outcome itself."""
        return y, np.zeros(0)
