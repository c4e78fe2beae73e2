"""Adjusted predictions of a fitted model, average marginal effects, and contrasts."""

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.marginal_setting import At, By, Scale, Setting, listed, setting_of, written
from crosslevel.estimators.marginal_table import About, Comparison, Margins, table_of
from crosslevel.estimators.slopes import slopes
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.expectations import RandomEffects
    from crosslevel.inference.bootstrap.record import Bootstrap


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
    scale: Scale = "response",
    random_effects: "RandomEffects" = "average",
    bootstrap: "Bootstrap | None" = None,
    level: float = 0.95,
) -> Margins:
    """Adjusted predictions at values of some variables; with `effects` marginal effects; with `contrasts` differences.

    Predictions of linear models are those of the fixed part, random effects zero, in the unit of the outcome: C beta
    with C the design row, averaged over the rows with the variables of `by` set. A known offset is at its mean.

    Predictions of models with a family are expected outcomes (probabilities, means; of ordered categories the
    probability of each), averaged over the rows and, exactly, over the random effects: those of the population.
    Standard errors are by the delta method, in coefficients, variances of the random effects and shape parameters;
    intervals stay within the possible range. Offsets are as in the rows where these are averaged over.

    Parameters
    ----------
    fit : a model fitted by `cl.mixed`, `cl.glm` or `cl.ols`.
    by : variables: names, or names with values, as in `cl.slopes`; None for the average of all rows.
    effects : variables whose average marginal effects are given in place of predictions: `cl.slopes` of them.
    contrasts : "pairwise", "reference" or "sequential": give differences between the predictions (or slopes).
    among : variables of `by` whose values are compared, within each combination of the others; the first if None.
    at : where the other variables are; see `cl.slopes`.
    over : the units of representative values; see `cl.slopes`.
    adjust : "none", "holm", "bonferroni" or "tukey" (pairwise contrasts). All rows are a family; of contrasts, those
        within one combination of the other variables.
    ddf, vcov, scale, random_effects, bootstrap, level : see `cl.slopes`.

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
            fit, effects, by, at=at, over=over, adjust="none" if contrasts else adjust, ddf=ddf, vcov=vcov,
            scale=scale, random_effects=random_effects, bootstrap=bootstrap, level=level,
        )  # fmt: skip
    else:
        setting = setting_of(
            fit, listed(by, "by"), at=at, over=over, ddf=ddf, vcov=vcov, scale=scale, random_effects=random_effects,
            bootstrap=bootstrap,
        )  # fmt: skip
        found = predictions(setting, by, adjust="none" if contrasts else adjust, level=level)
    if contrasts is None:
        if among is not None:
            raise CrosslevelError("`among` says what `contrasts` compares, which is None. Write contrasts='pairwise'.")
        return found
    return found.contrasts(contrasts, among=among, adjust=adjust)


def predictions(setting: Setting, by: By, *, adjust: str, level: float) -> Margins:
    """Adjusted predictions; see `margins`."""
    values, notes = setting.by_values(by)
    combinations = list(itertools.product(*values.values()))
    grid = {key: [cell[k] for cell in combinations] for k, key in enumerate(values)}
    records: list[dict[str, Any]] = []
    found: list[FloatArray] = []
    for labels, part in setting.each():
        found.append(part.weights_at(grid))
        records += [
            {"term": _label({**labels, **values}, (*labels.values(), *cell)), **labels,
             **dict(zip(values, cell, strict=True))} for cell in combinations
        ]  # fmt: skip
    rows = np.concatenate(found)
    shift, note = setting.offset
    families = np.zeros(len(rows), dtype=np.int64)
    frame = table_of(
        setting.combiner, rows, records, families=families, means=families, adjust=adjust, level=level, shift=shift
    )
    if setting.outcomes:
        frame = setting.outcomes[0].bounded(frame)
    about = About(
        kind="predictions", response=setting.response, by=(*values, *setting.labels), place=setting.place,
        method=setting.combiner.description, level=level, adjust=adjust, n_families=1, notes=(*notes, *note), rows=rows,
        combiner=setting.combiner, averages=setting.averages,
    )  # fmt: skip
    return Margins.of(frame, about)


def _label(values: Iterable[str], cell: tuple[Any, ...]) -> str:
    """What a prediction is called."""
    return ", ".join(f"{name} = {written(value)}" for name, value in zip(values, cell, strict=True)) or "average"
