"""How much a coefficient differs between clusters, beside its average."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from crosslevel.design.products import CrossProducts
from crosslevel.display import Column, Document, Row, Section, Table
from crosslevel.types import FloatArray, IntArray

MIDDLE = 0.9
"""Share of the clusters between the two ends of the middle interval."""

SPANNED = 1e-11
"""Share of a fixed column's sum of squares that the random effects' columns may leave where they determine it."""

COLUMNS = (
    "mean", "sd", "ratio", "low", "high", "opposite", "min", "max", "opposite_clusters", "sd_explained", "clusters"
)  # fmt: skip
"""Columns of the frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Heterogeneity:
    """Varying coefficients: their average, and how they differ between clusters.

    Attributes
    ----------
    frame : by group and term. `mean`, the average coefficient: the fixed one, of a slope that cross-level interactions
        explain at the mean of their moderators, of the intercept where predictors are zero. `sd`, the standard
        deviation between clusters; `ratio`, sd / |mean|; `low`, `high`, between which the middle 90 % of clusters lie,
        mean -/+ 1.645 sd; `opposite`, the share of clusters whose coefficient has the other sign, Phi(-|mean| / sd).
        From the clusters' own coefficients (average plus conditional mode, which is shrunk): `min`, `max`, and
        `opposite_clusters`, the share of them with the other sign. `sd_explained`, the standard deviation between
        clusters that moderators make; `clusters`.
    own : by group, the clusters' own coefficients, a row for each cluster and a column for each term.
    moderators : by (group, term), the names of the cross-level interactions that explain the coefficient.
    at : "mean": of clusters that are average in the moderators; "own": of the clusters as they are.

    Source
    ------
    Heisig, Schaeffer & Giesecke (2017), Am. Sociol. Rev. 82: 796-827, figure 6 (`ratio`).
    """

    frame: pd.DataFrame
    own: Mapping[str, pd.DataFrame] = field(repr=False)
    moderators: Mapping[tuple[str, str], tuple[str, ...]]
    at: str

    def document(self) -> Document:
        """The frame as two tables, of the model's clusters and of those in the data, with what the columns mean."""
        spread, observed = list[Row](), list[Row]()
        for group, part in self.frame.groupby(level="group", sort=False):
            head = Section(f"Between {int(part['clusters'].iloc[0]):,} clusters of {group}")
            spread.append(head)
            observed.append(head)
            for key, row in part.iterrows():
                term = str(key[1])  # type: ignore[index]
                spread.append([term, *row[["mean", "sd", "ratio", "low", "high", "opposite"]]])
                observed.append([term, *row[["min", "max", "opposite_clusters"]]])
        mean, sd, low, high, least, most = (
            Column(name, format="number") for name in ("Mean", "SD", "5%", "95%", "Least", "Most")
        )
        other = Column("Other sign", format="percent")
        ratio = Column("SD / |mean|", format="fixed", decimals=2)
        return Document(
            "Varying coefficients",
            [
                Table(["Coefficient", mean, sd, ratio, low, high, other], spread, notes=self.notes),
                Table(["Coefficient", least, most, other], observed, title="The clusters' own coefficients",
                      notes=["Average plus conditional mode: own estimates, shrunken towards the average."]),
            ],
        )  # fmt: skip

    @property
    def notes(self) -> tuple[str, ...]:
        """What the columns mean, in words."""
        out = [
            "5%, 95%: the middle 90 % of clusters. Other sign: share of clusters whose coefficient has the other sign "
            "than the average. Both from mean and SD, as if normally distributed.",
        ]
        if self.moderators:
            named = "; ".join(f"{key[1]}: {', '.join(names)}" for key, names in self.moderators.items())
            what = (
                "All numbers are of clusters that are average in the moderators"
                if self.at == "mean"
                else "Means are of clusters that are average in the moderators; the rest contains what these explain"
            )
            out.append(f"{what} ({named}).")
        return tuple(out)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.document()._repr_html_()


def differences(mean: float, sd: float, own: FloatArray) -> tuple[float, ...]:
    """Mean, sd, ratio, low, high, opposite, min, max, opposite_clusters: see `Heterogeneity.frame`.

    An average of zero has no ratio, and no sign that others could be opposed to: NaN.

    Parameters
    ----------
    mean, sd : average of a coefficient, and its standard deviation between clusters.
    own : (J,) the clusters' own coefficients.

    Examples
    --------
    >>> import numpy as np
    >>> [round(value, 3) for value in differences(-0.3, 0.15, np.array([-0.5, -0.3, 0.1]))]
    [-0.3, 0.15, 0.5, -0.547, -0.053, 0.023, -0.5, 0.1, 0.333]
    """
    half = float(ndtri(0.5 + MIDDLE / 2.0)) * sd
    ratio = opposite = observed = np.nan
    if mean != 0.0:
        ratio = sd / abs(mean)
        opposite = float(ndtr(-abs(mean) / sd)) if sd > 0.0 else 0.0
        observed = float(np.mean(own * np.sign(mean) < 0.0))
    return mean, sd, ratio, mean - half, mean + half, opposite, float(own.min()), float(own.max()), observed


def average_coefficients(
    products: CrossProducts, z: IntArray, x: IntArray, beta: FloatArray, *, constant: int
) -> FloatArray:
    """Averages (q,) of random coefficients: the fixed part in the coordinates of the random effects' columns.

    Usually each of these columns has a fixed coefficient, and that is it. Where the fixed part codes the same columns
    differently (`y ~ f + (0 + f | g)`: an intercept and contrasts, but an effect of each category), the fixed columns
    in the span of the others, X_s = Z C, give C beta_s. Zero for what has no fixed part.

    Parameters
    ----------
    products : cross-products of all columns.
    z, x : (q,) and (p,) positions of the columns that vary, and of the fixed ones.
    beta : (p,) fixed coefficients.
    constant : position of the intercept, -1 if there is none.
    """
    out = np.array([float(beta[x == j].sum()) for j in z])
    mean = products.grand_mean + products.origin
    centred = constant in z  # an intercept that varies takes up the means of the others
    slopes = z[z != constant] if centred else z
    gram = products.total / products.weight + (0.0 if centred else np.outer(mean, mean))
    size = np.sqrt(np.diag(gram))
    own = gram[np.ix_(slopes, slopes)] / np.outer(size[slopes], size[slopes])
    for j, coefficient in zip(x, beta, strict=True):
        if j in z or not len(slopes):
            continue
        answer = gram[slopes, j] / (size[slopes] * size[j])
        scaled = np.linalg.lstsq(own, answer, rcond=1e-12)[0]
        if 1.0 - scaled @ answer > SPANNED:
            continue
        weights = scaled * size[j] / size[slopes]
        out[np.isin(z, slopes)] += coefficient * weights
        if centred:
            out[z == constant] += coefficient * (mean[j] - weights @ mean[slopes])
    return out
