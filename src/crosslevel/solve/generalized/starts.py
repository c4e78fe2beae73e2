"""Where the search starts: coefficients without random effects, and one scoring step for their covariances."""

from dataclasses import replace

import numpy as np

from crosslevel.design.response_rows import ResponseRows, ResponseTerm
from crosslevel.likelihood.no_effects import FixedLikelihood, FixedState
from crosslevel.optimise import Minimum
from crosslevel.prior import Weak
from crosslevel.solve.generalized.boundary import level_products, sum_by_level
from crosslevel.solve.generalized.descent import descend
from crosslevel.solve.generalized.objective import Objective
from crosslevel.types import FloatArray

LOOSE, FEW_STEPS = 1e-2, 12
"""Expected decrease at which parameters are good enough to go on from with more nodes, and most steps towards it."""

ROUGH = 0.3
"""Expected decrease at which coefficients without random effects are good enough to start from."""

LEAST = 0.05
"""Variance to start from at least, where a level tells as much as one observation with variance 1."""

MOST = 4.0
"""Variance of the linear predictor to start from at most, whatever its link."""

LARGE = 4.0
"""Variance of the second start, in the same units."""


def fixed_minimum(rows: ResponseRows, *, prior: Weak | None, tolerance: float, max_steps: int) -> Minimum[FixedState]:
    """Maximum likelihood of the model without random effects, to an expected decrease of `tolerance`."""
    criterion = FixedLikelihood.of(rows)
    eta, shape = _near_outcomes(rows)
    beta = _scored(criterion.rows, eta, rows.family.shape(shape))
    limits = None if prior is None else replace(prior, covariances=None)
    minimum, _ = descend(
        Objective(criterion=criterion, prior=limits), np.append(beta, shape), tolerance=tolerance,
        max_steps=max_steps, finish=False,
    )  # fmt: skip
    return minimum


def _near_outcomes(rows: ResponseRows) -> tuple[FloatArray, FloatArray]:
    """Linear predictors (n,) to take a scoring step from, and working shape (m,).

    Of answers 0 or 1 all rows begin at the mean, so that the search does not depend on how answers are gathered in
    rows.
    """
    eta, shape = rows.family.start(rows.y, rows.size, rows.weight)
    if rows.family.kind != "binary":
        return eta, shape
    sums = np.array([[rows.weight @ rows.y], [rows.weight @ rows.size]])
    return np.full(rows.n, rows.family.start(sums[0], sums[1], np.ones(1))[0][0]), shape


def _scored(rows: ResponseRows, eta: FloatArray, shape: FloatArray) -> FloatArray:
    """Coefficients (p,) after a scoring step from linear predictors (n,) near the outcomes.

    Source: McCullagh & Nelder (1989), Generalized Linear Models, section 2.5.
    """
    from crosslevel.kernels.responses import fill_terms

    terms, x = np.empty((3, rows.n)), rows.x
    fill_terms(rows.family.code, rows.y, rows.size, rows.weight, eta, shape, terms)
    weight = np.maximum(-terms[2], 0.0)
    gram = (x * weight[:, None]).T @ x
    ridge = 1e-10 * max(float(np.trace(gram)), 1e-300)
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(len(gram)), (weight * (eta - rows.offset) + terms[1]) @ x))


def starting_parameters(rows: ResponseRows, *, prior: Weak | None, second: bool = True) -> tuple[FloatArray, ...]:
    """Parameters (K,) to start from: one and, if a `second` is wanted, another with large variances.

    Covariances are those of one scoring step from none: Psi = F^-1 sum (g g' - A), F = sum A (x) A, by level with
    g = Z'l' and A = Z'WZ, each factor by itself.
    """
    at: FixedState = fixed_minimum(rows, prior=prior, tolerance=ROUGH, max_steps=FEW_STEPS).state
    weight = np.maximum(-at.terms[2], 0.0)
    usual, large = [], []
    for term in rows.terms:
        products = level_products(term, weight)
        slopes = np.stack([sum_by_level(term, at.terms[1] * column, power=1) for column in term.z.T], axis=1)
        scored, spread = _covariances(term, products, slopes, multiplies=rows.family.link == "log")
        # every factor by itself takes what they explain together: shared out evenly
        usual.append(term.structure.nearest(scored / np.sqrt(len(rows.terms))))
        large += [term.structure.nearest(spread)] if second else []
    found = np.concatenate([*usual, at.parameters])
    return (found, np.concatenate([*large, at.parameters])) if second else (found,)


def _covariances(
    term: ResponseTerm, products: FloatArray, slopes: FloatArray, *, multiplies: bool
) -> tuple[FloatArray, FloatArray]:
    """Factors (q, q) of Psi to start from: by a scoring step from zero, and large.

    Where effects multiply means, a scoring step sees the variance of exp(b), exp(Psi) - 1 or more.
    """
    q = term.q
    count = max(float(term.weight.sum()), 1e-300)
    mean = (term.weight @ products.reshape(-1, q * q)).reshape(q, q) / count
    least = 1e-10 * max(float(np.trace(mean)), 1e-300)
    root = np.linalg.cholesky(mean + least * np.eye(q))
    unit = np.linalg.inv(root)
    scaled = (unit @ products @ unit.T).reshape(-1, q * q)
    turned = slopes @ unit.T
    excess = turned.T @ (turned * term.weight[:, None]) - count * np.eye(q)
    pairs = (scaled.T @ (scaled * term.weight[:, None])).reshape(q, q, q, q)
    spread = pairs.transpose(0, 2, 1, 3).reshape(q * q, q * q)
    psi = np.linalg.solve(spread + 1e-10 * count * np.eye(q * q), excess.ravel()).reshape(q, q)
    values, vectors = np.linalg.eigh(0.5 * (psi + psi.T))
    # unit' times a root of psi: variances in units in which a level tells as much as one observation
    usual = unit.T @ (vectors * np.sqrt(np.maximum(values, LEAST)))
    left, spreads, _ = np.linalg.svd(usual)
    variances = np.minimum(np.log1p(spreads**2) if multiplies else spreads**2, MOST)
    return left * np.sqrt(variances), unit.T * np.sqrt(LARGE)
