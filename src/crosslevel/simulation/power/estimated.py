"""What a fitted model says about a planned study: its estimates, its predictors, its clusters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.display import counted, number
from crosslevel.errors import CrosslevelError
from crosslevel.simulation.power.fitted import Clusters, FittedProcess
from crosslevel.simulation.power.planned import Planned
from crosslevel.simulation.processes.amounts import is_number
from crosslevel.table import Columns
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimated:
    """Values for everything that a model leaves open, from a fit.

    Attributes
    ----------
    formula : the model.
    group : name of the clusters.
    effects : every coefficient: estimates, or what was put in their place.
    changed : names of the effects and standard deviations that are no estimates.
    sd, sigma : standard deviations of the random effects and of the residuals.
    root : (q, r) C with C C' the covariance of the random effects.
    data : the clusters of the data.
    design : of the fit, without its rows.
    given : arguments of the fit.
    """

    formula: str
    group: str
    effects: Mapping[str, float]
    changed: tuple[str, ...]
    sd: Mapping[str, float]
    sigma: float
    root: FloatArray = field(repr=False)
    data: Clusters = field(repr=False)
    design: Design = field(repr=False)
    given: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(
        cls, fit: "MixedFit", *, effects: Mapping[str, float], sd: Mapping[str, float], sigma: float | None
    ) -> "Estimated":
        """Take over the estimates of a fit.

        Parameters
        ----------
        fit : a two-level model.
        effects, sd, sigma : what replaces estimates.

        Raises
        ------
        CrosslevelError : the fit is not of such a kind that clusters can be repeated; unknown names.
        """
        _refuse_others(fit)
        _check_amounts(sd, sigma)
        design, names = fit.design, fit.design.random_names
        own = {str(name): float(value) for name, value in fit.params.items()}
        _refuse_unknown("effects", effects, list(own))
        _refuse_unknown("sd", sd, names)
        root, spread = _changed_root(fit.sigma * fit.solution.factors[0], names, sd)
        return cls(
            formula=fit.formula, group=fit.group, effects={**own, **effects},
            changed=(*effects, *(f"sd({name})" for name in sd), *(["sigma"] if sigma is not None else [])),
            sd=spread, sigma=fit.sigma if sigma is None else float(sigma), root=root,
            data=Clusters.of(design.products), design=without_rows(design),
            given={**fit.given, "progress": False, "weights": None, "ddf": "auto"},
        )  # fmt: skip

    @property
    def response(self) -> str:
        """Name of the outcome."""
        return self.design.products.names[-1]

    @cached_property
    def mean_size(self) -> float:
        """Rows of an average cluster of the data."""
        return float(self.data.count.mean())

    @property
    def least_size(self) -> int:
        """Fewest rows of a cluster that can be planned: its predictors' variances within it need them."""
        return max(2, int(self.data.rank.max()) + 1)

    def planned(self, clusters: int, size: object, effects: Mapping[str, float]) -> Planned:
        """The process of one design.

        Raises
        ------
        CrosslevelError : `size` is no number of rows.
        """
        if size is not None and (isinstance(size, bool) or not isinstance(size, int | np.integer)):
            raise CrosslevelError(
                "`size` beside a fitted model is a number of rows for every cluster, or None for those of the data; "
                f"got {size!r}."
            )
        own = {**self.effects, **effects}
        names, coefficients = self.data.names, np.zeros(len(self.data.names))
        for name, value in own.items():
            coefficients[names.index(name)] = value
        truth = {**own, **{f"sd({name}|{self.group})": value for name, value in self.sd.items()}}
        return FittedProcess(
            data=self.data, response=self.response, coefficients=coefficients, z=self.design.z, root=self.root,
            sigma=self.sigma, effects=truth, clusters=clusters, size=None if size is None else int(size),
            formula=self.formula, design=self.design, given=self.given,
        )  # fmt: skip

    @property
    def words(self) -> Iterator[tuple[str, str]]:
        """What is assumed, as names and values."""
        yield "Effects", ", ".join(f"{name} {value:.4g}" for name, value in self.effects.items())
        yield f"SD between {self.group}", ", ".join(f"{name} {value:.4g}" for name, value in self.sd.items())
        yield "Residual SD", number(self.sigma)
        yield "Not estimated", ", ".join(self.changed) or "nothing: all values are the estimates of the fit"
        rows = f"{counted(float(self.data.count.sum()))} rows in {counted(len(self.data))} clusters of {self.group}"
        yield "Predictors", f"as in the data ({rows}), cluster by cluster; chance decides which are repeated once more"


def without_rows(design: Design) -> Design:
    """A design that has forgotten its rows: its data are one row of zeros, so that workers need not be sent more."""
    factor, nothing = design.factors[0], pd.DataFrame({name: [0.0] for name in design.spec.variables})
    return replace(
        design, columns=Columns.from_frame(nothing), mask=None, response=None, stream=None,
        factors=(replace(factor, given=np.zeros(1, dtype=np.int32)),),
    )  # fmt: skip


def _changed_root(
    root: FloatArray, names: tuple[str, ...], sd: Mapping[str, float]
) -> tuple[FloatArray, dict[str, float]]:
    """Factor (q, q + q) of the covariance with other standard deviations, correlations as they are; and these.

    An effect without variance in the fit is independent of the others.
    """
    q = len(names)
    out = np.concatenate([root, np.zeros((q, q))], axis=1)
    spread = np.sqrt(np.sum(root**2, axis=1))
    for k, name in enumerate(names):
        if name not in sd:
            continue
        if spread[k] > 0.0:
            out[k] *= sd[name] / spread[k]
        else:
            out[k, q + k] = sd[name]
    out = out[:, np.any(out != 0.0, axis=0)]
    return out, dict(zip(names, np.sqrt(np.sum(out**2, axis=1)).tolist(), strict=True))


def _check_amounts(sd: object, sigma: object) -> None:
    """Refuse what are no standard deviations."""
    if not isinstance(sd, Mapping):
        raise CrosslevelError(f"`sd` maps names of random effects to numbers, as in {{'x': .2}}; got {sd!r}.")
    for name, value in sd.items():
        if not is_number(value) or value < 0.0:
            raise CrosslevelError(f"`sd` of {name!r} is a standard deviation, a number of at least 0; got {value!r}.")
    if sigma is not None and not (is_number(sigma) and sigma > 0.0):  # type: ignore[operator]
        raise CrosslevelError(f"`sigma` is the residual standard deviation, a number above 0; got {sigma!r}.")


def _refuse_unknown(argument: str, given: Mapping[str, float], names: Any) -> None:
    unknown = [name for name in given if name not in names]
    if unknown:
        raise CrosslevelError(
            f"`{argument}` names {', '.join(map(repr, unknown))}, which the fit does not have. It has: "
            f"{', '.join(names)}."
        )


def _refuse_others(fit: "MixedFit") -> None:
    """Refuse fits whose clusters cannot be repeated.

    Raises
    ------
    CrosslevelError : several or no grouping factors, weights, offsets, structures of residuals, known covariances.
    """
    design = fit.design
    why = None
    if not design.is_single:
        why = "it has no or several grouping factors, and clusters are repeated one by one"
    elif design.weights is not None:
        why = "its rows have weights, and power is about rows that count alike"
    elif design.offset is not None:
        why = "it has an offset, which differs from row to row"
    elif design.residual is not None:
        why = "its residuals have a covariance structure, which cross-products do not carry"
    elif design.structure.fixed.any():
        why = "covariances of its random effects are known numbers"
    if why is not None:
        raise CrosslevelError(
            f"`power` cannot start from this fit: {why}. Fit a two-level model without these, or give a formula and "
            "assumed values."
        )
