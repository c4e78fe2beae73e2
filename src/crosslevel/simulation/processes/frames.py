"""Rows of a simulated process."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError, DataError
from crosslevel.formula import Spec, learn
from crosslevel.simulation.processes.correlations import RandomCorrelation
from crosslevel.simulation.processes.given import read_formula
from crosslevel.simulation.processes.variables import Arms, Binary
from crosslevel.table import Columns
from crosslevel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from crosslevel.simulation.processes.process import Process

TEMPLATE_ROWS, TEMPLATE_LEAST, TEMPLATE_SEED = 1500, 30, 20
"""Rows of a template in all, the least of a cluster, and the seed of their random numbers."""

MOST_ROWS = 50_000_000
"""Of one data set: with a few predictors some gigabytes."""


def learnt_spec(process: "Process") -> Spec:
    """The formula of a process, learnt from a few rows of its predictors.

    Raises
    ------
    CrosslevelError : the formula cannot be used for such predictors.
    """
    try:
        return learn(read_formula(process.formula), Columns.from_frame(template_rows(process)))
    except DataError as error:
        raise _unsuitable(process, error) from error


def rows_frame(process: "Process", rng: np.random.Generator) -> pd.DataFrame:
    """Rows of one data set: predictors, clusters and outcome."""
    counts = process.size_law.draw(rng)
    if counts.sum() > MOST_ROWS:
        raise CrosslevelError(
            f"`size` and `clusters` make {counts.sum():,} rows; one data set can have at most {MOST_ROWS:,} where rows "
            "are drawn. Take fewer, or leave to cross-products, which need no rows, what is normal and linear."
        )
    frame = predictor_frame(process, counts, rng)
    sd = np.array([process.sd[name] for name in process.random_names])
    root = sd[:, None] * _root(process.correlation, process.effect_root, process.blocks, rng)
    effects = rng.standard_normal((process.clusters, len(sd))) @ root.T
    columns = _own_columns(process, frame)
    y = process.sigma * rng.standard_normal(len(frame))
    for position, name in enumerate(process.fixed_names):
        y += process.effects[name] * columns[position]
    for k, position in enumerate(process.effect_columns):
        y += np.repeat(effects[:, k], counts) * columns[position]
    frame[process.response] = y
    return frame


def _own_columns(process: "Process", frame: pd.DataFrame) -> FloatArray:
    """Design columns (m, n) of a process's formula.

    Raises
    ------
    CrosslevelError : the formula cannot be used for such predictors.
    """
    try:
        return frame_columns(learn(read_formula(process.formula), Columns.from_frame(frame)), frame)
    except DataError as error:
        raise _unsuitable(process, error) from error


def _unsuitable(process: "Process", error: DataError) -> CrosslevelError:
    return CrosslevelError(
        f"`formula` {process.formula!r} does not suit the predictors that `variables` describes (those that are not "
        f"listed are normal, with mean 0). In rows of them: {error}"
    )


def predictor_frame(
    process: "Process", counts: IntArray, rng: np.random.Generator, *, template: bool = False
) -> pd.DataFrame:
    """Predictors and clusters of some rows; the outcome is 0.

    Parameters
    ----------
    process : the process.
    counts : (J,) rows of the clusters.
    rng : random numbers.
    template : draw uncorrelated predictors, 0 and 1 in equal numbers.
    """
    n, size = int(counts.sum()), len(process.predictors)
    latent = rng.standard_normal((size, n))
    if size and not template:
        together = np.zeros(size, dtype=np.int64)
        latent = _root(process.predictor_correlation, process.predictor_root, together, rng) @ latent
    centres = rng.standard_normal((size, len(counts)))
    data: dict[str, FloatArray | IntArray] = {}
    for name, given in process.all_variables.items():
        variable = replace(given, share=0.5) if template and isinstance(given, Binary | Arms) else given
        if variable.is_context:
            own = rng.standard_normal(len(counts))
            data[name] = np.repeat(variable.draw(own, own, rng), counts)
        else:
            k = process.predictors.index(name)
            data[name] = variable.draw(latent[k], np.repeat(centres[k], counts), rng)
    data[process.group] = np.repeat(np.arange(len(counts)), counts)
    return pd.DataFrame({**data, process.response: np.zeros(n)}, copy=False)


def frame_columns(spec: Spec, frame: pd.DataFrame) -> FloatArray:
    """Design columns (m, n) of a learnt formula."""
    return spec.bind(Columns.from_frame(frame), response=False).evaluate()


def _root(given: object, fixed: FloatArray, blocks: IntArray, rng: np.random.Generator) -> FloatArray:
    """Lower root of a correlation matrix, drawn block by block if it is random."""
    if not isinstance(given, RandomCorrelation):
        return fixed
    out = np.zeros_like(fixed)
    for block in np.unique(blocks):
        places = np.flatnonzero(blocks == block)
        out[np.ix_(places, places)] = given.root(len(places), rng)
    return out


def template_rows(process: "Process", counts: IntArray | None = None) -> pd.DataFrame:
    """Rows with all clusters of a process, though no more of them than it takes to learn the columns of a formula.

    The outcome means nothing. Rare values of variables occur as often as others, so that every category is there.

    Parameters
    ----------
    process : the process.
    counts : (J,) rows of the clusters; by default as many in each.
    """
    rng = np.random.default_rng(TEMPLATE_SEED)
    if counts is None:
        counts = np.full(process.clusters, max(TEMPLATE_ROWS // process.clusters, TEMPLATE_LEAST))
    frame = predictor_frame(process, counts, rng, template=True)
    return frame.assign(**{process.response: rng.standard_normal(len(frame))})
