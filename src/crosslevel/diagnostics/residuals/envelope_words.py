"""Envelopes in sentences and tables."""

from typing import TYPE_CHECKING

import numpy as np

from crosslevel.diagnostics.diagnostic import Concern, sentence_blocks
from crosslevel.display import Column, Document, Table, counted, fixed, number, p_statement

if TYPE_CHECKING:
    from crosslevel.diagnostics.residuals.envelope import Envelope, Part

SLIGHT = (0.5, 1.0)
"""Skewness and excess kurtosis up to which residuals that are not normal hardly matter to anything."""

STRONG = (1.0, 3.0)
"""Skewness and excess kurtosis beyond which something has to be done."""


def concern(found: "Envelope") -> Concern:
    """The light: a detectable distance is looked at, a large one acted upon."""
    wrong = _wrong(found)
    if not wrong:
        return "none"
    shapes = [(abs(part.value("skewness")), part.value("excess_kurtosis")) for part in wrong]
    if any(skew > STRONG[0] or tails > STRONG[1] for skew, tails in shapes):
        return "act"
    if (
        found.of == "residuals"
        and found.normal
        and all(skew < SLIGHT[0] and abs(tails) < SLIGHT[1] for skew, tails in shapes)
    ):
        return "none"
    return "look"


def _wrong(found: "Envelope") -> "list[Part]":
    """The parts whose distance is more than chance explains."""
    adjusted = found.frame["p_adjusted"].to_numpy()
    return [part for part, p in zip(found.parts, adjusted, strict=True) if p < 0.05]


def sentences(found: "Envelope") -> tuple[str, ...]:
    """What each part looks like, and what to do."""
    wrong = _wrong(found)
    told = [_of_part(part, part in wrong) for part in found.parts]
    told += [
        f"{name} is perfectly correlated with {other} in this fit: it has no distribution of its own to look at."
        for name, other in found.same.items()
    ]
    few = min(part.n_values for part in found.parts)
    if found.of == "random effects" and few < 20:
        told.append(
            f"{counted(few)} clusters can hardly tell a normal distribution of random effects from another one: that "
            "nothing is found does not mean that nothing is there."
        )
    advice = _advice(found, wrong)
    return (*told, advice) if advice else tuple(told)


def _of_part(part: "Part", wrong: bool) -> str:
    """One part in a sentence."""
    name = "Residuals" if part.name == "residuals" else part.name
    low, high = part.range_of("excess_kurtosis")
    verdict = f"{name}: {_shape(part)}" if wrong else f"{name}: distributed as the model lets expect"
    return (
        f"{verdict} (distance from normal order {number(part.value('distance'))}, simulated "
        f"{number(float(np.nanmean(part.simulated[:, 0])))} on average, {p_statement(part.p_value)}; skewness "
        f"{fixed(part.value('skewness'), 1)}, excess kurtosis {fixed(part.value('excess_kurtosis'), 1)}, in the "
        f"model {fixed(low, 1)} to {fixed(high, 1)})."
    )


def _shape(part: "Part") -> str:
    """How values differ from those of the model."""
    told = []
    for statistic, (below, above) in {
        "skewness": ("skewed to the left", "skewed to the right"),
        "excess_kurtosis": ("with lighter tails than the model's", "with heavier tails than the model's"),
    }.items():
        low, high = part.range_of(statistic)
        value = part.value(statistic)
        if value < low or value > high:
            told.append(below if value < low else above)
    return ", ".join(told) or "not in normal order"


def _advice(found: "Envelope", wrong: "list[Part]") -> str:
    """What to do."""
    if not wrong:
        return ""
    if found.of == "residuals" and not found.normal:
        return (
            "Quantile residuals are normal where the family is right, and these are not quite: its variance, its share "
            "of zeros or its link may be wrong, or a predictor is missing. Look at cl.dispersion(fit), "
            "cl.linearity(fit) and cl.residuals(fit).outlying_rows; compare another family; check by fit.robust()."
        )
    if found.of == "residuals" and found.concern == "none":
        return (
            "The difference is detectable with so many rows, and too small to matter: coefficients and their standard "
            "errors do not depend on it."
        )
    if found.of == "residuals":
        return (
            "Coefficients stay unbiased, and their standard errors are nearly right in large samples; predictions and "
            "tests of variances are not. Look at cl.residuals(fit).outlying_rows; transform a skewed outcome or choose "
            "a family that fits it; check results by fit.robust() and fit.bootstrap(kind='residual')."
        )
    return (
        "Look at the clusters at the ends of cl.plot.envelope: a predictor of the clusters may be missing, or they are "
        "of several kinds. Coefficients hardly depend on the normality of random effects, predictions of single "
        "clusters do; check results by cl.influence(fit) and fit.bootstrap(kind='cluster')."
    )


def write(found: "Envelope") -> Document:
    """The document."""
    rows = [
        [part.name, part.n_values, *(number(part.value(name)) for name in ("distance", "skewness", "excess_kurtosis")),
         counted(part.outside), p]
        for part, p in zip(found.parts, found.frame["p_value"].tolist(), strict=True)
    ]  # fmt: skip
    heads = [Column(name, align="decimal") for name in ("Distance", "Skewness", "Excess kurtosis", "Outside")]
    columns: list[str | Column] = ["Part", Column("Values", format="count"), *heads, Column("p", format="p")]
    how = "fitted anew to each" if found.refitted else "at its estimates"
    note = (
        f"Reference: {counted(found.n)} outcomes drawn from the model, {how}. Outside: order statistics beyond the "
        "95 % envelope, point by point."
    )
    blocks = [*sentence_blocks(found), Table(columns, rows, notes=[note])]
    return Document(f"Distribution of the {found.of} of {found.outcome}", blocks)
