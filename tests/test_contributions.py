"""What clusters contribute: against dense matrices, closed forms, and the loss of precision without them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_data

import crosslevel as cl
from crosslevel.errors import CrosslevelError

HSB = "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + (within(ses, school) | school)"


def few_schools() -> pd.DataFrame:
    data = cl.datasets.load("hsb")
    few = data[data["school"].isin(data["school"].unique()[:12])].copy()
    place = few.groupby("school").cumcount()
    few = few[(place < 15) | (few["school"] == few["school"].iloc[0])]
    return few.assign(w=1.0 + np.arange(len(few)) % 3, school=few["school"].astype(str))


def dense(fit: Any, blocks: list[np.ndarray], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X (n, p) in the units of the data, and V (n, n) in units of sigma^2; Z_k (n, q J) of each factor."""
    x = np.concatenate([part[fit.design.x] for part, _, _ in fit.design.blocks()], axis=1).T
    v = np.diag(1.0 / weights)
    for z, own in zip(blocks, fit.cov_re.values(), strict=True):
        v += z @ np.kron(np.eye(z.shape[1] // len(own)), own.to_numpy()) @ z.T / fit.sigma**2
    return x, v


def shares(x: np.ndarray, v: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Row by row: each column is regressed on the others by generalised least squares."""
    inverse = np.linalg.inv(v)
    out = np.zeros((codes.max() + 1, x.shape[1]))
    for k in range(x.shape[1]):
        others = np.delete(x, k, axis=1)
        left = x[:, k] - others @ np.linalg.solve(others.T @ inverse @ others, others.T @ inverse @ x[:, k])
        np.add.at(out[:, k], codes, left * (inverse @ left) / (left @ inverse @ left))
    return out


def indicator(codes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Z (n, q J)."""
    out = np.zeros((len(codes), z.shape[1] * (codes.max() + 1)))
    for i, code in enumerate(codes):
        out[i, code * z.shape[1] : (code + 1) * z.shape[1]] = z[i]
    return out


@pytest.mark.parametrize("weighted", [False, True])
def test_shares_against_dense_matrices(weighted: bool) -> None:
    data = few_schools()
    weights = data["w"].to_numpy() if weighted else np.ones(len(data))
    given: dict[str, Any] = {"weights": cl.Precision("w")} if weighted else {}
    fit = cl.mixed("mathach ~ ses * sector + meanses + (ses | school)", data, method="ml", **given)
    codes = pd.factorize(data["school"])[0]
    x, v = dense(fit, [indicator(codes, np.column_stack([np.ones(len(data)), data["ses"]]))], weights)
    found = cl.contributions(fit)
    expected = shares(x, v, codes)
    np.testing.assert_allclose(found.shares, expected, rtol=1e-7, atol=1e-11)
    np.testing.assert_allclose(found.shares.sum(), 1.0, rtol=1e-10)
    assert (found.shares.to_numpy() > -1e-12).all()
    assert not found.crossed
    inverse = np.linalg.inv(v)
    bread = np.linalg.inv(x.T @ inverse @ x)
    d = np.sqrt(np.diag(v))
    for g in (0, 7):
        own = codes == g
        block = np.linalg.inv(v[np.ix_(own, own)])
        weight = np.trace(bread @ x[own].T @ block @ x[own]) / x.shape[1]
        assert found.weight[g] == pytest.approx(weight, rel=1e-8)
        assert found.effective_rows[g] == pytest.approx(d[own] @ block @ d[own], rel=1e-8)
    np.testing.assert_allclose(found.weight, cl.leverage(fit).clusters["school"]["share"], rtol=1e-8)


def test_a_mean_has_the_textbooks_weights_and_effective_sizes() -> None:
    """n / (1 + (n - 1) ICC), and weights 1 / (tau^2 + sigma^2 / n)."""
    data = few_schools()
    fit = cl.mixed("mathach ~ 1 + (1 | school)", data)
    found = cl.contributions(fit)
    tau2, sigma2 = float(fit.cov_re["school"].iloc[0, 0]), fit.sigma**2
    n = found.sizes
    weight = 1.0 / (tau2 + sigma2 / n)
    np.testing.assert_allclose(found.shares["Intercept"], weight / weight.sum(), rtol=1e-9)
    np.testing.assert_allclose(found.weight, weight / weight.sum(), rtol=1e-9)
    icc = tau2 / (tau2 + sigma2)
    np.testing.assert_allclose(found.effective_rows, n / (1.0 + (n - 1.0) * icc), rtol=1e-9)
    np.testing.assert_allclose(found.reliability["Intercept"], tau2 / (tau2 + sigma2 / n), rtol=1e-9)
    expected = 1.0 / np.sum((weight / weight.sum()) ** 2)
    assert found.coefficients.loc["Intercept", "effective_clusters"] == pytest.approx(expected, rel=1e-9)


def test_regressions_share_by_their_partialled_columns() -> None:
    data = few_schools()
    found = cl.contributions(cl.ols("mathach ~ ses + sector", data, cluster="school", weights=cl.Precision("w")))
    fit = cl.ols("mathach ~ ses + sector", data)
    x = np.concatenate([part[fit.design.x] for part, _, _ in fit.design.blocks()], axis=1).T
    codes = pd.factorize(data["school"])[0]
    expected = shares(x, np.diag(1.0 / data["w"].to_numpy()), codes)
    np.testing.assert_allclose(found.shares, expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.effective_rows, found.sizes, rtol=1e-10)
    assert not found.reliability.shape[1]


def test_crossed_and_nested_factors_against_dense_matrices() -> None:
    pills = load_data("Penicillin").iloc[:60].assign(x=lambda frame: np.sin(np.arange(len(frame))))
    fit = cl.mixed("diameter ~ x + (1 | plate) + (1 | sample)", pills)
    plate, sample = (fit.design.used_codes(factor) for factor in fit.design.factors)
    ones = np.ones((len(pills), 1))
    x, v = dense(fit, [indicator(plate, ones), indicator(sample, ones)], np.ones(len(pills)))
    found = cl.contributions(fit, by="sample")
    np.testing.assert_allclose(found.shares, shares(x, v, sample), rtol=1e-7, atol=1e-10)
    d = np.sqrt(np.diag(v))
    expected = np.bincount(sample, weights=d * np.linalg.solve(v, d))
    np.testing.assert_allclose(found.effective_rows, expected, rtol=1e-8)
    assert found.crossed
    assert "shares are by row, and may be negative" in " ".join(str(found).split())
    nested = cl.contributions(cl.mixed("strength ~ 1 + (1 | batch/cask)", load_data("Pastes")))
    assert nested.by == "batch"
    assert not nested.crossed
    np.testing.assert_allclose(nested.shares["Intercept"], 0.1, rtol=1e-6)  # it is balanced


def test_a_binomial_model_against_dense_working_matrices() -> None:
    data = load_data("Contraception").iloc[:500]
    fit = cl.mixed("use ~ age + urban + (1 | district)", data, family="binomial", quadrature=1)
    mu, codes = fit.fitted.to_numpy(), fit.design.used_codes(fit.design.factors[0])
    x = np.concatenate([part[fit.design.x] for part, _, _ in fit.design.blocks()], axis=1).T
    v = np.diag(1.0 / (mu * (1.0 - mu))) + float(fit.cov_re["district"].iloc[0, 0]) * (codes[:, None] == codes)
    np.testing.assert_allclose(cl.contributions(fit).shares, shares(x, v, codes), rtol=1e-6, atol=1e-9)


def test_a_frequency_is_as_many_rows() -> None:
    data = few_schools()
    formula = "mathach ~ ses + meanses + (ses | school)"
    once = cl.contributions(cl.mixed(formula, data.loc[data.index.repeat(data["w"].astype(int))]))
    counted = cl.contributions(cl.mixed(formula, data, weights=cl.Frequency("w")))
    np.testing.assert_allclose(counted.shares, once.shares, rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(counted.sizes, once.sizes)
    np.testing.assert_allclose(counted.effective_rows, once.effective_rows, rtol=1e-5)


# -- what it says -------------------------------------------------------------------------------------------------
def test_record_of_hsb() -> None:
    found = cl.contributions(cl.mixed(HSB, cl.datasets.load("hsb")))
    assert found.concern == "none"
    assert list(found.context) == list(found.terms[2:])
    frame = found.frame
    assert frame["rows"].sum() == 7185
    assert {"weight", "effective_rows", "reliability Intercept", "share meanses"} <= set(frame)
    row = found.coefficients.loc["meanses"]
    assert row["largest"] == "5762"
    carriers = found.carriers("meanses")
    assert len(carriers) == row["half"]
    assert carriers.iloc[:-1].sum() < 0.5 <= carriers.sum()
    assert len(found.carriers("meanses", 1.0)) == 160
    text = " ".join(found.sentences)
    assert "meanses is carried by the equivalent of 57.3 equal clusters out of 160: 5762 holds 4.5%" in text
    assert all(len(line) <= 80 for line in str(found).splitlines())
    assert found._repr_html_().count("<table>") == 2


def test_a_context_effect_that_rests_on_one_cluster_is_told() -> None:
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(10), 20)
    z = np.append(rng.normal(size=9), 30.0)[group]
    data = pd.DataFrame({"y": rng.normal(size=200), "z": z, "g": [f"c{k}" for k in group]})
    found = cl.contributions(cl.mixed("y ~ z + (1 | g)", data))
    assert found.concern == "act"
    assert found.coefficients.loc["z", "largest"] == "c9"
    assert found.coefficients.loc["z", "effective_clusters"] < 1.5
    assert found.sentences[-1].startswith("z: so few clusters decide")


def test_figure_shows_the_largest_shares() -> None:
    found = cl.contributions(cl.mixed(HSB, cl.datasets.load("hsb")))
    drawn = cl.plot.contributions_data(found)
    np.testing.assert_allclose(drawn.groupby("term")["share"].sum(), 1.0)
    assert drawn.groupby("term")["in_half"].sum()["meanses"] == found.coefficients.loc["meanses", "half"]
    figure = cl.plot.contributions(found)
    assert [panel.get_title(loc="left") for panel in figure.axes] == list(found.context)
    texts = {text.get_text() for text in figure.axes[1].texts}
    assert {"5762", "2277", "4458", "57.3 of 160"} <= texts
    with pytest.raises(CrosslevelError, match="`ax` takes one coefficient"):
        cl.plot.contributions(found, ax=figure.axes[0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: d, "got DataFrame"),
        (lambda d: cl.ols("mathach ~ ses", d), "`by` is needed"),
        (lambda d: cl.mixed("mathach ~ ses + (1 | school)", d, residual=cl.residual.By("sector")), "residual"),
    ],
)
def test_refusals(make: Any, words: str) -> None:
    with pytest.raises(CrosslevelError, match=words):
        cl.contributions(make(few_schools()))


def test_wrong_carriers() -> None:
    found = cl.contributions(cl.mixed("mathach ~ ses + (1 | school)", few_schools()))
    with pytest.raises(CrosslevelError, match="`term` must be one of"):
        found.carriers("nothing")
    with pytest.raises(CrosslevelError, match="`share` is above 0"):
        found.carriers("ses", 1.5)
