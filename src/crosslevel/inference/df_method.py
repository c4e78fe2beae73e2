"""What a method of testing fixed effects has to say."""

from abc import ABC, abstractmethod

from crosslevel.inference.estimates import Estimates, Joint, Single
from crosslevel.types import FloatArray


class DfMethod(ABC):
    """One way of testing linear combinations C beta of the fixed coefficients."""

    name: str
    """Its name in arguments."""
    description: str
    """What it is, for the line under a table."""

    @abstractmethod
    def single(self, estimates: Estimates, contrasts: FloatArray) -> Single:
        """Standard error and degrees of freedom of each row of C (m, p); NaN degrees where there are none left.

        Raises
        ------
        CrosslevelError : the method is not defined for this model; the message says why, and what to do.
        """

    @abstractmethod
    def joint(self, estimates: Estimates, contrasts: FloatArray) -> Joint:
        """F test that C beta = 0 for linearly independent rows of C (r, p).

        Raises
        ------
        CrosslevelError : the method is not defined for this model; the message says why, and what to do.
        """
