"""The step-up building of a model with another family than the normal one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.analysis.ladder import planned
from crosslevel.analysis.levels import Levels, levels_of
from crosslevel.analysis.step_up import StepUp, record_of_test, step_test
from crosslevel.design.outcome import AskedOutcome
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.comparison import LikelihoodRatioTest
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed import mixed
from crosslevel.types import Frame, Missing


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneralizedRung:
    """One step of the ladder.

    Attributes
    ----------
    name : of the step.
    fit : its model.
    against : the name of the smaller model that it is tested against; empty for the first.
    test : the likelihood-ratio test; None for the first.
    """

    name: str
    fit: GeneralizedFit = field(repr=False)
    against: str
    test: LikelihoodRatioTest | None = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneralizedLadder(StepUp):
    """The models of the textbooks, from the null model to the final one, of an outcome with a family.

    Attributes
    ----------
    rungs : the steps with their tests.
    levels : the terms of the formula by level.
    """

    rungs: tuple[GeneralizedRung, ...] = field(repr=False)

    @property
    def steps(self) -> dict[str, GeneralizedFit]:
        """Fits by the name of the step."""
        return {rung.name: rung.fit for rung in self.rungs}

    @property
    def tests(self) -> dict[str, LikelihoodRatioTest]:
        """Tests by the name of the step, of those that are tested against a smaller model."""
        return {rung.name: rung.test for rung in self.rungs if rung.test is not None}

    @property
    def final(self) -> GeneralizedFit:
        """The last model."""
        return self.rungs[-1].fit

    @property
    def frame(self) -> pd.DataFrame:
        """By step what was fitted and tested.

        formula, n_params, deviance, nodes (of quadrature; 1 is Laplace), against, statistic, df, p_value,
        naive_p_value: of the likelihood-ratio test against the step named in `against`.
        """
        return pd.DataFrame.from_records([_record(rung) for rung in self.rungs]).set_index("step")

    @property
    def explained(self) -> pd.DataFrame:
        """By step: variances of the random effects as "var: <term>", R2 and intraclass correlation on the latent scale.

        Variances of different steps are in different units: predictors within clusters stretch the whole scale of the
        linear predictor, since the variance of one answer is fixed there, so that variances between clusters may grow.
        R2 (marginal, conditional) and intraclass correlations are shares, and can be compared.
        """
        return pd.DataFrame.from_records([_explained(rung) for rung in self.rungs]).set_index("step")

    def document(self) -> Document:
        """The ladder with its words, to print or to show in a notebook."""
        from crosslevel.analysis.generalized.ladder_words import ladder_document

        return ladder_document(self)


def generalized_ladder(
    formula: str, data: Frame, outcome: AskedOutcome, *, group: str | None, missing: Missing, quadrature: Any
) -> GeneralizedLadder:
    """Build a model of another family than the normal one step by step; see `ladder`.

    All models are fitted to the same rows by maximum likelihood; steps that were integrated differently are compared by
    one approximation (see `lrtest`).

    Raises
    ------
    CrosslevelError : PQL or MQL, which maximise no likelihood; or what `ladder` refuses.
    """
    if quadrature in ("pql", "mql"):
        raise CrosslevelError(
            f"`quadrature` is {quadrature!r}, which maximises no likelihood, so that steps cannot be tested. Use "
            "'auto', 'laplace' or a number of nodes."
        )
    levels = levels_of(formula, data, group=group, missing=missing, outcome=outcome)
    given = given_of(outcome, quadrature)
    rungs: dict[str, GeneralizedRung] = {}
    for name, text, against in planned(levels):
        rungs[name] = _rung(name, text, rungs.get(against), levels, given)
    return GeneralizedLadder(rungs=tuple(rungs.values()), levels=levels)


def given_of(outcome: AskedOutcome, quadrature: Any) -> dict[str, Any]:
    """Arguments of `mixed` that all models share."""
    return {
        "family": outcome.family, "trials": outcome.trials, "exposure": outcome.exposure, "quadrature": quadrature,
    }  # fmt: skip


def _rung(
    name: str, formula: str, smaller: GeneralizedRung | None, levels: Levels, given: Mapping[str, Any]
) -> GeneralizedRung:
    """Fit a step and test it."""
    fit = mixed(formula, levels.frame, missing="raise", **given)
    test = step_test(None if smaller is None else smaller.fit, fit)
    return GeneralizedRung(name=name, fit=fit, against="" if smaller is None else smaller.name, test=test)


def _record(rung: GeneralizedRung) -> dict[str, object]:
    """A row of the frame."""
    return {
        "step": rung.name,
        "formula": rung.fit.formula,
        "n_params": rung.fit.n_params,
        "deviance": rung.fit.deviance,
        "nodes": rung.fit.quadrature.nodes,
        "against": rung.against,
        **record_of_test(rung.test),
    }


def _explained(rung: GeneralizedRung) -> dict[str, object]:
    """A row of `GeneralizedLadder.explained`; shares are NaN where the family has no variance of one answer."""
    fit = rung.fit
    matrix = fit.cov_re[fit.group]
    out: dict[str, object] = {"step": rung.name}
    try:
        shares = fit.r2().frame["r2"]
        out |= {"marginal_r2": float(shares["marginal"]), "conditional_r2": float(shares["conditional"])}
        out["icc"] = fit.icc().estimate
    except CrosslevelError:
        out |= {"marginal_r2": np.nan, "conditional_r2": np.nan, "icc": np.nan}
    return out | {f"var: {term}": float(matrix.loc[term, term]) for term in matrix.index}
