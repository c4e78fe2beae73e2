"""What Hausman's test found, as a record and in words."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.display import Column, Document, Note, Row, Table, decimals_for, fixed, p_statement
from crosslevel.estimators.summary import shown_decimals

UNDEFINED = (
    "The difference of the two covariance matrices is not positive definite, so that the statistic has no known "
    "distribution, and its p-value, if there is one, means little. Use method='auxiliary', which tests the same "
    "hypothesis and is always defined."
)
"""What is said of a classic test that is not defined."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HausmanTest:
    """Whether fixed and random effects agree.

    Attributes
    ----------
    method : "classic" or "auxiliary".
    vcov : covariance of the auxiliary regression; "iid" for the classic test.
    fixed, random : the estimators that were compared.
    is_defined : whether the statistic has a known distribution: false for a classic test whose difference of
        covariances is not positive definite.
    distribution : "chi-square", or "F" with a cluster-robust covariance.
    statistic, df_num, df_den, p_value : the test; df_den is infinite for chi-square.
    frame : by coefficient: fixed, random, their difference (classic), or the slope within less that between groups
        (auxiliary), as `estimate`, std_error, df, statistic, p_value, conf_low, conf_high. NaN where there is none.
    description : of the covariance.
    notes : what deserves a second look, in words, with what to do.
    """

    method: str
    vcov: str
    fixed: str
    random: str
    distribution: str
    statistic: float
    df_num: float
    df_den: float
    p_value: float
    frame: pd.DataFrame = field(repr=False)
    description: str = ""
    notes: tuple[str, ...] = ()
    is_defined: bool = True

    def document(self) -> Document:
        """The test as a document."""
        facts: list[Row] = [["Fixed effects", self.fixed], ["Random effects", self.random], *self._result]
        auxiliary = self.method == "auxiliary"
        heads = ("Fixed", "Random", "Within − between" if auxiliary else "Difference", "SE")
        columns: list[str | Column] = ["Term", *(Column(name, align="decimal") for name in heads)]
        rows: list[Row] = [_row(str(term), row) for term, row in self.frame.iterrows()]
        notes = ["A small p speaks against random effects: the effects of groups go together with the predictors."]
        if auxiliary:
            notes.insert(0, "Within − between: slope within groups less slope between them.")
            notes.append(f"Standard errors: {self.description}.")
        warnings = [Note(note, kind="warning") for note in self.notes]
        return Document(
            "Hausman test of fixed against random effects",
            [Table(["", ""], facts), *warnings, Table(columns, rows, title="Coefficients", notes=notes)],
        )

    @property
    def _result(self) -> list[Row]:
        """The test; that it is not defined comes before any number."""
        if self.is_defined:
            return [["Test", self._words]]
        return [
            ["Test", "not defined for these fits: use method='auxiliary'"],
            ["Not to be used", self._words],
        ]

    @property
    def _words(self) -> str:
        """The test in a sentence."""
        p = p_statement(self.p_value) or "no p-value"
        form = "auxiliary regression" if self.method == "auxiliary" else "classic"
        if self.distribution == "F":
            value = f"F = {self.statistic:.3f} with {self.df_num:.0f} and {self.df_den:.1f} df"
        else:
            value = f"chi-square = {self.statistic:.3f} with {self.df_num:.0f} df"
        return f"{value}, {p} ({form}, {self.vcov})"

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def _row(term: str, row: pd.Series) -> Row:
    """One coefficient of a printed table; its size decides how many decimals are shown if its error cannot."""
    if np.isnan(row["std_error"]):
        size = max(abs(row["fixed"]), abs(row["random"]))
        decimals = decimals_for(size, least=3) if size < 1000.0 else 1
    else:
        decimals = shown_decimals(row["std_error"], row["estimate"])
    return [term, *(fixed(float(row[name]), decimals) for name in ("fixed", "random", "estimate", "std_error"))]
