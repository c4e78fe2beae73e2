"""The routine: first random slopes are dropped among uncorrelated ones, then correlations are searched.

Source: Heisig, Schaeffer & Giesecke (2017), American Sociological Review 82: 796-827, pp. 814-816, after Bates, Kliegl,
Vasishth & Baayen (2015), arXiv:1506.04967. Here the second step looks at every structure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, TypeAlias

from crosslevel.errors import CrosslevelError
from crosslevel.selection.criteria import Judge
from crosslevel.selection.search import Candidate, Report, Search, Unit
from crosslevel.selection.structures import RandomStructure, bell, partitions, splits
from crosslevel.selection.targets import target_structures
from crosslevel.solve import NEGLIGIBLE

Correlations: TypeAlias = Literal["exhaustive", "stepwise", "target", "full", "none"]
Components: TypeAlias = Literal["published", "curable", "off"]

MOST_STRUCTURES = 25_000
"""Structures that an exhaustive search looks at: 21,147 of nine effects, not the 115,975 of ten."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """How the routine goes.

    Attributes
    ----------
    components : what the principal components decide; see `select`.
    share : of the variance that counts as all of it.
    correlations : how the second step searches.
    """

    components: Components = "published"
    share: float = 1.0
    correlations: Correlations = "exhaustive"


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """One comparison of a baseline with its candidates.

    Attributes
    ----------
    step, number : 1 slopes or 2 correlations; the round of it.
    baseline : what was there.
    candidates : what it was compared with, and in step 1 the terms that these lack.
    best : the best of them; None if there are none.
    taken : whether the best became the next baseline.
    by_components : whether that was decided by the principal components.
    supported : number of principal components of the baseline that make up its variance.
    """

    step: int
    number: int
    baseline: Candidate
    candidates: tuple[tuple[Candidate, str], ...]
    best: Candidate | None
    taken: bool
    by_components: bool = False
    supported: int = 0

    @property
    def chosen(self) -> Candidate:
        """The next baseline."""
        return self.best if self.taken and self.best is not None else self.baseline


def run(search: Search, judge: Judge, rules: Rules, report: Report) -> list[Round]:
    """Both steps; the last round's `chosen` is the final structure."""
    slopes, left = drop_slopes(search, judge.slopes, rules, report)
    return [*slopes, *search_correlations(search, judge, rules, left, slopes[-1].chosen, report)]


def drop_slopes(search: Search, judge: Judge, rules: Rules, report: Report) -> tuple[list[Round], tuple[Unit, ...]]:
    """Step 1: drop one slope after the other, correlations fixed to zero.

    The best candidate without one slope becomes the baseline if the criterion prefers it, or if the baseline has fewer
    principal components than random effects.

    Returns
    -------
    rounds, and the terms that are left.
    """
    left = search.units
    rounds: list[Round] = []
    while True:
        baseline = _uncorrelated(search, left)
        going = [unit for unit in left if unit.may_go(left)]
        pairs: list[tuple[Candidate, str]] = []
        for unit in going:
            report("dropping slopes", len(pairs), len(going))
            pairs.append((_uncorrelated(search, [other for other in left if other is not unit]), unit.name))
            search.settle(baseline, pairs[-1][0])
        found = _slopes_round(judge, rules, baseline, tuple(pairs), number=len(rounds) + 1)
        if found.by_components and _waits(search, baseline, left):
            found = replace(found, taken=False, by_components=False)
        rounds.append(found)
        if not found.taken:
            return rounds, left
        gone = next(unit for unit, (candidate, _) in zip(going, pairs, strict=True) if candidate is found.best)
        left = tuple(unit for unit in left if unit is not gone)


def _uncorrelated(search: Search, units: Sequence[Unit]) -> Candidate:
    """The candidate with these terms, none correlated with another."""
    return search.candidate(search.structure([[unit] for unit in units]))


def _waits(search: Search, baseline: Candidate, left: Sequence[Unit]) -> bool:
    """Whether a slope without variance stays only because of an interaction that it is part of.

    Then components are lacking because of a rule that the published routine does not have.
    """
    return any(
        not unit.kept and not unit.may_go(left) and search.variance(baseline, unit.effects[0]) < NEGLIGIBLE**2
        for unit in left
    )


def _slopes_round(
    judge: Judge, rules: Rules, baseline: Candidate, pairs: tuple[tuple[Candidate, str], ...], *, number: int
) -> Round:
    """Compare a baseline with the candidates that lack one of its slopes."""
    supported = components_for(baseline, rules.share)
    candidates = [candidate for candidate, _ in pairs]
    best = judge.best(candidates, baseline) if candidates else None
    better = best is not None and judge.prefers(best, baseline)
    lacking = baseline.structure.n_effects - supported
    forced = best is not None and not better and lacking > 0 and rules.components != "off"
    if forced and rules.components == "curable":
        forced = any(one.structure.n_effects - components_for(one, rules.share) < lacking for one in candidates)
    return Round(
        step=1, number=number, baseline=baseline, candidates=pairs, best=best, taken=better or forced,
        by_components=forced, supported=supported,
    )  # fmt: skip


def components_for(candidate: Candidate, share: float) -> int:
    """How many principal components of the standardised random effects make up a share of their variance.

    Those whose standard deviation is negligible beside the residual's have no variance.
    """
    from crosslevel.estimators.random_rank import components_for as count

    return count(candidate.sdev, share)


def search_correlations(
    search: Search, judge: Judge, rules: Rules, left: tuple[Unit, ...], uncorrelated: Candidate, report: Report
) -> list[Round]:
    """Step 2: which of the effects that are left are correlated.

    Raises
    ------
    CrosslevelError : more structures than an exhaustive search can look at.
    """
    if rules.correlations == "none":
        return []
    blocks = _maximal_blocks(search, left)
    full = search.candidate(search.structure(blocks))
    if rules.correlations == "full":
        return [Round(step=2, number=1, baseline=full, candidates=(), best=None, taken=False)]
    if rules.correlations == "stepwise":
        return _stepwise(search, judge, blocks, report)
    if rules.correlations == "target":
        return _compared(search, judge, full, target_structures(search, left), report)
    n_structures = 1
    for block in blocks:
        n_structures *= bell(len(block))
    if n_structures > MOST_STRUCTURES:
        raise CrosslevelError(
            f"`correlations` is 'exhaustive', and the {len(left)} random effects that are left have {n_structures:,} "
            f"correlation structures; more than {MOST_STRUCTURES:,} are not searched. Write correlations='stepwise'."
        )
    structures = [
        search.structure([[block[i] for i in group] for block, own in zip(blocks, each, strict=True) for group in own])
        for each in product(*(list(partitions(len(block))) for block in blocks))
    ]
    return _compared(search, judge, full, structures, report)


def _compared(
    search: Search, judge: Judge, full: Candidate, structures: Sequence[RandomStructure], report: Report
) -> list[Round]:
    """One round of step 2: the full structure against others."""
    everything = search.candidates(structures, report, "searching correlations")
    _settle_all(search, everything)
    candidates = [candidate for candidate in everything if candidate is not full]
    if not candidates:
        return [Round(step=2, number=1, baseline=full, candidates=(), best=None, taken=False)]
    best = judge.best(candidates, full)
    return [
        Round(
            step=2, number=1, baseline=full, candidates=tuple((one, "") for one in candidates), best=best,
            taken=judge.prefers(best, full),
        )
    ]  # fmt: skip


def _settle_all(search: Search, candidates: Sequence[Candidate]) -> None:
    """Compare every structure with those in which two of its blocks are one, the simplest first."""
    by_structure = {candidate.structure: candidate for candidate in candidates}
    order = {name: k for k, name in enumerate(search.effects)}
    for candidate in sorted(candidates, key=lambda one: -len(one.structure.blocks)):
        for coarser in candidate.structure.joined(order):
            if coarser in by_structure:
                search.settle(by_structure[coarser], candidate)


def _maximal_blocks(search: Search, left: Sequence[Unit]) -> list[list[Unit]]:
    """The terms that are left, in the blocks of the maximal model."""
    out = []
    for block in search.maximal_structure.blocks:
        inside = [unit for unit in left if unit.effects[0] in block]
        if inside:
            out.append(inside)
    return out


def _stepwise(search: Search, judge: Judge, blocks: list[list[Unit]], report: Report) -> list[Round]:
    """Split one block in two as long as the criterion prefers it."""
    rounds: list[Round] = []
    while True:
        baseline, grouped = search.candidate(search.structure(blocks)), []
        for k, block in enumerate(blocks):
            for one, other in splits(range(len(block))) if len(block) > 1 else ():
                parts = [[block[i] for i in one], [block[i] for i in other]]
                grouped.append([*blocks[:k], *parts, *blocks[k + 1 :]])
        candidates = search.candidates([search.structure(groups) for groups in grouped], report, "splitting blocks")
        for candidate in candidates:
            search.settle(baseline, candidate)
        best = judge.best(candidates, baseline) if candidates else None
        found = Round(
            step=2, number=len(rounds) + 1, baseline=baseline, candidates=tuple((one, "") for one in candidates),
            best=best, taken=best is not None and judge.prefers(best, baseline),
        )  # fmt: skip
        rounds.append(found)
        if not found.taken:
            return rounds
        blocks = next(groups for groups, one in zip(grouped, candidates, strict=True) if one is best)
