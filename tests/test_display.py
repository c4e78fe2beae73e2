"""Documents as text and as HTML."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from crosslevel.display import (
    Column,
    Document,
    Equations,
    Facts,
    Fold,
    Heading,
    Note,
    Paragraph,
    Picture,
    Section,
    Table,
    decimals_for,
    fixed,
    html,
    number,
    p_value,
    page,
    text,
)

VOID = {"meta", "img", "br"}
LONG = "within(household_income_in_thousands, country_of_residence):education[upper secondary, vocational]"

P_VALUES = {
    0.0: "< .001",
    0.000999: "< .001",
    0.001: ".001",
    0.0496: ".050",
    0.05: ".050",
    0.5: ".500",
    0.9994: ".999",
    0.99951: "> .999",
    1.0: "> .999",
    float("nan"): "",
}

NUMBERS = {
    0.0: "0.000",
    12.12793: "12.128",
    0.19929: "0.199",
    0.0996: "0.0996",
    0.00051: "0.000510",
    -0.0004: "-0.000400",
    1234.56: "1234.6",
    2.5e-7: "2.50e-07",
    3.2e10: "3.20e+10",
    float("inf"): "inf",
    float("nan"): "",
}


class Tags(HTMLParser):
    """Checks that tags nest, and collects them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def document() -> Document:
    return Document(
        "Mathematics & <schools>",
        [
            Heading("Data"),
            Paragraph("7,185 pupils in 160 schools. " * 8),
            Equations(["y_{ij} = β_{0j} + " + " + ".join(f"β_{{{k}j}} {LONG}_{{ij}}" for k in range(1, 4))]),
            Heading("Estimates"),
            Heading("Data"),
            Table(
                ["Term", "Estimate", Column("p", format="p")],
                [Section("Level 1"), [LONG, -1.2345678, 0.0001], ["ses", 12.5, 0.04], ["none", None, None]],
                title="Fixed effects",
                notes=["Every note is as long as it needs to be, " * 4],
            ),
            Note("Drop the slope of <ses>.", kind="warning"),
            Picture(b"\x89PNG", alt='A line with a "quote"', caption="Figure 1", media="image/png"),
        ],
    )


@pytest.mark.parametrize(("value", "shown"), P_VALUES.items())
def test_p_values_are_printed_as_social_science_prints_them(value, shown):
    assert p_value(value) == shown


@pytest.mark.parametrize(("value", "shown"), NUMBERS.items())
def test_numbers_keep_enough_digits(value, shown):
    assert number(value) == shown


def test_no_negative_zero():
    assert fixed(-0.0004, 3) == "0.000"
    assert fixed(-0.0, 1) == "0.0"


@pytest.mark.parametrize(("value", "decimals"), {0.0999: 4, 0.09996: 3, 9.996: 1, 99960.0: 0, 0.0: 0}.items())
def test_decimals_follow_the_rounded_number(value, decimals):
    assert decimals_for(value) == decimals


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_longer_than_the_width(document, width):
    assert max(map(len, text(document, width).splitlines())) <= width


def test_printing_a_document_is_its_text_and_a_notebook_shows_its_html(document):
    assert str(document) == text(document)
    assert document._repr_html_() == html(document)


def test_long_names_are_wrapped_and_not_cut(document):
    shown = re.sub(r"\s+", "", str(document))
    assert re.sub(r"\s+", "", LONG) in shown.replace("-1.235<.001", "")


def test_long_names_that_differ_at_the_end_look_different():
    lines = str(Document("", [Table(["", "b"], [[LONG + "[a]", 1.0], [LONG + "[b]", 1.0]])])).splitlines()
    assert sum("[a]" in line for line in lines) == 1
    assert sum("[b]" in line for line in lines) == 1


def test_numbers_meet_on_the_decimal_point():
    cells = [["a", 1.5], ["b", 1234.5], ["c", -0.000123], ["d", np.float32(7)], ["e", np.int64(3)]]
    body = str(Document("", [Table(["", "value"], cells)])).splitlines()[3:-1]
    assert {line.index(".") for line in body} == {body[0].index(".")}


def test_text_cells_can_meet_on_the_decimal_point():
    rows = [["b", "12.128"], ["", "(0.199)"], ["n", "7,185"], ["p", "< .001"]]
    body = str(Document("", [Table(["", Column("m1", align="decimal")], rows)])).splitlines()[3:-1]
    assert body[0].index(".") == body[1].index(".") == body[3].index(".") == body[2].index("5") + 1


def test_a_wide_table_continues_below_with_its_row_names():
    names = [f"model{k}" for k in range(14)]
    table = Table(["Term", *names], [["Intercept", *(k + 0.5 for k in range(14))]])
    lines = str(Document("", [table])).splitlines()
    assert "(continued)" in lines
    assert sum(line.startswith("Intercept") for line in lines) == 2
    assert [word for line in lines if line.startswith("Term") for word in line.split()[1:]] == names


def test_wide_characters_take_two_columns():
    lines = str(Document("", [Table(["name", "x"], [["数学", 1.0], ["maths", 1.0]])])).splitlines()
    assert [line.index("1.000") for line in lines[3:5]] == [5, 7]


def test_subscripts():
    document = Document("", [Equations(["β_{0j} = γ_{00} + hours_{ij} + r_{ij}"])])
    assert str(document) == "β0j = γ00 + hours_ij + r_ij"
    assert "β<sub>0j</sub> = γ<sub>00</sub> + hours<sub>ij</sub>" in html(document)


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match=r"A row has 1 cells where the table has 2 columns: \['x'\]"):
        str(Document("", [Table(["a", "b"], [["x"]])]))


def test_an_empty_table_and_an_empty_document():
    assert str(Document("", [])) == ""
    assert "a" in str(Document("", [Table(["a", "b"], [])]))


def test_html_nests_and_is_accessible(document):
    tags = Tags(page(document, contents=True)).seen
    names = [name for name, _ in tags]
    assert names.count("h1") == 1
    assert names.count("caption") == names.count("table") == 1
    assert all(attributes.get("scope") for name, attributes in tags if name == "th")
    assert [attributes["alt"] for name, attributes in tags if name == "img"] == ['A line with a "quote"']
    assert ("html", {"lang": "en"}) in tags


def test_contents_link_to_headings_that_exist_once_each(document):
    tags = Tags(page(document, contents=True)).seen
    links = [attributes["href"] for name, attributes in tags if name == "a"]
    anchors = [f"#{attributes['id']}" for name, attributes in tags if name == "h2"]
    assert links == anchors == ["#data", "#estimates", "#data-2"]


def test_html_loads_nothing_and_escapes_text(document):
    source = page(document)
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", source)
    assert "Mathematics &amp; &lt;schools&gt;" in source
    assert "<schools>" not in source
    assert "prefers-color-scheme: dark" in source
    assert "@media print" in source


def test_html_numbers_meet_on_the_decimal_point():
    source = html(Document("", [Table(["", "b"], [["a", 1.25], ["b", 0.000123]])]))
    assert "1.250\u2007\u2007\u2007</td>" in source
    assert "0.000123</td>" in source


def test_facts_and_folds_are_open_in_text_and_closed_in_a_page():
    inner = [Heading("Versions", level=2), Table(["Made with", ""], [["numpy", "2"]])]
    document = Document("A", [Facts([("7,185", "pupils"), ("160", "schools & more")]), Fold("To do it <again>", inner)])
    assert "pupils: 7,185 · schools & more: 160" in str(document)
    assert "To do it <again>\n\nVersions\n" in str(document)
    source = page(document, contents=True)
    Tags(source)
    assert "<div><dt>schools &amp; more</dt><dd>160</dd></div>" in source
    assert "<details><summary>To do it &lt;again&gt;</summary>" in source
    assert '<h3 id="to-do-it-again-versions">Versions</h3>' in source


def test_a_live_picture_is_part_of_the_page():
    drawn = '<svg viewBox="0 0 1 1"><title>x</title></svg>'
    source = page(Document("", [Picture(drawn, alt="Lines & points", live=True, width=300)]))
    assert drawn in source
    assert 'aria-label="Lines &amp; points" style="max-width: 300px"' in source
    assert "<img" not in source


def test_the_ends_of_an_interval_stay_in_one_panel():
    columns = ["Term", *(Column(word, format="number") for word in ("Estimate", "SE", "95% low", "high"))]
    row = ["a:b", 0.00000663123, 0.00000231, 0.00000184, 0.00001143]
    table = Table(columns, [row, ["Intercept", 24363.2, 4080.1, 15900.0, 32820.0]])
    lines = text(Document("", [table]), width=60).splitlines()
    first, second = lines[: lines.index("(continued)")], lines[lines.index("(continued)") :]
    assert not any("low" in line for line in first)
    assert any("low" in line and "high" in line for line in second)


def test_text_columns_give_way_further_where_that_saves_a_panel():
    columns = ["Variable", Column("Mean", format="count"), "Varies between"]
    lines = text(Document("", [Table(columns, [["a name of many words", 1000000, "rows"]])]), width=34).splitlines()
    assert "(continued)" not in lines
    assert max(map(len, lines)) <= 34
