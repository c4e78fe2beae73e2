"""Whether there are enough clusters, and enough rows in them."""

from collections.abc import Iterator

import numpy as np

from crosslevel.diagnostics.checks.light import Light
from crosslevel.diagnostics.checks.subject import Subject
from crosslevel.diagnostics.diagnostic import Concern
from crosslevel.display import counted, fixed, percent
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.ols_fit import OLSFit

FEW, SOME = 10, 30
"""Clusters below which variances between them are largely chance, and below which normal theory is too optimistic."""

PER_PREDICTOR, LEAST_FREE = 10, 10
"""Clusters for each cluster-level predictor, and degrees of freedom that should be left."""

SMALL = 5.0
"""Rows per cluster (median) below which clusters say little of themselves."""


def number_of_clusters(subject: Subject) -> Iterator[Light]:
    """Few clusters, for variances and for tests."""
    for name, count in _clusters(subject).items():
        told = f"{counted(count)} clusters of {name}."
        if count < FEW:
            yield Light(
                name="Number of clusters", concern="act",
                finding=f"Only {told} A variance between them is estimated from {count} values, and each test of a "
                f"cluster-level predictor from at most {max(count - 2, 0)} degrees of freedom.",
                advice=f"Report intervals (Kenward-Roger, cluster bootstrap), not stars; consider {name} as fixed "
                "effects if no cluster-level predictor is of interest.",
            )  # fmt: skip
        elif count < SOME:
            yield Light(
                name="Number of clusters", concern="look",
                finding=f"{told} Normal theory is too optimistic with so few.",
                advice='Keep the t tests of fit.tidy(), compare fit.tests(ddf="kenward-roger") and fit.bootstrap().',
            )  # fmt: skip
        else:
            yield Light(name="Number of clusters", concern="none", finding=told)


def predictors_of_clusters(subject: Subject) -> Iterator[Light]:
    """Cluster-level predictors for the number of clusters."""
    design = subject.design
    if not design.factors:
        return
    names = [subject.columns[k].name for k in subject.predictors if subject.above[k]]
    count, q = design.factors[0].n_levels, len(names)
    if not q:
        return
    left = count - q - 1
    told = (
        f"{counted(count)} clusters of {design.group} for {q} cluster-level {'predictor' if q == 1 else 'predictors'} "
        f"({', '.join(names)}): {fixed(count / q, 1)} for each, {left} degrees of freedom left."
    )
    concern: Concern = "act" if left < LEAST_FREE else "look" if count < PER_PREDICTOR * q else "none"
    advice = f"Keep to {max(count // PER_PREDICTOR, 1)}, chosen by theory." if concern != "none" else ""
    yield Light(name="Predictors of clusters", concern=concern, finding=told, advice=advice)


def size_of_clusters(subject: Subject) -> Iterator[Light]:
    """Small clusters."""
    fit = subject.fit
    if isinstance(fit, OLSFit):
        return
    for factor, sizes in zip(subject.design.factors, subject.design.sizes, strict=True):
        used = sizes[sizes > 0]
        median, single = float(np.median(used)), int(np.count_nonzero(used == 1))
        least, most = int(used.min()), int(used.max())
        span = f"{counted(least)} to {counted(most)}" if least < most else counted(least)
        told = f"{factor.name}: {span} rows in a cluster{f', median {median:g}' if least < most else ''}"
        told += f"; {counted(single)} ({percent(single / len(used))}) have one row." if single else "."
        if single == len(used):
            yield Light(
                name="Size of clusters", concern="act",
                finding=f"{told} Differences between clusters cannot be told from those within.",
                advice=f"Leave the random term over {factor.name} out, unless it stands for overdispersion.",
            )  # fmt: skip
        elif median < SMALL and isinstance(fit, GeneralizedFit) and fit.quadrature.nodes == 1:
            yield Light(
                name="Size of clusters", concern="look",
                finding=f"{told} Laplace's approximation underestimates variances with so few answers in a cluster.",
                advice='Use adaptive quadrature (quadrature="auto") where the model has one grouping factor.',
            )  # fmt: skip
        elif median < SMALL:
            yield Light(
                name="Size of clusters", concern="look",
                finding=f"{told} Each cluster says little of its own effects, random slopes above all.",
                advice="Read cluster by cluster estimates as shrunken (fit.reliability()), and keep slopes few.",
            )  # fmt: skip
        else:
            yield Light(name="Size of clusters", concern="none", finding=told)


def _clusters(subject: Subject) -> dict[str, int]:
    """How many clusters of each kind."""
    fit = subject.fit
    found: dict[str, int] = fit.ngroups
    return found
