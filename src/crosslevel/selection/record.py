"""The record of a search: what was looked at, what was chosen, and why."""

from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from crosslevel.display import Document
from crosslevel.selection.criteria import Criterion, Judge
from crosslevel.selection.routine import Round, Rules
from crosslevel.selection.search import Candidate, Search, Searchable
from crosslevel.selection.structures import RandomStructure


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """A random-effects structure that was searched for.

    Attributes
    ----------
    fit : the chosen model.
    search : the maximal model and all candidates with their estimates.
    criterion : by which they were compared.
    judge : what compared them.
    rules : how the routine went.
    rounds : the comparisons, in order.
    average : whether the log and the document show averaged context effects.
    """

    fit: Searchable
    search: Search = field(repr=False)
    criterion: Criterion = field(repr=False)
    judge: Judge = field(repr=False)
    rules: Rules
    rounds: tuple[Round, ...] = field(repr=False)
    average: bool = False

    @property
    def maximal(self) -> Searchable:
        """The maximal model."""
        return self.search.maximal

    @property
    def formula(self) -> str:
        """The chosen model's formula."""
        return self.fit.formula

    @property
    def chosen(self) -> Candidate:
        """The chosen candidate."""
        return self.rounds[-1].chosen

    @property
    def structure(self) -> RandomStructure:
        """The chosen structure."""
        return self.chosen.structure

    def judge_in(self, step: int) -> Judge:
        """What compared candidates in a step: 1 slopes, 2 correlations."""
        return self.judge.slopes if step == 1 else self.judge

    def criterion_in(self, step: int) -> Criterion:
        """The criterion of a step: 1 slopes, 2 correlations."""
        return self.criterion.slopes if step == 1 else self.criterion

    @property
    def context(self) -> tuple[str, ...]:
        """Names of the context effects."""
        return tuple(self.maximal.design.fixed_names[i] for i in self.search.context)

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """Every candidate: one row for each place of the routine where it was looked at.

        step (0 the maximal model, 1 slopes, 2 correlations), round, role ("baseline" or "candidate"), dropped (the term
        that it lacks), structure, n_effects, n_correlations, n_params, deviance, criterion, delta (criterion less the
        baseline's), rank, converged, chosen (became the next baseline), reason; and for each context effect "<term>
        estimate", "<term> std_error", "<term> conf_low", "<term> conf_high": 95 % intervals with standard errors given
        the variances and m-l-1 degrees of freedom, which are the same for all candidates. A search by focus also has
        "<term> focus_mse", "<term> focus_bias" and "<term> focus_variance"; its criterion in step 1 is BIC (clusters).
        """
        from crosslevel.selection.tables import candidate_table

        return candidate_table(self)

    @cached_property
    def path(self) -> pd.DataFrame:
        """The baselines in turn: rows of `candidates` from the maximal model to the chosen one."""
        from crosslevel.selection.tables import path_table

        return path_table(self)

    @cached_property
    def sensitivity(self) -> pd.DataFrame:
        """Whether context effects depend on correlations that the chosen structure fixes to zero.

        check: "correlated", two of its blocks joined, or "shifted", the variable of a slope that is not correlated with
        the intercept measured from one standard deviation above or below its origin (the fixed part as it is); what is
        different; term; estimate and other_estimate; change, also in standard errors of the chosen model
        (change_in_se); se_ratio, the other standard error over it; moves: by more than half a standard error.
        """
        from crosslevel.selection.sensitivity import sensitivity_table

        return sensitivity_table(self.search, self.chosen)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What deserves a second look, in words, with what to do."""
        from crosslevel.selection.remarks import remarks_on

        return remarks_on(self)

    @cached_property
    def log(self) -> str:
        """The search as a methods section tells it: what was looked at, what was dropped in which order, and why."""
        from crosslevel.selection.log import log_of

        return log_of(self)

    def document(self) -> Document:
        """The search, to print or to show in a notebook."""
        from crosslevel.selection.summary import summarise

        return summarise(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the search for a notebook."""
        return self.document()._repr_html_()

    def averaged(self, level: float = 0.95) -> pd.DataFrame:
        """Context effects averaged over the candidates of step 2, with the uncertainty about the structure.

        Weights are proportional to exp(-criterion / 2), and with criterion="focus" to mse^(-d / 2), each context effect
        having its own; see `weights`. Standard errors and intervals are those of Buckland, Burnham & Augustin (1997)
        and Burnham & Anderson (2002), of the default t tests of the candidates.

        Parameters
        ----------
        level : of the intervals.

        Raises
        ------
        CrosslevelError : the criterion gives no weights.

        Examples
        --------
        >>> import crosslevel as cl
        >>> data, formula = cl.datasets.load("hsb"), "mathach ~ ses * sector + minority + (ses + minority | school)"
        >>> found = cl.select(formula, data, criterion="focus", context="sector", progress=False)
        >>> found.averaged().loc["sector[Catholic]"].round(2).tolist()
        [2.32, 0.3, 1.73, 2.92]
        """
        from crosslevel.selection.averaging import averaged_effects

        return averaged_effects(self, level)[0]

    @cached_property
    def weights(self) -> pd.DataFrame:
        """Weights of the candidates of step 2 in the average of each context effect; see `averaged`."""
        from crosslevel.selection.averaging import averaged_effects

        return averaged_effects(self, 0.95)[1]
