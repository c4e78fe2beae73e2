"""What is done with clustered data instead of a multilevel model, from the cross-products of that model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.design import Design
from crosslevel.design.submodel import with_effects
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols import fit_ordinary
from crosslevel.estimators.panel.between import BetweenDetails
from crosslevel.estimators.panel.fit import PanelDetails, PanelFit
from crosslevel.estimators.panel.fixed_effects import within_details
from crosslevel.estimators.regression import Regression
from crosslevel.inference.cluster_means import differs_between
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.panel.between import between_regression
from crosslevel.inference.panel.estimates import PanelEstimates
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.regression import PanelRegression
from crosslevel.inference.separate import SeparateRegressions, separate_regressions
from crosslevel.inference.workarounds import Role, means_of, means_of_fixed, roles_within


@dataclass(frozen=True, kw_only=True, eq=False)
class Approach:
    """One way to deal with clusters.

    Attributes
    ----------
    name : "multilevel", "disaggregated", "aggregated", "dummies", "dummies x predictors" or "separate".
    estimates : (estimate, standard error) by term.
    reasons : why a term has none, in words.
    coefficients, variances : numbers that are estimated.
    units : rows or means that are compared.
    clusters : clusters that contribute.
    fit : the fit, if it is one regression.
    separate : the clusters' regressions, if there are such.
    """

    name: str
    estimates: Mapping[str, tuple[float, float]]
    reasons: Mapping[str, str]
    coefficients: int
    variances: int
    units: int
    clusters: int
    fit: Regression | MixedFit | None = field(default=None, repr=False)
    separate: SeparateRegressions | None = field(default=None, repr=False)

    @property
    def is_possible(self) -> bool:
        """Whether anything can be estimated."""
        return bool(self.estimates)


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A multilevel model with one grouping factor, and what the workarounds make of it.

    Attributes
    ----------
    fit : the multilevel model.
    design : that of the model without its random effects.
    roles : of its columns.
    """

    fit: MixedFit = field(repr=False)
    design: Design = field(repr=False)
    roles: tuple[Role, ...]

    @classmethod
    def of(cls, fit: MixedFit) -> "Source":
        """Of a fitted model."""
        design = fit.design
        roles = roles_within(design.products, [int(j) for j in design.x], design.constant)
        return cls(fit=fit, design=with_effects(design, ((),)), roles=roles)

    @property
    def group(self) -> str:
        """Name of the clusters."""
        return self.fit.design.group

    @property
    def n_clusters(self) -> int:
        """J."""
        return len(self.fit.design.products.levels)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return self.fit.design.fixed_names

    def panel(self, columns: list[int]) -> Panel:
        """The rows in their clusters, with some of the columns."""
        design, factor = self.fit.design, self.fit.design.factors[0]
        groups = Clustering(name=factor.name, levels=factor.levels, codes=design.used_codes(factor))
        chosen = replace(self.design, x=np.array(columns, dtype=np.int64), aliased=())
        return Panel(design=chosen, groups=groups, times=None, products=design.products)

    def formula(self, columns: list[int]) -> str:
        """A formula of some of the columns, without random terms."""
        names = (self.design.products.names[j] for j in columns)
        fixed = " + ".join("1" if name == "Intercept" else name for name in names)
        return f"{self.fit.formula.split('~')[0].strip()} ~ {fixed}"

    def impossible(self, name: str, reason: str) -> Approach:
        """An approach that estimates nothing."""
        return Approach(
            name=name,
            estimates={},
            reasons=dict.fromkeys(self.terms, reason),
            coefficients=0,
            variances=0,
            units=0,
            clusters=0,
        )


def multilevel(source: Source) -> Approach:
    """The multilevel model itself."""
    fit = source.fit
    return Approach(
        name="multilevel", estimates=_table(fit), reasons={}, coefficients=len(source.terms),
        variances=fit.n_params - len(source.terms), units=fit.nobs, clusters=source.n_clusters, fit=fit,
    )  # fmt: skip


def disaggregated(source: Source) -> Approach:
    """Ordinary regression of all rows, which takes them to be independent."""
    design = source.design
    given = {"cluster": None, "vcov": "iid", "weights": None, "offset": None, "missing": source.fit.given["missing"]}
    fit = fit_ordinary(source.formula(list(design.x)), source.fit.data, given, design, (), "iid")
    return Approach(
        name="disaggregated", estimates=_table(fit), reasons={}, coefficients=len(fit.terms), variances=1,
        units=fit.nobs, clusters=source.n_clusters, fit=fit,
    )  # fmt: skip


def aggregated(source: Source) -> Approach:
    """Ordinary regression of the clusters' means: one row for each cluster."""
    x = [int(j) for j in source.design.x]
    differs = differs_between(source.fit.design.products, x)
    same = f"its mean is the same in every cluster of {source.group}"
    reasons = {
        term: same for term, differ in zip(source.terms, differs, strict=True) if not differ and term != "Intercept"
    }
    columns = [j for j, term in zip(x, source.terms, strict=True) if term not in reasons]
    panel = source.panel(columns)
    try:
        regression, aliased = between_regression(panel)
    except CrosslevelError:
        count = f"{source.n_clusters} means for {len(columns)} coefficients leave no degrees of freedom"
        return source.impossible("aggregated", count)
    details = BetweenDetails(panel=panel, regression=regression, weighted=False, aliased=aliased)
    fit = _panel_fit(source, panel, details, regression)
    reasons |= dict.fromkeys(aliased, "the means of other predictors determine its mean")
    return Approach(
        name="aggregated", estimates=_table(fit), reasons=reasons, coefficients=len(fit.terms), variances=1,
        units=source.n_clusters, clusters=source.n_clusters, fit=fit,
    )  # fmt: skip


def dummies(source: Source) -> Approach:
    """A dummy for each cluster: the comparison of rows within clusters."""
    reasons = {"Intercept": f"each cluster of {source.group} has its own"}
    columns = []
    for place, (term, role) in enumerate(zip(source.terms, source.roles, strict=True)):
        if role == "context":
            reasons[term] = f"constant within clusters of {source.group}: their dummies take it up"
        elif term != "Intercept":
            columns.append(int(source.design.x[place]))
    if not columns:
        return source.impossible("dummies", f"no predictor varies within clusters of {source.group}")
    panel = source.panel([*([source.design.constant] if "Intercept" in source.terms else []), *columns])
    try:
        details = within_details(panel)
    except CrosslevelError:
        return source.impossible("dummies", f"nothing varies within clusters of {source.group}")
    fit = _panel_fit(source, panel, details, details.regression)
    determined = f"other predictors determine it within clusters of {source.group}"
    return Approach(
        name="dummies", estimates=_table(fit), reasons={**dict.fromkeys(details.aliased, determined), **reasons},
        coefficients=len(fit.terms) + source.n_clusters, variances=1, units=source.fit.nobs,
        clusters=source.n_clusters, fit=fit,
    )  # fmt: skip


def clusters_alone(source: Source, *, pooled: bool) -> Approach:
    """Coefficients of its own for each cluster, and their means over the clusters in which all can be estimated.

    Parameters
    ----------
    source : the model.
    pooled : whether clusters share their residual variance, as in one regression with dummies times predictors, where
        the coefficients are fixed numbers of these clusters; else each is a regression of its own.
    """
    name = "dummies x predictors" if pooled else "separate"
    columns = [int(j) for j, role in zip(source.design.x, source.roles, strict=True) if role == "within"]
    if not columns:
        return source.impossible(name, f"no predictor varies within clusters of {source.group}")
    separate = separate_regressions(source.fit.design.products, columns, source.design.constant, pooled=pooled)
    if not len(separate.beta):
        return source.impossible(name, f"no cluster of {source.group} has rows and variation enough for its own")
    mean, error = means_of_fixed(separate) if pooled else means_of(separate)
    reasons = {
        term: f"constant within clusters of {source.group}"
        if role == "context"
        else f"determined by other predictors within every cluster of {source.group}"
        for term, role in zip(source.terms, source.roles, strict=True)
        if role != "within"
    }
    pairs = zip(mean.tolist(), error.tolist(), strict=True)
    return Approach(
        name=name, estimates=dict(zip(separate.names, pairs, strict=True)), reasons=reasons,
        coefficients=separate.beta.size, variances=1 if pooled else len(separate.beta),
        units=round(float(separate.n_rows.sum())), clusters=len(separate.beta), separate=separate,
    )  # fmt: skip


def _panel_fit(source: Source, panel: Panel, details: PanelDetails, regression: PanelRegression) -> PanelFit:
    """A regression of means, or of rows less their clusters' means, as `between` and `fixed_effects` return it."""
    names = panel.names(np.asarray(regression.products.columns))
    given = {"group": source.group, "vcov": None, "missing": source.fit.given["missing"]}
    return PanelFit(
        formula=source.formula(list(panel.design.x)), data=source.fit.data, given=given, panel=panel,
        covariance=details.covariance(None), details=details, estimates=PanelEstimates.of(regression, names),
    )  # fmt: skip


def _table(fit: Regression | MixedFit) -> dict[str, tuple[float, float]]:
    """Estimates and standard errors by term."""
    table = fit.tidy()
    pairs = zip(table["estimate"].tolist(), table["std_error"].tolist(), strict=True)
    return dict(zip(map(str, table.index), pairs, strict=True))
