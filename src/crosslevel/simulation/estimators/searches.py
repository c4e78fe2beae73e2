"""Estimators whose random-effects structure is chosen from the data, as `cl.select` chooses it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.estimators.mixed import solve_design
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.averaging import averaged, smoothed_weights
from crosslevel.inference.df import DF_METHODS, df_method
from crosslevel.inference.estimates import Single
from crosslevel.optimise import Status
from crosslevel.selection.asked import build_search, check_maximal
from crosslevel.selection.averaging import HARDLY, check_weights, focus_values
from crosslevel.selection.chosen import chosen_fit
from crosslevel.selection.criteria import Criterion, Information, Judge
from crosslevel.selection.focus import FocusJudge
from crosslevel.selection.registry import criterion_named
from crosslevel.selection.routine import Components, Correlations, Round, drop_slopes, run
from crosslevel.selection.search import Candidate, Search, Unit
from crosslevel.selection.select import rules_from
from crosslevel.simulation.estimators.bounded import Structures, all_groups, best_of, correlation_groups
from crosslevel.simulation.estimators.estimates import FormulaEstimator
from crosslevel.simulation.estimators.mixed import ALL
from crosslevel.simulation.estimators.mixed_ordinary import slow_intervals
from crosslevel.simulation.estimators.ordinary import Answer, Interval, OneByOne, check_kinds, ends, t_intervals
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.model import Model
from crosslevel.types import FloatArray, Method

if TYPE_CHECKING:
    from crosslevel.simulation.processes.process import Process

KEPT = 32
"""Replications of a batch whose searches are kept for other estimators of the same maximal model."""

Key: TypeAlias = tuple[object, ...]

_SEARCHES: "WeakKeyDictionary[Drawn, dict[Key, Shared]]" = WeakKeyDictionary()
"""Searches of the data of a batch, as long as there is one: several estimators fit no structure twice."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shared:
    """A search among the structures of one replication, with what has judged them.

    Attributes
    ----------
    search : the maximal model and its candidates.
    judges : by criterion; those that look at more than the deviance remember it.
    """

    search: Search
    judges: dict[Criterion, Judge] = field(default_factory=dict)

    def judge(self, criterion: Criterion) -> Judge:
        """What compares the candidates."""
        if isinstance(criterion, Information):
            return criterion.judge(self.search)
        if criterion not in self.judges:
            self.judges[criterion] = criterion.judge(self.search)
        return self.judges[criterion]


@dataclass(frozen=True, kw_only=True)
class Selected(FormulaEstimator):
    """A mixed model whose random-effects structure is chosen from the data, within a maximal model.

    Attributes
    ----------
    name : see `Estimator`.
    formula : of the maximal model.
    criterion : by which structures are compared, as of `cl.select`: "bic", "bic-clusters", "aic", "caic", "lrt", "cv",
        "focus", "focus-bootstrap".
    exhaustive : whether every structure of every set of slopes is compared, in one step, by an information criterion
        (BIC or AIC); otherwise slopes are dropped first, and then correlations, as `cl.select` does.
    correlations, components : as of `cl.select`.
    keep : random slopes that are never dropped, beside those in cross-level interactions.
    context : context effects that a search by focus looks at; those among the terms of the study if None.
    average : None for the estimates of the structure that is chosen; or the name of a criterion that weights the
        structures of the second step, whose estimates are averaged with weights exp(-value / 2); see `cl.select`.
    intervals : kinds of intervals of the chosen model, as of `Mixed`; of averages, those of Buckland, Burnham &
        Augustin (1997) with the degrees of freedom of these methods.
    folds, alpha, method : as of `cl.select`.

    Notes
    -----
    Criteria that draw random numbers draw the same ones in each replication, those of seed 0: clusters are
    exchangeable. Standard errors do not know of the choice; those of averages do. Several estimators with the same
    maximal model fit no structure of a replication twice.

    Examples
    --------
    >>> import crosslevel as cl
    >>> chosen = cl.lab.Selected(name="BIC", formula="y ~ x1 + x2 + z + (x1 + x2 | g)", criterion="bic")
    >>> chosen.interval_names
    ('m-l-1', 'growth-curve')
    """

    criterion: str | Criterion = "bic"
    exhaustive: bool = False
    correlations: Correlations | None = None
    components: Components = "published"
    keep: tuple[str, ...] = ()
    context: tuple[str, ...] | None = None
    average: str | None = None
    intervals: tuple[str, ...] = ("m-l-1", "growth-curve")
    folds: int | None = None
    alpha: float = 0.05
    method: Method = "reml"

    @property
    def interval_names(self) -> tuple[str, ...]:
        """See `Estimator`."""
        return tuple(self.intervals)

    def prepare(self, process: "Process", terms: Sequence[str], level: float) -> "PreparedSearch":
        """See `Estimator`.

        Raises
        ------
        CrosslevelError : the criterion does not go with what is asked for, or the model has nothing to search.
        """
        check_kinds(self.intervals, ALL if self.average is None else DF_METHODS)
        return PreparedSearch(
            asked=self, model=Model.of(process, self.formula, method=self.method), terms=terms, level=level
        )


class PreparedSearch(OneByOne):
    """A search among the structures of each replication.

    Attributes
    ----------
    asked : what is searched and how.
    criterion, weighing : of the choice, and of averages (None without them).
    rules : how the routine goes.
    context : the context effects that are followed, None for all.
    structures : all of them, for a search in one step.
    """

    def __init__(self, *, asked: Selected, model: Model, terms: Sequence[str], level: float) -> None:
        super().__init__(model=model, terms=terms, interval_names=asked.interval_names, level=level)
        self.asked = asked
        self.criterion = criterion_named(asked.criterion)
        self.weighing = None if asked.average is None else criterion_named(asked.average)
        correlations = self.criterion.correlations if asked.correlations is None else asked.correlations
        self.rules = rules_from(asked.components, 1.0, correlations)
        self.context: tuple[str, ...] | None = asked.context
        example = self._example()
        if self.context is None:
            known = [example.design.fixed_names[i] for i in example.context]
            self.context = tuple(term for term in self.terms if term in known) or None
        self._check(example)
        self.structures = Structures.of(example, all_groups(example)) if asked.exhaustive else None
        self._by_left: dict[tuple[str, ...], Structures] = {}

    def _example(self) -> Search:
        """A search among the structures of the model of a few rows."""
        design = self.model.template
        fit = MixedFit(
            formula=self.model.formula, data=self.model.frame, given=self.model.given, design=design,
            solution=solve_design(design, self.model.given),
        )  # fmt: skip
        check_maximal(fit)
        return self._search(fit)

    def _check(self, example: Search) -> None:
        """Refuse what does not go together.

        Raises
        ------
        CrosslevelError : with what to do.
        """
        asked = self.asked
        if asked.exhaustive and not isinstance(self.criterion, Information):
            raise CrosslevelError(
                f"`exhaustive` compares all structures by an information criterion ('bic', 'bic-clusters', 'aic'), and "
                f"`criterion` is {self.criterion.name!r}. Write exhaustive=False."
            )
        if self.weighing is not None and asked.exhaustive:
            raise CrosslevelError("`average` is over the structures of a second step. Write exhaustive=False.")
        if self.weighing is not None:
            check_weights(self.weighing, self.weighing.judge(example))
            if self.context is not None and not set(self.terms) <= set(self.context):
                raise CrosslevelError(
                    f"`average` is of context effects, {', '.join(self.context)}; the study's terms are "
                    f"{', '.join(self.terms)}. Follow those alone, or write average=None."
                )
        self.criterion.judge(example)

    def _search(self, maximal: MixedFit) -> Search:
        """A search among the structures of one replication."""
        return build_search(
            maximal, keep=self.asked.keep, context=self.context, group=None, alpha=self.asked.alpha,
            folds=self.asked.folds,
        )  # fmt: skip

    def shared(self, drawn: Drawn, r: int) -> Shared:
        """The same of a replication; candidates that another estimator has fitted are there already."""
        asked = self.asked
        key = (self.model.formula, asked.method, asked.keep, self.context, asked.alpha, asked.folds, r)
        known = _SEARCHES.setdefault(drawn, {})
        if key in known:
            return known[key]
        design = self.model.design(drawn, r)
        # what counts is whether the chosen model converged, so that there is no warning about the maximal one
        maximal = MixedFit(
            formula=self.model.formula, data=self.model.frame, given=self.model.given, design=design,
            solution=solve_design(design, self.model.given),
        )  # fmt: skip
        found = Shared(search=self._search(maximal))
        if r < KEPT:
            known[key] = found
        return found

    # -- what is chosen -----------------------------------------------------------------------------------------------
    def answer(self, drawn: Drawn, r: int, seed: np.random.SeedSequence) -> Answer:
        """See `OneByOne`."""
        shared = self.shared(drawn, r)
        if self.weighing is None:
            return self._chosen(self.choice(shared))
        return self._average(shared, _compared(self._rounds(shared)))

    def choice(self, shared: Shared) -> Candidate:
        """The structure that is chosen."""
        search = shared.search
        if not isinstance(self.criterion, Information) or self.rules.correlations != "exhaustive":
            return self._rounds(shared)[-1].chosen
        price = self.criterion.penalty(search)
        left = drop_slopes(search, self.criterion.judge(search), self.rules, _silent)[1]
        routine = best_of(search, self._structures_of(search, left), price=price)
        # a good one to begin with spares most of the others
        return routine if self.structures is None else best_of(search, self.structures, price=price)

    def _rounds(self, shared: Shared) -> list[Round]:
        """Both steps of the routine."""
        return run(shared.search, shared.judge(self.criterion), self.rules, _silent)

    def _structures_of(self, search: Search, left: Sequence[Unit]) -> Structures:
        """All correlations of the slopes that are left."""
        names = tuple(unit.name for unit in left)
        if names not in self._by_left:
            self._by_left[names] = Structures.of(search, correlation_groups(search, left))
        return self._by_left[names]

    def _chosen(self, candidate: Candidate) -> Answer:
        """Estimates of a structure."""
        solution = candidate.solution
        if solution.status is not Status.CONVERGED:
            raise ConvergenceWarning(solution.status.value)
        low, high = ends(self._intervals(candidate), len(self.places))
        return Answer(
            estimate=solution.beta[self.places], std_error=np.sqrt(np.diag(solution.vcov))[self.places], low=low,
            high=high, singular=solution.is_singular,
        )  # fmt: skip

    def _intervals(self, candidate: Candidate) -> list[Interval]:
        """Intervals of a structure; those that need more than its estimates ask the fit."""
        quick = [name for name in self.interval_names if name in DF_METHODS]
        found = dict(zip(quick, t_intervals(candidate.estimates, quick, self.places, self.level), strict=True))
        slow = [name for name in self.interval_names if name not in DF_METHODS]
        if slow:
            fit = chosen_fit(candidate.search, candidate)
            assert isinstance(fit, MixedFit)
            low, high = slow_intervals(fit, slow, self.terms, self.level)
            found |= {name: (low[:, i], high[:, i]) for i, name in enumerate(slow)}
        return [found[name] for name in self.interval_names]

    # -- averages -----------------------------------------------------------------------------------------------------
    def _average(self, shared: Shared, candidates: Sequence[Candidate]) -> Answer:
        """Estimates averaged over structures."""
        search, weights = shared.search, self._weights(shared, candidates)
        some = np.flatnonzero(np.max(weights, axis=0) > HARDLY)
        chosen = [candidates[int(k)] for k in some]
        if any(candidate.solution.status is not Status.CONVERGED for candidate in chosen):
            raise ConvergenceWarning("A structure that counts in the average did not converge.")
        share = weights[:, some] / weights[:, some].sum(axis=1, keepdims=True)
        rows = np.eye(len(search.maximal.solution.beta))[self.places]
        beta = np.array([candidate.solution.beta[self.places] for candidate in chosen])
        estimate, error, intervals = np.einsum("tm,mt->t", share, beta), np.zeros(len(rows)), list[Interval]()
        for name in self.interval_names:
            singles = [_single(name, candidate, rows) for candidate in chosen]
            found = [
                averaged(
                    beta[:, t], np.array([s.std_error[t] for s in singles]), np.array([s.df[t] for s in singles]),
                    share[t], level=self.level,
                )
                for t in range(len(rows))
            ]  # fmt: skip
            intervals.append((np.array([one.low for one in found]), np.array([one.high for one in found])))
            error = np.array([one.std_error for one in found])
        low, high = ends(intervals, len(rows))
        return Answer(
            estimate=estimate, std_error=error, low=low, high=high,
            singular=any(candidate.solution.is_singular for candidate in chosen),
        )  # fmt: skip

    def _weights(self, shared: Shared, candidates: Sequence[Candidate]) -> FloatArray:
        """(T, M) of each structure for each term."""
        assert self.weighing is not None  # asked only then
        search, judge = shared.search, shared.judge(self.weighing)
        if isinstance(judge, FocusJudge):
            names = [search.design.fixed_names[i] for i in search.context]
            values = focus_values(judge, candidates)[:, [names.index(term) for term in self.terms]]
        else:
            value = np.array([judge.value(candidate, candidate) for candidate in candidates])
            values = np.repeat(value[:, None], len(self.terms), axis=1)
        return np.array([smoothed_weights(column) for column in values.T])


def _single(name: str, candidate: Candidate, contrasts: FloatArray) -> Single:
    """Standard errors and degrees of freedom by one method."""
    return df_method(name).single(candidate.estimates, contrasts)


def _compared(rounds: Sequence[Round]) -> list[Candidate]:
    """The structures of the second step, each once; the chosen one where there was none."""
    seen: dict[Candidate, None] = {}
    for found in rounds:
        if found.step == 2:
            seen |= dict.fromkeys([found.baseline, *(candidate for candidate, _ in found.candidates)])
    return list(seen) or [rounds[-1].chosen]


def _silent(what: str, done: int, total: int) -> None:
    """Report nothing."""
