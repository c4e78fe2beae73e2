"""Sentences on cross-level interactions: simple slopes, and where along the moderator they differ from zero."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from crosslevel.analysis.phrases import SIGNIFICANT, as_percent, decimals_of, interval, listed
from crosslevel.display import decimals_for, fixed, percent
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from crosslevel.analysis.moderation import Moderation
    from crosslevel.estimators.johnson_neyman import JohnsonNeyman

STEPS = 5
"""Places along the range of a moderator that can be told apart in running text."""


def moderation_sentences(found: "Moderation") -> Iterator[str]:
    """The simple slopes of a cross-level interaction, and the region where they differ from zero."""
    frame, moderator = found.slopes.frame, found.slopes.about.by[0]
    for contrast in dict.fromkeys(frame["contrast"]):
        own = frame[frame["contrast"] == contrast]
        what = found.term.slope if contrast == "slope" else f"{found.term.slope} ({contrast})"
        numeric = all(isinstance(value, float) for value in own[moderator])
        digits = decimals_along(own[moderator].to_numpy(dtype=np.float64)) if numeric else 0
        parts = []
        for _, row in own.iterrows():
            decimals = decimals_of(float(row["std_error"]))
            place = (
                f"where {moderator} is {fixed(float(row[moderator]), digits)}" if numeric else f"for {row[moderator]}"
            )
            ends = interval(float(row["conf_low"]), float(row["conf_high"]), decimals)
            parts.append(f"{fixed(float(row['estimate']), decimals)} {place} {ends}")
        where = ", the mean and one standard deviation on either side" if found.by_spread else ""
        yield f"The coefficient of {what} is {listed(parts)}{where}."
    for region in found.regions:
        yield region_sentence(region)


def region_sentence(region: "JohnsonNeyman") -> str:
    """Where an effect differs from zero, the false discovery rate controlled."""
    what = "" if region.contrast == "slope" else f" ({region.contrast})"
    own = region.regions[(region.regions["correction"] == "fdr") & (region.regions["effect"] != "none")]
    share, (lowest, highest) = float(own["share"].sum()), (region.values.low, region.values.high)
    lead = (
        f"With the false discovery rate along {region.z} kept at {percent(1.0 - region.level, decimals=0)} (Esarey & "
        f"Sumner, 2018), the coefficient of {region.x}{what} differs from zero"
    )
    if not len(own):
        return f"{lead} nowhere in the range of {region.z}."
    if len(own) == 1 and own["low"].iloc[0] <= lowest and own["high"].iloc[0] >= highest:
        return f"{lead} in the whole range of {region.z}."
    places, digits = [], decimals_along(np.linspace(lowest, highest, STEPS))
    for low, high in zip(own["low"].tolist(), own["high"].tolist(), strict=True):
        ends = [f"above {fixed(low, digits)}"] if low > lowest else []
        ends += [f"below {fixed(high, digits)}"] if high < highest else []
        places.append(" and ".join(ends))
    return f"{lead} where {region.z} is {listed(places, 'or')} ({as_percent(share)} of the {region.values.words})."


def decimals_along(values: FloatArray) -> int:
    """Decimals that tell the values of a moderator apart.

    Examples
    --------
    >>> decimals_along(np.array([0.0, 1.0])), decimals_along(np.array([-0.42, 0.0, 0.42]))
    (0, 2)
    >>> decimals_along(np.array([1.1e-6, 2.2e-6])), decimals_along(np.array([10500.5, 20100.1]))
    (8, 0)
    """
    apart = np.diff(np.unique(values))
    if not len(apart) or np.array_equal(values, np.round(values)):
        return 0
    return decimals_for(float(apart.min()) / 2.0, significant=SIGNIFICANT, least=0)
