"""Formula text -> parsed record; and where a text that is none goes wrong."""

import pytest
from formulaic import Formula as FormulaicFormula
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from crosslevel.errors import FormulaError
from crosslevel.formula.parse import parse, write_random

# right-hand side -> fixed part
FIXED = {
    "1": "1",
    "0": "0",
    "-1": "0",
    "x": "1 + x",
    "0 + x": "0 + x",
    "-1 + x": "0 + x",
    "x - 1": "0 + x",
    "x + 0": "0 + x",
    "x + -1": "0 + x",
    "x - 0": "1 + x",
    "x + 0 + 1": "1 + x",
    "x + + z": "1 + x + z",
    "x - -z": "1 + x + z",
    "-x": "1",
    "x + x": "1 + x",
    "x*z": "1 + x + z + x:z",
    "x:z + x": "1 + x + x:z",
    "x:z + z:x": "1 + x:z",
    "x*z - z": "1 + x + x:z",
    "x*z*w - x:z:w": "1 + x + z + w + x:z + x:w + z:w",
    "(x + z)^2": "1 + x + z + x:z",
    "(x + z + w)**2": "1 + x + z + w + x:z + x:w + z:w",
    "(x + z + w)^3": "1 + x + z + w + x:z + x:w + z:w + x:z:w",
    "x^2": "1 + x",
    "x/z": "1 + x + x:z",
    "(x + z)/w": "1 + x + z + x:z:w",
    "x/z/w": "1 + x + x:z + x:z:w",
    "z %in% x": "1 + x + x:z",
    "x:(z + w)": "1 + x:z + x:w",
    "(1 + x)*z": "1 + x + z + x:z",
    "2:x": "1 + 2:x",
    "log( x )+np.log(x)": "1 + log(x) + np.log(x)",
    "I(x^2)": "1 + I(x ** 2)",
    "I(x**2) + I(x ** 2)": "1 + I(x ** 2)",
    "{x+1}": "1 + {x + 1}",
    "`math score`": "1 + `math score`",
    "`x`": "1 + x",
    "log(`math score`+1)": "1 + log(`math score` + 1)",
    "I(`class`*2) + log(`x.1`)": "1 + I(`class` * 2) + log(`x.1`)",
    "`a:b`": "1 + `a:b`",
    "x.1 + .y": "1 + x.1 + .y",
    "C(f,contr.treatment('b'))": "1 + C(f, contr.treatment('b'))",
    "within(x,g):f": "1 + within(x, g):f",
    "within( log(x) , a : b )": "1 + within(log(x), a:b)",
    "within(x, `my g`:b)": "1 + within(x, `my g`:b)",
    "within(within(x, a:b), c:d)": "1 + within(within(x, a:b), c:d)",
    "I(a | b)": "1 + I(a | b)",
    "cs(x, df=4)": "1 + cs(x, df=4)",
    "x.abs().clip(0)": "1 + x.abs().clip(0)",
    "x[0]": "1 + x[0]",
    "(x + (1 | g))": "1 + x",
}

US, DIAG = "us", "diag"

# right-hand side -> (structure, blocks, group) of each random part
RANDOM = {
    "x": [],
    "(1 | g)": [(US, ("1",), ("g",))],
    "x + (x | g)": [(US, ("1 + x",), ("g",))],
    "(1 + x | g)": [(US, ("1 + x",), ("g",))],
    "(0 + x | g)": [(US, ("0 + x",), ("g",))],
    "(-1 + x | g)": [(US, ("0 + x",), ("g",))],
    "(x - 1 | g)": [(US, ("0 + x",), ("g",))],
    "(x * z | g)": [(US, ("1 + x + z + x:z",), ("g",))],
    "(x || g)": [(US, ("1", "0 + x"), ("g",))],
    "(x * f || g)": [(US, ("1", "0 + x", "0 + f", "0 + x:f"), ("g",))],
    "(0 + x || g)": [(US, ("0 + x",), ("g",))],
    "(1 | a:b)": [(US, ("1",), ("a", "b"))],
    "(1 | a/b)": [(US, ("1",), ("a",)), (US, ("1",), ("a", "b"))],
    "(1 | a/b/c)": [(US, ("1",), ("a",)), (US, ("1",), ("a", "b")), (US, ("1",), ("a", "b", "c"))],
    "(x || a/b)": [(US, ("1", "0 + x"), ("a",)), (US, ("1", "0 + x"), ("a", "b"))],
    "(1 | g) + (0 + x | g)": [(US, ("1",), ("g",)), (US, ("0 + x",), ("g",))],
    "(1 | g) + x + (z | h)": [(US, ("1",), ("g",)), (US, ("1 + z",), ("h",))],
    "(1|`my group`)": [(US, ("1",), ("my group",))],
    "us(x | g)": [(US, ("1 + x",), ("g",))],
    "diag(x | g)": [(DIAG, ("1 + x",), ("g",))],
    "cs(1 + x | g)": [("cs", ("1 + x",), ("g",))],
    "ar1(0 + t | g)": [("ar1", ("0 + t",), ("g",))],
    "hcs(0 + f | g)": [("hcs", ("0 + f",), ("g",))],
    "har1(0 + f | g)": [("har1", ("0 + f",), ("g",))],
    "propto(0 + f | g, V)": [("propto", ("0 + f",), ("g",))],
    "equalto(0 + f | g, V)": [("equalto", ("0 + f",), ("g",))],
    "(1 | mm(t1, t2))": [(US, ("1",), ("mm(t1, t2)",))],
    "(x || mm(t1,t2,weights=[w1,w2]))": [(US, ("1", "0 + x"), ("mm(t1, t2)",))],
    "diag(x | mm(t1, `second teacher`))": [(DIAG, ("1 + x",), ("mm(t1, `second teacher`)",))],
    "(1 | mm(a, b)) + (1 | a)": [(US, ("1",), ("mm(a, b)",)), (US, ("1",), ("a",))],
    "blocks(1 + a, b | g)": [(US, ("1 + a", "0 + b"), ("g",))],
    "blocks(0 + a, b + c | g:h)": [(US, ("0 + a", "0 + b + c"), ("g", "h"))],
    "(within(x, g) | g)": [(US, ("1 + within(x, g)",), ("g",))],
    "((1 | g))": [(US, ("1",), ("g",))],
    "(I(x > 0) | g)": [(US, ("1 + I(x > 0)",), ("g",))],
}

# left-hand side -> name of the response, columns it uses
RESPONSES = {
    "y": ("y", ("y",)),
    "`test score`": ("test score", ("test score",)),
    "log(y)": ("log(y)", ("y",)),
    "y/100 + z": ("y / 100 + z", ("y", "z")),
    "y^2": ("y ** 2", ("y",)),
    "I(y | z)": ("I(y | z)", ("y", "z")),
    "I(y == 'a~b')": ("I(y == 'a~b')", ("y",)),
    "np.log(`test score`)": ("np.log(`test score`)", ("test score",)),
}

# formula -> position of the caret, words of the message
WRONG = {
    "": (None, "empty"),
    "y": (1, "no ~"),
    "~ x": (0, "nothing stands before ~"),
    "y ~": (3, "nothing stands after ~"),
    "y ~ x ~ z": (6, "the second"),
    "(1 | g) ~ x": (0, "goes after ~"),
    "x + (1 | g) ~ x": (0, "goes after ~"),
    "1 ~ x": (0, "names no column"),
    "y ~ x)": (5, "closes nothing"),
    "y ~ (x": (4, "never closed"),
    "y ~ log(x": (7, "never closed"),
    "y ~ log(x]": (9, "closes nothing"),
    "y ~ x + (1 | g": (8, "never closed"),
    "y ~ `a": (4, "no closing `"),
    "y ~ log('a)": (8, "no closing '"),
    "y ~ ``": (4, "no column name"),
    "y ~ log(x +)": (11, "not a valid expression"),
    "y ~ x +": (7, "ends where a term is expected"),
    "y ~ * x": (4, "a term is expected here, not '\\*'"),
    "y ~ x z": (6, "no operator before 'z'"),
    "y ~ (x z)": (7, "no operator before 'z'"),
    "y ~ x, z": (5, "comma"),
    "y ~ (x, z)": (6, "comma"),
    "y ~ x == 3": (6, "inside I"),
    "y ~ x $ 3": (6, "no meaning"),
    "y ~ 'a'": (4, "quotes"),
    "y ~ 3": (4, "only 0 and 1"),
    "y ~ x*2": (6, "only 0 and 1"),
    "y ~ x:0": (6, "0 removes the intercept"),
    "y ~ x + 2:x": (8, "scaled by another number"),
    "y ~ (x - x)/z": (11, "no term for / to nest in"),
    "y ~ x^z": (6, "positive whole number"),
    "y ~ x^1.5": (6, "positive whole number"),
    "y ~ .": (4, "dot"),
    "y ~ x | g": (6, "in parentheses"),
    "y ~ ( | g)": (6, "nothing stands before the bar"),
    "y ~ (x | )": (9, "not nothing"),
    "y ~ (x | g h)": (11, "no operator before 'h'"),
    "y ~ (x | 1)": (9, "not '1'"),
    "y ~ (x | log(g))": (9, "must be a column"),
    "y ~ (x | g + h)": (11, "one grouping factor"),
    "y ~ (x | g*h)": (10, "one grouping factor"),
    "y ~ (x | g:g)": (11, "twice"),
    "y ~ (x | a/)": (11, "not nothing"),
    "y ~ x * (1 | g)": (8, "not multiplied"),
    "y ~ (1 | g)^2": (4, "not multiplied"),
    "y ~ x * (z + (1 | g))": (13, "not multiplied"),
    "y ~ x - (1 | g)": (8, "cannot be subtracted"),
    "y ~ x - (z + (1 | g))": (13, "cannot be subtracted"),
    "y ~ (0 | g)": (5, "nothing varies"),
    "y ~ (0 || g)": (5, "nothing varies"),
    "y ~ ((1 | h) | g)": (5, "another random term"),
    "y ~ blocks(a, b | g)": (4, "where the intercept goes"),
    "y ~ diag(a, b | g)": (4, "one part before the bar"),
    "y ~ diag(a || g)": (11, "single bar"),
    "y ~ (1 | mm(t1))": (9, "at least two columns"),
    "y ~ (1 | mm())": (9, "at least two columns"),
    "y ~ (1 | mm(t1, t1))": (9, "'t1' stands here twice"),
    "y ~ (1 | mm(t1, t2, weights=[w]))": (9, "2 members but 1 weights"),
    "y ~ (1 | mm(t1, t2, weights=w))": (9, "the weights are a list of columns"),
    "y ~ (1 | mm(t1, t2, weights=[0.5, 0.5]))": (9, "the weights must be columns, not `0.5`"),
    "y ~ (1 | mm(t1, t2, weight=[a, b]))": (9, "no argument 'weight'"),
    "y ~ (1 | mm(t1, log(t2)))": (9, "the members must be columns, not `log\\(t2\\)`"),
    "y ~ (1 | mm(t1, t.a))": (9, "put its name in backquotes"),
    "y ~ (1 | mm(t1, t2).x)": (9, "nothing may follow"),
    "y ~ (1 | mm(t1, 2t))": (9, "cannot be read"),
    "y ~ (1 | mm(t1, t2):g)": (19, "cannot be combined with other groups"),
    "y ~ (1 | mm(t1, t2)/g)": (19, "cannot be combined with other groups"),
    "y ~ (1 | g:mm(t1, t2))": (11, "cannot be combined with other groups"),
    "y ~ (1 | g/mm(t1, t2))": (11, "cannot be combined with other groups"),
    "y ~ (1 | mm(t1, t2)) + (1 | mm(t1, t2))": (23, "the intercept varies over mm"),
    "y ~ (1 | mm(a, b)) + (0 + x | mm(a, b, weights=[v, w]))": (21, "other weights in an earlier term"),
    "y ~ propto(0 + f | g)": (20, "names its matrix after the group"),
    "y ~ propto(0 + f | g, 3)": (22, "the name of a known matrix"),
    "y ~ propto(0 + f | g, V, W)": (23, "a comma may only stand"),
    "y ~ cs(0 + f | g, V)": (16, "a comma may only stand"),
    "y ~ (1 | g) + (1 | g)": (14, "the intercept varies over g in an earlier term"),
    "y ~ (1 | g) + (x | g)": (14, "the intercept varies over g in an earlier term"),
    "y ~ (x || g) + (0 + x | g)": (15, "the slope of x varies over g in an earlier term"),
    "y ~ (1 | a/b) + (1 | b:a)": (16, "the intercept varies over b:a in an earlier term"),
    "y ~ blocks(1 + x, x | g)": (4, "the slope of x varies"),
}


@pytest.mark.parametrize(("text", "fixed"), FIXED.items())
def test_fixed_part(text, fixed):
    assert parse(f"y ~ {text}").fixed == fixed


@pytest.mark.parametrize(("text", "expected"), RANDOM.items())
def test_random_parts(text, expected):
    parts = parse(f"y ~ {text}").random
    assert [(part.structure, part.rhs, part.group) for part in parts] == expected


@pytest.mark.parametrize(("text", "expected"), RESPONSES.items())
def test_responses(text, expected):
    response = parse(f"{text} ~ x").response
    assert (response.text, response.variables) == expected


@pytest.mark.parametrize(("text", "expected"), WRONG.items())
def test_wrong_formula_is_refused_with_a_caret_at_the_place(text, expected):
    position, words = expected
    with pytest.raises(FormulaError, match=words) as caught:
        parse(text)
    assert "`formula`" in str(caught.value)
    if position is not None:
        *_, shown, caret = str(caught.value).split("\n")
        assert shown == f"    {text}"
        assert caret.index("^") - 4 == position


def test_formula_that_is_no_text_is_refused():
    with pytest.raises(FormulaError, match=r"must be text such as .* got list"):
        parse(["y ~ x"])


def test_formula_may_run_over_several_lines():
    formula = parse("""
        y ~ x
            + (1 | g)
    """)
    assert formula.fixed == "1 + x"
    assert [part.text for part in formula.random] == ["(1 | g)"]


def test_variables_are_all_columns_in_order_and_no_functions():
    formula = parse(
        "log(y) ~ within(x, g:h) * C(f, contr.sum) + np.where(z > 0, w, 1) + Q('q q') + C(k, Sum) "
        "+ `a b` + v.clip(0) + (0 + s | `c c`:d)"
    )
    assert formula.variables == (*("y", "x", "g", "h", "f", "z", "w", "q q", "k", "a b", "v", "s", "c c", "d"),)


@pytest.mark.parametrize("weights", ["[v, `w 2`]", "(v, `w 2`)", "c(v, `w 2`)"])
def test_members_and_weights(weights):
    formula = parse(f"y ~ x + (z | mm(t1, t2, weights={weights})) + (1 | g)")
    membership = formula.random[0].membership
    assert (membership.members, membership.weights) == (("t1", "t2"), ("v", "w 2"))
    assert membership.text == "mm(t1, t2, weights=[v, `w 2`])"
    assert formula.variables == ("y", "x", "z", "g", "t1", "t2", "v", "w 2")
    assert formula.required == ("y", "x", "z", "g")
    assert formula.random[1].membership is None


def test_members_that_are_used_elsewhere_are_required():
    formula = parse("y ~ v + (1 | mm(a, b, weights=[v, w])) + (1 | a)")
    assert formula.required == ("y", "v", "a")
    assert formula.variables == ("y", "v", "a", "b", "w")


@pytest.mark.parametrize("text", RANDOM)
def test_random_parts_written_out_are_the_same(text):
    parts = parse(f"y ~ {text}").random
    again = parse("y ~ 1 + " + " + ".join(["x2", *(write_random(part) for part in parts)])).random
    for one, other in zip(parts, again, strict=True):
        if len(one.rhs) > 1:
            assert other.blocks == one.blocks
        assert (one.rhs, one.group, one.structure) == (other.rhs, other.group, other.structure)
        assert (one.membership, one.known) == (other.membership, other.known)


def test_known_matrices_are_no_columns():
    formula = parse("y ~ propto(0 + f | g, V) + propto(0 + f | h, `my V`)")
    assert formula.known == ("V", "my V")
    assert formula.variables == ("y", "f", "g", "h")


def test_dot_leaves_out_members_and_weights():
    formula = parse("y ~ . + (1 | mm(a, b, weights=[v, w]))", names=("y", "x", "a", "b", "v", "w"))
    assert formula.fixed == "1 + x"


def test_dot_stands_for_all_other_columns():
    formula = parse("log(y) ~ . - z + (1 | g)", names=("y", "x", "z", "g", "a b"))
    assert formula.fixed == "1 + x + `a b`"


# ---- the same terms as formulaic, in the same order -----------------------------------------------------------------

ATOMS = st.sampled_from(["x", "z", "w", "f", "log(x)", "I(x ** 2)"])


def joined(children):
    operators = st.sampled_from([" + ", " - ", ":", "*", "/", " + 0 + ", " - 1 + "])
    pairs = st.tuples(children, operators, children).map("".join)
    powers = st.tuples(children, st.sampled_from(["^2", "**3"])).map(lambda pair: f"({pair[0]}){pair[1]}")
    return pairs | pairs.map("({})".format) | powers


@settings(max_examples=300, deadline=None)
@given(st.recursive(ATOMS, joined, max_leaves=6))
def test_algebra_agrees_with_formulaic(text):
    try:
        expected = [repr(term) for term in FormulaicFormula(text)]
    except TypeError:  # what formulaic makes of (x - x)/z
        reject()
    ours = [":".join(e.text for e in term.expressions) or "1" for term in parse(f"y ~ {text}").fixed_terms]
    assert ours == expected
