"""The page of benchmarks: what `make bench` measured, with a table of contents."""

from pathlib import Path


def page(results: Path) -> str:
    """The page, from benchmarks/RESULTS.md: its headings go one level down, as there is only one title."""
    lines, seen = [], False
    for line in results.read_text(encoding="utf-8").split("\n"):
        if line.startswith("#"):
            lines.append(f"#{line}" if seen else line)
            seen = True
        else:
            lines.append(line)
    return "\n".join(lines)
