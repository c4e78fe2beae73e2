"""What averages over random effects see of a fitted generalized linear mixed model, and how they depend on it.

The linear predictor of a row is normal over the random effects, with the mean x'beta + offset and the variance
sum_k s_k z_k'Psi_k z_k (s_k is 1, or the sum of squared shares where rows belong to several levels).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.families import Family
from crosslevel.inference.bootstrap.batch import estimated_effects, estimated_pairs
from crosslevel.inference.generalized.curves import CURVES, Curve
from crosslevel.inference.generalized.integrals import averaged
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.inference.generalized.estimands import Estimands
    from crosslevel.solve.generalized import GeneralizedSolution


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictive:
    """Estimates with their joint covariance; parameters are [theta, beta, shape], shape as it is read.

    Attributes
    ----------
    family : distribution and link.
    beta : (p,) coefficients, in the units of the data.
    shape : (m,) natural shape parameters; of ordered outcomes the second and further thresholds less the first.
    psi : for each grouping factor (q, q) covariance of the random effects, in the units of the data.
    psi_slopes : for each factor (k, q, q) its derivative in theta.
    vcov : (K, K) covariance of the parameters; zero for directions of theta that are held on the boundary.
    """

    family: Family
    beta: FloatArray
    shape: FloatArray
    psi: tuple[FloatArray, ...]
    psi_slopes: tuple[FloatArray, ...] = field(repr=False)
    vcov: FloatArray = field(repr=False)

    @property
    def k(self) -> int:
        """Number of covariance parameters."""
        return len(self.vcov) - len(self.beta) - len(self.shape)

    @property
    def size(self) -> int:
        """Number of parameters K."""
        return len(self.vcov)

    @property
    def curve(self) -> Curve:
        """The inverse link."""
        return CURVES[self.family.link]

    def gradient(
        self, by_beta: FloatArray, by_psi: Sequence[FloatArray], by_shape: FloatArray | None = None
    ) -> FloatArray:
        """Derivative (..., K) in all parameters.

        Parameters
        ----------
        by_beta : (..., p).
        by_psi : for each factor (..., q, q) derivatives in the elements of Psi, each element by itself.
        by_shape : (..., m), zero if None.
        """
        out = np.zeros((*by_beta.shape[:-1], self.size))
        k, p = self.k, len(self.beta)
        for own, slopes in zip(by_psi, self.psi_slopes, strict=True):
            out[..., :k] += np.einsum("...ab,kab->...k", own, slopes)
        out[..., k : k + p] = by_beta
        if by_shape is not None:
            out[..., k + p :] = by_shape
        return out

    def variance_of(self, gradient: FloatArray) -> FloatArray:
        """Variances (...) of quantities with these derivatives (..., K), by the delta method."""
        return np.asarray(np.maximum(np.einsum("...a,ab,...b->...", gradient, self.vcov, gradient), 0.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """An expected answer as a function of the linear predictor: constant + sum of sign F(eta - shift).

    Attributes
    ----------
    curve : F.
    constant : what does not depend on the linear predictor.
    signs, shifts : (s,) of each summand.
    owners : (s,) which shape parameter each shift is, -1 for none.
    """

    curve: Curve
    constant: float
    signs: tuple[float, ...]
    shifts: tuple[float, ...]
    owners: tuple[int, ...]

    def averages(self, mean: FloatArray, variance: FloatArray, orders: int) -> FloatArray:
        """Averages over N(m, v) of each summand and its derivatives, (s, orders, ...), without the constant."""
        return np.stack([
            sign * averaged(self.curve, mean - shift, variance, orders)
            for sign, shift in zip(self.signs, self.shifts, strict=True)
        ])  # fmt: skip


def mean_answer(estimates: Predictive) -> Answer:
    """The mean of an outcome that is no ordered category: F(eta)."""
    return Answer(curve=estimates.curve, constant=0.0, signs=(1.0,), shifts=(0.0,), owners=(-1,))


def category_answer(estimates: Predictive, category: int) -> Answer:
    """The probability of an ordered category: P(y = j) = F(eta - c_(j-1)) - F(eta - c_j).

    F of cumulative logit and probit models is symmetric, eta contains the intercept (minus the first threshold), c_0 =
    0 and the further c are the shape parameters; the first category has no lower bound, the last no upper one.

    Parameters
    ----------
    estimates : of the model.
    category : 0, 1, ...

    Examples
    --------
    >>> import numpy as np
    >>> from crosslevel.families import Binomial
    >>> none = np.zeros(0)
    >>> found = Predictive(family=Binomial(), beta=none, shape=np.array([1.0]), psi=(), psi_slopes=(),
    ...                    vcov=np.zeros((1, 1)))
    >>> eta = np.zeros(1)
    >>> parts = [category_answer(found, j) for j in range(3)]
    >>> [float((part.constant + part.averages(eta, eta, 1)[:, 0].sum(axis=0)).round(3)[0]) for part in parts]
    [0.5, 0.231, 0.269]
    """
    cuts = (0.0, *map(float, estimates.shape))
    bounds = [(sign, j) for sign, j in ((1.0, category - 1), (-1.0, category)) if 0 <= j < len(cuts)]
    return Answer(
        curve=estimates.curve,
        constant=1.0 if category == 0 else 0.0,
        signs=tuple(sign for sign, _ in bounds),
        shifts=tuple(cuts[j] for _, j in bounds),
        owners=tuple(j - 1 for _, j in bounds),
    )


def predictive(solution: "GeneralizedSolution", working_vcov: FloatArray | None = None) -> Predictive:
    """What a solution says of averages over random effects.

    Parameters
    ----------
    solution : the fitted model.
    working_vcov : (K, K) another covariance of the working parameters, such as a cluster-robust one; that of the
        observed information if None.
    """
    rows, layout = solution.criterion.rows, solution.criterion.layout
    theta = solution.parameters[layout.theta]
    slopes = []
    for part, structure, basis in zip(layout.parts, rows.structures, rows.bases, strict=True):
        half = structure.factor_gradient(theta[part]) @ structure.factor(theta[part]).T
        back = np.linalg.inv(basis)
        own = np.zeros((layout.k, structure.q, structure.q))
        own[part] = back @ (half + half.transpose(0, 2, 1)) @ back.T
        slopes.append(own)
    change = np.eye(layout.size)
    change[layout.beta, layout.beta] = rows.coordinates.beta_map
    change[layout.shape, layout.shape] = rows.family.shape_jacobian(solution.parameters[layout.shape])
    working = solution.working_vcov if working_vcov is None else working_vcov
    return Predictive(
        family=rows.family,
        beta=solution.beta,
        shape=solution.shape,
        psi=tuple(factor @ factor.T for factor in solution.factors),
        psi_slopes=tuple(slopes),
        vcov=change @ working @ change.T,
    )


def predictive_at(estimands: "Estimands", values: FloatArray, like: Predictive) -> Predictive:
    """Other estimates of the same model, such as those of a bootstrap replicate; nothing is known of their errors.

    Parameters
    ----------
    estimands : what the model estimates.
    values : (r,) of it, in the order of `estimands.names`.
    like : the model's own estimates, which has the covariances that are known.
    """
    told, beta = estimands.slopes, np.zeros(estimands.layout.p)
    n_told = int(np.count_nonzero(told))
    beta[told] = values[:n_told]
    place = len(estimands.predictor)
    shape = values[len(values) - len(estimands.shapes) :]
    if estimands.is_ordered:
        thresholds = values[n_told:place]
        beta[~told], shape = -thresholds[0], thresholds[1:] - thresholds[0]
    psi = []
    for structure, own in zip(estimands.rows.structures, like.psi, strict=True):
        some, pairs = estimated_effects(structure), estimated_pairs(structure)
        sd = np.sqrt(np.diag(own))
        sd[some] = values[place : place + len(some)]
        correlation, place = np.eye(len(own)), place + len(some) + len(pairs)
        for (i, j), value in zip(pairs, values[place - len(pairs) : place], strict=True):
            correlation[i, j] = correlation[j, i] = 0.0 if np.isnan(value) else value
        known = structure.fixed[:, None] | structure.fixed
        psi.append(np.where(known, own, correlation * np.outer(sd, sd)))
    return replace(like, beta=beta, shape=shape, psi=tuple(psi))
