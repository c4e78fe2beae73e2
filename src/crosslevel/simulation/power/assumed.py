"""What is assumed about the data of a planned study, said by a formula and numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.design import Design, build_design
from crosslevel.display import number, percent
from crosslevel.errors import CrosslevelError
from crosslevel.formula import Formula
from crosslevel.simulation.power.planned import Planned, PlannedProcess
from crosslevel.simulation.power.predictors import predictor_variables
from crosslevel.simulation.power.variances import INTERCEPT, Variances
from crosslevel.simulation.processes.amounts import is_number
from crosslevel.simulation.processes.correlations import Correlation
from crosslevel.simulation.processes.given import read_formula
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.sizes import MOST_CV, Size, Sizes
from crosslevel.simulation.processes.variables import Variable
from crosslevel.simulation.studies.process_words import correlation_words, listed, variable_words

FEW_CLUSTERS, FEW_ROWS, FEW_SEED = 40, 50, 20
"""Rows from which the columns of a model are learnt, and how much slopes' variables vary."""


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """Values for everything that a model leaves open.

    Attributes
    ----------
    formula : the model.
    group : name of the clusters.
    effects : every coefficient.
    sd, sigma : standard deviations of the random effects and of the residuals.
    correlation, predictor_correlation : among the random effects, and among the predictors within clusters.
    variables : how each predictor is distributed.
    cv : coefficient of variation of the clusters' sizes.
    rows : whether rows are drawn where their cross-products could be.
    design : a few made-up rows in the model's columns.
    """

    formula: str
    group: str
    effects: Mapping[str, float]
    sd: Mapping[str, float]
    sigma: float
    correlation: Correlation
    predictor_correlation: Correlation
    variables: Mapping[str, Variable]
    cv: float
    rows: bool
    design: Design = field(repr=False, compare=False)

    @property
    def least_size(self) -> int:
        """Fewest rows of a cluster that can be planned."""
        return 2

    def planned(self, clusters: int, size: Size | None, effects: Mapping[str, float]) -> Planned:
        """The process of one design.

        Raises
        ------
        CrosslevelError : the design is impossible.
        """
        assert size is not None
        own = {**self.effects, **effects}
        process = Process(
            formula=self.formula, effects=own, sd=self.sd, correlation=self.correlation, sigma=self.sigma,
            clusters=clusters, size=self.sizes(size), variables=self.variables,
            predictor_correlation=self.predictor_correlation, rows=self.rows,
        )  # fmt: skip
        truth = {**own, **{f"sd({name}|{self.group})": value for name, value in self.sd.items()}}
        return PlannedProcess(process=process, truth=truth)

    def sizes(self, size: Size) -> Size:
        """Sizes with the imbalance that is assumed."""
        if self.cv == 0.0:
            return size
        if isinstance(size, int | np.integer):
            return Sizes(mean=float(size), cv=self.cv)
        raise CrosslevelError(f"`cv` goes with one `size`, the mean; {size!r} says itself how sizes vary.")

    @property
    def words(self) -> Iterator[tuple[str, str]]:
        """What is assumed, as names and values."""
        yield "Effects", listed(self.effects)
        yield f"SD between {self.group}", listed(self.sd)
        yield "Residual SD", number(self.sigma)
        if INTERCEPT in self.sd:
            yield "ICC", percent(self.sd[INTERCEPT] ** 2 / (self.sd[INTERCEPT] ** 2 + self.sigma**2))
        if len(self.sd) > 1:
            yield "Correlation of random effects", correlation_words(self.correlation)
        for name, variable in self.variables.items():
            yield name, variable_words(variable, self.group)
        if sum(not each.is_context for each in self.variables.values()) > 1:
            yield "Correlation of predictors", correlation_words(self.predictor_correlation)
        if self.cv:
            yield "Sizes", f"vary with a coefficient of variation of {self.cv:g}"


def assume(
    formula: str,
    *,
    effects: Mapping[str, float],
    icc: float | None,
    sd: Mapping[str, float] | None,
    sigma: float | None,
    correlation: Correlation,
    predictor_correlation: Correlation,
    cv: float,
    rows: bool,
    variables: Mapping[str, Variable],
    context: str | Sequence[str] | None,
    arms: str | Sequence[str] | Mapping[str, float] | None,
    between: float | Mapping[str, float],
) -> Assumed:
    """Fill in what a formula leaves open.

    Raises
    ------
    CrosslevelError : something is missing, unknown or impossible.
    """
    parsed = read_formula(formula)
    found = predictor_variables(parsed, context=context, arms=arms, between=between, variables=variables)
    design = build_design(formula, made_up(parsed, found))
    spec = design.spec
    names = [column.name for column in spec.columns[: spec.n_fixed]]
    unknown = [name for name in effects if name not in names]
    if unknown:
        raise CrosslevelError(
            f"`effects` names {', '.join(map(repr, unknown))}, which `formula` lacks. Its coefficients: "
            f"{', '.join(names)}."
        )
    if not is_number(cv) or not 0.0 <= cv <= MOST_CV:
        raise CrosslevelError(
            f"`cv` is the standard deviation of sizes over their mean, a number from 0 to {MOST_CV:g} (.5 for 50 %); "
            f"got {cv!r}."
        )
    variances = Variances.of(design.random_names, icc=icc, sd=sd, sigma=sigma)
    return Assumed(
        formula=formula, group=design.group, effects={name: float(effects.get(name, 0.0)) for name in names},
        sd=variances.sd, sigma=variances.sigma, correlation=correlation, predictor_correlation=predictor_correlation,
        variables=found, cv=float(cv), rows=rows, design=design,
    )  # fmt: skip


def made_up(formula: Formula, variables: Mapping[str, Variable]) -> pd.DataFrame:
    """A few rows with the variables of a formula."""
    rng = np.random.default_rng(FEW_SEED)
    codes = np.repeat(np.arange(FEW_CLUSTERS), FEW_ROWS)
    data = {formula.response.text: rng.standard_normal(len(codes)), formula.random[0].group[0]: codes}
    for name, variable in variables.items():
        own = rng.standard_normal(FEW_CLUSTERS)
        if variable.is_context:
            data[name] = variable.draw(own, own, rng)[codes]
        else:
            data[name] = variable.draw(rng.standard_normal(len(codes)), own[codes], rng)
    return pd.DataFrame(data)
