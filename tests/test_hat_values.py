"""Hat values, residuals and variances of modes against lme4's values and a dense twin."""

import json

import numpy as np
import pandas as pd
import pytest
from reference_cases import FOLDER, cases_with, fit_case, load_case, load_data

import crosslevel as cl
from crosslevel.inference.at_estimates import AtEstimates
from crosslevel.inference.bootstrap.rows import ModelRows
from crosslevel.inference.effect_spread import mahalanobis, mode_covariances
from crosslevel.inference.hat_values import fitted_variances, hat_values, residual_variances
from crosslevel.inference.rotated_effects import rotated_effects
from crosslevel.inference.within_residuals import within_residuals

REFERENCED = cases_with("hatvalues_head", "hatvalues_sum", "resid_head")


@pytest.mark.parametrize("name", REFERENCED)
def test_hat_values_and_residuals_are_lme4s(name: str) -> None:
    # at lme4's own optimum, which differs from ours by what its stopping rule leaves: 1e-6 relative
    expected, fit = load_case(name).expected, fit_case(name)
    found = hat_values(fit.design, fit.solution)
    head = np.array(expected["hatvalues_head"])
    np.testing.assert_allclose(found.values[: len(head)], head, rtol=2e-6)
    np.testing.assert_allclose(found.total, expected["hatvalues_sum"], rtol=2e-6)
    rows = cl.residuals(fit).rows
    resid, fitted = np.array(expected["resid_head"]), np.array(expected["fitted_head"])
    np.testing.assert_allclose(rows["conditional"].to_numpy()[: len(resid)], resid, atol=2e-6 * fit.sigma)
    np.testing.assert_allclose(rows["fitted"].to_numpy()[: len(fitted)], fitted, atol=2e-6 * fit.sigma)


def test_hat_values_with_precision_weights_are_lme4s() -> None:
    text = (FOLDER / "weights" / "sleepstudy__rs_weighted_reml.json").read_text(encoding="utf-8")
    expected, data = json.loads(text), load_data("sleepstudy")
    fit = cl.mixed("Reaction ~ Days + (Days | Subject)", data, weights=cl.Precision("w"))
    found = hat_values(fit.design, fit.solution)
    head = np.array(expected["hatvalues_head"])
    np.testing.assert_allclose(found.values[: len(head)], head, rtol=2e-6)
    np.testing.assert_allclose(found.total, expected["hatvalues_sum"], rtol=2e-6)


@pytest.mark.parametrize("name", ["Contraception__ri_laplace", "epil__poisson_ri_laplace", "Contraception__ri_agq15"])
def test_pearson_residuals_of_other_families_are_lme4s(name: str) -> None:
    case = load_case(name)
    expected, nodes = case.expected, case.expected.get("nagq") or 1
    fit = cl.mixed(case.formula, case.data, family=expected["family"], quadrature=nodes)
    pearson = cl.residuals(fit).rows["pearson"].to_numpy()
    head = np.array(expected["resid_pearson_head"])
    np.testing.assert_allclose(pearson[: len(head)], head, atol=1e-7)


class Dense:
    """A linear mixed model as matrices, written from the textbook: V, P, H."""

    def __init__(self, fit: cl.mixed) -> None:
        rows, sizes = ModelRows.of(fit.design), [factor.n_levels for factor in fit.design.factors]
        n = len(rows.y)
        self.y, self.X = rows.y, rows.x.T
        self.Z, psi = [], []
        for z, members, count, table in zip(rows.z, rows.members, sizes, fit.cov_re.values(), strict=True):
            indicator = np.zeros((n, count))
            for codes, share in members:
                known = codes >= 0
                amount = np.ones(n) if share is None else share
                indicator[np.flatnonzero(known), codes[known]] += amount[known]
            self.Z.append((indicator[:, :, None] * z.T[:, None, :]).reshape(n, -1))
            psi.append(np.kron(np.eye(count), table.to_numpy()))
        self.psi, self.sizes = psi, sizes
        self.R = fit.sigma**2 * np.diag(residual_variances(fit.design, fit.solution))
        self.V = self.R + sum(Z @ own @ Z.T for Z, own in zip(self.Z, psi, strict=True))
        inverse = np.linalg.inv(self.V)
        self.XVX = np.linalg.inv(self.X.T @ inverse @ self.X)
        self.G = self.XVX @ self.X.T @ inverse
        self.P = inverse @ (np.eye(n) - self.X @ self.G)

    @property
    def hat_fixed(self) -> np.ndarray:
        return self.X @ self.G

    @property
    def hat(self) -> np.ndarray:
        return np.eye(len(self.y)) - self.R @ self.P

    def mode_covariance(self, k: int) -> np.ndarray:
        """(J, q, q) of factor k."""
        whole = self.psi[k] @ self.Z[k].T @ self.P @ self.Z[k] @ self.psi[k]
        count, q = self.sizes[k], len(whole) // self.sizes[k]
        return whole.reshape(count, q, count, q)[np.arange(count), :, np.arange(count)]


def small_data() -> pd.DataFrame:
    """Clusters of 1 to 12 rows, one-row clusters first; a crossed factor, weights, strata."""
    rng = np.random.default_rng(8)
    sizes = np.r_[1, 1, 2, rng.integers(2, 13, 17)]
    g = np.repeat(np.arange(20), sizes)
    n = len(g)
    data = pd.DataFrame({"g": g, "c": rng.integers(0, 6, n), "x": rng.normal(size=n), "w": rng.uniform(0.5, 2.0, n)})
    data["s"] = np.where(rng.random(n) < 0.5, "a", "b")
    data["y"] = (
        1.0 + data.x + rng.normal(size=20)[g] + 0.6 * rng.normal(size=20)[g] * data.x
        + 0.7 * rng.normal(size=6)[data.c] + rng.normal(size=n)
    )  # fmt: skip
    return data


MODELS = {
    "slopes": ("y ~ x + (x | g)", {}),
    "crossed": ("y ~ x + (x | g) + (1 | c)", {}),
    "nested": ("y ~ x + (1 | g) + (1 | g:c)", {}),
    "precision": ("y ~ x + (x | g)", {"weights": "w"}),
    "strata": ("y ~ x + (1 | g)", {"residual": "s"}),
}


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest) -> tuple[cl.mixed, Dense]:
    formula, extra = MODELS[request.param]
    given = {}
    if "weights" in extra:
        given["weights"] = cl.Precision("w")
    if "residual" in extra:
        given["residual"] = cl.residual.By("s")
    fit = cl.mixed(formula, small_data(), **given)
    return fit, Dense(fit)


def test_both_parts_of_hat_values_are_the_dense_ones(pair: tuple) -> None:
    fit, dense = pair
    found = hat_values(fit.design, fit.solution)
    np.testing.assert_allclose(found.values, np.diag(dense.hat), atol=1e-10)
    np.testing.assert_allclose(found.fixed, np.diag(dense.hat_fixed), atol=1e-10)


def test_standardised_residuals_are_over_their_own_spread(pair: tuple) -> None:
    fit, dense = pair
    rows = cl.residuals(fit).rows
    spread = np.sqrt(np.diag(dense.R @ dense.P @ dense.R))
    np.testing.assert_allclose(rows["standardized"], dense.R @ dense.P @ dense.y / spread, rtol=1e-8, atol=1e-9)
    marginal = dense.y - dense.hat_fixed @ dense.y
    spread = np.sqrt(np.diag(dense.V - dense.X @ dense.XVX @ dense.X.T))
    np.testing.assert_allclose(rows["standardized_marginal"], marginal / spread, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(rows["pearson"], rows["conditional"] / np.sqrt(np.diag(dense.R)), rtol=1e-12)


def test_least_confounded_residuals_are_those_of_a_regression_with_all_effects_fixed(pair: tuple) -> None:
    fit, dense = pair
    root = np.sqrt(fit.sigma**2 / np.diag(dense.R))
    columns = np.column_stack([dense.X, *dense.Z]) * root[:, None]
    basis, values, _ = np.linalg.svd(columns, full_matrices=False)
    basis = basis[:, values > 1e-10 * values[0]]
    left = 1.0 - np.sum(basis**2, axis=1)
    y = dense.y * root
    wanted = (y - basis @ (basis.T @ y)) / (fit.sigma * np.sqrt(np.where(left > 1e-9, left, np.nan)))
    np.testing.assert_allclose(cl.residuals(fit).rows["least_confounded"], wanted, rtol=1e-7, atol=1e-8)


def test_random_effects_are_over_the_spread_of_their_predictions(pair: tuple) -> None:
    fit, dense = pair
    clusters = cl.residuals(fit).clusters
    for k, (name, table) in enumerate(fit.ranef(se=False).items()):
        covariance = dense.mode_covariance(k)
        np.testing.assert_allclose(
            mode_covariances(fit.design, fit.solution)[k], covariance, atol=1e-9 * np.abs(covariance).max()
        )
        spread = np.sqrt(np.einsum("gii->gi", covariance))
        found = clusters[name][[f"{effect}_standardized" for effect in table]].to_numpy()
        known = np.isfinite(found)
        np.testing.assert_allclose(found[known], (table.to_numpy() / spread)[known], rtol=1e-6, atol=1e-8)


def test_rotated_effects_are_uncorrelated_and_confounded_as_told(pair: tuple) -> None:
    fit, dense = pair
    for k, factor in enumerate(fit.design.factors):
        answer = dense.psi[k] @ dense.Z[k].T @ dense.P
        effects = fit.design.effects_of(factor)
        for place, effect in enumerate(effects):
            own = answer[place :: len(effects)]
            found = rotated_effects(fit.design, fit.solution, k, place)
            whole, of_errors = own @ dense.V @ own.T, own @ dense.R @ own.T
            np.testing.assert_allclose(found.weights @ whole @ found.weights.T, np.eye(len(found.values)), atol=1e-9)
            np.testing.assert_allclose(
                found.weights @ of_errors @ found.weights.T, np.diag(found.confounding), atol=1e-9
            )
            np.testing.assert_allclose(found.values, found.weights @ own @ dense.y, atol=1e-9)
            table = cl.least_confounded(fit, factor.name, effect)
            assert table["confounding"].is_monotonic_increasing
            assert len(table) == np.linalg.matrix_rank(whole, tol=1e-9 * np.linalg.norm(whole))


def test_an_outcome_at_the_estimates_is_what_the_equations_say(pair: tuple) -> None:
    fit, dense = pair
    y = np.random.default_rng(3).normal(size=len(dense.y))
    found = AtEstimates.of(fit.design, fit.solution).refitted(y)
    wanted = dense.R @ dense.P @ y / np.sqrt(np.diag(dense.R))
    np.testing.assert_allclose(found.residuals, wanted, atol=1e-9)
    for modes, own, Z in zip(found.modes, dense.psi, dense.Z, strict=True):
        np.testing.assert_allclose(modes.ravel(), own @ Z.T @ dense.P @ y, atol=1e-9)


def test_frequency_weights_say_the_same_of_a_row_as_repeated_rows() -> None:
    data = small_data()
    data["f"] = np.arange(len(data)) % 3 + 1
    weighted = cl.mixed("y ~ x + (x | g)", data, weights=cl.Frequency("f"))
    repeated = cl.mixed("y ~ x + (x | g)", data.loc[data.index.repeat(data.f)].reset_index(drop=True))
    first = np.r_[0, np.cumsum(data.f)[:-1]]
    columns = ["conditional", "standardized", "standardized_marginal", "least_confounded"]
    mine, theirs = (cl.residuals(fit).rows[columns].to_numpy() for fit in (weighted, repeated))
    np.testing.assert_allclose(mine, theirs[first], rtol=1e-5, atol=1e-6)
    totals = [hat_values(fit.design, fit.solution).total for fit in (weighted, repeated)]
    np.testing.assert_allclose(*totals, rtol=1e-7)


def test_correlated_residuals_have_a_spread_but_no_hat_values() -> None:
    data = cl.datasets.load("sleepstudy")
    fit = cl.mixed("Reaction ~ Days + (1 | Subject)", data, residual=cl.residual.AR1("Days", within="Subject"))
    dense = Dense(fit)
    rho = float(fit.residual_parameters().iloc[0]["estimate"])
    codes, days = pd.factorize(data["Subject"])[0], data["Days"].to_numpy()
    same = codes[:, None] == codes[None, :]
    correlation = np.where(same, rho ** np.abs(days[:, None] - days[None, :]), 0.0)
    R = fit.sigma**2 * correlation
    V = R + dense.Z[0] @ dense.psi[0] @ dense.Z[0].T
    inverse = np.linalg.inv(V)
    P = inverse - inverse @ dense.X @ np.linalg.inv(dense.X.T @ inverse @ dense.X) @ dense.X.T @ inverse
    spread = np.sqrt(np.diag(R @ P @ R))
    found = cl.residuals(fit)
    np.testing.assert_allclose(found.rows["standardized"], R @ P @ dense.y / spread, rtol=1e-6, atol=1e-7)
    assert found.rows["least_confounded"].isna().all()
    assert any("Least-confounded" in note for note in found.notes)
    with pytest.raises(cl.CrosslevelError, match="independent given the random effects"):
        hat_values(fit.design, fit.solution)


def test_a_singular_fit_has_distances_in_the_dimensions_that_vary() -> None:
    fit = cl.mixed("mathach ~ ses * sector + (ses | school)", cl.datasets.load("hsb"))
    assert fit.is_singular
    table = cl.residuals(fit).clusters["school"]
    assert set(table["dimensions"]) == {1}
    np.testing.assert_allclose(table["mahalanobis"], table["Intercept_standardized"] ** 2, rtol=1e-5)


def test_mahalanobis_distances_are_quadratic_forms() -> None:
    rng = np.random.default_rng(2)
    half, modes = rng.normal(size=(5, 3, 3)), rng.normal(size=(5, 3))
    covariance = half @ half.transpose(0, 2, 1)
    distance, dimensions = mahalanobis(modes, covariance, np.ones(3))
    wanted = np.einsum("gi,gi->g", modes, np.linalg.solve(covariance, modes[:, :, None])[:, :, 0])
    np.testing.assert_allclose(distance, wanted, rtol=1e-9)
    assert dimensions.tolist() == [3] * 5


def test_variances_of_residuals_and_of_fitted_values_make_up_that_of_the_error(pair: tuple) -> None:
    fit, dense = pair
    wanted = np.diag(dense.R) - np.diag(dense.R @ dense.P @ dense.R)
    np.testing.assert_allclose(fitted_variances(fit.design, fit.solution), wanted, atol=1e-9 * fit.sigma**2)


def test_too_many_crossed_effects_are_refused() -> None:
    rng = np.random.default_rng(4)
    members = tuple(((rng.integers(0, 1800, 4000).astype(np.int32), None),) for _ in range(2))
    ones = np.ones((1, 4000))
    rows = ModelRows(x=ones, y=rng.normal(size=4000), z=(ones, ones), members=members, weights=None)
    with pytest.raises(cl.CrosslevelError, match="eliminated"):
        within_residuals(rows, [1800, 1800])
