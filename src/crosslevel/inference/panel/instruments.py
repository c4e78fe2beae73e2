"""Panel models with endogenous predictors: instruments from the panel itself, from cross-products by group.

y_it = x_it'beta + z_i'gamma + u_i + e_it, where some of x (varying within groups) and z (constant within groups) are
correlated with u_i, and none with e_it. With Q the deviations from group means, P the means, and

    theta_i = 1 - sqrt(sigma_e^2 / (sigma_e^2 + T_i sigma_u^2)),       a* = a - theta_i P a = Q a + (1 - theta_i) P a,

the estimate is two-stage least squares of y* on X* = [x* z*] with the instruments Q x of all varying columns, and,
times (1 - theta_i), the columns A that are constant within groups: the exogenous z, the means of the exogenous x
(Hausman-Taylor); their values in each period (Amemiya-MaCurdy); the deviations of the endogenous x in each period, too
(Breusch-Mizon-Schmidt). Q x are orthogonal to A, so that with w_i = T_i (1 - theta_i)^2, W = x'Qx and m the means

    X*'P_A X* = W + M'w A (A'w A)^-1 A'w M:

all of it is made of group counts, means and scatters. The factor (1 - theta_i) changes nothing in balanced panels; in
others it makes the instruments' space hold X* where nothing is endogenous, so that the estimate is the random-effects
one.

Source: Hausman & Taylor (1981), Econometrica 49: 1377-1398; Amemiya & MaCurdy (1986), Econometrica 54: 869-880;
Breusch, Mizon & Schmidt (1989), Econometrica 57: 695-700; White (1984), Asymptotic Theory for Econometricians, ch. 4,
for instruments transformed as the model is.
"""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.design.coordinates import Coordinates
from crosslevel.design.products import CrossProducts
from crosslevel.design.reduced import working_coordinates
from crosslevel.inference.panel.regression import PanelRegression, TransformedProducts
from crosslevel.types import BoolArray, FloatArray, IntArray

SAME = 1e-9
"""Length of a column without its mean, relative to its own, below which it is the same in all groups."""

RANK = 1e-7
"""Singular value of columns of unit length, relative to the largest, that counts as zero."""

IDENTIFIED = 1e-12
"""Eigenvalue of the normal equations of columns of unit length below which a coefficient is not identified."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Roles:
    """What is known of the p columns of X.

    Attributes
    ----------
    columns : (p,) their positions in the design.
    varying : (p,) whether a column varies within groups.
    endogenous : (p,) whether it is correlated with the group effect.
    """

    columns: IntArray
    varying: BoolArray
    endogenous: BoolArray


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupMoments:
    """Moments by group of the working columns [X y]: centred, scaled, y without what X explains by ordinary regression.

    Attributes
    ----------
    count : (J,) rows.
    mean : (J, p + 1) means.
    scatter : (J, p + 1, p + 1) sums of squares and products about them.
    coordinates : the way back to the units of the data.
    """

    count: FloatArray
    mean: FloatArray
    scatter: FloatArray
    coordinates: Coordinates = field(repr=False)

    @classmethod
    def of(cls, products: CrossProducts, columns: IntArray, constant: int) -> "GroupMoments":
        """Moments of the columns (p + 1,) of a model, the outcome last; `constant` is the intercept's position."""
        coordinates = working_coordinates(products, columns, constant)
        scale = coordinates.scale
        turn = np.diag(1.0 / scale)
        turn[:-1, -1] = -coordinates.removed / scale[:-1]
        shift = coordinates.shift - products.origin[columns]
        scatter = products.scatter[:, columns[:, None], columns]
        return cls(
            count=products.count,
            mean=(products.mean[:, columns] - shift) @ turn,
            scatter=turn.T @ scatter @ turn,
            coordinates=coordinates,
        )

    @property
    def n_rows(self) -> float:
        """Rows of all groups."""
        return float(self.count.sum())

    @property
    def within(self) -> FloatArray:
        """(p + 1, p + 1) [X y]'Q[X y]."""
        return np.asarray(self.scatter.sum(axis=0))

    def between(self, weight: FloatArray) -> FloatArray:
        """(p + 1, p + 1) sum of w_i m_i m_i'."""
        return np.asarray((self.mean * weight[:, None]).T @ self.mean)


@dataclass(frozen=True, kw_only=True, eq=False)
class VarianceComponents:
    """Variances of the two parts of the error.

    Attributes
    ----------
    idiosyncratic : sigma_e^2, of the rows within groups.
    group : sigma_u^2, of the groups.
    floored : whether the estimate of the latter was negative, and zero was put in its place.
    theta : (J,) share of the group mean that is taken off.
    """

    idiosyncratic: float
    group: float
    floored: bool
    theta: FloatArray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Overidentification:
    """Sargan's test that the instruments beyond those needed are uncorrelated with the error.

    Attributes
    ----------
    statistic : n r*'P r* / r*'r*, P the projection on the instruments.
    df : instruments beyond the number of coefficients; with none, there is nothing to test.
    """

    statistic: float
    df: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Instrumented:
    """Two-stage least squares on quasi-demeaned data.

    Attributes
    ----------
    regression : y* on what the instruments make of X*. Its residuals are y* - X* beta; they stand where the outcome is
        in its cross-products, with coefficients of zero, so that all covariances of a regression are its, too.
    seen : (J, p) means of what the instruments make of X*, in the units of the data.
    r_squared : squared correlation of y* and X* beta.
    components : variances of the error.
    overidentification : test of the instruments.
    """

    regression: PanelRegression = field(repr=False)
    seen: FloatArray = field(repr=False)
    r_squared: float
    components: VarianceComponents
    overidentification: Overidentification


def variance_components(moments: GroupMoments, roles: Roles) -> VarianceComponents:
    """Variances of the error, in squared units of the outcome.

    sigma_e^2 = rss_within / (n - J). The means of the within residuals, d_i = ybar_i - xbar_i'beta_within, are
    regressed on the constant columns by two-stage least squares over rows, with the exogenous columns as instruments;
    with r_i what is left, E[sum T_i r_i^2] = n sigma_u^2 + J sigma_e^2.

    Parameters
    ----------
    moments : of the model's columns.
    roles : which of them vary within groups, and which are endogenous.

    Source
    ------
    Hausman & Taylor (1981), sec. 2.1 and 2.3; with T_i of different size by the moments given above.
    """
    count, n, n_groups = moments.count, moments.n_rows, len(moments.count)
    varying, constant = np.flatnonzero(roles.varying), np.flatnonzero(~roles.varying)
    within = moments.within
    slopes = np.linalg.lstsq(within[np.ix_(varying, varying)], within[varying, -1], rcond=1e-12)[0]
    taken = np.zeros(len(within))
    taken[varying], taken[-1] = -slopes, 1.0
    idiosyncratic = max(float(taken @ within @ taken), 0.0) / (n - n_groups)

    # d on the constant columns
    exogenous = np.flatnonzero(~roles.endogenous)
    total = within + moments.between(count)
    gram = total[np.ix_(exogenous, exogenous)]
    between = (moments.mean * count[:, None]).T @ np.column_stack([moments.mean[:, constant], moments.mean @ taken])
    cross = between[exogenous]
    image = np.linalg.lstsq(gram, cross, rcond=RANK**2)[0]
    normal = cross.T @ image
    left = moments.mean @ taken
    left = left - moments.mean[:, constant] @ np.linalg.lstsq(normal[:-1, :-1], normal[:-1, -1], rcond=IDENTIFIED)[0]
    group = (float(count @ left**2) - n_groups * idiosyncratic) / n
    return _components(idiosyncratic, group, count, float(moments.coordinates.scale[-1]))


def _components(idiosyncratic: float, group: float, count: FloatArray, scale: float) -> VarianceComponents:
    """Components in units of the outcome, from working ones."""
    floored = group < 0.0
    group = max(group, 0.0)
    total = idiosyncratic + count * group
    theta = 1.0 - np.sqrt(np.divide(idiosyncratic, total, out=np.ones_like(total), where=total > 0.0))
    theta.setflags(write=False)
    return VarianceComponents(
        idiosyncratic=idiosyncratic * scale**2, group=group * scale**2, floored=floored, theta=theta
    )


def group_instruments(moments: GroupMoments, roles: Roles, by_period: FloatArray | None) -> FloatArray:
    """A (J, k): exogenous constant columns, means of the exogenous varying ones, and what is given by period."""
    own = moments.mean[:, np.flatnonzero(~roles.endogenous)]
    return own if by_period is None else np.column_stack([own, by_period])


def basis_of(columns: FloatArray, weight: FloatArray, intercept: FloatArray | None) -> FloatArray:
    """Orthonormal basis (J, r) of sqrt(w) A, for columns A (J, k) that may determine each other.

    With an `intercept` (J,) in the space, the others are measured from their projection on it, so that a column of
    which the groups have nearly the same values is not lost in those of unit length.
    """
    root = np.sqrt(weight)[:, None]
    rows = root * columns
    size = np.sqrt(np.einsum("ij,ij->j", rows, rows))
    first = np.zeros((len(rows), 0))
    if intercept is not None:
        first = root * intercept[:, None]
        first = first / np.sqrt(float(np.sum(first**2)))
        for _ in range(2):
            rows = rows - first @ (first.T @ rows)
    length = np.sqrt(np.einsum("ij,ij->j", rows, rows))
    able = length > SAME * size
    left, values, _ = np.linalg.svd(rows[:, able] / length[able], full_matrices=False)
    kept = left[:, values > RANK * values.max(initial=0.0)]
    return np.column_stack([first, kept])


def instrumented(
    moments: GroupMoments, roles: Roles, components: VarianceComponents, by_period: FloatArray | None = None
) -> Instrumented | None:
    """Solve; None if the instruments do not identify all coefficients.

    Parameters
    ----------
    moments : of the model's columns.
    roles : which of them vary within groups, and which are endogenous.
    components : variances of the error.
    by_period : (J, k) more instruments that are constant within groups; see `period_values`.
    """
    weight = moments.count * (1.0 - components.theta) ** 2
    intercept = moments.coordinates.intercept
    ones = None if intercept < 0 else moments.mean[:, intercept]
    basis = basis_of(group_instruments(moments, roles, by_period), weight, ones)

    # normal equations: the part within groups, and the part of the means that the instruments see
    within = moments.within
    seen = basis.T @ (np.sqrt(weight)[:, None] * moments.mean)
    gram = within + seen.T @ seen
    normal = gram[:-1, :-1]
    size = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    if np.linalg.eigvalsh(normal / np.outer(size, size))[0] < IDENTIFIED:
        return None
    unscaled = np.linalg.inv(normal / np.outer(size, size)) / np.outer(size, size)
    beta = unscaled @ gram[:-1, -1]
    return _finish(moments, roles, components, basis, beta, unscaled)


def _finish(
    moments: GroupMoments,
    roles: Roles,
    components: VarianceComponents,
    basis: FloatArray,
    beta: FloatArray,
    unscaled: FloatArray,
) -> Instrumented:
    """What follows from the working coefficients."""
    coordinates = moments.coordinates
    to_data = coordinates.beta_map / coordinates.scale[-1]
    root = np.sqrt(moments.count)[:, None]
    shrunk = 1.0 - components.theta
    rows = moments.mean @ np.append(-beta, 1.0) * shrunk
    seen = basis @ (basis.T @ (root * shrunk[:, None] * moments.mean[:, :-1])) / root
    gram = _residual_products(moments, beta, seen, rows)
    rss = float(gram[:, -1, -1].sum())
    regression = PanelRegression(
        products=TransformedProducts(
            columns=roles.columns, gram=gram, coordinates=coordinates, counts=moments.count.astype(np.int64),
            absorbed=0, total=rss * coordinates.scale[-1] ** 2, total_df=moments.n_rows,
        ),
        working_beta=np.zeros_like(beta), working_unscaled=unscaled, beta=coordinates.coefficients(beta),
        unscaled=to_data @ unscaled @ to_data.T, rss=rss * coordinates.scale[-1] ** 2,
        df_residual=moments.n_rows - len(beta),
    )  # fmt: skip
    return Instrumented(
        regression=regression,
        seen=seen @ np.linalg.inv(to_data),
        r_squared=_r_squared(moments, shrunk, beta),
        components=components,
        overidentification=_sargan(moments, roles, beta, rss, basis.T @ (root[:, 0] * rows)),
    )


def _residual_products(moments: GroupMoments, beta: FloatArray, seen: FloatArray, means: FloatArray) -> FloatArray:
    """(J, p + 1, p + 1) cross-products of [what the instruments make of X*, y* - X* beta] of each group.

    Parameters
    ----------
    moments : of [X y].
    beta : (p,) working coefficients.
    seen, means : (J, p) and (J,) means of the two over the rows of a group.
    """
    turn = np.eye(len(beta) + 1)
    turn[:-1, -1] = -beta
    both = np.column_stack([seen, means])
    return np.asarray(turn.T @ moments.scatter @ turn + moments.count[:, None, None] * both[:, :, None] * both[:, None])


def _sargan(
    moments: GroupMoments, roles: Roles, beta: FloatArray, rss: float, explained: FloatArray
) -> Overidentification:
    """Sargan's test; `explained` (r,) are the products of the residuals with the orthonormal basis of A."""
    varying = np.flatnonzero(roles.varying)
    own, cross = moments.within[np.ix_(varying, varying)], moments.within[varying] @ np.append(-beta, 1.0)
    projected = float(explained @ explained + cross @ np.linalg.lstsq(own, cross, rcond=IDENTIFIED)[0])
    n_extra = int(np.linalg.matrix_rank(_unit(own), tol=IDENTIFIED)) + len(explained) - len(beta)
    return Overidentification(statistic=moments.n_rows * projected / rss if n_extra > 0 else 0.0, df=n_extra)


def _r_squared(moments: GroupMoments, shrunk: FloatArray, beta: FloatArray) -> float:
    """Squared correlation of y* and X* beta over rows."""
    coordinates = moments.coordinates
    outcome, fitted = np.append(coordinates.removed, 1.0), np.append(beta + coordinates.removed, 0.0)
    if coordinates.intercept >= 0:  # the working outcome is centred, which quasi-demeaning does not undo
        outcome[coordinates.intercept] += coordinates.shift[-1] / coordinates.scale[-1]
        fitted[coordinates.intercept] += coordinates.shift[-1] / coordinates.scale[-1]
    both = np.column_stack([outcome, fitted])
    means = shrunk[:, None] * (moments.mean @ both)
    centred = means - moments.count @ means / moments.n_rows
    spread = both.T @ moments.within @ both + (moments.count[:, None] * centred).T @ centred
    return float(spread[0, 1] ** 2 / (spread[0, 0] * spread[1, 1]))


def period_values(exogenous: FloatArray, deviations: FloatArray | None) -> FloatArray:
    """Instruments (J, k) by period.

    Parameters
    ----------
    exogenous : (J, T, k1) values of the exogenous varying columns in each period: Amemiya and MaCurdy.
    deviations : (J, T, k2) deviations of the endogenous ones from the group's mean, for Breusch, Mizon and Schmidt.
    """
    n_groups = len(exogenous)
    parts = [exogenous] if deviations is None else [exogenous, deviations]
    return np.column_stack([part.reshape(n_groups, -1) for part in parts])


def _unit(gram: FloatArray) -> FloatArray:
    """A matrix of products of columns as that of columns of unit length; zero ones stay."""
    size = np.sqrt(np.diag(gram))
    size = np.where(size > 0.0, size, 1.0)
    return np.asarray(gram / np.outer(size, size))
