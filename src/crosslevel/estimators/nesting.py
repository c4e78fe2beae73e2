"""Whether one fitted model is a special case of another, and by which parameters they differ."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from crosslevel.covariance import BlockStructure
from crosslevel.covariance.base import Covariance
from crosslevel.covariance.known import Fixed, Proportional
from crosslevel.covariance.tied import (
    Autoregressive,
    CompoundSymmetry,
    Heterogeneous,
    HeterogeneousAR1,
    HeterogeneousCS,
)
from crosslevel.design.factors import GroupingFactor
from crosslevel.design.submodel import Kept
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.same_rows import compare_rows
from crosslevel.inference.removal import is_separable
from crosslevel.residual import CAR1, By, Known, Unstructured
from crosslevel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed_fit import MixedFit

    AnyFit: TypeAlias = MixedFit | GeneralizedFit

RICHER = ((CompoundSymmetry, HeterogeneousCS), (Autoregressive, HeterogeneousAR1))
"""Covariance structures of which the first is a special case of the second."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Nesting:
    """By what a larger model differs from a smaller one.

    Attributes
    ----------
    n_fixed : coefficients more.
    same_fixed : whether the fixed parts span the same space, so that restricted likelihoods can be compared.
    log_basis : log|X'X| of the smaller model's columns less that of the larger's, if they span the same space: their
        restricted likelihoods differ by it, although the models do not.
    kept : for each factor of the larger model, the effects that the smaller one has.
    places : for each factor of the smaller model its position among the larger's, and those (q,) of its effects.
    free : covariance parameters of effects that both have, and residual parameters, which the smaller model fixes.
    edges : residual parameters that it fixes at the end of their range.
    """

    n_fixed: int
    same_fixed: bool
    log_basis: float
    kept: Kept
    places: tuple[tuple[int, IntArray], ...]
    free: int
    edges: int

    def factors(self, small: tuple[FloatArray, ...], large: tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
        """For each factor of the larger model (q, q) the smaller model's Lambda, zero where it has no effects."""
        out = [np.zeros_like(factor) for factor in large]
        for (k, places), factor in zip(self.places, small, strict=True):
            out[k][np.ix_(places, places)] = factor
        return tuple(out)


def nesting(small: "AnyFit", large: "AnyFit") -> Nesting:
    """Compare two fits to the same rows.

    Raises
    ------
    CrosslevelError : different rows or outcomes, or the first is no special case of the second; says what differs.
    """
    fixed = compare_rows(small, large)
    matched = [_matching(factor, small, large) for factor in small.design.factors]
    free = 0
    kept: list[tuple[int, ...]] = [() for _ in large.design.factors]
    places = []
    for factor, k in zip(small.design.factors, matched, strict=True):
        whole = large.design.factors[k]
        place = _effects(small.design.effects_of(factor), large.design.effects_of(whole), factor.name)
        free += _blocks(factor.structure, place, whole.structure, factor.name)
        kept[k] = tuple(sorted(int(e) for e in place))
        places.append((k, place))
    for k, whole in enumerate(large.design.factors):
        if any(whole.structure.fixed[e] for e in range(whole.structure.q) if e not in kept[k]):
            raise _not_nested(f"random effects of {whole.name} with known covariance are in one model only")
    inside, edges = _residuals(small, large)
    return Nesting(
        n_fixed=fixed.n_more, same_fixed=fixed.same_span, log_basis=fixed.log_basis, kept=tuple(kept),
        places=tuple(places), free=free + inside, edges=edges,
    )  # fmt: skip


def _not_nested(what: str) -> CrosslevelError:
    """The error that says what keeps the first model from being a special case of the second."""
    return CrosslevelError(
        f"`lrtest` needs a first model that is a special case of the second, and {what}. "
        "Models that are not nested can be compared by AIC or BIC (`fit.aic`, `fit.bic`)."
    )


def _matching(factor: GroupingFactor, small: "AnyFit", large: "AnyFit") -> int:
    """Position of the larger model's factor that groups the rows as this one of the smaller model does."""
    for k, other in enumerate(large.design.factors):
        if sorted(other.group) != sorted(factor.group) or other.n_levels != factor.n_levels:
            continue
        mine, theirs = small.design.used_members(factor), large.design.used_members(other)
        if len(mine) == len(theirs) and all(_same_groups(*pair) for pair in zip(mine, theirs, strict=True)):
            return k
    raise _not_nested(f"the second has no random effects of {factor.name}")


def _same_groups(one: Any, other: Any) -> bool:
    """Whether rows (codes, shares) are grouped alike: names of levels may be in another order."""
    (codes, share), (theirs, their_share) = one, other
    if (share is None) != (their_share is None) or (share is not None and not np.array_equal(share, their_share)):
        return False
    if np.array_equal(codes, theirs):
        return True
    pairs = len(np.unique(codes.astype(np.int64) * (int(theirs.max()) + 2) + theirs))
    return pairs == len(np.unique(codes)) == len(np.unique(theirs))


def _effects(mine: tuple[str, ...], theirs: tuple[str, ...], group: str) -> IntArray:
    """Positions of the smaller model's effects among the larger's, by name."""
    alike = [_components(name) for name in theirs]
    lacking = [name for name in mine if _components(name) not in alike]
    if lacking:
        raise _not_nested(
            f"the second lacks the random effects of {', '.join(lacking)} of {group} (it has {', '.join(theirs)}; "
            "random effects are compared by name, so write them alike)"
        )
    return np.array([alike.index(_components(name)) for name in mine], dtype=np.int64)


def _components(name: str) -> frozenset[str]:
    """What an interaction multiplies: the order does not matter."""
    return frozenset(name.split(":"))


def _blocks(small: BlockStructure, place: IntArray, large: BlockStructure, group: str) -> int:
    """Covariance parameters of the effects that both models have which the smaller one fixes."""
    free = 0
    parts = [(kind, place[columns]) for kind, columns in zip(small.kinds, small.columns, strict=True)]
    for kind, columns in zip(large.kinds, large.columns, strict=True):
        own = [(some, effects) for some, effects in parts if np.isin(effects, columns).any()]
        stay = np.concatenate([np.zeros(0, dtype=np.int64), *(effects for _, effects in own)])
        if not own:
            continue
        if not np.isin(stay, columns).all():
            raise _not_nested(f"the first has covariances between random effects of {group} that the second lacks")
        if not _is_special_case(own, kind, columns):
            raise _not_nested(f"the covariance structures of the random effects of {group} are not nested")
        free += kind.n_theta(len(stay)) - sum(some.n_theta(len(effects)) for some, effects in own)
    return free


def _is_special_case(own: list[tuple[Covariance, IntArray]], kind: Covariance, columns: IntArray) -> bool:
    """Whether some blocks are a special case of one, a part of whose effects they have."""
    if kind.fixed or any(some.fixed for some, _ in own):
        return len(own) == 1 and _same_kind(own[0][0], kind) and np.array_equal(own[0][1], columns)
    if is_separable(kind):
        return kind.free or all(len(effects) == 1 for _, effects in own)
    whole = sum(len(effects) for _, effects in own) == len(columns)
    if len(own) > 1:  # uncorrelated
        return whole and isinstance(kind, Heterogeneous) and all(len(effects) == 1 for _, effects in own)
    some, effects = own[0]
    richer = any(isinstance(some, poor) and isinstance(kind, rich) for poor, rich in RICHER)
    return whole and np.array_equal(effects, columns) and (richer or _same_kind(some, kind))


def _same_kind(one: Covariance, other: Covariance) -> bool:
    """Whether two structures are the same, their known matrices included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Proportional | Fixed) and isinstance(other, Proportional | Fixed):
        return np.array_equal(one.matrix, other.matrix)
    return True


def _residuals(small: "AnyFit", large: "AnyFit") -> tuple[int, int]:
    """Residual parameters that the smaller model fixes: inside of their range, and at its end."""
    mine, theirs = small.given["residual"], large.given["residual"]
    if mine is None and theirs is None:
        return 0, 0
    if mine != theirs and not any(check(mine, theirs) for check in RESIDUAL_CASES):
        raise _not_nested(f"residual={mine!r} is no special case of residual={theirs!r}")
    linear = cast("tuple[MixedFit, MixedFit]", (small, large))
    more = len(linear[1].solution.phi) - len(linear[0].solution.phi)
    edges = int(isinstance(theirs, CAR1) and not isinstance(mine, CAR1))  # its correlations are positive
    return more - edges, edges


def _independent(mine: Any, theirs: Any) -> bool:
    """Independent residuals of one variance, in anything that estimates a residual variance."""
    return mine is None and theirs is not None and not isinstance(theirs, Known)


def _one_variance(mine: Any, theirs: Any) -> bool:
    """The same correlations with one variance, in those with variances by stratum."""
    return type(mine) is type(theirs) and getattr(theirs, "by", None) is not None and replace(theirs, by=None) == mine


def _only_variances(mine: Any, theirs: Any) -> bool:
    """Variances by stratum, in the same with correlations."""
    strata = theirs.occasion if isinstance(theirs, Unstructured) else getattr(theirs, "by", None)
    return isinstance(mine, By) and strata == mine.by


def _in_free(mine: Any, theirs: Any) -> bool:
    """Correlations that depend on occasions only, in free correlations of these occasions."""
    if not isinstance(theirs, Unstructured) or getattr(mine, "within", None) != theirs.within:
        return False
    times = getattr(mine, "time", theirs.occasion)
    return times == theirs.occasion and getattr(mine, "by", None) in (None, theirs.occasion)


RESIDUAL_CASES: tuple[Callable[[Any, Any], bool], ...] = (_independent, _one_variance, _only_variances, _in_free)
"""Ways in which one residual structure is a special case of another."""
