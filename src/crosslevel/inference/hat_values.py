"""Hat values of a linear mixed model: how much each fitted value answers to its own outcome.

The fitted values yhat = X betahat + Z bhat are linear in y given theta, yhat = H y, with

    H = X (X'V^-1 X)^-1 X'V^-1 + Z Psi Z'P,     V = R + Z Psi Z',     P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1,

the part of the fixed effects and that of the random effects. With C the matrix of the mixed model equations,
H = [X Z] C^-1 [X Z]'R^-1, whose diagonal follows row by row from the prediction errors (see `prediction`): with
w = 1 / R_ii and K as there,

    h_i = w_i ((x - K'z)' S (x - K'z) + z'B z),     of the fixed effects w_i x' S (x - K'z),     S = (X'V^-1 X)^-1.

The residuals e = (I - H) y have the covariance sigma^2 (R - [X Z] C^-1 [X Z]'), that is sigma^2 (I - H) R.

Source: Hodges & Sargent (2001), Biometrika 88: 367-379; Demidenko & Stukel (2005), Stat. Med. 24: 893-909; Nobre &
Singer (2011), J. Appl. Stat. 38: 1063-1072; Henderson (1975), Biometrics 31: 423-447.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.inference.prediction import Members, PredictionError
from crosslevel.residual.correlation import Independent
from crosslevel.solve import Solution
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class HatValues:
    """The diagonal of H at the rows used, in their order.

    Attributes
    ----------
    fixed, random : (n,) parts of the fixed and of the random effects. Of a row that stands for several (frequency
        weights), the answer to one of them.
    times : (n,) how many rows each row stands for; None if one each.
    """

    fixed: FloatArray = field(repr=False)
    random: FloatArray = field(repr=False)
    times: FloatArray | None = field(repr=False)

    @property
    def values(self) -> FloatArray:
        """(n,) both parts together."""
        return self.fixed + self.random

    @property
    def total(self) -> float:
        """Trace of H, the effective number of parameters of the fitted values; p at least."""
        return float(np.sum(self.values if self.times is None else self.values * self.times))


def hat_values(design: Design, solution: Solution) -> HatValues:
    """Hat values of the rows used: d yhat_i / d y_i given theta, random effects included.

    Parameters
    ----------
    design, solution : a linear mixed model.

    Returns
    -------
    HatValues : (n,) without units; `values` lie between 0 and 1.

    Raises
    ------
    CrosslevelError : sampling weights, correlated residuals, or a solution by iterative algebra.

    Source
    ------
    Demidenko & Stukel (2005), Stat. Med. 24: 893-909, section 4.
    """
    refuse_hat_values(design, solution)
    error = prediction_error(design, solution)
    fixed, both = np.empty(design.rows.used), np.empty(design.rows.used)
    for place, x, z, members in row_blocks(design):
        working, own, rest = error.working(x, z, members)
        turned = error.root.T @ rest
        fixed[place] = np.sum((error.root.T @ own) * turned, axis=0) / solution.sigma**2
        both[place] = np.sum(turned**2, axis=0) / solution.sigma**2
        if error.spread is not None:
            both[place] += error.spread.variance(working, members)
    precision = 1.0 / residual_variances(design, solution)
    weights = design.weights
    times = weights.rows if weights is not None and weights.is_frequency else None
    return HatValues(fixed=fixed * precision, random=(both - fixed) * precision, times=times)


def fitted_variances(design: Design, solution: Solution) -> FloatArray:
    """(n,) sigma^2 [x z] C^-1 [x z]': by how much the variance of a residual is smaller than that of the error.

    Raises
    ------
    CrosslevelError : sampling weights, or a solution by iterative algebra.
    """
    refuse_variances(design, solution)
    error, out = prediction_error(design, solution), np.empty(design.rows.used)
    for place, x, z, members in row_blocks(design):
        out[place] = error.variance(x, z, members)
    return out


def prediction_error(design: Design, solution: Solution) -> PredictionError:
    """Prediction errors with all factors, the coefficients' covariance being that of the model."""
    several = any(factor.members for factor in design.factors)
    error = PredictionError.of(solution, range(len(design.factors)), joint=several)
    return replace(error, root=np.linalg.inv(solution.at.chol[:-1, :-1]).T * solution.sigma)


def residual_variances(design: Design, solution: Solution) -> FloatArray:
    """(n,) R_ii: variances of the errors relative to sigma^2."""
    out, weights = np.ones(design.rows.used), design.weights
    if weights is not None and weights.is_precision and weights.rows is not None:
        return np.asarray(1.0 / weights.rows)
    if design.residual is not None:
        residual = solution.criterion.residual
        out[residual.order] = np.exp(2.0 * residual.at(solution.phi).log_sd)
    return out


def row_blocks(design: Design) -> Iterator[tuple[slice, FloatArray, list[FloatArray], list[Members]]]:
    """The rows used, some at a time: their place, x (p, L), and for each factor z (q, L) and the rows' levels."""
    single, done = design.is_single, 0
    whole = [] if single else [design.used_members(factor) for factor in design.factors]
    for block, codes, _ in design.blocks():
        place = slice(done, done + block.shape[1])
        done = place.stop
        z = [block[factor.z] for factor in design.factors]
        members: list[Members] = [((codes, None),)] if single else [_at(own, place) for own in whole]
        yield place, block[design.x], z, members


def _at(members: Members, place: slice) -> Members:
    """Levels of some of the rows, and how much they have of them."""
    return tuple((codes[place], None if share is None else share[place]) for codes, share in members)


def refuse_hat_values(design: Design, solution: Solution) -> None:
    """Refuse models whose H has no diagonal that follows row by row."""
    refuse_variances(design, solution)
    residual = design.residual
    if residual is not None and not isinstance(solution.criterion.residual.at(solution.phi).correlation, Independent):
        raise CrosslevelError(
            f"Hat values need residuals that are independent given the random effects, and these are not: "
            f"{residual.words}. Look at `fit.resid_normalised`, or fit without `residual`."
        )


def refuse_variances(design: Design, solution: Solution) -> None:
    """Refuse models in which residuals have no known variance."""
    if design.is_sampled:
        raise CrosslevelError(
            "With sampling weights the model says nothing of the variance of residuals, so that hat values and "
            "standardised residuals are not defined. Fit without weights to look at them."
        )
    if solution.iterative is not None:
        raise CrosslevelError(
            "Hat values and standardised residuals need the inverse of the mixed model equations, which "
            "algebra='iterative' does not compute. Fit with algebra='exact', or look at a part of the data."
        )
