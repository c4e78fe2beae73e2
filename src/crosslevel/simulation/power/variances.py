"""Variances of a planned study from what is said about them: an ICC, or standard deviations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.simulation.processes.amounts import is_number

INTERCEPT = "Intercept"


@dataclass(frozen=True, kw_only=True)
class Variances:
    """Standard deviations of the random effects by name, and of the residuals.

    Examples
    --------
    >>> found = Variances.of(["Intercept", "x"], icc=0.1, sd={"x": 0.2}, sigma=None)
    >>> round(found.sd["Intercept"] ** 2, 3), round(found.sigma**2, 3), found.sd["x"]
    (0.1, 0.9, 0.2)
    """

    sd: Mapping[str, float]
    sigma: float

    @classmethod
    def of(
        cls, names: Sequence[str], *, icc: float | None, sd: Mapping[str, float] | None, sigma: float | None
    ) -> "Variances":
        """Work out the variances.

        With an ICC rho the intercept's variance is rho and that of the residuals 1 - rho, so that the variance of the
        outcome given the fixed part (where the variables with slopes are zero) is 1; with sigma it is
        sigma^2 rho / (1 - rho).

        Parameters
        ----------
        names : of the random effects.
        icc : share of the variance, given the fixed part, that lies between clusters.
        sd : standard deviations of the random effects.
        sigma : that of the residuals; sqrt(1 - icc), or 1 without an ICC.

        Raises
        ------
        CrosslevelError : too little, too much, or impossible values.
        """
        if sd is not None and not isinstance(sd, Mapping):
            raise CrosslevelError(f"`sd` maps names of random effects to numbers, as in {{'x': .2}}; got {sd!r}.")
        for name, value in (sd or {}).items():
            if not is_number(value) or value < 0.0:
                raise CrosslevelError(
                    f"`sd` of {name!r} is a standard deviation, a number of at least 0; got {value!r}."
                )
        known = {name: float(value) for name, value in (sd or {}).items()}
        unknown = [name for name in known if name not in names]
        if unknown:
            raise CrosslevelError(
                f"`sd` names {', '.join(map(repr, unknown))}, which have no random effects in `formula`. It has random "
                f"effects of: {', '.join(names)}."
            )
        if sigma is not None and not (is_number(sigma) and sigma > 0.0):
            raise CrosslevelError(f"`sigma` is the residual standard deviation, above 0; got {sigma!r}.")
        if icc is not None:
            between, sigma = _from_icc(icc, names, known, sigma)
            known[INTERCEPT] = between
        lacking = [name for name in names if name not in known]
        if lacking:
            hint = "icc=.1, or " if lacking[0] == INTERCEPT else ""
            raise CrosslevelError(
                f"`sd` lacks the standard deviation of {', '.join(map(repr, lacking))} between clusters. Give {hint}"
                f"sd={{{', '.join(f'{name!r}: ..' for name in lacking)}}}."
            )
        return cls(sd={name: known[name] for name in names}, sigma=1.0 if sigma is None else float(sigma))


def _from_icc(icc: float, names: Sequence[str], known: Mapping[str, float], sigma: float | None) -> tuple[float, float]:
    """Standard deviations of the intercept and of the residuals."""
    if INTERCEPT not in names:
        raise CrosslevelError("`icc` is given, but `formula` has no random intercept such as (1 | country).")
    if INTERCEPT in known:
        raise CrosslevelError(f"`icc` and `sd` both say how much intercepts vary. Leave {INTERCEPT!r} out of `sd`.")
    if not is_number(icc) or not 0.0 <= icc < 1.0:
        raise CrosslevelError(f"`icc` is a share of variance, a number from 0 to less than 1; got {icc!r}.")
    if sigma is None:
        return float(np.sqrt(icc)), float(np.sqrt(1.0 - icc))
    return float(sigma * np.sqrt(icc / (1.0 - icc))), sigma
