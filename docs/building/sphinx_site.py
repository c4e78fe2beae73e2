"""What Sphinx does with the pages: runs them, typesets their formulas, and makes those that come from other sources."""

from __future__ import annotations

import gc
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

from building import api_pages, benchmarks, validation_page
from building.formulas import with_formulas
from building.running import as_markdown, run_page

LOG = logging.getLogger(__name__)
PICTURES = "_build/pictures"
LARGE = 400_000
"""Bytes of a vector figure above which it is shown as pixels."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Say to Sphinx when to call what is below."""
    app.connect("config-inited", make_pages)
    app.connect("source-read", read_page)
    app.connect("build-finished", check_network)
    app.add_html_math_renderer("mathml", (inline_mathml, None), (display_mathml, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def make_pages(app: Sphinx, config: Any) -> None:
    """Write the pages that come from docstrings, from the reference tests and from the benchmarks."""
    folder = Path(app.srcdir)
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    (folder / PICTURES).mkdir(parents=True)
    api_pages.write(folder / "api")
    replace(folder / "benchmarks.md", benchmarks.page(folder.parent / "benchmarks" / "RESULTS.md"))
    replace(folder / "validation.md", validation_page.page(folder.parent / "tests"))


def replace(file: Path, text: str) -> None:
    """Write a file anew only if it says something else, so that an unchanged page keeps its date."""
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")


def read_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Run the examples of a page and typeset its formulas before it is parsed."""
    if name.startswith("api/") or name in ("validation", "benchmarks"):
        return
    page = run_page(source[0], f"{name}.md")
    for failure in page.failures:
        LOG.warning(failure.message, location=(name, failure.line), type="running")
    source[0] = with_formulas(as_markdown(page, Pictures(Path(app.srcdir) / PICTURES, name.replace("/", "-")).save))
    gc.collect()  # figures refer to themselves


class Pictures:
    """The figures of one page, kept as files."""

    def __init__(self, folder: Path, page: str) -> None:
        self.folder, self.page, self.count = folder, page, 0

    def save(self, figure: Any) -> str:
        """Keep a figure, as vectors where these are not too many; the address of its file."""
        from crosslevel.report.figures import theme

        self.count += 1
        vectors = theme.svg(figure)
        file = self.folder / f"{self.page}-{self.count}.{'svg' if len(vectors) < LARGE else 'png'}"
        if file.suffix == ".svg":
            file.write_bytes(vectors)
        else:
            figure.savefig(file, dpi=200)
        return f"/{PICTURES}/{file.name}"


def inline_mathml(translator: Any, node: nodes.math) -> None:
    """LaTeX within a line."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def display_mathml(translator: Any, node: nodes.math_block) -> None:
    """LaTeX by itself."""
    translator.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|link)\b[^>]*?\b(?:src|href)=["'](?:https?:)?//[^"']*["'][^>]*>"""
)
IMPORTED = re.compile(r"""(?:@import\s*|url\()\s*["']?(?:https?:)?//[^"')]+""")


def check_network(app: Sphinx, error: Exception | None) -> None:
    """No page of the site may load anything from a network: links are the reader's own choice."""
    if error is not None or app.builder.format != "html":
        return
    for file in sorted(Path(app.outdir).rglob("*")):
        pattern = {".html": LOADED, ".css": IMPORTED}.get(file.suffix)
        for found in pattern.findall(file.read_text(encoding="utf-8")) if pattern else ():
            LOG.warning(f"{file.relative_to(app.outdir)} loads from a network: {found}", type="network")
