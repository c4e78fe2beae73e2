"""How many dimensions the random effects have: principal components of their covariance."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.display import Block, Column, Document, Paragraph, Row, Section, Table, fixed
from crosslevel.errors import CrosslevelError
from crosslevel.solve import NEGLIGIBLE
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed_fit import MixedFit


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomRank:
    """Principal components of the random effects' covariance, relative to the residual variance where there is one.

    Attributes
    ----------
    components : frame indexed by group and component, largest first. sdev (singular values of Lambda, in the units of
        the data), proportion of the variance, cumulative; and the same of standardised effects, which are measured by
        what they add to the outcome's variance: standardised_sdev, standardised_proportion, standardised_cumulative.
    supported : frame indexed by group. effects; nonzero (components of the standardised effects with any variance);
        rank (those that make up the `share` of their variance).
    share : of the variance that counts as all of it.
    unit : what standard deviations are measured in, in words.
    """

    components: pd.DataFrame
    supported: pd.DataFrame
    share: float
    unit: str = "relative to the residual's"

    def document(self) -> Document:
        """What was found, to print or to show in a notebook."""
        rows: list[Row] = []
        for group, own in self.components.groupby(level="group", sort=False):
            rows.append(Section(f"Between clusters ({group})"))
            for component, values in enumerate(own.to_numpy(), start=1):
                rows.append([f"Component {component}", *(float(value) for value in values)])
        columns: list[str | Column] = [
            "Random effects",
            *(Column(name, format="fixed", decimals=4) for name in ("SD", "Share", "Sum", "SD*", "Share*", "Sum*")),
        ]
        notes = [
            f"SD: {self.unit}. Share, Sum: of the variance, and of it so far.",
            "*: of standardised effects, which are measured by what they add to the outcome's variance.",
        ]
        words = [
            f"{group}: components with variance {row['nonzero']} of {row['effects']}; that make up "
            f"{fixed(100.0 * self.share, 1)}% of it {row['rank']}."
            for group, row in self.supported.iterrows()
        ]
        table = Table(columns, rows, title="Principal components of the random effects", notes=notes)
        blocks: list[Block] = [table, *(Paragraph(text) for text in words)]
        return Document("", blocks)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the tables for a notebook."""
        return self.document()._repr_html_()


def random_rank(fit: "MixedFit | GeneralizedFit", share: float) -> RandomRank:
    """What `MixedFit.rank_re` answers; see there."""
    if isinstance(share, bool) or not isinstance(share, int | float | np.floating) or not 0.0 < share <= 1.0:
        raise CrosslevelError(f"`share` is a share of the variance, above 0 and at most 1; got {share!r}.")
    frames, supported = [], []
    for factor, lower, eigenvalues in zip(
        fit.design.factors, fit.solution.factors, fit.solution.eigenvalues, strict=True
    ):
        free = ~factor.structure.fixed
        if not free.any():
            continue
        plain = principal(lower[free])
        standardised = np.sort(np.sqrt(np.maximum(eigenvalues, 0.0)))[::-1]
        frames.append(_frame(factor.name, plain, standardised[: len(plain)]))
        nonzero = int(np.count_nonzero(standardised >= NEGLIGIBLE))
        supported.append(
            {
                "group": factor.name, "effects": int(free.sum()), "nonzero": nonzero,
                "rank": components_for(standardised, share),
            }
        )  # fmt: skip
    if not frames:
        raise CrosslevelError(
            "`rank_re` needs random effects whose covariance is estimated; this model has none. Add a term such as "
            "(x | school)."
        )
    return RandomRank(
        components=pd.concat(frames),
        supported=pd.DataFrame.from_records(supported).set_index("group"),
        share=float(share),
        unit="relative to the residual's" if fit.design.outcome is None else "in units of the linear predictor",
    )


def principal(factor: FloatArray) -> FloatArray:
    """Standard deviations (q,) of the principal components of factor factor', factor (q, r), largest first."""
    return np.asarray(np.linalg.svd(factor, compute_uv=False)[: len(factor)])


def proportions(sdev: FloatArray) -> FloatArray:
    """Shares of the variance; NaN where there is none."""
    total = float(np.sum(sdev**2))
    return sdev**2 / total if total > 0.0 else np.full(len(sdev), np.nan)


def components_for(sdev: FloatArray, share: float) -> int:
    """How many components, largest first, make up a share of the variance; none where there is no variance."""
    if not np.any(sdev >= NEGLIGIBLE):
        return 0
    nonzero = np.where(sdev >= NEGLIGIBLE, sdev, 0.0)
    cumulative = np.cumsum(proportions(nonzero))
    return int(np.argmax(cumulative >= share - 1e-12)) + 1


def _frame(group: str, plain: FloatArray, standardised: FloatArray) -> pd.DataFrame:
    """The components of one grouping factor."""
    columns: dict[str, FloatArray] = {}
    for prefix, sdev in (("", plain), ("standardised_", standardised)):
        share = proportions(sdev)
        columns |= {f"{prefix}sdev": sdev, f"{prefix}proportion": share, f"{prefix}cumulative": np.cumsum(share)}
    index = pd.MultiIndex.from_product([[group], range(1, len(plain) + 1)], names=["group", "component"])
    return pd.DataFrame(columns, index=index)
