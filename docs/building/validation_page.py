"""The page of validation: from a summary of all differences down to every number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from building.validation import KINDS, Model, models

SUBJECTS = {
    "Crime": "crime in counties of North Carolina", "Wages": "wages over years", "Grunfeld": "investment of firms",
    "Hsb82": "High School & Beyond: pupils in schools", "Exam": "examinations in London schools",
    "sleepstudy": "reaction times over days without sleep", "InstEval": "ratings of lectures, crossed",
    "Contraception": "use of contraception in Bangladesh", "egsingle": "growth in mathematics, three levels",
    "Penicillin": "samples on plates, crossed", "Pastes": "casks in batches, nested", "Dyestuff": "yield of batches",
    "Dyestuff2": "simulated batches, no variance", "cake": "angles of breaking cakes", "Orthodont": "growth of jaws",
    "Oxboys": "growth of boys", "VerbAgg": "verbal aggression, persons by items", "cbpp": "disease in herds",
    "epil": "seizures", "grouseticks": "ticks on grouse", "wine": "bitterness of wine, ordered",
}  # fmt: skip

OTHERS = (
    ("Cluster-robust covariances, degrees of freedom", "clubSandwich, sandwich", "test_cluster_robust.py"),
    ("Type II and III tests of terms", "lmerTest, pbkrtest", "test_terms.py"),
    ("Residual structures: by group, autocorrelation, unstructured", "nlme, metafor", "test_residual_nlme.py"),
    ("Estimates without each cluster, Cook's distance", "lme4", "test_influence.py"),
    ("Marginal means, slopes and their contrasts", "emmeans", "test_margins.py"),
    ("GLM, conditional logit, GEE", "survival, MASS, geepack", "test_responses.py"),
    ("Exact null distributions of one variance", "RLRsim", "test_simulated_lrt.py"),
    ("Two-step estimates of Lewis and Linzer", "their own code", "test_two_step.py"),
    ("Precision weights", "lme4, glm, MASS", "test_generalized_precision.py"),
)  # fmt: skip
"""Comparisons that have tests of their own: what, with what, where."""


def page(tests: Path) -> str:
    """The page, from fits that are made now."""
    found = list(models(tests))
    count = sum(len(model.numbers) for model in found)
    sets = list(dict.fromkeys(model.data for model in found))
    other = "; ".join(f"`{model.formula}` ({model.remark.rstrip('.')})" for model in found if not model.comparable)
    parts = [
        "# Validation",
        f"{count:,} numbers from {len(found)} models on {len(sets)} data sets, as other software gives them and as "
        "`crosslevel` does. Ours are computed anew whenever this page is built; the others are stored in "
        "`tests/reference`, with the scripts that made them and the versions of the software. The test suite holds "
        "differences to tolerances. Open a model to see its numbers.",
        "## How far apart",
        html(summary(found)),
        "A coefficient's difference is in units of its standard error: 0.001 would change no digit that anybody "
        "publishes. Where an optimiser stops short, the higher log-likelihood is the better one; ours is never lower "
        "than theirs by more than 1e-5. Left out of this table, "
        f"as the two criteria differ by definition: {other}.",
    ]
    for kind in dict.fromkeys(model.kind for model in found):
        parts.append(f"## {kind}")
        of_kind = [model for model in found if model.kind == kind]
        for data in dict.fromkeys(model.data for model in of_kind):
            parts.append(f"### {data}: {SUBJECTS.get(data, 'data')}")
            parts.append(html("".join(details(model) for model in of_kind if model.data == data)))
    rows = "\n".join(f"| {what} | {software} | `tests/{test}` |" for what, software, test in existing(tests))
    parts += ["## Compared elsewhere", f"| what | with | test |\n|---|---|---|\n{rows}"]
    return "\n\n".join(parts) + "\n"


def existing(tests: Path) -> list[tuple[str, str, str]]:
    """Comparisons whose test is there; a name that is wrong is an error of this page."""
    missing = [test for _, _, test in OTHERS if not (tests / test).exists()]
    if missing:
        raise FileNotFoundError(f"The page of validation names tests that are not there: {', '.join(missing)}.")
    return list(OTHERS)


def html(markup: str) -> str:
    """HTML within Markdown."""
    return f"``````{{raw}} html\n{markup}\n``````"


def summary(found: Sequence[Model]) -> str:
    """How many numbers of each kind, and how far apart they are."""
    rows = []
    for kind, unit in KINDS.items():
        all_of_kind = [
            (number.difference, model)
            for model in found
            if model.comparable
            for number in model.numbers
            if number.kind == kind
        ]
        if not all_of_kind:
            continue
        differences = np.array([difference for difference, _ in all_of_kind])
        largest, where = max(all_of_kind, key=lambda pair: pair[0])
        most, median = np.quantile(differences, 0.99), np.median(differences)
        texts = (kind, unit, f"{len(differences):,}", small(median), small(most), small(largest))
        rows.append((*texts, f"{where.data}, {where.software}"))
    return table(
        ("", "difference in", "numbers", "median", "99% below", "largest", "where"), rows, numeric=(2, 3, 4, 5)
    )


def details(model: Model) -> str:
    """One model: its formula and largest difference, and every number when it is opened."""
    worst = max(model.numbers, key=lambda number: number.difference)
    rows = [
        (
            number.kind, number.name, digits(number.theirs), digits(number.ours), small(number.difference),
            KINDS[number.kind],
        )
        for number in model.numbers
    ]  # fmt: skip
    told = f"{model.software}, {len(model.numbers)} numbers, largest difference {small(worst.difference)}"
    remark = f"<p>{escape(model.remark)}</p>" if model.remark else ""
    numbers = table(("", "", model.software, "crosslevel", "difference", "in"), rows, numeric=(2, 3, 4))
    return (
        f'<details class="case"><summary><code>{escape(model.formula)}</code> <span class="figure">{told}</span>'
        f"</summary>{remark}{numbers}</details>\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[int]) -> str:
    """A table in HTML; columns of numbers stand to the right."""

    def row(cells: Sequence[str], tag: str) -> str:
        marks = [" class=n" if k in numeric else "" for k in range(len(cells))]
        return "".join(f"<{tag}{mark}>{escape(text)}</{tag}>" for mark, text in zip(marks, cells, strict=True))

    body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in rows)
    return f'<table class="numbers"><thead><tr>{row(head, "th")}</tr></thead><tbody>{body}</tbody></table>'


def digits(value: float) -> str:
    """A number with eight significant digits."""
    return f"{value:.8g}".replace("-", "−")


def small(value: float) -> str:
    """A difference: its power of ten is what matters."""
    if math.isnan(value):
        return ""
    return "0" if value == 0.0 else f"{value:.0e}".replace("e-0", "e-").replace("-", "−").replace("e+00", "")
