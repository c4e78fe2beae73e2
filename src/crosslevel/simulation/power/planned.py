"""Processes of planned studies: they draw data, know what is true, and have the model that will be fitted."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crosslevel.simulation.processes.draws_itself import DrawsItself
from crosslevel.simulation.processes.model import Model
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.sampler import sampler_of
from crosslevel.simulation.processes.sampling import Sampler
from crosslevel.types import Method


class Planned(DrawsItself):
    """The process of one design."""

    @abstractmethod
    def model(self, method: Method) -> Model:
        """The model that is fitted to its data."""


@dataclass(frozen=True, kw_only=True)
class PlannedProcess(Planned):
    """A process that is said by a formula and numbers.

    Attributes
    ----------
    process : it.
    truth : true values of coefficients and of components, by name.
    """

    process: Process
    truth: Mapping[str, float] = field(repr=False)

    def effect(self, term: str) -> float:
        """True value of a coefficient or a component."""
        return float(self.truth[term])

    def sampler(self) -> Sampler:
        """What draws its data."""
        return sampler_of(self.process, self.formulas)

    def model(self, method: Method) -> Model:
        """The model of its formula."""
        return Model.of(self.process, self.process.formula, method=method)

    @property
    def formulas(self) -> Sequence[str]:
        """The one formula that is fitted."""
        return [self.process.formula]
