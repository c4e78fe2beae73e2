"""Values of design columns: equal to formulaic's where it knows them, to plain pandas where it does not."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from formulaic import Formula as FormulaicFormula
from hypothesis import given, settings
from hypothesis import strategies as st

from crosslevel.errors import DataWarning
from crosslevel.formula import learn, parse
from crosslevel.table.columns import Columns

N = 90


@pytest.fixture(scope="module")
def frame():
    return made_frame(np.random.default_rng(3))


def made_frame(rng, n=N):
    """Columns of every kind, each category there, in text, ordered categories, integers and truth values."""
    return pd.DataFrame(
        {
            "y": rng.normal(10, 2, n),
            "x": rng.normal(size=n),
            "z": rng.uniform(1, 2, n),
            "k": rng.permutation(np.arange(n) % 4 + 1),
            "b": rng.permutation(np.arange(n) % 3 == 0),
            "s": pd.Categorical.from_codes(rng.permutation(np.arange(n) % 3), ["low", "high", "mid"]),
            "f": rng.permutation(np.array(["b", "a", "c"])[np.arange(n) % 3]),
            "g": rng.permutation(np.arange(n) % 7 * 10),
            "h": rng.permutation(np.arange(n) % 2),
        }
    )


def evaluated(frame, right_side, mask=None):
    """Names without the mark of treatment coding, and values, of the fixed part."""
    columns = Columns.from_frame(frame)
    spec = learn(parse(f"y ~ {right_side}"), columns, mask)
    return [column.name for column in spec.columns], spec.evaluate(columns, mask=mask)


def by_formulaic(frame, right_side):
    matrix = FormulaicFormula(right_side).get_model_matrix(frame, na_action="ignore", output="numpy")
    names = [name.replace("[T.", "[") for name in matrix.model_spec.column_names]
    return names, np.asarray(matrix, dtype=float).T


# ---- equal to formulaic --------------------------------------------------------------------------------------------

FAST = st.sampled_from(["x", "z", "k", "b", "s", "f", "C(k)", "C(b)", "C(s)"])
ROWWISE = st.sampled_from(
    [
        *("log(z)", "I(x**2)", "I(x * z - 2 / k)", "np.sqrt(z)", "abs(x)", "I(-k)", "I(k // 2 + k % 3)", "exp(x)"),
        *("I(x > 0)", "I((x > 0) + (z > 1.5))", "I(b & (x > 0))", "I(~b | (k == 2))", "np.where(b, x, z)", "I(b + x)"),
        *("I(f == 'a')", "I(s != 'mid')", "I((f == 'a') & (s == 'low'))", "I((f == 'b') * x)", "np.maximum(x, 0)"),
    ]
)
SLOW = st.sampled_from(
    [
        *("C(f, contr.sum)", "C(k, contr.treatment(2))", "bs(x, df=4)", "bs(z, df=4, include_intercept=True)"),
        *(
            "poly(z, 2)",
            "C(f, contr.helmert)",
            "cr(x, df=3)",
            "C(s, contr.poly)",
            "I(~k)",
            "x.clip(0, 1)",
            "round(x, 1)",
        ),
    ]
)


def right_sides(atoms):
    def joined(children):
        return st.tuples(children, st.sampled_from([" + ", " + ", ":", "*", "/", " + 0 + "]), children).map(
            lambda parts: "({}{}{})".format(*parts) if parts[1] != " + 0 + " else "".join(parts)
        )

    return st.recursive(atoms, joined, max_leaves=4)


@settings(max_examples=120, deadline=None)
@given(right_sides(FAST | ROWWISE), st.integers(0, 2**32 - 1))
def test_columns_read_without_formulaic_equal_its_own(right_side, seed):
    frame = made_frame(np.random.default_rng(seed))
    names, design = evaluated(frame, right_side)
    expected_names, expected = by_formulaic(frame, right_side)
    assert names == expected_names
    np.testing.assert_array_equal(design, expected)


@settings(max_examples=60, deadline=None)
@given(right_sides(FAST | ROWWISE | SLOW), st.integers(0, 2**32 - 1))
def test_all_columns_equal_those_of_formulaic(right_side, seed):
    frame = made_frame(np.random.default_rng(seed))
    names, design = evaluated(frame, right_side)
    expected_names, expected = by_formulaic(frame, right_side)
    assert names == expected_names
    np.testing.assert_allclose(design, expected, rtol=1e-15)  # factors may be multiplied in another order


@settings(max_examples=40, deadline=None)
@given(right_sides(FAST | ROWWISE | SLOW), st.integers(0, 2**32 - 1))
def test_slices_and_masks_give_the_same_rows_as_the_whole(right_side, seed):
    rng = np.random.default_rng(seed)
    frame = made_frame(rng)
    mask = rng.random(N) < 0.9
    columns = Columns.from_frame(frame)
    spec = learn(parse(f"log(y) ~ {right_side} + (1 | g)"), columns, mask)
    evaluator = spec.bind(columns, mask)
    whole = evaluator.evaluate()

    cuts = [0, *sorted(rng.integers(0, N, 3)), N]
    parts = [slice(start, stop) for start, stop in itertools.pairwise(cuts)]
    together = np.concatenate([spec.evaluate(columns, part, mask) for part in parts], axis=1)
    np.testing.assert_allclose(together, whole, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(
        np.concatenate([evaluator.response(part) for part in parts]), np.log(frame["y"][mask])
    )

    # what is left out has no part in what is learnt
    kept = Columns.from_frame(frame[mask].reset_index(drop=True))
    alone = learn(parse(f"y ~ {right_side} + (1 | g)"), kept)
    assert [column.name for column in alone.columns] == [column.name for column in spec.columns]
    np.testing.assert_allclose(alone.evaluate(kept), whole, rtol=1e-12, atol=1e-12)


RIGHT_SIDES = [
    "x * s + C(k) + b",
    "within(x, g) * f + between(x, g) + within(log(z), g:h)",
    "center(x) + scale(z) + wec(s) + wec(f, ref='c')",
    "log(z) + bs(x, df=4) + C(f, contr.sum) + I(within(x, g)**2)",
]


def to_polars(frame):
    """As polars; only an Enum has an order of its own there."""
    return pl.from_pandas(frame).with_columns(pl.col("s").cast(pl.Enum(["low", "high", "mid"])))


@pytest.mark.parametrize("right_side", RIGHT_SIDES)
@pytest.mark.parametrize("convert", [to_polars, pa.Table.from_pandas, lambda frame: frame.to_dict("series")])
def test_every_kind_of_frame_gives_the_same(frame, right_side, convert):
    names, design = evaluated(frame, right_side)
    other_names, other = evaluated(convert(frame), right_side)
    assert other_names == names
    np.testing.assert_array_equal(other, design)


# ---- equal to plain pandas -----------------------------------------------------------------------------------------


def test_within_and_between_are_deviations_and_means_of_clusters(frame):
    right_side = "0 + within(x, g) + between(x, g) + within(log(z), g:h) + between(x * z, h) + within(b, g)"
    _, design = evaluated(frame, right_side)
    by_g, by_gh = frame.groupby("g"), frame.groupby(["g", "h"])
    mean = by_g["x"].transform("mean")
    log_z = np.log(frame["z"])
    expected = [
        frame["x"] - mean,
        mean,
        log_z - log_z.groupby([frame["g"], frame["h"]]).transform("mean"),
        (frame["x"] * frame["z"]).groupby(frame["h"]).transform("mean"),
        frame["b"] - by_g["b"].transform("mean"),
    ]
    assert by_gh.ngroups > 7
    np.testing.assert_allclose(design, np.array(expected, dtype=float), rtol=1e-12, atol=1e-13)


def test_means_of_numbers_far_from_zero_keep_their_digits():
    x = np.tile([0.3, 0.4, 0.5], 700) + 1e12
    frame = pd.DataFrame({"y": 1.0, "x": x, "g": np.repeat([1, 2, 3], 700)})
    _, design = evaluated(frame, "0 + within(x, g) + center(x)")
    exact = x - 1e12  # exact: the offset is a float
    expected = [np.concatenate([part - part.mean() for part in np.split(exact, 3)]), exact - exact.mean()]
    assert np.abs(design - expected).max() < 2e-4  # half a unit in the last place of 1e12


def test_transforms_nest_and_multiply(frame):
    _, design = evaluated(frame, "0 + I(within(x, g)^2) + within(x, g):z + center(within(x, g)) + log(between(z, g))")
    within = frame["x"] - frame.groupby("g")["x"].transform("mean")
    expected = [
        within**2,
        within * frame["z"],
        within - within.mean(),
        np.log(frame.groupby("g")["z"].transform("mean")),
    ]
    names = ["I(within(x, g) ** 2)", "center(within(x, g))", "log(between(z, g))", "within(x, g):z"]
    np.testing.assert_allclose(design, np.array([expected[0], expected[2], expected[3], expected[1]]), atol=1e-14)
    assert (
        evaluated(frame, "0 + I(within(x, g)^2) + within(x, g):z + center(within(x, g)) + log(between(z, g))")[0]
        == names
    )


def test_center_and_scale_use_the_used_rows(frame):
    mask = (frame["x"] > -1).to_numpy()
    _, design = evaluated(frame, "0 + center(x) + scale(x) + scale(x, scale=False)", mask)
    x = frame["x"][mask]
    expected = [x - x.mean(), (x - x.mean()) / x.std(), x - x.mean()]
    np.testing.assert_allclose(design, np.array(expected), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("call", "omitted"), [("wec(f)", "a"), ("wec(f, ref='b')", "b"), ("wec(f, 'c')", "c")])
def test_weighted_effects_sum_to_zero_and_estimate_deviations_from_the_sample_mean(frame, call, omitted):
    unequal = frame.iloc[:70]
    names, design = evaluated(unequal, call)
    counts = unequal["f"].value_counts()
    for name, column in zip(names[1:], design[1:], strict=True):
        category = name[-2]
        expected = (unequal["f"] == category) - (unequal["f"] == omitted) * counts[category] / counts[omitted]
        np.testing.assert_allclose(column, expected, rtol=1e-14)
    np.testing.assert_allclose(design[1:].sum(axis=1), 0, atol=1e-12)
    coefficients = np.linalg.lstsq(design.T, unequal["y"].to_numpy(), rcond=None)[0]
    means = unequal.groupby("f")["y"].mean()
    assert coefficients[0] == pytest.approx(unequal["y"].mean(), rel=1e-12)
    deviations = [means[name[-2]] - unequal["y"].mean() for name in names[1:]]
    np.testing.assert_allclose(coefficients[1:], deviations, rtol=1e-9)


def test_columns_may_have_any_name():
    names = ["math score", "class", "2019", "x.1", "log", "scale", "a:b", "it's", "np"]
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"y": 1.0, **{name: rng.uniform(1, 2, 50) for name in names}, "my group": np.arange(50) % 5})
    for name in names:
        quoted = f"`{name}`"
        right_side = f"0 + {quoted} + I({quoted}^2) + within({quoted}, `my group`) + poly({quoted}, 1)"
        if name == "class":
            right_side = right_side.split(" + poly")[0]  # formulaic cannot read a keyword of Python as a column
        found, design = evaluated(frame, right_side)
        assert found[0] == name
        within = frame[name] - frame.groupby("my group")[name].transform("mean")
        np.testing.assert_allclose(design[:3], np.array([frame[name], frame[name] ** 2, within]), atol=1e-14)
    found, design = evaluated(frame, "log(log) + scale(scale) + within(`math score`, `my group`:`2019`)")
    np.testing.assert_array_equal(design[1], np.log(frame["log"]))
    assert found[-1] == "within(`math score`, `my group`:`2019`)"


def test_exp10_is_ten_to_the_power(frame):
    _, design = evaluated(frame, "0 + exp10(z)")
    np.testing.assert_allclose(design[0], 10 ** frame["z"], rtol=1e-15)


def test_single_components_can_be_had(frame):
    columns = Columns.from_frame(frame)
    spec = learn(parse("y ~ within(x, g):f + poly(z, 2) + (f | g)"), columns)
    np.testing.assert_array_equal(spec.component("f[b]", columns), frame["f"] == "b")
    part = spec.component("within(x, g)", columns, slice(5, 12))
    np.testing.assert_allclose(part, (frame["x"] - frame.groupby("g")["x"].transform("mean"))[5:12], atol=1e-14)
    position = [column.name for column in spec.columns].index("poly(z, 2)[2]")
    np.testing.assert_array_equal(spec.component("poly(z, 2)[2]", columns), spec.evaluate(columns)[position])
    with pytest.raises(KeyError, match="nothing"):
        spec.component("nothing", columns)


def test_design_is_written_into_the_array_that_is_given(frame):
    columns = Columns.from_frame(frame)
    spec = learn(parse("y ~ x + z"), columns)
    out = np.empty((3, 20))
    assert spec.evaluate(columns, slice(10, 30), out=out) is out
    np.testing.assert_array_equal(out[1], frame["x"][10:30])


def test_slice_without_used_rows_gives_an_empty_design(frame):
    columns = Columns.from_frame(frame)
    mask = np.arange(N) >= 20
    spec = learn(parse("y ~ x * f + log(z) + within(x, g) + (1 | g)"), columns, mask)
    assert spec.evaluate(columns, slice(0, 20), mask).shape == (len(spec.columns), 0)
    assert spec.response(columns, slice(0, 20), mask).shape == (0,)


def test_truth_values_and_expressions_can_be_the_response(frame):
    columns = Columns.from_frame(frame)
    np.testing.assert_array_equal(learn(parse("b ~ x"), columns).response(columns), frame["b"])
    comparison = learn(parse("I(f == 'a') ~ x"), columns)
    np.testing.assert_array_equal(comparison.response(columns), frame["f"] == "a")
    assert comparison.response_name == "I(f == 'a')"


# ---- new data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right_side", [*RIGHT_SIDES, "poly(x, 3) + C(k, contr.sum) * x", "scale(log(z)) + f:s"])
def test_state_is_remembered_for_new_data(frame, right_side):
    columns = Columns.from_frame(frame)
    spec = learn(parse(f"y ~ {right_side}"), columns)
    some = frame.iloc[[40, 3, 3, 77]].drop(columns="y").reset_index(drop=True)
    expected = spec.evaluate(columns)[:, [40, 3, 3, 77]]
    np.testing.assert_allclose(spec.evaluate(Columns.from_frame(some)), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(spec.evaluate(Columns.from_frame(to_polars(some))), expected, rtol=1e-12, atol=1e-13)


def test_a_new_cluster_takes_the_mean_of_its_new_rows_and_says_so(frame):
    spec = learn(parse("y ~ 0 + within(x, g) + between(x, g)"), Columns.from_frame(frame))
    new = pd.DataFrame({"x": [1.0, 2.0, 6.0, 100.0], "g": [10, 555, 555, 555]})
    known = frame.groupby("g")["x"].mean()[10]
    mask = np.array([True, True, True, False])
    with pytest.warns(DataWarning, match=r"1 of the clusters of g were not in the fitted data") as caught:
        design = spec.evaluate(Columns.from_frame(new), mask=mask)
    assert len(caught) == 1
    np.testing.assert_allclose(design, [[1 - known, -2, 2], [known, 4, 4]], rtol=1e-14)


def test_a_cluster_without_used_rows_in_the_fit_is_a_new_one(frame):
    columns = Columns.from_frame(frame)
    mask = (frame["g"] != 10).to_numpy()
    spec = learn(parse("y ~ 0 + between(x, g)"), columns, mask)
    np.testing.assert_allclose(spec.evaluate(columns, mask=mask)[0], frame.groupby("g")["x"].transform("mean")[mask])
    with pytest.warns(DataWarning, match="1 of the clusters of g"):
        whole = spec.evaluate(columns)
    np.testing.assert_allclose(whole[0], frame.groupby("g")["x"].transform("mean"))
