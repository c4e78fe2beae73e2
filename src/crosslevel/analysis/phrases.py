"""Small pieces of English: lists, counts, tests and intervals as papers write them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crosslevel.display import counted, decimals_for, fixed, p_statement, percent

SIGNIFICANT = 2
"""Digits of a standard error in running text."""


def listed(names: Sequence[str], word: str = "and") -> str:
    """Names joined by commas and a last word.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def several(count: int, one: str, more: str = "") -> str:
    """A count with its noun.

    Examples
    --------
    >>> several(1, "row"), several(7185, "row"), several(2, "country", "countries")
    ('1 row', '7,185 rows', '2 countries')
    """
    return f"{counted(count)} {one if count == 1 else more or one + 's'}"


def capital(text: str) -> str:
    """A sentence with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def decimals_of(std_error: float) -> int:
    """Decimals of an estimate in running text."""
    return decimals_for(std_error, significant=SIGNIFICANT, least=0)


def interval(low: float, high: float, decimals: int) -> str:
    """The ends of an interval."""
    return f"[{fixed(low, decimals)}, {fixed(high, decimals)}]"


def t_test(row: "pd.Series[float]", level: float) -> str:
    """Test and interval of an estimate.

    Examples
    --------
    >>> t_test(pd.Series({"std_error": 0.27, "df": 157.0, "statistic": 6.05, "p_value": 1e-8, "conf_low": 1.127,
    ...                   "conf_high": 2.218}), 0.95)
    't(157) = 6.05, p < .001, 95% CI [1.13, 2.22]'
    """
    df = fixed(row["df"], 0 if row["df"] > 1000 or row["df"] == round(row["df"]) else 1)
    decimals = decimals_of(row["std_error"])
    return (
        f"t({df}) = {fixed(row['statistic'], 2)}, {p_statement(row['p_value'])}, {percent(level, decimals=0)} CI "
        f"{interval(row['conf_low'], row['conf_high'], decimals)}"
    )


def what_varies(blocks: Sequence[Sequence[str]]) -> str:
    """What varies between clusters, and which of it is correlated, as a clause.

    Examples
    --------
    >>> what_varies([["Intercept"]])
    'the intercept varies between clusters'
    >>> what_varies([["Intercept"], ["x"]])
    'the intercept and the slope of x vary between clusters without correlations'
    >>> what_varies([["Intercept", "a"], ["b"]])
    'the intercept and the slopes of a and b vary between clusters, correlated within Intercept and a only'
    """
    names = [name for block in blocks for name in block]
    slopes = [name for name in names if name != "Intercept"]
    parts = ["the intercept"] if "Intercept" in names else []
    parts += [f"the {'slope' if len(slopes) == 1 else 'slopes'} of {listed(slopes)}"] if slopes else []
    clause = f"{' and '.join(parts)} {'varies' if len(names) == 1 else 'vary'} between clusters"
    together = [listed(list(block)) for block in blocks if len(block) > 1]
    if len(names) == 1:
        return clause
    if not together:
        return f"{clause} without correlations"
    if len(blocks) == 1:
        return f"{clause} with all their correlations" if len(names) > 2 else f"{clause} and may be correlated"
    return f"{clause}, correlated within {listed(together, 'and within')} only"


def as_percent(share: float) -> str:
    """A share in running text, whole percents where that is enough."""
    return percent(share, decimals=1 if np.isfinite(share) and share < 0.1 else 0)
