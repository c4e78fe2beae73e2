"""What a row weighs, said in so many words: a precision, a frequency, or a sampling weight.

The three readings of one column lead to different models, so that none is ever assumed:

- `Precision`: the row is a mean of w measurements, or measured w times as precisely. Var(e) = sigma^2 / w, and with
  other families phi V(mu) / w.
- `Frequency`: the row stands for w rows that are all alike.
- `Sampling`: the row stands for w units of the population, of which one was drawn.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import numpy as np

from crosslevel.errors import CrosslevelError, DataError
from crosslevel.table import Columns
from crosslevel.types import BoolArray, CodeArray, FloatArray

Scaling: TypeAlias = Literal["size", "effective", "none"]

SMALL_CLUSTERS = 20.0
"""Mean rows per cluster below which the scaling of sampling weights moves the variances between clusters."""

CONSTANT = 1e-9
"""Relative differences of weights within a cluster that are rounding error."""

READINGS = (
    "cl.Precision('w') if a row was measured w times as precisely (its residual variance is sigma^2 / w), "
    "cl.Frequency('w') if it stands for w rows that are all alike, or "
    "cl.Sampling('w', clusters={'school': 'w2'}) if it stands for w units of the population"
)


class Weights(ABC):
    """A reading of weight columns."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The data columns it needs."""

    @property
    @abstractmethod
    def words(self) -> str:
        """What the weights are, for the line under a table."""


@dataclass(frozen=True)
class Precision(Weights):
    """Precision weights: Var(e_i) = sigma^2 / w_i, as `weights=` in lme4.

    Rows stay rows: n does not change, and weights times a constant change sigma only. With `family=` "binomial",
    "poisson" or "gamma" the outcome of a row is the mean of w_i independent answers: w_i are numbers of trials, for
    instance, and are no longer free of a constant.

    Parameters
    ----------
    column : the column of weights; all positive.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy").assign(w=2.0)
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", data, weights=cl.Precision("w"))
    >>> round(fit.deviance, 4)
    1743.6283
    """

    column: str

    def __post_init__(self) -> None:
        _check_name(self.column, "cl.Precision")

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of weights."""
        return (self.column,)

    @property
    def words(self) -> str:
        """In words."""
        return f"precision {self.column}: residual variance sigma\u00b2 / {self.column}"


@dataclass(frozen=True)
class Frequency(Weights):
    """Frequency weights: a row with weight f stands for f equal rows, and the results are those of the f rows.

    Parameters
    ----------
    column : the column of whole numbers; rows with 0 are left out and counted.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy").assign(f=2)
    >>> cl.mixed("Reaction ~ Days + (1 | Subject)", data, weights=cl.Frequency("f")).nobs
    360
    """

    column: str

    def __post_init__(self) -> None:
        _check_name(self.column, "cl.Frequency")

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of weights."""
        return (self.column,)

    @property
    def words(self) -> str:
        """In words."""
        return f"frequency {self.column}: a row stands for so many equal ones"


@dataclass(frozen=True)
class Sampling(Weights):
    """Sampling weights, one over the probability of being drawn, by pseudo-maximum likelihood.

    The log-likelihood of row i in cluster j counts w_ij times, that of cluster j w_j times; standard errors come from
    the sandwich (Rabe-Hesketh & Skrondal 2006, J. R. Statist. Soc. A 169: 805-827; Pfeffermann, Skinner, Holmes,
    Goldstein & Rasbash 1998, J. R. Statist. Soc. B 60: 23-40). Cluster weights are left as they are, their unit does
    not matter. Weights of rows are scaled within clusters, to

    - "size": w_ij n_j / sum w_ij, so that they sum to the rows of the cluster;
    - "effective": w_ij sum w_ij / sum w_ij^2, so that they sum to its effective size;
    - "none": as they are.

    The first two give the same whether `rows` holds weights within the drawn cluster (w_ij = 1 / Pr(i | j)) or overall
    ones (times w_j); "none" wants those within the cluster.

    Parameters
    ----------
    rows : the column of row weights; None counts each row once. Rows with 0 are left out and counted.
    clusters : for grouping factors of the model, the column of their weights, constant within each cluster.
    scaling : of row weights.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy").assign(w=2.0)
    >>> weights = cl.Sampling(clusters={"Subject": "w"})
    >>> fit = cl.mixed("Reaction ~ Days + (1 | Subject)", data, weights=weights, method="ml")
    >>> fit.params.round(2).to_dict()
    {'Intercept': 251.41, 'Days': 10.47}
    """

    rows: str | None = None
    clusters: Mapping[str, str] = field(default_factory=dict)
    scaling: Scaling = "size"

    def __post_init__(self) -> None:
        if self.rows is not None:
            _check_name(self.rows, "cl.Sampling")
        if not isinstance(self.clusters, Mapping) or not all(
            isinstance(part, str) for pair in self.clusters.items() for part in pair
        ):
            raise CrosslevelError(
                "`clusters` of cl.Sampling names for each grouping factor its column of weights, such as "
                f"{{'school': 'w2'}}; got {self.clusters!r}."
            )
        if self.rows is None and not self.clusters:
            raise CrosslevelError(
                "cl.Sampling needs a column of row weights, of cluster weights, or both; got neither."
            )
        if self.scaling not in get_args(Scaling):
            raise CrosslevelError(f"`scaling` is 'size', 'effective' or 'none'; got {self.scaling!r}.")
        object.__setattr__(self, "clusters", MappingProxyType(dict(self.clusters)))

    def __reduce__(self) -> tuple[type["Sampling"], tuple[str | None, dict[str, str], Scaling]]:
        """What it is made of: the read-only view cannot be copied to other processes."""
        return Sampling, (self.rows, dict(self.clusters), self.scaling)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of weights."""
        return (*(() if self.rows is None else (self.rows,)), *self.clusters.values())

    @property
    def words(self) -> str:
        """In words."""
        parts = [] if self.rows is None else [f"{self.rows} for rows (scaling: {self.scaling})"]
        parts += [f"{column} for {group}" for group, column in self.clusters.items()]
        return f"sampling {', '.join(parts)}; standard errors from the sandwich"


def check_weights(weights: object) -> Weights | None:
    """The weights as given; what does not say how it is to be read is refused.

    Raises
    ------
    CrosslevelError : a name, an array, or anything else that is no reading.
    """
    if weights is None or isinstance(weights, Weights):
        return weights
    shown = repr(weights) if isinstance(weights, str) else type(weights).__name__
    raise CrosslevelError(f"`weights` has to say what they mean; got {shown}. Write {READINGS}.")


def _check_name(column: object, reading: str) -> None:
    """Refuse anything but a column's name."""
    if not isinstance(column, str):
        raise CrosslevelError(
            f"`{reading}` takes the name of a column of `data`; got {type(column).__name__}. "
            "Add the weights to the data as a column."
        )


def positive_rows(weights: Weights, columns: Columns, mask: BoolArray | None) -> tuple[BoolArray | None, int]:
    """Leave out rows that count zero times.

    Parameters
    ----------
    weights : what rows weigh.
    columns : the data.
    mask : (rows read,) true where nothing is missing, the weights included; None if nowhere.

    Returns
    -------
    mask : true where, besides, all weights are positive.
    n_zero : rows that have no missing value, but a weight of zero.

    Raises
    ------
    DataError : weights that are negative or infinite, precisions that are zero, frequencies that are not whole.
    """
    zero = np.zeros(columns.n_rows, dtype=np.bool_)
    for name in dict.fromkeys(weights.columns):
        values = columns.numeric(name)
        used = values if mask is None else values[mask]
        _check_values(weights, name, used)
        zero |= values == 0.0
    if mask is not None:
        zero &= mask
    n_zero = int(np.count_nonzero(zero))
    if not n_zero:
        return mask, 0
    kept = ~zero if mask is None else mask & ~zero
    if not kept.any():
        raise DataError(f"`weights` are zero in all rows without missing values: {', '.join(weights.columns)}.")
    return kept, n_zero


def _check_values(weights: Weights, name: str, values: FloatArray) -> None:
    """Refuse values that no weight of this kind has."""
    if not np.all(np.isfinite(values)):
        raise DataError(f"`weights` are infinite in {_count(~np.isfinite(values))} of {name!r}. Correct them.")
    if np.any(values < 0.0):
        raise DataError(
            f"`weights` are negative in {_count(values < 0.0)} of {name!r} (smallest: {values.min():g}). A weight says "
            "how much a row counts: it cannot be less than zero."
        )
    if isinstance(weights, Precision) and np.any(values == 0.0):
        raise DataError(
            f"`weights` are zero in {_count(values == 0.0)} of {name!r}: a precision of zero is an infinite residual "
            "variance. Leave these rows out, or make them missing."
        )
    if isinstance(weights, Frequency) and np.any(values != np.rint(values)):
        raise DataError(
            f"`weights` are not whole numbers in {_count(values != np.rint(values))} of {name!r}, so they cannot be "
            "frequencies. Use cl.Precision or cl.Sampling if that is what they are."
        )


def _count(where: BoolArray) -> str:
    """So many rows."""
    n = int(np.count_nonzero(where))
    return f"{n} row" if n == 1 else f"{n} rows"


def row_weights(
    weights: Weights, columns: Columns, mask: BoolArray | None, codes: CodeArray, n_clusters: int
) -> FloatArray | None:
    """Weights of the used rows (n,), scaled; None if each counts once.

    Parameters
    ----------
    weights, columns : what rows weigh, and the data.
    mask : (rows read,) true where a row is used; None if all are.
    codes : (rows used,) clusters within which sampling weights are scaled: those next to the rows.
    n_clusters : J.
    """
    name = weights.rows if isinstance(weights, Sampling) else weights.columns[0]
    if name is None:
        return None
    values = np.array(columns.numeric(name) if mask is None else columns.numeric(name)[mask], dtype=np.float64)
    return scaled(values, codes, n_clusters, weights.scaling) if isinstance(weights, Sampling) else values


def scaled(values: FloatArray, codes: CodeArray, n_clusters: int, scaling: Scaling) -> FloatArray:
    """Sampling weights of rows (n,) scaled within their clusters; see `Sampling`.

    Examples
    --------
    >>> import numpy as np
    >>> scaled(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]), 2, "size").tolist()
    [0.5, 1.5, 1.0]
    >>> scaled(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]), 2, "effective").round(9).tolist()
    [0.4, 1.2, 1.0]
    """
    if scaling == "none":
        return values
    total = np.bincount(codes, values, n_clusters)
    above, below = (
        (np.bincount(codes, minlength=n_clusters), total)
        if scaling == "size"
        else (total, np.bincount(codes, values * values, n_clusters))
    )
    factor = np.divide(above, below, out=np.ones(n_clusters), where=below > 0.0)
    return np.asarray(values * factor[codes])


def cluster_weights(
    columns: Columns, name: str, group: str, mask: BoolArray | None, codes: CodeArray, n_clusters: int
) -> FloatArray:
    """Weights (J,) of the clusters of one factor.

    Parameters
    ----------
    columns, name : the data, and the column of weights.
    group : name of the factor, for messages.
    mask : (rows read,) true where a row is used; None if all are.
    codes : (rows used,) cluster of each.
    n_clusters : J.

    Raises
    ------
    DataError : weights that differ within a cluster.
    """
    values = np.asarray(columns.numeric(name) if mask is None else columns.numeric(name)[mask], dtype=np.float64)
    out = np.zeros(n_clusters)
    out[codes] = values
    differs = np.abs(values - out[codes]) > CONSTANT * np.abs(values)
    if np.any(differs):
        many = len(np.unique(codes[differs]))
        raise DataError(
            f"`weights` of the clusters of {group}, {name!r}, differ within {many} of the {n_clusters} clusters. "
            "Give one number for each cluster; weights of rows are the first argument of cl.Sampling."
        )
    return out


def scaling_concern(
    weights: Weights, values: FloatArray | None, codes: CodeArray, n_clusters: int, group: str
) -> str | None:
    """A sentence if row weights differ within clusters so small that their scaling matters, else None."""
    if not isinstance(weights, Sampling) or values is None:
        return None
    average = len(values) / n_clusters
    relative = values / np.bincount(codes, values, n_clusters)[codes] * np.bincount(codes, minlength=n_clusters)[codes]
    if average >= SMALL_CLUSTERS or np.all(np.abs(relative - 1.0) <= CONSTANT):
        return None
    return (
        f"Sampling weights of rows vary within clusters of {group} that have {average:.1f} rows on average: with "
        f"clusters this small the variances depend on how the weights are scaled (here scaling={weights.scaling!r}). "
        "Compare scaling='size', 'effective' and 'none'; Pfeffermann et al. (1998) prefer 'size' where weights are "
        "informative and 'effective' where they are not."
    )
