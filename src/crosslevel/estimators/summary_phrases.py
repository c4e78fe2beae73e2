"""What a summary says of how much the clusters matter: phrases that those of linear and other models share."""

import math
from typing import TYPE_CHECKING

from crosslevel.display import counted, fixed
from crosslevel.inference.icc import IntraclassCorrelation

if TYPE_CHECKING:
    from crosslevel.estimators.fitted_mixed import FittedMixed
    from crosslevel.estimators.mixed_fit import MixedFit


def percent_of(level: float) -> str:
    """A confidence level as it is written: 95%, 99.9%."""
    return f"{100.0 * level:g}%"


def precision(icc: IntraclassCorrelation) -> str:
    """Standard error and interval of an intraclass correlation, where it has them."""
    if not math.isfinite(icc.conf_low):
        return ""
    interval = f"{fixed(icc.conf_low, 3)} to {fixed(icc.conf_high, 3)}"
    return f" (SE {fixed(icc.std_error, 3)}, {percent_of(icc.level)} interval {interval})"


def reliabilities(fit: "MixedFit") -> str:
    """Average reliability of each random coefficient, and of how many clusters."""
    found, clusters = fit.reliability(), len(fit.group_sizes)
    shown = [
        f"{name} {fixed(value, 3)}" + (f" ({counted(able)} of {counted(clusters)} clusters)" if able < clusters else "")
        for (name, value), able in zip(found.average.items(), found.n_clusters, strict=True)
        if able
    ]
    if not shown:
        return "No cluster has enough rows for coefficients of its own, so they have no reliability."
    return f"Reliability of the clusters' own coefficients, on average: {', '.join(shown)}."


def where_slopes_are_zero(fit: "FittedMixed") -> str:
    """With random slopes the variance between clusters depends on the predictors."""
    effects = [name for factor in fit.design.factors for name in fit.design.effects_of(factor)]
    slopes = [name for name in dict.fromkeys(effects) if name != "Intercept"]
    return f", where {' and '.join(slopes)} {'is' if len(slopes) == 1 else 'are'} zero" if slopes else ""
