"""Numbers of a model as cells: how many decimals, brackets, stars."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from crosslevel.display import counted, decimals_for, fixed, p_value
from crosslevel.report.tables.record import Printed

Shown: TypeAlias = Literal["se", "interval", "t", "p"]

DECIMALS = 3
"""Of estimates of ordinary size."""

EXTREME = 1e9
"""Numbers from here on, and below 1e-6, are written with powers of ten."""

Numbers: TypeAlias = Mapping[str, float]
"""estimate, std_error, df, statistic, p_value, conf_low, conf_high; NaN where there is none."""


def finite(value: float | None) -> bool:
    """Whether there is a number."""
    return value is not None and math.isfinite(value)


def largest_of(numbers: Numbers) -> float:
    """The larger of an estimate and its standard error."""
    sizes = (abs(numbers["estimate"]), numbers.get("std_error", math.nan), 0.0)
    return max(size for size in sizes if not math.isnan(size))


def writer(numbers: Numbers, digits: int | None, row: float = 0.0) -> Callable[[float], str]:
    """How the estimate, its standard error and its interval are written, all with the same decimals.

    Three decimals; more where the standard error would be left with less than two digits, fewer where numbers are
    large (as the estimate is, or the largest of its `row`); powers of ten for what is below 1e-6 or beyond 1e9. With
    `digits`, that many decimals.

    Examples
    --------
    >>> ordinary = writer({"estimate": 12.12793, "std_error": 0.19923}, None)
    >>> small = writer({"estimate": 0.00123, "std_error": 0.00021}, None)
    >>> tiny = writer({"estimate": 1.2e-9, "std_error": 4e-10}, None)
    >>> ordinary(12.12793), small(0.00123), tiny(1.2e-9), ordinary(-0.0001)
    ('12.128', '0.00123', '1.20e-09', '0.000')
    """
    if digits is not None:
        return lambda value: fixed(value, digits)
    estimate, error = abs(numbers["estimate"]), numbers.get("std_error", math.nan)
    scale = error if finite(error) and error > 0.0 else estimate
    largest = largest_of(numbers)
    if 0.0 < scale < 1e-6 or EXTREME <= largest < math.inf:
        return lambda value: f"{value:.2e}" if math.isfinite(value) else fixed(value, 0)
    least = DECIMALS if max(largest, row) < 1000.0 else min(DECIMALS, decimals_for(scale, significant=3))
    decimals = max(least, decimals_for(scale, significant=2))
    return lambda value: fixed(value, decimals)


def estimate_cell(numbers: Numbers, digits: int | None, stars: Sequence[float] = (), *, row: float = 0.0) -> Printed:
    """The estimate, with its stars."""
    value = numbers["estimate"]
    return Printed(number=writer(numbers, digits, row)(value), marks=stars_of(numbers, stars), value=value)


def stars_of(numbers: Numbers, stars: Sequence[float]) -> str:
    """A star for each level that p is below.

    Examples
    --------
    >>> [stars_of({"p_value": p}, (0.05, 0.01, 0.001)) for p in (0.06, 0.05, 0.049, 0.0009)]
    ['', '', '*', '***']
    """
    p = numbers.get("p_value", math.nan)
    return "*" * sum(p < level for level in stars)


def uncertainty_cell(numbers: Numbers, shown: Shown, digits: int | None, *, row: float = 0.0) -> Printed | None:
    """What is said of an estimate's uncertainty: in round brackets, an interval in square ones; None without."""
    if shown == "interval":
        low, high = numbers.get("conf_low", math.nan), numbers.get("conf_high", math.nan)
        write = writer(numbers, digits, row)
        return None if math.isnan(low) or math.isnan(high) else Printed(before=f"[{write(low)}, {write(high)}]")
    name = {"se": "std_error", "t": "statistic", "p": "p_value"}[shown]
    value = numbers.get(name, math.nan)
    if math.isnan(value):
        return None
    if shown == "p":
        words = p_value(value)
        return bracketed(Printed(number=words, value=value) if words[0] == "." else Printed(before=words, value=value))
    written = fixed(value, 2) if shown == "t" else writer(numbers, digits, row)(value)
    return bracketed(Printed(number=written, value=value))


def bracketed(cell: Printed) -> Printed:
    """A cell in round brackets."""
    return replace(cell, before=f"({cell.before}", after=f"{cell.after})")


def beside(first: Printed, others: Sequence[Printed | None]) -> Printed:
    """Cells in one: the first, and the others behind it."""
    return replace(first, after="".join([first.after, *(f" {other.text}" for other in others if other is not None)]))


def words_cell(words: str) -> Printed:
    """A cell without a number."""
    return Printed(before=words)


def count_cell(value: float) -> Printed:
    """How many."""
    return Printed(number=counted(value), value=value)


def fixed_cell(value: float, decimals: int) -> Printed:
    """A number with that many decimals."""
    return Printed(number=fixed(value, decimals), value=value)
