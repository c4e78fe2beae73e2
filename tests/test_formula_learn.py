"""Parsed formula + data -> names of columns, random terms, and what is remembered."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from crosslevel.formula import learn, parse
from crosslevel.table.columns import Columns


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(7)
    n = 120
    return pd.DataFrame(
        {
            "y": rng.normal(10, 2, n),
            "x": rng.normal(size=n),
            "z": rng.uniform(1, 2, n),
            "k": rng.integers(1, 4, n),
            "b": rng.random(n) < 0.4,
            "sector": pd.Categorical.from_codes(rng.integers(0, 2, n), ["Public", "Catholic"]),
            "f": rng.choice(["a", "b", "c"], n),
            "math score": rng.normal(size=n),
            "school": np.repeat(np.arange(12), 10),
            "year": np.tile([1, 2], n // 2),
        }
    )


def spec_of(frame, right_side, mask=None):
    return learn(parse(f"y ~ {right_side}"), Columns.from_frame(frame), mask)


# right-hand side -> names of the columns of the fixed part
NAMES = {
    "1": "Intercept",
    "0 + x": "x",
    "x * z": "Intercept, x, z, x:z",
    "sector": "Intercept, sector[Catholic]",
    "0 + sector": "sector[Public], sector[Catholic]",
    "f * x": "Intercept, f[b], f[c], x, f[b]:x, f[c]:x",
    "x:f": "Intercept, x:f[a], x:f[b], x:f[c]",
    "f:sector": (
        "Intercept, sector[Catholic], "
        "f[b]:sector[Public], f[c]:sector[Public], f[b]:sector[Catholic], f[c]:sector[Catholic]"
    ),
    "f * sector": "Intercept, f[b], f[c], sector[Catholic], f[b]:sector[Catholic], f[c]:sector[Catholic]",
    "b": "Intercept, b",
    "C(b)": "Intercept, C(b)[True]",
    "C(k)": "Intercept, C(k)[2], C(k)[3]",
    "C(f, contr.treatment('b'))": "Intercept, C(f, contr.treatment('b'))[a], C(f, contr.treatment('b'))[c]",
    "C(f, contr.sum)": "Intercept, C(f, contr.sum)[S.a], C(f, contr.sum)[S.b]",
    "0 + C(f, contr.sum)": "C(f, contr.sum)[a], C(f, contr.sum)[b], C(f, contr.sum)[c]",
    "poly(x, 2)": "Intercept, poly(x, 2)[1], poly(x, 2)[2]",
    "bs(x, df=4)": "Intercept, bs(x, df=4)[1], bs(x, df=4)[2], bs(x, df=4)[3], bs(x, df=4)[4]",
    "I(x^2) + log(z) + np.sqrt(z)": "Intercept, I(x ** 2), log(z), np.sqrt(z)",
    "{x + 1}": "Intercept, x + 1",
    "`math score` * log(`math score` + 10)": (
        "Intercept, math score, log(`math score` + 10), math score:log(`math score` + 10)"
    ),
    "within(x, school) * sector + between(x, school)": (
        "Intercept, within(x, school), sector[Catholic], between(x, school), within(x, school):sector[Catholic]"
    ),
    "within(log(z), school:year)": "Intercept, within(log(z), school:year)",
    "within(`math score`, school)": "Intercept, within(`math score`, school)",
    "I(within(x, school)^2)": "Intercept, I(within(x, school) ** 2)",
    "center(x) + scale(x)": "Intercept, center(x), scale(x)",
    "wec(f)": "Intercept, wec(f)[b], wec(f)[c]",
    'wec(f, ref="b") * x': (
        "Intercept, wec(f, ref='b')[a], wec(f, ref='b')[c], x, wec(f, ref='b')[a]:x, wec(f, ref='b')[c]:x"
    ),
    "2:x": "Intercept, x",
}

# random terms -> (group, blocks of names) of each
TERMS = {
    "x + (x | school)": [(("school",), [["Intercept", "x"]])],
    "(x || school)": [(("school",), [["Intercept"], ["x"]])],
    "(0 + x | school)": [(("school",), [["x"]])],
    "(f | school)": [(("school",), [["Intercept", "f[b]", "f[c]"]])],
    "(0 + f | school)": [(("school",), [["f[a]", "f[b]", "f[c]"]])],
    "(f || school)": [(("school",), [["Intercept"], ["f[a]", "f[b]", "f[c]"]])],
    "diag(f | school)": [(("school",), [["Intercept"], ["f[b]"], ["f[c]"]])],
    "blocks(1 + x, z | school)": [(("school",), [["Intercept", "x"], ["z"]])],
    "(1 | school) + (0 + x | school)": [(("school",), [["Intercept"], ["x"]])],
    "(1 | school) + (1 | year) + (0 + x | school)": [
        (("school",), [["Intercept"], ["x"]]),
        (("year",), [["Intercept"]]),
    ],
    "(1 | school/year)": [(("school",), [["Intercept"]]), (("school", "year"), [["Intercept"]])],
    "(1 | school:year) + (0 + x | year:school)": [(("school", "year"), [["Intercept"], ["x"]])],
    "(within(x, school) * sector | school)": [
        (
            ("school",),
            [["Intercept", "within(x, school)", "sector[Catholic]", "within(x, school):sector[Catholic]"]],
        )
    ],
    "(poly(x, 2) | school)": [(("school",), [["Intercept", "poly(x, 2)[1]", "poly(x, 2)[2]"]])],
    "cs(0 + f | school)": [(("school",), [["f[a]", "f[b]", "f[c]"]])],
}

# right-hand side -> all columns: fixed | only random
SHARED = {
    "x + (x | school)": "Intercept, x | ",
    "(x | school)": "Intercept | x",
    "0 + x + (1 | school)": "x | Intercept",
    "f + (0 + f | school)": "Intercept, f[b], f[c] | f[a]",
    "0 + f + (f | school)": "f[a], f[b], f[c] | Intercept",
    "x:z + (z:x | school)": "Intercept, x:z | ",
    "2:x + (x | school)": "Intercept, x | x",
    "within(x, school) + (within(x, school) | school)": "Intercept, within(x, school) | ",
    "poly(x, 2) + (poly(x, 2) | school)": "Intercept, poly(x, 2)[1], poly(x, 2)[2] | ",
    "C(f, contr.sum) + (0 + C(f, contr.sum) | school)": (
        "Intercept, C(f, contr.sum)[S.a], C(f, contr.sum)[S.b] | "
        "C(f, contr.sum)[a], C(f, contr.sum)[b], C(f, contr.sum)[c]"
    ),
}


@pytest.mark.parametrize(("right_side", "names"), NAMES.items())
def test_names_of_fixed_columns(frame, right_side, names):
    spec = spec_of(frame, right_side)
    assert ", ".join(column.name for column in spec.columns) == names
    assert spec.n_fixed == len(spec.columns)
    assert spec.has_intercept == names.startswith("Intercept")


@pytest.mark.parametrize(("right_side", "expected"), TERMS.items())
def test_random_terms(frame, right_side, expected):
    spec = spec_of(frame, right_side)
    found = [
        (term.group, [[spec.columns[i].name for i in block.columns] for block in term.blocks]) for term in spec.terms
    ]
    assert found == expected
    structures = {block.structure for term in spec.terms for block in term.blocks}
    assert structures == ({"cs"} if right_side.startswith("cs") else {"us"})


@pytest.mark.parametrize(("right_side", "expected"), SHARED.items())
def test_a_column_of_both_parts_is_there_once(frame, right_side, expected):
    spec = spec_of(frame, right_side)
    names = [column.name for column in spec.columns]
    assert f"{', '.join(names[: spec.n_fixed])} | {', '.join(names[spec.n_fixed :])}" == expected


def test_columns_know_their_components_and_variables(frame):
    spec = spec_of(frame, "within(x, school) * sector + log(z)")
    described = {column.name: (column.factors, column.variables, column.kind) for column in spec.columns}
    assert described == {
        "Intercept": ((), (), "intercept"),
        "within(x, school)": (("within(x, school)",), ("x", "school"), "numeric"),
        "sector[Catholic]": (("sector[Catholic]",), ("sector",), "categorical"),
        "log(z)": (("log(z)",), ("z",), "numeric"),
        "within(x, school):sector[Catholic]": (
            ("within(x, school)", "sector[Catholic]"),
            ("x", "school", "sector"),
            "interaction",
        ),
    }
    assert spec.variables == ("y", "x", "school", "sector", "z")


def test_codings_name_levels_and_reference(frame):
    right_side = "sector + wec(f, ref='b') + C(f, contr.sum) + C(f, contr.treatment('c')) + C(k)"
    codings = spec_of(frame, right_side).codings
    assert {text: (coding.kind, coding.levels, coding.reference) for text, coding in codings.items()} == {
        "sector": ("treatment", ("Public", "Catholic"), "Public"),
        "wec(f, ref='b')": ("wec", ("a", "b", "c"), "b"),
        "C(f, contr.sum)": ("sum", ("a", "b", "c"), None),
        "C(f, contr.treatment('c'))": ("treatment", ("a", "b", "c"), "c"),
        "C(k)": ("treatment", (1, 2, 3), 1),
    }


def test_categories_without_a_used_row_get_no_column(frame):
    mask = (frame["f"] != "a").to_numpy()
    for right_side in ("f", "C(f)", "C(f, contr.treatment)", "wec(f)"):
        (column,) = spec_of(frame, right_side, mask).columns[1:]
        assert column.name.endswith("[c]")


def test_spec_survives_pickling(frame):
    columns = Columns.from_frame(frame)
    right_side = "within(log(z), school:year) * f + C(f, contr.sum) + poly(x, 3) + bs(z, df=4) + wec(f) + (f | school)"
    spec = learn(parse(f"log(y) ~ {right_side}"), columns)
    again = pickle.loads(pickle.dumps(spec))
    np.testing.assert_array_equal(again.evaluate(columns), spec.evaluate(columns))
    np.testing.assert_array_equal(again.response(columns), np.log(frame["y"]))
    assert [column.name for column in again.columns] == [column.name for column in spec.columns]


def test_formulaic_is_imported_only_when_an_expression_needs_it():
    program = (
        "import sys; from crosslevel.formula import learn, parse; from crosslevel.table.columns import Columns\n"
        "data = Columns.from_frame({'y': [1., 2., 4.], 'x': [0., 1., 5.], 'f': ['a', 'b', 'a'], 'g': [1, 1, 2]})\n"
        "for text in ('within(x, g) * f + (x | g)', 'scale(x) + I(f == \"a\")', 'wec(f) + C(g) + log(x + 1)'):\n"
        "    learn(parse('y ~ ' + text), data).evaluate(data)\n"
        "assert 'formulaic' not in sys.modules\n"
        "learn(parse('y ~ poly(x, 2)'), data)\n"
        "assert 'formulaic' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
