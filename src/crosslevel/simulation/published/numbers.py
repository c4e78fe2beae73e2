"""What published Monte Carlo studies report in numbers, to stand beside ours."""

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError

FACTORS = ("variant", "clusters", "slopes", "slope_sd", "between")
"""Factors of the study of 2017, as the arguments of `heisig2017`."""

REPS = 10_000
"""Replications of each condition; the bootstrap had 5,000."""

BOOTSTRAP_REPS = 5_000

_PLAIN = ("dce", 25, 5, 0.2, 0.0)
_EXTREME = ("dce", 25, 5, 1.0, 0.5)
_INTERACTION = ("cli", 15, 5, 1.0, 0.15)
_ONE, _FIVE = ("dce", 15, 1, 0.2, 0.15), ("dce", 15, 5, 0.2, 0.15)
_BOOTSTRAPPED = ("dce", 15, 3, 1.0, 0.15)

# condition, estimator, measure, interval, value in percent, what the last digit is worth, replications, where it stands
_HEISIG2017 = (
    (_PLAIN, "ME-Correct", "rmse", "", 11.2, 0.1, REPS, "Figure 1, panel 1a"),
    (_PLAIN, "ME-Invariant", "rmse", "", 12.9, 0.1, REPS, "Figure 1, panel 1a"),
    (_PLAIN, "OLS-Cluster", "rmse", "", 13.4, 0.1, REPS, "Figure 1, panel 1a"),
    (_EXTREME, "ME-Correct", "rmse", "", 13.5, 0.1, REPS, "Figure 1, panel 3b"),
    (_EXTREME, "ME-Invariant", "rmse", "", 48.7, 0.1, REPS, "Figure 1, panel 3b"),
    (_EXTREME, "OLS-Cluster", "rmse", "", 51.7, 0.1, REPS, "Figure 1, panel 3b"),
    (_INTERACTION, "ME-Correct", "rmse", "", 16.4, 0.1, REPS, "Figure 4, panel 1b"),
    (_INTERACTION, "ME-Invariant", "rmse", "", 32.0, 0.1, REPS, "Figure 4, panel 1b"),
    (_ONE, "ME-Correct", "coverage", "m-l-1", 92.5, 0.1, REPS, "Figure 3, panel 1a"),
    (_FIVE, "ME-Correct", "coverage", "m-l-1", 81.8, 0.1, REPS, "Figure 3, panel 1a"),
    (_BOOTSTRAPPED, "ME-Correct", "coverage", "m-l-1", 85.67, 0.01, REPS, "Figure 5, left"),
    (
        _BOOTSTRAPPED, "ME-Correct", "coverage", "cluster bootstrap", 95.62, 0.01, BOOTSTRAP_REPS, "Figure 5, middle",
    ),
    (_BOOTSTRAPPED, "BIC and PCA", "coverage", "m-l-1", 92.00, 0.01, REPS, "Figure 5, right"),
)  # fmt: skip

_STUDIES = {"heisig2017": _HEISIG2017}


def published(study: str = "heisig2017") -> pd.DataFrame:
    """Return the numbers that the text of a published study gives.

    Intervals of mixed models are called "m-l-1": t with G - 2 degrees of freedom, G being the number of clusters.
    "BIC and PCA" is the model after the search for its random-effects structure, begun from ME-Correct.

    Parameters
    ----------
    study : its name; "heisig2017" is Heisig, Schaeffer & Giesecke (2017).

    Returns
    -------
    frame : the factors of `cl.lab.heisig2017`, estimator, measure, interval, value (in percent), mcse (the Monte Carlo
        standard error that their replications imply, for normal errors, and the rounding of the number), reps, place.

    Raises
    ------
    CrosslevelError : no such study.

    Source
    ------
    Heisig, Schaeffer & Giesecke (2017), Am. Sociol. Rev. 82: 796-827.

    Examples
    --------
    >>> found = published()
    >>> found.loc[found["measure"] == "coverage", "value"].tolist()
    [92.5, 81.8, 85.67, 95.62, 92.0]
    """
    if study not in _STUDIES:
        raise CrosslevelError(f"`study` is the name of a published study: {', '.join(_STUDIES)}; got {study!r}.")
    columns = [*FACTORS, "estimator", "measure", "interval", "value", "digit", "reps", "place"]
    frame = pd.DataFrame([(*first, *rest) for first, *rest in _STUDIES[study]], columns=columns)
    share = frame["value"] / 100.0
    # the standard deviation of a root mean squared error of normal errors is the error / sqrt(2 reps), almost
    spread = np.where(frame["measure"] == "rmse", share / np.sqrt(2.0), np.sqrt(share * (1.0 - share)))
    sampling = 100.0 * spread / np.sqrt(frame["reps"])
    frame["mcse"] = np.sqrt(sampling**2 + frame["digit"] ** 2 / 12.0)
    return frame[[*FACTORS, "estimator", "measure", "interval", "value", "mcse", "reps", "place"]]
