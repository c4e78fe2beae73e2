"""Refits of a model with one grouping factor to draws of its cross-products.

Where Lambda has free elements, a compiled search does nearly all of the work; where it cannot finish, and for other
structures, the ordinary solver does. Both answer with the same minimum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.batch import Batch, Outcome, failed, names_of, spreads
from crosslevel.inference.bootstrap.draws import Draw
from crosslevel.inference.bootstrap.setting import Places, Setting
from crosslevel.likelihood.profiled import EXACT_LIMIT
from crosslevel.solve.one_factor import solve
from crosslevel.solve.solution import NEGLIGIBLE
from crosslevel.types import FloatArray

CONVERGED, MANY_STEPS, CHARTS = 0, 2, 8
"""How a compiled search can end, see `kernels.refit`, and how often it goes on along the principal axes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum:
    """Where a compiled search ended, in working coordinates.

    Attributes
    ----------
    deviance : less what does not depend on Lambda.
    factor : (q, q) Lambda.
    chol : (p + 1, p + 1) lower Cholesky factor of [X y]'V^-1 [X y].
    beta : (p,) coefficients.
    """

    deviance: float
    factor: FloatArray
    chol: FloatArray
    beta: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Criterion:
    """The deviance of one draw, for the compiled functions.

    Attributes
    ----------
    root, image, weight : (J', q, q), (J', q, p + 1), (J',) of the clusters that count.
    remainder : (p + 1, p + 1).
    nu, n_rows : degrees of freedom of r^2, and n.
    reml : whether the restricted likelihood is maximised.
    places : of the parameters of Lambda.
    """

    root: FloatArray
    image: FloatArray
    weight: FloatArray
    remainder: FloatArray
    nu: float
    n_rows: float
    reml: bool
    places: Places

    @classmethod
    def of(cls, setting: Setting, draw: Draw, places: Places) -> "Criterion":
        """The criterion of a draw, without the clusters that do not count."""
        used, own = draw.multiplicity > 0.0, setting.reduced
        image = own.image[used]
        image[:, :, -1] = draw.image[used]
        return cls(
            root=own.root[used], image=image, weight=draw.multiplicity[used], remainder=draw.remainder,
            nu=draw.n_rows - (own.p if setting.reml else 0), n_rows=draw.n_rows, reml=setting.reml, places=places,
        )  # fmt: skip

    def at(self, factor: FloatArray) -> Optimum:
        """The deviance and what else is known at Lambda."""
        from crosslevel.kernels.refit_point import evaluate

        n_clusters, q, p1 = self.image.shape
        chol, contrast = np.zeros((p1, p1)), np.zeros(p1)
        deviance = evaluate(
            factor, self.root, self.image, self.weight, self.remainder, self.nu, self.reml,
            np.empty((n_clusters, q, q)), np.empty((n_clusters, q, p1)), chol, contrast,
        )  # fmt: skip
        return Optimum(deviance=deviance, factor=factor, chol=chol, beta=-contrast[:-1])

    def descend(self, start: FloatArray, tolerance: float) -> tuple[int, float, FloatArray]:
        """Minimise from Lambda: how it ended, the deviance, and Lambda there (q, q)."""
        from crosslevel.kernels.refit import minimise, turn_to_axes
        from crosslevel.kernels.small import add_direction

        places, (n_clusters, q, p1) = self.places, self.image.shape
        factor, root, turn = start.copy(), self.root, None
        wide = n_clusters * q * q * (p1 - 1) ** 2 <= EXACT_LIMIT
        for chart in range(CHARTS):
            status, deviance, _ = minimise(
                factor, places.rows, places.columns, places.block, root, self.image, self.weight, self.remainder,
                self.nu, self.n_rows, self.reml, wide, chart == 0, tolerance,
            )  # fmt: skip
            if status != MANY_STEPS:
                break
            root, turn = root.copy(), np.eye(q) if turn is None else turn
            turn_to_axes(factor, places.block, root, turn)
        if turn is not None:
            back = np.zeros((q, q))
            for direction in np.ascontiguousarray((turn @ factor).T):
                add_direction(back, places.block, direction)
            factor = back
        return int(status), float(deviance), factor


def refit(setting: Setting, design: Design, draws: Sequence[Draw]) -> Batch:
    """Fit the model to each draw."""
    m, p = len(names_of(design, setting.solution)), setting.reduced.p
    parts: list[Batch] = []
    lean: list[tuple[Draw, Optimum]] = []
    place = np.empty(len(draws), dtype=np.int64)
    for k, draw in enumerate(draws):
        found = compiled(setting, draw)
        if isinstance(found, Optimum):
            place[k] = -len(lean) - 1
            lean.append((draw, found))
            continue
        place[k] = len(parts)
        unable = found is Outcome.UNIDENTIFIED
        parts.append(failed(Outcome.UNIDENTIFIED, m, p) if unable else ordinary(setting, design, draw, m))
    order = np.where(place < 0, len(parts) - place - 1, place)
    return Batch.joined([*parts, *([in_data_units(setting, lean)] if lean else [])]).taken(order)


def compiled(setting: Setting, draw: Draw) -> Optimum | Outcome | None:
    """The minimum by the compiled search, that there is none, or None where the ordinary solver has to look."""
    from crosslevel.kernels.refit import flatten, identified

    places = setting.places
    criterion = Criterion.of(setting, draw, places or NOWHERE)
    missing = len(criterion.weight) < setting.n_clusters
    intercept = setting.reduced.coordinates.intercept
    if missing and not identified(criterion.image, criterion.weight, criterion.remainder, intercept):
        return Outcome.UNIDENTIFIED
    if places is None or criterion.nu <= 0.0:
        return None
    ends = [criterion.descend(start, setting.tolerance) for start in setting.starts]
    least = min(deviance for _, deviance, _ in ends)
    best = [end for end in ends if end[1] <= least + setting.tolerance and end[0] == CONVERGED]
    if not best:
        return None
    optimum = criterion.at(best[0][2])
    flat = np.empty_like(optimum.factor)
    if flatten(optimum.factor, places.block, flat):
        settled = criterion.at(flat)
        optimum = settled if settled.deviance <= optimum.deviance + setting.tolerance else optimum
    return optimum


NOWHERE = Places(rows=np.zeros(0, np.int64), columns=np.zeros(0, np.int64), block=np.zeros(0, np.int64))
"""Of structures that the compiled search does not know."""


def in_data_units(setting: Setting, found: Sequence[tuple[Draw, Optimum]]) -> Batch:
    """Estimates in the units of the data."""
    reduced, coordinates, p = setting.reduced, setting.reduced.coordinates, setting.reduced.p
    n_rows = np.array([draw.n_rows for draw, _ in found])
    nu, (log_y, log_x) = n_rows - (p if setting.reml else 0), coordinates.log_scale
    chol = np.stack([optimum.chol for _, optimum in found])
    factor = np.stack([optimum.factor for _, optimum in found])
    sigma = chol[:, -1, -1] / np.sqrt(nu)

    constant = 2.0 * nu * log_y - np.array([draw.log_weight for draw, _ in found]) + 2.0 * log_x * setting.reml
    lower = np.tril(chol[:, :-1, :-1])
    half = coordinates.beta_map @ np.linalg.inv(lower).transpose(0, 2, 1) * sigma[:, None, None]
    beta = np.stack([coordinates.coefficients(optimum.beta) for _, optimum in found])
    own = np.linalg.inv(reduced.basis) @ factor * (sigma * coordinates.scale[-1])[:, None, None]
    values = [beta, spreads(own @ own.transpose(0, 2, 1), reduced.structure), sigma[:, None] * coordinates.scale[-1]]
    least = np.linalg.svd(factor, compute_uv=False).min(axis=1)
    return Batch(
        outcome=np.full(len(found), int(Outcome.FITTED), dtype=np.int64),
        values=np.concatenate(values, axis=1),
        std_errors=np.sqrt(np.einsum("bij,bij->bi", half, half)),
        deviance=np.array([optimum.deviance for _, optimum in found]) + constant,
        singular=least**2 < NEGLIGIBLE**2,
    )


def ordinary(setting: Setting, design: Design, draw: Draw, m: int) -> Batch:
    """One refit by the solver of single fits."""
    try:
        solution = solve(
            draw.reduced(setting), reml=setting.reml, tolerance=setting.tolerance, max_steps=setting.max_steps
        )
    except (CrosslevelError, np.linalg.LinAlgError, ValueError):
        return failed(Outcome.REFUSED, m, setting.reduced.p)
    return Batch.of(design, solution)
