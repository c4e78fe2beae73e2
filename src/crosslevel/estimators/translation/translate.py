"""A model in the syntax of another package."""

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.translation.model import Model, read_model
from crosslevel.types import Frame

if TYPE_CHECKING:
    from crosslevel.estimators.fitted_mixed import FittedMixed
    from crosslevel.estimators.ols_fit import OLSFit

PACKAGES = {
    "lme4": ("r", "lme4"), "nlme": ("nlme", "nlme"), "glmmtmb": ("r", "glmmtmb"), "stata": ("stata", "stata"),
    "spss": ("spss", "spss"), "sas": ("sas", "sas"), "hlm": ("hlm", "hlm"), "mplus": ("mplus", "mplus"),
    "statsmodels": ("statsmodels", "statsmodels"),
}  # fmt: skip
"""Packages, with the module and function that write for them."""


def translate(model: "FittedMixed | OLSFit | str", to: str, *, data: Frame | None = None, **arguments: Any) -> str:
    """Write the same model, y = X beta + Z b + e or its generalized kin, in the syntax of another package.

    Variables such as within(x, g), between(x, g), center(x) or wec(f) are made by commands of that package first.
    Categories keep the first one as reference. What the other package does not have is an error, never left out.

    Parameters
    ----------
    model : a fit of `mixed` or `ols`, or a formula.
    to : "lme4", "nlme", "glmmtmb" (R), "stata", "spss", "sas", "hlm" (level equations and settings), "mplus" or
        "statsmodels".
    data : for a formula, the data, which say which predictors are categories and how clusters are nested. Without,
        columns are taken for numbers, except in C(x).
    arguments : for a formula, arguments of `mixed`: family, method, weights, offset, residual, quadrature, trials,
        exposure, ddf.

    Returns
    -------
    Commands, one per line; the data are called `data`.

    Raises
    ------
    CrosslevelError : an unknown package, or something that it has no counterpart of.

    Source
    ------
    The manuals of the packages: Stata's mixed and me commands, SPSS's MIXED and GENLINMIXED, SAS/STAT's MIXED and
    GLIMMIX, Raudenbush & Congdon (2021) for HLM 8, Muthen & Muthen (2017) for Mplus 8.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("mathach ~ within(ses, school) + (within(ses, school) | school)", cl.datasets.load("hsb"))
    >>> print(cl.translate(fit, to="stata"))
    egen double ses_mean = mean(ses), by(school)
    generate double ses_dev = ses - ses_mean
    mixed mathach ses_dev || school: ses_dev, covariance(unstructured) reml
    >>> print(cl.translate("y ~ x + (x | g)", to="lme4"))
    library(lme4)
    model <- lmer(y ~ x + (1 + x | g), data = data, REML = TRUE)
    summary(model)
    """
    if not isinstance(to, str) or to.lower() not in PACKAGES:
        close = get_close_matches(str(to).lower(), PACKAGES, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise CrosslevelError(f"`to` names a package: {', '.join(PACKAGES)}; got {to!r}.{hint}")
    module, name = PACKAGES[to.lower()]
    write = cast(Callable[[Model], str], getattr(import_module(f"crosslevel.estimators.translation.{module}"), name))
    return write(read_model(model, data, arguments))
