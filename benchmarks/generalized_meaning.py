"""Run the examples of docs/generalized_meaning.md and draw its figure.

    python benchmarks/generalized_meaning.py

Output of each example stands in the page after its code.
"""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pandas as pd

from crosslevel.report.figures import theme

PAGE = Path(__file__).parent.parent / "docs" / "generalized_meaning.md"
FIGURE = PAGE.with_suffix("") / "interaction.svg"
EXAMPLE = re.compile(r"```python\n(.*?)```\n(\n(?:<!-- output -->\n|```text\n.*?```\n))?", re.DOTALL)


def examples(text: str) -> str:
    """The page with the output of its examples, the figure drawn on the way."""
    known: dict[str, object] = {}

    def run(found: re.Match[str]) -> str:
        shown = StringIO()
        with redirect_stdout(shown):
            exec(found[1], known)
        if "figure" in known:
            FIGURE.write_bytes(theme.svg(known.pop("figure")))
        code = f"```python\n{found[1]}```\n"
        return f"{code}\n```text\n{shown.getvalue().rstrip()}\n```\n" if found[2] else code

    return EXAMPLE.sub(run, text)


if __name__ == "__main__":
    pd.set_option("display.width", 120, "display.max_columns", 12)
    PAGE.write_text(examples(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
