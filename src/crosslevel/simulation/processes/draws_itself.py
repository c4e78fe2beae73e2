"""Processes other than `Process`: they know true values, and how to draw their data."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crosslevel.simulation.processes.sampling import Sampler


class DrawsItself(ABC):
    """A process that brings its own sampler, such as new outcomes for the clusters of fitted data."""

    @abstractmethod
    def effect(self, term: str) -> float:
        """True value of what is estimated."""

    @abstractmethod
    def sampler(self) -> "Sampler":
        """What draws its data, for whatever formulas."""
