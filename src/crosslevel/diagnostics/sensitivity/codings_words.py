"""What coefficients mean in each coding of their predictors, in sentences and tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from crosslevel.display import Block, Column, Document, Items, Paragraph, Row, Table, fixed, p_statement
from crosslevel.estimators.compared import parts_of
from crosslevel.estimators.summary import shown_decimals
from crosslevel.formula.contextual import identifier

if TYPE_CHECKING:
    from crosslevel.diagnostics.sensitivity.codings import Codings

RAW, GRAND, WITHIN, APART = "as it is", "grand mean", "cluster mean", "within and between"


def meaning(coding: str, term: str, found: "Codings") -> str:
    """What a coefficient is in one coding, in a few words."""
    if term == "Intercept":
        return {
            RAW: "expected outcome where the predictors are zero",
            GRAND: "expected outcome at the predictors' means over all rows",
            WITHIN: "mean of the outcome in an average cluster, not adjusted for who is in it",
            APART: "expected outcome where cluster means are zero",
        }.get(coding, "expected outcome where the predictors, and their cluster means, are zero")
    parts = parts_of(term, found.variables)
    own = [part for part in parts if _is_coded(part, found)]
    if not own:
        return "of another predictor" if len(parts) == 1 else "of a product of other predictors"
    what = _effect(coding, own[0])
    others = [part for part in parts if part is not own[0]]
    return what if not others else f"what {', '.join(others)} adds to: {what}"


def sentences(found: "Codings") -> Iterator[str]:
    """Which codings are one model, how effects within and between differ, and which coding to take."""
    several = [group for group in found.same if len(group) > 1]
    for group in several:
        yield f"{_joined(group)} are one model in other words: the same likelihood, fitted values and predictions."
    if not several:
        yield "All codings are different models: random slopes are about different zeros."
    for name, row in found.contextual.iterrows():
        decimals = shown_decimals(float(row["std_error"]), float(row["estimate"]))
        yield (
            f"{name}: the effect between clusters differs from that within by "
            f"{fixed(float(row['estimate']), decimals)} ["
            f"{fixed(float(row['conf_low']), decimals)}, {fixed(float(row['conf_high']), decimals)}], "
            f"{p_statement(float(row['p_value']))}."
        )
    if found.concern == "none":
        yield "The model as given hides no difference: report the coding that tells your question best."
    else:
        yield (
            "The model as given mixes effects that differ: take 'within and between' where both are of interest, "
            "'Mundlak' where the question is what the context adds."
        )


def write(found: "Codings") -> Document:
    """Sentences and tables."""
    blocks: list[Block] = [Items(list(found.sentences)), _coefficients(found), _spreads(found)]
    blocks += [Paragraph("\n".join(f"{name}: {formula}" for name, formula in found.formulas.items()))]
    return Document(f"Codings of {', '.join(found.variables)}", blocks)


def _is_coded(part: str, found: "Codings") -> bool:
    """Whether a part of a term's name is one of the predictors that are coded, in any form."""
    forms = {form for name in found.variables for form in (name, f"center({identifier(name)})")}
    return part in forms or part.startswith(("within(", "between("))


def _effect(coding: str, part: str) -> str:
    """What the effect of a predictor is."""
    if part.startswith("between("):
        return "effect of the cluster's mean" if coding == APART else "contextual effect, between less within"
    if coding in (RAW, GRAND):
        return "effects within and between clusters, mixed"
    if coding == WITHIN:
        return "effect within clusters; that of the means is left out"
    return "effect within clusters"


def _coefficients(found: "Codings") -> Table:
    """All coefficients by coding."""
    rows: list[Row] = []
    last = ""
    for _, row in found.frame.iterrows():
        decimals = shown_decimals(float(row["std_error"]), float(row["estimate"]))
        numbers = [fixed(float(row[c]), decimals) for c in ("estimate", "std_error")]
        rows.append([str(row["coding"]) if row["coding"] != last else "", str(row["term"]), *numbers, row["meaning"]])
        last = str(row["coding"])
    columns: list[str | Column] = [
        "Coding", "Term", Column("Estimate", align="decimal"), Column("SE", align="decimal"), "What it is"
    ]  # fmt: skip
    return Table(columns, rows, title=f"Coefficients of {found.outcome}")


def _spreads(found: "Codings") -> Table:
    """Standard deviations of the random effects by coding."""
    rows: list[Row] = [
        [str(row["coding"]), str(row["group"]), str(row["effect"]), fixed(float(row["std_dev"]), 3)]
        for _, row in found.random.iterrows()
    ]
    columns: list[str | Column] = ["Coding", "Group", "Effect", Column("SD", align="decimal")]
    note = "The standard deviation of the intercept is that where the predictors of random slopes are zero."
    return Table(columns, rows, title="Random effects", notes=[note])


def _joined(names: tuple[str, ...]) -> str:
    """Names in words."""
    quoted = [f"'{name}'" for name in names]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"
