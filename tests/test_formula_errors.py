"""Input that is wrong for the data: each error names the argument, what came, and what to do."""

import datetime

import numpy as np
import pandas as pd
import pytest

from crosslevel.errors import ColumnNotFoundError, DataError, FormulaError
from crosslevel.formula import learn, parse
from crosslevel.table.columns import Columns


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    n = 80
    infinite = rng.normal(size=n)
    infinite[[3, 9]] = np.inf, -np.inf
    holes = rng.normal(size=n)
    holes[:5] = np.nan
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "ses": rng.normal(size=n),
            "zero": np.arange(n) % 4,
            "infinite": infinite,
            "holes": holes,
            "huge": np.full(n, 1e200),
            "sector": np.where(rng.random(n) < 0.5, "Public", "Catholic"),
            "region": rng.choice(["n", "s", "w"], n),
            "single": "same",
            "number": [f"{value:.3f}" for value in rng.normal(size=n)],
            "day": pd.date_range("2020-01-01", periods=n),
            "school": np.repeat(np.arange(8), 10),
            "my.x": rng.normal(size=n),
        }
    )


def run(frame, formula, mask=None):
    columns = Columns.from_frame(frame)
    spec = learn(parse(formula), columns, mask)
    return spec.evaluate(columns, mask=mask), spec.response(columns, mask=mask)


# formula -> kind of error, words of the message
WRONG = {
    "y ~ sess": (ColumnNotFoundError, "`formula` uses 'sess'.*Did you mean 'ses'"),
    "y ~ log(SES)": (ColumnNotFoundError, "Did you mean 'ses' for 'SES'"),
    "y ~ within(ses, shcool)": (ColumnNotFoundError, "Did you mean 'school' for 'shcool'"),
    "y ~ (1 | schol)": (ColumnNotFoundError, "`formula` uses 'schol'.*Did you mean 'school'"),
    "Y ~ ses": (ColumnNotFoundError, "Did you mean 'y' for 'Y'"),
    "sector ~ ses": (
        DataError,
        r"outcome `sector`.*must be numeric; it holds 'Catholic', 'Public'.*I\(sector == 'Public'\)",
    ),
    "region ~ ses": (DataError, r"outcome `region`.*must be numeric; it holds 'n', 's', 'w'\. Turn it into numbers"),
    "C(zero) ~ ses": (DataError, r"outcome `C\(zero\)`.*it has categories"),
    "poly(ses, 2) ~ 1": (DataError, r"outcome `poly\(ses, 2\)`.*it has 2 columns"),
    "y ~ infinite": (DataError, "2 infinite values in column 'infinite' .of 80 used rows"),
    "y ~ within(infinite, school)": (DataError, "2 infinite values in column 'infinite'"),
    "y ~ scale(infinite)": (DataError, "2 infinite values in column 'infinite'"),
    "y ~ I(infinite * 2)": (DataError, "2 infinite values in column 'infinite'"),
    "infinite ~ 1": (DataError, "2 infinite values in column 'infinite'"),
    "y ~ holes": (DataError, "5 missing values in column 'holes'"),
    "y ~ log(zero)": (
        DataError,
        r"`log\(zero\)`, which is infinite or undefined in 20 of 80 used rows although zero is",
    ),
    "log(zero) ~ 1": (DataError, r"`log\(zero\)`, which is infinite or undefined in 20 of 80"),
    "y ~ within(log(zero), school)": (DataError, r"`log\(zero\)`, which is infinite or undefined in 20 of 80"),
    "y ~ ses:huge:I(huge + 0)": (DataError, "product of .* too large.*Rescale"),
    "y ~ single": (DataError, "single has a single value .'same'. in the used rows"),
    "y ~ wec(single)": (DataError, "single has a single value"),
    "y ~ day": (DataError, "`day`, which holds dates"),
    "y ~ scale(huge)": (DataError, "same value in all used rows"),
    "y ~ log(sector)": (DataError, r"`log\(sector\)`, which cannot be computed from sector \(category\)"),
    "y ~ C(region, contr.treatment('x'))": (DataError, "'x'.*not among the provided levels"),
    "y ~ C(region, levels=['n', 's'])": (DataError, "meets a category that it does not know"),
    "y ~ poly(ses)[0]": (DataError, "cannot be computed"),
    "y ~ I(ses - np.mean(ses))": (DataError, "depends on the other rows.*center"),
    "y ~ I(ses / ses.max())": (DataError, "depends on the other rows"),
    "y ~ np.cumsum(ses)": (DataError, "depends on the other rows"),
    "y ~ I(0 < ses < 1)": (DataError, r"join comparisons by & and \|"),
    "y ~ I(ses > 0 and ses < 1)": (DataError, r"join comparisons by & and \|"),
    "y ~ lag(ses)": (DataError, "depends on the other rows"),
    "y ~ x.abs(": (FormulaError, "never closed"),
}

# formula -> position of the caret, words
WRONG_CALLS = {
    "y ~ ses + sqrt(ses)": (10, r"no function sqrt\(\).*Did you mean np.sqrt"),
    "y ~ wihtin(ses, school)": (4, r"Did you mean within\(\)"),
    "y ~ I(foo(ses))": (6, r"no function foo\(\)"),
    "y ~ open(ses)": (4, r"no function open\(\)"),
    "foo(y) ~ ses": (0, r"no function foo\(\)"),
    "y ~ ses + within(ses)": (10, "within takes a column or expression and a grouping column"),
    "y ~ within(ses, 'school')": (4, "grouping column"),
    "y ~ within(ses, school, 2)": (4, "grouping column"),
    "y ~ within(sector, school)": (4, r"sector has categories \('Catholic', 'Public'\).*within\(I"),
    "y ~ between(poly(ses, 2), school)": (4, "has 2 columns"),
    "y ~ center(ses, school)": (4, r"write within\(x, g\)"),
    "y ~ center(sector)": (4, "center needs numbers"),
    "y ~ wec()": (4, "wec takes a column"),
    "y ~ wec(log(ses))": (4, "wec takes a column"),
    "y ~ wec(sector, reference='Public')": (4, "wec takes a column"),
    "y ~ wec(sector, ref='public')": (4, "no category 'public'; it has 'Catholic', 'Public'"),
    "y ~ I(sector == 'catholic')": (4, "sector has no category 'catholic'; it has 'Catholic', 'Public'"),
    "y ~ I(wec(region) * 2)": (4, "cannot stand inside another function"),
}


@pytest.mark.parametrize(("formula", "expected"), WRONG.items())
def test_wrong_input_is_refused_with_advice(frame, formula, expected):
    kind, words = expected
    with pytest.raises(kind, match=words):
        run(frame, formula)


@pytest.mark.parametrize(("formula", "expected"), WRONG_CALLS.items())
def test_wrong_call_is_refused_with_a_caret_at_the_place(frame, formula, expected):
    position, words = expected
    with pytest.raises(FormulaError, match=words) as caught:
        run(frame, formula)
    *_, shown, caret = str(caught.value).split("\n")
    assert shown == f"    {formula}"
    assert caret.index("^") - 4 == position


def test_numbers_stored_as_text_are_noticed():
    frame = pd.DataFrame({"y": 1.0, "income": [f"{value}.5" for value in range(1500)]})
    with pytest.raises(DataError, match=r"income has 1500 different values.*numbers stored as text"):
        run(frame, "y ~ income")


def test_missing_categories_and_groups_are_noticed():
    frame = pd.DataFrame({"y": range(4), "x": range(4), "f": ["a", "b", None, "a"], "g": ["u", "u", None, "v"]})
    with pytest.raises(DataError, match="1 missing value in column 'f'"):
        run(frame, "y ~ f")
    with pytest.raises(DataError, match="1 missing value in column 'g'"):
        run(frame, "y ~ within(x, g)")


def test_infinite_values_outside_the_used_rows_do_no_harm(frame):
    design, _ = run(frame, "y ~ infinite + within(infinite, school)", np.isfinite(frame["infinite"]).to_numpy())
    assert design.shape == (3, 78)


def test_no_row_left_is_refused(frame):
    with pytest.raises(DataError, match="no row is left: every row misses a value in one of y, ses"):
        run(frame, "y ~ ses", np.zeros(80, dtype=bool))


@pytest.mark.parametrize("term", ["region", "C(region)", "wec(region)", "C(region, contr.sum)", "I(region == 'n')"])
def test_a_category_that_the_fit_did_not_know_is_refused_in_new_data(frame, term):
    spec = learn(parse(f"y ~ {term}"), Columns.from_frame(frame))
    new = Columns.from_frame(pd.DataFrame({"region": ["n", "east", "w"]}), argument="new")
    with pytest.raises(DataError, match=r"`new` has 'east' in column 'region'.*It knows 'n', 's', 'w'"):
        spec.evaluate(new)
    assert spec.evaluate(new, mask=np.array([True, False, True])).shape[1] == 2


def test_a_number_that_the_fit_did_not_know_as_a_category_is_refused_in_new_data(frame):
    columns = Columns.from_frame(frame)
    new = Columns.from_frame(pd.DataFrame({"zero": [1, 7]}), argument="new")
    with pytest.raises(DataError, match=r"`new` has 7 in column 'zero'.*It knows 0, 1, 2, 3"):
        learn(parse("y ~ C(zero)"), columns).evaluate(new)
    with pytest.raises(DataError, match=r"`C\(zero, contr.sum\)` meets a category that it does not know"):
        learn(parse("y ~ C(zero, contr.sum)"), columns).evaluate(new)


def test_a_column_that_new_data_lack_is_named(frame):
    spec = learn(parse("y ~ ses + sector"), Columns.from_frame(frame))
    with pytest.raises(ColumnNotFoundError, match="'sector'"):
        spec.evaluate(Columns.from_frame(pd.DataFrame({"ses": [1.0]}), argument="new"))


def test_a_new_category_of_another_type_is_refused(frame):
    spec = learn(parse("y ~ C(zero)"), Columns.from_frame(frame))
    with pytest.raises(DataError, match="'1', '2' in column 'zero'"):
        spec.evaluate(Columns.from_frame(pd.DataFrame({"zero": ["1", "2"]})))


def test_values_beyond_the_knots_of_a_spline_are_refused_in_new_data(frame):
    spec = learn(parse("y ~ bs(ses, df=4)"), Columns.from_frame(frame))
    with pytest.raises(DataError, match="beyond upper and/or lower bounds"):
        spec.evaluate(Columns.from_frame(pd.DataFrame({"ses": [99.0]})))


def test_dates_can_be_categories_when_asked_for():
    day = [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)] * 3
    design, _ = run(pd.DataFrame({"y": 1.0, "day": day}), "y ~ C(day)")
    np.testing.assert_array_equal(design[1], [0, 1, 0, 1, 0, 1])
