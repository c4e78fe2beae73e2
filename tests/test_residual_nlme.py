"""Residual structures against nlme and metafor, at the level of `mixed`.

nlme's parametrisation in ours: its sigma and varIdent ratios make our `sigma[stratum]` = sigma x ratio; corAR1's Phi,
corCAR1's Phi, corCompSymm's Rho are our `rho`; corSymm lists the lower triangle column by column, as we do; varPower's
sigma holds at |v| = 1 and is our `sigma[1]`, while `fit.sigma` holds at the geometric mean of |v|. Where corAR1 has no
times it counts the rows of a unit, which here are its visits. `gls` multiplies standard errors of maximum likelihood by
sqrt(n / (n - p)); `lme` does not, nor do we. Its covariances of random effects are absolute, as our `cov_re`.

A log-likelihood may exceed nlme's, whose optimiser stops short by up to 4e-7 (Hsb82), but not fall below it.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_data, our_component

import crosslevel as cl

FOLDER = Path(__file__).parent / "reference" / "residual"
LINEAR = "distance ~ age * Sex"

FITS: dict[str, tuple[str, str, cl.residual.ResidualStructure]] = {
    "Orthodont__varident_sex": (f"{LINEAR} + (1 | Subject)", "Orthodont", cl.residual.By("Sex")),
    "Orthodont__rs_varident_sex": (f"{LINEAR} + (age | Subject)", "Orthodont", cl.residual.By("Sex")),
    "Orthodont__corar1": (f"{LINEAR} + (1 | Subject)", "Orthodont", cl.residual.AR1("visit", within="Subject")),
    "Orthodont__gls_ar1": (LINEAR, "Orthodont", cl.residual.AR1("visit", within="Subject")),
    "Orthodont__gls_cs": (LINEAR, "Orthodont", cl.residual.CompoundSymmetry(within="Subject")),
    "Orthodont__gls_un_varident": (LINEAR, "Orthodont", cl.residual.Unstructured("age", within="Subject")),
    "Hsb82__lme_ri_varident_sector": ("mAch ~ cses + sector + (1 | school)", "Hsb82", cl.residual.By("sector")),
    "Hsb82__lme_varident_sector": (
        "mAch ~ cses * sector + meanses * cses + (cses | school)",
        "Hsb82",
        cl.residual.By("sector"),
    ),
}
"""The reference set's own fits: formula, data, structure."""

MORE: dict[str, tuple[str, str, cl.residual.ResidualStructure]] = {
    "car1": ("height ~ age + (1 | Subject)", "Oxboys", cl.residual.CAR1("age", within="Subject")),
    "ar1_gaps": (LINEAR, "gaps", cl.residual.AR1("visit", within="Subject")),
    "ar1_by": (LINEAR, "gaps", cl.residual.AR1("visit", within="Subject", by="Sex")),
    "cs_by": (LINEAR, "gaps", cl.residual.CompoundSymmetry(within="Subject", by="Sex")),
    "us_gaps": (LINEAR, "gaps", cl.residual.Unstructured("age", within="Subject")),
    "power": (LINEAR, "Orthodont", cl.residual.Power("age")),
    "power_random": (f"{LINEAR} + (1 | Subject)", "Orthodont", cl.residual.Power("age")),
    "power_fitted": (LINEAR, "Orthodont", cl.residual.Power()),
    "power_fitted_random": (f"{LINEAR} + (1 | Subject)", "Orthodont", cl.residual.Power()),
}
"""Fits of `structures.R`."""

METHODS = ("reml", "ml")


@cache
def frame_of(name: str) -> pd.DataFrame:
    """A data set; "gaps" is Orthodont without the rows that `structures.R` drops."""
    frame = load_data("Orthodont" if name == "gaps" else name)
    if "Sex" in frame:
        frame = frame.assign(visit=(frame["age"] - 8) // 2)
    return frame.drop(index=more()["dropped"]) if name == "gaps" else frame


@cache
def more() -> dict[str, Any]:
    return json.loads((FOLDER / "structures.json").read_text(encoding="utf-8"))


@cache
def expected(name: str) -> dict[str, Any]:
    """What R found, with the entries of both sources under the same names."""
    if name in more():
        return more()[name]
    found = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found["se"] = list(found["se"].values())
    if "cor_function" in found:
        coef = found["cor_function"]["coef"]
        found["correlation"] = next(iter(coef.values())) if isinstance(coef, dict) else coef
    if "var_function" in found:
        found["ratios"] = found["var_function"]["coef"]
    if "varcorr" in found:
        (block,) = found["varcorr"].values()
        found["random_sd"] = block["sd"]
    return found


@cache
def fit(name: str) -> Any:
    base, method = name.rsplit("_", 1)
    formula, data, structure = (FITS | MORE)[base]
    return cl.mixed(formula, frame_of(data), method=method, residual=structure)


CASES = [f"{name}_{method}" for name in (*FITS, *MORE) for method in METHODS]


def is_gls(name: str) -> bool:
    return "|" not in fit(name).formula


@pytest.fixture(params=CASES)
def name(request):
    return request.param


def test_log_likelihood_is_at_least_as_high(name):
    ours, theirs = fit(name).loglik, expected(name)["loglik"]
    assert fit(name).converged
    if "power_fitted" in name:  # a fixed point of fitted values, not a maximum
        assert ours == pytest.approx(theirs, abs=1e-6)
    else:
        assert theirs - 1e-6 <= ours <= theirs + 1e-5


def test_coefficients_and_their_standard_errors_agree(name):
    ours, theirs = fit(name), expected(name)
    se = np.array(theirs["se"])
    names = [
        ":".join(our_component(part, frame_of((FITS | MORE)[name.rsplit("_", 1)[0]][1])) for part in term.split(":"))
        for term in theirs["fixef"]
    ]
    found = {frozenset(term.split(":")): value for term, value in ours.params.items()}
    error = {frozenset(term.split(":")): value for term, value in ours.bse.items()}
    keys = [frozenset(term.split(":")) for term in names]
    np.testing.assert_array_less(
        np.abs([found[key] for key in keys] - np.array(list(theirs["fixef"].values()))), 1e-4 * se
    )
    factor = np.sqrt((ours.nobs - len(se)) / ours.nobs) if is_gls(name) and ours.method == "ml" else 1.0
    np.testing.assert_allclose([error[key] for key in keys], se * factor, rtol=1e-4)


def test_residual_parameters_agree(name):
    ours, theirs = fit(name), expected(name)
    table = ours.residual_parameters()["estimate"]
    if "ratios" in theirs:
        for level, ratio in theirs["ratios"].items():
            assert table[f"sigma[{level}]"] == pytest.approx(ratio * theirs["sigma"], rel=1e-4)
    elif "power" in theirs:
        assert table["power"] == pytest.approx(theirs["power"], abs=1e-4)
        assert table["sigma[1]"] == pytest.approx(theirs["sigma"], rel=2e-4)
    else:
        assert ours.sigma == pytest.approx(theirs["sigma"], rel=1e-4)
    if "correlation" in theirs:
        rho = table[[str(key).startswith("rho") for key in table.index]]
        np.testing.assert_allclose(rho, np.atleast_1d(theirs["correlation"]), rtol=1e-4, atol=2e-5)


def test_random_effects_vary_as_much(name):
    theirs = expected(name)
    if "random_sd" not in theirs:
        return
    table = fit(name).varcomp()
    table = table[table["kind"] == "variance"]
    variance = np.atleast_1d(theirs["random_sd"]) ** 2
    if "car1" in name:  # nlme works on the log of the variance and cannot reach the zero that we find
        assert table["estimate"].item() == 0.0
        assert variance.item() < 3e-5
    else:
        np.testing.assert_array_less(np.abs(table["estimate"] - variance), 5e-3 * table["std_error"])


CORRELATED = [f"{name}_{method}" for name in FITS for method in METHODS if "Orthodont__gls" in name]


@pytest.mark.parametrize("case", CORRELATED)
def test_intervals_of_correlations_are_those_of_nlme(case):
    table, theirs = fit(case).residual_parameters(), expected(case)["intervals_approx"]["corStruct"]
    rho = table[[str(key).startswith("rho") for key in table.index]]
    np.testing.assert_allclose(rho["conf_low"], [row["lower"] for row in theirs], atol=3e-3)
    np.testing.assert_allclose(rho["conf_high"], [row["upper"] for row in theirs], atol=3e-3)


NORMALISED = ["varident_sex", "rs_varident_sex", "corar1", "gls_ar1"]


@pytest.mark.parametrize("case", [f"Orthodont__{name}_{method}" for name in NORMALISED for method in METHODS])
def test_normalised_residuals_are_those_of_nlme(case):
    theirs = expected(case)["resid_normalized_head"]
    ours = fit(case).resid_normalised.iloc[: len(theirs)]
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("method", METHODS)
def test_known_standard_errors_make_the_meta_analysis_of_metafor(method):
    theirs = more()[f"known_{method}"]
    frame = pd.DataFrame({name: theirs[name] for name in ("trial", "yi", "se_yi", "ablat")})
    ours = cl.mixed("yi ~ ablat + (1 | trial)", frame, method=method, residual=cl.residual.Known("se_yi"))
    assert ours.loglik == pytest.approx(theirs["loglik"], abs=1e-9)
    assert ours.sigma == 1.0
    assert ours.n_params == 3
    np.testing.assert_allclose(ours.params, list(theirs["fixef"].values()), rtol=1e-6)
    np.testing.assert_allclose(ours.bse, theirs["se"], rtol=1e-6)
    variance = ours.varcomp().set_index("kind").loc["variance"]
    assert variance["estimate"] == pytest.approx(theirs["tau2"], rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("case", "key"), [("varident_sex", "ri_vs_varident"), ("corar1", "ri_vs_corar1")])
def test_likelihood_ratios_against_plain_residuals_are_those_of_anova(method, case, key):
    plain = cl.mixed(f"{LINEAR} + (1 | Subject)", frame_of("Orthodont"), method=method)
    theirs = json.loads((FOLDER / f"Orthodont__tests_nlme_{method}.json").read_text(encoding="utf-8"))[key][1]
    richer = fit(f"Orthodont__{case}_{method}")
    assert plain.deviance - richer.deviance == pytest.approx(theirs["L.Ratio"], abs=1e-6)
    assert richer.n_params == theirs["df"]
    assert richer.aic == pytest.approx(theirs["AIC"], abs=1e-6)
