"""A fit and one of its predictors that is measured with error, as corrections for this look at them."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.diagnostics.coding_subject import CONSTANT
from crosslevel.diagnostics.diagnostic import AnyFit
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.formula.components import ClusterMeans, Column, Component, Rescaled
from crosslevel.inference.clusterings import clustering_named
from crosslevel.inference.two_level_normal import independent_columns
from crosslevel.types import BoolArray, CodeArray, FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Mismeasured:
    """A numeric predictor of a fit, and what else its model has.

    Attributes
    ----------
    fit : the model as it was fitted.
    variable : the data column of the predictor.
    group : name of the clusters, "" where there are none.
    codes, levels : (n,) cluster of each row used, and the J clusters.
    x : (n,) the predictor as observed.
    kinds : how it stands in the formula: "raw", "centred", "within" or "between", by expression.
    names, w, above : of the other predictors, taken apart into deviations from cluster means and these means: names,
        values (n, k) with the intercept first, and whether each is constant within clusters.
    """

    fit: AnyFit
    variable: str
    group: str
    codes: CodeArray = field(repr=False)
    levels: tuple[object, ...] = field(repr=False)
    x: FloatArray = field(repr=False)
    kinds: dict[str, str]
    names: tuple[str, ...]
    w: FloatArray = field(repr=False)
    above: BoolArray = field(repr=False)

    @classmethod
    def of(
        cls, fit: AnyFit, variable: str, group: str | None, argument: str, *, any_form: bool = False
    ) -> "Mismeasured":
        """Look at a predictor of a fit, in a form that can be corrected, or any.

        Raises
        ------
        CrosslevelError : it is no numeric predictor, or stands in the formula in a form that cannot be corrected.
        """
        design, columns = fit.design, fit.design.columns
        if not isinstance(variable, str) or variable not in fit.spec.design_variables:
            listed = ", ".join(fit.spec.design_variables)
            raise CrosslevelError(
                f"`variable` is the data column of a predictor of the model, one of {listed}; got {variable!r}."
            )
        if not columns.is_numeric(variable):
            raise CrosslevelError(
                f"`variable` is {variable!r}, a variable of categories, which are mistaken for each other rather than "
                "measured with an error that is added. Name a numeric predictor."
            )
        name = _group_of(fit, variable, group)
        x = columns.numeric(variable)
        x = x if design.mask is None else x[design.mask]
        codes, levels = _codes(design, name)
        names, w, above = _others(design, variable, name, codes)
        kinds = {} if any_form else _kinds(fit, variable, name, argument)
        found = cls(
            fit=fit, variable=variable, group=name, codes=codes, levels=levels, x=x, kinds=kinds, names=names, w=w,
            above=above,
        )  # fmt: skip
        if not found.is_context:
            return found
        kept = tuple(name for name, up in zip(names, above, strict=True) if up)
        return replace(found, names=kept, w=w[:, above], above=above[above])

    @property
    def is_context(self) -> bool:
        """Whether the predictor is constant within clusters."""
        if not self.group:
            return False
        inside = self.x - self.means(self.x)[self.codes]
        return bool(np.sum(inside**2) <= CONSTANT * np.sum(self.x**2))

    @property
    def units(self) -> FloatArray:
        """The predictor as observed, once for each row, or for each cluster where it is one of these."""
        return self.means(self.x) if self.is_context else self.x

    @property
    def sizes(self) -> FloatArray:
        """(J,) rows used of each cluster."""
        return np.bincount(self.codes, minlength=len(self.levels)).astype(np.float64)

    @property
    def rows_by_cluster(self) -> pd.Series:
        """Rows used, by cluster."""
        levels = pd.Index(self.levels, name=self.group)
        return pd.Series(self.sizes.astype(np.int64), index=levels, name="rows")

    def means(self, values: FloatArray) -> FloatArray:
        """(J,) means by cluster of values (n,)."""
        return np.asarray(np.bincount(self.codes, values, len(self.levels)) / self.sizes)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All columns of the data, as they were read."""
        columns = self.fit.design.columns
        return columns.to_pandas(columns.names)

    def with_columns(self, values: dict[str, FloatArray]) -> pd.DataFrame:
        """The data with columns of other values in the rows used, and none in the others."""
        frame, mask = self.frame.copy(deep=False), self.fit.design.mask
        for name, column in values.items():
            whole = np.full(len(frame), np.nan)
            whole[slice(None) if mask is None else mask] = column
            frame[name] = whole
        return frame


def error_variance(x: FloatArray, reliability: float | None, error_sd: float | None, *, none: bool = False) -> float:
    """Variance of the measurement error, from one of the two arguments that tell it.

    Parameters
    ----------
    x : (n,) the predictor as observed.
    reliability : share of its variance over all rows that is not error, above 0 and at most 1.
    error_sd : standard deviation of the error, in units of x.
    none : whether neither may be given, for no error.

    Raises
    ------
    CrosslevelError : both or neither is given, or impossible values.

    Examples
    --------
    >>> error_variance(np.array([-1.0, 1.0]), 0.75, None)
    0.25
    """
    if (reliability is None) == (error_sd is None):
        if none and reliability is None:
            return 0.0
        raise CrosslevelError(
            "`reliability` (the share of the predictor's variance that is not error, such as 0.8) or `error_sd` (the "
            f"standard deviation of the error) is needed, and not both; got {reliability!r} and {error_sd!r}. Take it "
            "from the documentation of the scale, or from repeated measurements."
        )
    if reliability is not None:
        if not 0.0 < reliability <= 1.0:
            raise CrosslevelError(f"`reliability` is a share above 0 and at most 1, such as 0.8; got {reliability!r}.")
        return (1.0 - float(reliability)) * float(np.var(x))
    assert error_sd is not None
    if not (error_sd >= 0.0 and np.isfinite(error_sd)):
        raise CrosslevelError(f"`error_sd` is a standard deviation, 0 or more; got {error_sd!r}.")
    return float(error_sd) ** 2


def _group_of(fit: AnyFit, variable: str, group: str | None) -> str:
    """The clusters: as asked for, of the predictor's means, or the only ones of the model.

    Raises
    ------
    CrosslevelError : there are several.
    """
    if group is not None:
        return group
    found = dict.fromkeys(
        ":".join(component.origin.group)
        for component in fit.spec.components
        if isinstance(component.origin, ClusterMeans) and variable in component.origin.argument.variables
    )
    if not found and isinstance(fit, OLSFit):
        found = dict.fromkeys(fit.clusters[:1])
    elif not found:
        found = dict.fromkeys(factor.name for factor in fit.design.factors)
    if len(found) > 1:
        raise CrosslevelError(
            f"`group` is needed: the model has several groupings, {', '.join(found)}. Name the clusters whose means of "
            f"{variable} count, as in group={next(iter(found))!r}."
        )
    return next(iter(found), "")


def _codes(design: Design, group: str) -> tuple[CodeArray, tuple[object, ...]]:
    """Cluster (n,) of each row used, numbered over those that have rows, and the clusters."""
    if not group:
        return np.zeros(design.rows.used, dtype=np.int32), ("all",)
    clusters = clustering_named(design, group)
    used, codes = np.unique(clusters.codes, return_inverse=True)
    return codes.astype(np.int32), tuple(clusters.levels[int(k)] for k in used)


def _others(
    design: Design, variable: str, group: str, codes: CodeArray
) -> tuple[tuple[str, ...], FloatArray, BoolArray]:
    """Names, values and levels of the other predictors; the intercept first, redundant columns left out."""
    chosen = [int(j) for j in design.x if variable not in design.spec.columns[j].variables]
    values = design.spec.evaluate(design.columns, mask=design.mask)
    size = np.bincount(codes)
    found: list[tuple[str, FloatArray, bool]] = [("Intercept", np.ones(len(codes)), True)]
    for j in chosen:
        name, column = design.spec.columns[j].name, values[j]
        mean = (np.bincount(codes, column) / size)[codes]
        inside = column - mean
        if not group or np.sum(inside**2) <= CONSTANT * np.sum(column**2):
            found.append((name, column, bool(group)))
            continue
        flat = np.sum((mean - mean.mean()) ** 2) <= CONSTANT * np.sum(inside**2)
        found.append((name if flat else f"within({name}, {group})", inside, False))
        if not flat:
            found.append((f"between({name}, {group})", mean, True))
    w = np.column_stack([column for _, column, _ in found])
    kept = independent_columns(w)
    return tuple(found[k][0] for k in kept), w[:, kept], np.array([found[k][2] for k in kept])


def _kinds(fit: AnyFit, variable: str, group: str, argument: str) -> dict[str, str]:
    """How the predictor stands in the formula, by expression.

    Raises
    ------
    CrosslevelError : in a form that is not linear in it, or in products with itself.
    """
    kinds = {}
    for component in fit.spec.components:
        if variable in component.variables:
            kind = _kind(component, variable, group)
            if kind is None:
                raise CrosslevelError(
                    f"{argument} corrects predictors that stand in the formula as {variable}, center({variable}), "
                    f"within({variable}, {group or 'g'}) or between({variable}, {group or 'g'}); this one has "
                    f"{component.text}. Use cl.measurement_error(..., method='simex'), which needs no such form."
                )
            kinds[component.text] = kind
    for j in fit.design.x:
        column = fit.spec.columns[j]
        if sum(factor in kinds for factor in column.factors) > 1:
            raise CrosslevelError(
                f"{argument} needs a model that is linear in {variable}; this one has {column.name}. Use "
                "cl.measurement_error(..., method='simex')."
            )
    return kinds


def _kind(component: Component, variable: str, group: str) -> str | None:
    """How a component is made of the predictor; None for what is none of the forms."""
    origin = component.origin
    if isinstance(origin, Column):
        return "raw"
    if isinstance(origin, Rescaled) and origin.spread == 1.0 and isinstance(origin.argument.origin, Column):
        return "centred"
    if isinstance(origin, ClusterMeans) and isinstance(origin.argument.origin, Column):
        same = origin.argument.origin.variable == variable and ":".join(origin.group) == group
        return origin.kind if same else None
    return None
