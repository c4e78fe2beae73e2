"""Models that cannot be estimated, refused with the reason."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.design.products import CrossProducts
from crosslevel.design.reduced import independent_columns
from crosslevel.errors import DesignError
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.design.build import Design
    from crosslevel.design.factors import GroupingFactor
    from crosslevel.design.outcome import Outcome
    from crosslevel.families import Family

SATURATED = 1.0 - 1e-9
"""Share of a random effect's column, cluster by cluster, that the fixed columns explain when they leave nothing."""

MANY_CATEGORIES = 10
"""Coefficients of one predictor from which on its categories are doubted where there are too many coefficients."""

NOTHING = 1e-13
"""Sum of squares, per row and relative to the outcome's, that counts as none."""


def check_columns(products: CrossProducts, *, varies: bool = True) -> None:
    """Refuse columns whose squares overflow and, where it `varies` in a linear model, an outcome that does not."""
    finite = np.isfinite(np.diag(products.total))
    if not finite.all():
        huge = [name for name, is_finite in zip(products.names, finite, strict=True) if not is_finite]
        raise DesignError(
            f"`formula` uses {', '.join(huge)}, with values so large that their squares overflow. "
            "Measure them in larger units: divide by a power of ten."
        )
    if products.n_rows == 1:
        raise DesignError("`data` has one row that can be used, and no model can be fitted to one. Give more rows.")
    if not varies:
        return
    name, total = products.names[-1], float(products.total[-1, -1])
    size = float((products.grand_mean + products.origin)[-1] ** 2 * products.weight)
    if total <= 1e-26 * size or total == 0.0:
        raise DesignError(
            f"`formula` explains {name!r}, which has the same value in all {round(products.n_rows)} rows used. "
            "Choose an outcome that varies."
        )


def check_identified(design: "Design") -> None:
    """Refuse a model whose residual variance cannot be told from its random effects, or is zero."""
    n, p = design.nobs, len(design.x)
    if n <= p:
        raise DesignError(
            f"`formula` has {p} fixed coefficients for {n} rows. Drop predictors or add rows.{_many_categories(design)}"
        )
    _check_random_columns(design)
    if design.outcome is not None:  # nothing has to be told from residuals
        if design.is_single and p >= design.factors[0].n_levels:
            _check_variances(design)
        elif not design.is_single:
            _check_grouping(design)
        return
    if design.residual is not None and design.residual.known:  # random effects need no rows to be told from residuals
        return
    if design.is_single:
        if not (_is_saturated(design) and _is_tied(design)):  # else the search asks whether all can be told apart
            _check_effects(design)
            _check_residual(design, design.reduced.remainder, f"within the clusters of {design.group}")
        _check_variances(design)
    else:
        _check_factors(design)
        _check_residual(design, design.crossing.gram, "as a linear function")


def _many_categories(design: "Design") -> str:
    """A hint at the predictor most coefficients belong to, if its categories may be numbers that are kept as text."""
    stems = Counter(design.spec.columns[j].name.partition("[")[0] for j in design.x)
    stem, count = stems.most_common(1)[0]
    if 2 * count <= len(design.x) or count < MANY_CATEGORIES:
        return ""
    return (
        f" {stem} alone has {count}, one for each category: if its values are numbers that are kept as text, turn them "
        "into numbers."
    )


def _check_effects(design: "Design") -> None:
    """Refuse as many random effects as rows."""
    n, q, n_clusters = design.nobs, len(design.z), len(design.products.levels)
    if _is_saturated(design):
        raise DesignError(
            f"`formula` has {q * n_clusters} random effects ({q} for each of {n_clusters} clusters of {design.group}) "
            f"for {n} rows, so they cannot be told from the residuals. Drop a random slope, or add rows per cluster."
        )


def _is_saturated(design: "Design") -> bool:
    """Whether there are as many random effects of the one factor as rows, cluster by cluster."""
    return bool(np.minimum(design.sizes[0], len(design.z)).sum() >= design.nobs)


def _is_tied(design: "Design") -> bool:
    """Whether a structure has fewer parameters than random effects have variances and covariances."""
    return not design.structure.additive.all()


def _check_factors(design: "Design") -> None:
    """Refuse a factor with as many random effects as rows, and two factors that group the rows in the same way."""
    n = design.nobs
    for factor in design.factors:
        if factor.n_levels * np.count_nonzero(~factor.structure.fixed) >= n:
            raise DesignError(
                f"`formula` has {factor.n_effects} random effects ({factor.structure.q} for each of {factor.n_levels} "
                f"clusters of {factor.name}) for {n} rows, so they cannot be told from the residuals. "
                "Drop a random slope, or add rows per cluster."
            )
    _check_grouping(design)


def _check_grouping(design: "Design") -> None:
    """Refuse two factors that group the rows in the same way."""
    for (k, m), pairs in design.crossing.pairs.items():
        one, other = design.factors[k], design.factors[m]
        if one.structure.fixed.all() or other.structure.fixed.all():
            continue
        if k != m and one.n_levels == other.n_levels == len(pairs.level) and np.intersect1d(one.z, other.z).size:
            raise DesignError(
                f"`formula` has random effects for {one.name} and for {other.name}, which group the rows in the same "
                f"way, so that their variances cannot be told apart. Drop one of the two terms."
            )


def _check_residual(design: "Design", rest: FloatArray, how: str) -> None:
    """Refuse an outcome of which the columns leave nothing; `rest` (p + 1, p + 1) is [X y]'[X y] outside of Z."""
    values, vectors = np.linalg.eigh(rest[:-1, :-1])
    able = values > 1e-12 * max(float(values.max(initial=0.0)), 1e-300)
    image = vectors[:, able].T @ rest[:-1, -1]
    left = float(rest[-1, -1] - np.sum(image * image / values[able]))
    if left <= NOTHING * design.products.n_rows:
        raise DesignError(
            f"`formula` reproduces {design.products.names[-1]!r} exactly {how}: the "
            "residual variance is zero and the likelihood has no maximum. Check for an outcome that is a function of "
            "the predictors or is constant within clusters."
        )


def _check_random_columns(design: "Design") -> None:
    """Refuse effects that vary freely together although one's column is a linear combination of the others'."""
    for factor in design.factors:
        for kind, columns in zip(factor.structure.kinds, factor.structure.columns, strict=True):
            _, dropped = independent_columns(design.products, factor.z[columns], design.constant)
            if kind.free and len(dropped):
                names = ", ".join(design.products.names[factor.z[columns[k]]] for k in dropped)
                raise DesignError(
                    f"`formula` lets {names} vary between clusters of {factor.name} although other columns of the same "
                    "random term determine it, so that their variances cannot be told apart. "
                    "Drop it from the random term."
                )


def _check_variances(design: "Design") -> None:
    """Refuse random effects of which the fixed effects explain all differences between clusters.

    Column k of Z, cut down to one cluster, then lies in the span of X, whichever cluster it is: nothing of the effects
    is left to estimate their variance from. That takes at least as many fixed columns as clusters.
    """
    reduced, n_clusters = design.reduced, len(design.products.levels)
    if reduced.p < n_clusters:
        return
    root, image = reduced.root @ reduced.basis, reduced.image[:, :, :-1]
    gram = reduced.remainder[:-1, :-1] + np.einsum("gka,gkb->ab", image, image)
    cross = root.transpose(0, 2, 1) @ image
    solved = np.linalg.solve(gram, cross.transpose(0, 2, 1))
    explained = np.einsum("gka,gak->k", cross, solved)
    size = np.einsum("gik,gik->k", root, root)
    found = zip(design.random_names, explained / size, design.structure.fixed, strict=True)
    names = [name for name, share, fixed in found if not (fixed or share < SATURATED)]
    if names:
        raise DesignError(
            f"`formula` has {reduced.p} fixed coefficients that explain all differences between the {n_clusters} "
            f"clusters of {design.group} in {', '.join(names)}, so that their variance cannot be estimated. "
            "Drop cluster-level predictors, or fit an ordinary regression."
        )


def check_one_row_each(factors: Sequence["GroupingFactor"], n_rows: int, family: "Family", outcome: "Outcome") -> None:
    """Refuse a level for every row where its effect cannot be told from the scatter that the family has anyway.

    Counts and numbers of successes have a variance that follows from their mean, so that an effect of every row says
    how far they are overdispersed. A single yes or no, a category, and families with a dispersion parameter do not.
    """
    for factor in factors:
        if factor.n_levels < n_rows or factor.structure.fixed.all() or factor.members:
            continue
        if family.kind in ("binary", "ordered") and not outcome.has_trials:
            why = f"a single answer {'of yes or no' if family.kind == 'binary' else 'in categories'} says nothing of it"
        elif family.n_shape() and family.kind != "ordered":
            why = f"family={family.name!r} has a dispersion parameter for the same purpose"
        else:
            continue
        raise DesignError(
            f"`formula` groups by {factor.name!r}, which differs in each of the {n_rows} rows, and the variance "
            f"between single rows cannot be estimated: {why}. Name the column that identifies the clusters."
        )
