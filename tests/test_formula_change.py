"""Old formula + change -> new formula, as in R's update.formula."""

import pytest

from crosslevel.errors import FormulaError
from crosslevel.formula import update

# (old, change) -> new; the first block is what update.formula of R 4 gives, but that R writes `- 1` for `0 +`, `^` for
# `**`, and knows no 2:x
CHANGES = {
    ("y ~ {x+1}", "~ . + z"): "y ~ {x + 1} + z",
    ("y ~ {x / 2}:b", "~ . - {x/2}:b + I(x)"): "y ~ I(x)",
    ("y ~ x", "~ . + z"): "y ~ x + z",
    ("y ~ x", ". ~ . + z"): "y ~ x + z",
    ("y ~ x + z", "~ . - z"): "y ~ x",
    ("y ~ x", "~ . - x"): "y ~ 1",
    ("y ~ x", "~ z"): "y ~ z",
    ("y ~ x", "~ 1"): "y ~ 1",
    ("y ~ x", "~ . - 1"): "y ~ 0 + x",
    ("y ~ 0 + x", "~ . + z"): "y ~ 0 + x + z",
    ("y ~ 0 + x", "~ . + 1"): "y ~ x",
    ("y ~ 0 + x", "~ z"): "y ~ z",
    ("y ~ x * z", "~ . - x:z"): "y ~ x + z",
    ("y ~ x * z", "~ . - z"): "y ~ x + x:z",
    ("y ~ x + z", "~ .^2"): "y ~ x + z + x:z",
    ("y ~ x + z", "~ . * w"): "y ~ x + z + w + x:w + z:w",
    ("y ~ x + z", "~ .:w"): "y ~ x:w + z:w",
    ("y ~ x:z", "~ . + w"): "y ~ w + x:z",
    ("y ~ x", "~ . + x"): "y ~ x",
    ("y ~ x", "log(.) ~ ."): "log(y) ~ x",
    ("log(y) ~ x", "exp(.) ~ ."): "exp(log(y)) ~ x",
    ("y / 2 ~ x", ". * 3 ~ ."): "y / 2 * 3 ~ x",
    ("y + w ~ x", ". * 3 ~ ."): "(y + w) * 3 ~ x",
    ("y ~ x", "w ~ ."): "w ~ x",
    ("`test score` ~ `a b`", "log(.) ~ . + np.log(`a b`)"): "log(`test score`) ~ `a b` + np.log(`a b`)",
    ("y ~ log(x) + I(x^2)", "~ . - I(x ** 2)"): "y ~ log(x)",
    ("y ~ 2:x", "~ . + z"): "y ~ 2:x + z",
    # random terms
    ("y ~ x + (x | g)", "~ . + z"): "y ~ x + z + (x | g)",
    ("y ~ x + (x | g)", "~ z"): "y ~ z",
    ("y ~ x + (1 | g)", "~ . - (1 | g)"): "y ~ x",
    ("y ~ x + (1 | g)", "~ . - (1 | g) + (x | g)"): "y ~ x + (x | g)",
    ("y ~ x + (1|g)", "~ . + (1 | h)"): "y ~ x + (1|g) + (1 | h)",
    ("y ~ x + (1 | g)", "~ . + (0 + x | g)"): "y ~ x + (1 | g) + (0 + x | g)",
    ("y ~ x + (1 + x | g)", "~ . - (x | g)"): "y ~ x",
    ("y ~ x + (x || g)", "~ . - blocks(1, 0 + x | g)"): "y ~ x",
    ("y ~ x + (1 | a:b)", "~ . - (1 | b:a)"): "y ~ x",
    ("y ~ x + (1 | a/b)", "~ . + z"): "y ~ x + z + (1 | a/b)",
    ("y ~ x + (1 | a/b)", "~ . - (1 | a:b)"): "y ~ x + (1 | a)",
    ("y ~ x + (x || a/b)", "~ . - (x || a)"): "y ~ x + blocks(1, 0 + x | a:b)",
    ("y ~ x + diag(f | g)", "~ . - x"): "y ~ 1 + diag(f | g)",
    ("y ~ x + (1 | mm(a, b))", "~ . + z"): "y ~ x + z + (1 | mm(a, b))",
    ("y ~ x + (1 | mm(a, b, weights=[v, w]))", "~ . - (1 | mm(a, b, weights=c(v, w)))"): "y ~ x",
    ("y ~ x + propto(0 + f | g, V)", "~ . - propto(0 + f | g, V) + (1 | g)"): "y ~ x + (1 | g)",
    ("y ~ x", "~ . + within(x, a:b) + (within(x, a:b) | a)"): "y ~ x + within(x, a:b) + (within(x, a:b) | a)",
}

# (old, change) -> words of the error
WRONG = {
    ("y ~ x", ". + z"): "no ~",
    ("y ~ x", "~ . - z"): "this is not in the formula. Its terms: x",
    ("y ~ x", "~ . - x:z"): "not in the formula",
    ("y ~ x + (1 | g)", "~ . - (x | g)"): r"this random term is not in the formula. Its random terms: \(1 | g\)",
    ("y ~ x + (x | g)", "~ . - (x || g)"): "this random term is not in the formula",
    ("y ~ x + (1 | mm(a, b, weights=[v, w]))", "~ . - (1 | mm(a, b))"): "this random term is not in the formula",
    ("y ~ x + propto(0 + f | g, V)", "~ . - propto(0 + f | g, W)"): "this random term is not in the formula",
    ("y ~ x + (1 | g)", "~ . + (x | g)"): "the intercept varies over g in an earlier term",
    ("y ~ x", "~ . + (1 | )"): "grouping column",
    ("y ~ x", "~ . +"): "ends where a term is expected",
    ("y ~ x", "log(. ~ ."): "never closed",
}


@pytest.mark.parametrize(("texts", "expected"), CHANGES.items())
def test_changes(texts, expected):
    assert update(*texts) == expected


@pytest.mark.parametrize(("texts", "words"), WRONG.items())
def test_wrong_changes_are_refused(texts, words):
    with pytest.raises(FormulaError, match=words):
        update(*texts)


def test_a_change_that_changes_nothing_gives_the_same_formula():
    formula = "log(y) ~ x + z + x:z + (x | g) + (1 | h)"
    assert update(formula, ". ~ .") == formula
