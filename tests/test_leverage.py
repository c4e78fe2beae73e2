"""Leverage of rows and clusters: against lme4, dense matrices, and the identities that it obeys."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_case, load_data

import crosslevel as cl
from crosslevel.diagnostics.leverage import information_of
from crosslevel.errors import CrosslevelError

HSB = "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + (within(ses, school) | school)"

LINEAR = (
    "Hsb82__slopes_as_outcomes_reml", "Hsb82__random_coef_uncorr_ml", "Pastes__nested_reml", "Penicillin__crossed_reml",
    "cake__threelevel_ml", "Dyestuff2__ri_reml", "sleepstudy__rs_ml",
)  # fmt: skip


def test_reference_cases_are_those_of_lme4() -> None:
    assert all("hatvalues_head" in load_case(name).expected for name in LINEAR)


def fitted(name: str) -> tuple[Any, Any]:
    case = load_case(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.ConvergenceWarning)
        return case, cl.mixed(case.formula, case.data, method=case.method)


@pytest.mark.parametrize("name", LINEAR)
def test_hat_values_and_their_sum_are_those_of_lme4(name: str) -> None:
    case, fit = fitted(name)
    found = cl.leverage(fit)
    expected = case.expected
    np.testing.assert_allclose(found.rows["leverage"].iloc[:10], expected["hatvalues_head"], rtol=2e-4)
    assert found.total == pytest.approx(expected["hatvalues_sum"], rel=2e-4)
    np.testing.assert_allclose(found.rows["fixed"] + found.rows["random"], found.rows["leverage"], rtol=1e-12)
    assert found.rows["fixed"].sum() == pytest.approx(len(fit.params), rel=1e-9)
    for frame in found.clusters.values():
        assert frame["leverage"].sum() == pytest.approx(found.total, rel=1e-10)
        assert frame["share"].sum() == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("name", LINEAR)
def test_cooks_distance_of_lme4_is_another_one(name: str) -> None:
    """Its formula e^2 h / (sigma^2 p (1 - h)^2) keeps the variances and shrinks with the random effects."""
    case, fit = fitted(name)
    h = cl.leverage(fit).rows["leverage"].to_numpy()[:10]
    formula = fit.resid.to_numpy()[:10] ** 2 * h / (fit.sigma**2 * len(fit.params) * (1.0 - h) ** 2)
    np.testing.assert_allclose(formula, case.expected["cooks_distance_head"], rtol=5e-3, atol=1e-7)


def test_leverage_without_random_effects_is_the_textbooks_and_both_cooks_distances_agree() -> None:
    data = cl.datasets.load("hsb").iloc[:60].reset_index(drop=True)
    fit = cl.ols("mathach ~ ses", data)
    found = cl.leverage(fit)
    x = np.column_stack([np.ones(len(data)), data["ses"]])
    h = np.einsum("ij,jk,ik->i", x, np.linalg.inv(x.T @ x), x)
    np.testing.assert_allclose(found.rows["leverage"], h, rtol=1e-10)
    assert found.rows["random"].abs().max() < 1e-12
    cook = fit.resid.to_numpy() ** 2 * h / (fit.sigma**2 * 2.0 * (1.0 - h) ** 2)
    np.testing.assert_allclose(cl.influence(fit, by="rows").cooks_distance, cook, rtol=1e-8)
    assert not found.clusters
    assert cl.plot.leverage(found).axes


def dense_hat(
    fit: Any, z: list[np.ndarray], weights: np.ndarray, variance: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Diagonals of X M X'V^-1 and of H, from dense matrices; z (n, q J) of each factor."""
    block = np.concatenate([part for part, _, _ in fit.design.blocks()], axis=1)
    x = block[fit.design.x].T
    psi = [
        np.kron(np.eye(part.shape[1] // len(own)), own.to_numpy() / variance)
        for part, own in zip(z, fit.cov_re.values(), strict=True)
    ]
    random = sum(part @ own @ part.T for part, own in zip(z, psi, strict=True))
    inverse = np.linalg.inv(random + np.diag(1.0 / weights))
    fixed = x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    return np.diag(fixed), np.diag(fixed + random @ inverse @ (np.eye(len(x)) - fixed))


def indicator(codes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Z (n, q J) of one factor."""
    out = np.zeros((len(codes), z.shape[1] * (codes.max() + 1)))
    for i, code in enumerate(codes):
        out[i, code * z.shape[1] : (code + 1) * z.shape[1]] = z[i]
    return out


def few_schools() -> pd.DataFrame:
    data = cl.datasets.load("hsb")
    few = data[data["school"].isin(data["school"].unique()[:9])].copy()
    return few.assign(w=1.0 + np.arange(len(few)) % 3, school=few["school"].astype(str))


def test_precision_weights_against_dense_matrices() -> None:
    data = few_schools()
    fit = cl.mixed("mathach ~ ses + meanses + (ses | school)", data, weights=cl.Precision("w"), method="ml")
    codes = pd.factorize(data["school"])[0]
    z = indicator(codes, np.column_stack([np.ones(len(data)), data["ses"]]))
    fixed, both = dense_hat(fit, [z], data["w"].to_numpy(), fit.sigma**2)
    found = cl.leverage(fit)
    np.testing.assert_allclose(found.rows["fixed"], fixed, rtol=1e-8)
    np.testing.assert_allclose(found.rows["leverage"], both, rtol=1e-8)
    own = information_of(fit)
    np.testing.assert_allclose(own.leverage, both, rtol=1e-8)
    np.testing.assert_allclose(own.fixed_leverage, fixed, rtol=1e-8)


def test_frequencies_stand_for_their_rows() -> None:
    data = few_schools()
    formula = "mathach ~ ses + (ses | school)"
    once = cl.leverage(cl.mixed(formula, data.loc[data.index.repeat(data["w"].astype(int))]))
    counted = cl.leverage(cl.mixed(formula, data, weights=cl.Frequency("w")))
    first = ~once.rows.index.duplicated()
    np.testing.assert_allclose(counted.rows, once.rows[first], rtol=1e-6)
    pd.testing.assert_frame_equal(counted.clusters["school"], once.clusters["school"], rtol=1e-6)


@pytest.mark.parametrize(
    ("dataset", "formula", "family"),
    [
        ("Contraception", "use ~ age + urban + (urban | district)", "binomial"),
        ("Penicillin", "big ~ 1 + (1 | plate) + (1 | sample)", "binomial"),
    ],
)
def test_other_families_against_dense_working_matrices(dataset: str, formula: str, family: str) -> None:
    data = load_data(dataset)
    data = data.assign(big=(data["diameter"] > 23.5).astype(int)) if dataset == "Penicillin" else data.iloc[:400]
    fit = cl.mixed(formula, data, family=family, quadrature=1)
    mu = fit.fitted.to_numpy()
    z = []
    for factor in fit.design.factors:
        columns = np.concatenate([part[factor.z] for part, _, _ in fit.design.blocks()], axis=1).T
        z.append(indicator(fit.design.used_codes(factor), columns))
    fixed, both = dense_hat(fit, z, mu * (1.0 - mu))
    found = cl.leverage(fit)
    np.testing.assert_allclose(found.rows["fixed"], fixed, rtol=1e-6)
    np.testing.assert_allclose(found.rows["leverage"], both, rtol=1e-6)


def test_hat_values_of_lme4_for_other_families_lack_the_working_weight() -> None:
    """Its diagonal is that of [X Z] C^-1 [X Z]' without W; with it, rows of the same fit agree with ours."""
    case = load_case("Contraception__ri_laplace")
    fit = cl.mixed(case.formula, case.data, family="binomial", quadrature=1)
    mu = fit.fitted.to_numpy()[:10]
    ours = cl.leverage(fit).rows["leverage"].to_numpy()[:10] / (mu * (1.0 - mu))
    np.testing.assert_allclose(ours, case.expected["hatvalues_head"], rtol=2e-3)


def test_words_and_light() -> None:
    calm = cl.leverage(cl.mixed(HSB, cl.datasets.load("hsb")))
    assert calm.concern == "none"
    assert "The fitted values take 127.9 parameters: 6 coefficients" in calm.sentences[0]
    assert "2277 weighs most in the coefficients: 2.0%" in " ".join(calm.sentences)
    assert "Rows with the highest leverage" in str(calm)
    assert calm._repr_html_().count("<table>") == 2
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(6), 8)
    wild = pd.DataFrame({"g": group, "z": np.where(group == 3, 50.0, group * 0.01), "x": rng.normal(size=48)})
    wild.loc[5, "x"] = 300.0
    found = cl.leverage(cl.mixed("y ~ x + z + (1 | g)", wild.assign(y=rng.normal(size=48))))
    assert found.concern == "look"
    assert 'cl.influence(fit, by="rows") tells what it changes' in " ".join(found.sentences)


def test_figure_shows_clusters_and_rows() -> None:
    found = cl.leverage(cl.mixed("mathach ~ ses + (1 | school)", few_schools()))
    drawn = cl.plot.leverage_data(found)
    assert drawn["times"].mean() == pytest.approx(1.0)
    left, right = cl.plot.leverage(found).axes
    assert {text.get_text() for text in left.texts} == set(drawn["share"].nlargest(4).index)
    assert sum(bar.get_height() for bar in right.patches) == len(found.rows)
    with pytest.raises(CrosslevelError, match="group"):
        cl.plot.leverage(found, "nothing")


def test_refusals() -> None:
    data = few_schools()
    with pytest.raises(CrosslevelError, match="got DataFrame"):
        cl.leverage(data)
    with pytest.raises(CrosslevelError, match="independent given the random effects"):
        cl.leverage(cl.mixed("mathach ~ ses", data, residual=cl.residual.CompoundSymmetry(within="school")))
