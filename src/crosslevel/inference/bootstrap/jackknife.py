"""Estimates without one cluster, or one group of clusters, after another: how skewed their influence is."""

from collections.abc import Callable, Iterator

import numpy as np

from crosslevel.inference.bootstrap.batch import Batch
from crosslevel.inference.bootstrap.intervals import acceleration
from crosslevel.types import FloatArray

GROUPS = 200
"""More clusters than this are left out in so many random groups: the acceleration is the same on average."""

Refit = Callable[[FloatArray], Batch]
"""Fits the model with each cluster counted so many times (J,)."""


def without_groups(n_clusters: int) -> Iterator[FloatArray]:
    """How often each cluster counts (J,), with one group of clusters after another left out."""
    order = np.random.default_rng(0).permutation(n_clusters)
    group = np.arange(n_clusters) if n_clusters <= GROUPS else order % GROUPS
    for k in range(min(n_clusters, GROUPS)):
        yield np.where(group == k, 0.0, 1.0)


def accelerations(n_clusters: int, refit: Refit) -> FloatArray:
    """Accelerations (m,) of BCa intervals; refits that fail are left out.

    With l_j the influence of cluster j the acceleration is the skewness of sum l_j over 6, which groups do not change.

    Source: Efron (1987), J. Amer. Statist. Assoc. 82: 171-185; Davison & Hinkley (1997), section 5.3.
    """
    return acceleration(np.concatenate([refit(times).values for times in without_groups(n_clusters)]))
