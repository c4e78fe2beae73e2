"""Hausman's test of fixed against random effects."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from crosslevel.design import CrossProducts, Design
from crosslevel.display import p_statement
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.panel.fit import PanelFit
from crosslevel.estimators.panel.hausman_record import UNDEFINED, HausmanTest
from crosslevel.inference.clusterings import Clustering, clustering_named
from crosslevel.inference.estimates import Joint
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.covariance import check_covariance, panel_covariance
from crosslevel.inference.panel.hausman import AuxiliaryRows, auxiliary_products, classic_test, wald_test
from crosslevel.inference.panel.panel import CONSTANT
from crosslevel.inference.panel.refusals import listed
from crosslevel.inference.panel.regression import correlations, independent, regress
from crosslevel.inference.wald import coefficient_table
from crosslevel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.estimators.panel.hausman_taylor import InstrumentDetails

SAME = 1e-9
"""Relative difference of the outcome's sums up to which two fits have the same rows."""


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
    _require_same_predictors(fe, side)
    if method == "classic" and vcov is not None:
        raise CrosslevelError(
            f"`vcov` is {vcov!r}, but the classic test rests on the difference of two covariances that assume "
            "independent errors. Use method='auxiliary', which takes any."
        )
    tested = _compared(fe, side)
    if method == "auxiliary":
        return _auxiliary(fe, side, tested, check_covariance(vcov))
    return _classic(fe, side, tested)


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
    from crosslevel.estimators.panel.hausman_taylor import InstrumentDetails
    from crosslevel.estimators.panel.random_effects import RandomDetails

    if isinstance(re, PanelFit) and isinstance(re.details, InstrumentDetails):
        raise _overidentified(re.details)
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


def _overidentified(details: "InstrumentDetails") -> CrosslevelError:
    """That the test of instruments is the one that is looked for."""
    found = details.overidentification
    if found["df"] > 0:
        words = f"chi-square = {found['statistic']:.3f} with {found['df']:.0f} df, {p_statement(found['p_value'])}"
    else:
        words = "here there are just as many instruments as coefficients, so that nothing can be tested"
    return CrosslevelError(
        f"`re` is a fit of {details.estimator}. Whether it agrees with fixed effects is the same question as whether "
        f"its instruments are valid, which re.details.overidentification answers ({words})."
    )


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


def _require_same_predictors(fe: PanelFit, side: RandomSide) -> None:
    """Refuse fits whose predictors that vary within groups are not the same: coefficients would mean other things."""
    absent = [term for term in fe.terms if term not in side.terms]
    if absent:
        raise CrosslevelError(
            f"`re` has no {', '.join(absent)}, which `fe` has. Both need the same predictors, but for those that do "
            "not vary within groups."
        )
    within, total = np.diag(side.products.within), np.diag(side.products.total)
    varying = np.flatnonzero(within > CONSTANT * total)
    names = [side.products.names[k] for k in varying]
    further = [name for name in names if name in side.terms and name not in fe.terms]
    if further:
        varies, has, it = ("varies", "has", "it") if len(further) == 1 else ("vary", "have", "them")
        raise CrosslevelError(
            f"`re` has {listed(further)}, which {varies} within {fe.group} and {has} no coefficient in `fe` (not in "
            "its formula, or determined by others within groups). Both need the same predictors, but for those that "
            f"do not vary within groups: put {it} into both formulas, or into none."
        )


def _compared(fe: PanelFit, side: RandomSide) -> IntArray:
    """Positions among the coefficients of `fe` of those that can differ from the ones of `re`.

    Raises
    ------
    CrosslevelError : there are none.
    """
    products = auxiliary_products(side.products, side.design.x, side.constant, _places(fe, side), side.theta)
    kept, _ = independent(correlations(products.pooled[:-1, :-1]))
    found = kept[kept >= len(side.design.x)] - len(side.design.x)
    if not len(found):
        raise CrosslevelError(
            f"The group means of {listed(list(fe.terms))} do not differ between groups, or predictors of `re` "
            "determine them, as Mundlak's terms do: its slopes are those within groups, and there is nothing to test. "
            "If it has such terms, test them: cl.mundlak_test(re)."
        )
    return np.asarray(found)


def _places(fe: PanelFit, side: RandomSide) -> IntArray:
    """Positions of the coefficients of `fe` among the columns of `re`."""
    return np.array([side.products.names.index(term) for term in fe.terms], dtype=np.int64)


def _left_out(fe: PanelFit, tested: IntArray) -> tuple[str, ...]:
    """A note on coefficients that are the same within groups in both fits, if there are any."""
    names = [term for k, term in enumerate(fe.terms) if k not in tested]
    if not names:
        return ()
    return (
        f"Not tested: {listed(names)}. Their group means do not differ between groups, or predictors of `re` determine "
        "them, so that they tell nothing about whether effects and predictors go together.",
    )


def _classic(fe: PanelFit, side: RandomSide, tested: IntArray) -> HausmanTest:
    """The test of the difference of coefficients."""
    place = [side.terms.index(term) for term in fe.terms]
    within, efficient = fe.covariance_by("iid").matrix, side.vcov[np.ix_(place, place)]
    difference, pairs = fe.beta - side.beta[place], np.ix_(tested, tested)
    found = classic_test(difference[tested], within[pairs], efficient[pairs])
    spread = np.diag(within - efficient)
    errors = np.sqrt(np.where(spread > 0.0, spread, np.nan))
    return HausmanTest(
        method="classic", vcov="iid", fixed=fe.details.estimator, random=side.name, distribution="chi-square",
        statistic=found.statistic, df_num=float(found.df), df_den=np.inf, p_value=found.p_value,
        frame=_frame(fe, side, difference, errors, np.full(len(errors), np.inf)), is_defined=found.is_defined,
        notes=(*(() if found.is_defined else (UNDEFINED,)), *_left_out(fe, tested)),
    )  # fmt: skip


def _auxiliary(fe: PanelFit, side: RandomSide, tested: IntArray, vcov: str) -> HausmanTest:
    """The test of deviations from group means in the random-effects regression."""
    places = _places(fe, side)[tested]
    products = auxiliary_products(side.products, side.design.x, side.constant, places, side.theta)
    regression = regress(products, "rows")
    maker = AuxiliaryRows(
        design=side.design, products=side.products, codes=side.groups.codes, x=side.design.x, tested=places,
        theta=side.theta,
    )  # fmt: skip
    covariance = panel_covariance(regression, side.groups, maker, vcov, normal=vcov == "iid")
    k, p = len(places), len(regression.beta)
    contrasts = np.eye(p)[p - k :]
    joint = _joint(covariance, contrasts, regression.beta[p - k :])
    table = np.full((3, len(fe.terms)), np.nan)
    table[:, tested] = regression.beta[p - k :], covariance.std_error(contrasts), covariance.df(contrasts)
    return HausmanTest(
        method="auxiliary", vcov=vcov, fixed=fe.details.estimator, random=side.name, frame=_frame(fe, side, *table),
        description=covariance.description, notes=_left_out(fe, tested),
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
