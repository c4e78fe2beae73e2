"""Two-step regressions for a batch of simulated data at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.two_step import SecondFormulas, StepMethod, two_step
from crosslevel.estimators.two_step_fit import TwoStepFit
from crosslevel.estimators.two_step_outcomes import CovariateNames, OutcomeStep, check_second
from crosslevel.formula import learn, parse
from crosslevel.formula.parse import find_tilde, one_line
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.contrasts import Coefficients
from crosslevel.inference.distributions import t_quantile
from crosslevel.simulation.estimators.estimates import Estimates, Estimator, Prepared
from crosslevel.simulation.estimators.first_steps import first_steps
from crosslevel.simulation.estimators.second_steps import Targets, second_steps
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.frames import TEMPLATE_LEAST, TEMPLATE_ROWS, frame_columns, template_rows
from crosslevel.simulation.processes.sampling import learnt_formulas, read_for
from crosslevel.table import Columns
from crosslevel.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.simulation.processes.process import Process

FLOORED = ("fgls", "adjusted-fgls")
"""Second steps that estimate a variance beyond sampling."""

AT_A_TIME = 256
"""Replications that are worked on at a time: they stay in the processor's cache."""

ROUNDING = 1e-9
"""Relative difference of two columns that are the same."""


@dataclass(frozen=True, kw_only=True)
class TwoStep(Estimator):
    """A regression in each cluster, whose coefficients clusters then explain: `cl.two_step`.

    A coefficient of the second step is named as in the model with all rows: "z" is the effect of z on the intercept,
    "x1:z" that on the slope of x1, "x1" the mean slope where the second step has an intercept.

    Attributes
    ----------
    name : see `Estimator`.
    first, second, method, vcov, covariates, first_variance : as of `cl.two_step`.

    Notes
    -----
    Nothing is centred that `first` does not centre: the intercept of "y ~ x1" is that at x1 = 0. Write
    "y ~ within(x1, g)" for the clusters' means instead. Context variables are columns as they are: what is measured
    over clusters, such as center(z), is refused, since the process says where z lies.

    Clusters without a regression of their own are left out, as `cl.two_step` does. A replication is refused with no
    more clusters left than regressors, and counts as unidentified if one of these is a combination of earlier ones. It
    is singular if the second step's variance beyond sampling (and covariates) is floored at zero, with "fgls" and
    "adjusted-fgls". Its interval is NaN with "HC3" if a cluster alone determines a coefficient.

    Examples
    --------
    >>> import numpy as np
    >>> import crosslevel as cl
    >>> process = cl.lab.Process(
    ...     formula="y ~ x * z + (1 + x | g)", clusters=20, size=(30, 60), variables={"z": cl.lab.Context()},
    ...     effects={"Intercept": 1, "x": 1, "z": 0.5, "x:z": 0.5}, sd={"Intercept": 0.6, "x": 0.2},
    ... )
    >>> estimator = cl.lab.TwoStep(name="two-step", first="y ~ x", second="x ~ z")
    >>> drawn = cl.lab.sampler_of(process, estimator.formulas).draw(np.random.SeedSequence(1).spawn(5))
    >>> found = estimator.prepare(process, ["x:z"], level=0.95).estimate(drawn, ())
    >>> found.estimate.shape, found.low.shape, found.intervals
    ((5, 1), (5, 1, 1), ('t',))
    """

    first: str
    second: SecondFormulas
    method: StepMethod = "fgls"
    vcov: str | None = None
    covariates: CovariateNames = None
    first_variance: str = "own"

    def __post_init__(self) -> None:
        check_second(self.method, self.vcov, self.covariates)
        if self.first_variance not in ("own", "pooled"):
            raise CrosslevelError(f"`first_variance` is 'own' or 'pooled'; got {self.first_variance!r}.")

    @property
    def formulas(self) -> tuple[str, ...]:
        """The first step, and the context variables of the second as predictors of the outcome."""
        response = parse(self.first).response.text
        return (self.first, *(f"{response} ~ {right}" for right in right_sides(self.second)))

    @property
    def interval_names(self) -> tuple[str, ...]:
        """See `Estimator`."""
        return ("t",)

    def prepare(self, process: "Process", terms: Sequence[str], level: float) -> "PreparedTwoStep":
        """See `Estimator`.

        Raises
        ------
        CrosslevelError : a formula does not fit the process, or the second step does not estimate a term.
        """
        frame = template(process, self.formulas)
        fit = two_step(
            self.first, self.second, frame, cluster=process.group, method=self.method, vcov=self.vcov,
            covariates=self.covariates, first_variance="pooled" if self.first_variance == "pooled" else "own",
        )  # fmt: skip
        for one, formula in zip(fit.outcomes, self.formulas[1:], strict=True):
            check_context(process, one, formula, frame)
        names = tuple(column.name for column in fit.below.spec.columns[: fit.below.spec.n_fixed])
        slopes = tuple(name for name in names if name != "Intercept")
        ordered = (*(["Intercept"] if fit.below.constant >= 0 else []), *slopes)
        places = term_places(fit, terms, self.name)
        return PreparedTwoStep(
            slopes=slopes, response=process.response, intercept=fit.below.constant >= 0,
            pooled=self.first_variance == "pooled", method=self.method, vcov=fit.vcov_kind,
            chosen=self.covariates is None, level=level, n_terms=len(terms),
            questions=tuple(question(fit, k, ordered, places) for k in sorted({outcome for outcome, _ in places})),
        )  # fmt: skip


def right_sides(second: object) -> tuple[str, ...]:
    """Right sides of the formulas of a second step.

    Raises
    ------
    CrosslevelError : these are no formulas.
    """
    if isinstance(second, Mapping):
        return tuple(str(right).split("~", 1)[-1].strip() for right in second.values())
    formulas = [second] if isinstance(second, str) else second
    if not isinstance(formulas, Sequence) or not all(isinstance(one, str) for one in formulas):
        raise CrosslevelError(
            "`second` is a formula such as 'x1 ~ z', several of them in a list, or right sides by outcome, "
            f"{{'x1': 'z'}}; got {second!r}."
        )
    lines = [one_line(formula) for formula in formulas]
    return tuple(line[find_tilde(line) + 1 :].strip() for line in lines)


def template(process: "Process", formulas: Sequence[str]) -> pd.DataFrame:
    """Rows with all clusters of a process, each large enough for the first step, and of unequal sizes."""
    width = learnt_formulas(process, formulas)[0].n_fixed
    each = max(TEMPLATE_ROWS // process.clusters, TEMPLATE_LEAST, 3 * width)
    return template_rows(process, each + np.arange(process.clusters) % 5)


def check_context(process: "Process", one: OutcomeStep, formula: str, frame: pd.DataFrame) -> None:
    """Refuse context variables that rows do not have as clusters do.

    Raises
    ------
    CrosslevelError : see above.
    """
    spec = learn(read_for(process, formula), Columns.from_frame(frame))
    values = frame_columns(spec, frame)
    names = [column.name for column in spec.columns]
    codes = frame[process.group].to_numpy()
    for k, name in enumerate(one.design.names):
        own = one.design.x[:, k][codes]
        if name not in names or np.abs(values[names.index(name)] - own).max() > ROUNDING * (np.abs(own).max() + 1e-300):
            raise CrosslevelError(
                f"`second` explains {one.name} by {name}, which is measured over clusters and would be another column "
                "for rows, from which simulated data are made. Use variables as they are; the process says where they "
                "lie and how they vary."
            )
    if one.design.aliased:
        raise CrosslevelError(
            f"`second` explains {one.name} by {', '.join(one.design.aliased)}, which other columns determine in data "
            f"of {process.clusters} clusters. Drop one, or simulate more clusters."
        )


def term_places(fit: TwoStepFit, terms: Sequence[str], name: str) -> list[tuple[int, int]]:
    """For each term the outcome of the second step and the coefficient there that it is.

    Raises
    ------
    CrosslevelError : the second step does not estimate a term.
    """
    factors = {column.name: column.factors for column in fit.below.spec.columns}
    found, parts = [], []
    for k, one in enumerate(fit.outcomes):
        slope = () if one.name == "Intercept" else factors[one.name]
        for i, (context, own) in enumerate(zip(one.design.names, one.design.factors, strict=True)):
            found.append((k, i))
            parts.append((*slope, *(() if context == "Intercept" else own)))
    known = Coefficients.of(tuple(fit.mixed_terms.values()), parts)
    absent = [term for term in terms if term not in known.position]
    if absent:
        raise CrosslevelError(
            f"`terms` has {', '.join(absent)}, which {name!r} does not estimate. Its second step has "
            f"{', '.join(known.names)}, named as in the model with all rows: the effect of z on the intercept is 'z', "
            "that on the slope of x1 is 'x1:z'. Explain the coefficient in `second`, or leave the term to others."
        )
    return [found[known.position[term]] for term in terms]


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What the second step explains of one coefficient.

    Attributes
    ----------
    context : names of the context variables.
    constant : which of them is the intercept, -1 for none.
    target : (1 + m,) places of the coefficient and its covariates among those of the first step, the intercept first.
    places : which of its coefficients are terms, and which terms these are: pairs of positions.
    """

    context: tuple[str, ...]
    constant: int
    target: IntArray
    places: tuple[tuple[int, int], ...]


def question(fit: TwoStepFit, k: int, ordered: Sequence[str], places: Sequence[tuple[int, int]]) -> Question:
    """That of outcome k of a fit; `ordered` are the first step's coefficients, `places` those of `term_places`."""
    one = fit.outcomes[k]
    covariates = () if one.adjustment is None else one.adjustment.names
    return Question(
        context=one.design.names,
        constant=one.design.constant,
        target=np.array([ordered.index(name) for name in (one.name, *covariates)], dtype=np.int64),
        places=tuple((i, t) for t, (outcome, i) in enumerate(places) if outcome == k),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Stepped:
    """Two-step regressions of R replications: T coefficients.

    Attributes
    ----------
    outcome, floored : (R,) how each ended, an `Outcome`; whether a variance beyond sampling is floored at zero.
    estimate, std_error, df : (R, T).
    """

    outcome: IntArray = field(repr=False)
    floored: BoolArray = field(repr=False)
    estimate: FloatArray = field(repr=False)
    std_error: FloatArray = field(repr=False)
    df: FloatArray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedTwoStep(Prepared):
    """A two-step regression ready for data.

    Attributes
    ----------
    slopes, intercept, response : columns of the first step, whether it has an intercept, its outcome.
    pooled : whether clusters share one residual variance.
    method, vcov, chosen : the second step, its covariance, whether components are chosen.
    questions : what is explained.
    n_terms, level : terms, and the level of intervals.
    """

    slopes: tuple[str, ...]
    intercept: bool
    response: str
    pooled: bool
    method: str
    vcov: str
    chosen: bool
    questions: tuple[Question, ...]
    n_terms: int
    level: float

    def estimate(self, drawn: Drawn, seeds: Sequence[np.random.SeedSequence]) -> Estimates:
        """See `Prepared`; nothing is drawn."""
        found = self.regress(drawn)
        half = found.std_error * t_quantile(0.5 + 0.5 * self.level, found.df)
        return Estimates(
            outcome=found.outcome, singular=found.floored, estimate=found.estimate, std_error=found.std_error,
            intervals=("t",), low=(found.estimate - half)[:, :, None], high=(found.estimate + half)[:, :, None],
        )  # fmt: skip

    def regress(self, drawn: Drawn) -> Stepped:
        """Coefficients, standard errors and degrees of freedom."""
        shape = (len(drawn), self.n_terms)
        out = Stepped(
            outcome=np.full(shape[0], int(Outcome.FITTED), dtype=np.int64), floored=np.zeros(shape[0], dtype=np.bool_),
            estimate=np.full(shape, np.nan), std_error=np.full(shape, np.nan), df=np.full(shape, np.nan),
        )  # fmt: skip
        for start in range(0, len(drawn), AT_A_TIME):
            self._regress(drawn, slice(start, min(start + AT_A_TIME, len(drawn))), out)
        failed = out.outcome != Outcome.FITTED
        out.floored[failed] = False
        for array in (out.estimate, out.std_error, out.df):
            array[failed] = np.nan
        return out

    def _regress(self, drawn: Drawn, part: slice, out: Stepped) -> None:
        """Some of the replications, written to `out`."""
        mean, places = drawn.mean[part], drawn.places((*self.slopes, self.response))
        scatter = drawn.scatter[part][:, :, places[:, None], places]
        first = first_steps(
            drawn.count[part], mean[:, :, places], scatter, intercept=self.intercept, pooled=self.pooled
        )
        for one in self.questions:
            targets = Targets(
                able=first.able, y=first.beta[one.target[0]], covariates=first.beta[one.target[1:]],
                sampling=first.sampling[one.target[:, None], one.target], constant=one.constant,
                context=np.ascontiguousarray(mean[:, :, drawn.places(one.context)].transpose(2, 0, 1)),
            )  # fmt: skip
            found = second_steps(targets, method=self.method, kind=self.vcov, chosen=self.chosen)
            out.outcome[part] = np.maximum(out.outcome[part], found.outcome)
            if self.method in FLOORED:
                out.floored[part] |= found.sigma2 <= 0.0
            for i, t in one.places:
                out.estimate[part, t], out.df[part, t] = found.estimate[i], found.df
                out.std_error[part, t] = np.sqrt(found.variance[i])
