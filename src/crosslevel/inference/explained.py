"""How much of an outcome's variance a model explains, from its cross-products: rows are not looked at.

The variances are those of `inference.average_rows`: of the fixed part, of random effects and of residuals, at the
average of the rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.display import Block, Column, Document, Note, Row, Section, Table
from crosslevel.errors import CrosslevelError
from crosslevel.inference.average_rows import fixed_covariance, second_moments
from crosslevel.inference.reduction import LevelReduction, Reduction
from crosslevel.solve import Solution
from crosslevel.types import FloatArray

Part = TypeVar("Part")
"""A part of the record that may be undefined."""

NOTHING = -5e-4
"""A reduction that is shown as zero."""

MEASURES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("total", "f1", ("f1",)),
    ("total", "f2", ("f2",)),
    ("total", "v", ("v",)),
    ("total", "m", ("m",)),
    ("total", "f", ("f1", "f2")),
    ("total", "fv", ("f1", "f2", "v")),
    ("total", "fvm", ("f1", "f2", "v", "m")),
    ("within", "f1", ("f1",)),
    ("within", "v", ("v",)),
    ("within", "f1v", ("f1", "v")),
    ("between", "f2", ("f2",)),
    ("between", "m", ("m",)),
)
"""Measures of Rights & Sterba (2019): of which variance, name, and the sources that it sums."""

WORDS = {
    "f1": "fixed effects within clusters",
    "f2": "fixed effects between clusters",
    "v": "slopes that vary between clusters",
    "m": "clusters' own means",
    "f": "all fixed effects",
    "fv": "fixed effects and varying slopes",
    "fvm": "fixed effects, varying slopes and clusters' own means",
    "f1v": "fixed effects and varying slopes",
}
"""What each measure of Rights & Sterba has as its source."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Undefined:
    """Why a measure has no value for a model."""

    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class VarianceSources:
    """Where the variance of an outcome in two levels comes from.

    Attributes
    ----------
    f1, f2 : of the fixed part within and between clusters.
    v : of slopes that vary between clusters, by what varies within clusters.
    m : of random effects at the clusters' own means.
    residual : within clusters.
    """

    f1: float
    f2: float
    v: float
    m: float
    residual: float

    @property
    def within(self) -> float:
        """Variance within clusters."""
        return self.f1 + self.v + self.residual

    @property
    def between(self) -> float:
        """Variance of the clusters' means."""
        return self.f2 + self.m

    @property
    def total(self) -> float:
        """Variance of the outcome that the model implies."""
        return self.within + self.between

    def measures(self) -> pd.DataFrame:
        """The 12 measures by level ("total", "within", "between") and measure: r2, and what they are shares of.

        Examples
        --------
        >>> VarianceSources(f1=1.0, f2=2.0, v=0.5, m=1.5, residual=5.0).measures()["r2"].loc["total"].round(2).to_dict()
        {'f1': 0.1, 'f2': 0.2, 'v': 0.05, 'm': 0.15, 'f': 0.3, 'fv': 0.35, 'fvm': 0.5}
        """
        records = [
            (level, name, sum(getattr(self, part) for part in parts) / getattr(self, level), WORDS[name])
            for level, name, parts in MEASURES
            if getattr(self, level) > 0.0
        ]
        return pd.DataFrame.from_records(records, columns=["level", "measure", "r2", "source"]).set_index(
            ["level", "measure"]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplainedVariance:
    """Shares of an outcome's variance that a model explains, by four conventions.

    Attributes
    ----------
    fixed : variance of the fixed part.
    random : variance of the random effects by grouping factor, at the average of the rows.
    residual : residual variance, at the average of the rows.
    sources : variances within and between clusters by where they come from, or why there are none.
    prediction : reductions of the error of prediction, or why there are none.
    reductions : reductions of single variances, or why there are none.

    Source
    ------
    `marginal`, `conditional`: Nakagawa & Schielzeth (2013), Methods Ecol. Evol. 4: 133-142; Johnson (2014), 5: 944-946.
    `prediction_error`: Snijders & Bosker (1994), Sociol. Methods Res. 22: 342-363; (2012), ch. 7. `reduction`:
    Raudenbush & Bryk (2002), ch. 4. `decomposition`: Rights & Sterba (2019), Psychol. Methods 24: 309-338.
    """

    fixed: float
    random: Mapping[str, float]
    residual: float
    sources: VarianceSources | Undefined = field(repr=False)
    prediction: tuple[LevelReduction, ...] | Undefined = field(repr=False)
    reductions: tuple[Reduction, ...] | Undefined = field(repr=False)

    @property
    def total(self) -> float:
        """Variance of the outcome that the model implies."""
        return self.fixed + sum(self.random.values()) + self.residual

    @property
    def marginal(self) -> float:
        """Share of the fixed part."""
        return self.fixed / self.total

    @property
    def conditional(self) -> float:
        """Share of the fixed part and the random effects."""
        return (self.fixed + sum(self.random.values())) / self.total

    @property
    def shares(self) -> pd.DataFrame:
        """Variance and share of the fixed part ("Fixed"), of each grouping factor, and of the residuals, by source."""
        variances = pd.Series({"Fixed": self.fixed, **self.random, "Residual": self.residual}, name="variance")
        out = pd.DataFrame({"variance": variances, "share": variances / self.total})
        return out.rename_axis("source")

    @property
    def decomposition(self) -> pd.DataFrame:
        """Rights & Sterba's 12 measures by level and measure: r2, source."""
        return _defined(self.sources).measures()

    @property
    def prediction_error(self) -> pd.DataFrame:
        """Snijders & Bosker's proportional reduction of prediction error, by level: r2, null, model, cluster_size.

        "rows" is the prediction of a single row, with the variances of a row; a grouping factor that of a cluster's
        mean, with the variances of the mean of a cluster of representative (harmonic mean) size.
        """
        records = [(part.level, part.r2, part.null, part.model, part.size) for part in _defined(self.prediction)]
        return pd.DataFrame.from_records(records, columns=["level", "r2", "null", "model", "cluster_size"]).set_index(
            "level"
        )

    @property
    def reduction(self) -> pd.DataFrame:
        """Proportional reduction of each variance, by group, term and baseline: r2, null, model.

        It is no share of anything and can be negative: a predictor that varies within clusters only lowers the
        residual variance, and what the clusters' means owe to chance with it, so that the clusters' own variance rises.
        """
        records = [
            (part.group, part.term, part.baseline, part.r2, part.null, part.model) for part in _defined(self.reductions)
        ]
        names = ["group", "term", "baseline"]
        return pd.DataFrame.from_records(records, columns=[*names, "r2", "null", "model"]).set_index(names)

    @property
    def frame(self) -> pd.DataFrame:
        """Everything that is defined, by method, level and measure: r2."""
        records = [("nakagawa", "total", name, getattr(self, name)) for name in ("marginal", "conditional")]
        if not isinstance(self.prediction, Undefined):
            records += [("snijders-bosker", part.level, "prediction error", part.r2) for part in self.prediction]
        if not isinstance(self.reductions, Undefined):
            records += [
                ("raudenbush-bryk", part.group, f"{part.term}, {part.baseline}".removeprefix(", "), part.r2)
                for part in self.reductions
            ]
        if not isinstance(self.sources, Undefined):
            table = self.sources.measures()
            records += [("rights-sterba", *key, value) for key, value in table["r2"].items()]  # type: ignore[misc]
        names = ["method", "level", "measure"]
        return pd.DataFrame.from_records(records, columns=[*names, "r2"]).set_index(names)

    @property
    def undefined(self) -> dict[str, str]:
        """What has no value for this model, and why."""
        parts = {
            "prediction_error": self.prediction, "reduction": self.reductions, "decomposition": self.sources
        }  # fmt: skip
        return {name: part.reason for name, part in parts.items() if isinstance(part, Undefined)}

    def document(self) -> Document:
        """The measures as tables."""
        return Document("Explained variance", _blocks(self))

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.document()._repr_html_()


def _defined(part: Part | Undefined) -> Part:
    """A part that has a value.

    Raises
    ------
    CrosslevelError : it has none; the reason.
    """
    if isinstance(part, Undefined):
        raise CrosslevelError(part.reason)
    return part


def _blocks(found: ExplainedVariance) -> list[Block]:
    """The tables of all measures."""
    share, value = Column("R²", format="fixed"), Column("Variance", format="number")
    rows: list[Row] = [("Fixed effects (marginal)", found.marginal, found.fixed)]
    rows += [(f"Random effects of {name}", part / found.total, part) for name, part in found.random.items()]
    rows.append(("Fixed and random effects (conditional)", found.conditional, found.conditional * found.total))
    title = "Shares of the total variance (Nakagawa & Schielzeth; Johnson)"
    blocks: list[Block] = [Table(["Source", share, value], rows, title=title)]
    if not isinstance(found.sources, Undefined):
        blocks.append(_sources_table(found.sources))
    if not isinstance(found.prediction, Undefined):
        title = "Proportional reduction of prediction error (Snijders & Bosker)"
        rows = [("rows" if part.level == "rows" else f"means of {part.level}", part.r2) for part in found.prediction]
        blocks.append(Table(["Prediction of", share], rows, title=title))
    if not isinstance(found.reductions, Undefined):
        blocks.append(_reduction_table(found.reductions))
    return blocks + [Note(f"Without {name.replace('_', ' ')}: {reason}") for name, reason in found.undefined.items()]


def _sources_table(sources: VarianceSources) -> Table:
    """The measures of Rights & Sterba."""
    table = sources.measures()
    rows: list[Row] = []
    for level, words in (("total", "Of the total"), ("within", "Within clusters"), ("between", "Between clusters")):
        part = table[table.index.get_level_values("level") == level]
        rows.append(Section(words))
        names = part.index.get_level_values("measure")
        rows += [(f"{name}: {WORDS[name]}", float(r2)) for name, r2 in zip(names, part["r2"], strict=True)]
    title = "Sources within and between clusters (Rights & Sterba)"
    return Table(["Source", Column("R²", format="fixed")], rows, title=title)


def _reduction_table(reductions: Sequence[Reduction]) -> Table:
    """Reductions of single variances."""
    rows: list[Row] = [
        (f"{part.group} {part.term}".strip(), part.baseline, part.null, part.model, part.r2) for part in reductions
    ]
    heads: list[str | Column] = [
        "Variance", "Baseline", Column("Baseline's", format="number"), Column("Model's", format="number"),
        Column("Reduction", format="fixed"),
    ]  # fmt: skip
    notes = ["Not a share: a variance can be larger than that of the baseline, and the reduction negative."]
    return Table(
        heads,
        rows,
        title="Proportional reduction of each variance (Raudenbush & Bryk)",
        notes=notes if any(part.r2 < NOTHING for part in reductions) else [],
    )


def variance_sources(design: Design, solution: Solution, psi: FloatArray, residual: float) -> VarianceSources:
    """Split the variance of a model with one grouping factor into its sources within and between clusters.

    Columns are split into cluster means and deviations from them, whatever they were centred at: f1 and f2 are beta'
    Phi beta within and between; v = tr(W Psi) with W the part of M within clusters, and m = tr((M - W) Psi), which is
    the variance of the random intercepts where slopes vary by cluster-mean-centred columns, as in the source.

    Parameters
    ----------
    design, solution : a model with one grouping factor, of which each row has one level.
    psi : (q, q) covariance of its random effects.
    residual : s^2.

    Source
    ------
    Rights & Sterba (2019), Psychol. Methods 24: 309-338.
    """
    total, within = fixed_covariance(design.products, design.x, design.nobs)
    moments, inside = second_moments(design.products, design.z)
    beta = solution.beta
    return VarianceSources(
        f1=float(beta @ within @ beta),
        f2=max(float(beta @ (total - within) @ beta), 0.0),  # rounding aside, a variance
        v=float(np.sum(inside * psi)),
        m=max(float(np.sum((moments - inside) * psi)), 0.0),
        residual=residual,
    )
