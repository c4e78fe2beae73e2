"""What a linear regression leaves unsaid about clusters: how alike their residuals are, and what that costs."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import Block, Column, Document, Items, Note, Paragraph, Row, Table, counted, fixed, percent
from crosslevel.display.numbers import number, p_statement
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.robust_fit import RobustFit, concerns
from crosslevel.estimators.summary import percent_of, shown_decimals
from crosslevel.inference.anova import OneWayAnova, icc_std_error
from crosslevel.inference.clusterings import clustering_named
from crosslevel.inference.dependence import (
    KruskalWallis,
    ResidualDependence,
    kruskal_wallis,
    residual_dependence,
    residuals,
)
from crosslevel.inference.design_effect import ClusterSize
from crosslevel.inference.homogeneity import HomogeneityTest
from crosslevel.inference.ordinary_clusters import OrdinaryClusters
from crosslevel.inference.wald import check_level

if TYPE_CHECKING:
    from crosslevel.estimators.ols_fit import OLSFit

CLEAR = 0.05
"""p-value below which the words say that residuals depend on clusters."""

CHANGED = 0.1
"""Change of a standard error, as a share of it, that the words call a change."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dependence:
    """How alike the residuals of rows in the same cluster are, and what that does to the standard errors.

    Attributes
    ----------
    response, formula, cluster : of the regression, and the column of the clusters.
    layout : analysis of variance of the residuals by cluster.
    size : representative size of the clusters.
    kruskal : the same question by ranks, which asks nothing of the residuals' distribution.
    bartlett : test that residuals vary alike in all clusters; None where a cluster's residuals are all the same.
    frame : by term: estimate; std_error_iid, of independent rows; std_error_cluster, cluster-robust (CR2), and its
        df (Satterthwaite); ratio of the second to the first; expected_ratio by Moulton's formula; icc_regressor, of
        what the regressor has of its own; design_effect, the ratio squared; effective_rows, the independent rows that
        would tell as much.
    level : confidence level of the intraclass correlation's interval.
    notes : what must be read before the cluster-robust standard errors.
    """

    response: str
    formula: str
    cluster: str
    layout: OneWayAnova = field(repr=False)
    size: ClusterSize
    kruskal: KruskalWallis
    bartlett: HomogeneityTest | None
    frame: pd.DataFrame = field(repr=False)
    level: float
    notes: tuple[str, ...] = ()

    @property
    def anova(self) -> pd.DataFrame:
        """Analysis of variance of the residuals: df, sum_sq, mean_sq, statistic, p_value by source."""
        found = self.layout
        rows = {
            self.cluster: (found.df_between, found.ss_between, found.statistic, found.p_value),
            "Residual": (found.df_within, found.ss_within, np.nan, np.nan),
        }
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=["df", "sum_sq", "statistic", "p_value"])
        frame.insert(2, "mean_sq", frame["sum_sq"] / frame["df"])
        return frame.rename_axis("source")

    @property
    def icc(self) -> float:
        """Intraclass correlation of the residuals; below zero where clusters differ less than chance would have it."""
        return self.layout.icc

    @property
    def icc_std_error(self) -> float:
        """Its large-sample standard error."""
        return icc_std_error(self.layout.icc, self.layout.sizes, self.layout.n0)

    @property
    def icc_interval(self) -> tuple[float, float]:
        """Its interval: exact for normal residuals whose coefficients are known; not below zero."""
        return self.layout.icc_interval(self.level)

    @property
    def n0(self) -> float:
        """The cluster size that stands for unequal ones in the intraclass correlation."""
        return self.layout.n0

    @property
    def design_effect(self) -> float:
        """1 + (b - 1) icc: variance of a mean relative to that of as many independent rows; b: effective size."""
        return 1.0 + (self.size.effective - 1.0) * max(self.icc, 0.0)

    def document(self) -> Document:
        """The tests, the intraclass correlation, the standard errors, and what they come to in words."""
        warnings = [Note(text, kind="warning") for text in self.notes]
        costly = costs(self)
        blocks: list[Block] = [Paragraph(verdict(self)), *warnings, _anova_table(self), _sizes_table(self)]
        blocks += [_errors_table(self), *([Items(costly)] if costly else [])]
        return Document(f"Dependence within {self.cluster}: residuals of {self.response}", blocks)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def dependence(fit: "OLSFit", cluster: str | None, level: float) -> Dependence:
    """What `OLSFit.dependence` answers; see there."""
    check_level(level)
    name = one_cluster(fit, cluster, "dependence")
    design = fit.design
    if design.weights is not None and design.weights.is_precision:
        raise CrosslevelError(
            "`dependence` compares residuals of rows with one variance; with precision weights rows differ. Fit the "
            "regression without weights."
        )
    clusters = clustering_named(design, name)
    codes, values = clusters.codes, residuals(design, fit.solved)
    if design.weights is not None and design.weights.total is not None:
        times = design.weights.total.astype(np.int64)
        codes, values = np.repeat(codes, times), np.repeat(values, times)
    if not 1 < clusters.n_clusters < len(codes):
        raise CrosslevelError(
            f"`cluster` names {name!r}, of which the {len(codes)} rows have {clusters.n_clusters} "
            f"{'value' if clusters.n_clusters == 1 else 'values'}: dependence needs at least two clusters, and some "
            "with several rows. Name the column of the clusters."
        )
    found = residual_dependence(OrdinaryClusters.of(design, fit.solved, clusters))
    robust = fit.robust("CR2", name)
    return Dependence(
        response=fit.spec.response_name, formula=fit.formula, cluster=name, layout=found.anova, size=found.size,
        kruskal=kruskal_wallis(values, codes), bartlett=found.bartlett, level=level,
        frame=_frame(fit, robust, found), notes=tuple(concerns(robust.covariance, robust.df)),
    )  # fmt: skip


def one_cluster(fit: "OLSFit", cluster: object, asking: str) -> str:
    """The one clustering that is asked for, or that of the fit.

    Raises
    ------
    CrosslevelError : none, or several.
    """
    names = fit.clusters if cluster is None else (cluster,) if isinstance(cluster, str) else cluster
    if not isinstance(names, list | tuple) or len(names) != 1 or not isinstance(names[0], str):
        what = "no clusters were named" if names in ((), []) else f"got {names!r}"
        raise CrosslevelError(
            f"`{asking}` is about one clustering, and {what}. Name its column, as in cluster='school'; of several, "
            "the one with the fewest clusters that rows depend on each other within."
        )
    return names[0]


def _frame(fit: "OLSFit", robust: RobustFit, found: ResidualDependence) -> pd.DataFrame:
    """Standard errors with and without clusters, by term."""
    plain = fit.tests("iid")
    ratio = robust.bse / plain["std_error"]
    return pd.DataFrame(
        {
            "estimate": plain["estimate"],
            "std_error_iid": plain["std_error"],
            "std_error_cluster": robust.bse,
            "df": robust.df,
            "ratio": ratio,
            "expected_ratio": np.sqrt(np.maximum(found.expected, 0.0)),
            "icc_regressor": found.regressors,
            "design_effect": ratio**2,
            "effective_rows": fit.nobs / ratio**2,
        }
    )


# -- words --------------------------------------------------------------------------------------------------------
def verdict(found: Dependence) -> str:
    """Whether residuals depend on clusters, and how much."""
    layout, (low, high) = found.layout, found.icc_interval
    test = (
        f"F({layout.df_between:.0f}, {layout.df_within:.0f}) = {fixed(layout.statistic, 2)}, "
        f"{p_statement(layout.p_value)}"
    )
    if not layout.p_value < CLEAR:
        return (
            f"The residuals differ no more between clusters of {found.cluster} than chance would make them differ "
            f"({test}). The {percent_of(found.level)} interval of their intraclass correlation goes from "
            f"{percent(low)} to {percent(high)}."
        )
    return (
        f"The regression takes its {counted(layout.n)} rows to be independent. They are not: the residuals differ "
        f"between clusters of {found.cluster} more than chance would make them differ ({test}), and "
        f"{percent(found.icc)} of their variance lies between clusters ({percent_of(found.level)} interval "
        f"{percent(low)} to {percent(high)})."
    )


def costs(found: Dependence) -> list[str]:
    """What clusters do to the standard errors, in sentences."""
    frame = found.frame[found.frame["ratio"].notna()]
    out = [_sentence(found, "larger", frame[frame["ratio"] > 1.0 + CHANGED])]
    out.append(_sentence(found, "smaller", frame[frame["ratio"] < 1.0 - CHANGED]))
    steady = [str(term) for term in frame.index[(frame["ratio"] - 1.0).abs() <= CHANGED]]
    if steady:
        out.append(f"Standard errors that hardly change: {', '.join(steady)}.")
    apart = [str(term) for term in frame.index[frame["ratio"] > frame["expected_ratio"] * (1.0 + 2 * CHANGED)]]
    if apart:
        out.append(
            f"More than equally correlated errors explain: {', '.join(apart)}. The relation itself then differs "
            "between clusters, as with a random slope, or clusters differ in their residual variance."
        )
    return [text for text in out if text]


def _sentence(found: Dependence, direction: str, rows: pd.DataFrame) -> str:
    """A sentence on the coefficients whose standard errors change in one direction."""
    if not len(rows):
        return ""
    predictors = rows.drop(index="Intercept", errors="ignore")
    named = predictors if len(predictors) else rows
    place = int(named["ratio"].argmax() if direction == "larger" else named["ratio"].argmin())
    extreme, row = str(named.index[place]), named.iloc[place]
    others = [str(term) for term in rows.index if term != extreme]
    also = f" Also {direction}: {', '.join(others)}." if others else ""
    return (
        f"The standard error of {extreme} is {fixed(row['ratio'], 2)} times that of independent rows: the "
        f"{counted(found.layout.n)} rows tell as much about it as {counted(max(row['effective_rows'], 1.0))} "
        f"independent ones.{also}"
    )


# -- tables -------------------------------------------------------------------------------------------------------
def _anova_table(found: Dependence) -> Table:
    """Analysis of variance, with the tests that go with it."""
    rows: list[Row] = [
        [
            str(source),
            counted(row["df"]),
            number(row["sum_sq"]),
            number(row["mean_sq"]),
            row["statistic"],
            row["p_value"],
        ]
        for source, row in found.anova.iterrows()
    ]
    columns: list[str | Column] = ["Source", *(Column(name, align="decimal") for name in ("df", "Sum of squares"))]
    columns += [
        Column("Mean square", align="decimal"),
        Column("F", format="fixed", decimals=2),
        Column("p", format="p"),
    ]
    ranks = found.kruskal
    notes = [
        f"By ranks (Kruskal-Wallis): chi-square({ranks.df}) = {fixed(ranks.statistic, 2)}, "
        f"{p_statement(ranks.p_value)}."
    ]
    if found.bartlett is not None:
        equal = found.bartlett
        notes.append(
            f"Equal variances within clusters (Bartlett): chi-square({equal.df}) = {fixed(equal.statistic, 2)}, "
            f"{p_statement(equal.p_value)}."
        )
    return Table(columns, rows, title=f"Residuals by {found.cluster}", notes=notes)


def _sizes_table(found: Dependence) -> Table:
    """Intraclass correlation, sizes, design effect of a mean."""
    low, high = found.icc_interval
    rows: list[Row] = [
        ["Intraclass correlation of the residuals", fixed(found.icc, 3)],
        [f"Its {percent_of(found.level)} interval", f"{fixed(low, 3)} to {fixed(high, 3)}"],
        ["Clusters", counted(found.layout.clusters)],
        ["Rows per cluster, mean", fixed(found.size.mean, 1)],
        ["Rows per cluster, effective for a mean", fixed(found.size.effective, 1)],
        ["Design effect of a mean", fixed(found.design_effect, 2)],
    ]
    return Table(["", Column("", align="left")], rows, title="Intraclass correlation and design effect")


def _errors_table(found: Dependence) -> Table:
    """Standard errors with and without clusters."""
    names = ("SE, rows", "SE, clusters", "Ratio", "Expected", "ICC of x", "Effective rows")
    rows: list[Row] = []
    for term, row in found.frame.iterrows():
        decimals = shown_decimals(row["std_error_iid"], row["estimate"])
        rows.append(
            [str(term), *(fixed(row[key], decimals) for key in ("std_error_iid", "std_error_cluster")),
             fixed(row["ratio"], 2), fixed(row["expected_ratio"], 2), fixed(row["icc_regressor"], 3),
             counted(row["effective_rows"])]
        )  # fmt: skip
    notes = [
        "SE, rows: of independent rows of equal variance. SE, clusters: cluster-robust (CR2). Ratio: of the two.",
        "Expected: the ratio if errors of any two rows of a cluster correlated by the intraclass correlation (Moulton "
        "1986), from the intraclass correlation of what each regressor has of its own (ICC of x).",
        "Effective rows: independent rows that would give the cluster-robust standard error.",
    ]
    return Table(
        ["Term", *(Column(name, align="decimal") for name in names)], rows, title="Standard errors", notes=notes
    )
