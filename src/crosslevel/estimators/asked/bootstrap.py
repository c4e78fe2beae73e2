"""Bootstrap of a fitted model."""

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.inference.bootstrap.record import Bootstrap

Kind: TypeAlias = Literal["cluster", "parametric", "residual", "wild"]
Weights: TypeAlias = Literal["webb", "rademacher"]
Leverage: TypeAlias = Literal["cr2", "cr3", "none"]
Failed: TypeAlias = Literal["report", "raise"]
Singular: TypeAlias = Literal["keep", "drop"]


def bootstrap(
    fit: "MixedFit",
    n: int = 2000,
    kind: Kind = "cluster",
    *,
    seed: int | np.random.Generator | None = None,
    n_jobs: int | None = None,
    weights: Weights = "webb",
    leverage: Leverage = "cr2",
    failed: Failed = "report",
    singular: Singular = "keep",
    progress: bool = True,
) -> "Bootstrap":
    """Draw the data again and again, refit the model each time, and keep all estimates.

    With one grouping factor nothing is drawn but cross-products (row by row only if `kind` is "residual"), and refits
    take a millisecond or less.

    Parameters
    ----------
    fit : the fitted model.
    n : replicates.
    kind : what is drawn.
        "cluster": whole clusters with replacement, as many as there are; of several nested factors those of the
        outermost. It assumes nothing but that clusters are independent and alike, and needs more than a handful.
        "parametric": random effects and residuals from the normal distributions that were estimated.
        "residual": random effects and residuals of the fit, centred and reflated to the estimated variances, with
        replacement (Carpenter, Goldstein & Rasbash 2003).
        "wild": the marginal residuals of each cluster times a random weight (Modugno & Giannerini 2015): for
        coefficients where variances differ between clusters. With crossed factors, each reflated random effect and
        residual has a weight of its own.
    seed : of the replicates; a generator to draw one from; None for another one each time. The result tells it.
    n_jobs : threads; as many as there are processors if None. Results do not depend on it.
    weights : for "wild": "webb" (six points) or "rademacher" (-1 and 1).
    leverage : for "wild": how residuals are freed of their cluster's leverage: "cr2", "cr3" (those of the estimate
        without the cluster) or "none".
    failed : "report" counts refits that fail, and leaves them out of the intervals; "raise" stops at the first.
    singular : "keep" uses refits in which a variance is zero; "drop" leaves them out, and counts them.
    progress : whether to report, on the standard error stream, how far a long run has come.

    Returns
    -------
    Bootstrap : all replicates, and their `conf_int`, `bias`, `std_error`, `counts` and `summary`. Interrupted, the run
        keeps what is done, and says so.

    Raises
    ------
    CrosslevelError : a wrong argument, or a kind that is not defined for this model: the message says why.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> boot = fit.bootstrap(500, "parametric", seed=1)
    >>> boot.counts[["asked", "done", "failed"]].to_dict()
    {'asked': 500, 'done': 500, 'failed': 0}
    >>> low, high = boot.conf_int(terms=["Days"]).loc["Days", ["conf_low", "conf_high"]]
    >>> bool(6.5 < low < 8.5 and 12.5 < high < 14.5)
    True
    """
    from crosslevel.estimators.priors import refuse_prior
    from crosslevel.estimators.resampling import Request, bootstrapped

    refuse_prior(fit, "bootstrap")
    asked = Request(
        n=n, kind=kind, seed=seed, n_jobs=n_jobs, weights=weights, leverage=leverage, failed=failed, singular=singular,
        progress=progress,
    )  # fmt: skip
    return bootstrapped(fit, asked)
