"""The effect whose power is asked for, and where in a two-level model it belongs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.inference.equations import equations_of
from crosslevel.simulation.power.shape import KINDS, Kind, Shape
from crosslevel.simulation.power.variances import INTERCEPT

COMPONENT = re.compile(r"(sd|var)\(\s*(?P<effect>.+?)\s*\|\s*(?P<group>[^|]+?)\s*\)")
"""How a variance component is written."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A coefficient, or the variance of a random effect.

    Attributes
    ----------
    name : of the coefficient; "sd(x|country)" for a component.
    component : the random effect whose variance it is; None for a coefficient.
    shape : how its precision depends on the design.
    """

    name: str
    component: str | None
    shape: Shape = field(repr=False)

    @property
    def words(self) -> str:
        """What it is."""
        return KINDS[self.shape.kind]


def target_of(
    name: str | None,
    design: Design,
    *,
    effects: Mapping[str, float],
    given: Sequence[str],
    sd: Mapping[str, float],
    sigma: float,
    normal: bool,
    level: float,
) -> Target:
    """Find the target in a model.

    Parameters
    ----------
    name : as asked for; None for the only effect that was given.
    design : any data of the model, for its columns, equations and the spread of slopes' variables.
    effects : all coefficients.
    given : names of the coefficients whose effects were given.
    sd, sigma : standard deviations of the random effects and of the residuals.
    normal : whether tests are z tests.
    level : confidence level.

    Raises
    ------
    CrosslevelError : no or no unique such effect.
    """
    if name is None:
        candidates = [each for each in given if each != INTERCEPT]
        if len(candidates) != 1:
            said = f"`effects` has {', '.join(candidates)}" if candidates else "`effects` is empty"
            raise CrosslevelError(
                f"`target` names the effect whose power is wanted, and cannot be left out where {said}. It is one of "
                f"{', '.join(map(repr, effects))}, or a variance such as {_example(design)!r}."
            )
        name = candidates[0]
    found = COMPONENT.fullmatch(name.strip())
    if found:
        return _component(found["effect"], found["group"], design, sd=sd, sigma=sigma, level=level)
    if name not in effects:
        close = get_close_matches(name, list(effects), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise CrosslevelError(
            f"`target` is {name!r}, which is no effect of the model.{hint} It is one of "
            f"{', '.join(map(repr, effects))}, or a variance such as {_example(design)!r}."
        )
    return Target(name=name, component=None, shape=_shape(name, design, effects[name], sd, sigma, normal, level))


def _shape(
    name: str, design: Design, effect: float, sd: Mapping[str, float], sigma: float, normal: bool, level: float
) -> Shape:
    """The shape of a coefficient's precision."""
    equations = equations_of(design)
    names = list(design.fixed_names)
    p = len(names)
    number = int(equations.number[names.index(name)]) if name in names else -1
    if number < 0:
        return Shape(
            kind="rows", effect=effect, tau=0.0, sigma=sigma, spread=_spread(name, design), coefficients=p,
            normal=normal, level=level,
        )  # fmt: skip
    equation = equations.names[number]
    at_top = equation == INTERCEPT
    own = name == equation
    kind: Kind = ("intercept" if own else "context") if at_top else ("slope" if own else "interaction")
    return Shape(
        kind=kind, effect=effect, tau=float(sd.get(equation, 0.0)), sigma=sigma,
        spread=1.0 if at_top else _spread(equation, design), predictors=equations.predictors(number), coefficients=p,
        normal=normal, level=level,
    )  # fmt: skip


def _component(
    effect: str, group: str, design: Design, *, sd: Mapping[str, float], sigma: float, level: float
) -> Target:
    """A variance as target."""
    effect = INTERCEPT if effect == "1" else effect
    names = design.random_names
    if effect not in names or group != design.group:
        raise CrosslevelError(
            f"`target` is the variance of {effect!r} between {group!r}, which the model does not have. It has "
            f"{', '.join(repr(f'sd({each}|{design.group})') for each in names)}."
        )
    spread = 1.0 if effect == INTERCEPT else _spread(effect, design)
    shape = Shape(
        kind="component", effect=float(sd[effect]), tau=float(sd[effect]), sigma=sigma, spread=spread,
        coefficients=len(design.fixed_names), level=level,
    )  # fmt: skip
    return Target(name=f"sd({effect}|{design.group})", component=effect, shape=shape)


def _spread(column: str, design: Design) -> float:
    """Standard deviation of a design column within clusters."""
    products = design.products
    k = products.names.index(column)
    df = products.weight - len(products.count)
    variance = float(products.within[k, k]) / max(df, 1.0)
    return float(np.sqrt(variance)) if variance > 0.0 else 1.0


def _example(design: Design) -> str:
    return f"sd({design.random_names[-1]}|{design.group})"
