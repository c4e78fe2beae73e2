"""What is said of whole models below their coefficients: rows, clusters, shares of variance, likelihoods."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.report.tables.cells import count_cell, finite, fixed_cell
from crosslevel.report.tables.labels import Labels, clean
from crosslevel.report.tables.models import Model, is_mixed
from crosslevel.report.tables.record import Printed

Asked: TypeAlias = "str | Sequence[str] | Mapping[str, str]"

CLUSTERS = "clusters"
"""Stands for a row of each grouping factor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistic:
    """A number of a model.

    Attributes
    ----------
    label : what it is called.
    value : of a model; None where it has none.
    decimals : None for counts.
    """

    label: str
    value: Callable[[Model], float | None]
    decimals: int | None


def _attribute(name: str) -> Callable[[Model], float | None]:
    """A number of the fit that it may refuse."""

    def value(model: Model) -> float | None:
        try:
            found = getattr(model.source, name, None)
        except CrosslevelError:  # the fit says that it is not defined, and the cell stays empty
            return None
        return float(found) if isinstance(found, float | int) else None

    return value


def _icc(model: Model) -> float | None:
    """Share of all random effects together."""
    if not is_mixed(model) or not model.source.design.factors:
        return None
    try:
        return float(model.source.icc().estimate)
    except CrosslevelError:
        return None


def _r2(which: str) -> Callable[[Model], float | None]:
    """Marginal or conditional R2 of a mixed model."""

    def value(model: Model) -> float | None:
        if not is_mixed(model):
            return None
        try:
            found = model.source.r2(null=None) if isinstance(model.source, MixedFit) else model.source.r2()
            return float(getattr(found, which))
        except CrosslevelError:
            return None

    return value


STATISTICS: dict[str, Statistic] = {
    "nobs": Statistic(label="N", value=lambda model: model.entry.nobs, decimals=None),
    "icc": Statistic(label="ICC", value=_icc, decimals=3),
    "r2_marginal": Statistic(label="R² (marginal)", value=_r2("marginal"), decimals=3),
    "r2_conditional": Statistic(label="R² (conditional)", value=_r2("conditional"), decimals=3),
    "r2": Statistic(label="R²", value=_attribute("r_squared"), decimals=3),
    "adj_r2": Statistic(label="Adjusted R²", value=_attribute("adj_r_squared"), decimals=3),
    "pseudo_r2": Statistic(label="Pseudo-R²", value=_attribute("pseudo_r_squared"), decimals=3),
    "sigma": Statistic(label="Residual SD", value=_attribute("sigma"), decimals=3),
    "loglik": Statistic(label="Log-likelihood", value=_attribute("loglik"), decimals=2),
    "deviance": Statistic(label="Deviance", value=_attribute("deviance"), decimals=2),
    "aic": Statistic(label="AIC", value=_attribute("aic"), decimals=2),
    "bic": Statistic(label="BIC", value=_attribute("bic"), decimals=2),
    "qic": Statistic(label="QIC", value=_attribute("qic"), decimals=2),
    "n_params": Statistic(label="Parameters", value=_attribute("n_params"), decimals=None),
}
"""By name."""

USUAL = ("nobs", CLUSTERS, "icc", "r2_marginal", "r2_conditional", "r2", "pseudo_r2", "loglik", "aic", "bic")
"""Shown where nothing else is asked for, as far as models have them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """A row of statistics: its name and label, its values and their cells."""

    term: str
    label: str
    values: tuple[float | None, ...]
    cells: tuple[Printed | None, ...]


def statistics_rows(models: Sequence[Model], asked: Asked, labels: Labels) -> Iterator[Told]:
    """Rows of statistics that at least one model has.

    Parameters
    ----------
    models : the columns.
    asked : "auto", names, or labels by name.
    labels : of grouping factors.

    Raises
    ------
    CrosslevelError : an unknown name.
    """
    given = asked if isinstance(asked, Mapping) else {}
    names = USUAL if asked == "auto" else (asked,) if isinstance(asked, str) else tuple(asked)
    groups = list(dict.fromkeys(group for model in models for group in model.entry.ngroups))
    for name in names:
        if name == CLUSTERS:
            for group in groups:
                label = given.get(name, f"N ({labels(group)})")
                yield _row(f"clusters: {group}", label.format(group=labels(group)), models, _clusters(group), None)
        elif name.removeprefix("clusters: ") in groups:
            group = name.removeprefix("clusters: ")
            yield _row(f"clusters: {group}", given.get(name, f"N ({labels(group)})"), models, _clusters(group), None)
        else:
            statistic = _named(name, groups)
            found = _row(name, given.get(name, statistic.label), models, statistic.value, statistic.decimals)
            if asked != "auto" or any(value is not None for value in found.values):
                yield found


def _named(name: Any, groups: Sequence[str]) -> Statistic:
    """A statistic by its name."""
    if name not in STATISTICS:
        known = [*STATISTICS, CLUSTERS, *(f"clusters: {group}" for group in groups)]
        raise CrosslevelError(f"`statistics` is 'auto' or names out of {', '.join(known)}; got {name!r}.")
    return STATISTICS[name]


def _clusters(group: str) -> Callable[[Model], float | None]:
    """Levels of a grouping factor."""
    return lambda model: model.entry.ngroups.get(group)


def _row(
    term: str, label: str, models: Sequence[Model], value: Callable[[Model], float | None], decimals: int | None
) -> Told:
    """A row."""
    values = tuple(value(model) for model in models)
    cells = tuple(None if number is None or not finite(number) else _cell(number, decimals) for number in values)
    return Told(term=term, label=clean(label), values=values, cells=cells)


def _cell(number: float, decimals: int | None) -> Printed:
    """A count, or a number with that many decimals."""
    return count_cell(number) if decimals is None else fixed_cell(number, decimals)
