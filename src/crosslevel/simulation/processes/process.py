"""How simulated data come about: a two-level model with numbers for all that it leaves open."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError, DataError
from crosslevel.formula import Spec, learn
from crosslevel.simulation.processes.correlations import Correlation, RandomCorrelation, fixed_root, plain_correlation
from crosslevel.simulation.processes.frames import frame_columns, learnt_spec, rows_frame
from crosslevel.simulation.processes.given import (
    check_amounts,
    check_arms,
    check_formula,
    check_variables,
    named_numbers,
    number_of_clusters,
    random_numbers,
    read_formula,
)
from crosslevel.simulation.processes.sizes import Size, SizeLaw, size_law
from crosslevel.simulation.processes.variables import Normal, Variable, changed_variable
from crosslevel.table import Columns
from crosslevel.types import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that two-level data come from.

    y = X beta + Z b_g + e, with b_g ~ N(0, S) in each of J clusters and e ~ N(0, sigma^2): the columns of X and Z are
    those of `formula`, and the predictors are distributed as `variables` says.

    Attributes
    ----------
    formula : as of `cl.mixed`, with one grouping factor: "y ~ x1 + z + x1:z + (1 + x1 | g)".
    effects : beta, each coefficient by its name in the model, "Intercept" included.
    sd : standard deviation of each random effect, by its name.
    clusters : J.
    size : rows of every cluster; (least, most), all numbers between being equally likely; a list with those of each
        cluster; or Sizes(mean=, cv=).
    correlation : among the random effects: one number, a matrix in the order of the formula, or RandomCorrelation().
    sigma : standard deviation of the residuals.
    variables : predictors by name. Those of the formula that are not listed are Normal(), one value per row; list
        Context() and Arms(), which have one value per cluster, and variables that only estimators use.
    predictor_correlation : among the predictors that have one value per row, within clusters; a matrix is in the order
        of `predictors`. Constants of clusters are independent.
    rows : draw rows even where their cross-products could be drawn.

    Raises
    ------
    CrosslevelError : something does not fit together; the message says what to do.

    Examples
    --------
    >>> import crosslevel as cl
    >>> process = cl.lab.Process(
    ...     formula="y ~ x1 + z + (1 + x1 | g)", clusters=20, size=(50, 100), variables={"z": cl.lab.Context()},
    ...     effects={"Intercept": 1, "x1": 1, "z": 0.5}, sd={"Intercept": 0.6, "x1": 0.2},
    ... )
    >>> process.effect("z"), round(process.icc, 3)
    (0.5, 0.265)
    >>> frame = process.frame(seed=1)
    >>> list(frame.columns), frame["g"].nunique()
    (['x1', 'z', 'g', 'y'], 20)
    """

    formula: str
    effects: Mapping[str, float]
    sd: Mapping[str, float]
    clusters: int
    size: Size
    correlation: Correlation = 0.0
    sigma: float = 1.0
    variables: Mapping[str, Variable] = field(default_factory=dict)
    predictor_correlation: Correlation = 0.0
    rows: bool = False

    def __post_init__(self) -> None:
        for name in ("correlation", "predictor_correlation"):
            object.__setattr__(self, name, plain_correlation(getattr(self, name)))
        if not isinstance(self.rows, bool):
            raise CrosslevelError(f"`rows` is True or False; got {self.rows!r}.")
        check_formula(self.formula)
        parsed = read_formula(self.formula)
        check_variables(self.variables, parsed)
        number_of_clusters(self.clusters)
        check_amounts("sigma", {"sigma": self.sigma}, positive=True)
        named_numbers("effects", self.effects, self.fixed_names, "coefficients")
        named_numbers("sd", self.sd, self.random_names, "random effects")
        check_amounts("sd", self.sd, positive=False)
        check_arms(self.variables, self.clusters)
        self.size_law  # noqa: B018 - the checks are its own
        self.effect_root  # noqa: B018
        self.predictor_root  # noqa: B018

    def __getstate__(self) -> dict[str, object]:
        """Its fields alone: what follows from them is worked out anew where it is unpickled."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    # -- names ------------------------------------------------------------------------------------------------------
    @cached_property
    def group(self) -> str:
        """Name of the clusters."""
        return read_formula(self.formula).random[0].group[0]

    @cached_property
    def response(self) -> str:
        """Name of the outcome."""
        return read_formula(self.formula).response.text

    @cached_property
    def all_variables(self) -> Mapping[str, Variable]:
        """All predictors, in the order of the formula; those that only `variables` has come last."""
        names = [name for name in read_formula(self.formula).variables if name not in (self.group, self.response)]
        return {name: self.variables.get(name, Normal()) for name in dict.fromkeys([*names, *self.variables])}

    @cached_property
    def predictors(self) -> tuple[str, ...]:
        """Names of the variables that have one value per row."""
        return tuple(name for name, variable in self.all_variables.items() if not variable.is_context)

    @cached_property
    def contexts(self) -> tuple[str, ...]:
        """Names of the variables that have one value per cluster."""
        return tuple(name for name, variable in self.all_variables.items() if variable.is_context)

    @cached_property
    def spec(self) -> Spec:
        """The formula with its design columns, learnt from a few rows."""
        return learnt_spec(self)

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return tuple(column.name for column in self.spec.columns[: self.spec.n_fixed])

    @property
    def effect_columns(self) -> tuple[int, ...]:
        """Positions of the columns of the random effects among those of `spec`."""
        return tuple(position for block in self.spec.terms[0].blocks for position in block.columns)

    @property
    def random_names(self) -> tuple[str, ...]:
        """Names of the random effects."""
        return tuple(self.spec.columns[position].name for position in self.effect_columns)

    # -- numbers ----------------------------------------------------------------------------------------------------
    @cached_property
    def size_law(self) -> SizeLaw:
        """How many rows clusters have."""
        return size_law(self.size, self.clusters)

    @property
    def blocks(self) -> IntArray:
        """(q,) number of the block that each random effect belongs to; those of different blocks are independent."""
        return np.repeat(
            np.arange(len(self.spec.terms[0].blocks)), [len(block.columns) for block in self.spec.terms[0].blocks]
        )

    @cached_property
    def effect_root(self) -> FloatArray:
        """(q, q) lower root of the random effects' correlations; the identity if they are random."""
        if isinstance(self.correlation, RandomCorrelation):
            self.correlation.check(int(np.bincount(self.blocks).max()), "correlation")
            return np.eye(len(self.blocks))
        return fixed_root(self.correlation, self.blocks, self.random_names, "correlation")

    @cached_property
    def predictor_root(self) -> FloatArray:
        """(K, K) lower root of the predictors' correlations within clusters; the identity if they are random."""
        size = len(self.predictors)
        if isinstance(self.predictor_correlation, RandomCorrelation):
            self.predictor_correlation.check(size, "predictor_correlation")
            return np.eye(size)
        zeros = np.zeros(size, dtype=np.int64)
        return fixed_root(self.predictor_correlation, zeros, self.predictors, "predictor_correlation")

    def effect(self, term: str) -> float:
        """True value of a coefficient.

        Raises
        ------
        CrosslevelError : the process has none of this name.
        """
        if term not in self.effects:
            raise CrosslevelError(
                f"The process has no coefficient {term!r}; it has {', '.join(self.fixed_names)}. If its true value is "
                f"0, add it to `formula` and 0 to `effects`."
            )
        return float(self.effects[term])

    @property
    def random_variance(self) -> float:
        """Variance of the outcome between clusters at the mean of all predictors, given the fixed effects: z' S z.

        Random correlations count as their mean, 0.
        """
        at = _columns_at_means(self)
        half = self.effect_root.T @ (at * np.array([self.sd[name] for name in self.random_names]))
        return float(half @ half)

    @property
    def variance(self) -> float:
        """Variance of the outcome at the mean of all predictors, given the fixed effects: z' S z + sigma^2."""
        return self.random_variance + float(self.sigma) ** 2

    @property
    def icc(self) -> float:
        """Intraclass correlation: the share of `variance` that lies between clusters."""
        return self.random_variance / self.variance

    # -- data and other processes -----------------------------------------------------------------------------------
    def frame(self, seed: int | np.random.SeedSequence | None = None) -> pd.DataFrame:
        """Rows of one data set: predictors, clusters and outcome.

        Parameters
        ----------
        seed : a number or a SeedSequence, which give the same rows again; None for new ones.
        """
        return rows_frame(self, random_numbers(seed))

    def changed(self, key: str, value: object) -> "Process":
        """The process with something changed.

        Parameters
        ----------
        key : a field, such as "clusters", or an element of one: "effects.z", "sd.x2", "variables.x1.between".
        value : what to put there.

        Raises
        ------
        CrosslevelError : there is nothing of this name, or the result is impossible.
        """
        return self.changed_by({key: value})

    def changed_by(self, changes: Mapping[str, object]) -> "Process":
        """The process with several things changed at once; see `changed`."""
        state = self.__getstate__()
        for key, value in changes.items():
            name, _, rest = str(key).partition(".")
            if name not in state or (rest and name not in ("effects", "sd", "variables")):
                raise CrosslevelError(
                    f"A process has nothing called {key!r}. It has {', '.join(state)}, and elements such as "
                    "'effects.z', 'sd.x2' and 'variables.x1.between'."
                )
            state[name] = self._element(name, state[name], rest, value) if rest else value
        return Process(**state)  # type: ignore[arg-type]

    def _element(self, name: str, mapping: object, key: str, value: object) -> dict[str, object]:
        """A mapping with one element changed; `key` is its name, or for a variable name.attribute."""
        assert isinstance(mapping, Mapping)
        if name != "variables":
            return {**mapping, key: value}
        variable, dot, attribute = key.rpartition(".")
        if not dot:
            return {**mapping, key: value}
        old = mapping.get(variable, self.all_variables.get(variable))
        if not isinstance(old, Variable):
            raise CrosslevelError(
                f"`variables` has no {variable!r} to change; there are {', '.join(self.all_variables)}."
            )
        return {**mapping, variable: changed_variable(old, variable, attribute, value)}


def _columns_at_means(process: Process) -> FloatArray:
    """(q,) columns of the random effects in data all of whose rows have the means of the predictors.

    Raises
    ------
    CrosslevelError : a column has no value there.
    """
    data = {name: np.full(2, variable.expected) for name, variable in process.all_variables.items()}
    frame = pd.DataFrame({**data, process.group: [0, 1], process.response: [0.0, 1.0]})
    try:
        spec = learn(read_formula(process.formula), Columns.from_frame(frame))
    except DataError as error:
        raise CrosslevelError(
            f"The variance between clusters at the mean of all predictors is not defined for {process.formula!r}, "
            f"some of whose columns have no value there: {error}"
        ) from None
    names = [column.name for column in spec.columns]
    return frame_columns(spec, frame)[[names.index(name) for name in process.random_names], 0]
