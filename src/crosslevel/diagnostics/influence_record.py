"""What leaving out clusters, or rows, one at a time changes: the numbers."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from crosslevel.diagnostics import influence_words as words
from crosslevel.diagnostics.diagnostic import Concern
from crosslevel.display import Document
from crosslevel.inference.distributions import two_sided_p
from crosslevel.inference.left_out import Refit
from crosslevel.types import BoolArray, FloatArray, IntArray

ROWS = "rows"
"""Name of what is left out if it is single rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Influence:
    """Estimates without each cluster, or each row, in turn; figure `cl.plot.influence`.

    Attributes
    ----------
    by : what the clusters are, as in "school", or "rows".
    levels, sizes : the J clusters, and their rows; or the rows' labels, and ones.
    outcome : name of the outcome.
    names : of the m estimates, coefficients first.
    table : coefficient table of the whole fit.
    context : the coefficients of cluster-level variables and their interactions with others.
    vcov : (p, p) covariance of the coefficients of the whole fit.
    whole : (m,) estimates of the whole fit.
    refits : without each cluster.
    leverage : (J,) sums of the cluster's hat values, see `cl.leverage`; NaN where they are not defined.
    level : confidence level, below 1 less which a p-value is significant.
    """

    by: str
    levels: tuple[object, ...] = field(repr=False)
    sizes: IntArray = field(repr=False)
    outcome: str
    names: tuple[str, ...] = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    context: tuple[str, ...]
    vcov: FloatArray = field(repr=False)
    whole: FloatArray = field(repr=False)
    refits: tuple[Refit, ...] = field(repr=False)
    leverage: FloatArray = field(repr=False)
    level: float

    # -- numbers --------------------------------------------------------------------------------------------------
    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return tuple(str(term) for term in self.table.index)

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """Coefficients without each cluster."""
        return self._coefficients(self._values[:, : len(self.terms)])

    @cached_property
    def std_errors(self) -> pd.DataFrame:
        """Standard errors of the coefficients' tests without each cluster."""
        return self._coefficients(np.array([refit.std_error for refit in self.refits]))

    @cached_property
    def p_values(self) -> pd.DataFrame:
        """Two-sided p-values of the coefficients without each cluster."""
        estimate, error = self.estimates.to_numpy(), self.std_errors.to_numpy()
        statistic = np.divide(estimate, error, out=np.full_like(estimate, np.nan), where=error > 0.0)
        return self._coefficients(two_sided_p(statistic, np.array([refit.df for refit in self.refits])))

    @cached_property
    def changes(self) -> pd.DataFrame:
        """Coefficients without each cluster less those of the whole fit."""
        return self._coefficients(self.estimates.to_numpy() - self.table["estimate"].to_numpy())

    @cached_property
    def dfbetas(self) -> pd.DataFrame:
        """Changes of the coefficients in units of their model standard errors without the cluster."""
        variances = np.einsum("jaa->ja", self._vcovs)
        return self._coefficients(self.changes.to_numpy() / np.sqrt(variances))

    @cached_property
    def cooks_distance(self) -> pd.Series:
        """(b_j - b)'V^-1 (b_j - b) / p, b_j without cluster j; NaN where a coefficient cannot be estimated."""
        changes = self.changes.to_numpy()
        half = np.linalg.solve(np.linalg.cholesky(self.vcov), changes.T)
        return self._by_cluster(np.sum(half**2, axis=0) / max(len(self.terms), 1), "cooks_distance")

    @cached_property
    def log_covratio(self) -> pd.Series:
        """Change of log det V: above zero where estimates are less precise without the cluster."""
        able = np.all(np.isfinite(self._vcovs), axis=(1, 2))
        values = np.full(len(self.levels), np.nan)
        values[able] = np.linalg.slogdet(self._vcovs[able])[1] - np.linalg.slogdet(self.vcov)[1]
        return self._by_cluster(values, "log_covratio")

    @property
    def covratio(self) -> pd.Series:
        """Det V without the cluster over det V: COVRATIO, 1 where the precision stays."""
        return pd.Series(np.exp(self.log_covratio.to_numpy()), index=self._index, name="covratio")

    @cached_property
    def variances(self) -> pd.DataFrame:
        """Standard deviations, correlations and other parameters without each cluster."""
        p = len(self.terms)
        return pd.DataFrame(self._values[:, p:], index=self._index, columns=list(self.names[p:]))

    @cached_property
    def variance_changes(self) -> pd.DataFrame:
        """The same less those of the whole fit."""
        return self.variances - self.whole[len(self.terms) :]

    @cached_property
    def context_effects(self) -> pd.DataFrame:
        """What happens to each context effect (all coefficients if there are none) without each cluster.

        A row for each effect and cluster: term, cluster (or row), estimate, change, dfbetas, p_value; sign_changes, and
        test_changes: whether the p-value is on the other side of 1 - level.
        """
        parts = [
            pd.DataFrame(
                {
                    "term": term,
                    self._index.name: self._index,
                    "estimate": self.estimates[term].to_numpy(),
                    "change": self.changes[term].to_numpy(),
                    "dfbetas": self.dfbetas[term].to_numpy(),
                    "p_value": self.p_values[term].to_numpy(),
                    "sign_changes": self.turned(term),
                    "test_changes": self.decided_otherwise(term),
                }
            )
            for term in words.described(self)
        ]
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def decisive(self) -> pd.DataFrame:
        """The rows of `context_effects` in which a sign or the result of a test changes."""
        found = self.context_effects
        return found[found["sign_changes"] | found["test_changes"]].reset_index(drop=True)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each cluster that is left out.

        Columns rows; leverage; cooks_distance; log_covratio; for each coefficient its value without the cluster under
        its own name, "change <term>", "dfbetas <term>" and "p <term>"; each variance parameter and "change <name>"; and
        problem, why there is no refit or what cannot be estimated ("" if nothing).
        """
        parts: list[pd.DataFrame | pd.Series] = [
            self._by_cluster(self.sizes, "rows"), self._by_cluster(self.leverage, "leverage"), self.cooks_distance,
            self.log_covratio, self.estimates, self.changes.add_prefix("change "), self.dfbetas.add_prefix("dfbetas "),
            self.p_values.add_prefix("p "), self.variances, self.variance_changes.add_prefix("change "),
        ]  # fmt: skip
        out = pd.concat([part.reset_index(drop=True) for part in parts], axis=1).set_axis(self._index)
        return out.assign(problem=[problem_of(refit) for refit in self.refits])

    # -- what follows ---------------------------------------------------------------------------------------------
    def of_whole(self, term: str, column: str = "estimate") -> float:
        """A number of the whole fit's coefficient table."""
        return float(self.table[column].to_numpy()[self.terms.index(term)])

    def significant(self, term: str) -> bool:
        """Whether a coefficient of the whole fit differs from zero at the level."""
        return self.of_whole(term, "p_value") < 1.0 - self.level

    def turned(self, term: str) -> BoolArray:
        """(J,) whether the coefficient has the other sign without the cluster."""
        return np.asarray(self.estimates[term].to_numpy() * self.of_whole(term) < 0.0)

    def decided_otherwise(self, term: str) -> BoolArray:
        """(J,) whether the test of the coefficient ends otherwise without the cluster."""
        p_value = self.p_values[term].to_numpy()
        return np.asarray(np.isfinite(p_value) & ((p_value < 1.0 - self.level) != self.significant(term)))

    # -- words ----------------------------------------------------------------------------------------------------
    @property
    def by_rows(self) -> bool:
        """Whether single rows are left out."""
        return self.by == ROWS

    @property
    def sentences(self) -> tuple[str, ...]:
        """What single clusters do to the context effects; where they decide, the last says what to do."""
        return words.told(self)

    @property
    def concern(self) -> Concern:
        """The light: "act" where a significant context effect turns or is lost without one cluster, else "look"."""
        return words.concern(self)

    def document(self) -> Document:
        """The clusters that matter most, and which context effects depend on a single cluster."""
        return words.write(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()

    @property
    def _index(self) -> pd.Index:
        return pd.Index([str(level) for level in self.levels], name="row" if self.by_rows else self.by)

    @cached_property
    def _values(self) -> FloatArray:
        """(J, m) all estimates without each cluster."""
        return np.array([refit.values for refit in self.refits])

    @cached_property
    def _vcovs(self) -> FloatArray:
        """(J, p, p) covariances of the coefficients without each cluster."""
        return np.array([refit.vcov for refit in self.refits])

    def _coefficients(self, values: FloatArray) -> pd.DataFrame:
        """A frame by cluster and coefficient."""
        return pd.DataFrame(values.reshape(len(self.levels), -1), index=self._index, columns=list(self.terms))

    def _by_cluster(self, values: FloatArray | IntArray, name: str) -> pd.Series:
        """A Series by cluster."""
        return pd.Series(values, index=self._index, name=name)


def problem_of(refit: Refit) -> str:
    """Why there is no refit, or what cannot be estimated without the cluster."""
    lost = f"Cannot be estimated without it: {', '.join(refit.lost)}." if refit.lost else ""
    return " ".join(part for part in (lost, refit.problem) if part)
