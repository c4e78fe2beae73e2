"""Bootstrap of a fitted generalized model."""

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.bootstrap import Failed, Singular
from crosslevel.estimators.generalized.likelihoods import refitter, require_likelihood
from crosslevel.estimators.resampling import Plan, check_choices, check_counts, entropy_of, threads_of
from crosslevel.inference.bootstrap.jackknife import accelerations
from crosslevel.inference.generalized.clusters import outermost_clusters
from crosslevel.inference.generalized.replicates import ClusterReplicates, OutcomeReplicates

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.inference.bootstrap.record import Bootstrap

Kind: TypeAlias = Literal["cluster", "parametric"]

NO_ERRORS = (
    "standard errors are computed in the replicates only with fit.bootstrap(..., studentised=True). Use that, or "
    "'percentile', 'basic', 'normal' or 'bca'."
)


def bootstrap(
    fit: "GeneralizedFit",
    n: int = 2000,
    kind: Kind = "cluster",
    *,
    seed: int | np.random.Generator | None = None,
    n_jobs: int | None = None,
    studentised: bool = False,
    failed: Failed = "report",
    singular: Singular = "keep",
    progress: bool = True,
) -> "Bootstrap":
    """Draw the data again and again, refit the model each time, and keep all estimates.

    Refits maximise the same approximation of the likelihood, with the same number of nodes, from the estimates on.

    Parameters
    ----------
    fit : the fitted model.
    n : replicates.
    kind : what is drawn.
        "cluster": whole clusters with replacement, as many as there are; of several nested factors those of the
        outermost. It assumes nothing but that clusters are independent and alike, and needs more than a handful.
        "parametric": random effects from the normal distributions that were estimated, then outcomes from the family.
    seed : of the replicates; a generator to draw one from; None for another one each time. The result tells it.
    n_jobs : threads; as many as there are processors if None. Results do not depend on it.
    studentised : whether to compute standard errors in every replicate, for studentised intervals. It takes longer.
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
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed("I(mathach > 13) ~ ses + (1 | school)", data, family="binomial", quadrature=1)
    >>> boot = fit.bootstrap(20, seed=1)
    >>> boot.counts[["asked", "done", "failed"]].to_dict()
    {'asked': 20, 'done': 20, 'failed': 0}
    """
    from crosslevel.inference.bootstrap.record import Bootstrap
    from crosslevel.inference.bootstrap.run import run

    _check_kind(kind)
    check_choices(failed=(failed, Failed), singular=(singular, Singular))
    check_counts(n=n, n_jobs=n_jobs)
    entropy = entropy_of(seed)
    plan = planned(fit, kind, studentised=studentised)
    done = run(plan.work, n=n, entropy=entropy, n_jobs=threads_of(n_jobs), failed=failed, progress=progress)
    estimands, solution = fit.estimands, fit.solution
    turn = estimands.predictor_jacobian(solution.parameters)
    errors = np.sqrt(np.einsum("ia,ab,ib->i", turn, solution.working_vcov, turn, optimize=True))
    return Bootstrap(
        kind=kind, about=plan.about, names=estimands.names, estimate=estimands.values(solution.parameters),
        std_errors=errors, batch=done.batch, number=done.number, asked=n, seed=entropy, singular=singular,
        interrupted=done.interrupted, accelerations=plan.jackknife, no_errors="" if studentised else NO_ERRORS,
        others="Random effects and shape",
    )  # fmt: skip


def _check_kind(kind: object) -> None:
    """Refuse what is no kind, and kinds of linear models."""
    if kind in ("residual", "wild"):
        raise CrosslevelError(
            f"`kind` is {kind!r}, which adds residuals to a linear predictor; outcomes of this family have no additive "
            "residuals. Use kind='cluster' or 'parametric'."
        )
    if kind not in get_args(Kind):
        raise CrosslevelError(f"`kind` is one of {', '.join(map(repr, get_args(Kind)))}; got {kind!r}.")


def planned(fit: "GeneralizedFit", kind: str, *, studentised: bool = False) -> Plan:
    """Choose the draws and the refits.

    Raises
    ------
    CrosslevelError : the kind is not defined for this model.
    """
    require_likelihood(fit, "`bootstrap`")
    _refuse_weights(fit, kind, studentised=studentised)
    again, clusters = refitter(fit, errors=studentised), outermost_clusters(fit.design)
    known = any(factor.structure.fixed.any() for factor in fit.design.factors)
    counted = None if clusters is None or known else ClusterReplicates(refitter=again, clusters=clusters)
    jackknife = None
    if counted is not None:
        n_clusters = counted.clusters.n_clusters

        def jackknife() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
            return np.asarray(accelerations(n_clusters, counted.counted))

    groups = ", ".join(factor.name for factor in fit.design.factors)
    if kind == "parametric":
        about = f"random effects of {groups} and outcomes, from the fitted model" if groups else "outcomes"
        return Plan(work=OutcomeReplicates.of(again).work, about=about, jackknife=jackknife)
    if counted is None:
        why = (
            "random effects of known covariance belong to these very clusters"
            if known
            else f"the grouping factors ({groups or 'none'}) are not nested in each other: levels share rows crosswise"
        )
        raise CrosslevelError(
            f"`kind` is 'cluster', which draws independent clusters with replacement, but {why}. Use kind='parametric'."
        )
    about = f"{counted.clusters.n_clusters} clusters of {counted.clusters.clusters.name}, with replacement"
    return Plan(work=counted.work, about=about, jackknife=jackknife)


def _refuse_weights(fit: "GeneralizedFit", kind: str, *, studentised: bool) -> None:
    """Refuse what weights leave undefined."""
    weights = fit.design.weights
    if weights is None:
        return
    if weights.is_sampling and kind != "cluster":
        raise CrosslevelError(
            f"`kind` is {kind!r}, and with sampling weights the rows are a sample with unequal probabilities, of which "
            "the model says nothing: only whole clusters can be drawn again. Use kind='cluster'."
        )
    if weights.is_sampling and studentised:
        raise CrosslevelError(
            "`studentised` needs a standard error in every replicate; with sampling weights they come from the "
            "sandwich, which the refits do not compute. Leave it out."
        )
    if weights.is_frequency and kind != "cluster":
        raise CrosslevelError(
            f"`kind` is {kind!r}, which draws an outcome for each row, and with frequency weights a row stands for "
            "several. Repeat the rows and fit without weights."
        )
