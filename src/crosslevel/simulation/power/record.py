"""The record of a planned study: power at the simulated designs, and what follows from it."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.simulation.power.cheapest import Costs, around, best_design
from crosslevel.simulation.power.needed import needed_frame
from crosslevel.simulation.power.optimal import Optimal
from crosslevel.simulation.power.simulate import Point, Settings, Source, simulate
from crosslevel.simulation.power.surface import Surface
from crosslevel.simulation.power.targets import Target


@dataclass(frozen=True, kw_only=True, eq=False)
class Power:
    """Power, type-I error and width of intervals of planned designs.

    Attributes
    ----------
    source : what is assumed.
    targets : the effects.
    settings : how designs were simulated.
    points : the designs.
    frame : one row per target and design:

        - ``target``, ``clusters``, ``size`` (mean rows of a cluster), ``effect`` (assumed; of a component its standard
          deviation)
        - ``power`` and ``mcse``, its Monte-Carlo standard error; NaN where the effect is zero
        - ``type_i`` and ``type_i_mcse``: how often the test would reject if the effect were zero. Estimates minus true
          effects and standard errors do not depend on the effects, so that it is how often the interval of the same
          replications does not hold the truth. NaN for components that are not zero.
        - ``width`` and ``width_mcse``: mean width of the interval; NaN for components
        - ``reps``, ``converged``, ``failed`` (no fit, or no test: they are in no share), ``singular``: counts
    """

    source: Source = field(repr=False)
    targets: tuple[Target, ...]
    settings: Settings
    points: tuple[Point, ...] = field(repr=False)
    frame: pd.DataFrame = field(repr=False)

    # -- what follows -----------------------------------------------------------------------------------------------
    def needed(
        self, power: float = 0.8, by: str = "clusters", *, target: str | None = None, level: float = 0.95
    ) -> pd.DataFrame:
        """The smallest number of clusters, cluster size or effect with a power.

        Read off a smooth curve through the simulated points, power = Phi((a + b m - t) / k) with the signal m that a
        balanced design would have (proportional to the root of the clusters), see `simulation.power.surface`.

        Parameters
        ----------
        power : wanted.
        by : "clusters", "size" or "effect"; the other two stay as they were simulated.
        target : one of the targets; all if None.
        level : of the interval for Monte-Carlo error, where the band of the curve reaches the power.

        Returns
        -------
        frame : target, the two that stay, power, what is needed, conf_low, conf_high (infinite where no number is
            enough), and extrapolated: whether it lies outside of what was simulated.

        Raises
        ------
        CrosslevelError : wrong arguments; or the points say nothing about the power (all 0, or all 1).
        """
        return needed_frame(
            {one.name: self.surface(one.name) for one in self._asked(target)}, self.frame, power, by, level
        )

    def optimal(
        self,
        *,
        cost_cluster: float,
        cost_person: float,
        budget: float | None = None,
        power: float | None = None,
        target: str | None = None,
        effect: float | None = None,
    ) -> Optimal:
        """The cheapest design with a power, or the most powerful one for a budget.

        The best design by the smooth curve is looked for among all whole numbers of clusters and rows. It and designs
        with smaller and larger clusters are simulated, the curve is fitted again to these and to the points that there
        were, and the best of all by that curve is simulated once more.

        Parameters
        ----------
        cost_cluster, cost_person : of a cluster, and of a row in it, in the same currency.
        budget : what may be spent; or
        power : to be reached.
        target : one of the targets; may be left out if there is one.
        effect : its size, if several were simulated.

        Raises
        ------
        CrosslevelError : impossible costs, or nothing that can be afforded or reaches the power.
        """
        costs = Costs(cluster=cost_cluster, person=cost_person, budget=budget, power=power)
        one = self._only(target)
        size_of_effect = self._effect(one, effect)
        best = best_design(self.surface(one.name), costs, size_of_effect, self.source.least_size)
        designs = around(self.surface(one.name), costs, best, size_of_effect, self.source.least_size)
        found = self._simulated(one, designs, size_of_effect, len(self.frame))
        tried = replace(self, frame=pd.concat([self.frame, found], ignore_index=True))
        best = best_design(tried.surface(one.name), costs, size_of_effect, self.source.least_size)
        chosen = pd.DataFrame({"clusters": [best.clusters], "size": [best.size]})
        if not chosen.merge(designs).size:
            found = pd.concat([found, self._simulated(one, chosen, size_of_effect, len(tried.frame))])
        return Optimal(
            target=one.name, effect=size_of_effect, best=best, costs=costs, kind=one.shape.kind, share=one.shape.share,
            frame=found.assign(cost=costs.of(found["clusters"].to_numpy(), found["size"].to_numpy())).sort_values(
                ["size", "clusters"], ignore_index=True
            ),
        )  # fmt: skip

    def surface(self, target: str | None = None) -> Surface:
        """The smooth curve through the simulated power of a target."""
        one = self._only(target)
        own = self.frame[self.frame["target"] == one.name]
        clusters, size, effect, power = (
            own[name].to_numpy(dtype=float) for name in ("clusters", "size", "effect", "power")
        )
        tested = (own["reps"] - own["failed"]).to_numpy(dtype=float)
        return Surface.of(one.shape, clusters, size, effect, power, tested)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What deserves a second look, in words."""
        from crosslevel.simulation.power.words import notes_on

        return notes_on(self)

    def _simulated(self, target: Target, designs: pd.DataFrame, effect: float, first: int) -> pd.DataFrame:
        """Other designs, simulated as those that there are."""
        change = {} if target.component is not None else {target.name: effect}
        points = [
            Point(clusters=int(clusters), size=int(size), rows=float(size), effects=change)
            for clusters, size in designs[["clusters", "size"]].itertuples(index=False)
        ]
        return simulate(self.source, [target], points, self.settings, first=first)

    def _asked(self, name: str | None) -> tuple[Target, ...]:
        """The target of a name; all if None."""
        if name is None:
            return self.targets
        found = tuple(one for one in self.targets if one.name == name)
        if not found:
            raise CrosslevelError(
                f"`target` is one of {', '.join(repr(one.name) for one in self.targets)}; got {name!r}."
            )
        return found

    def _only(self, name: str | None) -> Target:
        """One target."""
        found = self._asked(name)
        if len(found) > 1:
            raise CrosslevelError(
                f"`target` has to be named where there are several: {', '.join(repr(one.name) for one in found)}."
            )
        return found[0]

    def _effect(self, target: Target, effect: float | None) -> float:
        """The size of an effect that was simulated."""
        own = self.frame.loc[self.frame["target"] == target.name, "effect"].unique()
        if effect is not None and target.component is None:
            return float(effect)
        if len(own) > 1:
            raise CrosslevelError(
                f"`effect` has to be given where several were simulated: {', '.join(f'{one:g}' for one in own)}."
            )
        return float(own[0])

    # -- words --------------------------------------------------------------------------------------------------------
    def document(self) -> Document:
        """Power, what is assumed, and what deserves a second look."""
        from crosslevel.simulation.power.words import power_document

        return power_document(self)

    def summary(self) -> Document:
        """The same as `document`."""
        return self.document()

    def tidy(self) -> pd.DataFrame:
        """The frame of simulated designs."""
        return self.frame

    def to_dict(self) -> dict[str, Any]:
        """Every number as plain values, ready for JSON; what has no value is None."""
        from crosslevel.simulation.power.words import recorded

        return recorded(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.document()._repr_html_()
