"""The method `equation` of fits."""

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.written.rendering import Format, check_format

if TYPE_CHECKING:
    from crosslevel.estimators.fitted_mixed import FittedMixed
    from crosslevel.estimators.ols_fit import OLSFit

Form: TypeAlias = Literal["levels", "combined"]


def equation(
    fit: "FittedMixed | OLSFit",
    form: Form = "levels",
    format: Format = "text",
    *,
    numbers: bool = False,
    digits: int | None = None,
) -> str:
    r"""Equations of a fitted model.

    Two levels: y_ij = beta_0j + beta_1j x_ij + r_ij, beta_kj = gamma_k0 + gamma_k1 z_j + u_kj. Factors that are nested
    in each other are written level by level up to three; crossed factors, or more levels, have one equation, in which
    u_{0,g[i]} is the effect of the level of g that row i belongs to.

    Parameters
    ----------
    fit : a fit of `mixed` or `ols`.
    form : "levels", an equation for every coefficient of the level below; or "combined", all in one.
    format : "text" (ASCII), "unicode", or "latex" (an align environment of amsmath).
    numbers : whether estimates stand in place of the symbols: coefficients with the decimals of their standard errors.
    digits : decimals of all numbers; by default as many as standard errors and sizes ask for.

    Returns
    -------
    The equations, then what is assumed of outcome, random effects and residuals, one per line.

    Raises
    ------
    CrosslevelError : an unknown form or format.

    Source
    ------
    Raudenbush & Bryk (2002), Hierarchical Linear Models, 2nd ed., ch. 2, 4 and 8; Gelman & Hill (2007), ch. 12.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (1 | Subject)", cl.datasets.load("sleepstudy"))
    >>> print(fit.equation())
    Reaction_ij = beta_0j + beta_1 * Days_ij + r_ij
    beta_0j = gamma_00 + u_0j
    beta_1 = gamma_10
    u_0j ~ N(0, tau_00)
    r_ij ~ N(0, sigma^2)
    >>> print(fit.equation("combined", "unicode", numbers=True))
    Reactionᵢⱼ = 251.405 + 10.467 Daysᵢⱼ + u₀ⱼ + rᵢⱼ
    u₀ⱼ ~ N(0, 1378)
    rᵢⱼ ~ N(0, 960.5)
    """
    if form not in get_args(Form):
        raise CrosslevelError(f"`form` is 'levels' or 'combined'; got {form!r}.")
    check_format(format)
    if digits is not None and (not isinstance(digits, int) or not 0 <= digits <= 15):
        raise CrosslevelError(f"`digits` is a number of decimals from 0 to 15, or None; got {digits!r}.")
    from crosslevel.estimators.written.equation import write_equations  # what this needs is slow to load

    return write_equations(fit, form, format, numbers, digits)
