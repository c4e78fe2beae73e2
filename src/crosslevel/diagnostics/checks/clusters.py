"""Whether there are enough clusters, and enough rows in them."""

from collections.abc import Iterator

import numpy as np

from crosslevel.diagnostics.checks.light import Light
from crosslevel.diagnostics.checks.subject import Subject
from crosslevel.diagnostics.diagnostic import AnyFit, Concern
from crosslevel.display import counted, fixed, percent
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.ols_fit import OLSFit

FEW, SOME = 10, 30
"""Clusters below which variances between them are largely chance, and below which normal theory is too optimistic."""

PER_PREDICTOR, LEAST_FREE = 10, 10
"""Clusters for each cluster-level predictor, and degrees of freedom that should be left."""

FEW_FOR_ONE = "Add no other, and compare the result without each cluster (cl.influence)."
"""What to do where the predictors are as few as they can be."""

SMALL = 5.0
"""Rows per cluster (median) below which clusters say little of themselves."""


def number_of_clusters(subject: Subject) -> Iterator[Light]:
    """Few clusters, for variances and for tests."""
    for name, count in _clusters(subject).items():
        told = f"{counted(count)} {'cluster' if count == 1 else 'clusters'} of {name}."
        if count < FEW:
            yield Light(
                name="Number of clusters", concern="act",
                finding=f"Only {told} {_of_few(count)}",
                advice=f"{_cautious(subject.fit)} Report intervals, not stars; consider {name} as fixed effects if no "
                "cluster-level predictor is of interest.",
            )  # fmt: skip
        elif count < SOME:
            yield Light(
                name="Number of clusters", concern="look",
                finding=f"{told} Normal theory is too optimistic with so few.",
                advice=_cautious(subject.fit),
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
    left = max(count - q - 1, 0)
    told = (
        f"{counted(count)} clusters of {design.group} for {q} cluster-level {'predictor' if q == 1 else 'predictors'} "
        f"({', '.join(names)}): {f'{fixed(count / q, 1)} for each, ' if q > 1 else ''}{_freedom(left)} left."
    )
    concern: Concern = "act" if left < LEAST_FREE else "look" if count < PER_PREDICTOR * q else "none"
    keep = max(count // PER_PREDICTOR, 1)
    advice = "" if concern == "none" else FEW_FOR_ONE if q <= keep else f"Keep to {keep}, chosen by theory."
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


def _cautious(fit: AnyFit) -> str:
    """Tests for few clusters that this model has."""
    if isinstance(fit, OLSFit):
        return "Keep to CR2 standard errors with their own degrees of freedom (fit.robust()), compare fit.wild_test()."
    if fit.design.is_sampled:
        return 'Keep to t tests (ddf="m-l-1"), compare fit.bootstrap(kind="cluster").'
    if isinstance(fit, GeneralizedFit):
        return 'Keep to cautious tests, as fit.tests(ddf="between-within"), and compare fit.bootstrap().'
    if fit.design.residual is not None:
        return 'Keep the t tests of fit.tidy(), compare fit.tests(ddf="satterthwaite") and fit.bootstrap().'
    refit = "" if fit.method == "reml" else '.update(method="reml")'
    own = "" if fit.solution.prior is not None else " and fit.bootstrap()"
    return f'Keep the t tests of fit.tidy(), compare fit{refit}.tests(ddf="kenward-roger"){own}.'


def _of_few(count: int) -> str:
    """What so few clusters have to tell."""
    values = f"{count} values" if count > 1 else "one value"
    if count < 3:
        return f"A variance between them is estimated from {values}, and nothing is left to test their predictors by."
    return (
        f"A variance between them is estimated from {values}, and each test of a cluster-level predictor from at most "
        f"{_freedom(count - 2)}."
    )


def _freedom(count: int) -> str:
    """Degrees of freedom."""
    return f"{counted(count)} degree{'' if count == 1 else 's'} of freedom"


def _clusters(subject: Subject) -> dict[str, int]:
    """How many clusters of each kind."""
    fit = subject.fit
    found: dict[str, int] = fit.ngroups
    return found
