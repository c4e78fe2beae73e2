"""Power in words and tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.display import Column, Document, Note, Paragraph, Section, Table, counted, percent
from crosslevel.display.blocks import Block, Format, Row
from crosslevel.estimators.export import plain, records
from crosslevel.simulation.power.surface import NoCurveError
from crosslevel.simulation.processes.sizes import Sizes

if TYPE_CHECKING:
    from crosslevel.simulation.power.record import Power

OFTEN_FAILED, OFTEN_SINGULAR = 0.05, 0.2
"""Shares of failed and of singular fits that deserve a word."""

OFF = 3.0
"""Monte-Carlo errors by which a type-I error may be off before that is said."""

USUAL = 0.8
"""The power that is read off without asking."""


SHOWN = ("size", "effect", "power", "mcse", "type_i", "width", "failed", "singular")
"""Columns of the table after the clusters."""


def power_document(found: "Power") -> Document:
    """The document of `Power`."""
    return Document("Power of a planned study", list(_blocks(found)))


def _blocks(found: "Power") -> Iterator[Block]:
    """The parts of the document."""
    settings = found.settings
    yield Paragraph(
        f"{found.source.formula}, {settings.method.upper()}. {counted(settings.reps)} replications of each design, "
        f"seed {settings.seed}."
    )
    yield _table(found)
    yield from (Paragraph(text) for text in needed_words(found))
    rows: list[Row] = [[name, text] for name, text in (*found.source.words, *_size_words(found))]
    yield Table(["", ""], rows, title="Assumed")
    yield from (Note(text, kind="warning") for text in found.notes)


def _rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _size_words(found: "Power") -> Iterator[tuple[str, str]]:
    """How sizes vary about their means."""
    seen = {point.rows: point.size for point in found.points if not isinstance(point.size, int)}
    for rows, size in seen.items():
        if isinstance(size, tuple):
            yield f"{rows:,g} rows each", f"{size[0]:,} to {size[1]:,}, all numbers equally likely"
        elif isinstance(size, Sizes):
            yield f"{rows:,g} rows each", f"a mean; the coefficient of variation is {size.cv:g}"


def _table(found: "Power") -> Table:
    """Power at the simulated designs."""
    several = len(found.targets) > 1
    rows: list[Row] = []
    for target in found.targets:
        own = found.frame[found.frame["target"] == target.name]
        rows += [Section(f"{target.name}: {target.words}")] if several else []
        rows += [[f"{row['clusters']:,}", *(row[name] for name in SHOWN)] for row in _rows_of(own)]
    whole = bool((found.frame["size"] == found.frame["size"].round()).all())
    columns = [
        Column("Clusters", align="right"), Column("Rows each", format="count" if whole else "fixed", decimals=1),
        Column("Effect", format="number"), Column("Power", format="percent", decimals=1),
        Column("MC error", format="percent", decimals=1), Column("Type I", format="percent", decimals=1),
        Column("Width", format="number"), Column("Failed", format="count"), Column("Singular", format="count"),
    ]  # fmt: skip
    one = found.targets[0]
    title = "Power" if several else f"Power of {one.name}: {one.words}"
    return Table(columns, rows, title=title, notes=list(_table_notes(found)))


def _table_notes(found: "Power") -> Iterator[str]:
    """What the columns mean."""
    settings, alpha = found.settings, percent(1.0 - found.settings.level, decimals=0)
    if any(target.component is None for target in found.targets):
        yield (
            f"Two-sided t tests at {alpha}, degrees of freedom by {settings.interval}. Type I: share of rejections if "
            f"the effect were 0. Width: mean of {percent(settings.level, decimals=0)} intervals."
        )
    if any(target.component is not None for target in found.targets):
        yield (
            f"Variances: likelihood-ratio test at {alpha} with the boundary mixture of chi-squares. Effect: standard "
            "deviation."
        )
    yield "MC error: Monte-Carlo standard error of power. Failed replications are in no share."


def needed_words(found: "Power") -> Iterator[str]:
    """How many clusters the usual power needs, where more than one number of them was simulated."""
    if found.frame["clusters"].nunique() < 2:
        return
    for _, needed in needed_or_nothing(found, USUAL, "clusters").groupby("target", sort=False):
        sizes, effects = needed["size"].nunique() > 1, needed["effect"].nunique() > 1
        least = found.frame["clusters"].min()
        for row in _rows_of(needed):
            where = f" of {row['size']:,.4g} rows" if sizes else ""
            where += f", effect {row['effect']:g}" if effects else ""
            yield f"Power of {percent(USUAL, decimals=0)} for {row['target']} needs {_many(row, where, int(least))}."


def _many(row: dict[str, Any], where: str, least: int) -> str:
    """How many clusters (of some size) are needed; below all that was simulated the curve is no more than a hint."""
    if not np.isfinite(row["clusters"]):
        return f"more clusters{where} than there can be"
    if row["extrapolated"] and row["clusters"] < least:
        return f"fewer than the {least:,} clusters{where} that were simulated"
    beyond = ", outside of what was simulated" if row["extrapolated"] else ""
    return f"{row['clusters']:,.0f} clusters{where} (95% interval {_ends(row['conf_low'], row['conf_high'])}{beyond})"


def needed_table(found: "Power", power: float, by: str) -> Iterator[Block]:
    """What a power needs, as a table; nothing where the points do not say."""
    needed = needed_or_nothing(found, power, by)
    if needed.empty:
        return
    others = [name for name in ("clusters", "size", "effect") if name != by]
    heads = {"clusters": "Clusters", "size": "Rows each", "effect": "Effect"}
    formats: dict[str, Format] = {"clusters": "count", "size": "count", "effect": "number"}
    columns: list[str | Column] = ["Effect of", *(Column(heads[name], format=formats[name]) for name in others)]
    columns += [Column(name, format=formats[by]) for name in (f"{heads[by]} needed", "From", "To")]
    rows: list[Row] = [
        [row["target"], *(row[name] for name in others), *(row[name] for name in (by, "conf_low", "conf_high"))]
        for row in _rows_of(needed)
    ]
    notes = ["From, to: 95% interval for Monte-Carlo error."]
    yield Table(columns, rows, title=f"For a power of {percent(power, decimals=0)}", notes=notes)


def needed_or_nothing(found: "Power", power: float, by: str) -> pd.DataFrame:
    """What a power needs, of all targets whose points say so."""
    parts = []
    for target in found.targets:
        try:
            parts.append(found.needed(power, by, target=target.name))
        except NoCurveError:
            continue
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _ends(low: float, high: float) -> str:
    """An interval of whole numbers."""
    return f"{low:,.0f} to {high:,.0f}" if np.isfinite(high) else f"{low:,.0f} or more"


def notes_on(found: "Power") -> tuple[str, ...]:
    """What deserves a second look."""
    return (*_of_fits(found), *_of_tests(found))


def _of_fits(found: "Power") -> Iterator[str]:
    """Designs whose fits fail, or have variances of zero."""
    frame = found.frame.drop_duplicates(["clusters", "size", "effect"])
    for row in _rows_of(frame[frame["failed"] == frame["reps"]]):
        yield (
            f"{_design(row)}: no replication could be tested, so that there is no power to speak of (it is not 0 %). "
            "There are too few clusters for the model, or too few rows in them."
        )
    often = frame[(frame["failed"] > OFTEN_FAILED * frame["reps"]) & (frame["failed"] < frame["reps"])]
    if len(often):
        worst = max(_rows_of(often), key=lambda row: row["failed"] / row["reps"])
        yield (
            f"Up to {percent(worst['failed'] / worst['reps'], decimals=0)} of the replications failed "
            f"({_design(worst)}). Power is that of the others; data like the failed ones would leave you without a "
            "test."
        )
    fitted = _rows_of(frame[frame["converged"] > 0])
    if not fitted:
        return
    worst = max(fitted, key=lambda row: row["singular"] / row["converged"])
    if worst["singular"] > OFTEN_SINGULAR * worst["converged"]:
        yield (
            f"Up to {percent(worst['singular'] / worst['converged'], decimals=0)} of the fits are singular "
            f"({_design(worst)}): a variance is estimated as zero, or random effects as perfectly correlated. Such "
            "data cannot tell the random effects of this model apart."
        )


def _design(row: dict[str, Any]) -> str:
    """A design in words."""
    return f"{row['clusters']:,} clusters of {row['size']:,.4g} rows"


def _of_tests(found: "Power") -> Iterator[str]:
    """Tests that do not hold their level."""
    alpha = 1.0 - found.settings.level
    for target in found.targets:
        own = found.frame[(found.frame["target"] == target.name) & found.frame["type_i"].notna()]
        tested = np.maximum((own["reps"] - own["failed"]).to_numpy(dtype=float), 1.0)
        off = (own["type_i"].to_numpy(dtype=float) - alpha) / np.sqrt(alpha * (1.0 - alpha) / tested)
        if not len(own):
            continue
        worst = _rows_of(own)[int(np.argmax(off))]
        # the largest of many differs from the level by chance
        if float(off.max()) > OFF + np.sqrt(2.0 * np.log(len(own))):
            yield (
                f"The test of {target.name} rejects a true null hypothesis in {percent(worst['type_i'])} of the "
                f"samples, not in {percent(alpha, decimals=0)} ({_design(worst)}): its power is flattered. Take "
                "ddf='growth-curve' or 'kenward-roger'."
            )


def recorded(found: "Power") -> dict[str, Any]:
    """Every number of `Power` as plain values."""
    settings = found.settings
    return {
        "formula": found.source.formula,
        "method": settings.method,
        "ddf": settings.interval,
        "level": settings.level,
        "reps": settings.reps,
        "seed": settings.seed,
        "targets": [{"name": one.name, "kind": one.shape.kind, "share": one.shape.share} for one in found.targets],
        "assumed": {
            "effects": {name: plain(value) for name, value in found.source.effects.items()},
            "sd": {name: plain(value) for name, value in found.source.sd.items()},
            "sigma": found.source.sigma,
            "words": dict(found.source.words),
        },
        "points": records(found.frame),
        "needed": records(needed_or_nothing(found, USUAL, "clusters")),
        "notes": list(found.notes),
    }
