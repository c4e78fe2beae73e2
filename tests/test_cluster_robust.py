"""Cluster-robust covariances of mixed models, against clubSandwich and against matrices of all rows."""

from __future__ import annotations

import json
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, cases_with, fit_case, load_case, load_data
from robust_dense import Dense, dense_model, several
from scipy.special import fdtrc

import crosslevel as cl
from crosslevel.inference.cluster_robust import ROBUST
from crosslevel.inference.robust_tests import wishart_df

REFERENCE = json.loads((FOLDER / "robust" / "cluster_robust.json").read_text(encoding="utf-8"))
LMER = [name for name in cases_with("clubsandwich") if "theta" in load_case(name).expected]


def small_data() -> pd.DataFrame:
    """Districts of 3 schools with 2 to 3 classes, teachers and tutors who cross them, weights."""
    rng = np.random.default_rng(5)
    n = 150
    school = rng.integers(0, 12, n)
    school[:12] = np.arange(12)
    teacher = rng.integers(0, 7, n)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n) + 0.05 * school + 50.0,
            "z": rng.normal(size=12)[school],
            "school": [f"s{code}" for code in school],
            "district": school // 3,
            "room": school * 10 + rng.integers(0, 3, n),
            "teacher": teacher,
            "tutor": rng.integers(0, 9, n),
            "kind": np.where(school % 2, "a", "b"),
            "w": rng.uniform(0.5, 2.0, n),
            "f": rng.integers(1, 4, n),
            "time": rng.permutation(n),
        }
    )
    noise = rng.normal(size=n) * (1 + school % 2)
    slope = 0.5 + 0.4 * rng.normal(size=12)[school]
    effects = rng.normal(size=12)[school] + 0.7 * rng.normal(size=7)[teacher]
    return frame.assign(y=1.0 + slope * (frame["x"] - 50.0) + 0.3 * frame["z"] + effects + noise)


DATA = small_data()

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "intercept": ("y ~ x + z + (1 | school)", {}),
    "slope": ("y ~ x * z + (x | school)", {}),
    "no fixed intercept": ("y ~ 0 + x + z + (0 + x | school)", {}),
    "slope that is not fixed": ("y ~ z + (x || school)", {}),
    "singular": ("y ~ x + z + (x + z | school)", {}),
    "precision": ("y ~ x + z + (x | school)", {"weights": cl.Precision("w")}),
    "frequency": ("y ~ x + z + (x | school)", {"weights": cl.Frequency("f")}),
    "three levels": ("y ~ x + z + (x | school) + (1 | room)", {}),
    "crossed": ("y ~ x + z + (x | school) + (1 | teacher)", {}),
    "crossed, precision": ("y ~ x + z + (x | school) + (1 | teacher)", {"weights": cl.Precision("w")}),
    "crossed, frequency": ("y ~ x + z + (x | school) + (1 | teacher)", {"weights": cl.Frequency("f")}),
    "strata": ("y ~ x + z + (x | school)", {"residual": cl.residual.By("kind")}),
    "autoregressive": ("y ~ x + z + (1 | school)", {"residual": cl.residual.AR1("time", within="room")}),
    "no random effects": ("y ~ x + z", {"residual": cl.residual.AR1("time", within="school")}),
    "multiple membership": ("y ~ x + z + (1 | school) + (1 | mm(teacher, tutor))", {}),
}
CLUSTERINGS = ("school", "district", "teacher", "school:teacher")


@cache
def fitted(name: str) -> Any:
    formula, given = MODELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.ConvergenceWarning)
        return cl.mixed(formula, DATA, **given)


def row_codes(name: str, place: np.ndarray) -> np.ndarray:
    columns = DATA[name.split(":")].astype(str).agg(":".join, axis=1)
    return pd.factorize(columns)[0][place]


def assert_covariance(ours: pd.DataFrame, dense: np.ndarray, tolerance: float) -> None:
    """Equal in units of the standard errors."""
    size = np.sqrt(np.diag(dense))
    np.testing.assert_allclose(ours.to_numpy() / np.outer(size, size), dense / np.outer(size, size), atol=tolerance)


@pytest.mark.parametrize("name", LMER)
def test_lmer_of_clubsandwich(name: str) -> None:
    case, fit = load_case(name), fit_case(name)
    names = [frozenset(term.split(":")) for term in fit.params.index]
    order = [names.index(frozenset(part for part in each)) for each in case.coefficients]
    for kind, expected in case.expected["clubsandwich"].items():
        found = fit.robust(kind)
        np.testing.assert_allclose(found.bse.to_numpy()[order], expected["se"], rtol=1e-6)
        np.testing.assert_allclose(found.df.to_numpy()[order], expected["df_satterthwaite"], rtol=1e-4)
        p_value = found.tests()["p_value"].to_numpy()[order]
        np.testing.assert_allclose(p_value, expected["p_satterthwaite"], rtol=1e-4)


def hsb() -> pd.DataFrame:
    data = load_data("Hsb82")
    return data.assign(public=1.0 * (data["sector"] == "Public"))


@cache
def reference_fit(name: str) -> Any:
    if name == "hsb_lmer":
        return cl.mixed("mAch ~ cses + public + meanses + cses:public + cses:meanses + (cses | school)", hsb())
    data = load_data("egsingle")
    data = data.assign(male=1.0 * (data["female"] == "Male"))
    return cl.mixed("math ~ year + male + (1 | schoolid/childid)", data)


@pytest.mark.parametrize(("name", "tested"), [("hsb_lmer", 3), ("egsingle", 1)])
def test_joint_tests_of_clubsandwich(name: str, tested: int) -> None:
    fit = reference_fit(name)
    for kind, expected in REFERENCE[name]["kinds"].items():
        found = fit.robust(kind)
        np.testing.assert_allclose(found.bse, expected["se"], rtol=1e-6)
        np.testing.assert_allclose(found.df, expected["df"], rtol=1e-5)
        for test, theirs in expected["wald"].items():
            joint = found.contrast(list(found.terms[tested:]), test.replace("Naive", "naive"))
            assert joint.statistic == pytest.approx(theirs["F"], rel=1e-6)
            assert joint.df_num == theirs["df_num"]
            assert joint.df_den == pytest.approx(theirs["df_den"], rel=1e-5)
            assert joint.p_value == pytest.approx(theirs["p"], rel=1e-4)


@pytest.mark.parametrize("kind", ROBUST)
@pytest.mark.parametrize("name", MODELS)
def test_dense_twin(name: str, kind: str) -> None:
    fit = fitted(name)
    x, e, v, place = dense_model(fit)
    each = np.eye(x.shape[1])
    for cluster in CLUSTERINGS:
        found = fit.robust(kind, cluster)
        dense = Dense(x, e, v, row_codes(cluster, place), kind)
        assert_covariance(found.vcov, dense.vcov, 1e-9)
        if cluster == "school:teacher":  # the matrix of all pairs of clusters is large
            continue
        np.testing.assert_allclose(found.df, [dense.df(c) for c in each], rtol=1e-9)
        assert wishart_df(found.covariance.ways[0], each[1:]) == pytest.approx(dense.df(each[1:]), rel=1e-9)


@pytest.mark.parametrize("kind", ROBUST)
@pytest.mark.parametrize("name", ["slope", "frequency", "three levels", "crossed", "strata"])
def test_several_clusterings(name: str, kind: str) -> None:
    fit = fitted(name)
    x, e, v, place = dense_model(fit)
    for clusters in (["school", "teacher"], ["district", "teacher", "room"]):
        found = fit.robust(kind, clusters)
        dense = several(x, e, v, [row_codes(cluster, place) for cluster in clusters], kind, fit.vcov.to_numpy())
        assert_covariance(found.vcov, dense, 1e-9)
        alone = np.array([fit.robust(kind, cluster).df for cluster in clusters])
        np.testing.assert_allclose(found.df, alone.min(axis=0), rtol=1e-12)


@pytest.mark.parametrize("name", ["crossed", "crossed, precision", "crossed, frequency"])
def test_clustering_by_all_crossed_factors_is_unbiased_under_the_model(name: str) -> None:
    found = fitted(name).robust("CR2")
    assert found.ngroups == {"school": 12, "teacher": 7}
    np.testing.assert_allclose(found.covariance.expected, 1.0, rtol=1e-9)


def test_residuals_that_are_whitened_across_clusters_would_not_do() -> None:
    """Balanced crossed design, intercept only: the mean of the two-way sum of (V^-1 e)_g's is far from M."""
    n_a, n_b, share = 15, 12, 1.0
    a, b = np.repeat(np.arange(n_a), n_b), np.tile(np.arange(n_b), n_a)
    same_a, same_b = (codes[:, None] == codes for codes in (a, b))
    v = np.eye(n_a * n_b) + share * same_a + share * same_b
    x = np.ones((len(v), 1))
    inverse = np.linalg.inv(v)
    m = 1.0 / (x.T @ inverse @ x).item()
    left = v - x @ x.T * m  # the covariance of residuals
    ours = np.outer(inverse @ x, inverse @ x) * left
    whitened = inverse @ left @ inverse
    cells = np.eye(len(v))
    both = same_a + 1.0 * same_b - cells
    assert m * np.sum(both * ours) == pytest.approx(1.0, abs=0.2)
    assert m * np.sum(both * whitened) < 0.0


def test_one_clustering_of_crossed_effects_warns() -> None:
    fit = fitted("crossed")
    assert "rows of different clusters share" in str(fit.robust("CR2", "teacher"))
    assert "rows of different clusters share" not in str(fit.robust("CR2"))


def test_default_is_the_outermost_factor() -> None:
    assert fitted("three levels").robust().ngroups == {"school": 12}
    assert fitted("no random effects").robust().ngroups == {"school": 12}
    assert fitted("multiple membership").robust().ngroups == {"school": 12}


def test_row_order_and_units_do_not_matter() -> None:
    for name in ("slope", "crossed"):
        formula, given = MODELS[name]
        fit = fitted(name)
        moved = DATA.sample(frac=1.0, random_state=1).assign(x=lambda d: 1000.0 * d["x"], y=lambda d: 0.01 * d["y"])
        other = cl.mixed(formula, moved, **given)
        for kind in ("CR2", "CR3"):
            one, two = fit.robust(kind).tests(), other.robust(kind).tests()
            np.testing.assert_allclose(two["statistic"].iloc[1:], one["statistic"].iloc[1:], rtol=1e-6)
            np.testing.assert_allclose(two["df"].iloc[1:], one["df"].iloc[1:], rtol=1e-6)


def test_frequencies_are_equal_rows() -> None:
    repeated = DATA.loc[DATA.index.repeat(DATA["f"])]
    for name in ("frequency", "crossed, frequency"):
        formula, _ = MODELS[name]
        rows = cl.mixed(formula, repeated)
        for kind in ROBUST:
            one, two = fitted(name).robust(kind, "school"), rows.robust(kind, "school")
            np.testing.assert_allclose(one.bse, two.bse, rtol=1e-6)
            np.testing.assert_allclose(one.df, two.df, rtol=1e-6)


def test_nested_clusterings_are_the_coarser_one() -> None:
    fit = fitted("slope")
    both, coarse = fit.robust("CR2", ["school", "district"]), fit.robust("CR2", "district")
    assert_covariance(both.vcov, coarse.covariance.vcov, 1e-9)


def test_streamed_data(tmp_path: Any) -> None:
    path = tmp_path / "rows.csv"
    DATA.to_csv(path, index=False)
    streamed = cl.mixed(MODELS["slope"][0], path, progress=False)
    np.testing.assert_allclose(streamed.robust().bse, fitted("slope").robust().bse, rtol=1e-6)
    with pytest.raises(cl.CrosslevelError, match="read in batches"):
        streamed.robust("CR2", "teacher")


def test_contrasts() -> None:
    found = fitted("slope").robust("CR2")
    by_name = found.contrast(["x", "z"])
    rows = np.zeros((2, 4))
    rows[0, 1] = rows[1, 2] = 1.0
    assert found.contrast(rows).statistic == pytest.approx(by_name.statistic, rel=1e-12)
    frame = pd.DataFrame(rows, columns=list(found.terms))
    assert found.contrast(frame).p_value == pytest.approx(by_name.p_value, rel=1e-12)
    turned = found.contrast([{"x": 1.0, "z": 2.0}, {"x": -1.0, "z": 1.0}])
    assert turned.statistic == pytest.approx(by_name.statistic, rel=1e-9)
    assert turned.df_den == pytest.approx(by_name.df_den, rel=1e-9)
    assert found.contrast(["x + 2 * z", "z - x"]).p_value == pytest.approx(turned.p_value, rel=1e-9)

    single, table = found.contrast("x"), found.tests().loc["x"]
    assert single.statistic == pytest.approx(table["statistic"] ** 2, rel=1e-9)
    assert single.df_den == pytest.approx(table["df"], rel=1e-9)
    assert single.p_value == pytest.approx(fdtrc(1, table["df"], table["statistic"] ** 2), rel=1e-9)
    assert "Joint test (HTZ) that x is zero" in str(single)


def test_record() -> None:
    found = fitted("slope").robust("CR1S")
    tests = found.tests(level=0.9)
    assert list(tests.columns) == ["estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high"]
    pd.testing.assert_frame_equal(found.tidy(level=0.9), tests)
    pd.testing.assert_frame_equal(found.conf_int(0.9), tests[["conf_low", "conf_high"]])
    pd.testing.assert_series_equal(found.params, fitted("slope").params)
    assert found.method == "CR1S"
    text = " ".join(str(found).split())
    assert "as in Stata (CR1S)" in text
    assert "12 (school)" in text
    assert "Satterthwaite" in text
    assert "<table" in found._repr_html_()


def test_clusters_that_contribute_nothing() -> None:
    """Every coefficient differs by kind: the two clusters of it fit their own, and have no contribution left."""
    fit = cl.mixed("y ~ 0 + C(kind) + C(kind):x + (1 | school)", DATA)
    found = fit.robust("CR0", "kind")
    assert found.tests()[["std_error", "df", "p_value"]].isna().all().all()
    assert "No standard error of C(kind)[a]" in str(found)
    with pytest.raises(cl.CrosslevelError, match=r"nothing|singular"):
        found.contrast("C(kind)[a]:x")


ERRORS = {
    "no such kind": (lambda fit: fit.robust("CR7"), "`vcov` is one of"),
    "no such column": (lambda fit: fit.robust("CR2", "pupil"), "`cluster` uses 'pupil'"),
    "no name": (lambda fit: fit.robust("CR2", 3), "`cluster` is the name of a column"),
    "one cluster": (lambda fit: fit.robust("CR2", "one"), "has one value"),
    "missing": (lambda fit: fit.robust("CR2", "holes"), "is missing in 2 of the 150 rows"),
    "no such test": (lambda fit: fit.robust().contrast("x", "HTQ"), "`test` is one of"),
    "unknown coefficient": (lambda fit: fit.robust().contrast("q"), "`contrasts` uses 'q'"),
    "wrong shape": (lambda fit: fit.robust().contrast(np.eye(2)), "needs 3 finite weights"),
    "dependent": (lambda fit: fit.robust().contrast([{"x": 1.0}, {"x": 2.0}]), "singular"),
    "too many": (lambda fit: fit.robust("CR2", "two").contrast(["Intercept", "x", "z"]), "singular"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str) -> None:
    holes = np.where(DATA.index < 2, None, "a")
    holes[5:] = "b"
    data = DATA.assign(one=1, holes=holes, two=DATA["district"] % 2)
    fit = cl.mixed("y ~ x + z + (1 | school)", data)
    ask, message = ERRORS[case]
    with pytest.raises(cl.CrosslevelError, match=message):
        ask(fit)


def test_refused_fits() -> None:
    sampled = cl.mixed("y ~ x + (1 | school)", DATA.assign(one=1.0), method="ml", weights=cl.Sampling("one"))
    with pytest.raises(cl.CrosslevelError, match="sampling weights"):
        sampled.robust()
    iterative = cl.mixed("y ~ x + (1 | school) + (1 | teacher)", DATA, algebra="iterative")
    with pytest.raises(cl.CrosslevelError, match="iterative"):
        iterative.robust()
    with pytest.raises(cl.CrosslevelError, match="`cluster` is needed"):
        cl.mixed("y ~ x", DATA, residual=cl.residual.By("kind")).robust()
    with pytest.raises(cl.CrosslevelError, match="several levels"):
        fitted("multiple membership").robust("CR2", fitted("multiple membership").design.factors[1].name)


def test_leaving_out_a_cluster_that_a_coefficient_needs() -> None:
    data = DATA.assign(first=1.0 * (DATA["school"] == "s0"))
    fit = cl.mixed("y ~ x + first + (1 | school)", data)
    with pytest.raises(cl.CrosslevelError, match=r"without 's0' not all"):
        fit.robust("CR3")
    x, e, v, place = dense_model(fit)
    found, dense = fit.robust("CR2"), Dense(x, e, v, row_codes("school", place), "CR2")
    assert_covariance(found.vcov, dense.vcov, 1e-7)  # the eigenvalue that is zero is so to 1e-14 in either
    assert found.covariance.expected[2] < 0.5
    assert "Standard errors of first are too small" in str(found)


def test_large_clusters_that_random_effects_cross_are_refused() -> None:
    rng = np.random.default_rng(2)
    n = 9000
    data = pd.DataFrame({"a": rng.integers(0, 3000, n), "b": rng.integers(0, 4, n), "x": rng.normal(size=n)})
    data["y"] = rng.normal(size=3000)[data["a"]] + rng.normal(size=n)
    fit = cl.mixed("y ~ x + (1 | a)", data)
    with pytest.raises(cl.CrosslevelError, match=r"up to 1,[0-9]+, which would take minutes"):
        fit.robust("CR2", "b")
    assert np.all(np.isfinite(fit.robust("CR3", "b").bse))
