"""Studies and their results as tables for people."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.display import Block, Cell, Column, Document, Items, Note, Paragraph, Table, decimals_for, fixed
from crosslevel.errors import CrosslevelError
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.studies.description import KIND, name_of, plain, shown
from crosslevel.simulation.studies.measures import COLUMNS, FAILURES, MEASURES
from crosslevel.simulation.studies.process_words import process_words

if TYPE_CHECKING:
    from crosslevel.simulation.studies.condition import Condition
    from crosslevel.simulation.studies.study import Study


def study_document(study: "Study") -> Document:
    """A study in words: factors, process, estimators, what is measured."""
    count = len(study)
    blocks: list[Block] = [
        Paragraph(f"{count} condition{'s' if count != 1 else ''}; {100 * study.level:g} % intervals.")
    ]
    if study.factors:
        rows = [[name, ", ".join(str(shown(level)) for level in levels)] for name, levels in study.factors.items()]
        blocks.append(Table(["Factor", "Levels"], rows))
    if study.where:
        kept = study.where
        words = _listed(kept) if isinstance(kept, Mapping) else name_of(kept)
        blocks.append(Note(f"Restricted to: {words}."))
    first, last = study.conditions[0], study.conditions[-1]
    if count > 1:
        blocks.append(Paragraph(f"Below the first and the last of them: {first.words}, and {last.words}."))
    for part, named in PARTS.items():
        own = dict(named(first))
        other = [f"{name}: {text}" for name, text in named(last) if own.get(name) != text]
        where = f" of condition {first.number}" if other else ""
        blocks += [Paragraph(f"{part}{where}:"), Items([f"{name}: {text}" for name, text in own.items()])]
        if other:
            blocks += [Paragraph(f"What differs in condition {last.number}:"), Items(other)]
    return Document(study.title or "Monte Carlo study", blocks)


def _process(condition: "Condition") -> Iterator[tuple[str, str]]:
    """The process of a condition, as names and values."""
    process = condition.process
    return process_words(process) if isinstance(process, Process) else iter([("Kind", type(process).__name__)])


def _estimators(condition: "Condition") -> Iterator[tuple[str, str]]:
    """The estimators of a condition: what they are, and what they are told."""
    for one in condition.estimators:
        told = plain(one)
        kind = told.pop(KIND, type(one).__name__) if isinstance(told, dict) else str(told)
        rest = {key: value for key, value in told.items() if key not in ("name", "formula", "intervals")}
        formula = f", {one.formula}" if isinstance(getattr(one, "formula", None), str) else ""  # type: ignore[attr-defined]
        kinds = f"; intervals: {' / '.join(one.interval_names)}" if one.interval_names else ""
        yield one.name, f"{kind}{formula}{', ' if rest else ''}{_listed(rest)}{kinds}"


def _terms(condition: "Condition") -> Iterator[tuple[str, str]]:
    """What is measured, with its true value."""
    for name, truth in zip(condition.terms, condition.truth.tolist(), strict=True):
        yield name, f"true value {truth:g}"


PARTS: dict[str, Callable[["Condition"], Iterator[tuple[str, str]]]] = {
    "Process": _process,
    "Estimators": _estimators,
    "Coefficients": _terms,
}
"""Of a condition, as names and values."""


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {shown(value)}" for name, value in values.items())


def table(
    results: pd.DataFrame, measure: str = "rmse", *, term: str | None = None, interval: str | None = None
) -> Document:
    """One measure of a study: conditions as rows, estimators as columns, Monte Carlo standard errors in brackets.

    Parameters
    ----------
    results : as `Study.run` gives.
    measure : one of `cl.lab.MEASURES`.
    term : the coefficient; all if None, a table each.
    interval : the kind of intervals; all that the measure has if None, a column each.

    Raises
    ------
    CrosslevelError : the results have no such measure, term or interval.

    Examples
    --------
    >>> import crosslevel as cl
    >>> process = cl.lab.Process(
    ...     formula="y ~ z + (1 | g)", effects={"Intercept": 0, "z": 1}, sd={"Intercept": 1}, clusters=20, size=30,
    ...     variables={"z": cl.lab.Context()},
    ... )
    >>> study = cl.lab.Study(
    ...     process=process, estimators=[cl.lab.OLS(name="OLS", formula="y ~ z")], terms=["z"],
    ...     factors={"clusters": [10, 40]},
    ... )
    >>> found = study.run(reps=100, seed=1, progress=False)
    >>> cl.lab.table(found, "rmse").title
    'rmse of z (percent of truth)'
    """
    factors = factors_of(results)
    rows = chosen(results, measure=measure, term=term, interval=interval)
    parts = list(dict.fromkeys(zip(rows["term"], rows["unit"], strict=True)))
    titles = [f"{measure}{f' of {one}' if one else ''} ({unit})" for one, unit in parts]
    blocks = [
        _pivot(rows[(rows["term"] == one) & (rows["unit"] == unit)], factors, title)
        for (one, unit), title in zip(parts, titles, strict=True)
    ]
    return Document(titles[0], [replace(blocks[0], title="")]) if len(parts) == 1 else Document(measure, blocks)


def chosen(results: pd.DataFrame, *, measure: str, term: str | None, interval: str | None) -> pd.DataFrame:
    """The rows of one measure.

    Raises
    ------
    CrosslevelError : there are none; the message lists what there is.
    """
    rows = results
    for name, value in (("measure", measure), ("term", term), ("interval", interval)):
        if value is not None:
            known = list(dict.fromkeys(rows[name]))
            if value not in known:
                raise CrosslevelError(f"`{name}` is {value!r}; the results have {', '.join(map(repr, known))}.")
            rows = rows[rows[name] == value]
    return rows


def factors_of(results: pd.DataFrame) -> list[str]:
    """The columns of the factors, which are those before the others."""
    if not isinstance(results, pd.DataFrame) or list(results.columns)[-len(COLUMNS) :] != list(COLUMNS):
        raise CrosslevelError(f"`results` is a frame of `Study.run`, which ends with the columns {', '.join(COLUMNS)}.")
    return [str(name) for name in results.columns[: -len(COLUMNS)]]


def _pivot(rows: pd.DataFrame, factors: Sequence[str], title: str) -> Table:
    """One measure of one term: conditions by estimators and kinds of intervals, without factors that have one level.

    One condition is a table of estimators instead.
    """
    varied = [name for name in factors if rows[name].nunique() > 1]
    pairs = list(zip(rows["estimator"], rows["interval"], strict=True))
    decimals = decimals_of(rows["mcse"])
    cells = [
        f"{fixed(value, decimals)} ({fixed(mcse, decimals)})" if np.isfinite(mcse) else fixed(value, decimals)
        for value, mcse in zip(rows["value"], rows["mcse"], strict=True)
    ]
    if not varied:
        kinds = ["Intervals"] if any(kind for _, kind in pairs) else []
        lines = [[*pair[: 1 + len(kinds)], cell] for pair, cell in zip(pairs, cells, strict=True)]
        return Table(["Estimator", *kinds, Column(rows["measure"].iloc[0], align="right")], lines, title=title)
    found: dict[tuple[Any, ...], dict[str, str]] = {}
    heads = [", ".join(part for part in pair if part) for pair in pairs]
    for key, head, cell in zip(zip(*(rows[name] for name in varied), strict=True), heads, cells, strict=True):
        found.setdefault(key, {})[head] = cell
    columns = list(dict.fromkeys(heads))
    first = [Column(name) for name in varied]
    lines = [[*key, *(own.get(head) for head in columns)] for key, own in found.items()]
    return Table([*first, *(Column(head, align="right") for head in columns)], lines, title=title)


def decimals_of(mcse: pd.Series) -> int:
    """Decimals that show one significant digit of a typical Monte Carlo standard error, and one at least."""
    finite = np.asarray(mcse, dtype=np.float64)
    finite = finite[np.isfinite(finite) & (finite > 0.0)]
    return decimals_for(float(np.median(finite)), significant=1, least=1, most=6) if len(finite) else 1


def failures(results: pd.DataFrame) -> pd.DataFrame:
    """How the fits of each estimator ended: numbers of replications, over all conditions.

    Parameters
    ----------
    results : as `Study.run` gives.

    Returns
    -------
    frame : a row for each estimator: `replications`, `fitted`, `unidentified`, `unconverged`, `refused`, `singular`.

    Examples
    --------
    >>> import crosslevel as cl
    >>> study = cl.lab.heisig2017("dce", clusters=15, slopes=1, slope_sd=0.2, between=0.15)
    >>> cl.lab.failures(study.run(reps=20, seed=1, progress=False))[["replications", "fitted"]]
                       replications  fitted
    estimator
    ME-Invariant                 20      20
    ME-Correct                   20      20
    OLS-Cluster                  20      20
    two-step-adjusted            20      20
    """
    factors_of(results)
    rows = results[results["term"] == ""]
    out = {}
    for name, own in rows.groupby("estimator", sort=False):
        counts = {measure: part for measure, part in own.groupby("measure")}
        whole, singular = counts["convergence"], counts["singular"]
        fitted = whole["reps"] - whole["failed"]
        row = {"replications": whole["reps"].sum(), "fitted": fitted.sum()}
        for measure in FAILURES:
            part = counts[measure]
            row[measure] = (part["value"] * part["reps"] / 100.0).round().sum()
        row["singular"] = (
            (singular["value"].fillna(0.0) * (singular["reps"] - singular["failed"]) / 100.0).round().sum()
        )
        out[name] = {key: int(value) for key, value in row.items()}
    return pd.DataFrame.from_dict(out, orient="index").rename_axis("estimator")


def results_document(results: pd.DataFrame, title: str = "", measures: Sequence[str] | None = None) -> Document:
    """Measures of a study, a table each, and how fits ended.

    Parameters
    ----------
    results : as `Study.run` gives.
    title : of the document.
    measures : which; all but those of failures, which are counted in a table of their own, if None.

    Raises
    ------
    CrosslevelError : the results have no such measure.
    """
    reps = int(results["reps"].max())
    fixed_ones = [name for name in factors_of(results) if results[name].nunique() == 1]
    words = ", ".join(f"{name} = {results[name].iloc[0]}" for name in fixed_ones)
    where = f" ({words})" if words else ""
    opening = f"{reps:,} replications of each condition{where}; in brackets Monte Carlo standard errors."
    blocks: list[Block] = [Paragraph(opening)]
    counted = ("convergence", *FAILURES, "singular")
    there = [one for one in MEASURES if one in set(results["measure"]) and one not in counted]
    for measure in there if measures is None else measures:
        found = table(results, measure)
        blocks += [
            Table(one.columns, one.rows, title=one.title or found.title)
            for one in found.blocks
            if isinstance(one, Table)
        ]
    ended = failures(results)
    heads: list[str | Column] = ["Estimator", *(Column(str(name), format="count") for name in ended.columns)]
    counts: list[list[Cell]] = [
        [str(name), *(int(value) for value in row)] for name, row in zip(ended.index, ended.to_numpy(), strict=True)
    ]
    blocks.append(Table(heads, counts, title="How fits ended"))
    if (ended["fitted"] < ended["replications"]).any():
        blocks.append(Note("Replications without a fit are in no other measure; `failed` counts them.", kind="warning"))
    return Document(title, blocks)
