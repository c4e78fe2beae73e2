"""Tests of the random terms of a fitted model, one by one."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.design.submodel import Kept, everything
from crosslevel.errors import CrosslevelError
from crosslevel.estimators import random
from crosslevel.estimators.mixed import solve_design
from crosslevel.estimators.simulated_tests import (
    Refitted,
    SimulatedTest,
    bootstrap_test,
    draws_products,
    exact_test,
    from_products,
    from_rows,
    why_not_exact,
)
from crosslevel.inference.cluster_chi_square import ClusterChiSquare, cluster_chi_square
from crosslevel.inference.lrt import BoundaryTest
from crosslevel.inference.removal import is_separable, removal_test
from crosslevel.likelihood.profiled import Conditional
from crosslevel.solve.submodel import Submodel, solve_submodel
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit

RandomTest: TypeAlias = Literal["mixture", "exact", "bootstrap", "hlm"]

DEFAULT_DRAWS = {"exact": 10_000, "bootstrap": 1_000}
"""Simulations unless a number is given."""

FEWEST = 19
"""Simulations with which a p-value of 0.05 can be reached."""

ALL = "all"
"""Name of the row that tests all random effects together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomTermTested:
    """Random effects that are taken out together.

    Attributes
    ----------
    name : as in "x in (x | school)" for a slope, "(1 | school)" for all that a random term has.
    place : position of the grouping factor.
    effects : (d,) positions of the effects among the factor's.
    """

    name: str
    place: int
    effects: tuple[int, ...]

    def kept(self, design: Design) -> Kept:
        """What stays of the design's random effects."""
        return tuple(
            tuple(e for e in effects if k != self.place or e not in self.effects)
            for k, effects in enumerate(everything(design))
        )


def terms_of(design: Design) -> tuple[RandomTermTested, ...]:
    """What is tested: each term of a block that is part of no interaction in it, an intercept that stands alone.

    The variance of an intercept beside slopes is that at the origin of their variables, which it would be arbitrary to
    call zero. Blocks that tie their effects are tested as a whole, those of known covariance not at all.
    """
    return tuple(term for k in range(len(design.factors)) for term in _factor_terms(design, k))


def _factor_terms(design: Design, place: int) -> Iterator[RandomTermTested]:
    """The terms of one grouping factor."""
    factor = design.factors[place]
    for kind, columns, label in zip(
        factor.structure.kinds, factor.structure.columns, _structures(design, place), strict=True
    ):
        if kind.fixed:
            continue
        terms: dict[tuple[str, ...], list[int]] = {}
        for e in columns:
            terms.setdefault(_term(design, int(factor.z[e])), []).append(int(e))
        written = f"({_written(list(terms))} | {factor.name})"
        if not is_separable(kind):
            yield RandomTermTested(name=f"{label}{written}", place=place, effects=tuple(int(e) for e in columns))
        elif len(terms) == 1:
            yield RandomTermTested(name=written, place=place, effects=tuple(*terms.values()))
        else:
            for term, effects in terms.items():
                if term and not any(set(term) < set(other) for other in terms):
                    yield RandomTermTested(name=f"{':'.join(term)} in {written}", place=place, effects=tuple(effects))


def _structures(design: Design, place: int) -> list[str]:
    """Name of the covariance structure of each block, "" where it is free."""
    blocks = design.spec.terms[place].blocks
    return ["" if block.structure == "us" else block.structure for block in blocks]


def _term(design: Design, column: int) -> tuple[str, ...]:
    """Components of the term that a design column belongs to, without the levels of categories; none: the intercept."""
    return tuple(re.sub(r"\[[^\[\]]*\]$", "", name) for name in design.spec.columns[column].factors)


def _written(terms: list[tuple[str, ...]]) -> str:
    """A block's terms as in a formula, the intercept understood where there are slopes."""
    slopes = [":".join(term) for term in terms if term]
    if not slopes:
        return "1"
    return " + ".join([*([] if () in terms else ["0"]), *slopes])


def by_term(fit: "MixedFit", test: RandomTest, n: int | None, seed: int | None) -> pd.DataFrame:
    """What `MixedFit.test_random` answers; see there."""
    if test not in ("mixture", "exact", "bootstrap", "hlm"):
        raise CrosslevelError(f"`test` is 'mixture', 'exact', 'bootstrap' or 'hlm'; got {test!r}.")
    if test == "hlm":
        return hlm_frame(fit)
    draws, reml = check_draws(test, n), fit.method == "reml"
    overall = random.test_of_all(fit.design, fit.solution, reml=reml)  # refuses what cannot be tested
    own = _own_tests(fit) if _lacking(fit) is None else None
    asked = _Asked(fit=fit, test=test, draws=draws, rng=np.random.default_rng(seed))
    records = []
    for term in terms_of(fit.design):
        submodel = asked.submodel(term.kept(fit.design))
        found = removal_test(fit.design, fit.solution, submodel, reml=reml)
        group = fit.design.factors[term.place].name
        records.append({"term": term.name, "group": group, **asked.answer(submodel, found), **_own_test(own, term)})
    if test == "mixture":
        answer = asked.numbers(overall)
    else:
        answer = asked.answer(asked.submodel(known_only(fit.design)), overall)
    records.append({"term": ALL, "group": "", **answer, **_own_test(None, None)})
    if test == "exact" and all(np.isnan(record["p_value"]) for record in records):
        raise CrosslevelError(
            "`test` is 'exact', which is for one variance without covariances and independent residuals of one "
            "variance; no random term of this model is such. Use test='bootstrap'."
        )
    return pd.DataFrame.from_records(records).set_index("term")


def known_only(design: Design) -> Kept:
    """The random effects whose covariances are known: what stays when all that is estimated goes."""
    return tuple(tuple(int(e) for e in np.flatnonzero(factor.structure.fixed)) for factor in design.factors)


def check_draws(test: str, n: int | None) -> int:
    """Number of simulations, 0 where there are none.

    Raises
    ------
    CrosslevelError : it is no such number, or none are wanted.
    """
    if test not in DEFAULT_DRAWS:
        if n is not None:
            raise CrosslevelError(
                f"`n` is a number of simulations, for test='exact' or 'bootstrap'; got test={test!r}."
            )
        return 0
    if n is None:
        return DEFAULT_DRAWS[test]
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < FEWEST:
        raise CrosslevelError(f"`n` is a number of simulations, at least {FEWEST}; got {n!r}.")
    return int(n)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """What is asked of each term: which test, by how many draws of which generator."""

    fit: "MixedFit"
    test: RandomTest
    draws: int
    rng: np.random.Generator
    done: dict[Kept, SimulatedTest | None] = field(default_factory=dict)

    def submodel(self, kept: Kept) -> Submodel:
        """The model with what stays, fitted as this one was."""
        fit = self.fit
        return solve_submodel(
            fit.design, kept, reml=fit.method == "reml", iterative=fit.solution.iterative is not None,
            max_steps=fit.given["max_steps"],
        )  # fmt: skip

    def numbers(self, found: BoundaryTest) -> dict[str, Any]:
        """The mixture's columns."""
        return {
            "statistic": found.statistic, "df": found.df, "p_value": found.p_value,
            "naive_p_value": found.naive_p_value, "reference": found.reference,
        }  # fmt: skip

    def answer(self, submodel: Submodel, found: BoundaryTest) -> dict[str, Any]:
        """The columns of the test."""
        out = self.numbers(found)
        if self.test == "mixture":
            return out
        if submodel.kept not in self.done:  # the last row can be the same test as one before
            self.done[submodel.kept] = self._simulated(submodel, found)
        simulated = self.done[submodel.kept]
        if simulated is None:
            return out | {"p_value": np.nan, "reference": "no single variance", "p_error": np.nan, "draws": 0}
        return out | {
            "p_value": simulated.p_value, "reference": simulated.reference, "p_error": simulated.p_error,
            "draws": simulated.draws,
        }  # fmt: skip

    def _simulated(self, submodel: Submodel, found: BoundaryTest) -> SimulatedTest | None:
        """The test by simulation, None where it is not defined."""
        fit, reml = self.fit, self.fit.method == "reml"
        if self.test == "exact":
            if why_not_exact(fit.design, submodel.kept) is not None:
                return None
            return exact_test(fit.design, submodel.kept, found.statistic, reml=reml, n=self.draws, rng=self.rng)
        return bootstrap_test(
            self._refitted(submodel), found.statistic, n=self.draws, rng=self.rng, progress=fit.given["progress"]
        )

    def _refitted(self, submodel: Submodel) -> Callable[[np.random.Generator], Refitted]:
        """What draws an outcome from the smaller model and fits both to it."""
        fit, reml, max_steps = self.fit, self.fit.method == "reml", self.fit.given["max_steps"]
        if draws_products(fit.design):
            (factor,) = submodel.factors(fit.solution)
            return from_products(fit.design, submodel.kept, factor, reml=reml, max_steps=max_steps)

        def refitted(y: FloatArray) -> Refitted:
            design = fit.design.with_response(y)
            whole = solve_design(design, fit.given)
            iterative = whole.iterative is not None
            part = solve_submodel(design, submodel.kept, reml=reml, iterative=iterative, max_steps=max_steps)
            return Refitted.of(part.solution, whole)

        return from_rows(replace(fit, design=submodel.design, solution=submodel.solution), refitted)


def _own_test(own: ClusterChiSquare | None, term: RandomTermTested | None) -> dict[str, Any]:
    """The textbooks' chi-square test beside a likelihood-ratio test of one effect."""
    if own is None or term is None or len(term.effects) != 1:
        return {"chi_square": np.nan, "chi_square_df": np.nan, "chi_square_p_value": np.nan, "clusters_used": np.nan}
    (e,) = term.effects
    return {
        "chi_square": own.statistic[e], "chi_square_df": own.df[e], "chi_square_p_value": own.p_value[e],
        "clusters_used": own.used,
    }  # fmt: skip


def _lacking(fit: "MixedFit") -> str | None:
    """Why a fit has no chi-square test from the clusters' own estimates, in words; None if it has."""
    if not fit.design.is_single:
        return "the model has no grouping factor, or several, beside which clusters have no estimates of their own"
    if fit.design.residual is not None:
        return "residuals have a covariance structure"
    if fit.design.is_sampled:
        return "rows or clusters have sampling weights"
    if not isinstance(fit.solution.at, Conditional):
        return "covariances of random effects are known"
    return None


def _own_tests(fit: "MixedFit") -> ClusterChiSquare:
    """Chi-square tests of a fit that has them."""
    at = fit.solution.at
    assert isinstance(at, Conditional)
    return cluster_chi_square(fit.design, at, fit.solution.sigma)


def hlm_frame(fit: "MixedFit") -> pd.DataFrame:
    """Chi-square tests by random effect.

    Raises
    ------
    CrosslevelError : the model has none.
    """
    if (lacking := _lacking(fit)) is not None:
        instead = (
            "Judge the variances by their intervals in `varcomp()`" if fit.design.is_sampled else "Use test='mixture'"
        )
        raise CrosslevelError(
            f"`test` is 'hlm', which compares the clusters' own least-squares estimates, and {lacking}. {instead}."
        )
    own = _own_tests(fit)
    names = pd.Index(fit.design.random_names, name="term")
    columns = {
        "statistic": own.statistic, "df": own.df, "p_value": own.p_value, "clusters_used": own.used,
        "clusters": own.clusters,
    }  # fmt: skip
    return pd.DataFrame(columns, index=names)
