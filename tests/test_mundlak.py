"""Mundlak and within-between formulas: what is written, the models they give, and the test of contextual effects."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, load_data

import crosslevel as cl

# -- what is written ----------------------------------------------------------------------------------------------

TIMES = 4


@cache
def data() -> pd.DataFrame:
    """An unbalanced panel: x1, x2 and f vary within g; z, h and group sizes do not; t has different means."""
    rng = np.random.default_rng(7)
    sizes = rng.integers(3, 9, 40)
    codes = np.repeat(np.arange(40), sizes)
    u, z = rng.normal(size=(2, 40))
    x1 = u[codes] + rng.normal(size=len(codes))
    x2 = 5.0 + rng.normal(size=len(codes)) - 0.5 * u[codes]
    f = np.array(["low", "mid", "high's"])[np.clip(np.round(x2 - 4 + rng.normal(size=len(codes))), 0, 2).astype(int)]
    frame = pd.DataFrame({"g": [f"g{code}" for code in codes], "x1": x1, "x2": x2, "f": f, "z": z[codes]})
    frame["h"] = np.where(np.arange(40) % 3 == 0, "a", "b")[codes]
    frame["t"] = np.concatenate([np.arange(size) for size in sizes])
    frame["my group"], frame["score 1"] = frame["g"], x1
    frame["country"] = codes // 8
    frame["y"] = 1.0 + x1 + 0.3 * x2 + 0.5 * (f == "mid") + 0.2 * x1 * frame["z"] + u[codes] + rng.normal(size=len(f))
    return frame


MUNDLAK = {
    "y ~ x1 + z": "y ~ x1 + between(x1, g) + z + (1 | g)",
    "y ~ x1 * z": "y ~ x1 + between(x1, g) + z + x1:z + between(x1, g):z + (1 | g)",
    "y ~ x1 * h": "y ~ x1 + between(x1, g) + h + x1:h + between(x1, g):h + (1 | g)",
    "y ~ x1 * x2": "y ~ x1 + between(x1, g) + x2 + between(x2, g) + x1:x2 + between(I(x1 * x2), g) + (1 | g)",
    "y ~ h": None,
    "y ~ f": """y ~ f + between(I(f == 'low'), g) + between(I(f == 'mid'), g) + (1 | g)""",
    "y ~ x1 + I(x1^2) + np.exp(x2)": (
        "y ~ x1 + between(x1, g) + I(x1 ** 2) + between(I(x1 ** 2), g) + np.exp(x2) + between(np.exp(x2), g) + (1 | g)"
    ),
    "y ~ x1:I(x2^2)": "y ~ x1:I(x2 ** 2) + between(I(x1 * (x2 ** 2)), g) + (1 | g)",
    "y ~ {x1 / 2} + z": "y ~ {x1 / 2} + between(x1 / 2, g) + z + (1 | g)",
    "y ~ 0 + x1": "y ~ 0 + x1 + between(x1, g) + (1 | g)",
    "y ~ x1 + between(x1, g)": "y ~ x1 + between(x1, g) + (1 | g)",
    "y ~ within(x1, g) + z": "y ~ within(x1, g) + z + (1 | g)",
    "y ~ `score 1` + (1 | country)": "y ~ `score 1` + between(`score 1`, g) + (1 | country) + (1 | g)",
    "y ~ x1 + (x1 | g)": "y ~ x1 + between(x1, g) + (x1 | g)",
    "y ~ x1 + (x1 | country/g)": "y ~ x1 + between(x1, g) + (x1 | country/g)",
    "y ~ x1 + (x1 | country)": "y ~ x1 + between(x1, g) + (x1 | country) + (1 | g)",
    "log(y + 20) ~ x1": "log(y + 20) ~ x1 + between(x1, g) + (1 | g)",
}

WITHIN_BETWEEN = {
    "y ~ x1 + z": "y ~ within(x1, g) + between(x1, g) + z + (1 | g)",
    "y ~ x1 * z": "y ~ within(x1, g) + between(x1, g) + z + within(x1, g):z + between(x1, g):z + (1 | g)",
    "y ~ x1:x2": "y ~ within(I(x1 * x2), g) + between(I(x1 * x2), g) + (1 | g)",
    "y ~ within(x1, g) + x2": "y ~ within(x1, g) + within(x2, g) + between(x2, g) + (1 | g)",
    "y ~ 0 + f": (
        "y ~ 1 + within(I(f == 'low'), g) + between(I(f == 'low'), g) + within(I(f == 'mid'), g)"
        " + between(I(f == 'mid'), g) + (1 | g)"
    ),
    "y ~ 2:x1": "y ~ 2:within(x1, g) + 2:between(x1, g) + (1 | g)",
    "y ~ x1 + (x1 | g)": "y ~ within(x1, g) + between(x1, g) + (1 + within(x1, g) | g)",
    "y ~ x1 + (x1 || g)": "y ~ within(x1, g) + between(x1, g) + blocks(1, 0 + within(x1, g) | g)",
    "y ~ x1 + (0 + f | g)": (
        "y ~ within(x1, g) + between(x1, g) + (1 + within(I(f == 'low'), g) + within(I(f == 'mid'), g) | g)"
    ),
    "y ~ x1 + (0 + x1 | g)": "y ~ within(x1, g) + between(x1, g) + (0 + within(x1, g) | g)",
    "y ~ x1 + (x1 | country)": "y ~ within(x1, g) + between(x1, g) + (x1 | country) + (1 | g)",
    "y ~ x1 + (x1 | country/g)": (
        "y ~ within(x1, g) + between(x1, g) + (1 + x1 | country) + (1 + within(x1, g) | country:g)"
    ),
    "y ~ x1 + (z + x1 | g)": "y ~ within(x1, g) + between(x1, g) + (1 + z + within(x1, g) | g)",
}


@pytest.mark.parametrize("formula", MUNDLAK)
def test_mundlak_formulas(formula: str) -> None:
    if MUNDLAK[formula] is None:
        with pytest.raises(cl.FormulaError, match="no predictor that varies within g"):
            cl.mundlak(formula, data(), group="g")
    else:
        assert cl.mundlak(formula, data(), group="g") == MUNDLAK[formula]


@pytest.mark.parametrize("formula", WITHIN_BETWEEN)
def test_within_between_formulas(formula: str) -> None:
    assert cl.mundlak(formula, data(), group="g", kind="within-between") == WITHIN_BETWEEN[formula]


def test_groups_of_several_columns_and_names_that_are_no_identifiers() -> None:
    assert cl.mundlak("y ~ x1", data(), group="my group") == "y ~ x1 + between(x1, `my group`) + (1 | `my group`)"
    assert cl.mundlak("y ~ x1", data(), group="country:g") == "y ~ x1 + between(x1, country:g) + (1 | country:g)"
    fit = cl.mixed(cl.mundlak("y ~ `score 1`", data(), group="my group"), data())
    assert list(fit.params.index) == ["Intercept", "score 1", "between(`score 1`, `my group`)"]


def test_three_levels_in_two_steps() -> None:
    text = cl.mundlak("y ~ x1", data(), group="g", kind="within-between")
    whole = cl.mundlak(text, data(), group="country", kind="within-between")
    assert whole == (
        "y ~ within(x1, g) + within(between(x1, g), country) + between(between(x1, g), country)"
        " + (1 | g) + (1 | country)"
    )
    design = cl.mixed(whole, data()).design
    x = np.hstack([block for block, _, _ in design.blocks()])
    np.testing.assert_allclose(x[1] + x[2] + x[3], data()["x1"], atol=1e-12)


def test_any_frame_and_numbers_as_categories() -> None:
    polars = pytest.importorskip("polars")
    frame = data().assign(wave=data()["x2"].round().clip(4, 6).astype(int) * 5 - 20)
    text = cl.mundlak("y ~ C(wave)", polars.from_pandas(frame[["y", "wave", "g"]]), group="g")
    assert text == "y ~ C(wave) + between(I(wave == 5), g) + between(I(wave == 10), g) + (1 | g)"
    fit = cl.mixed(text, frame)
    means = (frame["wave"] == 10).groupby(frame["g"]).transform("mean")
    design = np.hstack([block for block, _, _ in fit.design.blocks()])
    names = list(fit.design.products.names)
    np.testing.assert_allclose(design[names.index("between(I(wave == 10), g)")], means, atol=1e-14)
    assert len(cl.mundlak_test(fit).combinations) == 2


def test_a_dot_is_all_other_columns_but_the_group() -> None:
    frame = data()[["y", "x1", "z", "g"]]
    assert cl.mundlak("y ~ .", frame, group="g") == "y ~ x1 + between(x1, g) + z + (1 | g)"


def test_means_that_are_the_same_everywhere_are_left_out() -> None:
    balanced = data().groupby("g").head(3)
    assert cl.mundlak("y ~ t + x1", balanced, group="g") == "y ~ t + x1 + between(x1, g) + (1 | g)"
    # with h alone its means are a multiple of h; without it they are not in the model otherwise
    assert "between(t, g)" not in cl.mundlak("y ~ t * h", balanced, group="g")
    assert "between(t, g):z" in cl.mundlak("y ~ t:z", balanced, group="g")


def test_predictors_that_stay_as_they_are() -> None:
    text = cl.mundlak("y ~ x1 * z + x2 + t + x1:x2", data(), group="g", keep=["t", "x1"], random=False)
    assert text == "y ~ x1 + z + x2 + between(x2, g) + t + x1:z + x1:x2"


def test_categories_that_stay_or_have_other_codings() -> None:
    assert cl.mundlak("y ~ C(f, contr.sum) + x1", data(), group="g").startswith(
        "y ~ C(f, contr.sum) + between(I(f == 'low'), g) + between(I(f == "
    )
    text = cl.mundlak("y ~ C(f, contr.sum) + x1", data(), group="g", kind="within-between", keep=["f"])
    assert text == "y ~ C(f, contr.sum) + within(x1, g) + between(x1, g) + (1 | g)"


def test_slopes() -> None:
    given = {"data": data(), "group": "g", "slopes": ["x1", "f"]}
    text = cl.mundlak("y ~ x1 + f + z", kind="within-between", **given)
    assert text.endswith("(1 + within(x1, g) + within(I(f == 'low'), g) + within(I(f == 'mid'), g) | g)")
    assert cl.mundlak("y ~ x1 + f + z", **given).endswith("(1 + x1 + f | g)")
    fit = cl.mixed(cl.mundlak("y ~ x1 + z", data(), group="g", kind="within-between", slopes=["x1"]), data())
    assert list(fit.cov_re["g"].index) == ["Intercept", "within(x1, g)"]


# -- what the models are ------------------------------------------------------------------------------------------

FORMULAS = (
    "y ~ x1 + x2 + z",
    "y ~ x1 * z + f",
    "y ~ x1 * x2 + h",
    "y ~ x1 * f * z",
    "y ~ 0 + f + x1",
    "y ~ f:h + x1:f",
)


def within_estimates(formula: str, frame: pd.DataFrame) -> dict[str, float]:
    """Fixed effects by regression on dummies of the groups: coefficients of the columns that vary within them."""
    design = cl.ols(formula, frame).design
    names = [design.products.names[j] for j in design.x]
    x, y = np.hstack([block[:-1] for block, _, _ in design.blocks()]), frame["y"].to_numpy()
    codes = pd.factorize(frame["g"])[0]
    counts = np.bincount(codes)
    x, y = ((a - np.array([np.bincount(codes, r) / counts for r in np.atleast_2d(a)])[:, codes]) for a in (x, y))
    varying = np.linalg.norm(x, axis=1) > 1e-9
    beta = np.linalg.lstsq(x[varying].T, y[0], rcond=None)[0]
    return dict(zip(np.array(names)[varying], beta, strict=True))


@pytest.mark.parametrize("formula", FORMULAS[:4])
@pytest.mark.parametrize("rows", ["unbalanced", "balanced"])
def test_within_coefficients_are_those_of_fixed_effects(formula: str, rows: str) -> None:
    frame = data() if rows == "unbalanced" else data().groupby("g").head(3)
    theirs = within_estimates(formula, frame)
    fit = cl.mixed(cl.mundlak(formula, frame, group="g"), frame)
    ours = fit.params[list(theirs)]
    np.testing.assert_allclose(ours, list(theirs.values()), rtol=1e-8)
    panel = cl.random_effects(cl.mundlak(formula, frame, group="g", random=False), frame, group="g")
    np.testing.assert_allclose(panel.params[list(theirs)], list(theirs.values()), rtol=1e-8)
    if rows == "balanced":
        pooled = cl.ols(cl.mundlak(formula, frame, group="g", random=False), frame)
        np.testing.assert_allclose(pooled.params[list(theirs)], list(theirs.values()), rtol=1e-8)


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_two_kinds_are_one_model(formula: str) -> None:
    one = cl.mixed(cl.mundlak(formula, data(), group="g"), data(), method="ml")
    other = cl.mixed(cl.mundlak(formula, data(), group="g", kind="within-between"), data(), method="ml")
    assert other.deviance == pytest.approx(one.deviance, abs=1e-7)
    np.testing.assert_allclose(other.fitted, one.fitted, atol=1e-6)
    assert len(other.params) == len(one.params)


def test_means_are_those_of_the_rows_that_the_model_uses() -> None:
    frame = data().copy()
    frame.loc[frame.index[::7], "x2"] = np.nan
    frame.loc[frame.index[3], "y"] = np.nan
    text = cl.mundlak("y ~ x1 + x2", frame, group="g")
    whole = frame.dropna()
    fit = cl.mixed(text, frame)
    by_hand = whole.assign(m1=whole.groupby("g")["x1"].transform("mean"), m2=whole.groupby("g")["x2"].transform("mean"))
    theirs = cl.mixed("y ~ x1 + m1 + x2 + m2 + (1 | g)", by_hand)
    np.testing.assert_allclose(fit.params, theirs.params, rtol=1e-8)
    fixed = within_estimates("y ~ x1 + x2", whole)
    np.testing.assert_allclose(fit.params[["x1", "x2"]], [fixed["x1"], fixed["x2"]], rtol=1e-8)


# -- lme4 and plm -------------------------------------------------------------------------------------------------

PLAIN = {
    "Grunfeld": ("inv ~ value + capital", "firm"),
    "Wages": ("lwage ~ wks + exp + expsq + union + married", "id"),
}
OURS = {"(Intercept)": "Intercept", "unionyes": "union[yes]", "marriedyes": "married[yes]"} | {
    "union_m": "between(I(union == 'yes'), id)", "married_m": "between(I(married == 'yes'), id)",
}  # fmt: skip


def stored(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "panel" / f"{name}.json").read_text(encoding="utf-8"))


def our_names(theirs: list[str], group: str) -> list[str]:
    return [OURS.get(n) or (f"between({n[:-2]}, {group})" if n.endswith("_m") else n) for n in theirs]


@cache
def written(name: str, kind: str = "mundlak", *, random: bool = True) -> str:
    formula, group = PLAIN[name]
    return cl.mundlak(formula, load_data(name), group=group, kind=kind, random=random)


@pytest.mark.parametrize(("name", "model", "method"), [("Grunfeld", "reml", "reml"), ("Wages", "ml", "ml")])
def test_lme4(name: str, model: str, method: str) -> None:
    theirs = stored(f"{name}__mundlak_lmer_{model}")
    fit = cl.mixed(written(name), load_data(name), method=method, ddf="satterthwaite" if name == "Grunfeld" else "auto")
    names = our_names(theirs["coef_names"], PLAIN[name][1])
    errors = np.array(list(theirs["se"].values()))
    model_errors = np.sqrt(np.diag(fit.vcov.loc[names, names]))
    assert np.abs((fit.params[names] - list(theirs["fixef"].values())) / errors).max() < 1e-6
    np.testing.assert_allclose(model_errors, errors, rtol=1e-6)
    assert fit.loglik == pytest.approx(theirs["loglik"], abs=1e-6)
    if name == "Grunfeld":
        np.testing.assert_allclose(fit.df[names], list(theirs["df_satterthwaite"].values()), rtol=1e-4)


@pytest.mark.parametrize("name", PLAIN)
def test_plm_pooling(name: str) -> None:
    theirs = stored(f"{name}__mundlak_pooling")
    fit = cl.ols(written(name, random=False), load_data(name))
    names = our_names(theirs["coef_names"], PLAIN[name][1])
    np.testing.assert_allclose(fit.params[names], list(theirs["coef"].values()), rtol=1e-8)
    np.testing.assert_allclose(fit.bse[names], list(theirs["se"].values()), rtol=1e-8)


@pytest.mark.parametrize("name", PLAIN)
def test_plm_random_effects(name: str) -> None:
    theirs = stored(f"{name}__mundlak_random")
    formula, group = PLAIN[name]
    fit = cl.random_effects(written(name, random=False), load_data(name), group=group)
    names = our_names(theirs["coef_names"], group)
    np.testing.assert_allclose(fit.params[names], list(theirs["coef"].values()), rtol=1e-7)
    np.testing.assert_allclose(fit.bse[names], list(theirs["se"].values()), rtol=1e-7)
    within = cl.fixed_effects(formula, load_data(name), group=group)
    np.testing.assert_allclose(fit.params[within.params.index], within.params, rtol=1e-8)


@pytest.mark.parametrize(("name", "statistic"), [("Grunfeld", 2.13136622540757), ("Wages", 2476.00190457141)])
def test_mundlak_test_is_the_auxiliary_regression_of_plm(name: str, statistic: float) -> None:
    # phtest(method = "aux") of plm 2.6-2, in panel_tests of the reference set: chi-square with as many df as slopes
    fit = cl.random_effects(written(name, random=False), load_data(name), group=PLAIN[name][1])
    test = cl.mundlak_test(fit)
    assert test.statistic * test.df_num == pytest.approx(statistic, rel=1e-8)
    assert test.df_num == len(within_names(name))
    assert np.isinf(test.df_den)


def within_names(name: str) -> list[str]:
    return [term for term in PLAIN[name][0].partition("~")[2].split("+")]


# -- the test of contextual effects -------------------------------------------------------------------------------


@cache
def both_fits() -> tuple[Any, Any]:
    formula = "y ~ x1 * z + f + x2"
    kinds = (cl.mundlak(formula, data(), group="g", kind=kind) for kind in ("mundlak", "within-between"))
    return tuple(cl.mixed(text, data(), ddf="kenward-roger") for text in kinds)


def test_the_test_is_the_same_for_both_kinds() -> None:
    one, other = (cl.mundlak_test(fit) for fit in both_fits())
    assert one.df_num == other.df_num == 5
    assert other.statistic == pytest.approx(one.statistic, rel=1e-6)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-5)
    np.testing.assert_allclose(other.combinations["estimate"], one.combinations["estimate"], atol=1e-7)
    assert "between(x1, g):z - within(x1, g):z" in other.combinations.index
    assert one.combinations.index[0] == "between(x1, g)"
    assert str(one).startswith("Joint test (kenward-roger) that between(x1, g), ")


def test_the_test_is_a_contrast() -> None:
    fit = both_fits()[0]
    names = [name for name in fit.params.index if "between" in name]
    for ddf in ("satterthwaite", "kenward-roger", "m-l-1"):
        test, row = cl.mundlak_test(fit, ddf=ddf), fit.contrast(names, ddf=ddf, joint=True).iloc[0]
        assert test.statistic == pytest.approx(row["statistic"], rel=1e-10)
        assert test.df_den == pytest.approx(row["df_den"], rel=1e-10)
        assert test.p_value == pytest.approx(row["p_value"], rel=1e-10)
    robust = cl.mundlak_test(fit, vcov="CR2")
    assert robust.statistic == pytest.approx(fit.robust("CR2").contrast(names).statistic, rel=1e-10)


def test_the_test_after_ols() -> None:
    fit = cl.ols(cl.mundlak("y ~ x1 + x2", data(), group="g", random=False), data(), cluster="g")
    names = ["between(x1, g)", "between(x2, g)"]
    assert cl.mundlak_test(fit).statistic == pytest.approx(fit.contrast(names).statistic, rel=1e-12)
    plain = cl.ols(fit.formula, data())
    assert cl.mundlak_test(fit, vcov="iid").p_value == pytest.approx(plain.contrast(names).p_value, rel=1e-10)
    assert cl.mundlak_test(plain, vcov="CR2", cluster="g").test == "HTZ"


def test_categories_in_other_codings_and_products_find_their_means() -> None:
    fit = cl.ols(cl.mundlak("y ~ C(f, contr.sum) + x1 * x2", data(), group="g", random=False), data())
    found = list(cl.mundlak_test(fit).combinations.index)
    assert found == [name for name in fit.params.index if name.startswith("between")]
    assert len(found) == 5


def test_means_without_the_predictor_are_no_contextual_effects() -> None:
    fit = cl.ols("y ~ x1 + between(x1, g) + between(x2, g) + between(x2, country)", data())
    assert list(cl.mundlak_test(fit).combinations.index) == ["between(x1, g)"]
    both = cl.ols("y ~ x1 + between(x1, g) + between(x1, country)", data())
    assert len(cl.mundlak_test(both).combinations) == 2
    assert list(cl.mundlak_test(both, group="country").combinations.index) == ["between(x1, country)"]


@pytest.mark.slow
def test_size_of_the_test() -> None:
    # no contextual effects: the p-values of 200 samples are uniform
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(30), 5)
    rejected = 0
    for _ in range(200):
        x = rng.normal(size=30)[codes] + rng.normal(size=150)
        frame = {"x": x, "g": codes, "y": x + rng.normal(size=30)[codes] + rng.normal(size=150)}
        rejected += cl.mundlak_test(cl.mixed("y ~ x + between(x, g) + (1 | g)", frame)).p_value < 0.1
    assert abs(rejected / 200 - 0.1) < 3 * np.sqrt(0.09 / 200)


# -- wrong input --------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "group": ({"group": "school"}, "`group` uses 'school', which the data lack"),
    "no group": ({"group": None}, "`group` is the column of the clusters"),
    "kind": ({"kind": "hybrid"}, "`kind` is 'mundlak' or 'within-between'; got 'hybrid'"),
    "formula": ({"formula": 3}, "`formula` is text"),
    "nothing varies": ({"formula": "y ~ z + h"}, "no predictor that varies within g, so that"),
    "all kept": ({"formula": "y ~ x1 + h", "keep": ["x1"]}, "varies within g beside those to keep"),
    "keep": ({"keep": ["x9"]}, "`keep` names 'x9', which is not in the formula. Its predictors: x1, z"),
    "keep number": ({"keep": [1]}, r"`keep` is a list of predictors such as .* got \[1\]"),
    "slopes": ({"slopes": ["x2"]}, "`slopes` names 'x2', which is no predictor of `formula`. Its predictors: x1, z"),
    "slopes of constants": ({"slopes": ["z"]}, "'z', which does not vary within g"),
    "slopes twice": ({"formula": "y ~ x1 + (1 | g)", "slopes": ["x1"]}, r"has \(1 \| g\) already"),
    "several columns": ({"formula": "y ~ poly(x1, 2)"}, "makes 2 columns at once"),
    "coding": (
        {"formula": "y ~ C(f, contr.sum)", "kind": "within-between"},
        "codes .* by sum, and deviations .* Write f alone, or use kind='mundlak'",
    ),
    "column": ({"formula": "y ~ x7"}, "`formula` uses 'x7', which the data lack"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(name: str) -> None:
    given, words = WRONG[name]
    arguments = {"formula": "y ~ x1 + z", "data": data(), "group": "g", **given}
    with pytest.raises(cl.CrosslevelError, match=words):
        cl.mundlak(arguments.pop("formula"), arguments.pop("data"), **arguments)


def test_files_are_read_first(tmp_path: Any) -> None:
    path = tmp_path / "rows.csv"
    data().to_csv(path, index=False)
    with pytest.raises(cl.CrosslevelError, match="read in batches, and whether predictors vary"):
        cl.mundlak("y ~ x1", path, group="g")
    assert cl.mundlak("y ~ x1", cl.read(path), group="g") == "y ~ x1 + between(x1, g) + (1 | g)"


def test_wrong_input_of_the_test() -> None:
    fit = cl.mixed("y ~ x1 + (1 | g)", data())
    with pytest.raises(cl.CrosslevelError, match=r"no cluster means beside .* cl.mundlak\(formula, data"):
        cl.mundlak_test(fit)
    with pytest.raises(cl.CrosslevelError, match="no cluster means of country"):
        cl.mundlak_test(both_fits()[0], group="country")
    with pytest.raises(cl.CrosslevelError, match="got DataFrame"):
        cl.mundlak_test(data())
    with pytest.raises(cl.CrosslevelError, match="Leave one of them out"):
        cl.mundlak_test(both_fits()[0], ddf="satterthwaite", vcov="CR2")
    plain = cl.ols("y ~ x1 + between(x1, g)", data())
    with pytest.raises(cl.CrosslevelError, match="`ddf` is 'satterthwaite', which mixed models have"):
        cl.mundlak_test(plain, ddf="satterthwaite")
    panel = cl.random_effects("y ~ x1 + between(x1, g)", data(), group="g")
    with pytest.raises(cl.CrosslevelError, match=r"`cluster` is for cl\.ols"):
        cl.mundlak_test(panel, cluster="country")
