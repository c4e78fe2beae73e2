"""The parts of a diagnosis with their figures: sentences first, tables folded away."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from crosslevel.diagnostics.diagnosis import TITLES, WORDS, Diagnosis
from crosslevel.display import Block, Fold, Heading, Items, Table, below
from crosslevel.report import figures
from crosslevel.report.pictures import picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crosslevel.diagnostics.diagnostic import Diagnostic

DRAWN: Mapping[str, Callable[[Any], "Figure"]] = {
    "residuals": figures.envelope,
    "random_effects": figures.envelope,
    "homogeneity": figures.homogeneity,
    "linearity": figures.linearity,
    "quantile_residuals": figures.quantile_residuals,
    "dispersion": figures.simulated_check,
    "zero_inflation": figures.simulated_check,
    "calibration": figures.calibration,
    "observed_expected": figures.observed_expected,
    "influence": figures.influence,
    "leverage": figures.leverage,
    "contributions": figures.contributions,
}
"""The figure of each part; the traffic lights have none."""


def lights(found: Diagnosis) -> Iterator[Block]:
    """A light for each part, the most worrying first."""
    yield Table(["Check", "Light"], [[TITLES[name], WORDS[part.concern]] for name, part in found.ordered()])


def diagnosed(found: Diagnosis, level: int = 2) -> Iterator[Block]:
    """Every part in its order; `level` is that of its headings."""
    for name, part in found.parts.items():
        yield Heading(TITLES[name], level=level)
        yield from part_blocks(name, part, found, level)
    if found.undone:
        yield Heading("Not done", level=level)
        yield Items([f"{TITLES[part.name]}: {part.reason}" for part in found.undone])


def part_blocks(name: str, part: "Diagnostic", found: Diagnosis, level: int) -> Iterator[Block]:
    """Sentences, figure, and the tables behind them."""
    document = part.document()
    if name not in DRAWN:
        yield from below(document, level=level + 1)
        return
    yield Items(list(part.sentences))
    if name != "linearity" or part.courses:  # type: ignore[attr-defined]
        yield picture(DRAWN[name](part))
    yield Fold("The numbers", list(below(document, level=level + 1)))
