"""What a search is asked: which model, which random effects are never dropped, which effects are followed."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from crosslevel.design import Design, equations, slopes_explained
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.generalized.likelihoods import require_likelihood
from crosslevel.estimators.generalized.random_tests import refuse_prior
from crosslevel.inference.df import m_l_1
from crosslevel.inference.removal import is_separable
from crosslevel.selection.search import Search, Searchable, Unit

INTERCEPT = "the random intercept stays, whatever the criterion says of it"


def build_search(
    maximal: Searchable,
    *,
    keep: Sequence[str] | str | None,
    keep_intercept: bool = True,
    context: Sequence[str] | str | None,
    group: str | None,
    seed: int | None = None,
    alpha: float = 0.05,
    folds: int | None = None,
) -> Search:
    """What a search works with, from the arguments of `select`.

    Raises
    ------
    CrosslevelError : a wrong argument; the message says what to do.
    """
    place = _place(maximal.design, group)
    check_clusters(maximal, place)
    units = _units(maximal.design, place, _names(keep, "keep"), keep_intercept=bool(keep_intercept))
    chosen = _context(maximal.design, place, None if context is None else _names(context, "context"))
    _check_context(maximal, chosen)
    check_numbers(maximal, place, seed=seed, alpha=alpha, folds=folds)
    return Search(
        maximal=maximal, place=place, units=units, context=chosen, seed=seed, alpha=float(alpha), folds=folds
    )  # fmt: skip


def check_numbers(maximal: Searchable, place: int, *, seed: object, alpha: object, folds: object) -> None:
    """Refuse numbers that mean nothing.

    Raises
    ------
    CrosslevelError : with what is meant.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.floating) or not 0.0 < alpha < 1.0:
        raise CrosslevelError(f"`alpha` is the level of tests, between 0 and 1; got {alpha!r}.")
    n_clusters = maximal.design.factors[place].n_levels
    if folds is not None and (
        isinstance(folds, bool) or not isinstance(folds, int | np.integer) or not 2 <= folds <= n_clusters
    ):
        raise CrosslevelError(
            f"`folds` is a number of parts of the clusters, from 2 to {n_clusters} (each cluster by itself); got "
            f"{folds!r}."
        )
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0):
        raise CrosslevelError(f"`seed` is a whole number, 0 or more; got {seed!r}.")


def check_maximal(maximal: Searchable) -> None:
    """Refuse models whose candidates cannot be compared by their likelihood.

    Raises
    ------
    CrosslevelError : sampling weights, or no random effects; of other families estimates that maximise no likelihood.
    """
    if isinstance(maximal, GeneralizedFit):
        require_likelihood(maximal, "`select`")
        refuse_prior(maximal, "`select`")
    if maximal.design.is_sampled:
        raise CrosslevelError(
            "`weights` are sampling weights: what they maximise is no likelihood, and criteria that compare models by "
            "their likelihood are not defined. Search without weights, with the variables that the design used as "
            "predictors; then fit the chosen model with weights."
        )
    if not maximal.design.factors:
        raise CrosslevelError(
            "`formula` has no random effects, so that there is no structure to search. Add a term such as (x | school)."
        )


def check_clusters(maximal: Searchable, place: int) -> None:
    """Refuse structures whose effects are tied: effects cannot be taken out one by one.

    Raises
    ------
    CrosslevelError : such a structure, or one that is known.
    """
    for kind in maximal.design.factors[place].structure.kinds:
        if kind.fixed or not is_separable(kind):
            name = maximal.design.factors[place].name
            raise CrosslevelError(
                f"`formula` ties the random effects of {name} by a structure such as cs(...) or ar1(...), whose "
                "effects cannot be dropped one by one. Write the maximal model with (x1 + x2 | g) or blocks(...)."
            )


def _place(design: Design, group: str | None) -> int:
    """Position of the grouping factor that is searched.

    Raises
    ------
    CrosslevelError : none of this name, or several that have slopes.
    """
    names = [factor.name for factor in design.factors]
    if group is not None:
        if group not in names:
            raise CrosslevelError(f"`group` is one of {', '.join(map(repr, names))}; got {group!r}.")
        return names.index(group)
    with_slopes = [k for k, factor in enumerate(design.factors) if factor.structure.q > 1]
    if len(with_slopes) > 1:
        found = ", ".join(repr(names[k]) for k in with_slopes)
        raise CrosslevelError(
            f"`formula` has random slopes of several grouping factors, {found}; one is searched at a time. "
            f"Name it, as in group={names[with_slopes[0]]!r}."
        )
    return with_slopes[0] if with_slopes else 0


def _names(given: Sequence[str] | str | None, argument: str) -> tuple[str, ...]:
    """Names as a tuple; one name may stand for itself.

    Raises
    ------
    CrosslevelError : something else than names.
    """
    listed = () if given is None else given if isinstance(given, Iterable) else (given,)
    names = (given,) if isinstance(given, str) else tuple(listed)
    if not all(isinstance(name, str) for name in names):
        raise CrosslevelError(f"`{argument}` is a list of names; got {given!r}.")
    return names


def _units(design: Design, place: int, keep: tuple[str, ...], *, keep_intercept: bool) -> tuple[Unit, ...]:
    """The terms of the random effects, with why some are never dropped.

    Raises
    ------
    CrosslevelError : `keep` names what is no random slope.
    """
    factor = design.factors[place]
    terms: dict[tuple[str, ...], list[int]] = {}
    for e, column in enumerate(factor.z):
        terms.setdefault(term_of(design, int(column)), []).append(e)
    effects, explained = design.effects_of(factor), slopes_explained(design, place)
    reasons: dict[tuple[str, ...], str] = {term: INTERCEPT for term in terms if not term and keep_intercept}
    for i, e in enumerate(explained):
        if e >= 0:
            term = term_of(design, int(factor.z[e]))
            reasons.setdefault(term, f"part of the cross-level interaction {design.fixed_names[i]}")
    for name in keep:
        found = [term for term, own in terms.items() if name == ":".join(term) or name in [effects[e] for e in own]]
        if not found or not found[0]:
            slopes = ", ".join(repr(":".join(term)) for term in terms if term) or "none"
            raise CrosslevelError(
                f"`keep` names random slopes of {factor.name}; got {name!r}. The slopes of `formula`: {slopes}."
            )
        reasons.setdefault(found[0], "asked for by `keep`")
    return tuple(
        Unit(
            name=":".join(term) or "Intercept", effects=tuple(effects[e] for e in own), factors=term,
            kept=reasons.get(term, ""),
        )
        for term, own in terms.items()
    )  # fmt: skip


def term_of(design: Design, column: int) -> tuple[str, ...]:
    """Components of the term that a design column belongs to, without the levels of categories; none: the intercept."""
    return tuple(re.sub(r"\[[^\[\]]*\]$", "", name) for name in design.spec.columns[column].factors)


def _context(design: Design, place: int, names: tuple[str, ...] | None) -> tuple[int, ...]:
    """Positions among the coefficients of the context effects.

    Raises
    ------
    CrosslevelError : a name of something else.
    """
    explained = slopes_explained(design, place)
    found = equations(design)
    effects = [
        i
        for i, j in enumerate(design.x)
        if j != design.constant
        and (explained[i] >= 0 or design.constant_within[place, j])
        and (found[i] is None or found[i].factor == place)  # type: ignore[union-attr]
    ]
    if names is None:
        return tuple(effects)
    out: list[int] = []
    for name in names:
        own = [i for i in effects if name in _known_as(design, i)]
        if not own:
            raise CrosslevelError(_no_context(design, place, effects, name))
        out += [i for i in own if i not in out]
    return tuple(out)


def _known_as(design: Design, i: int) -> set[str]:
    """What a coefficient may be called: its name, its factors, its variables."""
    column = design.spec.columns[design.x[i]]
    return {column.name, *column.factors, *column.variables, ":".join(term_of(design, int(design.x[i])))}


def _no_context(design: Design, place: int, effects: list[int], name: str) -> str:
    """What is wrong with the name of a context effect, in words."""
    group = design.factors[place].name
    listed = ", ".join(repr(design.fixed_names[i]) for i in effects) or "none"
    if any(name in _known_as(design, i) for i in range(len(design.x))):
        return (
            f"`context` names {name!r}, which varies within the clusters of {group}: it is no context effect. Name a "
            f"variable that is constant within them, such as between({name}, {group}). Context effects of `formula`: "
            f"{listed}."
        )
    return f"`context` names {name!r}, which is no coefficient or variable of `formula`. Its context effects: {listed}."


def _check_context(maximal: Searchable, context: tuple[int, ...]) -> None:
    """Refuse more context variables than the clusters can bear.

    Raises
    ------
    CrosslevelError : no degrees of freedom are left for a context effect.
    """
    df = m_l_1(maximal.estimates)
    poor = [i for i in context if not df[i] >= 1.0]
    if poor:
        equations_ = maximal.equations
        place = int(equations_.number[poor[0]])
        n_clusters = equations_.n_clusters[place]
        raise CrosslevelError(
            f"`formula` has {equations_.predictors(place)} cluster-level predictors of {equations_.names[place]} and "
            f"{n_clusters} clusters: no degrees of freedom are left. Keep at most {max(n_clusters - 2, 0)} of them, "
            "better one for every ten clusters."
        )


def is_overfull(maximal: Searchable, place: int) -> bool:
    """Whether the maximal model has no fewer random effects than clusters, so that it must be singular."""
    factor = maximal.design.factors[place]
    return bool(factor.structure.q >= factor.n_levels)


def has_many_parameters(maximal: Searchable, place: int) -> bool:
    """Whether the maximal model has more variances and covariances than clusters."""
    factor = maximal.design.factors[place]
    return bool(np.greater(factor.structure.n_theta, factor.n_levels))
