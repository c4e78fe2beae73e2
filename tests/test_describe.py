import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crosslevel as cl
from crosslevel.errors import ColumnNotFoundError, DataError
from crosslevel.inference.anova import icc_std_error, variance_components

NAN = float("nan")


@pytest.fixture(scope="module")
def hsb() -> pd.DataFrame:
    return cl.datasets.load("hsb")


def anova_by_loop(values: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """The analysis of variance written out, one cluster after the other."""
    clusters = [values[groups == g] for g in np.unique(groups)]
    n, J = len(values), len(clusters)
    ssw = sum(((c - c.mean()) ** 2).sum() for c in clusters)
    ssb = sum(len(c) * (c.mean() - values.mean()) ** 2 for c in clusters)
    msw, msb = ssw / (n - J), ssb / (J - 1)
    n0 = (n - sum(len(c) ** 2 for c in clusters) / n) / (J - 1)
    icc = (msb - msw) / (msb + (n0 - 1) * msw)
    return {"within": msw, "between": (msb - msw) / n0, "icc": icc, "n0": n0}


# --- the estimators ---


@pytest.mark.parametrize("name", ["mathach", "ses", "meanses", "minority"])
def test_variances_are_those_of_a_plain_loop(hsb: pd.DataFrame, name: str) -> None:
    expected = anova_by_loop(hsb[name].to_numpy(dtype=float), hsb["school"].to_numpy())
    found = cl.describe(hsb, "school").frame.loc[name]
    assert found["within_variance"] == pytest.approx(expected["within"], rel=1e-11, abs=1e-25)
    assert found["between_variance"] == pytest.approx(expected["between"], rel=1e-11)
    assert found["icc"] == pytest.approx(expected["icc"], rel=1e-11)
    assert found["mean"] == pytest.approx(hsb[name].mean(), rel=1e-12)
    assert found["sd"] == pytest.approx(hsb[name].std(), rel=1e-12)


def test_variances_are_those_of_r(hsb: pd.DataFrame) -> None:
    # R 4.2.2: h <- mlmRev::Hsb82; e <- resid(lm(mAch ~ cses, h)); a <- anova(lm(e ~ school, h)); n <- table(h$school)
    #   n0 <- (sum(n) - sum(n^2) / sum(n)) / 159; (a[1, 3] - a[2, 3]) / (a[1, 3] + (n0 - 1) * a[2, 3])
    x = (hsb["ses"] - hsb["meanses"]).to_numpy()
    y = hsb["mathach"].to_numpy()
    X = np.column_stack([np.ones_like(x), x])
    data = {"school": hsb["school"], "residual": y - X @ np.linalg.lstsq(X, y, rcond=None)[0]}
    found = cl.describe(data, "school").frame.loc["residual"]
    assert found["within_variance"] == pytest.approx(36.9990671375709, rel=1e-11)
    assert found["between_variance"] == pytest.approx(
        (408.219856584979 - 36.9990671375709) / 44.8866900382085, rel=1e-11
    )
    assert found["icc"] == pytest.approx(0.182688614807274, rel=1e-11)


@settings(deadline=None, max_examples=50)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=12).filter(lambda sizes: max(sizes) > 1),
    seed=st.integers(0, 2**32 - 1),
    offset=st.sampled_from([0.0, 1.0, -1e6]),
)
def test_variances_of_unbalanced_data(sizes: list[int], seed: int, offset: float) -> None:
    codes = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    values = offset + np.random.default_rng(seed).normal(size=codes.size)
    found = variance_components(values, codes)
    expected = anova_by_loop(values - offset, codes)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-8, abs=1e-9)


def test_closed_form() -> None:
    # means 2, 4, 9; squares within 2 + 2 + 0 on 2 degrees of freedom
    found = variance_components(np.array([1.0, 3, 3, 5, 9]), np.array([0, 0, 1, 1, 2], dtype=np.int32))
    assert found.n0 == pytest.approx((5 - 9 / 5) / 2)
    assert found.within == pytest.approx(2.0)
    assert found.between == pytest.approx(((2 * 2.2**2 + 2 * 0.2**2 + 4.8**2) / 2 - 2.0) / 1.6)
    assert (found.n, found.clusters, found.mean) == (5, 3, pytest.approx(4.2))


def test_far_from_zero() -> None:
    codes = np.repeat(np.arange(9, dtype=np.int32), 21)
    values = np.tile([0.3, 0.4, 0.5], 63)
    plain, shifted = variance_components(values, codes), variance_components(values + 2.0**30, codes)
    assert shifted.within == pytest.approx(plain.within, rel=1e-6)


def test_standard_error_of_equal_sizes_is_fishers() -> None:
    for r, n, J in [(0.0, 5, 10), (0.2, 20, 50), (0.9, 2, 7)]:
        fisher = np.sqrt(2 * (1 - r) ** 2 * (1 + (n - 1) * r) ** 2 / n**2 * (1 / (J * (n - 1)) + 1 / (J - 1)))
        assert icc_std_error(r, np.full(J, n), float(n)) == pytest.approx(fisher, rel=1e-12)


def test_standard_error_agrees_with_simulation() -> None:
    rng = np.random.default_rng(20)
    codes = np.repeat(np.arange(60, dtype=np.int32), rng.integers(2, 40, 60))
    draws = 600
    found = [
        variance_components(
            np.sqrt(0.2) * rng.normal(size=60)[codes] + np.sqrt(0.8) * rng.normal(size=codes.size), codes
        )
        for _ in range(draws)
    ]
    spread = np.std([one.icc for one in found], ddof=1)
    # the standard deviation of 600 draws is known to about 3 %
    assert np.mean([one.icc_std_error for one in found]) == pytest.approx(spread, rel=3 / np.sqrt(2 * draws))


# --- the record ---


def small() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "g": ["a", "a", "a", "b", "b", None, "c"],
            "x": [1.0, 2.0, NAN, 5.0, 6.0, 100.0, NAN],
            "z": [1, 1, 1, 2, 2, 9, 3],
            "yes": [True, False, True, True, True, False, False],
            "color": pd.Categorical(["red", "blue", "red", None, "green", "red", "red"], ["red", "green", "blue"]),
            "day": pd.to_datetime(["2020-01-01"] * 7),
        }
    )
    frame.attrs["labels"] = {"x": "A measure (cm)"}
    return frame


def test_sizes() -> None:
    found = cl.describe(small(), "g")
    assert found.sizes.to_dict() == {"a": 3, "b": 2, "c": 1}
    assert found.sizes.index.name == "g"
    assert (found.n_rows, found.n_without_group) == (7, 1)
    assert found.size_summary.to_dict() == {
        "clusters": 3,
        "rows": 6,
        "min": 1,
        "q25": 1.5,
        "median": 2,
        "q75": 2.5,
        "max": 3,
        "mean": 2,
    }


def test_rows_of_the_frame() -> None:
    frame = cl.describe(small(), "g").frame
    assert frame.index.tolist() == [
        "x",
        "z",
        "yes[True]",
        "color[red]",
        "color[green]",
        "color[blue]",
        "day[2020-01-01 00:00:00]",
    ]
    assert frame["variable"].tolist() == ["x", "z", "yes", "color", "color", "color", "day"]
    assert frame["level"].tolist()[:4] == ["", "", "True", "red"]
    assert frame["kind"].tolist() == ["numeric", "numeric", "binary", *["categorical"] * 4]
    assert frame["label"].tolist() == ["A measure (cm)", *[""] * 6]


def test_missing_values_and_rows_without_cluster_are_left_out() -> None:
    x = cl.describe(small(), "g").frame.loc["x"]
    assert (x["n"], x["missing"], x["clusters"]) == (4, 2, 2)
    assert x["mean"] == 3.5
    assert x["within_variance"] == pytest.approx(0.5)
    assert (x["distinct_min"], x["distinct_median"], x["distinct_max"]) == (2, 2.0, 2)


def test_variables_of_the_clusters_are_found() -> None:
    frame = cl.describe(small(), "g").frame
    assert frame["constant_within"].to_dict() == {
        **dict.fromkeys(frame.index, False),
        "z": True,
        "day[2020-01-01 00:00:00]": True,
    }
    z = frame.loc["z"]
    assert z["within_variance"] == 0.0
    assert z["icc"] == 1.0
    assert z["icc_std_error"] == 0.0


def test_a_category_is_described_by_its_indicators() -> None:
    frame = cl.describe(small(), "g").frame
    red = frame.loc["color[red]"]
    # red: a has 2 of 3, b has 0 of 1, c has 1 of 1
    assert red["mean"] == pytest.approx(3 / 5)
    expected = anova_by_loop(np.array([1.0, 0, 1, 0, 1]), np.array([0, 0, 0, 1, 2]))
    assert red["within_variance"] == pytest.approx(expected["within"])
    assert red["between_variance"] == pytest.approx(expected["between"])
    assert frame.loc[["color[red]", "color[green]", "color[blue]"], "mean"].sum() == pytest.approx(1)
    assert (red["n"], red["missing"]) == (5, 1)
    assert (red["distinct_min"], red["distinct_max"]) == (1, 2)


def test_truth_values_and_zeros_and_ones_agree(hsb: pd.DataFrame) -> None:
    frame = cl.describe(hsb.assign(truth=hsb["female"] == 1), "school", ["female", "truth"]).frame
    assert frame["kind"].tolist() == ["binary", "binary"]
    np.testing.assert_array_equal(
        frame.loc["female", "n":"constant_within"], frame.loc["truth[True]", "n":"constant_within"]
    )


def test_many_levels_take_one_line() -> None:
    data = {"g": np.repeat([1, 2, 3], 10), "word": [f"w{i % 15}" for i in range(30)]}
    frame = cl.describe(data, "g").frame
    assert frame.index.tolist() == ["word"]
    assert frame.loc["word", "n"] == 30
    assert np.isnan(frame.loc["word", "icc"])
    assert frame.loc["word", "distinct_max"] == 10


def test_a_variable_without_values() -> None:
    frame = cl.describe({"g": ["a", "a", "b"], "x": [NAN] * 3, "w": [None, "u", None], "k": [None] * 3}, "g").frame
    assert frame.loc["x", "n"] == 0
    assert frame.loc["x", "missing"] == 3
    assert frame.loc["x", "clusters"] == 0
    assert frame.loc["x", ["mean", "sd", "within_variance", "icc", "distinct_max"]].isna().all()
    assert frame.loc["w[u]", "n"] == 1


def test_one_cluster_and_clusters_of_one() -> None:
    one = cl.describe({"g": [1, 1, 1], "x": [1.0, 2.0, 3.0]}, "g").frame.loc["x"]
    assert one["within_variance"] == pytest.approx(1.0)
    assert np.isnan(one["between_variance"])
    assert np.isnan(one["icc"])
    each = cl.describe({"g": [1, 2, 3], "x": [1.0, 2.0, 3.0]}, "g").frame.loc["x"]
    assert np.isnan(each["within_variance"])
    assert each["sd"] == pytest.approx(1.0)
    assert str(cl.describe({"g": [1, 2, 3], "x": [1.0, 2.0, 3.0]}, "g"))


def test_a_constant() -> None:
    found = cl.describe({"g": [1, 1, 2], "x": [0.1, 0.1, 0.1]}, "g").frame.loc["x"]
    assert (found["within_variance"], found["between_variance"], found["sd"]) == (0, 0, 0)
    assert np.isnan(found["icc"])


def test_combinations_of_columns_as_clusters(hsb: pd.DataFrame) -> None:
    found = cl.describe(hsb, "school:female", "mathach")
    assert found.group == "school:female"
    assert len(found.sizes) == hsb.groupby(["school", "female"]).ngroups
    assert found.frame.index.tolist() == ["mathach"]
    assert cl.describe(hsb, ["school"], ["ses"]).group == "school"


def test_frames_of_other_libraries(hsb: pd.DataFrame) -> None:
    ours = cl.describe(hsb, "school").frame.drop(columns="label")
    sector = pl.col("sector").cast(pl.Enum(["Public", "Catholic"]))
    theirs = cl.describe(pl.from_pandas(hsb).with_columns(sector), "school").frame.drop(columns="label")
    pd.testing.assert_frame_equal(ours, theirs)


# --- words ---


def test_text(hsb: pd.DataFrame) -> None:
    text = str(cl.describe(hsb, "school", ["mathach", "sector"]))
    assert max(len(line) for line in text.splitlines()) <= 80
    for part in (
        "Variables by school",
        "7,185 rows in 160 clusters of school.",
        "Rows per cluster",
        "mathach: Mathematics achievement (score)",
        "sector[Catholic]",
        "39.142",
        "0.174",
        "Variances and ICC of a category",
    ):
        assert part in text
    assert "left out" not in text


def test_html(hsb: pd.DataFrame) -> None:
    html = cl.describe(hsb, "school", ["mathach"])._repr_html_()
    assert "<table" in html
    assert "39.142" in html


def test_remarks() -> None:
    data = {"g": [1, 1, 2, 2, None], "x": [1.0, 2.0, 1.0, 2.0, 7.0]}
    text = " ".join(str(cl.describe(data, "g")).split())
    assert "5 rows in 2 clusters of g; 1 without a cluster left out." in text
    assert "The between variance of x is below zero: the clusters differ less than chance alone would" in text
    assert cl.describe(data, "g").frame.loc["x", "icc"] < 0


def test_only_sizes() -> None:
    assert "Rows per cluster" in str(cl.describe({"g": [1, 1, 2]}, "g"))


# --- wrong input ---


def test_unknown_columns(hsb: pd.DataFrame) -> None:
    with pytest.raises(ColumnNotFoundError, match=r"`group` uses 'schol', which the data lack. Did you mean 'school'"):
        cl.describe(hsb, "schol")
    with pytest.raises(ColumnNotFoundError, match=r"`group` uses 'room', which"):
        cl.describe(hsb, "school:room")
    with pytest.raises(ColumnNotFoundError, match=r"`variables` uses 'mathac', which .* 'mathach' for 'mathac'"):
        cl.describe(hsb, "school", ["ses", "mathac"])
    with pytest.raises(ColumnNotFoundError, match=r"`variables` uses 'mathac'"):
        cl.describe(hsb, "school", "mathac")


def test_several_groups(hsb: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"`group` must be one column, got 2: 'school', 'sector'. .* 'school:sector'"):
        cl.describe(hsb, ["school", "sector"])
    with pytest.raises(DataError, match=r"`group` must be one column, got 0"):
        cl.describe(hsb, [])


def test_a_group_that_is_a_measurement(hsb: pd.DataFrame) -> None:
    with pytest.raises(
        DataError, match=r"`group`: column 'mathach' looks like a measurement, not like ids of clusters: \d+"
    ):
        cl.describe(hsb, "mathach")


def test_a_group_without_values() -> None:
    with pytest.raises(DataError, match=r"`group`: column 'g' is missing in all 2 rows"):
        cl.describe({"g": [None, None], "x": [1, 2]}, "g")


def test_infinite_values() -> None:
    with pytest.raises(
        DataError, match=r"`variables`: column 'x' has 2 infinite values \(a division by zero, or the log"
    ):
        cl.describe({"g": [1, 1, 2], "x": [np.inf, -np.inf, 1.0]}, "g")
