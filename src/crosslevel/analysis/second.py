"""The formulas of a two-step regression that asks what a mixed model asks."""

from crosslevel.analysis.question import Question
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit


def second_of(question: Question, fit: MixedFit | GeneralizedFit) -> tuple[str, dict[str, str]]:
    """The first step, and the second steps by the coefficient that they explain.

    Predictors whose coefficients context does not explain are centred in the first step, so that its intercepts are
    those of the average row: there, context effects are what the mixed model says, although all slopes vary.

    Parameters
    ----------
    question : which terms are of which level.
    fit : a mixed model of the same fixed effects, whose columns name the slopes.
    """
    levels = question.levels
    second = {"Intercept": " + ".join(levels.context) or "1"}
    for slope in levels.moderated:
        right = " + ".join(term.moderator for term in levels.cross if term.slope == slope)
        second |= {name: right for name in levels.columns_of(slope, fit.design)}
    terms = [term if term in levels.moderated else centred(term, fit) for term in levels.candidates]
    return f"{levels.response} ~ {' + '.join(terms) or '1'}", second


def centred(term: str, fit: MixedFit | GeneralizedFit) -> str:
    """A term whose columns have a mean of zero, where it is one column of the data: a number, or a category."""
    columns = fit.design.columns
    name = term.strip("`")
    if name not in columns.names:
        return term
    return f"center({term})" if columns.is_numeric(name) else f"wec({term})"
