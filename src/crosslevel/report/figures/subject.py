"""What a figure is about: the columns, labels and rows of a fit that it shows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.types import IntArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed import MixedFit


def chosen(argument: str, value: str | None, options: Sequence[str]) -> str:
    """The option named by an argument, or the first; anything else is refused."""
    if value is None:
        return options[0]
    if value not in options:
        raise CrosslevelError(f"`{argument}` must be one of {', '.join(map(repr, options))}; got {value!r}.")
    return value


def coefficients_named(terms: str | Sequence[str], options: Sequence[str]) -> list[str]:
    """The coefficients named by `terms`, one or several.

    Raises
    ------
    CrosslevelError : no such coefficient, or none at all.
    """
    named = [chosen("terms", term, options) for term in ([terms] if isinstance(terms, str) else terms)]
    if not named:
        raise CrosslevelError("`terms` is empty. Name coefficients, or leave it out for the context effects.")
    return named


def models_by_name(given: Any, names: Sequence[str] | None) -> dict[str, Any]:
    """One model, several, or a dict of them, by name.

    Raises
    ------
    CrosslevelError : no model, or not a different name for each.
    """
    if isinstance(given, Mapping):
        if names is not None:
            raise CrosslevelError("`names` is for a list of models; a dict has their names already.")
        found = {str(name): fit for name, fit in given.items()}
    else:
        several = list(given) if isinstance(given, list | tuple) else [given]
        heads = [f"Model {k + 1}" for k in range(len(several))] if names is None else [str(name) for name in names]
        if len(heads) != len(several) or len(set(heads)) < len(heads):
            raise CrosslevelError(f"`names` needs {len(several)} different names, one for each model; got {heads}.")
        found = dict(zip(heads, several, strict=True))
    if not found:
        raise CrosslevelError("`models` is empty. Give fits, such as [small, large].")
    return found


def linear_only(fit: object, figure: str, why: str, instead: str) -> None:
    """Refuse a figure that makes sense of linear models only.

    Raises
    ------
    CrosslevelError : the fit is of another family.
    """
    from crosslevel.estimators.generalized.fit import GeneralizedFit

    if isinstance(fit, GeneralizedFit):
        raise CrosslevelError(f"`{figure}` draws {why}, and family={fit.family.name!r} is another one. {instead}")


def named(name: str, labels: Mapping[str, str]) -> str:
    """A variable's label with its name, or its name alone."""
    label = labels.get(name, "")
    return f"{label} ({name})" if label and label != name else name


def used_frame(fit: "MixedFit", names: Iterable[str], argument: str = "x") -> pd.DataFrame:
    """The columns of the data, only the rows that the fit used."""
    columns = fit.design.columns
    wanted = tuple(dict.fromkeys(names))
    columns.require(wanted, argument)
    return columns.to_pandas(wanted, slice(0, columns.n_rows), fit.design.mask).reset_index(drop=True)


def effects_in(fit: "MixedFit | GeneralizedFit", group: str) -> tuple[str, ...]:
    """Names of the random effects of a grouping factor."""
    return fit.design.effects_of(fit.design.factor_named(group))


def clusters_of(fit: "MixedFit") -> pd.Index:
    """The cluster of each row that the fit used."""
    return fit.group_sizes.index.take(fit.design.used_codes(fit.design.factors[0]))


def predictor_of(fit: "MixedFit") -> str | None:
    """The numeric variable for the horizontal axis: of the first random slope, or of the first row-level predictor."""
    design = fit.design
    if not design.factors:
        return None
    order = [*design.z.tolist(), *design.x.tolist()]
    groups = set(fit.group.split(":"))
    found = [
        name
        for j in order
        if not design.cluster_level[j]
        for name in design.spec.columns[j].variables
        if name not in groups
    ]
    return next((name for name in found if design.columns.is_numeric(name)), None)


def evenly(count: int, wanted: int) -> IntArray:
    """At most `wanted` positions spread evenly over `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.int64))
