"""Tables in every format: nothing lost, nothing interpreted, and files that programs open."""

import re
import shutil
import subprocess
import sys
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.report.tables.as_latex import LONG, places
from crosslevel.report.tables.as_markdown import escaped as markdown
from crosslevel.report.tables.latex_text import escaped as latex
from crosslevel.report.tables.record import Heading, Line, PublicationTable

NASTY = 'a_b & 5% $x$ #1 | <b>γ</b> σ² {~^\\} "q" `c` *s* [l](u) &amp; 😀 Школа ≥ -- =SUM(A1)'
TITLE = "=1+1 <i>Title</i> & 100% of_it \x07 №"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    found = cl.datasets.load("hsb")
    return found[found["school"].isin(found["school"].unique()[:30])].copy()


@pytest.fixture(scope="module")
def fits(data: pd.DataFrame) -> list[object]:
    return [cl.mixed("mathach ~ ses * sector + (1 | school)", data), cl.ols("mathach ~ ses", data, cluster="school")]


@pytest.fixture(scope="module")
def nasty(fits: list[object]) -> PublicationTable:
    return cl.table(
        {NASTY: fits[0], "=2+2": fits[1]}, terms={"ses": NASTY, "sector[Catholic]": "=HYPERLINK(1)", "school": "[x] *"},
        show=("se", "interval"), stars=True, reference=True, title=TITLE, label="tab: a_b %", notes="[+] " + NASTY,
    )  # fmt: skip


def texts(table: PublicationTable) -> list[list[str]]:
    """Label and cells of each line, as they ought to be read."""
    width = len(table.headings)
    return [
        [line.text, *[""] * (width - 1)]
        if isinstance(line, Heading)
        else [line.label, *("" if cell is None else cell.text for cell in line.cells)]
        for line in table.lines
    ]


def test_html_shows_every_character_and_loads_nothing(nasty: PublicationTable) -> None:
    page = nasty.to("html", document=True)
    plain = dict.fromkeys(range(3), str)
    (read,) = pd.read_html(StringIO(page), keep_default_na=False, thousands=None, converters=plain)
    assert list(read.columns[1:]) == [" ".join(NASTY.split()), "=2+2"]
    for row, line, expected in zip(read.to_numpy().tolist(), nasty.lines, texts(nasty), strict=True):
        shown = [re.sub(r"[\u2007\u2008]", "", str(cell)).strip() for cell in row]
        if isinstance(line, Heading):
            assert shown[0] == expected[0]
        else:
            assert shown[1:] == expected[1:]
            assert line.continues or shown[0] == " ".join(expected[0].split())
    assert "<b>" not in page
    assert "src=" not in page
    assert "http" not in page
    assert page.count('rowspan="3"') == 6  # four coefficients and two variances with a line for each of two things


def test_markdown_has_one_cell_for_each_column_whatever_the_names(nasty: PublicationTable) -> None:
    lines = [line for line in nasty.to("markdown").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert {len(row) for row in cells} == {3}
    unescaped = [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in cells[2:]]
    for shown, line, expected in zip(unescaped, nasty.lines, texts(nasty), strict=True):
        label = f"**{expected[0]}**" if isinstance(line, Heading) else expected[0].replace("&amp;", "&amp;amp;")
        assert [re.sub(r"\s+", " ", cell) for cell in shown] == [re.sub(r"\s+", " ", c) for c in [label, *expected[1:]]]


def test_markdown_leaves_harmless_characters_alone() -> None:
    assert markdown("a_b < c & d # e [f] 5%") == "a_b < c & d # e [f] 5%"
    assert markdown("_a_ <b> # c") == r"\_a\_ \<b> # c"
    assert markdown("# c") == r"\# c"


def test_latex_has_one_cell_for_each_column_and_balanced_braces(nasty: PublicationTable) -> None:
    source = nasty.to("latex")
    body = source[source.index(r"\midrule") : source.index(r"\bottomrule")]
    rows = [row for row in body.splitlines() if row.endswith((r"\\", r"\\*"))]
    cells = [row for row in rows if not row.lstrip().startswith(r"\multicolumn{3}")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in cells} == {2}
    unescaped = re.sub(r"\\[{}]", "", source)
    assert unescaped.count("{") == unescaped.count("}")
    assert len(cells) == sum(isinstance(line, Line) for line in nasty.lines)
    assert r"\label{tab:-a_b--}" in source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("_%&#${}", r"\_\%\&\#\$\{\}"),
        ("a--b", "a-{}-b"),
        ("α Ω Α", r"\ensuremath{\alpha} \ensuremath{\Omega} A"),
        ("e\u0301", "é"),
        ("Ш", r"\anyglyph{Ш}{0428}"),
    ],
)
def test_latex_escapes(text: str, expected: str) -> None:
    assert latex(text) == expected


def test_numbers_in_latex_are_mathematics_that_meet_on_the_point(fits: list[object]) -> None:
    table = cl.table(fits, stars=True)
    tidy = fits[0].tidy().loc["ses:sector[Catholic]"]
    assert f"& {tidy['estimate']:.3f}^{{***}} &" in table.to("latex")
    assert f"({tidy['std_error']:.3f})" in table.to("latex")
    assert re.search(r"& -\d{4}\.\d\d & -\d{4}\.\d\d \\\\", table.to("latex"))
    assert all(before >= 5 and after >= 4 for before, after in places(table))
    assert "1.36\\times 10^{13}" in cl.table(pd.DataFrame(ONE, index=["x"])).to("latex")


ONE = {"estimate": [1.36e13], "std_error": [4.19e11], "conf_low": [5e12], "conf_high": [2.2e13]}


def test_word_files_hold_every_cell(nasty: PublicationTable) -> None:
    import docx

    document = docx.Document(BytesIO(nasty.to("docx")))
    (table,) = document.tables
    assert [cell.text for cell in table.rows[0].cells] == list(nasty.headings)
    for row, line, expected in zip(table.rows[1:], nasty.lines, texts(nasty), strict=True):
        shown = [cell.text.replace("−", "-") for cell in row.cells]
        if isinstance(line, Heading):
            assert shown[0] == expected[0]
        else:
            assert shown[1:] == expected[1:]
            assert line.continues or shown[0] == expected[0]
    words = [paragraph.text for paragraph in document.paragraphs]
    assert words[0] == TITLE.replace("\x07", " ")
    assert words[1].startswith("Note. Coefficients")
    assert table.rows[0]._tr.xpath(".//w:tblHeader")


def test_word_files_without_their_library(nasty: PublicationTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(CrosslevelError, match="pip install python-docx"):
        nasty.to("docx")


def test_workbooks_hold_the_numbers_themselves(nasty: PublicationTable, fits: list[object]) -> None:
    from openpyxl import load_workbook

    book = load_workbook(BytesIO(nasty.to("xlsx")))
    rows = list(book["Table"].iter_rows())
    assert [cell.data_type for cell in rows[0]][:1] == ["s"]
    assert [cell.value for cell in rows[1]] == [None, NASTY, "=2+2"]
    assert not any(cell.data_type == "f" for row in rows for cell in row)
    row = next(row for row in rows if row[0].value == NASTY)
    assert row[1].value == pytest.approx(fits[0].params["ses"], rel=1e-15, abs=0)  # 16 digits are written
    assert row[1].number_format == '0.000"***"'
    below = rows[rows.index(row) + 1]
    assert below[1].value == pytest.approx(fits[0].tidy().loc["ses", "std_error"], rel=1e-15, abs=0)
    assert below[1].number_format == '"("0.000")"'
    numbers = pd.read_excel(BytesIO(nasty.to("xlsx")), sheet_name="Numbers")
    assert np.allclose(numbers["estimate"], nasty.frame["estimate"].astype(float), rtol=1e-15)


# -- programs -------------------------------------------------------------------------------------------------------
def run(program: str, install: str, *arguments: str, folder: Path) -> str:
    """Run a program in a folder; its output."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed; on Debian: apt-get install {install}")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout


def compiled(table: PublicationTable, folder: Path, name: str) -> str:
    """What LaTeX says of a table."""
    table.save(folder / f"{name}.tex", document=True)
    arguments = ("-interaction=nonstopmode", "-halt-on-error", f"{name}.tex")
    run("pdflatex", "texlive-latex-recommended", *arguments, folder=folder)
    return run("pdflatex", "texlive-latex-recommended", *arguments, folder=folder)


@pytest.mark.slow
def test_latex_compiles_as_it_is(
    nasty: PublicationTable, fits: list[object], data: pd.DataFrame, tmp_path: Path
) -> None:
    wide = cl.table([fits[0]] * 8, stars=True, title="Eight")
    many = cl.ols("mathach ~ C(school)", data)
    tables = {
        "nasty": nasty, "wide": wide, "beside": cl.table(fits, beside=True), "long": cl.table([many, fits[0]]),
        "words": cl.descriptives(data, "school", by="sector", label="tab:words"),
    }  # fmt: skip
    assert len(tables["long"].lines) > LONG
    for name, table in tables.items():
        said = compiled(table, tmp_path, name)
        assert "Overfull" not in said or name == "nasty", name
        assert (tmp_path / f"{name}.pdf").stat().st_size > 10_000


@pytest.mark.slow
def test_a_fragment_compiles_within_another_document(nasty: PublicationTable, tmp_path: Path) -> None:
    nasty.save(tmp_path / "table.tex")
    needs = re.search(r"\\usepackage{[a-z,]+}", (tmp_path / "table.tex").read_text()).group()
    whole = rf"\documentclass{{article}}{needs}\begin{{document}}\input{{table}}\end{{document}}"
    (tmp_path / "paper.tex").write_text(whole)
    run("pdflatex", "texlive-latex-recommended", "-halt-on-error", "paper.tex", folder=tmp_path)


@pytest.mark.slow
def test_office_programs_open_the_files(nasty: PublicationTable, tmp_path: Path) -> None:
    nasty.save(tmp_path / "table.docx")
    nasty.save(tmp_path / "table.xlsx")
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    run("soffice", "libreoffice-writer libreoffice-calc", profile, "--headless", "--convert-to", "txt:Text",
        "table.docx", folder=tmp_path)  # fmt: skip
    text = (tmp_path / "table.txt").read_text(encoding="utf-8-sig")
    assert " ".join(NASTY.split()) in " ".join(text.split())
    run("soffice", "libreoffice-writer libreoffice-calc", profile, "--headless", "--convert-to",
        "csv:Text - txt - csv (StarCalc):44,34,76", "table.xlsx", folder=tmp_path)  # fmt: skip
    shown = (tmp_path / "table.csv").read_text()
    for line in nasty.lines:
        if isinstance(line, Line) and line.cells[0] is not None and "," not in line.cells[0].text:
            assert line.cells[0].text in shown
