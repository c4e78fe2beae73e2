"""Every page of the documentation, and the README, run as `make docs` runs them; what is not run is listed."""

import re
import tomllib
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from building.formulas import as_mathml, with_formulas
from building.running import as_markdown, run_page

import crosslevel as cl

ROOT = Path(__file__).parent.parent
MADE = ("_build", "api", "building", "validation.md", "benchmarks.md")
PAGES = [page for page in sorted(ROOT.glob("docs/**/*.md")) if page.relative_to(ROOT / "docs").parts[0] not in MADE]
NAMES = ["README.md", *(page.relative_to(ROOT).as_posix() for page in PAGES)]

STORED = {
    "docs/lab.md": "benchmarks/lab.py",
    "docs/power.md": "benchmarks/power.py",
}
"""Pages that take minutes, and the scripts that run their blocks and write the output beside them."""

FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```[ ]*$", re.DOTALL | re.MULTILINE)


def blocks(name: str, language: str) -> list[str]:
    found = FENCE.findall((ROOT / name).read_text(encoding="utf-8"))
    return [code for kind, code in found if kind == language]


@pytest.mark.parametrize("name", [name for name in NAMES if any(">>>" in code for code in blocks(name, "python"))])
def test_page_gives_what_it_says(name: str) -> None:
    page = run_page((ROOT / name).read_text(encoding="utf-8"), name)
    plt.close("all")
    assert not page.failures, "\n\n".join(f"{name}:{failure.line}: {failure.message}" for failure in page.failures)


@pytest.mark.parametrize("name", NAMES)
def test_every_block_of_python_is_run(name: str) -> None:
    still = [code for code in blocks(name, "python") if not code.lstrip().startswith(">>>")]
    if name in STORED:
        assert STORED[name] in (ROOT / name).read_text(encoding="utf-8"), "a page says where its output is from"
        assert (ROOT / STORED[name]).exists()
        for code in still:
            compile(code, name, "exec")
    else:
        assert not still, "blocks of Python are sessions with >>>, so that they are run"


@pytest.mark.parametrize("name", [name for name in NAMES if blocks(name, "toml")])
def test_studies_in_files_can_be_read(name: str, tmp_path: Path) -> None:
    for code in blocks(name, "toml"):
        file = tmp_path / "study.toml"
        file.write_text(code, encoding="utf-8")
        assert tomllib.loads(code)
        assert len(cl.lab.Study.from_toml(file).conditions) > 0


def test_output_that_differs_is_a_failure_with_its_line() -> None:
    page = run_page("Text\n\n```python\n>>> 1 + 1\n2\n>>> 1 + 2\n4\n```\n", "page.md")
    assert [failure.line for failure in page.failures] == [6]
    assert "4" in page.failures[0].message


def test_error_that_is_not_expected_is_a_failure() -> None:
    assert run_page("```python\n>>> 1 / 0\n```\n", "page.md").failures
    expected = (
        "```python\n>>> 1 / 0\nTraceback (most recent call last):\n    ...\nZeroDivisionError: division by zero\n```\n"
    )
    assert not run_page(expected, "page.md").failures


def test_page_shows_what_was_printed_and_not_what_was_expected() -> None:
    page = run_page("```python\n>>> print('a', 'b')  # doctest: +ELLIPSIS\na ...\n```\nEnd\n", "page.md")
    assert not page.failures
    assert as_markdown(page, str) == "``````pycon\n>>> print('a', 'b')\na b\n``````\nEnd\n"


def test_figures_and_documents_are_shown_as_such() -> None:
    code = (
        "```python\n>>> from matplotlib.figure import Figure\n>>> # picture: nothing, in white\n>>> Figure()\n"
        "<Figure size 640x480 with 0 Axes>\n>>> from crosslevel.display import Document\n>>> Document('Two', [])\n"
        "Two\n═══\n<BLANKLINE>\n```\n"
    )
    page = run_page(code, "page.md")
    assert not page.failures
    shown = as_markdown(page, lambda figure: "/file.svg")
    assert "![nothing, in white](/file.svg)" in shown
    assert '<div class="document"' in shown


def test_a_figure_needs_a_description() -> None:
    page = run_page(
        "```python\n>>> from matplotlib.figure import Figure\n>>> Figure()\n<Figure size 640x480 with 0 Axes>\n```\n",
        "page.md",
    )
    assert "words for those who cannot see it" in page.failures[0].message


def test_indented_blocks_are_formulas_and_fences_are_not() -> None:
    text = with_formulas("Then\n\n    y = X beta\n\n```text\n    y = X beta\n```\n")
    assert text.count("<math") == 1
    assert "```text\n    y = X beta\n```" in text


@pytest.mark.parametrize(
    ("plain", "markup"),
    [
        ("Lambda", "<mi>Λ</mi>"),
        ("V⁻¹", "<msup><mi>V</mi><mn>−1</mn></msup>"),
        ("X'", "<msup><mi>X</mi><mo>′</mo></msup>"),
        ("b_k", "<msub><mi>b</mi><mrow><mi>k</mi></mrow></msub>"),
        ("sigma²", "<msup><mi>σ</mi><mn>2</mn></msup>"),
        ("log", "<mi>log</mi>"),
        ("a <= b", "<mo>≤</mo>"),
        ("f for REML", "for REML"),
        ("sum over j of w", "<mtext>j</mtext></munder>"),
    ],
)
def test_formula_in_plain_text_is_typeset(plain: str, markup: str) -> None:
    assert markup in as_mathml(f"    {plain}\n")
