"""Adjusted predictions of a fitted model, average marginal effects, and contrasts."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.combining import row_weights
from crosslevel.estimators.marginal_setting import At, By, listed, setting_of, written
from crosslevel.estimators.marginal_table import About, Comparison, Margins, table_of
from crosslevel.estimators.slopes import slopes


def margins(
    fit: Any,
    by: By = None,
    *,
    effects: str | Sequence[str] | None = None,
    contrasts: Comparison | None = None,
    among: str | Sequence[str] | None = None,
    at: At = "observed",
    over: str = "auto",
    adjust: str = "none",
    ddf: str | None = None,
    vcov: str | None = None,
    level: float = 0.95,
) -> Margins:
    """Adjusted predictions at values of some variables; with `effects` marginal effects; with `contrasts` differences.

    Predictions are those of the fixed part, random effects zero, in the unit of the outcome: C beta with C the design
    row, averaged over the rows with the variables of `by` set. A known offset is at its mean.

    Parameters
    ----------
    fit : a model fitted by `cl.mixed` or `cl.ols`.
    by : variables: names, or names with values, as in `cl.slopes`; None for the average of all rows.
    effects : variables whose average marginal effects are given in place of predictions: `cl.slopes` of them.
    contrasts : "pairwise", "reference" or "sequential": give differences between the predictions (or slopes).
    among : variables of `by` whose values are compared, within each combination of the others; the first if None.
    at : where the other variables are; see `cl.slopes`.
    over : the units of representative values; see `cl.slopes`.
    adjust : "none", "holm", "bonferroni" or "tukey" (pairwise contrasts). All rows are a family; of contrasts, those
        within one combination of the other variables.
    ddf, vcov, level : see `cl.slopes`.

    Returns
    -------
    Margins : see `cl.slopes`.

    Raises
    ------
    CrosslevelError : unknown names, values or methods.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed("mathach ~ within(ses, school) * sector + (within(ses, school) | school)", data)
    >>> found = cl.margins(fit, {"sector": None, "within(ses, school)": [-1, 1]})
    >>> found[["estimate", "std_error", "sector", "within(ses, school)"]].round(2).reset_index(drop=True)
       estimate  std_error    sector  within(ses, school)
    0      8.59       0.29    Public                 -1.0
    1     14.20       0.37    Public                  1.0
    2     12.74       0.33  Catholic                 -1.0
    3     15.66       0.41  Catholic                  1.0
    >>> cl.margins(fit, "sector", contrasts="pairwise")[["estimate", "std_error", "contrast"]].round(2)
            estimate  std_error           contrast
    term
    sector      2.81       0.44  Catholic - Public
    """
    if effects is not None:
        found = slopes(
            fit, effects, by, at=at, over=over, adjust="none" if contrasts else adjust, ddf=ddf, vcov=vcov, level=level
        )
    else:
        found = predictions(
            fit, by, at=at, over=over, adjust="none" if contrasts else adjust, ddf=ddf, vcov=vcov, level=level
        )
    if contrasts is None:
        if among is not None:
            raise CrosslevelError("`among` says what `contrasts` compares, which is None. Write contrasts='pairwise'.")
        return found
    return found.contrasts(contrasts, among=among, adjust=adjust)


def predictions(
    fit: Any, by: By, *, at: At, over: str, adjust: str, ddf: str | None, vcov: str | None, level: float
) -> Margins:
    """Adjusted predictions; see `margins`."""
    setting = setting_of(fit, listed(by, "by"), at=at, over=over, ddf=ddf, vcov=vcov)
    values, notes = setting.by_values(by)
    combinations = list(itertools.product(*values.values()))
    rows = setting.weights_at({key: [cell[k] for cell in combinations] for k, key in enumerate(values)})
    records = [{"term": _label(values, cell), **dict(zip(values, cell, strict=True))} for cell in combinations]
    families = np.zeros(len(rows), dtype=np.int64)
    offset = fit.design.offset
    shift = 0.0 if offset is None else float(np.average(offset, weights=row_weights(fit.design)))
    if offset is not None:
        notes = (*notes, f"The offset is at its mean, {written(shift)}.")
    frame = table_of(
        setting.combiner, rows, records, families=families, means=families, adjust=adjust, level=level, shift=shift
    )
    about = About(
        kind="predictions", response=fit.spec.response_name, by=tuple(values), place=setting.place,
        method=setting.combiner.description, level=level, adjust=adjust, n_families=1, notes=notes, rows=rows,
        combiner=setting.combiner,
    )  # fmt: skip
    return Margins.of(frame, about)


def _label(values: dict[str, list[Any]], cell: tuple[Any, ...]) -> str:
    """What a prediction is called."""
    return ", ".join(f"{name} = {written(value)}" for name, value in zip(values, cell, strict=True)) or "average"
