"""Tests of random terms: against lmerTest and published values, for every kind of model."""

import json

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, cases_with, fit_case, load_case, load_data, our_group
from scipy import stats

import crosslevel as cl
from crosslevel import CrosslevelError
from crosslevel.estimators.random import overall_test
from crosslevel.estimators.random_tests import terms_of
from crosslevel.inference.removal import information_of
from crosslevel.solve.submodel import solve_submodel


def reference(name: str) -> dict:
    return json.loads((FOLDER / "expected" / f"{name}.json").read_text(encoding="utf-8"))


def crossed() -> pd.DataFrame:
    """Rows of 25 by 15 levels with slopes, nested units, weights and occasions."""
    rng, n = np.random.default_rng(1), 900
    frame = pd.DataFrame({"a": rng.integers(0, 25, n), "b": rng.integers(0, 15, n), "x": rng.normal(size=n) + 3.0})
    frame["c"] = frame["a"] // 3
    frame["w"] = rng.uniform(0.5, 2.0, n)
    frame["f"] = rng.integers(1, 3, n)
    frame["stratum"] = np.where(rng.random(n) < 0.5, "s", "t")
    frame["k"] = pd.Categorical.from_codes(rng.integers(0, 3, n), list("uvw"))
    A, B = rng.normal(size=(25, 2)) * [0.6, 0.3], rng.normal(size=15)
    frame["y"] = 1.0 + 0.3 * frame["x"] + A[frame["a"], 0] + A[frame["a"], 1] * frame["x"] + B[frame["b"]]
    frame["y"] += rng.normal(size=n)
    return frame


FRAME = crossed()

SUBMODELS = [
    ("(x | a)", {}, {"x in (x | a)": "(1 | a)"}),
    ("(x || a)", {}, {"(1 | a)": "(0 + x | a)", "(0 + x | a)": "(1 | a)"}),
    ("(x | a) + (x | b)", {}, {"x in (x | a)": "(1 | a) + (x | b)", "x in (x | b)": "(x | a) + (1 | b)"}),
    ("(1 | c) + (x | a)", {"method": "ml"}, {"(1 | c)": "(x | a)", "x in (x | a)": "(1 | c) + (1 | a)"}),
    ("(x | a) + (1 | b)", {"weights": cl.Precision("w")}, {"x in (x | a)": "(1 | a) + (1 | b)", "(1 | b)": "(x | a)"}),
    ("(x | a)", {"weights": cl.Frequency("f")}, {"x in (x | a)": "(1 | a)"}),
    ("(x | a)", {"residual": cl.residual.By("stratum")}, {"x in (x | a)": "(1 | a)"}),
    ("(x | a) + cs(0 + k | b)", {}, {"x in (x | a)": "(1 | a) + cs(0 + k | b)", "cs(0 + k | b)": "(x | a)"}),
    ("(x + k | a)", {}, {"x in (x + k | a)": "(k | a)", "k in (x + k | a)": "(x | a)"}),
    ("(x * w | a)", {}, {"x:w in (x + w + x:w | a)": "(x + w | a)"}),
    ("(1 | mm(a, b))", {}, {}),
]


@pytest.mark.parametrize(("random", "given", "smaller"), SUBMODELS, ids=[f"{r} {list(g)}" for r, g, _ in SUBMODELS])
def test_each_term_is_compared_with_the_model_without_it(random, given, smaller):
    fit = cl.mixed(f"y ~ x + {random}", FRAME, **given)
    table = fit.test_random()
    for term, rest in smaller.items():
        small = cl.mixed(f"y ~ x + {rest}", FRAME, **given)
        assert table.loc[term, "statistic"] == pytest.approx(max(small.deviance - fit.deviance, 0.0), abs=2e-6)
        assert table.loc[term, "df"] == fit.n_params - small.n_params
    if smaller:
        assert list(table.index) == [*smaller, "all"]
    assert table.loc["all", "df"] == len(fit.theta)
    assert np.all(table["p_value"] <= table["naive_p_value"] + 1e-15)
    assert np.all(table["p_value"].between(0.0, 1.0))


def test_effects_of_the_intercept_alone_are_kept_when_slopes_lose_it():
    """Slopes whose variable lies far from zero, without the intercept that took up their shift."""
    frame = FRAME.assign(x=FRAME["x"] + 1000.0)
    fit = cl.mixed("y ~ x + (x | a) + (1 | b)", frame)
    small = cl.mixed("y ~ x + (0 + x | a) + (1 | b)", frame)
    found = solve_submodel(fit.design, ((1,), (0,)), reml=True)
    assert found.solution.deviance == pytest.approx(small.deviance, abs=1e-6)


@pytest.mark.parametrize(
    ("formula", "data", "key"),
    [
        ("Reaction ~ Days + (Days | Subject)", "sleepstudy", "ranova_rs_reml"),
        ("Reaction ~ Days + (1 | Subject)", "sleepstudy", "ranova_ri_reml"),
        ("mAch ~ cses + (cses | school)", "Hsb82", "ranova_random_coef_reml"),
        ("mAch ~ cses * sector + meanses * cses + (cses | school)", "Hsb82", "ranova_slopes_as_outcomes_reml"),
        ("normexam ~ standLRT + (standLRT | school)", "Exam", "ranova_rs_reml"),
    ],
)
def test_statistics_of_lmer_test(formula, data, key):
    table = cl.mixed(formula, load_data(data)).test_random()
    _, *rows = reference(f"{data}__tests")[key]
    assert list(table.index) == [*(row["row"] for row in rows), "all"]
    for row in rows:
        # theirs is a difference of log-likelihoods at optima that are good to 1e-7
        assert table.loc[row["row"], "statistic"] == pytest.approx(row["LRT"], abs=5e-7)
        assert table.loc[row["row"], "df"] == row["Df"]
        assert table.loc[row["row"], "naive_p_value"] == pytest.approx(row["Pr(>Chisq)"], rel=1e-6)


def test_a_slope_with_its_covariance_is_half_one_half_two_degrees():
    table = cl.mixed("mAch ~ cses * sector + meanses * cses + (cses | school)", load_data("Hsb82")).test_random()
    row = table.loc["cses in (cses | school)"]
    expected = 0.5 * stats.chi2.sf(row["statistic"], 1) + 0.5 * stats.chi2.sf(row["statistic"], 2)
    assert row["p_value"] == pytest.approx(expected, rel=1e-12)
    assert row["reference"] == "exact"


HLM = [
    ("mAch ~ 1 + (1 | school)", {"Intercept": (1660.23, 159)}),
    ("mAch ~ meanses + (1 | school)", {"Intercept": (633.52, 158)}),
    ("mAch ~ cses + (cses | school)", {"Intercept": (1770.86, 159), "cses": (213.44, 159)}),
    (
        "mAch ~ cses * sector + meanses * cses + (cses | school)",
        {"Intercept": (605.30, 157), "cses": (162.31, 157)},
    ),
]
"""Raudenbush & Bryk (2002), chapter 4: chi-square statistics of the High School & Beyond models."""


@pytest.mark.parametrize(("formula", "published"), HLM)
def test_chi_square_tests_of_the_textbook(formula, published):
    fit = cl.mixed(formula, load_data("Hsb82"))
    table = fit.test_random(test="hlm")
    assert list(table.index) == list(published)
    for term, (statistic, df) in published.items():
        # their estimates are those of an EM that stops early, and their school means are rounded
        assert table.loc[term, "statistic"] == pytest.approx(statistic, rel=6e-4)
        assert table.loc[term, "df"] == df
        assert table.loc[term, "clusters_used"] == table.loc[term, "clusters"] == 160


def test_chi_square_is_the_sum_over_clusters_that_it_says():
    frame = FRAME[(FRAME["a"] > 2) | (FRAME.groupby("a").cumcount() < 1)]  # three clusters of one row
    fit = cl.mixed("y ~ x + w + (x | a)", frame)
    table = fit.test_random(test="hlm")
    total, used = np.zeros(2), 0
    for _, own in frame.groupby("a"):
        if len(own) < 2:
            continue
        used += 1
        Z = np.column_stack([np.ones(len(own)), own["x"]])
        X = np.column_stack([Z, own["w"]])
        left = own["y"].to_numpy() - X @ fit.params.to_numpy()
        inverse = np.linalg.inv(Z.T @ Z)
        total += (inverse @ Z.T @ left) ** 2 / (fit.sigma**2 * np.diag(inverse))
    np.testing.assert_allclose(table["statistic"], total, rtol=1e-8)
    assert list(table["df"]) == [used - 1, used - 1]
    assert set(table["clusters_used"]) == {used}
    beside = fit.test_random().loc["x in (x | a)"]
    assert beside["chi_square"] == pytest.approx(total[1], rel=1e-8)
    assert beside["chi_square_p_value"] == pytest.approx(stats.chi2.sf(total[1], used - 1), rel=1e-7)


@pytest.mark.parametrize("random", ["(1 | a) + (1 | b)", "(1 | c) + (1 | a)"])
def test_chi_square_needs_one_factor(random):
    with pytest.raises(CrosslevelError, match="'hlm', which compares the clusters' own"):
        cl.mixed(f"y ~ x + {random}", FRAME).test_random(test="hlm")


@pytest.mark.parametrize(("random", "reference"), [
    ("(x | a)", "estimated information"),
    ("(x || a)", "estimated information"),
    ("(1 | a) + (1 | b)", "estimated information"),
    ("(x + w | a)", "equal information"),
    ("(x | a) + (1 | b)", "equal information"),
    ("ar1(0 + k | a)", "upper bound"),
])  # fmt: skip
def test_all_random_effects_together_say_where_their_weights_are_from(random, reference):
    row = cl.mixed(f"y ~ x + {random}", FRAME).test_random().loc["all"]
    assert row["reference"] == reference


def test_the_summary_tells_the_same_as_the_last_row():
    fit = cl.mixed("y ~ x + (x | a)", FRAME)
    row, plain = fit.test_random().loc["all"], fit.to_dict()["test_random"]
    assert {name: plain[name] for name in ("statistic", "df", "p_value")} == {
        name: row[name] for name in ("statistic", "df", "p_value")
    }


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_information_is_that_of_balanced_clusters(method):
    """With equal clusters A = Z'Z, information on Psi at none is J (tr(A H A K) - J tr(AH) tr(AK) / n)."""
    rng = np.random.default_rng(3)
    x = np.tile(rng.normal(size=12), 30)
    frame = pd.DataFrame({"x": x, "g": np.repeat(np.arange(30), 12), "y": rng.normal(size=360)})
    fit = cl.mixed("y ~ x + (x | g)", frame, method=method)
    zero = (np.zeros((2, 2)),)
    found = information_of(fit.design, fit.solution, ((),), zero, fit.solution.phi, reml=method == "reml")
    T = fit.design.reduced.basis
    Z = np.column_stack([np.ones(12), x[:12]]) @ np.linalg.inv(T)
    A, H = Z.T @ Z, [np.diag([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0]]), np.diag([0.0, 1.0])]
    expected = [[30 * np.trace(A @ a @ A @ b) - 900 * np.trace(A @ a) * np.trace(A @ b) / 360 for b in H] for a in H]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.max(expected))


@pytest.mark.parametrize("far", [0.0, 30.0, 2000.0])
def test_weights_do_not_depend_on_where_a_variable_has_its_zero(far):
    fit, moved = (cl.mixed("y ~ z + (z | a)", FRAME.assign(z=FRAME["x"] + shift)) for shift in (0.0, far))
    a, b = (each.test_random().loc["all"] for each in (fit, moved))
    assert a["p_value"] == pytest.approx(b["p_value"], rel=1e-5)
    weights = [overall_test(each).weights for each in (fit, moved)]
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-6)


def test_singular_models_are_tested():
    frame = FRAME.assign(y=np.random.default_rng(5).normal(size=len(FRAME)))
    fit = cl.mixed("y ~ x + (x | a) + (1 | b)", frame)
    table = fit.test_random()
    assert fit.is_singular
    assert np.all(table["statistic"] >= 0.0)
    assert np.all(table["p_value"].between(0.0, 1.0))


def test_known_covariances_stay():
    V = np.diag([1.0, 1.5, 2.0])
    fit = cl.mixed("y ~ x + equalto(0 + k | b, V) + (x | a)", FRAME, known={"V": V})
    small = cl.mixed("y ~ x + equalto(0 + k | b, V) + (1 | a)", FRAME, known={"V": V})
    table = fit.test_random()
    assert list(table.index) == ["x in (x | a)", "all"]
    assert table.loc["x in (x | a)", "statistic"] == pytest.approx(small.deviance - fit.deviance, abs=1e-5)


def test_data_that_are_read_in_batches(tmp_path):
    path = tmp_path / "rows.parquet"
    FRAME[["y", "x", "a"]].to_parquet(path)
    whole, streamed = (cl.mixed("y ~ x + (x | a)", data, progress=False) for data in (FRAME, path))
    pd.testing.assert_frame_equal(whole.test_random(), streamed.test_random(), rtol=1e-7)
    draws = [fit.test_random(test="bootstrap", n=19, seed=1)["p_value"] for fit in (whole, streamed)]
    pd.testing.assert_series_equal(*draws)
    small = cl.mixed("y ~ x + (1 | a)", path, progress=False)
    row = whole.test_random().loc["x in (x | a)"]
    assert cl.lrtest(small, streamed).statistic == pytest.approx(row["statistic"], abs=1e-6)


def test_iterative_algebra_agrees_to_its_own_error():
    exact, iterative = (cl.mixed("y ~ x + (x | a) + (1 | b)", FRAME, algebra=how) for how in ("exact", "iterative"))
    one, other = exact.test_random(), iterative.test_random()
    error = iterative.solution.iterative.deviance_error
    np.testing.assert_allclose(other["statistic"], one["statistic"], atol=5.0 * error + 1e-3)
    small = cl.mixed("y ~ x + (1 | a) + (1 | b)", FRAME, algebra="iterative")
    test = cl.lrtest(small, iterative)
    assert test.statistic_error >= error
    assert test.statistic == pytest.approx(one.loc["x in (x | a)", "statistic"], abs=5.0 * test.statistic_error + 1e-3)


def test_three_levels():
    fit = cl.mixed("y ~ x + (x | c/a)", FRAME)
    table = fit.test_random()
    small = cl.mixed("y ~ x + (x | c) + (1 | c:a)", FRAME)
    assert list(table.index) == ["x in (x | c)", "x in (x | c:a)", "all"]
    assert table.loc["x in (x | c:a)", "statistic"] == pytest.approx(small.deviance - fit.deviance, abs=2e-6)
    assert table["chi_square"].isna().all()


def test_names_of_terms():
    formula = "y ~ x + (0 + k | a) + (1 + within(x, b) * k || b) + (1 | c)"
    fit = cl.mixed(formula, FRAME)
    assert [term.name for term in terms_of(fit.design)] == [
        "(0 + k | a)", "(1 | b)", "(0 + within(x, b) | b)", "(0 + k | b)", "(0 + within(x, b):k | b)", "(1 | c)",
    ]  # fmt: skip


def test_wrong_arguments_are_refused():
    fit = cl.mixed("y ~ x + (1 | a)", FRAME)
    for given, words in [
        ({"test": "wald"}, "`test` is 'mixture', 'exact'"),
        ({"n": 100}, "for test='exact' or 'bootstrap'"),
        ({"test": "exact", "n": 3}, "at least 19"),
    ]:
        with pytest.raises(CrosslevelError, match=words):
            fit.test_random(**given)


# -- principal components ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cases_with("repca", "varcorr"))
def test_principal_components_of_lme4(name):
    case, fit = load_case(name), fit_case(name)
    rank, groups = fit.rank_re(), [factor.name for factor in fit.design.factors]
    for r_group, expected in case.expected["repca"].items():
        ours = rank.components.loc[our_group(r_group, groups)]
        sdev = np.sort(np.atleast_1d(expected["sdev"]))[::-1]
        np.testing.assert_allclose(ours["sdev"], sdev, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(ours["proportion"].sum(skipna=False), 1.0 if sdev.any() else np.nan)


def test_rank_counts_what_varies():
    frame = FRAME.assign(z=FRAME["x"] * 1000.0)
    full = cl.mixed("y ~ x + (x | a)", frame).rank_re()
    assert full.supported.loc["a"].to_dict() == {"effects": 2, "nonzero": 2, "rank": 2}
    scaled = cl.mixed("y ~ z + (z | a)", frame).rank_re()
    np.testing.assert_allclose(scaled.components["standardised_sdev"], full.components["standardised_sdev"], rtol=1e-4)
    assert scaled.components["sdev"].iloc[1] != pytest.approx(full.components["sdev"].iloc[1], rel=0.1)
    assert "Component 2" in str(full)
    assert "<table" in full._repr_html_()


def test_rank_of_singular_models():
    frame = FRAME.assign(y=np.random.default_rng(5).normal(size=len(FRAME)))
    fit = cl.mixed("y ~ x + (x | a) + (1 | b)", frame)
    supported = fit.rank_re().supported
    assert fit.is_singular
    for group, row in supported.iterrows():
        place = [factor.name for factor in fit.design.factors].index(str(group))
        assert row["nonzero"] == np.linalg.matrix_rank(fit.solution.factors[place], tol=1e-4)
        assert row["rank"] <= row["nonzero"] <= row["effects"]
    assert fit.rank_re(share=1e-6).supported["rank"].max() <= 1


def test_rank_is_refused_where_there_is_nothing():
    fit = cl.mixed("y ~ x", FRAME, residual=cl.residual.By("stratum"))
    with pytest.raises(CrosslevelError, match="`rank_re` needs random effects"):
        fit.rank_re()
    with pytest.raises(CrosslevelError, match="`share` is a share"):
        cl.mixed("y ~ x + (1 | a)", FRAME).rank_re(share=2)
