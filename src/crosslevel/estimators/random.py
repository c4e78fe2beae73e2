"""The random effects of a fit as frames: modes, coefficients, covariances, shares of the variance."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.design.factors import GroupingFactor
from crosslevel.errors import CrosslevelError
from crosslevel.estimators import tables
from crosslevel.inference.icc import IntraclassCorrelation, sampling_variances
from crosslevel.inference.icc import reliability as own_reliability
from crosslevel.inference.lrt import BoundaryTest, boundary_test
from crosslevel.inference.removal import information_of, removal
from crosslevel.inference.varcomp import VarianceComponents, intercept_icc, variance_share
from crosslevel.likelihood.profiled import ProfiledDeviance
from crosslevel.solve import Solution, deviance_at
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit

Modes = tuple[tuple[FloatArray, FloatArray], ...]
"""For each factor conditional modes (J, q) and their covariances (J, q, q)."""


def level_index(factor: GroupingFactor) -> pd.Index:
    """The levels of a factor as an index."""
    return pd.Index(factor.levels, name=factor.name)


def sizes(design: Design, factor: GroupingFactor) -> pd.Series:
    """Rows of each level."""
    place = design.factors.index(factor)
    return pd.Series(design.sizes[place], index=level_index(factor), name="rows")


def covariances(design: Design, components: tuple[VarianceComponents, ...]) -> dict[str, pd.DataFrame]:
    """Covariance matrices by factor."""
    out = {}
    for factor, part in zip(design.factors, components, strict=True):
        names = list(design.effects_of(factor))
        out[factor.name] = pd.DataFrame(part.covariance, index=names, columns=names)
    return out


def modes(design: Design, found: Modes, *, se: bool) -> dict[str, pd.DataFrame]:
    """Conditional modes by factor and level, with their standard errors if wanted."""
    return {
        factor.name: tables.modes_table(part, level_index(factor), design.effects_of(factor), se=se)
        for factor, part in zip(design.factors, found, strict=True)
    }


def coefficients(design: Design, params: pd.Series, found: Modes) -> dict[str, pd.DataFrame]:
    """Fixed effects plus conditional modes, by factor and level."""
    return {
        factor.name: tables.coefficients_table(params, part[0], level_index(factor), design.effects_of(factor))
        for factor, part in zip(design.factors, found, strict=True)
    }


def reliability(
    design: Design,
    solution: Solution,
    components: tuple[VarianceComponents, ...],
    found: Modes,
    factor: GroupingFactor,
) -> tables.Reliability:
    """Reliabilities of a factor's levels: of their own coefficients, or of their modes where factors are several."""
    place = design.factors.index(factor)
    tau = np.diag(components[place].covariance)
    criterion = solution.criterion
    if isinstance(criterion, ProfiledDeviance):
        own = sampling_variances(criterion.reduced.root, criterion.reduced.basis, solution.sigma**2)
        values = own_reliability(tau, own)
    else:
        spread = np.einsum("jii->ji", found[place][1])
        values = np.full(spread.shape, np.nan)
        np.divide(tau - spread, tau, out=values, where=np.broadcast_to(tau > 0.0, spread.shape))
    return tables.reliability_tables(values, level_index(factor), design.effects_of(factor))


def intercepts(design: Design) -> tuple[int, ...]:
    """For each factor the position of its random intercept, -1 if it has none."""
    names = [design.effects_of(factor) for factor in design.factors]
    return tuple(effects.index("Intercept") if "Intercept" in effects else -1 for effects in names)


def has_shares(design: Design) -> bool:
    """Whether intercepts have a share in the total variance: some vary, and the residual variance is one."""
    one = design.residual is None or design.residual.is_homogeneous
    return one and any(place >= 0 for place in intercepts(design))


def _require_one_variance(design: Design) -> None:
    """Refuse shares of a variance that differs between rows."""
    if design.residual is not None and not design.residual.is_homogeneous:
        raise CrosslevelError(
            f"`icc` needs one residual variance; this model has {design.residual.words}, so that the share differs "
            "between rows. Compute it from `fit.varcomp()` and `fit.residual_parameters()` for the rows you mean."
        )


def intraclass(
    design: Design, components: tuple[VarianceComponents, ...], group: str | None, *, level: float
) -> IntraclassCorrelation:
    """Share of one factor's intercepts, or of those of all factors, in the total variance.

    Raises
    ------
    CrosslevelError : there is no random intercept, or none over `group`, or the residual variance differs.
    """
    _require_one_variance(design)
    places = intercepts(design)
    wanted = [group is None or factor.name == design.factor_named(group).name for factor in design.factors]
    if not any(place >= 0 and chosen for place, chosen in zip(places, wanted, strict=True)):
        names = [name for factor in design.factors for name in design.effects_of(factor)]
        raise CrosslevelError(
            f"`icc` needs a random intercept; the random effects are {', '.join(names) or 'none'}. "
            "Add a term such as (1 | school)."
        )
    if all(wanted):
        return intercept_icc(components, places, level=level)
    return variance_share(components, places, tuple(wanted), level=level)


def variance_shares(design: Design, components: tuple[VarianceComponents, ...], *, level: float) -> pd.DataFrame:
    """Shares of the levels in the variance of intercepts and residuals, the residual's last."""
    _require_one_variance(design)
    places = intercepts(design)
    records = []
    for k, factor in enumerate(design.factors):
        if places[k] < 0:
            continue
        own = variance_share(components, places, tuple(m == k for m in range(len(places))), level=level)
        shared = tuple(m == k or nested_in(design, k, m) for m in range(len(places)))
        variance = float(components[k].covariance[places[k], places[k]])
        above = variance_share(components, places, shared, level=level).estimate
        records.append((factor.name, variance, own.estimate, own.std_error, own.conf_low, own.conf_high, above))
    # what the residual has is what all factors together do not have
    rest = intercept_icc(components, places, level=level)
    records.append(
        ("Residual", components[0].sigma2, 1.0 - rest.estimate, rest.std_error, 1.0 - rest.conf_high,
         1.0 - rest.conf_low, np.nan)
    )  # fmt: skip
    columns = ["group", "variance", "share", "std_error", "conf_low", "conf_high", "icc"]
    return pd.DataFrame.from_records(records, columns=columns).set_index("group")


def nested_in(design: Design, inner: int, outer: int) -> bool:
    """Whether each level of one factor lies in one level of another."""
    if inner == outer or design.is_single or design.factors[inner].members or design.factors[outer].members:
        return False
    pairs = design.crossing.pairs[min(inner, outer), max(inner, outer)]
    return len(pairs.level) == design.factors[inner].n_levels


def overall_test(fit: "MixedFit") -> BoundaryTest:
    """Likelihood-ratio test of a fit against the model without random effects but those of known covariance."""
    return test_of_all(fit.design, fit.solution, reml=fit.method == "reml")


def test_of_all(design: Design, solution: Solution, *, reml: bool) -> BoundaryTest:
    """Likelihood-ratio test of no random effects at all.

    Raises
    ------
    CrosslevelError : the model has none.
    """
    if not design.factors:
        raise CrosslevelError(
            "`test_random` tests random effects; this model has none. Add a term such as (1 | school)."
        )
    if all(factor.structure.fixed.all() for factor in design.factors):
        raise CrosslevelError(
            "`test_random` tests the variances that are estimated; this model's are all known, from equalto(...). "
            "Compare its deviance with that of a model without the term."
        )
    if design.is_sampled:
        raise CrosslevelError(
            "`test_random` compares likelihoods, and with sampling weights these are pseudo-likelihoods, whose ratio "
            "has no chi-square distribution. Judge the variances by their intervals in `varcomp()`."
        )
    what = removal(tuple(factor.structure for factor in design.factors), ((),) * len(design.factors))
    metric = None
    if what.needs_metric and solution.iterative is None:
        zeros = tuple(np.zeros_like(factor) for factor in solution.factors)
        metric = information_of(design, solution, ((),) * len(zeros), zeros, solution.phi, reml=reml)
    return boundary_test(
        _deviance_without(design, solution) - solution.deviance, what.blocks, metric=metric, n_parameters=what.df,
        bound=what.bound,
    )  # fmt: skip


def _deviance_without(design: Design, solution: Solution) -> float:
    """Deviance without random effects but those of known covariance, a residual structure fitted anew."""
    if any(factor.structure.fixed.any() for factor in design.factors):
        return deviance_at(solution, np.zeros_like(solution.theta))
    if design.residual is not None:
        from crosslevel.solve.residual import deviance_without_effects

        return deviance_without_effects(solution)
    zeros = tuple(np.zeros_like(factor) for factor in solution.factors)
    return float(solution.criterion.at_factors(zeros).deviance)
