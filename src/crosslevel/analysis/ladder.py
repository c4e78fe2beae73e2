"""The step-up building of a multilevel model, as textbooks do it: one question at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pandas as pd

from crosslevel.analysis.levels import Levels, levels_of
from crosslevel.analysis.step_up import StepUp, record_of_test, step_test
from crosslevel.design.outcome import AskedOutcome
from crosslevel.display import Document
from crosslevel.estimators.comparison import LikelihoodRatioTest
from crosslevel.estimators.mixed import mixed, other_family, solve_design
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.types import Frame, Missing

if TYPE_CHECKING:
    from crosslevel.analysis.generalized.ladder import GeneralizedLadder
    from crosslevel.families import Family

NULL, OUTCOMES, WITHIN, SLOPES, CONTEXT, CROSS = (
    "null", "means as outcomes", "level-1 predictors", "random slopes", "context on the intercept",
    "context on the slopes",
)  # fmt: skip
"""Names of the steps; between the third and the fourth stand those of single slopes."""

PER_PREDICTOR = 10
"""Clusters for each cluster-level predictor of an equation: the rule of thumb of regression."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rung:
    """One step of the ladder.

    Attributes
    ----------
    name : of the step.
    fit : its model, by REML.
    deviance_ml : -2 log-likelihood of the same model by maximum likelihood.
    against : the name of the smaller model that it is tested against; empty for the first.
    test : the deviance test; None for the first.
    """

    name: str
    fit: MixedFit = field(repr=False)
    deviance_ml: float
    against: str
    test: LikelihoodRatioTest | None = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ladder(StepUp):
    """The models of the textbooks, from the null model to the final one, and what each step brings.

    Attributes
    ----------
    steps : fits by REML, by the name of the step, all to the same rows.
    rungs : the steps with their tests.
    levels : the terms of the formula by level.
    """

    rungs: tuple[Rung, ...] = field(repr=False)

    @property
    def steps(self) -> dict[str, MixedFit]:
        """Fits by the name of the step."""
        return {rung.name: rung.fit for rung in self.rungs}

    @property
    def tests(self) -> dict[str, LikelihoodRatioTest]:
        """Tests by the name of the step, of those that are tested against a smaller model."""
        return {rung.name: rung.test for rung in self.rungs if rung.test is not None}

    @property
    def final(self) -> MixedFit:
        """The last model."""
        return self.rungs[-1].fit

    @property
    def frame(self) -> pd.DataFrame:
        """By step what was fitted and tested.

        formula, n_params, deviance_reml, deviance_ml, against, method, statistic, df, p_value, naive_p_value (of
        chi-square with df degrees of freedom). The last five are of the deviance test against the step named in
        `against`: by REML where only random effects differ, by ML where fixed effects do.
        """
        return pd.DataFrame.from_records([_record(rung) for rung in self.rungs]).set_index("step")

    @property
    def explained(self) -> pd.DataFrame:
        """Variances of each step, and by how much they are smaller than before.

        By step and component ("Residual", "Intercept", slopes): variance; vs_null and vs_previous, the proportional
        reductions against the null model and against the model that the step is tested against (Raudenbush & Bryk
        2002), NaN where that has no such variance. And, as components "rows" and "clusters", the variance of the error
        of predicting a row and a cluster's mean (Snijders & Bosker 1994), of the models whose intercepts alone vary.
        """
        return pd.DataFrame.from_records(list(_explained(self))).set_index(["step", "component"])

    @property
    def reliability(self) -> pd.DataFrame:
        """By step and coefficient that varies: its mean reliability over clusters, and how many clusters that is of."""
        records = []
        for rung in self.rungs:
            found = rung.fit.reliability()
            counts = found.n_clusters.tolist()
            for (term, value), clusters in zip(found.average.items(), counts, strict=True):
                records.append({"step": rung.name, "term": term, "reliability": value, "clusters": clusters})
        return pd.DataFrame.from_records(records).set_index(["step", "term"])

    @property
    def icc(self) -> pd.Series:
        """Share of the intercepts in the variance that each step leaves, where slopes' variables are zero."""
        values = {rung.name: rung.fit.icc().estimate for rung in self.rungs}
        return pd.Series(values, name="icc").rename_axis("step")

    @property
    def remaining(self) -> pd.DataFrame:
        """Tests of the slopes of the final model: what varies still, once context has explained what it can."""
        return self.final.test_random()

    @property
    def equations(self) -> pd.DataFrame:
        """Cluster-level predictors by the coefficient that they explain: their number, what the clusters bear, and df.

        `predictors` counts columns, so that a factor with three categories counts two; `rule_of_thumb` is one for each
        ten clusters; `df` is clusters - predictors - 1.
        """
        return _equations(self)

    def document(self) -> Document:
        """The ladder with its words, to print or to show in a notebook."""
        from crosslevel.analysis.ladder_words import ladder_document

        return ladder_document(self)


@overload
def ladder(
    formula: str, data: Frame, *, group: str | None = ..., missing: Missing = ..., family: Literal["gaussian"] = ...,
    trials: object = ..., exposure: object = ..., quadrature: Any = ...,
) -> Ladder: ...  # fmt: skip
@overload
def ladder(
    formula: str, data: Frame, *, group: str | None = ..., missing: Missing = ..., family: "str | Family",
    trials: object = ..., exposure: object = ..., quadrature: Any = ...,
) -> "Ladder | GeneralizedLadder": ...  # fmt: skip
def ladder(
    formula: str,
    data: Frame,
    *,
    group: str | None = None,
    missing: Missing = "drop",
    family: "str | Family" = "gaussian",
    trials: object = None,
    exposure: object = None,
    quadrature: Any = "auto",
) -> "Ladder | GeneralizedLadder":
    """Build a multilevel model step by step, and test each step.

    1. Null model: how much of the outcome's variance lies between clusters. 2. Level-1 predictors, with coefficients
    that are the same everywhere. 3. Each of their slopes is allowed to vary, one at a time, and tested. 4. The slopes
    that the final formula lets vary, together. 5. Context explains the intercept. 6. Context explains slopes
    (cross-level interactions): the final model. Beside them the model of context alone (means as outcomes). Steps
    that a formula has nothing for are left out.

    All models are fitted by REML to the same rows, those that are complete in all variables of the final model.
    Deviances are compared by REML where only random effects differ, and by ML where fixed effects differ; variances are
    on their boundary under the null hypothesis, which the tests allow for (see `lrtest`).

    Parameters
    ----------
    formula : the final model, with one grouping factor. If its random part has no slopes, no step lets several vary.
    data : a frame with its rows in memory.
    group : the clusters, where the formula has no random part; intercepts vary then.
    missing : "drop" rows with missing values, or "raise".
    family, trials, exposure, quadrature : as in `mixed`; with another family than "gaussian" all models are fitted by
        maximum likelihood, and in place of explained variances there are shares on the latent scale.

    Returns
    -------
    Ladder, or GeneralizedLadder with another family : `steps` (fits by name), `frame`, `explained`, `reliability`,
    `icc`, `remaining`, `equations`; printed it is these tables with their words.

    Raises
    ------
    CrosslevelError : several grouping factors or none, no intercept, or what `mixed` refuses.

    Source
    ------
    Raudenbush & Bryk (2002), Hierarchical Linear Models, ch. 4 and 9; Snijders & Bosker (2012), Multilevel Analysis,
    ch. 7; Hox, Moerbeek & van de Schoot (2018), Multilevel Analysis, ch. 4.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> data["cses"] = data["ses"] - data.groupby("school")["ses"].transform("mean")
    >>> found = cl.ladder("mathach ~ cses * sector + cses * meanses + (cses | school)", data)
    >>> found.frame[["method", "statistic", "df"]].round(2)
                             method  statistic   df
    step
    null                                   NaN  NaN
    means as outcomes            ml     172.23  2.0
    level-1 predictors           ml     395.40  1.0
    random slope of cses       reml       9.76  2.0
    context on the intercept     ml     172.84  2.0
    context on the slopes        ml      41.71  2.0
    """
    if not (isinstance(family, str) and family.lower() == "gaussian"):
        from crosslevel.analysis.generalized.ladder import generalized_ladder

        asked = AskedOutcome(family=other_family(family), trials=trials, exposure=exposure)
        return generalized_ladder(formula, data, asked, group=group, missing=missing, quadrature=quadrature)
    levels = levels_of(formula, data, group=group, missing=missing)
    rungs: dict[str, Rung] = {}
    for name, text, against in planned(levels):
        rungs[name] = _rung(name, text, rungs.get(against), levels)
    return Ladder(rungs=tuple(rungs.values()), levels=levels)


def planned(levels: Levels) -> Iterator[tuple[str, str, str]]:
    """The steps: name, formula, and the step that each is tested against."""
    alone = levels.varying(())
    yield NULL, levels.formula((), alone), ""
    if levels.context:
        yield OUTCOMES, levels.formula(levels.context, alone), NULL
    last = NULL
    if levels.within:
        last = WITHIN
        yield WITHIN, levels.formula(levels.within, alone), NULL
    for slope in levels.candidates:
        yield f"random slope of {slope}", levels.formula(levels.within, levels.varying([slope])), last
    if len(levels.slopes) == 1 and levels.free and levels.slopes[0] in levels.candidates:
        last = f"random slope of {levels.slopes[0]}"
    elif levels.slopes:
        yield SLOPES, levels.formula(levels.within, levels.random), last
        last = SLOPES
    if levels.context:
        yield CONTEXT, levels.formula((*levels.within, *levels.context), levels.random), last
        last = CONTEXT
    if levels.cross:
        yield CROSS, levels.formula(levels.fixed, levels.random), last


def _rung(name: str, formula: str, smaller: Rung | None, levels: Levels) -> Rung:
    """Fit a step and test it."""
    fit = mixed(formula, levels.frame, missing="raise")
    given = {**fit.given, "method": "ml"}
    by_ml = replace(fit, given=given, solution=solve_design(fit.design, given))
    test = step_test(None if smaller is None else smaller.fit, fit)
    against = "" if smaller is None else smaller.name
    return Rung(name=name, fit=fit, deviance_ml=by_ml.deviance, against=against, test=test)


def _record(rung: Rung) -> dict[str, object]:
    """A row of the frame."""
    test = rung.test
    return {
        "step": rung.name,
        "formula": rung.fit.formula,
        "n_params": rung.fit.n_params,
        "deviance_reml": rung.fit.deviance,
        "deviance_ml": rung.deviance_ml,
        "against": rung.against,
        "method": "" if test is None else test.method,
        **record_of_test(test),
    }


def _explained(ladder: Ladder) -> Iterator[dict[str, object]]:
    """Rows of `Ladder.explained`."""
    fits = ladder.steps
    variances = {name: _variances(fit) for name, fit in fits.items()}
    errors = {name: _errors(fit, fits[NULL]) for name, fit in fits.items()}
    for rung in ladder.rungs:
        for own, before, first in (
            (variances[rung.name], variances.get(rung.against, {}), variances[NULL]),
            (errors[rung.name], errors.get(rung.against, {}), errors[NULL]),
        ):
            for component, value in own.items():
                yield {
                    "step": rung.name,
                    "component": component,
                    "variance": value,
                    "vs_null": np.nan if rung.name == NULL else _reduction(first.get(component), value),
                    "vs_previous": _reduction(before.get(component), value),
                }


def _reduction(before: float | None, after: float) -> float:
    """Proportional reduction of a variance; NaN where there was none."""
    return np.nan if before is None or before <= 0.0 else (before - after) / before


def _variances(fit: MixedFit) -> dict[str, float]:
    """Residual variance, and those of the random effects."""
    matrix = fit.cov_re[fit.group]
    return {"Residual": fit.sigma**2, **{str(term): float(matrix.loc[term, term]) for term in matrix.index}}


def _errors(fit: MixedFit, null: MixedFit) -> dict[str, float]:
    """Variance of the error of predicting a row and a cluster's mean, where intercepts alone vary."""
    if len(fit.cov_re[fit.group]) > 1:
        return {}
    frame = fit.r2(null=null).prediction_error
    return {"rows": float(frame["model"].iloc[0]), "clusters": float(frame["model"].iloc[1])}


def _equations(ladder: Ladder) -> pd.DataFrame:
    """See `Ladder.equations`."""
    final = ladder.final
    clusters = final.ngroups[final.group]
    counts: Mapping[str, int] = _predictors(ladder)
    records = [
        {
            "coefficient": name,
            "predictors": count,
            "rule_of_thumb": clusters // PER_PREDICTOR,
            "df": clusters - count - 1,
        }
        for name, count in counts.items()
    ]
    return pd.DataFrame.from_records(records).set_index("coefficient")


def _predictors(ladder: Ladder) -> dict[str, int]:
    """Number of cluster-level columns that explain the intercept, and each slope."""
    design = ladder.final.design
    columns = {name: design.spec.columns[j].factors for name, j in zip(design.fixed_names, design.x, strict=True)}
    constant = ladder.levels.context_columns
    out = {"Intercept": sum(bool(factors) and set(factors) <= constant for factors in columns.values())}
    for factors in columns.values():
        inside = ":".join(name for name in factors if name not in constant)
        if inside and any(name in constant for name in factors):
            out[inside] = out.get(inside, 0) + 1
    return out
