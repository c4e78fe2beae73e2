"""The summary: equations, tables and words."""

import re

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.display import Equations, Section, Table, text
from crosslevel.estimators.equations import by_level, in_one
from crosslevel.estimators.summary import parts_of, shown_decimals, summarise

EQUATIONS = {
    "y ~ 1 + (1 | g)": ["y_ij = β0j + r_ij", "β0j = γ00 + u0j"],
    "y ~ x + (1 | g)": ["y_ij = β0j + β1 x_ij + r_ij", "β0j = γ00 + u0j", "β1 = γ10"],
    "y ~ x * z + (x | g)": [
        "y_ij = β0j + β1j x_ij + r_ij",
        "β0j = γ00 + γ01 z_j + u0j",
        "β1j = γ10 + γ11 z_j + u1j",
    ],
    "y ~ x * z + (1 | g)": ["y_ij = β0j + β1j x_ij + r_ij", "β0j = γ00 + γ01 z_j + u0j", "β1j = γ10 + γ11 z_j"],
    "y ~ x + (0 + x | g)": ["y_ij = β0 + β1j x_ij + r_ij", "β0 = γ00", "β1j = γ10 + u1j"],
    "y ~ 1 + (x | g)": ["y_ij = β0j + β1j x_ij + r_ij", "β0j = γ00 + u0j", "β1j = u1j"],
    "y ~ x:z + (1 | g)": ["y_ij = β0j + β1j x_ij + r_ij", "β0j = γ00 + u0j", "β1j = γ11 z_j"],
    "y ~ x * w + z * f + (1 | g)": [
        "y_ij = β0j + β1 x_ij + β2 w_ij + β3 x_ij × w_ij + r_ij",
        "β0j = γ00 + γ01 z_j + γ02 f[b]_j + γ03 z_j × f[b]_j + u0j",
        "β1 = γ10",
        "β2 = γ20",
        "β3 = γ30",
    ],
    "y ~ within(x, g) * between(x, g) + (within(x, g) | g)": [
        "y_ij = β0j + β1j within(x, g)_ij + r_ij",
        "β0j = γ00 + γ01 between(x, g)_j + u0j",
        "β1j = γ10 + γ11 between(x, g)_j + u1j",
    ],
}


def plain(lines):
    return [re.sub(r"_\{(\d[^}]*)\}", r"\1", line).replace("_{", "_").replace("}", "") for line in lines]


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(30), 12)
    z, f = rng.normal(size=30)[g], np.array(list("ab") * 15)[g]
    x, w = rng.normal(size=len(g)), rng.normal(size=len(g))
    u = rng.normal(size=(30, 2))
    y = 1 + x + z + u[g, 0] + (0.5 * z + u[g, 1]) * x + rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "x": x, "w": w, "z": z, "f": f, "g": g})


@pytest.fixture(scope="module")
def hsb():
    formula = "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + (within(ses, school) | school)"
    return cl.mixed(formula, cl.datasets.load("hsb"))


@pytest.mark.parametrize(("formula", "expected"), EQUATIONS.items())
def test_equations_by_level(frame, formula, expected):
    level_1, level_2 = by_level("y", parts_of(cl.mixed(formula, frame)))
    assert plain([*level_1, *level_2]) == expected


@pytest.mark.parametrize("formula", EQUATIONS)
def test_the_one_equation_has_every_coefficient_once(frame, formula):
    fit = cl.mixed(formula, frame)
    equation = in_one("y", parts_of(fit))
    assert len(set(re.findall(r"γ_\{\d+\}", equation))) == equation.count("γ") == len(fit.params)
    assert equation.count("u_{") == len(fit.design.random_names)


def test_the_one_equation_of_a_cross_level_interaction(frame):
    equation = in_one("y", parts_of(cl.mixed("y ~ x * z + (x | g)", frame)))
    assert plain([equation]) == ["y_ij = γ00 + γ01 z_j + γ10 x_ij + γ11 x_ij × z_j + u0j + u1j x_ij + r_ij"]


def test_the_summary_fits_80_columns(hsb):
    lines = str(hsb.summary()).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "Multilevel model of mathach"


def test_the_summary_says_what_was_fitted_to_what(hsb):
    shown = str(hsb.summary())
    for line in (
        "Outcome   mathach: Mathematics achievement (score)",
        "Method    restricted maximum likelihood (REML)",
        "Rows      7,185 read, all used",
        "Clusters  160 (school), 14 to 67 rows in each, mean 44.9",
        "β1j = γ10 + γ11 sector[Catholic]_j + γ12 meanses_j + u1j",
        "(u0j, u1j) ~ N(0, T)",
        "sector: compared with Public.",
        "Degrees of freedom m-l-1: clusters - cluster-level predictors - 1",
    ):
        assert line in shown


def test_the_summary_shows_the_published_numbers(hsb):
    # table 4.5 of Raudenbush & Bryk (2002): 12.13 (0.20), 1.23 (0.31), 5.33 (0.37), 2.94 (0.16), -1.64 (0.24) ...
    shown = str(hsb.summary())
    for row in (
        r"Intercept +12\.128  0\.199  157  60\.86  < \.001  11\.734  12\.522",
        r"sector\[Catholic\] +1\.227  0\.306  157 +4\.00  < \.001 +0\.622 +1\.832",
        r"within\(ses, school\): +-1\.643  0\.240",
        r"Residual +36\.721  0\.626  35\.514  37\.969  6\.060",
        r"Intraclass correlation: 0\.061",
        r"with 3 covariance parameters, p < \.001",
        r"Intercept 0\.733",
        r"-23251\.83  46503\.66  46523\.66  46592\.46",
    ):
        assert re.search(row, shown), row


def test_coefficients_stand_under_the_slope_they_explain(hsb):
    table = next(
        block for block in summarise(hsb).blocks if isinstance(block, Table) and block.title == "Fixed effects"
    )
    names = [row.text if isinstance(row, Section) else row[0] for row in table.rows]
    assert names == [
        "Intercept",
        "Intercept",
        "sector[Catholic]",
        "meanses",
        "Slope of within(ses, school)",
        "within(ses, school)",
        "within(ses, school):sector[Catholic]",
        "within(ses, school):meanses",
    ]


def test_every_coefficient_is_shown_once(frame):
    fit = cl.mixed("y ~ x * w * f + z + (x + w | g)", frame)
    table = next(
        block for block in summarise(fit).blocks if isinstance(block, Table) and block.title == "Fixed effects"
    )
    assert sorted(row[0] for row in table.rows if not isinstance(row, Section)) == sorted(fit.params.index)


def test_dropped_rows_are_counted_and_explained(frame):
    holed = frame.assign(x=frame["x"].where(frame.index >= 7), w=frame["w"].where(frame.index != 100))
    shown = str(cl.mixed("y ~ x + w + (1 | g)", holed).summary())
    assert "360 read, 352 used; 8 dropped for missing values in x (7), w (1)" in shown


def test_a_singular_fit_warns_in_words():
    rng = np.random.default_rng(1)
    flat = pd.DataFrame({"y": rng.normal(size=200), "x": rng.normal(size=200), "g": np.repeat(np.arange(20), 10)})
    fit = cl.mixed("y ~ x + (x | g)", flat)
    assert fit.is_singular
    assert "Warning: " in str(fit.summary())
    assert 'class="note warning"' in fit.summary()._repr_html_()


def test_without_a_random_intercept_there_is_no_intraclass_correlation(frame):
    shown = str(cl.mixed("y ~ x + (0 + x | g)", frame).summary())
    assert "Intraclass correlation" not in shown
    assert "Reliability" in shown


def test_independent_blocks_are_named(frame):
    shown = str(cl.mixed("y ~ x + (x || g)", frame).summary())
    assert "u0j ~ N(0, τ00)\nu1j ~ N(0, τ11)" in shown
    assert "correlations" not in shown


def test_ml_and_reml_are_told_apart(frame):
    assert "REML log-likelihood" not in re.sub(
        r"\s+", " ", str(cl.mixed("y ~ x + (1 | g)", frame, method="ml").summary())
    )


def test_weighted_effect_coding_is_explained(frame):
    shown = re.sub(r"\s+", " ", str(cl.mixed("y ~ wec(f) + (1 | g)", frame).summary()))
    assert "wec(f): deviations from the mean of the sample (weighted effect coding); a is left out." in shown


def test_equations_have_subscripts_in_html(hsb):
    assert "β<sub>1j</sub> within(ses, school)<sub>ij</sub>" in hsb.summary()._repr_html_()


def test_long_names_keep_the_summary_in_bounds():
    rng = np.random.default_rng(2)
    name = "equivalised_household_income_in_thousand_euro_per_year_adjusted_for_inflation"
    frame = pd.DataFrame({"trust_in_political_institutions": rng.normal(size=300), name: rng.normal(size=300)})
    frame["country_of_residence_at_the_interview"] = np.repeat(np.arange(20), 15)
    formula = f"trust_in_political_institutions ~ {name} + I({name} ** 2) + (1 | country_of_residence_at_the_interview)"
    for width in (60, 80, 100):
        assert max(map(len, text(cl.mixed(formula, frame).summary(), width).splitlines())) <= width


DECIMALS = {(0.199, 12.1): 3, (0.0000123, 0.5): 7, (12.3, 345.6): 3, (250.0, 45_000.0): 0, (0.31, 45_000.0): 3}


@pytest.mark.parametrize(("numbers", "decimals"), DECIMALS.items())
def test_the_standard_error_decides_the_decimals(numbers, decimals):
    assert shown_decimals(*numbers) == decimals


def test_equations_are_blocks_that_can_be_shown_elsewhere(hsb):
    titles = [block.title for block in hsb.summary().blocks if isinstance(block, Equations)]
    assert titles == ["Level 1 (rows i)", "Level 2 (school j)", "In one equation"]
