"""Draws of the cross-products of a model with one grouping factor: no data are touched.

In working coordinates cluster g has R'R = Z'Z, c = R'^-1 Z'[X y], and a part of [X y]'[X y] outside the span of Z, of
which only the sum over clusters matters.

Clusters. A draw with replacement is a vector of multiplicities m: sums over clusters become sum m_g (.), and n becomes
sum m_g n_g.

Parametric. With y = X beta + Z b + e, b ~ N(0, sigma^2 Lambda Lambda') and e ~ N(0, sigma^2 I), orthonormal bases of
the span of Z in each cluster (R'^-1 Z'), of what X has outside of it, and of the rest give independent normal
coordinates of e. So

    c_y = c_X beta + R b + sigma z_g,     z_g standard normal where R has a row,
    r_Xy = r_XX beta + sigma L z,         r_XX = L L' the remainder of X, z standard normal (rank r_XX),
    r_yy = beta'r_XX beta + 2 beta'sigma L z + sigma^2 (z'z + chi^2),

with n - (rows of all R) - rank(r_XX) degrees of freedom: exact, in time independent of the number of rows. Weights
change nothing: with precisions, and with rows that stand for several, the weighted products have these distributions.

Wild. With v_g = y_g - X_g beta and a random weight w_g of mean 0 and variance 1, y_g = X_g beta + w_g (v_g + X_g k_g),
where k_g undoes the leverage of the cluster; see `wild`. All of it is linear in the cluster's products.
"""

from dataclasses import dataclass, replace

import numpy as np

from crosslevel.design.reduced import Reduced
from crosslevel.inference.bootstrap.setting import Setting
from crosslevel.inference.bootstrap.wild import AUXILIARY, leverage_shifts
from crosslevel.types import FloatArray

RANK = 1e-11
"""Share of its largest eigenvalue below which one of the remainder of X is rounding error."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw:
    """Cross-products of one replicate.

    Attributes
    ----------
    multiplicity : (J,) how often each cluster counts.
    image : (J, q) c of the response.
    remainder : (p + 1, p + 1) outside of the span of Z, clusters as often as they count.
    n_rows, log_weight : n of the likelihood, and sum of log w if weights are precisions.
    """

    multiplicity: FloatArray
    image: FloatArray
    remainder: FloatArray
    n_rows: float
    log_weight: float

    def reduced(self, setting: Setting) -> Reduced:
        """The same as reduced cross-products, which any solver takes."""
        own = setting.reduced
        image = np.concatenate([own.image[:, :, :-1], self.image[:, :, None]], axis=2)
        return replace(
            own, image=image, remainder=self.remainder, multiplicity=self.multiplicity, n_rows=self.n_rows,
            log_weight=self.log_weight,
        )  # fmt: skip


def counted(setting: Setting, times: FloatArray) -> Draw:
    """The data with each cluster counted `times` (J,) as often as it was."""
    multiplicity = times * setting.reduced.multiplicity
    return Draw(
        multiplicity=multiplicity,
        image=setting.reduced.image[:, :, -1],
        remainder=(multiplicity @ setting.flat_remainders).reshape(setting.remainders.shape[1:]),
        n_rows=float(multiplicity @ setting.rows),
        log_weight=float(multiplicity @ setting.log_weights),
    )


def with_response(setting: Setting, image: FloatArray, cross: FloatArray, square: float) -> Draw:
    """The same clusters with another response: c (J, q), and r_Xy (p,) and r_yy of its remainder."""
    remainder = setting.reduced.remainder.copy()
    remainder[-1, :-1] = remainder[:-1, -1] = cross
    remainder[-1, -1] = square
    return Draw(
        multiplicity=setting.reduced.multiplicity,
        image=image,
        remainder=remainder,
        n_rows=setting.reduced.n_rows,
        log_weight=setting.reduced.log_weight,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """Draws whole clusters with replacement, as many as there are."""

    setting: Setting

    def draw(self, rng: np.random.Generator) -> Draw:
        """One replicate."""
        n = self.setting.n_clusters
        times = np.bincount(rng.integers(0, n, n), minlength=n)
        return counted(self.setting, times.astype(np.float64))


@dataclass(frozen=True, kw_only=True, eq=False)
class Parametric:
    """Draws random effects and residuals from the normal distributions that were estimated.

    Attributes
    ----------
    setting : the fitted model.
    fixed : (J, q) c_X beta.
    rows : (J, q) true where R has a row.
    half : (p, r) sigma L with L L' the remainder of X.
    df : degrees of freedom of what is left of e'e.
    """

    setting: Setting
    fixed: FloatArray
    rows: FloatArray
    half: FloatArray
    df: float

    @classmethod
    def of(cls, setting: Setting) -> "Parametric":
        """Prepare what all draws share."""
        reduced = setting.reduced
        rows = np.einsum("gii->gi", reduced.root) > 0.0
        values, vectors = np.linalg.eigh(reduced.remainder[:-1, :-1])
        kept = values > RANK * max(float(values.max(initial=0.0)), 1e-300)
        return cls(
            setting=setting, fixed=reduced.image[:, :, :-1] @ setting.beta, rows=rows,
            half=setting.sigma * vectors[:, kept] * np.sqrt(values[kept]),
            df=reduced.n_rows - float(np.count_nonzero(rows)) - float(np.count_nonzero(kept)),
        )  # fmt: skip

    def draw(self, rng: np.random.Generator) -> Draw:
        """One replicate."""
        setting, sigma = self.setting, self.setting.sigma
        effects = sigma * rng.standard_normal(self.rows.shape) @ setting.factor.T
        image = self.fixed + np.einsum("gij,gj->gi", setting.reduced.root, effects)
        image += sigma * np.where(self.rows, rng.standard_normal(self.rows.shape), 0.0)
        z = rng.standard_normal(self.half.shape[1])
        own, beta = setting.reduced.remainder[:-1, :-1] @ setting.beta, setting.beta
        noise = self.half @ z
        rest = rng.chisquare(self.df) if self.df > 0.0 else 0.0
        square = np.dot(beta, own + 2.0 * noise) + sigma**2 * (np.dot(z, z) + rest)
        return with_response(setting, image, own + noise, float(square))


@dataclass(frozen=True, kw_only=True, eq=False)
class Wild:
    """Multiplies the marginal residuals of each cluster by a random weight.

    Attributes
    ----------
    setting : the fitted model.
    weights : name of their distribution.
    fixed, image : (J, q) c_X beta, and c of the residuals.
    cross, square : (J, p) and (J,) r_Xv and r_vv of the residuals' remainders, by cluster.
    """

    setting: Setting
    weights: str
    fixed: FloatArray
    image: FloatArray
    cross: FloatArray
    square: FloatArray

    @classmethod
    def of(cls, setting: Setting, *, weights: str, leverage: str) -> "Wild":
        """Prepare the residuals, freed of their clusters' leverage."""
        reduced, beta = setting.reduced, setting.beta
        # v_g + X_g k_g = [X_g y_g] (k_g - beta, 1)
        contrast = np.column_stack([leverage_shifts(setting, leverage) - beta, np.ones(setting.n_clusters)])
        products = np.einsum("gab,gb->ga", setting.remainders, contrast)
        return cls(
            setting=setting, weights=weights, fixed=reduced.image[:, :, :-1] @ beta,
            image=np.einsum("gia,ga->gi", reduced.image, contrast), cross=products[:, :-1],
            square=np.einsum("ga,ga->g", products, contrast),
        )  # fmt: skip

    def draw(self, rng: np.random.Generator) -> Draw:
        """One replicate."""
        setting, beta = self.setting, self.setting.beta
        w = AUXILIARY[self.weights](rng, setting.n_clusters)
        own, noise = setting.reduced.remainder[:-1, :-1] @ beta, w @ self.cross
        square = beta @ (own + 2.0 * noise) + w**2 @ self.square
        return with_response(setting, self.fixed + w[:, None] * self.image, own + noise, float(square))
