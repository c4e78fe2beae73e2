"""Wild cluster bootstrap tests of a linear regression's coefficients: asking for them, and what they say."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from crosslevel.display import Block, Column, Document, Note, Row, Table, counted, fixed, number, p_value
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.dependence import one_cluster
from crosslevel.estimators.resampling import entropy_of
from crosslevel.estimators.summary import percent_of, shown_decimals
from crosslevel.inference.clusterings import clustering_named
from crosslevel.inference.contrasts import Contrasts, contrast_matrix
from crosslevel.inference.ordinary_clusters import OrdinaryClusters
from crosslevel.inference.wald import check_level
from crosslevel.inference.wild_cluster import Restriction, WildDraws, WildWeights, wild_draws
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.ols_fit import OLSFit

WildWeighting: TypeAlias = Literal["webb", "rademacher", "auto"]

ENOUGH_SIGNS = 13
"""Clusters from which on two-point weights have enough different vectors of signs (4,096 pairs)."""

FEW_CARRY = 4.0
"""Equal clusters with as much spread of the information, below which the words warn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WildTest:
    """Wild cluster bootstrap tests of coefficients.

    Attributes
    ----------
    response, formula, cluster, n_clusters : of the regression, and its clusters.
    weights : "webb" or "rademacher".
    every : whether all vectors of signs were gone through, so that nothing is left to chance.
    null : whether the hypothesis was imposed on the residuals.
    n : draws.
    value : hypothesised value.
    level : confidence level of the intervals.
    seed : with which the draws can be repeated.
    frame : by term: estimate; std_error, cluster-robust (CR1S); statistic, t against `value`; p_value, two-sided;
        conf_low and conf_high, the ends of the interval of values that are not rejected; draws; effective_clusters,
        the number of equal clusters among which the information on the term would be spread as evenly.
    """

    response: str
    formula: str
    cluster: str
    n_clusters: int
    weights: str
    every: bool
    null: bool
    n: int
    value: float
    level: float
    seed: int
    frame: pd.DataFrame = field(repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be read before the p-values, in words."""
        return tuple(_concerns(self))

    def conf_int(self) -> pd.DataFrame:
        """Confidence intervals."""
        return self.frame[["conf_low", "conf_high"]]

    def document(self) -> Document:
        """What was drawn, the tests, and how they were made."""
        null = "imposed: residuals of the regression under the hypothesis" if self.null else "not imposed"
        facts: list[Row] = [
            ["Formula", self.formula],
            ["Clusters", f"{self.n_clusters} ({self.cluster})"],
            ["Draws", _draws_in_words(self)],
            ["Hypothesis", f"coefficient = {number(self.value)}, {null}"],
        ]
        warnings = [Note(text, kind="warning") for text in self.notes]
        blocks: list[Block] = [Table(["", ""], facts), *warnings, _table(self)]
        return Document(f"Wild cluster bootstrap: {self.response}", blocks)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


@dataclass(frozen=True, kw_only=True, eq=False)
class WildRequest:
    """The arguments of `OLSFit.wild_test`; see there."""

    terms: "Contrasts | None"
    cluster: str | None
    value: float
    n: int
    weights: WildWeighting
    null: bool
    level: float
    seed: int | np.random.Generator | None

    def check(self) -> None:
        """Refuse values that no argument has."""
        check_level(self.level)
        if self.weights not in get_args(WildWeighting):
            options = ", ".join(map(repr, get_args(WildWeighting)))
            raise CrosslevelError(f"`weights` is one of {options}; got {self.weights!r}.")
        if isinstance(self.n, bool) or not isinstance(self.n, int | np.integer) or self.n < 1:
            raise CrosslevelError(f"`n` is a whole number of draws, at least 1; got {self.n!r}.")
        if not isinstance(self.null, bool):
            raise CrosslevelError(f"`null` is True (impose the hypothesis) or False; got {self.null!r}.")
        real = isinstance(self.value, int | float | np.number) and not isinstance(self.value, bool)
        if not real or not np.isfinite(self.value):
            raise CrosslevelError(f"`value` is the number that the coefficients are compared with; got {self.value!r}.")


def wild_test(fit: "OLSFit", asked: WildRequest) -> WildTest:
    """What `OLSFit.wild_test` answers; see there."""
    asked.check()
    name, seed = one_cluster(fit, asked.cluster, "wild_test"), entropy_of(asked.seed)
    terms, contrasts = _hypotheses(fit, asked.terms)
    clusters = clustering_named(fit.design, name)
    n_clusters = clusters.n_clusters
    if n_clusters < 2:
        raise CrosslevelError(
            f"`cluster` names {name!r}, which has one value in the rows used. `wild_test` needs at least two clusters, "
            "and is good for little with fewer than five."
        )
    kind = asked.weights
    if kind == "auto":
        kind = "webb" if n_clusters < ENOUGH_SIGNS else "rademacher"
    weights = WildWeights.of(kind, n_clusters, int(asked.n))
    sums = OrdinaryClusters.of(fit.design, fit.solved, clusters)
    restrictions = [Restriction.of(sums, contrast) for contrast in contrasts]
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    draws = wild_draws(sums, restrictions, weights, rng, null=asked.null)
    factor = n_clusters / (n_clusters - 1.0) * (fit.nobs - 1.0) / fit.df_residual
    rows = [
        _row(estimate, asked, found, factor, restriction)
        for estimate, found, restriction in zip(contrasts @ fit.beta, draws, restrictions, strict=True)
    ]
    frame = pd.DataFrame(rows, index=pd.Index(terms, name="term"))
    frame["draws"] = weights.n
    return WildTest(
        response=fit.spec.response_name, formula=fit.formula, cluster=name, n_clusters=n_clusters, weights=kind,
        every=weights.every, null=asked.null, n=weights.n, value=float(asked.value), level=asked.level, seed=seed,
        frame=frame[["estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high", "draws",
                     "effective_clusters"]],
    )  # fmt: skip


def _hypotheses(fit: "OLSFit", terms: "Contrasts | None") -> tuple[Sequence[str], FloatArray]:
    """Names and rows (m, p) of what is tested; all coefficients but the intercept where nothing is named."""
    if terms is None:
        kept = [k for k, term in enumerate(fit.terms) if term != "Intercept"] or list(range(len(fit.terms)))
        return [fit.terms[k] for k in kept], np.eye(len(fit.terms))[kept]
    try:
        return contrast_matrix(terms, fit.coefficients)
    except CrosslevelError as error:
        raise CrosslevelError(str(error).replace("`contrasts`", "`terms`", 1)) from None


def _row(
    estimate: float, asked: WildRequest, found: WildDraws, factor: float, restriction: Restriction
) -> dict[str, float]:
    """One hypothesis; all but the estimate is NaN where the clusters contribute nothing."""
    out = dict.fromkeys(("std_error", "statistic", "p_value", "conf_low", "conf_high"), np.nan)
    out |= {"estimate": float(estimate), "effective_clusters": restriction.effective_clusters}
    if found.squares > 0.0:
        delta = float(estimate) - float(asked.value)
        down, up = found.interval(asked.level)
        error = float(np.sqrt(factor * found.squares))
        out |= {"std_error": error, "statistic": delta / error, "p_value": found.p_value(delta)}
        out |= {"conf_low": estimate - down, "conf_high": estimate + up}
    return out


# -- words --------------------------------------------------------------------------------------------------------
def _draws_in_words(found: WildTest) -> str:
    """How weights were drawn, and how many."""
    if found.every:
        return f"all {counted(found.n)} vectors of signs of the clusters (Rademacher weights), none left to chance"
    names = {"webb": "Webb's six-point weights", "rademacher": "Rademacher weights (signs)"}
    return f"{counted(found.n)} of {names[found.weights]}, seed {found.seed}"


def _concerns(found: WildTest) -> list[str]:
    """What must be read before the p-values."""
    out, frame = [], found.frame
    unseen = [str(term) for term in frame.index[frame["p_value"].isna()]]
    if unseen:
        out.append(
            f"No test of {', '.join(unseen)}: the contributions of the clusters are zero whatever the data, as where a "
            "predictor tells few clusters apart exactly."
        )
    least = 2.0 / found.n if found.every else 0.0
    alpha = 1.0 - found.level
    if least > alpha:
        out.append(
            f"With {found.n_clusters} clusters there are {counted(found.n)} vectors of signs, so that no p-value is "
            f"below {number(least)} and the intervals have no ends. Use weights='webb'."
        )
    elif np.isinf(frame[["conf_low", "conf_high"]].to_numpy()).any():
        out.append(
            "An interval without an end: however far the hypothesis is from the estimate, it is not rejected. The "
            "clusters are too few, or too few of them carry the information."
        )
    few = [str(term) for term in frame.index[(frame["effective_clusters"] < FEW_CARRY) & frame["p_value"].notna()]]
    if few:
        listed = ", ".join(f"{term} ({fixed(frame['effective_clusters'][term], 1)})" for term in few)
        also = "rejects too seldom" if found.null else "rejects far too often"
        out.append(
            f"The information on {listed} lies in few clusters, as concentrated as in that many equal ones. There the "
            f"test {also} (MacKinnon & Webb 2017)."
        )
    return out


def _table(found: WildTest) -> Table:
    """The tests."""
    rows: list[Row] = []
    for term, row in found.frame.iterrows():
        decimals = shown_decimals(row["std_error"], row["estimate"]) if row["std_error"] > 0 else 3
        rows.append(
            [str(term), *(fixed(row[key], decimals) for key in ("estimate", "std_error")), fixed(row["statistic"], 2),
             p_value(row["p_value"]), fixed(row["conf_low"], decimals), fixed(row["conf_high"], decimals)]
        )  # fmt: skip
    heads = ("Estimate", "SE", "t", "p", f"{percent_of(found.level)} low", "high")
    share = "a share of all vectors of signs" if found.every else "(1 + draws at least as far from zero) / (1 + draws)"
    notes = [
        "SE: cluster-robust times J / (J - 1) (n - 1) / (n - p) (CR1S), in the data as in every draw.",
        f"p: two-sided, of |t|; {share}.",
        "Intervals: the values that the test does not reject.",
    ]
    return Table(["Term", *(Column(name, align="decimal") for name in heads)], rows, title="Tests", notes=notes)
