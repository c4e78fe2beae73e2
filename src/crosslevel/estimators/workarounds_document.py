"""The multilevel model and the workarounds in one table, with a line on what each workaround loses."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.display import (
    Block,
    Column,
    Document,
    Heading,
    Items,
    Note,
    Row,
    Table,
    counted,
    decimals_for,
    fixed,
    percent,
)
from crosslevel.estimators.summary import cluster_sizes, rows_used, shown_decimals

if TYPE_CHECKING:
    from crosslevel.estimators.workaround_fits import Approach
    from crosslevel.estimators.workarounds import Workarounds
    from crosslevel.inference.separate import LeftOut

HEADS = {
    "multilevel": "Mixed",
    "disaggregated": "All rows",
    "aggregated": "Means",
    "dummies": "Dummies",
    "dummies x predictors": "Dummies × x",
    "separate": "Separate",
}
"""Headings of the columns."""

TITLES = {
    "multilevel": "Multilevel model",
    "disaggregated": "All rows as one sample (disaggregation)",
    "aggregated": "Cluster means (aggregation)",
    "dummies": "A dummy for each cluster",
    "dummies x predictors": "Dummies times predictors",
    "separate": "Separate regressions",
}
"""What each workaround is called in a sentence."""

NOTABLE = 0.1
"""Difference of a standard error from the multilevel model's, as a share of it, that is called one."""

LARGE = 1000.0
"""Size of a coefficient below which two digits of its standard error are enough, with two decimals at least."""

NONE = "–"


def document(found: "Workarounds") -> Document:
    """Write the comparison."""
    fit, group = found.multilevel, found.group
    clusters = f"{counted(len(found.products.levels))} ({group}), {cluster_sizes(fit)}"
    facts: list[Row] = [["Formula", found.formula], ["Rows", rows_used(fit)], ["Clusters", clusters]]
    lines = [f"{TITLES[each.name]}: {loss(found, each)}" for each in found.approaches[1:]]
    warnings = [Note(text, kind="warning") for text in fit.notes]
    blocks: list[Block] = [Table(["", ""], facts), *warnings, _coefficients(found), _spent(found)]
    blocks += [Heading("What each workaround loses", level=2), Items(lines)]
    reasons = _reasons(found)
    if reasons:
        blocks += [Heading("Why coefficients are missing", level=2), Items(reasons)]
    return Document(f"Workarounds for clustered data: {fit.spec.response_name}", blocks)


def _coefficients(found: "Workarounds") -> Table:
    """Estimates with standard errors below them."""
    rows: list[Row] = []
    for term in found.terms:
        decimals = _decimals(found, term)
        pairs = [each.estimates.get(term) for each in found.approaches]
        rows.append([term, *(NONE if pair is None else fixed(pair[0], decimals) for pair in pairs)])
        rows.append(["", *("" if pair is None else f"({fixed(pair[1], decimals)})" for pair in pairs)])
    notes = [
        "Mixed: the multilevel model. Standard errors in brackets. – cannot be estimated.",
        "Dummies × x, separate: means of the clusters' coefficients. The first have the standard errors of fixed "
        "numbers of these clusters, the second those of a sample of clusters.",
    ]
    shifted = [term for term, role in found.roles.items() if role == "determined"]
    if shifted:
        notes.append(
            f"With {', '.join(shifted)} in the model, its coefficients of single predictors hold where their "
            "moderators are zero; the means are over all clusters, and differ for that reason too."
        )
    columns = [Column(HEADS[each.name], align="decimal") for each in found.approaches]
    return Table(["Term", *columns], rows, title="Coefficients", notes=notes)


def _spent(found: "Workarounds") -> Table:
    """What each approach compares, and how many numbers it estimates."""
    names = ("Compared", "Clusters", "Coefficients", "Variances")
    rows: list[Row] = []
    for each in found.approaches:
        what = "means" if each.name == "aggregated" else "rows"
        figures = [f"{counted(each.units)} {what}", *map(counted, (each.clusters, each.coefficients, each.variances))]
        rows.append([TITLES[each.name], *(figures if each.is_possible else [NONE] * len(figures))])
    columns = [Column(name, align="right") for name in names]
    return Table(["", *columns], rows, title="What is compared and estimated")


def _reasons(found: "Workarounds") -> list[str]:
    """Why coefficients cannot be estimated, each reason once."""
    by_text: dict[str, list[str]] = {}
    for approach in found.approaches:
        by_reason: dict[str, list[str]] = {}
        for term, reason in approach.reasons.items():
            by_reason.setdefault(reason, []).append(term)
        listed = "; ".join(f"{', '.join(terms)} ({reason})" for reason, terms in by_reason.items())
        if listed:
            listed = listed if approach.is_possible else f"all ({next(iter(by_reason))})"
            by_text.setdefault(listed, []).append(TITLES[approach.name])
    return [f"{'; '.join(names)}: {text}." for text, names in by_text.items()]


# -- what is lost -------------------------------------------------------------------------------------------------
def loss(found: "Workarounds", approach: "Approach") -> str:
    """What a workaround loses, with the figures of these data."""
    if not approach.is_possible:
        return "not possible with these data."
    words = {
        "disaggregated": _of_rows,
        "aggregated": _of_means,
        "dummies": _of_dummies,
        "dummies x predictors": _of_products,
        "separate": _of_separate,
    }
    return words[approach.name](found, approach)


def _of_rows(found: "Workarounds", approach: "Approach") -> str:
    """Disaggregation."""
    text = f"takes {counted(approach.units)} rows to be as many independent pieces of information."
    ratios = _ratios(found, approach)
    small = {term: ratio for term, ratio in ratios.items() if ratio < 1.0 - NOTABLE}
    if not small:
        return f"{text} Here its standard errors are no smaller than the multilevel model's."
    listed = ", ".join(f"{term} {percent(ratio, decimals=0)}" for term, ratio in small.items())
    return (
        f"{text} Standard errors are too small, in % of the multilevel model's: {listed}. Those of cl.ols with "
        f"cluster={found.group!r} are not."
    )


def _of_means(found: "Workarounds", approach: "Approach") -> str:
    """Aggregation."""
    within, total = found.products.within[-1, -1], found.products.total[-1, -1]
    text = (
        f"leaves {counted(approach.units)} of {counted(found.multilevel.nobs)} rows, and throws away the "
        f"{percent(within / total)} of the outcome's variation that is within clusters."
    )
    moved = [
        term
        for term, role in found.roles.items()
        if role != "context" and term != "Intercept" and term in approach.estimates
    ]
    if not moved:
        return text
    term = moved[0]
    return (
        f"{text} Slopes compare clusters, not what is in them: {term} is {_shown(found, approach, term)} instead of "
        f"{_shown(found, found.approaches[0], term)}."
    )


def _of_dummies(found: "Workarounds", approach: "Approach") -> str:
    """Dummies."""
    text = f"spends {counted(len(found.products.levels))} coefficients on the clusters, and speaks of these alone."
    lost = [term for term, role in found.roles.items() if role == "context"]
    if lost:
        text += f" No effect of what clusters are like: {', '.join(lost)}."
    ratios = {term: ratio for term, ratio in _ratios(found, approach).items() if ratio < 1.0 - NOTABLE}
    if ratios:
        listed = ", ".join(f"{term} {percent(ratio, decimals=0)}" for term, ratio in ratios.items())
        text += (
            f" Slopes are taken to be the same in all clusters, and their standard errors, in % of the multilevel "
            f"model's, show it: {listed}."
        )
    return text


def _of_products(found: "Workarounds", approach: "Approach") -> str:
    """Dummies times predictors."""
    lost = [term for term, role in found.roles.items() if role != "within"]
    text = (
        f"spends {counted(approach.coefficients)} coefficients where the multilevel model has "
        f"{_number_of(found.approaches[0].coefficients, 'coefficient')} and "
        f"{_number_of(found.approaches[0].variances, 'variance parameter')}. The clusters' slopes are those of "
        "separate regressions, unrelated to each other."
    )
    text += f" No effect of clusters on levels or slopes: {', '.join(lost)}." if lost else ""
    gone = approach.separate.left_out if approach.separate is not None else ()
    return f"{text} {_number_of(len(gone), 'cluster')} left out ({_main_reason(gone)})." if gone else text


def _of_separate(found: "Workarounds", approach: "Approach") -> str:
    """Separate regressions."""
    assert approach.separate is not None
    sizes, gone = approach.separate.n_rows, approach.separate.left_out
    count = len(sizes)
    text = f"{_number_of(count, 'regression')} with {counted(approach.coefficients + approach.variances)} parameters"
    if gone:
        text += f"; {_number_of(len(gone), 'cluster')} could not be fitted ({_main_reason(gone)})."
    else:
        text += "; all clusters could be fitted."
    if sizes.min() < sizes.max():
        text += f" A cluster of {counted(sizes.min())} rows counts as much as one of {counted(sizes.max())}."
    return f"{text} {_spread(found)}" if count > 1 else text


def _spread(found: "Workarounds") -> str:
    """How the coefficients that differ most between clusters differ, beyond their sampling errors."""
    spread = found.spread.drop(index="Intercept", errors="ignore")
    spread = spread if len(spread) else found.spread
    varying = spread[spread["model"].notna()]
    spread = varying if len(varying) else spread
    place = int(np.argmax(spread["sd"] / spread["sampling"]))
    term, row = str(spread.index[place]), spread.iloc[place]
    decimals = max(2, decimals_for(float(row[["sd", "sampling"]].min()), significant=2))
    text = (
        f"Coefficients of {term} have a standard deviation of {fixed(row['sd'], decimals)} between clusters, but "
        f"sampling errors alone would make one of {fixed(row['sampling'], decimals)}"
    )
    if np.isnan(row["model"]):
        return f"{text}."
    return f"{text}; the multilevel model finds {fixed(row['model'], decimals)}."


def _ratios(found: "Workarounds", approach: "Approach") -> dict[str, float]:
    """Standard errors relative to the multilevel model's."""
    out = {term: pair[1] / found.std_error(term) for term, pair in approach.estimates.items()}
    predictors = {term: ratio for term, ratio in out.items() if term != "Intercept"}
    return predictors or out


def _shown(found: "Workarounds", approach: "Approach", term: str) -> str:
    """An estimate as the table has it."""
    return fixed(approach.estimates[term][0], _decimals(found, term))


def _decimals(found: "Workarounds", term: str) -> int:
    """Decimals of a coefficient, those that suit the multilevel model's."""
    estimate, error = found.approaches[0].estimates[term]
    if abs(estimate) >= LARGE:
        return shown_decimals(error, estimate)
    least = min(pair[1] for each in found.approaches if (pair := each.estimates.get(term)) is not None)
    return max(2, min(decimals_for(least, significant=2), decimals_for(error, significant=2) + 1))


def _main_reason(left_out: "Sequence[LeftOut]") -> str:
    """Why most clusters are left out."""
    counts = Counter(each.reason for each in left_out)
    reason, count = counts.most_common(1)[0]
    return reason if len(counts) == 1 else f"{counted(count)} of them: {reason}"


def _number_of(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{counted(count)} {noun}{'' if count == 1 else 's'}"
