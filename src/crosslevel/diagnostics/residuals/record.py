"""The residuals of a model, of every level."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import pandas as pd

from crosslevel.diagnostics.diagnostic import Concern
from crosslevel.diagnostics.residuals import words
from crosslevel.display import Document


@dataclass(frozen=True, kw_only=True, eq=False)
class Residuals:
    """Residuals of rows, and random effects of clusters.

    Figures: `cl.plot.envelope(cl.envelope(fit))`, `cl.plot.linearity(cl.linearity(fit))`,
    `cl.plot.homogeneity(cl.homogeneity(fit))`.

    Attributes
    ----------
    outcome : name of the outcome.
    kind : "linear" and "ordinary" for normal distributions with and without random effects; "generalized" for others.
    rows : by row used, in units of the outcome: fitted, fitted_marginal (random effects at zero; of other families
        averaged over them), conditional and marginal (outcome less these). Without units: standardized (conditional
        over its own standard deviation; of other families the normal score of the randomised quantile residual),
        standardized_marginal, pearson (conditional over the standard deviation of the error), least_confounded (free of
        all random effects, over its own standard deviation). NaN where a value is not defined.
    clusters : for each grouping factor, by level: rows, mean_residual and sd_residual (of conditional residuals),
        mean_marginal; each random effect under its name and, over its own standard deviation, as
        "<name>_standardized"; mahalanobis (b'Var(b)^-1 b) with its dimensions.
    notes : what could not be computed, and why.
    """

    outcome: str
    kind: Literal["linear", "generalized", "ordinary"]
    rows: pd.DataFrame = field(repr=False)
    clusters: Mapping[str, pd.DataFrame] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def frame(self) -> pd.DataFrame:
        """The rows."""
        return self.rows

    @cached_property
    def outlying_rows(self) -> pd.Series:
        """Standardised residuals that are too large for the largest of as many normal ones, the largest first."""
        return words.outlying(self.rows["standardized"])

    @cached_property
    def outlying_clusters(self) -> dict[str, pd.Series]:
        """For each factor the levels whose Mahalanobis distances are too large for the largest of as many."""
        return {name: words.distant(frame) for name, frame in self.clusters.items() if "mahalanobis" in frame}

    @property
    def sentences(self) -> tuple[str, ...]:
        """How large the largest residuals are, at every level, and what to do about them."""
        return words.sentences(self)

    @property
    def concern(self) -> Concern:
        """The light: "look" where a row or a cluster is further off than the largest of as many normal ones."""
        clusters = any(len(found) for found in self.outlying_clusters.values())
        return "look" if len(self.outlying_rows) or clusters else "none"

    def document(self) -> Document:
        """The sentences, and the rows and clusters that are furthest off."""
        return words.write(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()
