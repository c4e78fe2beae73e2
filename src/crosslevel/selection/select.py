"""Search for the random-effects structure of a model."""

import warnings
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from crosslevel.errors import CrosslevelError, DataWarning
from crosslevel.estimators.mixed import mixed
from crosslevel.kernels.first_use import announce_compilation
from crosslevel.selection.asked import build_search, check_maximal, is_overfull
from crosslevel.selection.averaging import check_weights
from crosslevel.selection.chosen import chosen_fit
from crosslevel.selection.criteria import Criterion
from crosslevel.selection.progress import Progress
from crosslevel.selection.record import Selection
from crosslevel.selection.registry import criterion_named
from crosslevel.selection.remarks import overfull_words
from crosslevel.selection.routine import Components, Correlations, Rules, run
from crosslevel.types import Frame, Method


def select(
    formula: str,
    data: Frame,
    keep: Sequence[str] | None = None,
    criterion: "str | Criterion" = "bic",
    *,
    keep_intercept: bool = True,
    context: Sequence[str] | str | None = None,
    group: str | None = None,
    method: Method | None = None,
    correlations: Correlations | None = None,
    components: Components = "published",
    share: float = 1.0,
    alpha: float = 0.05,
    folds: int | None = None,
    average: bool = False,
    seed: int | None = None,
    progress: bool = True,
    **given: Any,
) -> Selection:
    """Search for the random-effects structure that the data support.

    The routine of Heisig, Schaeffer & Giesecke (2017), after Bates, Kliegl, Vasishth & Baayen (2015). Step 1 starts
    with all random effects of the formula, their correlations fixed to zero, and drops one slope at a time: the best
    candidate by the criterion, if it is better than the baseline; or if it is not, but the baseline has fewer principal
    components than random effects. Slopes in a cross-level interaction are never dropped, nor is the random intercept,
    nor a slope before the interactions it is part of. Step 2 searches the correlations of the effects that are left:
    every way to put them into blocks, within which they are correlated. All candidates are fitted to the cross-products
    of the maximal model; no row is read again. With another `family` they are fitted to its rows, each search starting
    at the estimates of the maximal model, all with as many quadrature nodes as that has.

    Parameters
    ----------
    formula : the maximal model, as in "y ~ x1 * z + x2 + (x1 + x2 | country)". The structure of one grouping factor is
        searched; blocks of the formula are not joined.
    data : as for `mixed`.
    keep : random slopes that are never dropped, beside those in cross-level interactions.
    keep_intercept : whether the random intercept stays whatever the criterion says of it. Otherwise it may be dropped
        in step 1 as a slope may; the model without it depends on the origins of the slopes' variables.
    criterion : name of the criterion by which models are compared, see `crosslevel.selection.registry.CRITERIA`.
    context : the context effects that the record follows: coefficients, or variables that are constant within clusters.
        By default all coefficients of such variables, cross-level interactions included.
    group : the grouping factor whose random effects are searched, if there are several.
    method : "reml", by default in linear models, or "ml", the only one of other families.
    correlations : "exhaustive", every structure; "stepwise", one block split in two at a time; "target", which effects
        are correlated with that of a context effect's equation, the others with none; "full" or "none", all or no
        correlations of the slopes that are left. None leaves it to the criterion: "target" for those that look at the
        context effects, else "exhaustive".
    components : what the principal components decide. "published": with fewer of them than random effects the best
        candidate is taken although its criterion is worse. "curable": only if some candidate lacks fewer components
        than the baseline; where the variance of an effect that is kept is zero, dropping others does not help. "off":
        nothing. Neither does a component count that is lacking because a slope waits for its interaction to go.
    share : of the variance that the components have to make up. All of it by default: only components whose standard
        deviation is below 1e-4 of the residual's (of effects measured by what they add to the outcome's variance)
        count as none.
    alpha : level of the tests of criterion "lrt".
    folds : for criterion "cv", into how many parts the clusters are divided: 10 by default, or one for each cluster if
        there are fewer.
    average : whether the record also shows the context effects averaged over the candidates of step 2, see
        `Selection.averaged`. For information criteria and focused errors.
    seed : of criteria that draw random numbers: "cv" the folds, "focus-bootstrap" the clusters. None is 0.
    progress : whether to report on the standard error stream.
    **given : further arguments of `mixed`.

    Returns
    -------
    Selection : `fit`, the chosen model; `candidates`, the record as a frame; `log`, in words.

    Raises
    ------
    CrosslevelError : a wrong argument, or a model whose structure cannot be searched; the message says what to do.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> found = cl.select("mathach ~ ses * sector + minority + (ses + minority | school)", data, progress=False)
    >>> found.formula
    'mathach ~ ses + sector + minority + ses:sector + (1 | school) + (0 + ses | school)'
    """
    judged_by = criterion_named(criterion)
    rules = rules_from(components, share, judged_by.correlations if correlations is None else correlations)
    maximal = mixed(formula, data, method=method, progress=progress, **given)
    check_maximal(maximal)
    if maximal.design.outcome is None:
        announce_compilation("refits")
    search = build_search(
        maximal,
        keep=keep,
        keep_intercept=keep_intercept,
        context=context,
        group=group,
        seed=seed,
        alpha=alpha,
        folds=folds,
    )
    if is_overfull(maximal, search.place):
        words = overfull_words(len(search.effects), search.design.factors[search.place].n_levels)
        warnings.warn(words, DataWarning, stacklevel=2)
    judge = judged_by.judge(search)
    if average:
        check_weights(judged_by, judge)
    with Progress(wanted=progress) as report:
        rounds = tuple(run(search, judge, rules, report))
    fit = chosen_fit(search, rounds[-1].chosen)
    return Selection(
        fit=fit, search=search, criterion=judged_by, judge=judge, rules=rules, rounds=rounds, average=average
    )


def rules_from(components: object, share: object, correlations: object) -> Rules:
    """The rules, if they are some.

    Raises
    ------
    CrosslevelError : they are not.
    """
    for name, value, allowed in (
        ("correlations", correlations, get_args(Correlations)),
        ("components", components, get_args(Components)),
    ):
        if value not in allowed:
            raise CrosslevelError(f"`{name}` is one of {', '.join(map(repr, allowed))}; got {value!r}.")
    if isinstance(share, bool) or not isinstance(share, int | float | np.floating) or not 0.0 < share <= 1.0:
        raise CrosslevelError(f"`share` is a share of the variance, above 0 and at most 1; got {share!r}.")
    return Rules(components=components, share=float(share), correlations=correlations)  # type: ignore[arg-type]
