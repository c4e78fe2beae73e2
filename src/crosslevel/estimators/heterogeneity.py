"""The varying coefficients of a fitted mixed model, at their moderators' mean or as the clusters are."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.design import Design, slopes_explained
from crosslevel.design.factors import GroupingFactor
from crosslevel.errors import CrosslevelError
from crosslevel.estimators import random
from crosslevel.inference.heterogeneity import COLUMNS, Heterogeneity, average_coefficients, differences
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit


def varying_coefficients(fit: "MixedFit", group: str | None, at: str) -> Heterogeneity:
    """Averages and differences of all varying coefficients; see `asked.explained.heterogeneity`."""
    design = fit.design
    if not design.factors:
        raise CrosslevelError(
            "`heterogeneity` is of coefficients that vary between clusters; this model has none. "
            "Add a term such as (x | school)."
        )
    wanted = design.factors if group is None else (design.factor_named(group),)
    records, own, moderators = [], {}, {}
    for factor in wanted:
        k = design.factors.index(factor)
        modes, covariance = fit._modes[k][0], fit.variance_components[k].covariance
        explained = explained_parts(fit, k)
        averages = average_coefficients(
            design.products, factor.z, design.x, fit.solution.beta, constant=design.constant
        )
        columns = {}
        for e, term in enumerate(design.effects_of(factor)):
            mean = float(averages[e])
            part: FloatArray = np.zeros(factor.n_levels)
            if e in explained:
                names, values = explained[e]
                moderators[factor.name, term] = names
                mean, part = mean + _average(design, k, values), values - _average(design, k, values)
            spread = float(np.sqrt(_average(design, k, part**2)))
            shown = part if at == "own" else np.zeros(factor.n_levels)
            columns[term] = mean + shown + modes[:, e]
            sd = float(np.sqrt(covariance[e, e] + (spread**2 if at == "own" else 0.0)))
            numbers = differences(mean, sd, columns[term])
            records.append((factor.name, term, *numbers, spread, factor.n_levels))
        own[factor.name] = pd.DataFrame(columns, index=random.level_index(factor))
    frame = pd.DataFrame.from_records(records, columns=["group", "term", *COLUMNS]).set_index(["group", "term"])
    return Heterogeneity(frame=frame, own=own, moderators=moderators, at=at)


def explained_parts(fit: "MixedFit", k: int) -> dict[int, tuple[tuple[str, ...], FloatArray]]:
    """What cross-level interactions add to the slopes of factor k in each of its levels.

    Returns
    -------
    by position of the slope among the factor's effects: names of the interactions, and (J,) sum over them of gamma
    times the product of the interaction's cluster-level components.
    """
    design, factor = fit.design, fit.design.factors[k]
    found: dict[int, tuple[tuple[str, ...], FloatArray]] = {}
    values: dict[str, FloatArray] = {}
    for i, e in enumerate(slopes_explained(design, k)):
        if e < 0:
            continue
        column = design.spec.columns[design.x[i]]
        own = set(design.spec.columns[factor.z[e]].factors)
        product = np.full(factor.n_levels, fit.solution.beta[i])
        for name in column.factors:
            if name in own:
                continue
            if name not in values:
                values[name] = level_values(design, name, factor)
            product = product * values[name]
        names, sum_so_far = found.get(int(e), ((), np.zeros(factor.n_levels)))
        found[int(e)] = ((*names, design.products.names[design.x[i]]), sum_so_far + product)
    return found


def level_values(design: Design, name: str, factor: GroupingFactor) -> FloatArray:
    """(J,) the value that a component of the design columns has in each level of a factor, where it is constant."""
    out = np.zeros(factor.n_levels)
    for values, codes in design.component_blocks(name, factor):
        out[codes] = values[0]
    return out


def _average(design: Design, k: int, values: FloatArray) -> float:
    """Mean over the levels of factor k, counted as often as their sampling weights say."""
    weights = design.weights
    copies = None if weights is None or weights.copies is None else weights.copies[k]
    return float(np.average(values, weights=copies))
