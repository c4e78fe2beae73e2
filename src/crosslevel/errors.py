"""Errors and warnings. Every message says what was needed, what came, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class CrosslevelError(ValueError):
    """Something in the input is wrong; the message says what to do."""


class DataError(CrosslevelError):
    """The data cannot be used as they are."""


class FileError(DataError):
    """A file cannot be read or written."""


class ColumnNotFoundError(DataError):
    """A name is not a column of the data."""

    @classmethod
    def in_argument(cls, argument: str, missing: Iterable[str], columns: Iterable[str]) -> "ColumnNotFoundError":
        """Name the argument, the missing columns, and the nearest existing name of each."""
        wanted, existing = list(missing), list(columns)
        hints, signs = [], ""
        for name in wanted:
            lowered = {column.lower(): column for column in reversed(existing)}
            close = get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
            if close:
                nearest = lowered[close[0]]
                hints.append(f"{nearest!r} for {name!r}")
                if argument == "formula" and not nearest.isidentifier():
                    signs = f" In a formula, names with blanks or signs stand between backticks: `{nearest}`."
        hint = f" Did you mean {', '.join(hints)}?" if hints else ""
        shown = ", ".join(existing[:30]) + (f", ... ({len(existing)} in all)" if len(existing) > 30 else "")
        names = ", ".join(repr(name) for name in wanted)
        return cls(f"`{argument}` uses {names}, which the data lack.{hint}{signs} Columns: {shown}.")


class FormulaError(CrosslevelError):
    """A formula does not parse, or means nothing."""

    @classmethod
    def at(cls, formula: str, position: int, problem: str) -> "FormulaError":
        """Show the formula with a caret under the place of the problem."""
        return cls(f"`formula` cannot be read: {problem}\n    {formula}\n    {' ' * position}^")


class DesignError(CrosslevelError):
    """The model cannot be estimated from these data."""


class MemoryShortageError(CrosslevelError):
    """The work would need more memory than there is; nothing was begun."""


class ConvergenceWarning(UserWarning):
    """A fit did not reach its optimum; the text is the sentence of `fit.status`."""


class DataWarning(UserWarning):
    """Something in the data or the model deserves a second look; the text says what to do."""
