"""The twin of `kernels.refits`: the same search of one draw, put together in Python from the kernels it is made of."""

from dataclasses import dataclass

import numpy as np

from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.bootstrap.draws import Draw
from crosslevel.inference.bootstrap.setting import Places, Setting
from crosslevel.kernels.refit import CONVERGED, MANY_STEPS, flatten, identified, minimise, turn_to_axes
from crosslevel.kernels.refit_point import evaluate
from crosslevel.kernels.small import add_direction
from crosslevel.likelihood.profiled import EXACT_LIMIT
from crosslevel.types import FloatArray

CHARTS = 8


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
        n_clusters, q, p1 = self.image.shape
        chol, contrast = np.zeros((p1, p1)), np.zeros(p1)
        deviance = evaluate(
            factor, self.root, self.image, self.weight, self.remainder, self.nu, self.reml,
            np.empty((n_clusters, q, q)), np.empty((n_clusters, q, p1)), chol, contrast,
        )  # fmt: skip
        return Optimum(deviance=deviance, factor=factor, chol=chol, beta=-contrast[:-1])

    def descend(self, start: FloatArray, tolerance: float) -> tuple[int, float, FloatArray]:
        """Minimise from Lambda: how it ended, the deviance, and Lambda there (q, q)."""
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


def compiled(setting: Setting, draw: Draw) -> Optimum | Outcome | None:
    """The minimum by the compiled search, that there is none, or None where the ordinary solver has to look."""
    places = setting.places
    criterion = Criterion.of(setting, draw, places)
    missing = len(criterion.weight) < setting.n_clusters
    intercept = setting.reduced.coordinates.intercept
    if missing and not identified(criterion.image, criterion.weight, criterion.remainder, intercept):
        return Outcome.UNIDENTIFIED
    if criterion.nu <= 0.0:
        return None
    ends = [criterion.descend(start, setting.tolerance) for start in setting.starts]
    least = min(deviance for _, deviance, _ in ends)
    best = [end for end in ends if end[1] <= least + setting.tolerance and end[0] == CONVERGED]
    if not best:
        return None
    optimum = criterion.at(min(best, key=lambda end: end[1])[2])
    flat = np.empty_like(optimum.factor)
    if flatten(optimum.factor, places.block, flat):
        settled = criterion.at(flat)
        optimum = settled if settled.deviance <= optimum.deviance + setting.tolerance else optimum
    return optimum
