"""Which effects are correlated with that of a context effect: structures that differ in nothing else.

How precisely a context effect is estimated depends on which other effects its own is correlated with, since it is
adjusted for those. Whether the others are correlated among themselves matters little, and nothing if clusters are
large. So the structures worth looking at are, with k other effects, 2^k instead of the Bell number of k + 1.
"""

from collections.abc import Sequence
from itertools import combinations

from crosslevel.design import equations
from crosslevel.design.levels import Equation
from crosslevel.errors import CrosslevelError
from crosslevel.selection.search import Search, Unit
from crosslevel.selection.structures import RandomStructure

MOST_OTHERS = 12
"""Other effects of which all subsets are looked at, 4,096."""


def target_effects(search: Search) -> tuple[str, ...]:
    """For each context effect, the name of the random effect of its equation.

    Raises
    ------
    CrosslevelError : there is no context effect, or one whose equation has no random effect.
    """
    found, names = equations(search.design), search.design.fixed_names
    if not search.context:
        raise CrosslevelError(
            "There is no context effect to focus on: `formula` has no predictor that is constant within the clusters "
            f"of {search.design.factors[search.place].name}. Add one, or choose a criterion of fit such as 'bic'."
        )
    out = []
    for i in search.context:
        effect = _random_effect(search, found[i])
        if effect is None:
            raise CrosslevelError(
                f"`context` has {names[i]!r}, and the coefficient that it explains does not vary between clusters in "
                "`formula`. Give it a random effect, or leave this context effect out."
            )
        out.append(effect)
    return tuple(out)


def _random_effect(search: Search, equation: Equation | None) -> str | None:
    """Name of the random effect of an equation, None if it has none."""
    factor = search.design.factors[search.place]
    if equation is None or equation.factor != search.place:
        return None
    if equation.effect is not None:
        return search.effects[equation.effect]
    return next((search.effects[e] for e, z in enumerate(factor.z) if z == search.design.constant), None)


def target_structures(search: Search, left: Sequence[Unit]) -> tuple[RandomStructure, ...]:
    """Structures of the effects that are left, in which some are correlated with a target and no others are.

    Blocks of the maximal model are not joined: only effects of the target's block can be correlated with it.

    Raises
    ------
    CrosslevelError : no target, or too many other effects.
    """
    out: dict[RandomStructure, None] = {}
    for target in dict.fromkeys(target_effects(search)):
        own = next(unit for unit in left if target in unit.effects)
        block = next(names for names in search.maximal_structure.blocks if target in names)
        others = [unit for unit in left if unit is not own and unit.effects[0] in block]
        if len(others) > MOST_OTHERS:
            raise CrosslevelError(
                f"`correlations` is 'target', and {len(others)} effects can be correlated with that of {target}; at "
                f"most {MOST_OTHERS} are searched. Write correlations='stepwise', or keep fewer slopes."
            )
        for size in range(len(others) + 1):
            for chosen in combinations(others, size):
                rest = [unit for unit in left if unit is not own and unit not in chosen]
                out[search.structure([[own, *chosen], *([unit] for unit in rest)])] = None
    return tuple(out)
