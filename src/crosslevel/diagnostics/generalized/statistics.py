"""`dispersion` and `zero_inflation`: a number of the outcome among those of outcomes drawn from the model."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.diagnostics.diagnostic import Concern, concern_of
from crosslevel.diagnostics.generalized.simulator import Simulator, chance
from crosslevel.display import Document, Note, Paragraph, Table, counted, number, p_statement
from crosslevel.errors import CrosslevelError
from crosslevel.inference.seeds import generator_from
from crosslevel.types import FloatArray

CLEAR = 0.05
"""The p-value below which a sentence calls for another model."""

LEAST = 1e-12
"""Least variance of an outcome, of what a certain one has by rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedCheck:
    """A statistic of the outcome beside its values in outcomes drawn from the model.

    Attributes
    ----------
    question : what it asks, in a few words.
    statistic : what is counted or summed, in words.
    observed : in the data.
    expected : what the model lets expect in the data.
    simulated : (n,) in each outcome drawn from the model, on the scale of `observed`.
    p_value : two-sided.
    more, less : what it means if the observed value is larger or smaller than expected, and what to do.
    """

    question: str
    statistic: str
    observed: float
    expected: float
    simulated: FloatArray = field(repr=False)
    p_value: float
    more: str = field(repr=False)
    less: str = field(repr=False)

    @property
    def ratio(self) -> float:
        """Observed over expected."""
        return self.observed / self.expected if self.expected > 0.0 else float("inf" if self.observed > 0.0 else "nan")

    @property
    def frame(self) -> pd.DataFrame:
        """One row: observed, expected, ratio, conf_low and conf_high of the simulated values, p_value, simulations."""
        low, high = np.quantile(self.simulated, [0.025, 0.975])
        row = {
            "observed": self.observed, "expected": self.expected, "ratio": self.ratio, "conf_low": low,
            "conf_high": high, "p_value": self.p_value, "simulations": len(self.simulated),
        }  # fmt: skip
        return pd.DataFrame([row], index=pd.Index([self.question], name="check"))

    def sentence(self) -> str:
        """The answer, and what to do."""
        if self.p_value >= CLEAR:
            return "The data are as the model says."
        return self.more if self.observed > self.expected else self.less

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer with its numbers, and what to do."""
        ratio = f"observed over expected {number(self.ratio)}, {p_statement(self.p_value)}"
        return (f"{self.question} {ratio[0].upper()}{ratio[1:]}. {self.sentence()}",)

    @property
    def concern(self) -> Concern:
        """The light of the test."""
        return concern_of(self.p_value)

    def document(self) -> Document:
        """The answer with its numbers, to print or to show in a notebook."""
        row = self.frame.iloc[0]
        table = Table(
            ["", "Value"],
            [
                ["Observed", number(row["observed"])],
                ["Expected", number(row["expected"])],
                ["Observed / expected", number(row["ratio"])],
                ["95% of simulated", f"{number(row['conf_low'])} to {number(row['conf_high'])}"],
            ],
        )
        told = f"{self.statistic} {counted(len(self.simulated))} outcomes were drawn from the model at its estimates."
        note = Note(
            f"{p_statement(self.p_value)}. {self.sentence()}", kind="warning" if self.p_value < CLEAR else "info"
        )
        return Document(self.question, [Paragraph(told), table, note])

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def dispersion(fit: object, *, n: int = 250, seed: int | np.random.Generator | None = None) -> SimulatedCheck:
    """Ask whether outcomes vary more, or less, around their expectations than the family says.

    The statistic is Pearson's sum of (y - mu)^2 / Var(y), mu at the conditional modes. Modes follow the outcome, so
    that the sum is less than the number of rows even where the model is true; how much less is what simulation says:
    new random effects and outcomes are drawn, and modes found for each of them, parameters held.

    Parameters
    ----------
    fit : a fitted model of counts, trials, amounts or shares.
    n : simulations.
    seed : of a generator of its own; or a generator to draw from.

    Raises
    ------
    CrosslevelError : single answers of two, or ordered categories, whose variance follows from their mean.

    Source
    ------
    The idea of simulated residual checks: Gelman & Hill (2007), Data Analysis Using Regression, chapter 8.

    Examples
    --------
    >>> import crosslevel as cl, numpy as np, pandas as pd
    >>> rng = np.random.default_rng(1)
    >>> town = np.repeat(np.arange(30), 10)
    >>> rate = np.exp(1.0 + rng.normal(0, 0.5, 30)[town]) * rng.gamma(2.0, 0.5, 300)
    >>> data = pd.DataFrame({"town": town, "cases": rng.poisson(rate)})
    >>> found = dispersion(cl.mixed("cases ~ 1 + (1 | town)", data, family="poisson"), seed=2)
    >>> bool(found.ratio > 1.5), found.p_value
    (True, 0.00796812749003984)
    """
    model = Simulator.of(fit, what="dispersion", n=n)
    if model.is_single_trial or model.family.kind == "ordered":
        raise CrosslevelError(
            "`dispersion` compares the variance of outcomes with that of the family, and the variance of "
            f"{'ordered categories' if model.family.kind == 'ordered' else 'single answers, 0 or 1,'} follows from "
            "their probabilities: there is nothing to compare. Use cl.calibration(fit) or cl.quantile_residuals(fit)."
        )

    def pearson(y: FloatArray, eta: FloatArray) -> float:
        variance = np.maximum(model.family.outcome_variance(eta, model.size, model.shape), LEAST)
        return float(np.sum((y - model.family.outcome_mean(eta, model.size, model.shape)) ** 2 / variance))

    observed, simulated = _compared(model, pearson, n, seed)
    return SimulatedCheck(
        question="Dispersion", observed=observed, expected=float(simulated.mean()), simulated=simulated,
        p_value=chance(observed, simulated),
        statistic=f"Pearson's sum of squares over {counted(len(model.y))} rows, at the modes of the random effects.",
        more=f"Outcomes vary more than the family {model.family.name!r} says, so that standard errors are too small. "
        f"{_remedy(model)}",
        less=f"Outcomes vary less than the family {model.family.name!r} says, so that standard errors are too large: "
        "rows may depend on each other beyond the random effects, or hold sums or means.",
    )  # fmt: skip


def zero_inflation(fit: object, *, n: int = 250, seed: int | np.random.Generator | None = None) -> SimulatedCheck:
    """Ask whether there are more, or fewer, zeros than the model says.

    Random effects account for clusters with few events. What is compared is therefore the number of zeros less the sum
    of their probabilities at the conditional modes, with the same in outcomes drawn from the model (new random effects,
    modes found for each, parameters held).

    Parameters
    ----------
    fit : a fitted model of counts, or of numbers of successes.
    n : simulations.
    seed : of a generator of its own; or a generator to draw from.

    Raises
    ------
    CrosslevelError : outcomes that are no counts, or single answers of two.

    Examples
    --------
    >>> import crosslevel as cl, numpy as np, pandas as pd
    >>> rng = np.random.default_rng(1)
    >>> town = np.repeat(np.arange(30), 10)
    >>> count = rng.poisson(np.exp(1.0 + rng.normal(0, 0.5, 30)[town])) * (rng.random(300) > 0.3)
    >>> fit = cl.mixed("cases ~ 1 + (1 | town)", pd.DataFrame({"town": town, "cases": count}), family="poisson")
    >>> found = zero_inflation(fit, seed=2)
    >>> found.observed, found.p_value
    (108.0, 0.00796812749003984)
    """
    model = Simulator.of(fit, what="zero_inflation", n=n)
    if model.is_single_trial or model.family.kind not in ("count", "binary"):
        raise CrosslevelError(
            "`zero_inflation` counts zeros among counts, or among numbers of successes of several trials; the outcome "
            f"of family={model.family.name!r} is neither here. Use cl.quantile_residuals(fit), which looks at the "
            "whole distribution."
        )

    def excess(y: FloatArray, eta: FloatArray) -> float:
        none = model.family.cdf(np.zeros(len(y)), eta, model.size, model.shape)[1]
        return float(np.count_nonzero(y == 0.0) - none.sum())

    beyond, simulated = _compared(model, excess, n, seed)
    zeros = float(np.count_nonzero(model.y == 0.0))
    expected = zeros - beyond + float(simulated.mean())
    return SimulatedCheck(
        question="Zeros", observed=zeros, expected=expected, simulated=simulated + (zeros - beyond),
        p_value=chance(beyond, simulated),
        statistic=f"Rows with 0 among {counted(len(model.y))}, against their probabilities at the modes.",
        more=f"There are more zeros than the model says. {_remedy(model)} If it finds too many as well, model whether "
        "there is any (family='binomial'), and how many where there are.",
        less="There are fewer zeros than the model says. Rows without any event may be missing from the data.",
    )  # fmt: skip


def _compared(
    model: Simulator, statistic: Callable[[FloatArray, FloatArray], float], n: int,
    seed: int | np.random.Generator | None,
) -> tuple[float, FloatArray]:  # fmt: skip
    """A statistic of outcome and linear predictor, in the data and (n,) in outcomes drawn from the model."""
    rng = generator_from(seed)
    drawn = (statistic(y, model.predictor_of(y)) for y in model.outcomes(rng, n))
    return statistic(model.y, model.state.eta), np.fromiter(drawn, dtype=float, count=n)


def _remedy(model: Simulator) -> str:
    """What to fit instead."""
    if model.family.name == "poisson":
        return "Fit family='nbinom2' or 'nbinom1', or add a random effect of each row."
    if model.family.name == "binomial":
        return "Fit family='betabinomial', or add a random effect of each row."
    return "Predictors may be missing, or random effects of other groups."
