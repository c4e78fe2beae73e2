"""The equations of a multilevel model in letters: level by level, and all in one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A predictor as the equations need it.

    Attributes
    ----------
    name : of the design column, as "ses:sector[Catholic]".
    factors : the names it is the product of; none for the intercept.
    above : those of its factors that are constant within clusters.
    fixed : whether it has a fixed coefficient.
    random : whether it has a random coefficient.
    """

    name: str
    factors: tuple[str, ...]
    above: tuple[str, ...]
    fixed: bool
    random: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Coefficient:
    """A level-1 coefficient beta_k and the level-2 equation that explains it.

    Attributes
    ----------
    factors : of its level-1 predictor; none for the intercept.
    own : whether the equation has an intercept gamma_k0.
    moderators : factors of each cluster-level predictor of the equation.
    random : whether the equation has a random effect u_kj.
    """

    factors: tuple[str, ...]
    own: bool
    moderators: tuple[tuple[str, ...], ...]
    random: bool

    @property
    def name(self) -> str:
        """Whether it differs between clusters shows in the subscript."""
        return "β_{%dj}" if self.random or self.moderators else "β_{%d}"


def coefficients(parts: Sequence[Part]) -> list[Coefficient]:
    """The level-1 coefficients, the intercept first; cross-level interactions explain the slope they belong to."""
    placed = [(part, *place(part)) for part in parts]
    bases = dict.fromkeys([frozenset[str](), *(frozenset(base) for _, base, _ in placed)])
    return [
        Coefficient(
            factors=next((base for _, base, _ in placed if frozenset(base) == key), ()),
            own=any(part.fixed for part, base, moderators in placed if frozenset(base) == key and not moderators),
            moderators=tuple(moderators for _, base, moderators in placed if frozenset(base) == key and moderators),
            random=any(part.random for part, base, _ in placed if frozenset(base) == key),
        )
        for key in bases
    ]


def place(part: Part) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The level-1 predictor whose coefficient a part explains, and the cluster-level factors that explain it."""
    if part.random:
        return part.factors, ()
    below = tuple(name for name in part.factors if name not in part.above)
    return below, tuple(name for name in part.factors if name in part.above)


def product(factors: Sequence[str], index: str) -> str:
    """Variables with their subscript, multiplied."""
    return " × ".join(f"{name}_{{{index}}}" for name in factors)


def by_level(response: str, parts: Sequence[Part], left: str | None = None) -> tuple[list[str], list[str]]:
    """Write the model as equations of level 1 and of level 2.

    Parameters
    ----------
    response : name of the outcome.
    parts : all predictors, in the order of the coefficients.
    left : what the linear predictor is, in a model without residuals; None for the outcome, with residuals.

    Returns
    -------
    level_1 : y_ij = beta_0j + beta_1j x_ij + ... + r_ij.
    level_2 : one equation for each beta: its gammas, and u where it is random.

    Examples
    --------
    >>> one = Part(name="Intercept", factors=(), above=(), fixed=True, random=True)
    >>> z = Part(name="z", factors=("z",), above=("z",), fixed=True, random=False)
    >>> by_level("y", [one, z])
    (['y_{ij} = β_{0j} + r_{ij}'], ['β_{0j} = γ_{00} + γ_{01} z_{j} + u_{0j}'])
    """
    terms, level_2 = [], []
    for k, coefficient in enumerate(coefficients(parts)):
        right = gammas(k, coefficient) + ([f"u_{{{k}j}}"] if coefficient.random else [])
        if not right:
            continue
        name = coefficient.name % k
        terms.append(" ".join(filter(None, [name, factor_product(coefficient.factors)])))
        level_2.append(f"{name} = {' + '.join(right)}")
    return [_equation(f"{response}_{{ij}}", left, terms, "r_{ij}")], level_2


def _equation(response: str, left: str | None, terms: Sequence[str], residual: str) -> str:
    """The outcome with its residual, or what else the linear predictor is, as a sum of terms."""
    right = [*terms, residual] if left is None else list(terms)
    return f"{response if left is None else left} = {' + '.join(right) or '0'}"


def gammas(k: int, coefficient: Coefficient) -> list[str]:
    """The fixed part of a level-2 equation."""
    own = [f"γ_{{{k}0}}"] if coefficient.own else []
    return own + [
        f"γ_{{{k}{m}}} {product(moderators, 'j')}" for m, moderators in enumerate(coefficient.moderators, start=1)
    ]


def factor_product(factors: Sequence[str]) -> str:
    """A level-1 predictor; empty for the intercept."""
    return product(factors, "ij")


def in_one(response: str, parts: Sequence[Part], left: str | None = None) -> str:
    """Write the model as one equation: the level-2 equations put into that of level 1.

    Parameters
    ----------
    response : name of the outcome.
    parts : all predictors, in the order of the coefficients.
    left : see `by_level`.

    Examples
    --------
    >>> one = Part(name="Intercept", factors=(), above=(), fixed=True, random=True)
    >>> x = Part(name="x", factors=("x",), above=(), fixed=True, random=True)
    >>> in_one("y", [one, x])
    'y_{ij} = γ_{00} + γ_{10} x_{ij} + u_{0j} + u_{1j} x_{ij} + r_{ij}'
    """
    fixed, random = [], []
    for k, coefficient in enumerate(coefficients(parts)):
        predictor = factor_product(coefficient.factors)
        if coefficient.own:
            fixed.append(" ".join(filter(None, [f"γ_{{{k}0}}", predictor])))
        for m, moderators in enumerate(coefficient.moderators, start=1):
            fixed.append(f"γ_{{{k}{m}}} " + " × ".join(filter(None, [predictor, product(moderators, "j")])))
        if coefficient.random:
            random.append(" ".join(filter(None, [f"u_{{{k}j}}", predictor])))
    return _equation(f"{response}_{{ij}}", left, [*fixed, *random], "r_{ij}")


def equation_of(parts: Sequence[Part]) -> dict[str, tuple[int, ...]]:
    """The level-2 equation k to which each fixed coefficient belongs, by its name; (k,) or (k, m) for moderator m."""
    found: dict[frozenset[str], tuple[int, ...]] = {}
    for k, coefficient in enumerate(coefficients(parts)):
        found[frozenset(coefficient.factors)] = (k,)
        for m, moderators in enumerate(coefficient.moderators, start=1):
            found[frozenset((*coefficient.factors, *moderators))] = (k, m)
    return {part.name: found[frozenset(part.factors)] for part in parts if part.fixed}


def with_factors(
    response: str, parts: Sequence[Part], effects: Mapping[str, Sequence[str]], left: str | None = None
) -> list[str]:
    """Write a model with several grouping factors as one equation, with what is assumed of its random effects.

    Parameters
    ----------
    response : name of the outcome.
    parts : all predictors, in the order of the coefficients.
    effects : for each grouping factor the names of its random effects.
    left : see `by_level`.

    Examples
    --------
    >>> one = Part(name="Intercept", factors=(), above=(), fixed=True, random=True)
    >>> with_factors("y", [one], {"school": ["Intercept"], "pupil": ["Intercept"]})[:2]
    ['y = γ_{0} + u_{0}[school] + u_{0}[pupil] + r', 'u_{0}[school] ~ N(0, τ_{school})']
    """
    predictors = {part.name: " × ".join(part.factors) for part in parts}
    fixed = [part for part in parts if part.fixed]
    terms = [" ".join(filter(None, [f"γ_{{{k}}}", predictors[part.name]])) for k, part in enumerate(fixed)]
    assumed = []
    for group, names in effects.items():
        own = [f"u_{{{k}}}[{group}]" for k in range(len(names))]
        terms += [" ".join(filter(None, [u, predictors[name]])) for u, name in zip(own, names, strict=True)]
        joined, size = ", ".join(own), "τ" if len(own) == 1 else "T"
        assumed.append(f"{joined if len(own) == 1 else f'({joined})'} ~ N(0, {size}_{{{group}}})")
    return [_equation(response, left, terms, "r"), *assumed]


def of_effects(blocks: list[list[int]], known: list[str | None]) -> Iterator[str]:
    """What is assumed of the random effects of each block, by their numbers: N(0, T), or the matrix that is known."""
    for k, (block, given) in enumerate(zip(blocks, known, strict=True)):
        names = ", ".join(f"u_{{{m}j}}" for m in block)
        together = f"({names})" if len(block) > 1 else names
        own = f"τ_{{{block[0]}{block[0]}}}" if len(block) == 1 else "T" if len(blocks) == 1 else f"T_{{{k + 1}}}"
        yield f"{together} ~ N(0, {given or own})"
