"""What leaving out clusters changes, in tables and sentences."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.diagnostics.diagnostic import Concern, worst
from crosslevel.display import Block, Column, Document, Items, Note, Paragraph, Row, Table, counted, fixed, number
from crosslevel.estimators.summary import shown_decimals
from crosslevel.types import BoolArray

if TYPE_CHECKING:
    from crosslevel.diagnostics.influence import Influence

SHOWN = 8
"""Clusters listed as the most influential."""

NAMED = 6
"""Clusters named in a sentence; of more only their number is told."""


def write(found: "Influence") -> Document:
    """The document of an influence analysis."""
    blocks: list[Block] = [Paragraph(_first_words(found)), *_warnings(found), _effects(found), _clusters(found)]
    blocks += _variance_table(found)
    return Document(f"Influence of {_many(found)} on {found.outcome}", blocks)


def described(found: "Influence") -> tuple[str, ...]:
    """The coefficients that sentences are about: the context effects; all but the intercept if there are none."""
    return found.context or tuple(term for term in found.terms if term != "Intercept") or found.terms


def told(found: "Influence") -> tuple[str, ...]:
    """What was found, and where a cluster decides, what to do."""
    own = tuple(sentences(found))
    if not own:
        return (_first_words(found), f"No {_what(found)} changes its sign, or the result of its test, {_any(found)}.")
    return (_first_words(found), *own, _advice(found))


def concern(found: "Influence") -> Concern:
    """The light: a sign that turns worries where the coefficient is significant with or without the cluster."""
    lights: list[Concern] = ["none"]
    for term in described(found):
        turned, otherwise = found.turned(term), found.decided_otherwise(term)
        if np.any(_lost(found, term)) or np.any(turned & (otherwise | found.significant(term))):
            lights.append("act")
        elif np.any(turned | otherwise):
            lights.append("look")
    return worst(lights)


def sentences(found: "Influence") -> Iterator[str]:
    """What single clusters do to the context effects, a sentence for each that has something to tell."""
    words = "significant" if found.level == 0.95 else f"significant at {100.0 * (1.0 - found.level):g} %"
    for term in described(found):
        value = fixed(found.of_whole(term), _decimals(found, term))
        turned, otherwise = found.turned(term), found.decided_otherwise(term)
        lost = _lost(found, term)
        if np.any(turned):
            yield f"{term} ({value}) changes its sign without {_named(found, term, turned)}."
        if np.any(otherwise & ~turned):
            now = f"no longer {words}" if found.significant(term) else words
            yield f"{term} ({value}) is {now} without {_named(found, term, otherwise & ~turned)}."
        if np.any(lost):
            yield f"{term} ({value}) rests on {_named(found, None, lost)}: without it there is no estimate."


def _lost(found: "Influence", term: str) -> BoolArray:
    """(J,) whether the coefficient cannot be estimated without the cluster."""
    lost = np.array([bool(refit.lost) for refit in found.refits])
    return np.asarray(found.estimates[term].isna().to_numpy() & lost)


def _what(found: "Influence") -> str:
    """What is described."""
    return "context effect" if found.context else "coefficient"


def _any(found: "Influence") -> str:
    """Without any one of what is left out."""
    return f"without any one {_one(found)}"


def _one(found: "Influence") -> str:
    """What is left out at a time."""
    return "row" if found.by_rows else "cluster"


def _plain(found: "Influence") -> str:
    """The same in the plural."""
    return "rows" if found.by_rows else "clusters"


def _many(found: "Influence") -> str:
    """All that is left out in turn."""
    return "rows" if found.by_rows else f"clusters of {found.by}"


def _advice(found: "Influence") -> str:
    """What to do where a single cluster decides."""
    return f"A single {_one(found)} decides about a {_what(found)}. Report both results, and look at the {_one(found)}."


def _first_words(found: "Influence") -> str:
    """What was done, and what is largest."""
    cook = found.cooks_distance
    failed = sum(bool(refit.problem) and bool(np.all(np.isnan(refit.values))) for refit in found.refits)
    text = f"The model was fitted again without each of {counted(len(found.levels))} {_many(found)}."
    if failed:
        text += f" {counted(failed)} of the refits failed."
    if cook.notna().any():
        large = int(np.count_nonzero(cook > 4.0 / len(found.levels)))
        text += (
            f" Cook's distance is largest for {cook.idxmax()}, {fixed(float(cook.max()), 3)}; it is above "
            f"4 / {_plain(found)} = {fixed(4.0 / len(found.levels), 3)} for {counted(large)}."
        )
    return text


def _warnings(found: "Influence") -> Iterator[Block]:
    """Context effects that one cluster decides about, and refits that failed."""
    own = list(sentences(found))
    if own:
        yield Note(_advice(found), kind="warning")
        yield Items(own)
    else:
        yield Note(told(found)[-1])
    problems = {refit.problem: None for refit in found.refits if refit.problem}
    for problem in list(problems)[:3]:
        which = [
            str(level) for level, refit in zip(found.levels, found.refits, strict=True) if refit.problem == problem
        ]
        yield Note(f"Without {_listed(which)}: {problem}", kind="warning")


def _effects(found: "Influence") -> Table:
    """Each coefficient: of all clusters, and the lowest and highest without one."""
    rows: list[Row] = []
    context = set(found.context)
    order = [*found.context, *(term for term in found.terms if term not in context)]
    names = [str(level) for level in found.levels]
    for term in order:
        values, shifts = found.estimates[term].to_numpy(), found.dfbetas[term].to_numpy()
        decimals = _decimals(found, term)
        whole = fixed(found.of_whole(term), decimals)
        if np.all(np.isnan(values)):
            rows.append([term, whole, None, None, None])
            continue
        ends = [
            f"{fixed(float(values[k]), decimals)} ({names[k]})" for k in (np.nanargmin(values), np.nanargmax(values))
        ]
        most = int(np.nanargmax(np.abs(shifts)))
        rows.append([term, whole, *ends, f"{fixed(float(shifts[most]), 2)} ({names[most]})"])
    heads = ("All", "Lowest (without)", "Highest (without)", "Change, SE (without)")
    columns: list[str | Column] = ["Term", *(Column(head, align="decimal") for head in heads)]
    note = f"Context effects first. Changes above 2 / sqrt({_plain(found)}) = {_cut(found)} SE are large."
    return Table(columns, rows, title=f"Coefficients without one {_one(found)}", notes=[note])


def _cut(found: "Influence") -> str:
    """The usual bound of dfbetas."""
    return fixed(2.0 / float(np.sqrt(len(found.levels))), 2)


def _clusters(found: "Influence") -> Table:
    """The clusters with the largest Cook's distances, and the coefficient that each moves most."""
    cook, rows = found.cooks_distance.to_numpy(), list[Row]()
    slopes = np.array([term != "Intercept" for term in found.terms])
    order = np.argsort(-np.where(np.isnan(cook), np.inf, cook), kind="stable")[:SHOWN]
    for k in order:
        shifts = np.where(slopes, found.dfbetas.to_numpy()[k], np.nan)
        moved: list[str | None] = [None, None]
        if not np.all(np.isnan(shifts)):
            most = int(np.nanargmax(np.abs(shifts)))
            moved = [found.terms[most], fixed(float(shifts[most]), 2)]
        cells = [fixed(float(cook[k]), 3), fixed(float(found.log_covratio.to_numpy()[k]), 2)]
        rows.append([str(found.levels[k]), int(found.sizes[k]), *cells, *moved])
    columns: list[str | Column] = [
        "row" if found.by_rows else found.by, Column("Rows", format="count"),
        Column("Cook's distance", align="decimal"), Column("Log covratio", align="decimal"), "Moves most",
        Column("by, SE", align="decimal"),
    ]  # fmt: skip
    note = "Log covratio: above 0 where estimates are less precise without it, below 0 where they are more."
    return Table(columns, rows, title=f"Most influential {_plain(found)}", notes=[note])


def _variance_table(found: "Influence") -> Iterator[Table]:
    """Variance parameters without one cluster."""
    rows: list[Row] = []
    p = len(found.terms)
    for k, name in enumerate(found.variances.columns):
        values = found.variances[name].to_numpy()
        if np.all(np.isnan(values)):
            continue
        places = (np.nanargmin(values), np.nanargmax(values))
        ends = [f"{number(float(values[place]))} ({found.levels[place]})" for place in places]
        rows.append([str(name), number(float(found.whole[p + k])), *ends])
    if rows:
        heads = ("All", "Lowest (without)", "Highest (without)")
        columns: list[str | Column] = ["Parameter", *(Column(head, align="decimal") for head in heads)]
        yield Table(columns, rows, title=f"Standard deviations and correlations without one {_one(found)}")


def _named(found: "Influence", term: str | None, which: BoolArray) -> str:
    """The clusters, with the estimates without them where they are few."""
    if np.count_nonzero(which) > NAMED:
        return f"any one of {counted(int(np.count_nonzero(which)))} of the {counted(len(which))} {_plain(found)}"
    parts = []
    for k in np.flatnonzero(which):
        name = f"row {found.levels[k]}" if found.by_rows else str(found.levels[k])
        if term is not None:
            p = float(found.p_values[term].iloc[k])
            close = abs(p - (1.0 - found.level)) < 0.0005  # three decimals would hide on which side it is
            shown = "" if np.isnan(p) else f", p = {fixed(p, 4 if close else 3)}"
            name += f" ({fixed(float(found.estimates[term].iloc[k]), _decimals(found, term))}{shown})"
        parts.append(name)
    return " or ".join(parts)


def _listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {counted(len(names) - NAMED)} more" if len(names) > NAMED else "")


def _decimals(found: "Influence", term: str) -> int:
    """Decimals that a coefficient is shown with."""
    error = found.of_whole(term, "std_error")
    return 3 if np.isnan(error) else shown_decimals(error, found.of_whole(term))
