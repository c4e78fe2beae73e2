"""Straight lines and curves in sentences and tables."""

from typing import TYPE_CHECKING

import numpy as np

from crosslevel.diagnostics.diagnostic import Concern, sentence_blocks
from crosslevel.display import Column, Document, Table, fixed, number, p_statement

if TYPE_CHECKING:
    from crosslevel.diagnostics.residuals.linearity import Course, Linearity

STRONG = 0.2
"""Bend, in residual standard deviations, from which on a straight line misleads."""


def _curved(found: "Linearity") -> "list[Course]":
    """Predictors whose course is no straight line."""
    adjusted = found.frame["p_adjusted"].to_numpy()
    return [course for course, p in zip(found.courses, adjusted, strict=True) if p < 0.05]


def concern(found: "Linearity") -> Concern:
    """The light."""
    curved = _curved(found)
    if not curved:
        return "none"
    return "act" if any(course.bend >= STRONG for course in curved) else "look"


def sentences(found: "Linearity") -> tuple[str, ...]:
    """What each predictor does, and what to do."""
    curved = _curved(found)
    told = [_of_course(course, course in curved, found.unit) for course in found.courses]
    if curved:
        course = max(curved, key=lambda one: one.bend)
        told.append(
            f"Look at cl.plot.linearity. Let {course.name} act along a curve, as by bs({course.name}, df=4) or "
            f"I({course.name} ** 2), and tell results at several of its values (cl.slopes, cl.margins); interactions "
            "of predictors that act along curves are easily found where there are none."
        )
    return tuple(told)


def _of_course(course: "Course", curved: bool, unit: str) -> str:
    """One predictor in a sentence."""
    where = f" within clusters of {course.within}" if course.within else ""
    test = f"F({fixed(course.df_num, 0)}, {_df(course.df_den)}) = {fixed(course.statistic, 2)}"
    how = "acts along a curve" if curved else "shows no curve"
    return (
        f"{course.name}{where} {how} ({test}, {p_statement(course.p_value)}); it bends by {fixed(course.bend, 2)} "
        f"{unit} over the middle 90 % of its values."
    )


def _df(value: float) -> str:
    """Denominator degrees of freedom."""
    return fixed(value, 0) if np.isfinite(value) else "inf"


def write(found: "Linearity") -> Document:
    """The document."""
    rows = [
        [course.name, course.within or None, int(course.df_num), _df(course.df_den), number(course.statistic),
         fixed(course.bend, 2), course.p_value]
        for course in found.courses
    ]  # fmt: skip
    columns: list[str | Column] = [
        "Predictor", "Within", Column("df", align="right"), Column("df residual", align="decimal"),
        Column("F", align="decimal"), Column("Bend", align="decimal"), Column("p", format="p"),
    ]  # fmt: skip
    note = f"Test of a restricted cubic spline beside the straight line. Bend: in {found.unit}."
    blocks = [*sentence_blocks(found), Table(columns, rows, notes=[note])]
    return Document(f"Linearity of the predictors of {found.outcome}", blocks)
