"""Cross-level interactions of a fitted model: simple slopes, and where along the moderator they differ from zero."""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.analysis.levels import CrossLevelTerm
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.johnson_neyman import JohnsonNeyman, johnson_neyman
from crosslevel.estimators.marginal_setting import focal_of, setting_of
from crosslevel.estimators.marginal_table import Margins
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.representative import FEW
from crosslevel.estimators.slopes import slopes


@dataclass(frozen=True, kw_only=True, eq=False)
class Moderation:
    """One cross-level interaction.

    Attributes
    ----------
    term : the interaction.
    slopes : the effect of the predictor within clusters at values of the moderator.
    regions : where along the moderator the effect differs from zero; by category if the predictor has several.
    by_spread : whether the values are the moderator's mean and one standard deviation on either side.
    no_regions : why there are none; empty if there are.
    """

    term: CrossLevelTerm
    slopes: Margins = field(repr=False)
    regions: tuple[JohnsonNeyman, ...] = field(repr=False)
    by_spread: bool
    no_regions: str


def moderation(fit: MixedFit, term: CrossLevelTerm, *, level: float = 0.95) -> Moderation:
    """Simple slopes and regions of significance of a cross-level interaction.

    Parameters
    ----------
    fit : the model.
    term : one of its cross-level interactions.
    level : confidence level.

    Raises
    ------
    CrosslevelError : the predictor or the moderator is itself a product of variables.
    """
    if ":" in term.slope or ":" in term.moderator:
        raise CrosslevelError(
            f"{term.text} is an interaction of more than two variables. Ask for its slopes by "
            "cl.slopes(analysis.selected, x, by=[...])."
        )
    slope, moderator = bare(term.slope), bare(term.moderator)
    simple = slopes(fit, slope, by=[moderator], level=level)
    setting = setting_of(fit, [slope, moderator], at="observed", over="auto")
    if setting.rows.inputs[setting.name_of(moderator, "z")].levels is not None:
        why = f"{moderator} has categories: the slopes are given for each of them, and there is nothing between."
        return Moderation(term=term, slopes=simple, regions=(), by_spread=False, no_regions=why)
    categories = focal_of(setting, slope).levels
    pairs = [None] if categories is None else [(category, categories[0]) for category in categories[1:]]
    regions = tuple(johnson_neyman(fit, slope, moderator, levels=pair, level=level) for pair in pairs)
    sampled = setting.sampled(setting.name_of(moderator, "z"))
    spread = len(np.unique(sampled.values)) > FEW
    return Moderation(term=term, slopes=simple, regions=regions, by_spread=spread, no_regions="")


def bare(term: str) -> str:
    """A column's name without the backquotes that a formula needs; other terms as they are.

    Examples
    --------
    >>> bare("`math score`"), bare("log(`math score`)")
    ('math score', 'log(`math score`)')
    """
    inside = term.removeprefix("`").removesuffix("`")
    return inside if "`" not in inside else term
