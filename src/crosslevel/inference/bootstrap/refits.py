"""Refits of a model with one grouping factor to draws of its cross-products.

Where Lambda has free elements, a compiled search does all of the work; draws that it cannot finish, and other
structures, go to the ordinary solver. Both answer with the same minimum.
"""

from collections.abc import Sequence

import numpy as np

from crosslevel.design import Design
from crosslevel.design.reduced import Reduced
from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.batch import Batch, Outcome, failed, names_of, spreads
from crosslevel.inference.bootstrap.draws import Draw
from crosslevel.inference.bootstrap.setting import Places, Setting
from crosslevel.likelihood.profiled import EXACT_LIMIT
from crosslevel.solve.one_factor import solve
from crosslevel.solve.solution import NEGLIGIBLE
from crosslevel.types import BoolArray, FloatArray, IntArray


def refit(setting: Setting, design: Design, draws: Sequence[Draw]) -> Batch:
    """Fit the model to each draw."""
    m, p = len(names_of(design, setting.solution)), setting.reduced.p
    if setting.places is None:
        able = [_is_identified(setting, draw) for draw in draws]
        parts = [
            ordinary(setting, design, draw, m) if fine else failed(Outcome.UNIDENTIFIED, m, p)
            for draw, fine in zip(draws, able, strict=True)
        ]
        return Batch.joined(parts)

    status, lean = compiled(setting, setting.places, draws)
    parts, place = [lean], np.cumsum(status == FOUND) - 1
    for k in np.flatnonzero(status != FOUND):
        place[k] = len(lean) + len(parts) - 1
        unable = status[k] == UNIDENTIFIED
        parts.append(failed(Outcome.UNIDENTIFIED, m, p) if unable else ordinary(setting, design, draws[int(k)], m))
    return Batch.joined(parts).taken(place)


FOUND, UNIDENTIFIED = 0, 4
"""How a compiled search ends if it has found the minimum, or has not begun; see `kernels.refits`."""


def compiled(setting: Setting, places: Places, draws: Sequence[Draw]) -> tuple[IntArray, Batch]:
    """How the compiled search of each draw ended (B,), and the estimates of those that found the minimum."""
    from crosslevel.kernels.refits import refit_draws

    own, n = setting.reduced, len(draws)
    q, p1 = own.image.shape[1:]
    n_rows = np.array([draw.n_rows for draw in draws])
    status, deviance, factor = np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros((n, q, q))
    chol, contrast = np.zeros((n, p1, p1)), np.zeros((n, p1))
    refit_draws(
        own.root, own.image, places.rows, places.columns, places.block, setting.starts, setting.reml,
        float(EXACT_LIMIT), setting.tolerance, own.coordinates.intercept,
        np.stack([draw.multiplicity for draw in draws]), np.stack([draw.image for draw in draws]),
        np.stack([draw.remainder for draw in draws]), n_rows, status, deviance, factor, chol, contrast,
    )  # fmt: skip
    found = status == FOUND
    log_weight = np.array([draw.log_weight for draw in draws])
    return status, in_data_units(setting, found, n_rows, log_weight, deviance, factor, chol, contrast)


def in_data_units(
    setting: Setting,
    found: BoolArray,
    n_rows: FloatArray,
    log_weight: FloatArray,
    deviance: FloatArray,
    factor: FloatArray,
    chol: FloatArray,
    contrast: FloatArray,
) -> Batch:
    """Estimates in the units of the data, of the draws whose minimum was found (B,); see `kernels.refits`."""
    reduced, coordinates, p = setting.reduced, setting.reduced.coordinates, setting.reduced.p
    n_rows, factor = n_rows[found], factor[found]
    nu, (log_y, log_x) = n_rows - (p if setting.reml else 0), coordinates.log_scale
    constant = 2.0 * nu * log_y - log_weight[found] + 2.0 * log_x * setting.reml
    values, half = estimates(reduced, nu, factor, chol[found], contrast[found])
    least = np.linalg.svd(factor, compute_uv=False).min(axis=1, initial=np.inf)
    return Batch(
        outcome=np.full(len(nu), int(Outcome.FITTED), dtype=np.int64),
        values=values,
        std_errors=np.sqrt(np.einsum("bij,bij->bi", half, half)),
        deviance=deviance[found] + constant,
        singular=least**2 < NEGLIGIBLE**2,
    )


def estimates(
    reduced: Reduced, nu: FloatArray, factor: FloatArray, chol: FloatArray, contrast: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Estimates in the units of the data of B searches.

    Parameters
    ----------
    reduced : the model whose working coordinates the searches are in.
    nu : (B,) degrees of freedom of r^2.
    factor, chol, contrast : (B, q, q), (B, p + 1, p + 1), (B, p + 1), see `kernels.refits`.

    Returns
    -------
    values : (B, m) coefficients, standard deviations and correlations of the random effects, sigma.
    half : (B, p, p) H with H H' the covariance of the coefficients.
    """
    coordinates, unit = reduced.coordinates, reduced.coordinates.scale[-1]
    sigma = chol[:, -1, -1] / np.sqrt(nu)
    half = coordinates.beta_map @ np.linalg.inv(np.tril(chol[:, :-1, :-1])).transpose(0, 2, 1) * sigma[:, None, None]
    beta = (coordinates.removed - contrast[:, :-1]) @ coordinates.beta_map.T
    if coordinates.intercept >= 0:
        beta[:, coordinates.intercept] += coordinates.shift[-1]
    own = np.linalg.inv(reduced.basis) @ factor * (sigma * unit)[:, None, None]
    varying = spreads(own @ own.transpose(0, 2, 1), reduced.structure)
    return np.concatenate([beta, varying, sigma[:, None] * unit], axis=1), half


def _is_identified(setting: Setting, draw: Draw) -> bool:
    """Whether the clusters of a draw identify all coefficients."""
    from crosslevel.kernels.refit import identified

    used, own = draw.multiplicity > 0.0, setting.reduced
    intercept = own.coordinates.intercept
    return bool(identified(own.image[used], draw.multiplicity[used], draw.remainder, intercept))


def ordinary(setting: Setting, design: Design, draw: Draw, m: int) -> Batch:
    """One refit by the solver of single fits."""
    try:
        solution = solve(
            draw.reduced(setting), reml=setting.reml, tolerance=setting.tolerance, max_steps=setting.max_steps
        )
    except (CrosslevelError, np.linalg.LinAlgError, ValueError):
        return failed(Outcome.REFUSED, m, setting.reduced.p)
    return Batch.of(design, solution)
