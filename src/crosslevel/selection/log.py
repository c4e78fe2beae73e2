"""The search in words, as a methods section tells it."""

from typing import TYPE_CHECKING

import numpy as np

from crosslevel.display import fixed
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.selection.averaging import average_words
from crosslevel.selection.routine import Round
from crosslevel.selection.search import Candidate, Searchable
from crosslevel.selection.structures import RandomStructure

if TYPE_CHECKING:
    from crosslevel.selection.record import Selection


def log_of(selection: "Selection") -> str:
    """What `Selection.log` says; see there."""
    slopes = [found for found in selection.rounds if found.step == 1]
    correlations = [found for found in selection.rounds if found.step == 2]
    parts = [_beginning(selection), _first_step(selection, slopes)]
    parts += [_second_step(selection, correlations)] if correlations else [_no_second_step()]
    parts += [_end(selection), *([average_words(selection)] if selection.average else []), *selection.notes]
    return "\n\n".join(parts)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Examples
    --------
    >>> counted(1, "correlation"), counted(21, "correlation")
    ('1 correlation', '21 correlations')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: list[str]) -> str:
    """Names with commas, and "and" before the last.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def in_words(structure: RandomStructure) -> str:
    """Which effects are correlated.

    Examples
    --------
    >>> in_words(RandomStructure(blocks=(("Intercept", "x"), ("w",), ("v",))))
    'Intercept and x are correlated; w and v are uncorrelated with each other and with these'
    >>> in_words(RandomStructure(blocks=(("Intercept",), ("x",))))
    'none of Intercept and x are correlated'
    >>> in_words(RandomStructure(blocks=(("Intercept", "x"),)))
    'Intercept and x are correlated'
    """
    together = [listed(list(block)) for block in structure.blocks if len(block) > 1]
    alone = [block[0] for block in structure.blocks if len(block) == 1]
    if not together:
        return f"none of {listed(alone)} are correlated" if len(alone) > 1 else f"{alone[0]} is the only random effect"
    parts = [f"{names} are correlated" for names in together]
    if alone:
        others = " each other and with" if len(alone) > 1 else ""
        parts.append(f"{listed(alone)} {'are' if len(alone) > 1 else 'is'} uncorrelated with{others} these")
    return "; ".join(parts)


def _beginning(selection: "Selection") -> str:
    """What was searched, how, and what could not go."""
    maximal, search = selection.maximal, selection.search
    factor, structure = maximal.design.factors[search.place], search.maximal_structure
    first, second = selection.criterion_in(1), selection.criterion_in(2)
    judged = f"Models were compared by {first.description}"
    if second is not first:
        judged += f", in step 1, and in step 2 by {second.description}"
    kept = [f"{unit.name} ({unit.kept})" for unit in search.units if unit.kept]
    never = f" Never dropped: {'; '.join(kept)}." if kept else ""
    return (
        f"The random effects of {factor.name} ({counted(factor.n_levels, 'cluster')}, {counted(maximal.nobs, 'row')}) "
        "were searched with the two-step routine of Heisig, Schaeffer and Giesecke (2017), starting from the maximal "
        f"model {maximal.formula} with {counted(structure.n_effects, 'random effect')} and "
        f"{counted(structure.n_correlations, 'correlation')}. {judged}. All models were fitted by "
        f"{maximal.method.upper()}{_integrated(maximal)}.{never}"
    )


def _integrated(maximal: Searchable) -> str:
    """How random effects were integrated out, where that is an approximation."""
    if not isinstance(maximal, GeneralizedFit):
        return ""
    nodes = maximal.quadrature.nodes
    how = "the Laplace approximation" if nodes == 1 else f"adaptive quadrature with {nodes} nodes per random effect"
    return f" ({maximal.family.description}; {how})"


def _first_step(selection: "Selection", rounds: list[Round]) -> str:
    """Step 1."""
    title = selection.criterion_in(1).title
    start, last = rounds[0], rounds[-1]
    out = [
        "Step 1, which slopes vary (correlations fixed to zero). The first baseline has "
        f"{counted(start.baseline.structure.n_effects, 'random effect')}{_valued(selection, start, start.baseline)}."
    ]
    out += [_dropped(selection, found) for found in rounds if found.taken]
    if not last.candidates:
        out.append("Nothing else could be dropped.")
    elif last.best is not None:
        name = next(dropped for candidate, dropped in last.candidates if candidate is last.best)
        out.append(
            f"{'Then no other slope' if len(rounds) > 1 else 'No slope'} was dropped: the best candidate, without "
            f"{name}, has a {title} of {_number(selection, last, last.best)}, and the baseline's "
            f"{counted(last.baseline.structure.n_effects, 'random effect')} have "
            f"{counted(last.supported, 'principal component')}."
        )
    return " ".join(out)


def _dropped(selection: "Selection", found: Round) -> str:
    """One slope that was dropped."""
    assert found.best is not None
    name = next(dropped for candidate, dropped in found.candidates if candidate is found.best)
    among = f"of {counted(len(found.candidates), 'candidate')}"
    title = selection.criterion_in(1).title
    value = _number(selection, found, found.best)
    if found.by_components:
        return (
            f"The slope of {name} was dropped ({among}) although the {title} became no better ({value}), since the "
            f"baseline's {counted(found.baseline.structure.n_effects, 'random effect')} had "
            f"{counted(found.supported, 'principal component')}."
        )
    return f"The slope of {name} was dropped (best {among}; {title} {value})."


def _no_second_step() -> str:
    """Where correlations are not searched."""
    return "Step 2, correlations: not searched; they stay fixed to zero."


def _second_step(selection: "Selection", rounds: list[Round]) -> str:
    """Step 2."""
    start, chosen = rounds[0], rounds[-1].chosen
    title = selection.criterion_in(2).title
    if len(rounds) == 1 and not start.candidates:
        return f"Step 2, correlations: there was nothing to choose; {in_words(chosen.structure)}."
    n_models = sum(len(found.candidates) for found in rounds) + 1
    every = "Both" if n_models == 2 else f"All {n_models:,}"
    how = {
        "exhaustive": f"{every} correlation structures of the remaining effects were fitted",
        "target": f"{n_models:,} structures were fitted, which differ in what the effects of the context variables' "
        "equations are correlated with",
        "stepwise": f"Blocks of correlated effects were split in two as long as that was better, {n_models:,} models",
    }[selection.rules.correlations]
    value, full = _number(selection, rounds[-1], chosen), _number(selection, start, start.baseline)
    if chosen is start.baseline:
        rest = f"None has a better {title} than the one with all correlations"
    elif selection.criterion_in(2).name == "lrt":
        rest = f"The simplest that is not rejected against the one with all correlations has a {title} of {value}"
    else:
        rest = f"The best has a {title} of {value}, against {full} with all correlations"
    return f"Step 2, which of them are correlated. {how}. {rest}: {in_words(chosen.structure)}."


def _end(selection: "Selection") -> str:
    """The final model."""
    structure = selection.structure
    looked_at = {candidate for found in selection.rounds for candidate, _ in ((found.baseline, ""), *found.candidates)}
    n_fitted = len(looked_at | {selection.search.candidate(selection.search.maximal_structure)})
    return (
        f"The final model is {selection.formula}, with {counted(structure.n_effects, 'random effect')} and "
        f"{counted(structure.n_correlations, 'correlation')}. {counted(n_fitted, 'model')} were fitted in all, each to "
        "the same rows."
    )


def _valued(selection: "Selection", found: Round, candidate: Candidate) -> str:
    """A candidate's criterion as part of a sentence, where it has a value of its own."""
    value = selection.judge_in(found.step).value(candidate, found.baseline)
    return "" if np.isnan(value) else f" and a {selection.criterion_in(found.step).title} of {shown(value)}"


def _number(selection: "Selection", found: Round, candidate: Candidate) -> str:
    """A candidate's criterion."""
    return shown(selection.judge_in(found.step).value(candidate, found.baseline))


def shown(value: float) -> str:
    """A criterion with the decimals that its size deserves.

    Examples
    --------
    >>> shown(46393.5739), shown(1.01738), shown(2.3e-9)
    ('46393.6', '1.017', '2.3e-09')
    """
    if 0.0 < abs(value) < 5e-4:
        return f"{value:.2g}"
    return fixed(value, 3 if abs(value) < 100.0 else 1)
