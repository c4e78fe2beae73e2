"""Variances of a panel's errors: sigma2_e of rows, sigma2_u of the effects of groups.

With residuals e of some regression, W the deviations from group means and B the group means, n rows and J groups of
n_i rows, two quadratic forms q_W = e'W e and q_B = e'B e are set equal to what they are on average,

    q_W = a_e sigma2_e + a_u sigma2_u,    q_B = b_e sigma2_e + b_u sigma2_u.

    swamy-arora      e of the within regression in q_W, of the between regression weighted by rows in q_B:
                     a = (n - J - K_w, 0), b = (J - K_b, n - tr[F_B^-1 F_Z])
    wallace-hussain  e of the pooled regression, F = F_W + F_B:
                     a = (n - J - tr[F^-1 F_W], tr[F^-1 F_W F^-1 F_Z]),
                     b = (J - tr[F^-1 F_B], n - 2 tr[F^-1 F_Z] + tr[F^-1 F_B F^-1 F_Z])
    amemiya          e = y - X b_w less its mean, b_w of the within regression, of K columns:
                     a = (n - J - K, 0), b = (J - 1 + tr[F_W^-1 F_C], n - sum n_i^2 / n)
    nerlove          sigma2_e = q_W / n of the within regression, with effects alpha_i:
                     sigma2_u = sum n_i (alpha_i - alpha)^2 J / (n (J - 1))

F_W = sum S_i, F_B = sum n_i m_i m_i', F_Z = sum n_i^2 m_i m_i', F_C = sum n_i (m_i - m)(m_i - m)', with scatters S_i
and means m_i of X. In balanced panels Wallace & Hussain's and Amemiya's are the published ones, which leave out that
coefficients were estimated: a = (n - J, 0), b = (J, n). A negative sigma2_u is set to zero.

Source: Swamy & Arora (1972), Econometrica 40: 261-275; Wallace & Hussain (1969), Econometrica 37: 55-72; Amemiya
(1971), Int. Econ. Rev. 12: 1-13; Nerlove (1971), Econometrica 39: 359-382; for unbalanced panels Baltagi & Chang
(1994), J. Econom. 62: 67-89.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from crosslevel.errors import CrosslevelError, DesignError
from crosslevel.inference.panel.between import between_regression
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.quasi import group_residuals, pooled_regression
from crosslevel.inference.panel.regression import PanelRegression
from crosslevel.inference.panel.within import group_effects, require_repeats, varying_regression
from crosslevel.types import FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorComponents:
    """Variances of the errors.

    Attributes
    ----------
    method : how they were estimated.
    sigma2_e : variance of the errors of rows.
    sigma2_u : variance of the effects of groups, not negative.
    raw_sigma2_u : its estimate before a negative value is set to zero.
    theta : (J,) share of its group's mean that is taken off a row, 1 - sqrt(sigma2_e / (sigma2_e + n_i sigma2_u)).
    """

    method: str
    sigma2_e: float
    sigma2_u: float
    raw_sigma2_u: float
    theta: FloatArray = field(repr=False)

    @property
    def share(self) -> float:
        """Share of the errors' variance that lies between groups."""
        return self.sigma2_u / (self.sigma2_e + self.sigma2_u)


def swamy_arora(panel: Panel) -> tuple[float, float]:
    """sigma2_e of the within, sigma2_u of the between regression."""
    within = varying_regression(panel)
    between = between_regression(
        panel, weighted=True, instead="use method='amemiya' or 'nerlove', which need fewer groups"
    )[0]
    weights = panel.products.count
    gram = between.products.gram[:, :-1, :-1]
    trace = float(np.einsum("ab,jab,j->", between.working_unscaled, gram, weights, optimize=True))
    excess = between.rss - between.df_residual * within.sigma2
    return within.sigma2, excess / (panel.n_rows - trace)


def wallace_hussain(panel: Panel) -> tuple[float, float]:
    """Both of the residuals of the pooled regression."""
    pooled = pooled_regression(panel)
    outside = float(panel.products.count @ group_residuals(panel, pooled) ** 2)
    forms = pooled.rss - outside, outside
    if panel.is_balanced:
        return solved(forms, *published(panel))
    n, j, weights = float(panel.n_rows), float(panel.n_groups), panel.products.count
    inverse, scatters = pooled.working_unscaled, scaled_scatters(panel, pooled)
    outer = pooled.products.gram[:, :-1, :-1] - scatters
    f_w, f_b, f_z = (
        inverse @ scatters.sum(axis=0),
        inverse @ outer.sum(axis=0),
        inverse @ np.einsum("j,jab->ab", weights, outer),
    )
    return solved(
        forms,
        (n - j - float(np.trace(f_w)), float(np.trace(f_w @ f_z))),
        (j - float(np.trace(f_b)), float(n - 2.0 * np.trace(f_z) + np.trace(f_b @ f_z))),
    )


def amemiya(panel: Panel) -> tuple[float, float]:
    """Both of the outcome less what the within regression explains."""
    within, products = varying_regression(panel), panel.products
    residual = group_effects(panel, within)
    forms = within.rss, float(products.count @ (residual - products.count @ residual / panel.n_rows) ** 2)
    if panel.is_balanced:
        return solved(forms, *published(panel))
    n, j, columns = float(panel.n_rows), float(panel.n_groups), within.products.columns
    centred = (products.mean - products.grand_mean)[:, columns] / within.products.coordinates.scale[:-1]
    f_c = (centred * products.count[:, None]).T @ centred
    return solved(
        forms,
        (n - j - len(columns), 0.0),
        (j - 1.0 + float(np.trace(within.working_unscaled @ f_c)), n - float(np.sum(products.count**2)) / n),
    )


def nerlove(panel: Panel) -> tuple[float, float]:
    """sigma2_e of the within regression without degrees of freedom, sigma2_u of its effects."""
    within = varying_regression(panel)
    effects, weights = group_effects(panel, within), panel.products.count
    centred = effects - weights @ effects / weights.sum()
    j = panel.n_groups
    return within.rss / panel.n_rows, float(weights @ centred**2) / panel.n_rows * j / (j - 1.0)


METHODS: dict[str, Callable[[Panel], tuple[float, float]]] = {
    "swar": swamy_arora,
    "walhus": wallace_hussain,
    "amemiya": amemiya,
    "nerlove": nerlove,
}
"""How the variances are estimated, by name."""

AUTHORS = {"swar": "Swamy-Arora", "walhus": "Wallace-Hussain", "amemiya": "Amemiya", "nerlove": "Nerlove"}
"""Whose method each is."""


def check_method(method: object) -> str:
    """The name of a method.

    Raises
    ------
    CrosslevelError : there is none of this name.
    """
    if not isinstance(method, str) or method not in METHODS:
        listed = ", ".join(f"{name!r} ({AUTHORS[name]})" for name in METHODS)
        raise CrosslevelError(f"`method` is one of {listed}; got {method!r}.")
    return method


def error_components(panel: Panel, method: str) -> ErrorComponents:
    """Estimate the variances of the errors by a method of `METHODS`.

    Raises
    ------
    DesignError : no group of several rows, or no positive variance of the rows.
    """
    require_repeats(panel)
    sigma2_e, sigma2_u = METHODS[check_method(method)](panel)
    if not sigma2_e > 0.0:
        raise DesignError(
            f"`method` is {method!r}, by which the variance of the rows is estimated as {sigma2_e:.3g}, which is no "
            "variance: predictors explain too much for so few rows. Use method='swar', or fewer predictors."
        )
    return components_of(panel, sigma2_e, sigma2_u, method)


def components_of(panel: Panel, sigma2_e: float, sigma2_u: float, method: str) -> ErrorComponents:
    """Known variances with the shares theta that follow."""
    kept = max(sigma2_u, 0.0)
    theta = 1.0 - np.sqrt(sigma2_e / (sigma2_e + panel.products.count * kept))
    return ErrorComponents(method=method, sigma2_e=sigma2_e, sigma2_u=kept, raw_sigma2_u=sigma2_u, theta=theta)


def published(panel: Panel) -> tuple[tuple[float, float], tuple[float, float]]:
    """Expectations of both forms in the true errors."""
    n, j = float(panel.n_rows), float(panel.n_groups)
    return (n - j, 0.0), (j, n)


def solved(
    forms: tuple[float, float], within: tuple[float, float], between: tuple[float, float]
) -> tuple[float, float]:
    """sigma2_e and sigma2_u that both forms are expected under; coefficients of (sigma2_e, sigma2_u) in each."""
    (a_e, a_u), (b_e, b_u) = within, between
    determinant = a_e * b_u - a_u * b_e
    return (forms[0] * b_u - forms[1] * a_u) / determinant, (forms[1] * a_e - forms[0] * b_e) / determinant


def scaled_scatters(panel: Panel, regression: PanelRegression) -> FloatArray:
    """(J, p, p) scatters of the columns of X in a regression's working coordinates."""
    columns, scale = regression.products.columns, regression.products.coordinates.scale[:-1]
    return np.asarray(panel.products.scatter[:, columns[:, None], columns] / np.outer(scale, scale))
