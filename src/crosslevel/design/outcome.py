"""The outcome of a generalized linear mixed model: what its values, labels, trials and exposures mean."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.errors import DataError, DesignError
from crosslevel.formula import Formula, LearntOutcome, learn_outcome
from crosslevel.table import Columns
from crosslevel.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from crosslevel.families import Family

WHOLE = 1e-6
"""How far a number of successes, a proportion times its trials, may be from a whole number by rounding."""

MANY = 20
"""Categories of an ordered outcome from which on it is doubted that they are categories."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AskedOutcome:
    """How an outcome is to be read.

    Attributes
    ----------
    family : distribution and link.
    trials : the column with the number of trials of each row, numbers for all rows of the data, or one number; None
        where the outcome says it.
    exposure : the column with the exposure of each row, or numbers for all rows of the data; None for 1.
    is_quasi : whether precision weights that make no distribution of the family are taken as well, because only
        coefficients and robust standard errors are wanted.
    """

    family: "Family"
    trials: object = None
    exposure: object = None
    is_quasi: bool = False

    def columns(self, columns: Columns) -> tuple[str, ...]:
        """The data columns that are needed beside those of the formula.

        Raises
        ------
        ColumnNotFoundError : one of them is not in the data.
        """
        named = [(name, given) for name, given in self._given if isinstance(given, str)]
        for argument, column in named:
            columns.require([column], argument)
        return tuple(column for _, column in named)

    @property
    def exposure_column(self) -> str | None:
        """The column the exposure comes from, None if there is none."""
        return self.exposure if isinstance(self.exposure, str) else None

    @property
    def _given(self) -> tuple[tuple[str, object], ...]:
        return (("trials", self.trials), ("exposure", self.exposure))


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """The outcome of the rows used, as a family reads it.

    Attributes
    ----------
    name : as the formula has it.
    y : (n,) number of successes, number of the category from 0, the value itself, or the total of `size` of them.
    size : (n,) trials of binomial outcomes; how many answers an outcome with a precision is the mean of; else 1.
    weight : (n,) how often each row's log-likelihood counts; None if each counts once.
    categories : of an ordered outcome, in order; else None.
    labels : of two labels the one that counts as 0 and the one that counts as 1; else None.
    trials : where the trials come from, in words; None where each row is one.
    is_mean : whether the data have the mean of `size` answers, as precision weights say, and y is their total.
    learnt : the outcome as the formula has it.
    """

    name: str
    y: FloatArray = field(repr=False)
    size: FloatArray = field(repr=False)
    weight: FloatArray | None = field(default=None, repr=False)
    categories: tuple[Any, ...] | None = None
    labels: tuple[Any, Any] | None = None
    trials: str | None = None
    is_mean: bool = False
    learnt: LearntOutcome = field(repr=False)

    @property
    def n(self) -> int:
        """Rows used."""
        return len(self.y)

    @property
    def has_trials(self) -> bool:
        """Whether some row is more than one trial."""
        return self.trials is not None and bool(np.any(self.size != 1.0))

    @property
    def share(self) -> FloatArray:
        """(n,) outcome of one trial: successes over trials; the outcome itself where there are none."""
        return self.y / self.size


def learn_asked(asked: AskedOutcome, formula: Formula, columns: Columns, mask: BoolArray | None) -> LearntOutcome:
    """The outcome as the formula has it, refused where the family cannot have that kind.

    Raises
    ------
    FormulaError, DataError : see `learn_outcome`; or cbind(...) or labels for another family.
    """
    learnt, family = learn_outcome(formula, columns, mask), asked.family
    if learnt.kind == "pair" and not family.has_trials:
        raise DataError(
            f"`formula` has {learnt.name}, successes and failures, as outcome, which family={family.name!r} does not "
            "know. Use family='binomial' or 'betabinomial', or another outcome."
        )
    if learnt.kind == "labels" and family.kind not in ("binary", "ordered"):
        shown = _listed(learnt.labels)
        raise DataError(
            f"`formula` has the outcome {learnt.name!r}, which holds {shown}; family={family.name!r} needs numbers. "
            "Turn them into numbers, or use family='binomial' for two labels, 'ordinal' for ordered categories."
        )
    return learnt


def read_outcome(asked: AskedOutcome, learnt: LearntOutcome, columns: Columns, mask: BoolArray | None) -> Outcome:
    """Outcome of the rows used.

    Raises
    ------
    DataError, DesignError : what the family needs, what came, what to do.
    """
    if asked.family.kind == "ordered":
        _refuse_trials(asked)
        return _ordered(asked, learnt, columns, mask)
    if asked.family.has_trials:
        outcome = _of_trials(asked, learnt, columns, mask)
    else:
        _refuse_trials(asked)
        (y,) = learnt.values(columns, mask)
        outcome = Outcome(name=learnt.name, y=y, size=np.ones(len(y)), learnt=learnt)
    asked.family.check_outcome(outcome.y, outcome.size, learnt.name)
    refuse_constant(outcome)
    return outcome


def with_exposure(
    asked: AskedOutcome, offset: FloatArray | None, given: object, columns: Columns, mask: BoolArray | None
) -> FloatArray | None:
    """Offset (n,) of the linear predictor with the logarithms of the exposures, None where there is neither.

    Parameters
    ----------
    asked : how the outcome is read.
    offset : (n,) as it came from the column or the numbers `given`.
    columns, mask : the data, and which rows are used.

    Raises
    ------
    DesignError : another family than one of counts, a wrong length, exposures that are not positive, or numbers as
        offset beside them.
    """
    if asked.exposure is None:
        return offset
    if asked.family.kind != "count":
        raise DesignError(
            f"`exposure` is what counts are relative to; with family={asked.family.name!r} the outcome is no count. "
            "Leave it out, or use `offset` for a known part of the linear predictor."
        )
    if given is not None and not isinstance(given, str):
        raise DesignError(
            "`offset` is given as numbers beside `exposure`. Add the logarithm of the exposure to these numbers and "
            "leave `exposure` out, or name a column for the offset."
        )
    values = _row_numbers("exposure", asked.exposure, columns, mask)
    wrong = ~(np.isfinite(values) & (values > 0.0))
    if wrong.any():
        raise DesignError(
            f"`exposure` has to be positive; it is not in {np.count_nonzero(wrong)} of the {len(values)} rows used, "
            f"for instance {values[wrong][0]:g}. Leave these rows out."
        )
    return np.asarray(np.log(values) if offset is None else offset + np.log(values))


# -- trials ---------------------------------------------------------------------------------------------------------
def _of_trials(asked: AskedOutcome, learnt: LearntOutcome, columns: Columns, mask: BoolArray | None) -> Outcome:
    """Successes and trials, however they were given."""
    family = asked.family
    if learnt.kind == "pair":
        _refuse_trials(asked, because=f"the outcome {learnt.name} has its trials already")
        return _pair(learnt, columns, mask)
    if learnt.kind == "labels":
        _refuse_trials(asked, because=f"the outcome {learnt.name!r} is a label, one trial in each row")
        return _labelled(learnt, family, columns, mask)
    (y,) = learnt.values(columns, mask)
    if asked.trials is not None:
        return _given_trials(asked, learnt, y, columns, mask)
    strange = y[(y != 0.0) & (y != 1.0)]
    if len(strange):
        raise DataError(_no_trials(learnt.name, family, y, strange))
    is_truth = learnt.name in columns.names and not columns.is_numeric(learnt.name)
    labels = (False, True) if is_truth else None
    return Outcome(name=learnt.name, y=y, size=np.ones(len(y)), labels=labels, learnt=learnt)


def _no_trials(name: str, family: "Family", y: FloatArray, strange: FloatArray) -> str:
    """Words for numbers other than 0 and 1 where each row is one trial."""
    begins = f"`formula` has the outcome {name!r}, which family={family.name!r} needs to be 0 or 1; it holds "
    two = np.unique(y)
    if len(two) == 2:
        return f"{begins}{two[0]:g} and {two[1]:g}. Say which of them counts as 1: I({name} == {two[1]:g}) ~ ..."
    shown = ", ".join(f"{value:g}" for value in np.unique(strange)[:4])
    if np.all((y >= 0.0) & (y <= 1.0)):
        return (
            f"{begins}proportions, for instance {shown}. A proportion says how much it counts only with its number of "
            "trials: trials='n' for the column n, or cbind(successes, failures) ~ ...; proportions of no trials, such "
            "as shares of an area, are for family='beta'."
        )
    return (
        f"{begins}{shown}. Numbers of successes need their numbers of trials: cbind({name}, n - {name}) ~ ..., or "
        "trials='n'; counts without an upper bound are for family='poisson'."
    )


def _pair(learnt: LearntOutcome, columns: Columns, mask: BoolArray | None) -> Outcome:
    """Outcome cbind(successes, failures)."""
    successes, failures = learnt.values(columns, mask)
    for what, values in (("successes", successes), ("failures", failures)):
        wrong = (values < 0.0) | (np.abs(values - np.round(values)) > WHOLE)
        if wrong.any():
            raise DataError(
                f"`formula` has {learnt.name} as outcome, whose {what} have to be whole numbers from 0; "
                f"{np.count_nonzero(wrong)} of {len(values)} are not, for instance {values[wrong][0]:g}. "
                "The first part counts successes and the second failures, as in cbind(cases, size - cases)."
            )
    size = np.round(successes) + np.round(failures)
    _refuse_no_trials(size, learnt.name)
    return Outcome(name=learnt.name, y=np.round(successes), size=size, trials=learnt.name, learnt=learnt)


def _labelled(learnt: LearntOutcome, family: "Family", columns: Columns, mask: BoolArray | None) -> Outcome:
    """Two labels: the second counts as 1."""
    if len(learnt.labels) > 2:
        last = learnt.labels[-1]
        raise DataError(
            f"`formula` has the outcome {learnt.name!r} with {len(learnt.labels)} labels ({_listed(learnt.labels)}); "
            f"family={family.name!r} needs two. Say which counts as 1, as in I({learnt.name} == {last!r}) ~ ..., or "
            "use family='ordinal' if they have an order."
        )
    (y,) = learnt.values(columns, mask)
    labels = (learnt.labels[0], learnt.labels[-1])
    outcome = Outcome(name=learnt.name, y=y, size=np.ones(len(y)), labels=labels, learnt=learnt)
    refuse_constant(outcome)
    return outcome


def _given_trials(
    asked: AskedOutcome, learnt: LearntOutcome, y: FloatArray, columns: Columns, mask: BoolArray | None
) -> Outcome:
    """Proportions or numbers of successes, with `trials`."""
    size = _row_numbers("trials", asked.trials, columns, mask)
    wrong = ~(np.isfinite(size) & (size >= 0.0) & (np.abs(size - np.round(size)) <= WHOLE))
    if wrong.any():
        raise DataError(
            f"`trials` needs whole numbers; {np.count_nonzero(wrong)} of the {len(size)} rows used have others, for "
            f"instance {size[wrong][0]:g}."
        )
    size = np.round(size)
    _refuse_no_trials(size, "`trials`")
    if np.all((y == 0.0) | (y == 1.0)) and np.any(size > 1.0):
        raise DataError(
            f"`formula` has the outcome {learnt.name!r}, which is 0 or 1 everywhere: with `trials` that may be "
            "proportions or numbers of successes. Say which: cbind(y, n - y) ~ ... for successes, "
            "cbind(y * n, n - y * n) ~ ... for proportions."
        )
    successes = y if np.any(y > 1.0) else y * size
    wrong = (
        (successes < 0.0) | (successes > size) | (np.abs(successes - np.round(successes)) > WHOLE * np.fmax(1, size))
    )
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"`trials` and the outcome {learnt.name!r} do not fit in {np.count_nonzero(wrong)} of {len(y)} rows, for "
            f"instance {y[k]:g} of {size[k]:g} trials. The outcome is a number of successes from 0 to the number of "
            "trials, or a proportion that times the trials is a whole number."
        )
    words = asked.trials if isinstance(asked.trials, str) else "numbers given"
    return Outcome(name=learnt.name, y=np.round(successes), size=size, trials=words, learnt=learnt)


def _refuse_no_trials(size: FloatArray, name: str) -> None:
    """Refuse rows without any trial."""
    if np.any(size < 1.0):
        raise DataError(
            f"{name} has no trials in {np.count_nonzero(size < 1.0)} of the {len(size)} rows used, which then say "
            "nothing. Leave these rows out."
        )


def _refuse_trials(asked: AskedOutcome, because: str | None = None) -> None:
    """Refuse `trials` where they have no meaning."""
    if asked.trials is not None:
        reason = because or f"family={asked.family.name!r} knows none"
        raise DesignError(f"`trials` is given, but {reason}. Leave it out.")


# -- other outcomes -------------------------------------------------------------------------------------------------
def _ordered(asked: AskedOutcome, learnt: LearntOutcome, columns: Columns, mask: BoolArray | None) -> Outcome:
    """Ordered categories: those that occur, in the order of the categories or of the numbers."""
    (values,) = learnt.values(columns, mask)
    if learnt.kind == "labels":
        if len(learnt.labels) > 2 and not columns.categories(learnt.name):
            raise DataError(
                f"`formula` has the outcome {learnt.name!r}, which is text ({_listed(learnt.labels)}) and says nothing "
                f"of an order. Give it one: data[{learnt.name!r}] = pandas.Categorical(data[{learnt.name!r}], "
                "categories=[...], ordered=True), lowest first; in polars an Enum."
            )
        categories, y = learnt.labels, values
    else:
        found, codes = np.unique(values, return_inverse=True)
        categories = tuple(int(value) if float(value).is_integer() else float(value) for value in found)
        y = codes.astype(np.float64)
    if len(categories) > MANY:
        raise DataError(
            f"`formula` has the outcome {learnt.name!r} with {len(categories)} different values; "
            f"family={asked.family.name!r} is for a few ordered categories. Use family='gaussian', or group the values."
        )
    outcome = Outcome(name=learnt.name, y=y, size=np.ones(len(y)), categories=categories, learnt=learnt)
    refuse_constant(outcome)
    return outcome


def refuse_constant(outcome: Outcome) -> None:
    """Refuse an outcome that is the same everywhere."""
    share = outcome.share
    if np.all(share == share[0]):
        value = outcome.learnt.labels[0] if outcome.learnt.labels else f"{share[0]:g}"
        raise DesignError(
            f"`formula` explains {outcome.name!r}, which is {value} in all {outcome.n} rows used. "
            "Choose an outcome that varies."
        )


def _row_numbers(argument: str, given: object, columns: Columns, mask: BoolArray | None) -> FloatArray:
    """Numbers (rows used,) of an argument: a column, numbers for all rows, or one for all.

    Raises
    ------
    DesignError : a wrong length, or no numbers.
    """
    if isinstance(given, str):
        values = columns.numeric(given)
    else:
        try:
            values = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DesignError(
                f"`{argument}` is the name of a column or one number per row; got {type(given).__name__}."
            ) from error
        if values.ndim == 0:
            values = np.full(columns.n_rows, float(values))
        if values.shape != (columns.n_rows,):
            raise DesignError(
                f"`{argument}` needs one number for each of the {columns.n_rows} rows of the data; "
                f"got shape {values.shape}."
            )
    return values if mask is None else np.asarray(values[mask])


def _listed(labels: tuple[Any, ...]) -> str:
    """Labels in words, the first few."""
    return ", ".join(map(repr, labels[:5])) + (", ..." if len(labels) > 5 else "")
