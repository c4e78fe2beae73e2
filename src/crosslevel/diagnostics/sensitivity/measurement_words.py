"""What error in a predictor does to effects, in sentences and tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from crosslevel.diagnostics.sensitivity.table_rows import row_of
from crosslevel.display import Block, Column, Document, Paragraph, Row, Table, counted, fixed, number
from crosslevel.estimators.summary import shown_decimals

if TYPE_CHECKING:
    from crosslevel.diagnostics.sensitivity.latent_mean import LatentMean
    from crosslevel.diagnostics.sensitivity.measurement_error import MeasurementError

LOW = 0.7
"""Reliability below which a parabola leaves a part of the bias."""

METHODS = {"simex": "SIMEX", "calibration": "regression calibration"}
"""Names of the corrections."""


# -- latent means -------------------------------------------------------------------------------------------------
def latent_sentences(found: "LatentMean") -> tuple[str, ...]:
    """What the sampling error of means does to the effects."""
    return tuple(_latent(found))


def latent_document(found: "LatentMean") -> Document:
    """Sentences, and latent and observed means side by side."""
    heads = ("Latent mean", "SE", "Low", "High", "Observed mean", "SE")
    rows: list[Row] = []
    for term, row in found.frame.iterrows():
        decimals = shown_decimals(float(row["std_error"]), float(row["estimate"]))
        cells = ("estimate", "std_error", "conf_low", "conf_high", "manifest", "manifest_std_error")
        rows.append([str(term), *(fixed(float(row[cell]), decimals) for cell in cells)])
    columns: list[str | Column] = ["Term", *(Column(head, align="decimal") for head in heads)]
    notes = [f"Low, high: {100 * found.level:g} % intervals. contextual: between less within."]
    blocks: list[Block] = [Paragraph(" ".join(found.sentences))]
    blocks.append(Table(columns, rows, title=f"Effects on {found.outcome}", notes=notes))
    return Document(f"Latent means of {found.variable} by {found.group}", blocks)


def _latent(found: "LatentMean") -> Iterator[str]:
    """The sentences."""
    sizes, reliability = found.sizes, found.reliability
    yield (
        f"The mean of {found.variable} is known from {fixed(float(sizes.mean()), 1)} rows in each of "
        f"{counted(len(sizes))} clusters of {found.group} on average; its intraclass correlation (given the other "
        f"predictors) is {fixed(found.icc, 2)}, and the reliability of an observed mean {fixed(reliability.mean(), 2)} "
        f"(from {fixed(reliability.min(), 2)} to {fixed(reliability.max(), 2)})."
    )
    name = found.names[2]
    row, manifest = row_of(found.table, name), row_of(found.manifest, name)["estimate"]
    decimals = shown_decimals(row["std_error"], row["estimate"])
    yield (
        f"The contextual effect is {fixed(row['estimate'], decimals)} "
        f"[{fixed(row['conf_low'], decimals)}, {fixed(row['conf_high'], decimals)}] of latent means, "
        f"{fixed(manifest, decimals)} of observed ones."
    )
    if found.error > 0.0:
        kept = 1.0 - found.error / found.within_variance
        yield (
            f"Rows have an error variance of {number(found.error)}, so that deviations from means are "
            f"{fixed(kept, 2)} reliable; the effect within clusters is corrected for it."
        )
    if found.concern == "none":
        yield "Observed means are reliable enough: either may be reported."
    else:
        yield (
            "If the rows are a sample of their clusters, report the effects of latent means; if they are all of their "
            "clusters, those of observed means, and say which of the two it is."
        )


# -- measurement error --------------------------------------------------------------------------------------------
def error_sentences(found: "MeasurementError") -> tuple[str, ...]:
    """What the error of a predictor does to the coefficients."""
    return tuple(_error(found))


def error_document(found: "MeasurementError") -> Document:
    """Sentences, and coefficients as fitted and corrected."""
    heads = ("As fitted", "SE", "Corrected", "SE", "Low", "High")
    rows: list[Row] = []
    for term, row in found.frame.iterrows():
        decimals = shown_decimals(float(row["naive_std_error"]), float(row["naive"]))
        cells = ("naive", "naive_std_error", "estimate", "std_error", "conf_low", "conf_high")
        rows.append([str(term), *(fixed(float(row[cell]), decimals) for cell in cells)])
    columns: list[str | Column] = ["Term", *(Column(head, align="decimal") for head in heads)]
    notes = [f"Corrected by {METHODS[found.method]}. Low, high: {100 * found.level:g} % intervals."]
    blocks: list[Block] = [Paragraph(" ".join(found.sentences))]
    blocks.append(Table(columns, rows, title=f"Effects on {found.outcome}", notes=notes))
    return Document(f"Measurement error of {found.variable}", blocks)


def _error(found: "MeasurementError") -> Iterator[str]:
    """The sentences."""
    yield (
        f"{found.variable} is taken to have a reliability of {fixed(found.reliability, 2)} (error standard deviation "
        f"{number(found.error_sd)})."
    )
    means = found.reliability_means
    if found.calibrated is not None and means is not None and not found.calibrated.model.subject.is_context:
        yield (
            f"Given the other predictors, deviations from the cluster are {fixed(found.reliability_within, 2)} "
            f"reliable, means of {found.group} {fixed(means.mean(), 2)} on average (from {fixed(means.min(), 2)})."
        )
    yield from (_change(found, term) for term in found.involved)
    if found.path is not None:
        yield from _simulated(found)
    change = (found.table["estimate"] - found.naive["estimate"]).abs() > found.naive["std_error"]
    moved = [str(term) for term in change.index[change] if term not in found.involved and term != "Intercept"]
    if moved:
        yield f"The error is felt elsewhere, too: {', '.join(moved)} moved by more than a standard error."
    if found.concern == "act":
        yield "A sign or the result of a test changes: report both, and where the reliability comes from."
    elif found.concern == "look":
        yield "Signs and tests stay as they were; report the corrected coefficients where their size matters."
    else:
        yield "The conclusions do not depend on the error."


def _change(found: "MeasurementError", term: str) -> str:
    """How one coefficient changes."""
    old, new = row_of(found.naive, term), row_of(found.table, term)
    decimals = shown_decimals(old["std_error"], old["estimate"])
    low, high = fixed(new["conf_low"], decimals), fixed(new["conf_high"], decimals)
    return (
        f"{term} is {fixed(old['estimate'], decimals)} as fitted, {fixed(new['estimate'], decimals)} "
        f"corrected [{low}, {high}]."
    )


def _simulated(found: "MeasurementError") -> Iterator[str]:
    """What there is to say of the simulation."""
    assert found.path is not None
    if found.path.failed:
        yield f"{counted(found.path.failed)} pairs of fits with added error did not succeed and are left out."
    if found.reliability < LOW:
        yield (
            f"With a reliability below {LOW:g} a parabola leaves a part of the bias; compare method='calibration', or "
            "read cl.plot.simex."
        )
