"""Whether the means of clusters differ, or are the same but for rounding."""

from collections.abc import Sequence

import numpy as np

from crosslevel.design import CrossProducts
from crosslevel.design.build import CONSTANT
from crosslevel.types import BoolArray


def differs_between(products: CrossProducts, x: Sequence[int], *, about_mean: bool = True) -> BoolArray:
    """Whether the means of columns x differ between clusters, beyond rounding as that of x less its cluster mean.

    Parameters
    ----------
    products : cross-products by cluster.
    x : positions of the columns.
    about_mean : whether they differ from each other; if not, from zero, as a regression without intercept asks.
    """
    columns = np.array(x, dtype=np.int64)
    means, size = products.mean[:, columns], np.diag(products.total)[columns] / products.weight
    if about_mean:
        means = means - means.mean(axis=0)
    else:
        means = means + products.origin[columns]
        size = size + (products.origin + products.grand_mean)[columns] ** 2
    return np.asarray(np.mean(means**2, axis=0) > CONSTANT * size)
