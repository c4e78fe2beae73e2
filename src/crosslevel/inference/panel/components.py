"""Variances of a panel's errors: sigma2_e of rows, sigma2_u of the effects of groups.

With residuals e of some regression, W the deviations from group means and B the group means, n rows, J groups of n_i
rows, n2 = sum n_i^2:

    swamy-arora     sigma2_e = e_w'W e_w / (n - J - K_w), e_w of the within regression;
                    sigma2_u = (e_b'B e_b - (J - K_b) sigma2_e) / (n - tr), e_b of the between regression weighted by
                    rows, tr = tr[(X'B X)^-1 sum n_i^2 xbar_i xbar_i']
    wallace-hussain e of the pooled regression, with the true errors' expectations:
                    sigma2_e = e'W e / (n - J), sigma2_u = (e'B e - J sigma2_e) / n
    amemiya         the same with e = y - X b_w less its mean, b_w of the within regression
    nerlove         sigma2_e = e_w'W e_w / n; sigma2_u = sum n_i (alpha_i - alpha)^2 J / (n (J - 1)), alpha_i the
                    effects of the within regression

Balanced panels give the published formulas. A negative sigma2_u is set to zero.

Source: Swamy & Arora (1972), Econometrica 40: 261-275; Wallace & Hussain (1969), Econometrica 37: 55-72; Amemiya
(1971), Int. Econ. Rev. 12: 1-13; Nerlove (1971), Econometrica 39: 359-382; for unbalanced panels Baltagi & Chang
(1994), J. Econom. 62: 67-89.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.panel.between import between_regression
from crosslevel.inference.panel.panel import Panel
from crosslevel.inference.panel.quasi import pooled_regression
from crosslevel.inference.panel.regression import PanelRegression
from crosslevel.inference.panel.within import group_effects, varying_regression
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
    between = between_regression(panel, weighted=True)[0]
    weights = panel.products.count
    gram = between.products.gram[:, :-1, :-1]
    trace = float(np.einsum("ab,jab,j->", between.working_unscaled, gram, weights, optimize=True))
    excess = between.rss - between.df_residual * within.sigma2
    return within.sigma2, excess / (panel.n_rows - trace)


def wallace_hussain(panel: Panel) -> tuple[float, float]:
    """Both of the residuals of the pooled regression."""
    pooled = pooled_regression(panel)
    return _of_residuals(panel, pooled, centred=False)


def amemiya(panel: Panel) -> tuple[float, float]:
    """Both of the outcome less what the within regression explains."""
    return _of_residuals(panel, varying_regression(panel), centred=True)


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
    """Estimate the variances of the errors by a method of `METHODS`."""
    sigma2_e, sigma2_u = METHODS[check_method(method)](panel)
    return components_of(panel, sigma2_e, sigma2_u, method)


def components_of(panel: Panel, sigma2_e: float, sigma2_u: float, method: str) -> ErrorComponents:
    """Known variances with the shares theta that follow."""
    kept = max(sigma2_u, 0.0)
    theta = 1.0 - np.sqrt(sigma2_e / (sigma2_e + panel.products.count * kept))
    return ErrorComponents(method=method, sigma2_e=sigma2_e, sigma2_u=kept, raw_sigma2_u=sigma2_u, theta=theta)


def _of_residuals(panel: Panel, regression: PanelRegression, *, centred: bool) -> tuple[float, float]:
    """Both from residuals y - X b, less their mean if `centred`."""
    products, columns = panel.products, regression.products.columns
    own, contrast = np.append(columns, panel.response), np.append(-regression.beta, 1.0)
    within = float(contrast @ products.within[np.ix_(own, own)] @ contrast)
    mean, weights = products.mean[:, own] @ contrast, products.count
    mean = mean - weights @ mean / weights.sum() if centred else mean + products.origin[own] @ contrast
    sigma2_e = within / (panel.n_rows - panel.n_groups)
    between = float(weights @ mean**2)
    return sigma2_e, (between - panel.n_groups * sigma2_e) / panel.n_rows
