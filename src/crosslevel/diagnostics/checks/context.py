"""Whether context effects rest on one cluster, and whether their errors allow for varying slopes."""

from collections.abc import Iterator

import numpy as np

from crosslevel.design import slopes_explained
from crosslevel.diagnostics.checks.light import Light
from crosslevel.diagnostics.checks.subject import Subject
from crosslevel.diagnostics.influence import influence
from crosslevel.display import fixed, number, percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.types import FloatArray

DISTANT, HEAVY = 4.0, 0.25
"""Robust standard deviations from the median, and share of the sum of squares, from which on a cluster stands out."""


def outlying_clusters(subject: Subject) -> Iterator[Light]:
    """Context variables with one cluster far from the others."""
    design = subject.design
    if not design.factors or design.factors[0].members:
        return
    means, levels = subject.cluster_means, np.array([str(level) for level in design.factors[0].levels])
    looked, found = 0, False
    for k in subject.predictors:
        values = means[:, k]
        if not subject.above[k] or len(subject.columns[k].factors) != 1 or len(np.unique(values)) < 3:
            continue
        looked += 1
        place, distance, share = furthest(values)
        if distance > DISTANT and share > HEAVY:
            name, cluster, found = subject.columns[k].name, levels[place], True
            yield Light(
                name="Outlying cluster", concern="look",
                finding=f"{cluster} has {name} = {number(values[place])}, {fixed(distance, 1)} robust standard "
                f"deviations from the median, and {percent(share)} of its sum of squares."
                f"{_without(subject, name, cluster)}",
                advice=f"Report the estimates without {cluster} too, or transform {name} (log, ranks).",
            )  # fmt: skip
    if looked and not found:
        quiet = "No cluster stands far apart from the others in a cluster-level predictor."
        yield Light(name="Outlying clusters", concern="none", finding=quiet)


def furthest(values: FloatArray) -> tuple[int, float, float]:
    """The value furthest from the median: its place, its distance, and its share of the sum of squares.

    The distance is in robust standard deviations, 1.4826 times the median distance; where more than half of the values
    are equal, in standard deviations of the others.

    Examples
    --------
    >>> place, distance, share = furthest(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    >>> place, round(distance, 2), round(share, 3)
    (4, 65.43, 0.799)
    """
    away = np.abs(values - np.median(values))
    place = int(np.argmax(away))
    robust = 1.4826 * float(np.median(away))
    if robust == 0.0:
        robust = float(np.std(np.delete(values, place)))
    centred = values - values.mean()
    return place, float(away[place] / robust) if robust else np.inf, float(centred[place] ** 2 / (centred @ centred))


def _without(subject: Subject, name: str, cluster: str) -> str:
    """What the coefficient is without the cluster, where the model can be fitted again."""
    if name not in subject.fit.params.index:
        return ""
    try:
        found = influence(subject.fit, progress=False)
    except CrosslevelError:
        return ""
    if cluster not in found.estimates.index:
        return ""
    whole, left = float(subject.fit.params[name]), float(found.estimates[name][cluster])
    return f" With it the coefficient is {number(whole)}, without it {number(left)}."


def unmodelled_slopes(subject: Subject) -> Iterator[Light]:
    """Cross-level interactions whose lower-level variable has no random slope."""
    design = subject.design
    if isinstance(subject.fit, OLSFit) or not design.factors:
        return
    explained = slopes_explained(design)
    single = {
        column.factors[0] for k, column in enumerate(subject.columns) if len(column.factors) == 1 and subject.above[k]
    }
    cross = [
        (column, int(explained[k]))
        for k, column in enumerate(subject.columns)
        if len(column.factors) > 1 and not subject.above[k] and any(name in single for name in column.factors)
    ]
    for column, slope in cross:
        below = [name for name in column.factors if name not in single]
        if slope < 0 and below:
            what = ":".join(below)
            yield Light(
                name="Cross-level interaction", concern="act",
                finding=f"{column.name} lets the slope of {what} differ between clusters of {design.group} by context "
                "and by nothing else: its standard error is too small wherever slopes differ otherwise.",
                advice=f"Add a random slope: ({what} | {design.group}).",
            )  # fmt: skip
    if cross and all(slope >= 0 for _, slope in cross):
        quiet = "Every cross-level interaction has the random slope that it explains."
        yield Light(name="Cross-level interaction", concern="none", finding=quiet)
