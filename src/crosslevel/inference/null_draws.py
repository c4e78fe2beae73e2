"""Outcomes drawn as cross-products: what a parametric bootstrap of a model with one grouping factor needs of its rows.

In working coordinates, with R'R = Z'Z of a cluster, its image of y is R b + P e, e normal and P the projection on the
range of R; the part of X'y outside of Z is C e with C C' that of X'X, and the rest of y'y is chi-square. Statistics of
likelihood-ratio tests do not depend on beta or on sigma, so that these are 0 and 1.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from crosslevel.design.reduced import Reduced
from crosslevel.types import FloatArray

RANK = 1e-10
"""Squared singular value, relative to the largest, that counts as zero."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NullDraws:
    """Draws of the outcome of a model with one grouping factor.

    Attributes
    ----------
    reduced : its cross-products; each cluster counts once.
    effects : (J, q, q) R Lambda, with the Lambda to draw from.
    projection : (J, q, q) on the range of R.
    outside : (p, k) C.
    df : dimensions of y that neither Z nor X reach.
    """

    reduced: Reduced
    effects: FloatArray = field(repr=False)
    projection: FloatArray = field(repr=False)
    outside: FloatArray = field(repr=False)
    df: float

    @classmethod
    def of(cls, reduced: Reduced, factor: FloatArray) -> "NullDraws":
        """Prepare draws with a working Lambda (q, q) relative to sigma."""
        left, sizes, _ = np.linalg.svd(reduced.root)
        able = sizes**2 > RANK * sizes[:, :1] ** 2
        kept = left * able[:, None, :]
        values, vectors = np.linalg.eigh(reduced.remainder[:-1, :-1])
        some = values > RANK * max(float(np.diag(reduced.remainder)[:-1].max(initial=0.0)), reduced.n_rows * RANK)
        return cls(
            reduced=reduced,
            effects=reduced.root @ factor,
            projection=kept @ kept.transpose(0, 2, 1),
            outside=vectors[:, some] * np.sqrt(values[some]),
            df=reduced.n_rows - float(np.count_nonzero(able)) - float(np.count_nonzero(some)),
        )

    def draw(self, rng: np.random.Generator) -> Reduced:
        """Cross-products with a drawn outcome."""
        n_clusters, q = self.effects.shape[:2]
        u, e = rng.standard_normal((n_clusters, q, 1)), rng.standard_normal((n_clusters, q, 1))
        image = self.reduced.image.copy()
        image[:, :, -1:] = self.effects @ u + self.projection @ e
        noise = rng.standard_normal((self.outside.shape[1],))
        remainder = self.reduced.remainder.copy()
        remainder[-1, :-1] = remainder[:-1, -1] = self.outside @ noise
        remainder[-1, -1] = noise @ noise + (rng.chisquare(self.df) if self.df > 0.0 else 0.0)
        return replace(self.reduced, image=image, remainder=remainder)
