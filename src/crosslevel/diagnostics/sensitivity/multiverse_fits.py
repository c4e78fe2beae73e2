"""Fits of many specifications; those that differ in controls alone share one pass over the rows."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.diagnostics.coding_subject import CONSTANT
from crosslevel.diagnostics.sensitivity.alternatives import Alternatives
from crosslevel.errors import ConvergenceWarning, CrosslevelError, DataWarning, MemoryShortageError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed import fit_design, mixed
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols import fit_ordinary, ols
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.estimators.panel.fixed_effects import fixed_effects
from crosslevel.formula import parse
from crosslevel.formula.rewriting import composed
from crosslevel.inference.clusterings import clustering_named
from crosslevel.types import BoolArray, Frame

REGRESSIONS = ("ols", "fixed effects")
"""Estimators without random effects."""

NONE = "none"
"""The random part of these."""

Fitted: TypeAlias = Any
"""A fit that has a coefficient table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Specification:
    """One combination of choices, and what came of it.

    Attributes
    ----------
    chosen : by choice.
    formula : of the model.
    table : its coefficient table; None if it was not fitted.
    nobs, n_clusters : rows and clusters; 0 if it was not fitted.
    problem : why it was not fitted, or what is wrong with it; "" if nothing.
    """

    chosen: Mapping[str, str]
    formula: str
    table: pd.DataFrame | None = field(repr=False)
    nobs: int
    n_clusters: int
    problem: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitter:
    """Fits the combinations of alternatives.

    Attributes
    ----------
    alternatives : the choices.
    frame : the data.
    group : clusters of regressions without random effects; "" for none.
    estimator : of the model as given.
    given : other arguments of its call.
    level : confidence level.
    shares : whether all combinations have the same rows, so that controls are parts of one model.
    """

    alternatives: Alternatives
    frame: pd.DataFrame = field(repr=False)
    group: str
    estimator: str
    given: Mapping[str, Any]
    level: float
    shares: bool
    shared: dict[tuple[str, ...], Fitted | None] = field(default_factory=dict, repr=False)
    """The fit with all controls by whatever else is chosen; None where its parts are no fits of their own."""

    def different(self) -> tuple[dict[str, str], ...]:
        """The combinations that differ: regressions have no random effects to choose, and products need their parts."""
        found: dict[tuple[str, ...], dict[str, str]] = {}
        random = {choice.name for choice in self.alternatives.of_kind("random")}
        for chosen in map(self.alternatives.settled, self.alternatives.combinations()):
            how = self.estimator_of(chosen)
            if how in REGRESSIONS:
                chosen = {name: NONE if name in random else option for name, option in chosen.items()}
            estimator = {choice.name: how for choice in self.alternatives.of_kind("estimator")}
            chosen = {**chosen, **estimator}
            found.setdefault(tuple(chosen.values()), chosen)
        return tuple(found.values())

    def estimator_of(self, chosen: Mapping[str, str]) -> str:
        """The estimator of a combination: without random effects a regression."""
        asked = str(self.alternatives.option("estimator", chosen) or self.estimator)
        random = self.alternatives.option("random", chosen)
        effects = bool(self.alternatives.formula.random) if random is None else bool(random)
        return "ols" if asked in ("reml", "ml") and not effects and not self.has_family else asked

    @property
    def has_family(self) -> bool:
        """Whether the outcome has another family than the normal one."""
        return str(self.given.get("family", "gaussian")) != "gaussian"

    def fit(self, chosen: Mapping[str, str]) -> Specification:
        """Fit one combination; where that is not possible the result says why."""
        formula = self.written(chosen)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                fit = self._part(chosen, formula) or self._whole(chosen, formula)
                table = fit.tidy(level=self.level)
            except MemoryShortageError:
                raise
            except (CrosslevelError, np.linalg.LinAlgError) as error:
                return Specification(
                    chosen=chosen, formula=formula, table=None, nobs=0, n_clusters=0, problem=str(error)
                )
        words = [str(each.message) for each in caught if issubclass(each.category, ConvergenceWarning | DataWarning)]
        clusters = next(iter(fit.ngroups.values()), 0)
        return Specification(
            chosen=chosen, formula=fit.formula, table=table, nobs=int(fit.nobs), n_clusters=int(clusters),
            problem=" ".join(dict.fromkeys(words)),
        )  # fmt: skip

    def written(self, chosen: Mapping[str, str], *, controls: bool = False) -> str:
        """The formula of a combination; a regression has no random part."""
        formula = self.alternatives.written(chosen, controls=controls)
        return without_random(formula) if self.estimator_of(chosen) in REGRESSIONS else formula

    def _whole(self, chosen: Mapping[str, str], formula: str) -> Fitted:
        """The fit of a formula from the rows."""
        rows: BoolArray | None = self.alternatives.option("rows", chosen)
        data: Frame = self.frame if rows is None else self.frame[rows]
        how = self.estimator_of(chosen)
        if how in REGRESSIONS:
            arguments = {key: self.given[key] for key in ("weights", "offset") if self.given.get(key) is not None}
            vcov = self.given.get("vcov") if self.estimator == "ols" else None
            pooled = ols(formula, data, cluster=self.group or None, vcov=vcov, **arguments)
            return pooled if how == "ols" else self._within(pooled)
        given = {key: value for key, value in self.given.items() if key not in ("cluster", "vcov")}
        if not self.has_family:
            given["method"] = how
        return mixed(formula, data, **{**given, "progress": False})

    def _within(self, pooled: OLSFit) -> Fitted:
        """Fixed effects of the clusters, without the terms that are constant within them.

        Raises
        ------
        CrosslevelError : there are no clusters, weights or an offset, or no term varies within clusters.
        """
        if not self.group or self.given.get("weights") is not None or self.given.get("offset") is not None:
            lacks = "weights or an offset, which it does not take" if self.group else "no clusters: name `group`"
            raise CrosslevelError(f"The estimator 'fixed effects' is not for this model: it has {lacks}.")
        formula = without_constant_terms(pooled, self.group)
        return fixed_effects(formula, pooled.data, group=self.group)

    # -- parts of a larger model ----------------------------------------------------------------------------------
    def _part(self, chosen: Mapping[str, str], formula: str) -> Fitted | None:
        """The fit from the cross-products of the same model with all controls; None if these do not serve."""
        if not self.shares or not self.alternatives.of_kind("control"):
            return None
        controls = {choice.name for choice in self.alternatives.of_kind("control")}
        key = tuple(option for name, option in chosen.items() if name not in controls)
        if key not in self.shared:
            self.shared[key] = self._with_all_controls(chosen)
        whole = self.shared[key]
        if whole is None:
            return None
        design = without_terms(whole.design, self.alternatives.left_out(chosen))
        if isinstance(whole, OLSFit):
            kind = whole.covariance.name
            return fit_ordinary(formula, whole.data, whole.given, design, whole.clusters, kind)
        return fit_design(formula, whole.data, whole.given, design)

    def _with_all_controls(self, chosen: Mapping[str, str]) -> Fitted | None:
        """The linear model with all controls, if smaller ones are made of its cross-products."""
        formula = self.written(chosen, controls=True)
        try:
            fit = self._whole(chosen, formula)
        except CrosslevelError:
            return None
        if isinstance(fit, GeneralizedFit) or not isinstance(fit, MixedFit | OLSFit):
            return None
        design = fit.design
        bound = design.residual is not None or design.aliased or not design.spec.has_intercept
        if bound or (isinstance(fit, MixedFit) and not design.is_single):
            return None
        return fit


def without_terms(design: Design, out: tuple[frozenset[str], ...]) -> Design:
    """The design of the model without some terms and all products with them, by the texts of their expressions."""
    texts = {name: component.text for component in design.spec.components for name in component.names}

    def stays(j: int) -> bool:
        own = {texts[factor] for factor in design.spec.columns[j].factors}
        return not any(gone <= own for gone in out)

    kept = np.array([int(j) for j in design.x if stays(int(j))], dtype=design.x.dtype)
    return replace(design, x=kept)


def without_random(formula: str) -> str:
    """A formula's outcome and fixed part.

    Examples
    --------
    >>> without_random("y ~ x + z + (1 + x | g)")
    'y ~ x + z'
    """
    parsed = parse(formula)
    return composed(parsed, parsed.fixed_terms, [], {}) if parsed.random else formula


def without_constant_terms(fit: OLSFit, group: str) -> str:
    """The formula of a regression without the terms that do not vary within clusters.

    Raises
    ------
    CrosslevelError : none varies.
    """
    spec, design = fit.spec, fit.design
    values, clusters = spec.evaluate(design.columns, mask=design.mask), clustering_named(design, group)
    size = np.maximum(np.bincount(clusters.codes, minlength=clusters.n_clusters), 1)
    texts = {name: component.text for component in spec.components for name in component.names}
    varying = set()
    for column, row in zip(spec.columns[: spec.n_fixed], values, strict=False):
        inside = row - (np.bincount(clusters.codes, row, clusters.n_clusters) / size)[clusters.codes]
        if np.sum(inside**2) > CONSTANT * np.sum(row**2):
            varying.add(frozenset(texts[factor] for factor in column.factors))
    parsed = spec.formula
    kept = [t for t in parsed.fixed_terms if not t.expressions or frozenset(e.text for e in t.expressions) in varying]
    if not any(term.expressions for term in kept):
        raise CrosslevelError(f"No predictor varies within {group}, so that there is nothing for fixed effects to say.")
    return composed(parsed, tuple(kept), [], {})
