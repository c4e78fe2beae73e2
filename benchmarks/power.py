"""Run the examples of docs/power.md, draw its figures, and compare simulated power with closed forms.

    python benchmarks/power.py [--reps 4000]

Output of each example stands in the page after its code; tables and figures are written anew.
"""

from __future__ import annotations

import argparse
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

import crosslevel as cl
from crosslevel.report.figures import theme
from crosslevel.simulation.power.closed_forms import std_error, t_power

HERE = Path(__file__).parent
PAGE, FIGURES = HERE.parent / "docs" / "power.md", HERE.parent / "docs" / "power"
EXAMPLE = re.compile(r"```python\n(.*?)```\n\n(?:<!-- output -->\n|```text\n.*?```\n)", re.DOTALL)
BEGIN, END = "<!-- checks: begin -->", "<!-- checks: end -->"
DRAWN = {0: "context", 2: "interaction", 3: "fit"}
"""Examples whose result is drawn, and names of the files."""

TAU, SIGMA = 0.1**0.5, 0.9**0.5
DESIGNS = 20_000
CHANCE = (1.0 - (3.0 / (1.0 + 29 * 0.1)) / 30) ** 0.5
"""Of a predictor whose cluster means differ by chance, 1 - l / n of the variance counts, l being their reliability."""


def examples(text: str) -> str:
    """The page with the output of its examples, figures drawn on the way."""
    known: dict[str, object] = {}
    number = iter(range(100))

    def run(found: re.Match[str]) -> str:
        shown = StringIO()
        with redirect_stdout(shown):
            exec(found[1], known)
        place = next(number)
        if place in DRAWN:
            figure = cl.plot.power(known["found"])
            (FIGURES / f"{DRAWN[place]}.svg").write_bytes(theme.svg(figure))
        return f"```python\n{found[1]}```\n\n```text\n{shown.getvalue().rstrip()}\n```\n"

    return EXAMPLE.sub(run, text)


def over_contexts(effect: float, clusters: int, size: int, tau: float) -> float:
    """Power with a normal context variable: mean over its sum of squares, a chi-square with J - 1."""
    square = np.random.default_rng(1).chisquare(clusters - 1, DESIGNS) / clusters
    error = std_error(clusters, size, tau=tau, sigma=SIGMA, context_sd=np.sqrt(square))
    return float(np.mean(t_power(effect / error, clusters - 2)))


def checks(reps: int) -> str:
    """Simulated and exact power as a table."""
    plain = {"icc": 0.1, "reps": reps, "seed": 1, "progress": False}
    cases = [
        ("arms of a trial, 20 rows", "y ~ z + (1 | g)", {"effects": {"z": 0.5}, "arms": "z", "size": 20},
         lambda j: float(t_power(0.5 / std_error(j, 20, tau=TAU, sigma=SIGMA, context_sd=0.5), j - 2))),
        ("context variable, 1,500 rows", "y ~ x + z + (1 | g)", {"effects": {"z": 0.2}, "size": 1500},
         lambda j: over_contexts(0.2, j, 1500, TAU)),
        ("cross-level interaction, 300 rows", "y ~ x * z + (x || g)",
         {"effects": {"x:z": 0.15}, "sd": {"x": 0.2}, "size": 300, "ddf": "m-l-1"},
         lambda j: over_contexts(0.15, j, 300, 0.2)),
        ("effect within clusters, 30 rows", "y ~ x + (1 | g)", {"effects": {"x": 0.1}, "size": 30},
         lambda j: float(t_power(0.1 / std_error(j, 30, tau=0.0, sigma=SIGMA, spread=CHANCE), 30 * j - 2))),
    ]  # fmt: skip
    clusters = [10, 16, 24, 40]
    lines = [
        f"| effect | {' | '.join(f'J = {j}' for j in clusters)} | type I |",
        "|---|" + "---|" * (len(clusters) + 1),
    ]
    for name, formula, given, exact in cases:
        frame: pd.DataFrame = cl.power(formula, clusters=clusters, **plain, **given).frame
        pairs = [f"{100 * power:.1f} ({100 * exact(j):.1f})" for j, power in zip(clusters, frame["power"], strict=True)]
        rate = 100 * frame["type_i"].mean()
        lines.append(f"| {name} | {' | '.join(pairs)} | {rate:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Write the page."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--reps", type=int, default=4000)
    reps = options.parse_args().reps
    FIGURES.mkdir(exist_ok=True)
    page = examples(PAGE.read_text(encoding="utf-8"))
    head, rest = page.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{checks(reps)}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
