"""The path of a search for the random-effects structure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.report.figures import theme
from crosslevel.report.figures.records import draws
from crosslevel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from crosslevel.selection.record import Selection

MOST_EFFECTS = 4
"""Context effects that are drawn unless some are named."""

STEEP = 30.0
"""Range of a criterion, in multiples of that of the path, from which on its far end is compressed."""

SPREAD = 0.3
"""How far candidates of the same size lie from their place, at most."""


@draws("cl.select(...)")
def selection_data(selection: "Selection") -> pd.DataFrame:
    """Return the candidates by round, without the maximal model.

    Parameters
    ----------
    selection : what `cl.select` returned.

    Returns
    -------
    frame: step, round, role, dropped, structure, n_effects, n_correlations, criterion, change (from that of the step's
    choice), chosen.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> found = cl.select("mathach ~ ses + minority + (ses + minority | school)", data, progress=False)
    >>> selection_data(found).columns.tolist()
    ['step', 'round', 'role', 'dropped', 'structure', 'n_effects', 'n_correlations', 'criterion', 'change', 'chosen']
    """
    table = selection.candidates
    table = table[table["step"] > 0].copy()
    table["change"] = np.nan
    for step, rows in table.groupby("step"):
        last = rows[rows["chosen"]].iloc[-1]
        table.loc[table["step"] == step, "change"] = rows["criterion"] - last["criterion"]
    columns = ["step", "round", "role", "dropped", "structure", "n_effects", "n_correlations"]
    return table[[*columns, "criterion", "change", "chosen"]].reset_index(drop=True)


@draws("cl.select(...)")
def selection(selection: "Selection", terms: Sequence[str] | str | None = None) -> "Figure":
    """Draw the criterion of every candidate, step by step, and the context effects of each baseline.

    Parameters
    ----------
    selection : what `cl.select` returned.
    terms : context effects; by default the first four.

    Raises
    ------
    CrosslevelError : `terms` names something else.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> found = cl.select("mathach ~ ses * sector + female + (ses + female | school)", data, progress=False)
    >>> figure = selection(found)
    """
    names = _terms(selection, terms)
    data = selection_data(selection)
    steps = [step for step in (1, 2) if np.any(data["step"] == step)]
    n_panels = len(steps) + len(names)
    rows = max((len(steps) + 1) // 2 + (len(names) + 1) // 2, 1)
    with theme.drawing(None, height=0.4 + 2.5 * rows, rows=rows, columns=2, share="none") as panels:
        order = _places(len(steps), len(names))
        for step, place in zip(steps, order, strict=False):
            _draw_step(panels[place], selection, data[data["step"] == step], step)
        for name, place in zip(names, order[len(steps) :], strict=True):
            _draw_effect(panels[place], selection, name)
        for place in set(range(len(panels))) - set(order[:n_panels]):
            panels[place].set_axis_off()
        group = selection.maximal.design.factors[selection.search.place].name
        return theme.entitle(panels, f"Search for the random effects of {group}", _subtitle(selection, names), own=True)


def _subtitle(selection: "Selection", names: Sequence[str]) -> str:
    """What is to be seen."""
    words = (
        "Grey: candidates. Blue: baselines in turn, with the slope that was dropped. Orange: the choice of each step. "
        f"Chosen: {selection.structure.words} (~: correlated)."
    )
    return f"{words} Below: context effects of each baseline with 95 % intervals (m-l-1)." if names else words


def _terms(selection: "Selection", terms: Sequence[str] | str | None) -> list[str]:
    """The context effects to draw.

    Raises
    ------
    CrosslevelError : one that is none.
    """
    if terms is None:
        return list(selection.context[:MOST_EFFECTS])
    names = [terms] if isinstance(terms, str) else list(terms)
    unknown = [name for name in names if name not in selection.context]
    if unknown:
        raise CrosslevelError(
            f"`terms` names context effects of the search, of {', '.join(map(repr, selection.context)) or 'none'}; got "
            f"{unknown[0]!r}."
        )
    return names


def _places(n_steps: int, n_effects: int) -> list[int]:
    """Panels of the steps, then of the effects, which begin a row of their own."""
    first = n_steps + n_steps % 2
    return [*range(n_steps), *range(first, first + n_effects)]


def _draw_step(panel: "Axes", selection: "Selection", data: pd.DataFrame, step: int) -> None:
    """The candidates of one step, by what they still have: random effects in step 1, correlations in step 2."""
    tests = selection.criterion_in(step).name == "lrt"
    size, column = "n_effects" if step == 1 else "n_correlations", "criterion" if tests else "change"
    candidates, baselines = data[data["role"] == "candidate"], data[data["role"] == "baseline"]
    panel.plot(candidates[size] + jitter(candidates[size]), candidates[column], "o", color=theme.GREY, markersize=3.2,
               alpha=0.55, markeredgewidth=0.0)  # fmt: skip
    panel.plot(baselines[size], baselines[column], "o-", color=theme.BLUE, markersize=5, linewidth=1.2)
    last = data[data["chosen"]].iloc[-1]
    panel.plot([last[size]], [last[column]], "o", color=theme.ORANGE, markersize=7, zorder=5)
    if step == 1:
        _name_dropped(panel, data, column)
    _scale(panel, data[column].to_numpy(dtype=np.float64), baselines[column].to_numpy(dtype=np.float64))
    if tests:
        panel.set_ylim(-0.04, 1.04)
        panel.axhline(selection.search.alpha, color=theme.PALE, linewidth=0.9, linestyle=(0, (4, 3)))
    least, most = int(data[size].min()), int(data[size].max())
    panel.set_xlim(most + 0.6, least - 0.6)
    panel.locator_params(axis="x", integer=True)
    panel.set_title(f"Step {step}: {'slopes' if step == 1 else 'correlations'}", loc="left", fontsize=9.5)
    title = selection.criterion_in(step).title
    counted = "Random effects, uncorrelated" if step == 1 else "Correlations estimated"
    theme.name_axes(panel, counted, title if tests else f"{title} − that of the choice")


def _name_dropped(panel: "Axes", data: pd.DataFrame, column: str) -> None:
    """Write the slope that was dropped beside each candidate that became the next baseline."""
    gone = data[(data["role"] == "candidate") & data["chosen"]]
    for _, row in gone.iterrows():
        panel.annotate(
            f"− {theme.middle_cut(str(row['dropped']), 18)}", (float(row["n_effects"]), float(row[column])),
            xytext=(6, 6), textcoords="offset points", fontsize=8, color=theme.BLUE,
        )  # fmt: skip


def jitter(size: "pd.Series[int]") -> FloatArray:
    """Shifts (n,) that tell candidates of the same size apart: in order over the width of their column."""
    place = size.groupby(size).cumcount().to_numpy(dtype=np.float64)
    count = size.groupby(size).transform("size").to_numpy(dtype=np.float64)
    return np.asarray(np.where(count > 1.0, SPREAD * (2.0 * place / np.maximum(count - 1.0, 1.0) - 1.0), 0.0))


def _scale(panel: "Axes", values: FloatArray, path: FloatArray) -> None:
    """Compress the far end of a criterion where some candidates are much worse than any baseline."""
    values, path = values[np.isfinite(values)], path[np.isfinite(path)]
    near = float(np.ptp(path)) if len(path) > 1 else 0.0
    if near > 0.0 and float(np.abs(values).max()) > STEEP * near:
        panel.set_yscale("symlog", linthresh=2.0 * near)


def _draw_effect(panel: "Axes", selection: "Selection", name: str) -> None:
    """One context effect along the path."""
    path = selection.path
    place = np.arange(len(path))
    estimate = path[f"{name} estimate"].to_numpy()
    low, high = path[f"{name} conf_low"].to_numpy(), path[f"{name} conf_high"].to_numpy()
    panel.axhline(0.0, color=theme.PALE, linewidth=0.9, linestyle=(0, (4, 3)))
    panel.vlines(place, low, high, color=theme.BLUE, linewidth=1.3)
    panel.plot(place, estimate, "o", color=theme.BLUE, markersize=4.5)
    panel.vlines(place[-1:], low[-1:], high[-1:], color=theme.ORANGE, linewidth=2.2)
    panel.plot(place[-1:], estimate[-1:], "o", color=theme.ORANGE, markersize=6)
    labels = ["max", *(f"{step}.{number}" for step, number in zip(path["step"][1:], path["round"][1:], strict=True))]
    labels[-1] = "chosen"
    panel.set_xticks(place, labels)
    panel.set_xlim(-0.6, len(path) - 0.4)
    panel.set_title(theme.middle_cut(name, 40), loc="left", fontsize=9.5)
    theme.name_axes(panel, "Baseline of step.round", "Context effect")
