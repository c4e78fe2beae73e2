"""Checks of what a simulated process is given."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.formula import Formula, parse
from crosslevel.simulation.processes.amounts import is_number, is_whole
from crosslevel.simulation.processes.variables import Arms, Variable


@lru_cache(maxsize=64)
def read_formula(formula: str) -> Formula:
    """The formula of a process.

    Raises
    ------
    FormulaError : it cannot be read.
    CrosslevelError : it is no two-level model with one outcome.
    """
    parsed = parse(formula)
    groups = list(dict.fromkeys(part.group_text for part in parsed.random))
    if len(groups) != 1 or len(parsed.random[0].group) != 1 or parsed.random[0].membership is not None:
        found = f"it has {', '.join(groups)}" if groups else "it has no random term"
        raise CrosslevelError(
            f"`formula` of a process needs one grouping factor, as in 'y ~ x + (1 | g)'; {found}. "
            "A random effect that does not vary has `sd` 0."
        )
    if not parsed.response.is_column:
        raise CrosslevelError(
            f"`formula` of a process has the outcome `{parsed.response.text}`; it must be a plain name, as the outcome "
            "is made, not read. Transform it in the formulas of estimators."
        )
    for part in parsed.random:
        if part.structure not in ("us", "diag"):
            raise CrosslevelError(
                f"`formula` of a process has {part.text}; its `sd` and `correlation` say how effects vary together. "
                "Write the term without a structure; estimators may have one."
            )
    _check_sides(parsed)
    return parsed


def _check_sides(formula: Formula) -> None:
    """Refuse the outcome and the clusters as predictors."""
    slopes = [term for part in formula.random for block in part.blocks for term in block]
    used = [one for term in (*formula.fixed_terms, *slopes) for one in term.expressions]
    group, response = formula.random[0].group[0], formula.response.text
    if any(one.variables == (group,) for one in used):
        raise CrosslevelError(
            f"`formula` of a process uses {group!r}, the name of the clusters, as a predictor. Give clusters values of "
            "their own by a variable such as Context()."
        )
    if response == group or any(response in one.variables for one in used):
        raise CrosslevelError(f"`formula` has its outcome {response!r} on both sides of the ~.")


def check_variables(variables: object, formula: Formula) -> None:
    """Refuse variables that are none, and names that something else has."""
    if not isinstance(variables, Mapping):
        raise CrosslevelError(f"`variables` maps names to variables such as Context(); got {variables!r}.")
    for name, variable in variables.items():
        if not isinstance(name, str) or not name:
            raise CrosslevelError(f"`variables` has {name!r} as a name; names are text, as in the formula.")
        if not isinstance(variable, Variable):
            raise CrosslevelError(
                f"`variables` has {variable!r} for {name!r}; it must be a variable such as Normal(), Context(), Arms() "
                "or Binary()."
            )
        if name == formula.response.text:
            raise CrosslevelError(f"`variables` has {name!r}, which is the outcome. Take it out: the process makes it.")
        if name in formula.random[0].group:
            raise CrosslevelError(f"`variables` has {name!r}, the name of the clusters. Take it out.")


def check_arms(variables: Mapping[str, Variable], clusters: int) -> None:
    """Refuse arms without a cluster."""
    for name, variable in variables.items():
        if isinstance(variable, Arms) and not 0 < variable.ones(clusters) < clusters:
            raise CrosslevelError(
                f"`variables` has {variable!r} for {name!r}, of which {variable.ones(clusters)} of "
                f"{clusters} clusters would have a 1. Choose a share nearer to one half, or more clusters."
            )


MOST_CLUSTERS = 1_000_000
"""Of a process: the moments of so many are what memory holds."""


def number_of_clusters(value: object) -> None:
    """Refuse what is no number of clusters."""
    if not is_whole(value) or value < 2:  # type: ignore[operator]
        raise CrosslevelError(f"`clusters` is a whole number of at least 2; got {value!r}.")
    if value > MOST_CLUSTERS:  # type: ignore[operator]
        raise CrosslevelError(f"`clusters` can be {MOST_CLUSTERS:,} at most; got {value!r}.")


def check_formula(formula: object) -> None:
    """Refuse what is no text."""
    if not isinstance(formula, str):
        raise CrosslevelError(
            f"`formula` is text such as 'y ~ x + z + (1 + x | g)'; got {type(formula).__name__}: {formula!r}."
        )


def random_numbers(seed: object) -> np.random.Generator:
    """Random numbers from a seed.

    Raises
    ------
    CrosslevelError : it is none.
    """
    if seed is None or isinstance(seed, np.random.SeedSequence) or (is_whole(seed) and seed >= 0):  # type: ignore[operator]
        return np.random.default_rng(seed)  # type: ignore[arg-type]
    raise CrosslevelError(f"`seed` is a whole number that is not negative, a SeedSequence or None; got {seed!r}.")


def check_amounts(argument: str, values: Mapping[str, float], *, positive: bool) -> None:
    """Refuse negative amounts, and zero where they must be positive."""
    for name, value in values.items():
        if not is_number(value) or value < 0.0 or (positive and value == 0.0):
            where = f"`{argument}`" if name == argument else f"`{argument}` of {name}"
            kind = "" if is_number(value) else "a number, "
            least = "more than 0" if positive else "0 or more"
            raise CrosslevelError(f"{where} must be {kind}{least}; got {value!r}.")


def named_numbers(argument: str, values: object, names: Sequence[str], what: str) -> None:
    """Refuse a mapping that does not have exactly one finite number for each name.

    Raises
    ------
    CrosslevelError : the names that are missing and unknown, and all that there are.
    """
    if not isinstance(values, Mapping):
        raise CrosslevelError(f"`{argument}` maps names of {what} to numbers; got {values!r}.")
    missing = [name for name in names if name not in values]
    unknown = [name for name in values if name not in names]
    if missing or unknown:
        problems = [f"lacks {', '.join(missing)}"] if missing else []
        for name in unknown:
            close = get_close_matches(str(name), list(names), n=1, cutoff=0.6)
            problems.append(f"has {name!r}, which is none" + (f" (did you mean {close[0]!r}?)" if close else ""))
        raise CrosslevelError(
            f"`{argument}` {' and '.join(problems)}. The {what} of `formula` are {', '.join(names)}; "
            "give each of them a number."
        )
    for name, value in values.items():
        if not is_number(value):
            raise CrosslevelError(f"`{argument}` of {name} must be a finite number; got {value!r}.")
