"""Outcomes with precision weights under families of distributions: means of so many independent answers.

A mean y of w independent answers with mean mu has the variance phi V(mu) / w. Their total w y is binomial with w
trials, a Poisson count around w mu, or a gamma amount around w mu with w times the shape: families whose totals stay in
the family. Other families have no distribution for it.
"""

import numpy as np

from crosslevel.design.outcome import WHOLE, AskedOutcome, Outcome, read_outcome, refuse_constant
from crosslevel.design.weighting import RowWeights
from crosslevel.errors import DataError, DesignError
from crosslevel.formula import LearntOutcome
from crosslevel.table import Columns
from crosslevel.types import BoolArray, FloatArray
from crosslevel.weights import Precision, Weights

NO_MEANS = {
    "nbinom2": "a mean of negative binomial counts is none of them: model the totals, with the column as `exposure`",
    "nbinom1": "a mean of negative binomial counts is none of them: model the totals, with the column as `exposure`",
    "beta": "a mean of beta shares has no beta distribution",
    "betabinomial": "answers of one row are not independent there: name the column in `trials` if it counts them",
    "ordinal": "categories have no mean",
}
"""Why the mean of several answers has no distribution of a family, by its name."""


def words_of_weights(weights: RowWeights | None, outcome: Outcome | None) -> str | None:
    """What the weights are, for the line under a table; None where there are none."""
    if weights is None:
        return None
    if outcome is None or not outcome.is_mean:
        return weights.given.words
    column = weights.given.columns[0]
    what = "shares of successes in" if outcome.trials is not None else "means of"
    return f"precision {column}: outcomes are {what} {column} independent answers, each as the family says"


def read_weighted(
    asked: AskedOutcome, learnt: LearntOutcome, columns: Columns, mask: BoolArray | None, weights: Weights | None
) -> Outcome:
    """Outcome of the rows used; with precision weights the outcome of a row is a mean.

    Raises
    ------
    DataError, DesignError : what the family needs, what came, what to do.
    """
    if not isinstance(weights, Precision) or (asked.is_quasi and not asked.family.adds_up):
        return read_outcome(asked, learnt, columns, mask)
    outcome = read_means(asked, learnt, columns, mask, weights.column)
    refuse_constant(outcome)
    return outcome


def read_means(
    asked: AskedOutcome, learnt: LearntOutcome, columns: Columns, mask: BoolArray | None, column: str
) -> Outcome:
    """Outcome of the rows used, each the mean of as many answers as its precision says.

    Parameters
    ----------
    asked, learnt : how it is to be read, and as the formula has it.
    columns, mask : the data, and which rows are used.
    column : the precision weights, all positive.

    Raises
    ------
    DesignError : families whose means have no distribution of the family, or trials besides.
    DataError : labels, or totals that are no counts.
    """
    family = asked.family
    _refuse_family(asked, column)
    _refuse_other_sizes(asked, learnt, column)
    values = columns.numeric(column)
    size: FloatArray = values if mask is None else values[mask]
    (y,) = learnt.values(columns, mask)
    total: FloatArray = y * size
    if family.kind == "binary":
        _refuse_no_shares(y, learnt.name)
    if family.kind in ("binary", "count"):
        total, size = _whole_counts(asked, learnt.name, total, size, column)
    if family.kind != "binary":
        is_told = (family.kind == "positive") | (total < 0.0)  # counts need not be whole here, but may not be negative
        family.check_outcome(np.where(is_told, total, np.round(total)), size, learnt.name)
    labels = (learnt.labels[0], learnt.labels[-1]) if learnt.kind == "labels" else None
    return Outcome(
        name=learnt.name, y=total, size=size, labels=labels, is_mean=True, learnt=learnt,
        trials=f"{column}, as precision weights" if family.kind == "binary" else None,
    )  # fmt: skip


def _refuse_family(asked: AskedOutcome, column: str) -> None:
    """Refuse families of which the mean of several answers has no distribution."""
    family = asked.family
    if not family.adds_up:
        why = NO_MEANS.get(family.name, "a mean of its outcomes has no distribution of the family")
        raise DesignError(
            f"`weights` is cl.Precision({column!r}), with which the outcome of a row is the mean of {column} answers; "
            f"with family={family.name!r} {why}. If a row stands for several equal rows, use cl.Frequency({column!r})."
        )


def _refuse_other_sizes(asked: AskedOutcome, learnt: LearntOutcome, column: str) -> None:
    """Refuse outcomes that have their trials already, and single answers where means are needed."""
    if asked.trials is not None and not asked.family.has_trials:
        raise DesignError(f"`trials` is given, but family={asked.family.name!r} knows none. Leave it out.")
    has_trials = f"{learnt.name} has its trials already" if learnt.kind == "pair" else "`trials` says that as well"
    if asked.trials is not None or learnt.kind == "pair":
        raise DesignError(
            f"`weights` is cl.Precision({column!r}), which with family={asked.family.name!r} says of how many trials "
            f"each share is, but {has_trials}. Leave one of them out; if a row stands for several equal rows, use "
            f"cl.Frequency({column!r})."
        )
    if learnt.kind == "labels" and not asked.is_quasi:
        raise DataError(
            f"`weights` is cl.Precision({column!r}), with which the outcome is the share of successes in {column} "
            f"trials, but {learnt.name!r} has labels, one answer in each row. If a row stands for several equal rows, "
            f"use cl.Frequency({column!r}); if it was drawn with some probability, cl.Sampling."
        )
    if learnt.kind == "labels" and len(learnt.labels) > 2:
        raise DataError(
            f"`formula` has the outcome {learnt.name!r} with {len(learnt.labels)} labels; family={asked.family.name!r} "
            f"needs two. Say which counts as 1, as in I({learnt.name} == {learnt.labels[-1]!r}) ~ ..."
        )


def _refuse_no_shares(y: FloatArray, name: str) -> None:
    """Refuse numbers (n,) that are not from 0 to 1."""
    wrong = ~((y >= 0.0) & (y <= 1.0))
    if wrong.any():
        raise DataError(
            f"`formula` has the outcome {name!r}, which with cl.Precision is a share of successes from 0 to 1; "
            f"{np.count_nonzero(wrong)} of the {len(y)} rows used have others, for instance {y[wrong][0]:g}. For "
            f"numbers of successes write cbind({name}, n - {name}) ~ ... without weights."
        )


def _whole_counts(
    asked: AskedOutcome, name: str, total: FloatArray, size: FloatArray, column: str
) -> tuple[FloatArray, FloatArray]:
    """Totals (n,) and what they are totals of (n,), without rounding errors; as they are where they need be no counts.

    Raises
    ------
    DataError : totals, or numbers of trials, that are not whole.
    """
    trials = np.round(size) if asked.family.kind == "binary" else size
    no_trials = (np.abs(size - trials) > WHOLE * size) | (trials <= 0.0)
    no_total = np.abs(total - np.round(total)) > WHOLE * np.fmax(1.0, np.abs(total))
    if not np.any(no_trials | no_total):
        return np.round(total), trials
    if asked.is_quasi:
        return total, size
    wrong, values, told = (
        (no_trials, size, f"the number of trials {column!r}")
        if no_trials.any()
        else (no_total, total, f"the mean {name!r} times {column!r}")
    )
    raise DataError(
        f"`weights` is cl.Precision({column!r}), with which an outcome of family={asked.family.name!r} is the mean of "
        f"so many answers, but {told} is not a whole number in {np.count_nonzero(wrong)} of the {len(size)} rows "
        f"used, for instance {values[wrong][0]:g}: no counts have this mean. For weights of a survey use cl.Sampling; "
        "for coefficients of the population with robust standard errors cl.glm takes such weights."
    )
