"""Coefficients with a cluster-robust covariance: tables, intervals, joint tests."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import pandas as pd

from crosslevel.display import Column, Document, Note, Row, Table, counted, fixed, p_value, percent
from crosslevel.inference.contrasts import Coefficients, Contrasts, contrast_matrix
from crosslevel.inference.estimates import Joint
from crosslevel.inference.generalized.score_covariance import ScoreCovariance
from crosslevel.inference.robust import RobustCovariance
from crosslevel.inference.wald import coefficient_table
from crosslevel.types import FloatArray

FEW_CLUSTERS = 10
"""Clusters below which the words over a table warn."""

SHORT = 0.5
"""Share of the true variance, under the working model, below which the words warn of a cluster-robust one."""

ASTRAY = 0.1
"""How far from the true variance, under the working model, one clustering of crossed effects may be without warning."""

FEW_NAMES = 3
"""Coefficients that are named in a warning."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ContrastTest:
    """A joint test of combinations of coefficients with a cluster-robust covariance.

    Attributes
    ----------
    test : "HTZ", "EDF" or "naive-F".
    statistic : F, scaled where the test scales it.
    df_num, df_den : its degrees of freedom.
    p_value : tail probability.
    combinations : frame of the single combinations: estimate, std_error, df, statistic, p_value, conf_low, conf_high.
    """

    test: str
    statistic: float
    df_num: float
    df_den: float
    p_value: float
    combinations: pd.DataFrame = field(repr=False)

    def __str__(self) -> str:
        what = ", ".join(map(str, self.combinations.index))
        return (
            f"Joint test ({self.test}) that {what} {'is' if len(self.combinations) == 1 else 'are'} zero: "
            f"F = {self.statistic:.3f} with {self.df_num:.0f} and {self.df_den:.1f} df, p = {self.p_value:.4g}"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class RobustFit:
    """Coefficients of a model with a cluster-robust covariance.

    Attributes
    ----------
    response, formula : what was fitted.
    coefficients : the p names, and their spellings.
    beta : (p,) coefficients.
    covariance : the covariance, and what tests need.
    """

    response: str
    formula: str
    coefficients: Coefficients = field(repr=False)
    beta: FloatArray = field(repr=False)
    covariance: RobustCovariance | ScoreCovariance

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return self.coefficients.names

    @property
    def method(self) -> str:
        """How residuals are adjusted, as in "CR2"."""
        return self.covariance.kind.name

    @property
    def ngroups(self) -> dict[str, int]:
        """Clusters of each clustering, by name."""
        return dict(self.covariance.clusters)

    @property
    def params(self) -> pd.Series:
        """Coefficients."""
        return self._by_term(self.beta, "estimate")

    @property
    def vcov(self) -> pd.DataFrame:
        """Cluster-robust covariance matrix of the coefficients."""
        names = pd.Index(self.terms, name="term")
        return pd.DataFrame(self.covariance.vcov, index=names, columns=names)

    @property
    def bse(self) -> pd.Series:
        """Cluster-robust standard errors; NaN for coefficients to which the clusters contribute nothing."""
        return self._by_term(self.covariance.std_error(np.eye(len(self.terms))), "std_error")

    @cached_property
    def df(self) -> pd.Series:
        """Satterthwaite degrees of freedom; with several clusterings the fewest of those by each of them.

        Of another family than the normal one, clusters - 1.
        """
        return self._by_term(self.covariance.df(np.eye(len(self.terms))), "df")

    def tests(self, *, level: float = 0.95) -> pd.DataFrame:
        """Coefficient table: estimate, std_error, df, statistic, p_value, conf_low, conf_high by term."""
        return coefficient_table(self.terms, self.beta, self.bse.to_numpy(), self.df.to_numpy(), level=level)

    def tidy(self, *, level: float = 0.95) -> pd.DataFrame:
        """Coefficient table, as `tests`."""
        return self.tests(level=level)

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Confidence intervals of the coefficients."""
        return self.tests(level=level)[["conf_low", "conf_high"]]

    def contrast(self, contrasts: Contrasts, test: str | None = None, *, level: float = 0.95) -> ContrastTest:
        """Test combinations of coefficients jointly.

        Parameters
        ----------
        contrasts : names of coefficients, or expressions such as "a - b", that are zero under the hypothesis; weights
            by coefficient, {"a": 1, "b": -1}; a frame with a row for each and columns named by coefficients; or
            numbers (m, p). As for `fit.contrast`.
        test : "HTZ" (Hotelling's T^2 with degrees of freedom by Pustejovsky & Tipton 2018), "EDF" (Fai & Cornelius
            1996) or "naive-F" (clusters - 1 degrees of freedom). None: "HTZ"; "naive-F", the one that is defined, for
            another family than the normal one.
        level : confidence level of the intervals of the single combinations.

        Raises
        ------
        CrosslevelError : unknown names or tests; more combinations than the clusters can tell apart.

        Examples
        --------
        >>> import crosslevel as cl
        >>> fit = cl.mixed("mathach ~ ses * sector + (ses | school)", cl.datasets.load("hsb"))
        >>> print(fit.robust("CR2").contrast(["ses", "ses:sector[Catholic]"]))
        Joint test (HTZ) that ses, ses:sector[Catholic] are zero: F = 257.711 with 2 and 105.0 df, p = 3.117e-41
        """
        chosen = self.covariance.usual_test if test is None else test
        return contrast_test(self.covariance, self.coefficients, self.beta, contrasts, chosen, level)

    def summary(self, *, level: float = 0.95) -> Document:
        """The coefficients, and how their standard errors were made, to print or to show in a notebook."""
        facts = Table(["", ""], [["Formula", self.formula], ["Clusters", clusters_in_words(self.covariance)]])
        tidy = self.tests(level=level)
        rows: list[Row] = [robust_row(str(name), row) for name, row in tidy.iterrows()]
        heads = ("Estimate", "SE", "df", "t", "p", f"{100 * level:g}% low", "high")
        columns: list[str | Column] = ["Term", *(Column(name, align="decimal") for name in heads)]
        table = Table(columns, rows, title="Coefficients", notes=robust_notes(self.covariance))
        warnings = [Note(text, kind="warning") for text in concerns(self.covariance, self.df)]
        return Document(f"Cluster-robust inference on {self.response}", [facts, *warnings, table])

    def __str__(self) -> str:
        return str(self.summary())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        return self.summary()._repr_html_()

    def _by_term(self, values: FloatArray, name: str) -> pd.Series:
        """A Series by coefficient."""
        return pd.Series(values, index=pd.Index(self.terms, name="term"), name=name)


class ContrastCovariance(Protocol):
    """A covariance that tests of combinations of coefficients can be made with."""

    def df(self, contrasts: FloatArray) -> FloatArray:
        """Degrees of freedom of each row of C (m, p)."""

    def std_error(self, contrasts: FloatArray) -> FloatArray:
        """Standard error of each row of C."""

    def joint(self, contrasts: FloatArray, estimate: FloatArray, test: str) -> Joint:
        """Joint test that C beta is zero."""


def contrast_test(
    covariance: ContrastCovariance,
    coefficients: Coefficients,
    beta: FloatArray,
    contrasts: Contrasts,
    test: str,
    level: float,
) -> ContrastTest:
    """Test combinations of coefficients jointly; see `RobustFit.contrast`."""
    names, rows = contrast_matrix(contrasts, coefficients)
    found = covariance.joint(rows, rows @ beta, test)
    single = coefficient_table(names, rows @ beta, covariance.std_error(rows), covariance.df(rows), level=level)
    return ContrastTest(
        test=test, statistic=found.statistic, df_num=found.df_num, df_den=found.df_den, p_value=found.p_value,
        combinations=single,
    )  # fmt: skip


def robust_row(name: str, row: pd.Series) -> Row:
    """One coefficient of a printed table."""
    from crosslevel.estimators.summary import shown_decimals

    decimals = 3 if np.isnan(row["std_error"]) else shown_decimals(row["std_error"], row["estimate"])
    return [
        name,
        fixed(row["estimate"], decimals),
        fixed(row["std_error"], decimals),
        fixed(row["df"], 0 if row["df"] > 1000 else 1),
        fixed(row["statistic"], 2),
        p_value(row["p_value"]),
        fixed(row["conf_low"], decimals),
        fixed(row["conf_high"], decimals),
    ]


def clusters_in_words(covariance: RobustCovariance | ScoreCovariance) -> str:
    """How many clusters of what."""
    return " and ".join(f"{counted(count)} ({name})" for name, count in covariance.clusters.items())


def robust_notes(
    covariance: RobustCovariance | ScoreCovariance, working: str = "the model's own covariance"
) -> list[str]:
    """How standard errors and degrees of freedom (for a working covariance) were made, in words."""
    notes = [f"Standard errors: {covariance.kind.description}."]
    if isinstance(covariance, ScoreCovariance):
        return [f"{notes[0]} {covariance.meaning}", "Degrees of freedom: clusters - 1."]
    if len(covariance.clusters) > 1:
        notes.append("Clusterings: summed over all intersections (Cameron, Gelbach & Miller 2011).")
    several = ", the fewest of those by each clustering" if len(covariance.clusters) > 1 else ""
    notes.append(f"Degrees of freedom: Satterthwaite, under {working}{several}.")
    return notes


def concerns(covariance: RobustCovariance | ScoreCovariance, df: pd.Series) -> list[str]:
    """What must be read before the numbers."""
    out = []
    name, least = min(covariance.clusters.items(), key=lambda item: item[1])
    if least < FEW_CLUSTERS:
        out.append(
            f"Only {least} clusters of {name}: cluster-robust standard errors are estimated from {least} values. "
            "Look at the degrees of freedom, and compare with the model's own standard errors."
        )
    if isinstance(covariance, ScoreCovariance):
        return out
    if covariance.negative:
        out.append(
            "The sum over the clusterings was not positive definite, and its negative eigenvalues were set to zero. "
            "Some standard errors may be far too small: compare with those of one clustering at a time."
        )
    able = df.notna().to_numpy()
    if covariance.is_crossed and np.any(np.abs(covariance.expected[able] - 1.0) > ASTRAY):
        out.append(
            "The model has random effects that rows of different clusters share, which one clustering leaves out. Were "
            f"the model true, the variances would be {percent(covariance.expected[able].min())} to "
            f"{percent(covariance.expected[able].max())} of the right ones on average. Name all clusterings: "
            "cluster=['a', 'b']."
        )
    short = [str(term) for term in df.index[able & (covariance.expected < SHORT)]]
    if short and not covariance.is_crossed:
        out.append(_too_small(short, float(np.min(covariance.expected[able]))))
    unseen = [str(term) for term in df.index[df.isna()]]
    if unseen:
        out.append(
            f"No standard error of {_listed(unseen)}: the contributions of the clusters are zero whatever the data, "
            "as where a predictor tells few clusters apart exactly."
        )
    return out


def _listed(terms: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(terms) - FEW_NAMES} more" if len(terms) > FEW_NAMES else ""
    return ", ".join(terms[:FEW_NAMES]) + more


def _too_small(terms: list[str], least: float) -> str:
    """Words for standard errors that are too small by construction, the least variance relative to the true one."""
    share = percent(least) if least >= 0.01 else "less than 1%"
    return (
        f"Standard errors of {_listed(terms)} are too small: these coefficients rest on single "
        "clusters, whose residuals they fit. Were the working model true, the cluster-robust variance would be "
        f"{share} of the right one on average. Do not use them."
    )
