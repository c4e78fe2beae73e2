"""Context effects averaged over the candidates of a search."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import Column, Row, Table
from crosslevel.errors import CrosslevelError
from crosslevel.inference.averaging import Average, averaged, smoothed_weights
from crosslevel.inference.df import df_method, suited_method
from crosslevel.inference.estimates import Estimates, Single
from crosslevel.selection.conditional import Conditional
from crosslevel.selection.criteria import Criterion, Information, Judge
from crosslevel.selection.focus import FocusJudge
from crosslevel.selection.search import Candidate, Search
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.selection.record import Selection

HARDLY = 1e-6
"""Weight that counts as none."""


def averaged_effects(selection: "Selection", level: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Averages of the context effects, and the weights of the candidates; see `Selection.averaged`.

    Raises
    ------
    CrosslevelError : the criterion gives no weights, or `level` is no probability.
    """
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0.0 < level < 1.0:
        raise CrosslevelError(f"`level` is a probability between 0 and 1, such as 0.95; got {level!r}.")
    candidates = candidates_of(selection)
    values = weight_values(selection, candidates)
    weights = np.array([smoothed_weights(column) for column in values.T])
    found = average_candidates(selection.search, candidates, weights, level)
    frame = pd.DataFrame(
        {
            "estimate": [one.estimate for one in found],
            "std_error": [one.std_error for one in found],
            "conf_low": [one.low for one in found],
            "conf_high": [one.high for one in found],
        },
        index=pd.Index(selection.context, name="term"),
    )
    words = pd.Index([candidate.structure.words for candidate in candidates], name="structure")
    return frame, pd.DataFrame(weights.T, index=words, columns=list(selection.context))


def candidates_of(selection: "Selection") -> list[Candidate]:
    """The candidates of step 2, each once; the chosen one where there was no step 2."""
    seen: dict[Candidate, None] = {}
    for found in selection.rounds:
        if found.step == 2:
            seen |= dict.fromkeys([found.baseline, *(candidate for candidate, _ in found.candidates)])
    return list(seen) or [selection.chosen]


def check_weights(criterion: Criterion, judge: Judge) -> None:
    """Refuse criteria that give no weights.

    Raises
    ------
    CrosslevelError : it is no information criterion and no focused error.
    """
    if not isinstance(judge, FocusJudge) and not isinstance(criterion, Information | Conditional):
        raise CrosslevelError(
            f"`criterion` is {criterion.name!r}, which gives no weights to average by. Search by an information "
            "criterion, such as 'bic', or by 'focus'."
        )


def weight_values(selection: "Selection", candidates: Sequence[Candidate]) -> FloatArray:
    """Values (M, m) of each candidate and context effect, of which exp(-value / 2) is the weight.

    Raises
    ------
    CrosslevelError : see `check_weights`.
    """
    judge = selection.judge
    check_weights(selection.criterion, judge)
    if isinstance(judge, FocusJudge):
        return focus_values(judge, candidates)
    value = np.array([judge.value(candidate, candidate) for candidate in candidates])
    return np.repeat(value[:, None], len(selection.context), axis=1)


def focus_values(judge: "FocusJudge", candidates: Sequence[Candidate]) -> FloatArray:
    """Values d log(mse) (M, m) of the weights mse^(-d / 2), with d the degrees of freedom by m-l-1.

    That is how the likelihood of a regression with d degrees of freedom depends on its residual variance.
    """
    mse = np.array([[error.mse for error in judge.errors(candidate)] for candidate in candidates])
    return np.asarray(judge.search.df * np.log(mse))


def average_candidates(
    search: Search, candidates: Sequence[Candidate], weights: FloatArray, level: float
) -> list[Average]:
    """The average of each context effect, with weights (m, M); tests of each candidate are its default ones.

    Candidates with hardly any weight are left out: their tests would be all of the work.
    """
    some = np.flatnonzero(np.max(weights, axis=0) > HARDLY)
    chosen = [candidates[int(k)] for k in some]
    share = weights[:, some] / weights[:, some].sum(axis=1, keepdims=True)
    singles = [candidate.estimates.once(default_tests) for candidate in chosen]
    return [
        averaged(
            np.array([candidate.beta[i] for candidate in chosen]),
            np.array([single.std_error[i] for single in singles]),
            np.array([single.df[i] for single in singles]),
            share[k],
            level=level,
        )
        for k, i in enumerate(search.context)
    ]


def default_tests(estimates: Estimates) -> Single:
    """Standard errors and degrees of freedom (p,) of all coefficients by the method that is the default."""
    return df_method(suited_method(estimates)).single(estimates, np.eye(len(estimates.beta)))


def average_table(selection: "Selection") -> Table:
    """Averaged context effects, to print."""
    frame = selection.averaged()
    rows: list[Row] = [
        [str(term), *(float(row[name]) for name in ("estimate", "std_error", "conf_low", "conf_high"))]
        for term, row in frame.iterrows()
    ]
    columns: list[str | Column] = ["", "Estimate", "SE", "95% low", "high"]
    note = "Standard errors and intervals know that the structure was chosen; the default t tests of each candidate."
    return Table(columns, rows, title="Context effects averaged over the candidates of step 2", notes=[note])


def average_words(selection: "Selection") -> str:
    """What was averaged, how, and what came out."""
    frame, weights = selection.averaged(), selection.weights
    by = (
        "their mean squared error to the power of minus half the degrees of freedom (m-l-1)"
        if isinstance(selection.judge, FocusJudge)
        else f"exp(-{selection.criterion.title} / 2)"
    )
    found = [
        f"{term} {row['estimate']:.4g} (95 % interval {row['conf_low']:.4g} to {row['conf_high']:.4g}; the largest "
        f"weight, {weights[term].max():.2f}, has {weights[term].idxmax()})"
        for term, row in frame.iterrows()
    ]
    return (
        f"Context effects were averaged over the {len(weights):,} structures of step 2, with weights proportional to "
        f"{by}, and standard errors of Buckland, Burnham and Augustin (1997): {'; '.join(found)}."
    )
