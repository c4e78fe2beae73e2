"""Hausman's test of fixed against random effects."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from crosslevel.design import CrossProducts, Design
from crosslevel.display import Column, Document, Note, Row, Table, fixed, p_value
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.panel.fit import PanelFit
from crosslevel.estimators.summary import shown_decimals
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.inference.estimates import Joint
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.covariance import check_covariance, panel_covariance
from crosslevel.inference.panel.hausman import AuxiliaryRows, auxiliary_products, classic_test, wald_test
from crosslevel.inference.panel.regression import correlations, independent, regress
from crosslevel.inference.wald import coefficient_table
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit

SAME = 1e-9
"""Relative difference of the outcome's sums up to which two fits have the same rows."""


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
    distribution : "chi-square", or "F" with a cluster-robust covariance.
    statistic, df_num, df_den, p_value : the test; df_den is infinite for chi-square.
    frame : by coefficient: fixed, random, their difference (classic), or the slope within less that between groups
        (auxiliary), as `estimate`, std_error, df, statistic, p_value, conf_low, conf_high.
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

    def document(self) -> Document:
        """The test as a document."""
        facts: list[Row] = [["Fixed effects", self.fixed], ["Random effects", self.random], ["Test", self._words]]
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
    def _words(self) -> str:
        """The test in a sentence."""
        shown = p_value(self.p_value)
        p = f"p {shown}" if shown.startswith("<") else f"p = {shown}" if shown else "no p-value"
        form = "auxiliary regression" if self.method == "auxiliary" else "classic"
        if self.distribution == "F":
            value = f"F = {self.statistic:.3f} with {self.df_num:.0f} and {self.df_den:.1f} df"
        else:
            value = f"chi-square = {self.statistic:.3f} with {self.df_num:.0f} df"
        return f"{value}, {p} ({form}, {self.vcov})"

    def __str__(self) -> str:
        return str(self.document())

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def _row(term: str, row: pd.Series) -> Row:
    """One coefficient of a printed table."""
    decimals = 3 if np.isnan(row["std_error"]) else shown_decimals(row["std_error"], row["estimate"])
    return [term, *(fixed(float(row[name]), decimals) for name in ("fixed", "random", "estimate", "std_error"))]


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomSide:
    """What the test asks of the random-effects model, whoever fitted it.

    Attributes
    ----------
    name : the estimator.
    terms, beta, vcov : its coefficients with the covariance that assumes the model.
    design, products, groups : its rows.
    constant : position of the intercept, -1 without.
    theta : (J,) shares of group means.
    """

    name: str
    terms: tuple[str, ...]
    beta: FloatArray = field(repr=False)
    vcov: FloatArray = field(repr=False)
    design: Design = field(repr=False)
    products: CrossProducts = field(repr=False)
    groups: Clustering = field(repr=False)
    constant: int
    theta: FloatArray = field(repr=False)


def hausman(
    fe: PanelFit,
    re: "PanelFit | MixedFit",
    *,
    method: Literal["classic", "auxiliary"] = "classic",
    vcov: str | None = None,
) -> HausmanTest:
    """Test whether the effects of groups go together with the predictors, so that random effects mislead.

    Parameters
    ----------
    fe : a fit of `cl.fixed_effects`, with effects of groups.
    re : a fit of `cl.random_effects` to the same rows; or of `cl.mixed` with one random intercept, for the same groups.
        It may have predictors that do not vary within groups.
    method : "classic", the difference of the coefficients by the difference of their covariances, which needs errors
        that are independent and alike, and is not always defined (a note says so); or "auxiliary", slopes of deviations
        from group means added to the random-effects regression, which tests the same and takes any covariance.
    vcov : covariance of the auxiliary regression, as in `cl.fixed_effects`: "iid" (the default), "CR2" (an F test),
        "arellano-HC1", "white2-HC0", ...

    Returns
    -------
    HausmanTest

    Raises
    ------
    CrosslevelError : other estimators, other rows, or no common coefficients.

    Examples
    --------
    >>> import crosslevel as cl
    >>> hsb = cl.datasets.load("hsb")
    >>> fe = cl.fixed_effects("mathach ~ ses", hsb, group="school")
    >>> re = cl.random_effects("mathach ~ ses + sector", hsb, group="school")
    >>> test = cl.hausman(fe, re, method="auxiliary", vcov="CR2")
    >>> print(f"{test.distribution} = {test.statistic:.1f}, p = {test.p_value:.2g}")
    F = 72.8, p = 4.5e-12
    """
    side = _random_side(_checked_fixed(fe), re)
    _require_same_rows(fe, side)
    if method not in ("classic", "auxiliary"):
        raise CrosslevelError(f"`method` is 'classic' or 'auxiliary'; got {method!r}.")
    absent = [term for term in fe.terms if term not in side.terms]
    if absent:
        raise CrosslevelError(
            f"`re` has no {', '.join(absent)}, which `fe` has. Both need the same predictors, but for those that do "
            "not vary within groups."
        )
    if method == "auxiliary":
        return _auxiliary(fe, side, check_covariance(vcov))
    if vcov is not None:
        raise CrosslevelError(
            f"`vcov` is {vcov!r}, but the classic test rests on the difference of two covariances that assume "
            "independent errors. Use method='auxiliary', which takes any."
        )
    return _classic(fe, side)


def _checked_fixed(fe: object) -> PanelFit:
    """A one-way fixed-effects fit."""
    from crosslevel.estimators.panel.fixed_effects import WithinDetails

    if not isinstance(fe, PanelFit) or not isinstance(fe.details, WithinDetails):
        what = fe.estimator if isinstance(fe, PanelFit) else type(fe).__name__
        raise CrosslevelError(f"`fe` is a fit of cl.fixed_effects, and comes first; got {what}.")
    if fe.details.is_two_way:
        raise CrosslevelError(
            "`fe` has effects of times too, which `re` does not have. Put the times into both formulas as dummies, and "
            "use effect='individual'."
        )
    return fe


def _random_side(fe: PanelFit, re: object) -> RandomSide:
    """The random-effects model, from either fit."""
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.estimators.panel.random_effects import RandomDetails

    if isinstance(re, PanelFit) and isinstance(re.details, RandomDetails):
        panel = re.panel
        side = RandomSide(
            name=re.details.estimator, terms=re.terms, beta=re.beta, vcov=re.covariance_by("iid").matrix,
            design=panel.design, products=panel.products, groups=panel.groups, constant=panel.design.constant,
            theta=re.details.components.theta,
        )  # fmt: skip
    elif isinstance(re, MixedFit):
        side = _of_mixed(re)
    else:
        what = re.estimator if isinstance(re, PanelFit) else type(re).__name__
        raise CrosslevelError(f"`re` is a fit of cl.random_effects or of cl.mixed; got {what}.")
    if side.groups.name != fe.group:
        raise CrosslevelError(
            f"`re` has random effects of {side.groups.name!r}, and `fe` fixed effects of {fe.group!r}. Both need the "
            "same groups."
        )
    return side


def _of_mixed(re: "MixedFit") -> RandomSide:
    """A multilevel model with one random intercept.

    Raises
    ------
    CrosslevelError : it is another model.
    """
    design = re.design
    intercept_only = design.is_single and len(design.z) == 1 and design.z[0] == design.constant
    if not intercept_only or design.residual is not None or design.weights is not None or design.stream is not None:
        raise CrosslevelError(
            "`re` is a model with more than one random intercept, independent rows and no weights, and the test "
            "compares models that differ in that alone. Fit one with (1 | g) for it; or test group means as "
            "predictors (Mundlak) in the model itself, with fit.contrast."
        )
    sigma2_e, n = re.sigma**2, design.products.count
    sigma2_u = float(re.cov_re[design.group].to_numpy()[0, 0])
    return RandomSide(
        name=re.estimator, terms=design.fixed_names, beta=re.solution.beta, vcov=re.solution.vcov, design=design,
        products=design.products, groups=clustering_named(design, design.group), constant=design.constant,
        theta=1.0 - np.sqrt(sigma2_e / (sigma2_e + n * sigma2_u)),
    )  # fmt: skip


def _require_same_rows(fe: PanelFit, side: RandomSide) -> None:
    """Refuse fits to different rows."""
    ours, theirs = fe.panel.products, side.products
    same = ours.names[-1] == theirs.names[-1] and ours.weight == theirs.weight
    if same:
        a, b = (each.total[-1, -1] for each in (ours, theirs))
        means = [float((each.origin + each.grand_mean)[-1]) for each in (ours, theirs)]
        same = abs(a - b) <= SAME * a and (means[0] - means[1]) ** 2 * ours.weight <= SAME * a
    if not same:
        raise CrosslevelError(
            f"`re` was fitted to {theirs.weight:.0f} rows of {theirs.names[-1]!r}, `fe` to {ours.weight:.0f} rows of "
            f"{ours.names[-1]!r}, and these are not the same. Leave out rows with missing values in any predictor "
            "before you fit both."
        )


def _classic(fe: PanelFit, side: RandomSide) -> HausmanTest:
    """The test of the difference of coefficients."""
    place = [side.terms.index(term) for term in fe.terms]
    within, efficient = fe.covariance_by("iid").matrix, side.vcov[np.ix_(place, place)]
    difference = fe.beta - side.beta[place]
    found = classic_test(difference, within, efficient)
    spread = np.diag(within - efficient)
    errors = np.sqrt(np.where(spread > 0.0, spread, np.nan))
    return HausmanTest(
        method="classic", vcov="iid", fixed=fe.details.estimator, random=side.name, distribution="chi-square",
        statistic=found.statistic, df_num=float(found.df), df_den=np.inf, p_value=found.p_value,
        frame=_frame(fe, side, difference, errors, np.full(found.df, np.inf)),
        notes=() if found.is_defined else (UNDEFINED,),
    )  # fmt: skip


def _auxiliary(fe: PanelFit, side: RandomSide, vcov: str) -> HausmanTest:
    """The test of deviations from group means in the random-effects regression."""
    tested = np.array([side.products.names.index(term) for term in fe.terms], dtype=np.int64)
    products = auxiliary_products(side.products, side.design.x, side.constant, tested, side.theta)
    _, dropped = independent(correlations(products.pooled[:-1, :-1]))
    if len(dropped):
        names = ", ".join(side.products.names[products.columns[j]] for j in dropped)
        raise CrosslevelError(
            f"The group means of {names} do not differ between groups, or predictors of `re` determine them, as "
            "Mundlak's terms do: its slopes are those within groups, and there is nothing to test. If it has such "
            "terms, test them: cl.mundlak_test(re)."
        )
    regression = regress(products, "rows")
    maker = AuxiliaryRows(
        design=side.design, products=side.products, codes=side.groups.codes, x=side.design.x, tested=tested,
        theta=side.theta,
    )  # fmt: skip
    covariance = panel_covariance(regression, side.groups, maker, vcov, normal=vcov == "iid")
    k, p = len(tested), len(regression.beta)
    contrasts, estimate = np.eye(p)[p - k :], regression.beta[p - k :]
    errors, df = covariance.std_error(contrasts), covariance.df(contrasts)
    joint = _joint(covariance, contrasts, estimate)
    return HausmanTest(
        method="auxiliary", vcov=vcov, fixed=fe.details.estimator, random=side.name,
        frame=_frame(fe, side, estimate, errors, df), description=covariance.description,
        distribution="chi-square" if covariance.robust is None else "F", statistic=joint.statistic,
        df_num=joint.df_num, df_den=joint.df_den, p_value=joint.p_value,
    )  # fmt: skip


def _joint(covariance: OrdinaryCovariance, contrasts: FloatArray, estimate: FloatArray) -> Joint:
    """The joint test: F with a cluster-robust covariance and its small-sample degrees of freedom, else chi-square."""
    if covariance.robust is not None:
        return covariance.joint(contrasts, estimate, "HTZ")
    found = wald_test(estimate, contrasts @ covariance.matrix @ contrasts.T)
    return Joint(statistic=found.statistic, df_num=float(found.df), df_den=np.inf, p_value=found.p_value)


def _frame(fe: PanelFit, side: RandomSide, estimate: FloatArray, errors: FloatArray, df: FloatArray) -> pd.DataFrame:
    """Both coefficients, and how they differ."""
    table = coefficient_table(fe.terms, estimate, errors, df, level=0.95)
    place = [side.terms.index(term) for term in fe.terms]
    table.insert(0, "fixed", fe.beta)
    table.insert(1, "random", side.beta[place])
    return table
