"""Whether predictors are on readable scales, and whether they can be told apart."""

from collections.abc import Iterator, Sequence

import numpy as np

from crosslevel.diagnostics.checks.light import Light
from crosslevel.diagnostics.checks.subject import Subject
from crosslevel.display import fixed, number
from crosslevel.types import FloatArray

UNLIKE = 1e4
"""Ratio of standard deviations from which on coefficients are hard to read side by side."""

FAR = 10.0
"""Standard deviations between zero and the mean from which on an intercept at zero is far outside of the data."""

INFLATED, DETERMINED = 10.0, 100.0
"""Variance inflation that deserves a look, and that leaves little to estimate."""


def scale(subject: Subject) -> Iterator[Light]:
    """Standard deviations of very different sizes."""
    names = [subject.columns[k].name for k in subject.predictors]
    spread = subject.spread[subject.predictors]
    if len(names) > 1 and spread.max() > UNLIKE * spread.min():
        small, large = names[int(spread.argmin())], names[int(spread.argmax())]
        yield Light(
            name="Scale of predictors", concern="look",
            finding=f"Standard deviations go from {number(spread.min())} ({small}) to {number(spread.max())} "
            f"({large}).",
            advice="The fit takes no harm, but coefficients are hard to read: write I(x / 1000), or scale(x).",
        )  # fmt: skip
    elif names:
        yield Light(
            name="Scale of predictors", concern="none",
            finding=f"Standard deviations go from {number(spread.min())} to {number(spread.max())}.",
        )  # fmt: skip


def zero_outside(subject: Subject) -> Iterator[Light]:
    """Random slopes of variables whose zero is far from the data."""
    design = subject.design
    products = design.products
    spread = np.sqrt(np.diag(products.total) / products.weight)
    mean = products.grand_mean + products.origin
    for factor in design.factors:
        if design.constant not in factor.z:
            continue
        for j in factor.z:
            if j != design.constant and abs(mean[j]) > FAR * spread[j] > 0.0:
                name = design.spec.columns[j].name
                yield Light(
                    name="Zero of predictors", concern="look",
                    finding=f"{name} has a random slope and mean {number(mean[j])} with standard deviation "
                    f"{number(spread[j])}: the intercepts' variance, and its correlation with the slopes, are those at "
                    f"{name} = 0, far outside of the data.",
                    advice=f"Write center({name}), or within({name}, {factor.name}).",
                )  # fmt: skip


def collinearity(subject: Subject) -> Iterator[Light]:
    """Variance inflation over all rows, within and between clusters."""
    levels = [("over all rows", subject.total, subject.predictors)]
    if subject.design.factors and not subject.design.factors[0].members:
        below = [k for k in subject.predictors if not subject.above[k]]
        levels.append((f"within clusters of {subject.design.group}", subject.within, below))
        means = subject.cluster_means
        centred = means - means.mean(axis=0)
        over = [k for k in subject.predictors if subject.above[k]]
        if len(means) > len(over) + 1:
            levels.append((f"between clusters of {subject.design.group}", centred.T @ centred, over))
    for where, scatter, chosen in levels:
        yield from _inflation(subject, where, scatter, chosen)


def _inflation(subject: Subject, where: str, scatter: FloatArray, chosen: Sequence[int]) -> Iterator[Light]:
    """The light of one level."""
    varying = [k for k in chosen if scatter[k, k] > 0.0]
    groups = terms_of(subject, varying)
    if len(groups) < 2:
        return
    found = generalized_inflation(scatter, list(groups.values()))
    worst = int(np.argmax(found))
    name, value = list(groups)[worst], float(found[worst])
    told = f"Largest variance inflation {where}: {_shown(value)} ({name})."
    if value < INFLATED:
        yield Light(name="Collinearity", concern="none", finding=told)
        return
    first = {term: subject.columns[columns[0]] for term, columns in groups.items()}
    product = any(
        len(column.factors) > 1 and inflation >= INFLATED and set(first[name].variables) <= set(column.variables)
        for column, inflation in zip(first.values(), found, strict=True)
    )
    advice = (
        "Centre the variables of the interaction: its coefficient stays the same, the others become those at the means."
        if product
        else "The others nearly determine it: leave one out, combine them, or say that they cannot be told apart."
    )
    yield Light(name="Collinearity", concern="act" if value > DETERMINED else "look", finding=told, advice=advice)


def _shown(value: float) -> str:
    """A variance inflation factor."""
    return fixed(value, 1) if np.isfinite(value) else "infinite"


def terms_of(subject: Subject, columns: Sequence[int]) -> dict[str, list[int]]:
    """Columns that belong together, such as the categories of a variable, by the name of what they code."""
    groups: dict[tuple[tuple[str, ...], int], list[int]] = {}
    for k in columns:
        column = subject.columns[k]
        groups.setdefault((tuple(sorted(column.variables)), len(column.factors)), []).append(k)
    named: dict[str, list[int]] = {}
    for (variables, _), members in groups.items():
        shared = [subject.columns[k] for k in members]
        coded = len(members) > 1 and all("[" in column.name for column in shared)
        if len(members) == 1 or coded or all(column.kind != "numeric" for column in shared):
            name = shared[0].name if len(members) == 1 else ":".join(variables)
            named[name] = members
        else:
            # within(x, g) and between(x, g) are of one variable, and two predictors
            named.update({column.name: [k] for column, k in zip(shared, members, strict=True)})
    return named


def generalized_inflation(scatter: FloatArray, groups: Sequence[Sequence[int]]) -> FloatArray:
    """Generalized variance inflation of groups of columns, for one degree of freedom.

    GVIF = det R_1 det R_2 / det R, with R the correlations of all columns, R_1 those of the group and R_2 those of the
    others; to the power 1 / df it is comparable between groups, and of one column it is the variance inflation.

    Parameters
    ----------
    scatter : (p, p) sums of squares and products.
    groups : positions of the columns of each.

    Source
    ------
    Fox & Monette (1992), Journal of the American Statistical Association 87: 178-183.

    Examples
    --------
    >>> generalized_inflation(np.array([[1.0, 0.5], [0.5, 1.0]]), [[0], [1]]).round(4).tolist()
    [1.3333, 1.3333]
    """
    members = [k for group in groups for k in group]
    size = np.sqrt(np.diag(scatter)[members])
    correlation = scatter[np.ix_(members, members)] / np.outer(size, size)
    place = {k: i for i, k in enumerate(members)}
    whole = _log_det(correlation)
    out = np.empty(len(groups))
    for number_, group in enumerate(groups):
        own = [place[k] for k in group]
        others = [i for i in range(len(members)) if i not in own]
        parts = _log_det(correlation[np.ix_(own, own)]) + _log_det(correlation[np.ix_(others, others)])
        out[number_] = np.exp((parts - whole) / len(own)) if np.isfinite(whole) else np.inf
    return out


def _log_det(matrix: FloatArray) -> float:
    """Log determinant of a correlation matrix; minus infinity where it is singular up to rounding."""
    sizes = np.linalg.eigvalsh(matrix)
    return float(np.log(sizes).sum()) if sizes.min() > 1e-12 else -np.inf
