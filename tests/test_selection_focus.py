"""Context-focused selection: its numbers against whole n x n matrices, its choices, averages, and wrong input."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student
from test_growth_curve import Exact, exact

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.inference.averaging import averaged, smoothed_weights
from crosslevel.inference.focus import Components, FocusedError, gls_covariance, resampled_errors
from crosslevel.inference.growth_curve import inflation, spent
from crosslevel.selection.asked import build_search
from crosslevel.selection.criteria import BIC, Criterion, Judge
from crosslevel.selection.focus import focused_errors, whole_factor
from crosslevel.selection.focus_bootstrap import FocusBootstrap, FocusBootstrapJudge
from crosslevel.selection.record import Selection
from crosslevel.selection.search import Candidate, Search

FORMULA = "y ~ x1 + x2 + z + x1:z + (x1 + x2 | g)"


def frame(seed: int = 1, *, n_clusters: int = 18) -> pd.DataFrame:
    """Rows of clusters of unlike sizes, whose predictors are far from zero."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_clusters), rng.integers(5, 16, n_clusters))
    root = np.array([[0.8, 0.0, 0.0], [0.3, 0.5, 0.0], [-0.4, 0.2, 0.4]])
    effects = rng.standard_normal((n_clusters, 3)) @ root.T
    x = rng.standard_normal((len(codes), 2)) + rng.standard_normal((n_clusters, 2))[codes] + 3.0
    z = rng.standard_normal(n_clusters)
    y = effects[codes, 0] + np.sum((1.0 + effects[codes, 1:]) * x, axis=1) + z[codes] * (1.0 + 0.5 * x[:, 0])
    y = y + 0.7 * rng.standard_normal(len(codes))
    return pd.DataFrame({"y": y, "x1": x[:, 0], "x2": x[:, 1], "z": z[codes], "g": codes})


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return frame()


@pytest.fixture(scope="module")
def search(data: pd.DataFrame) -> Search:
    maximal = cl.mixed(FORMULA, data)
    return build_search(maximal, keep=None, context=None, group=None, seed=None)


@pytest.fixture(scope="module")
def found(data: pd.DataFrame) -> Selection:
    return cl.select(FORMULA, data, criterion="focus", progress=False)


@dataclass(frozen=True)
class Dense:
    """X, Z and clusters as rows."""

    X: np.ndarray
    Z: np.ndarray
    codes: np.ndarray

    def covariance(self, components: Components) -> np.ndarray:
        """V, n x n."""
        psi = components.factor @ components.factor.T
        within = self.codes[:, None] == self.codes[None, :]
        return components.sigma**2 * (np.eye(len(self.Z)) + within * (self.Z @ psi @ self.Z.T))

    def sandwich(self, used: Components, truth: Components) -> np.ndarray:
        weights = np.linalg.inv(self.covariance(used)) @ self.X
        bread = np.linalg.inv(self.X.T @ weights)
        return np.asarray(bread @ weights.T @ self.covariance(truth) @ weights @ bread)


@pytest.fixture(scope="module")
def dense(data: pd.DataFrame) -> Dense:
    one, x1, x2, z = np.ones(len(data)), *(data[name].to_numpy() for name in ("x1", "x2", "z"))
    return Dense(
        X=np.column_stack([one, x1, x2, z, x1 * z]), Z=np.column_stack([one, x1, x2]), codes=data["g"].to_numpy()
    )


def components(search: Search, *blocks: tuple[str, ...]) -> tuple[Components, Candidate]:
    """Covariance of a candidate, and the candidate."""
    by_effect = {unit.effects[0]: unit for unit in search.units}
    candidate = search.candidate(search.structure([[by_effect[name] for name in block] for block in blocks]))
    return Components(factor=whole_factor(search, candidate), sigma=candidate.solution.sigma), candidate


@pytest.mark.parametrize(
    "blocks",
    [
        (("Intercept", "x1", "x2"),),
        (("Intercept", "x2"), ("x1",)),
        (("Intercept",), ("x1", "x2")),
        (("Intercept", "x1"),),
        (("x1",),),
    ],
)
def test_the_variance_under_another_covariance(
    search: Search, dense: Dense, blocks: tuple[tuple[str, ...], ...]
) -> None:
    truth, _ = components(search, ("Intercept", "x1", "x2"))
    used, candidate = components(search, *blocks)
    reduced = search.design.reduced
    assert search.design.fixed_names == ("Intercept", "x1", "x2", "z", "x1:z")
    np.testing.assert_allclose(gls_covariance(reduced, used, truth), dense.sandwich(used, truth), rtol=1e-9, atol=1e-12)
    # and if it is the true one, it is the model's own
    np.testing.assert_allclose(gls_covariance(reduced, used, used), candidate.solution.vcov, rtol=1e-9, atol=1e-12)


def test_the_error_is_the_variance_times_its_price_plus_what_is_left_of_the_bias(search: Search, dense: Dense) -> None:
    truth, _ = components(search, ("Intercept", "x1", "x2"))
    used, candidate = components(search, ("Intercept", "x2"), ("x1",))
    errors = focused_errors(search, candidate)
    under, least = dense.sandwich(used, truth), dense.sandwich(truth, truth)
    contrasts = np.eye(5)[[3, 4]]
    m = np.array([16.0, 16.0])  # 18 clusters, an intercept and z in each of the two equations
    f = inflation(m, spent(candidate.estimates, contrasts, m))
    assert search.context == (3, 4)
    assert f[0] > 1.0
    for k, (i, error) in enumerate(zip(search.context, errors, strict=True)):
        bias = candidate.solution.beta[i] - search.maximal.params.iloc[i]
        assert error.bias == pytest.approx(bias, abs=1e-6)
        assert error.variance == pytest.approx(under[i, i] * f[k], rel=1e-9)
        assert error.bias_variance == pytest.approx(under[i, i] - least[i, i], rel=1e-6)
        left = max(0.0, error.bias**2 - error.bias_variance)
        assert error.mse == pytest.approx(error.variance + left, rel=1e-12)


def test_the_maximal_model_has_no_bias_and_its_growth_curve_variance(search: Search) -> None:
    errors = focused_errors(search, search.candidate(search.maximal_structure))
    expected = search.maximal.tests("growth-curve")["std_error"].iloc[[3, 4]] ** 2
    np.testing.assert_allclose([error.variance for error in errors], expected, rtol=1e-7)
    np.testing.assert_allclose([[error.bias, error.bias_variance] for error in errors], 0.0, atol=1e-8)


@pytest.fixture(scope="module")
def clear() -> Exact:
    """Clusters whose own coefficients are known; the intercept goes with the slope of x1, and no other."""
    rng, made = np.random.default_rng(5), exact(seed=11)
    own = made.own.copy()
    own[:, 1:] = 1.0 + 0.5 * rng.standard_normal((15, 3))
    own[:, 0] = 1.0 + made.z + 3.0 * (own[:, 1] - 1.0) + 0.1 * rng.standard_normal(15)
    frame, codes = made.frame.copy(), made.frame["g"].to_numpy()
    x = frame[["x1", "x2", "x3"]].to_numpy()
    noise = 1e-5 * rng.standard_normal(len(frame))
    frame["y"] = np.sum(np.column_stack([np.ones(len(x)), x]) * own[codes], axis=1) + noise
    return Exact(frame=frame, own=own, z=made.z)


@pytest.fixture(scope="module")
def clear_choice(clear: Exact) -> Selection:
    return cl.select("y ~ x1 + x2 + x3 + z + (x1 + x2 + x3 | g)", clear.frame, criterion="focus", progress=False)


def test_in_large_clusters_it_is_the_choice_of_regressors(clear: Exact, clear_choice: Selection) -> None:
    # given the others' slopes, M's estimate is regression on z of b0 less their part of it
    search, m, both = clear_choice.search, 13, np.column_stack([np.ones(15), clear.z])
    share = np.linalg.inv(both.T @ both)[1, 1]
    psi = search.maximal.cov_re["g"].to_numpy()
    table = clear_choice.candidates.query("step == 2 and role == 'candidate'").set_index("structure")
    assert len(table) == 7
    for candidate in (one for found in clear_choice.rounds if found.step == 2 for one, _ in found.candidates):
        others = [int(name[1]) for name in candidate.structure.blocks[0][1:]]
        own, row, s = whole_factor(search, candidate), table.loc[candidate.structure.words], len(others)
        own = own @ own.T
        weights = np.zeros(4)
        weights[0], weights[others] = 1.0, -np.linalg.solve(own[np.ix_(others, others)], own[others, 0])
        price = m / (m - s) * (m - 1) / (m - s - 1) if s else 1.0
        assert row["z focus_variance"] == pytest.approx(weights @ psi @ weights * share * price, rel=2e-4)

        # with M's own covariance for the true one, it is Sp
        rss = float(np.linalg.lstsq(np.column_stack([both, clear.own[:, others]]), clear.own[:, 0], rcond=None)[1][0])
        assert row["z std_error"] ** 2 * price == pytest.approx(share * rss / m * price, rel=2e-4)


def test_it_finds_the_one_effect_that_makes_the_estimate_precise(clear_choice: Selection) -> None:
    assert clear_choice.structure.blocks[0] == ("Intercept", "x1")
    assert clear_choice.structure.n_correlations == 1
    assert clear_choice.fit.bse["z"] < 0.1 * clear_choice.candidates.query("step == 1")["z std_error"].min()


def test_step_1_is_decided_by_bic_and_step_2_by_the_focus(found: Selection) -> None:
    table = found.candidates
    first, second = table[table["step"] == 1], table[table["step"] == 2]
    n_clusters = 18
    np.testing.assert_allclose(first["criterion"], first["deviance"] + np.log(n_clusters) * first["n_params"])
    least = np.diag(found.maximal.vcov)[[3, 4]]
    relative = second[["z focus_mse", "x1:z focus_mse"]] / least
    np.testing.assert_allclose(second["criterion"], relative.mean(axis=1), rtol=1e-9)
    assert second.loc[second["chosen"], "criterion"].min() == second["criterion"].min()
    assert any("BIC" in reason for reason in first["reason"])
    assert all("focused error" in reason for reason in second["reason"] if reason.startswith("not kept"))


@pytest.mark.parametrize("criterion", ["focus", FocusBootstrap(draws=50)])
def test_the_order_of_the_rows_does_not_matter(data: pd.DataFrame, criterion: str | Criterion) -> None:
    asked = dict(criterion=criterion, context="z", progress=False)
    mixed_up = data.sample(frac=1.0, random_state=1)
    one, other = cl.select(FORMULA, data, **asked), cl.select(FORMULA, mixed_up, **asked)
    assert one.formula == other.formula
    columns = ["deviance", "criterion", "z focus_mse", "z focus_variance", "z estimate"]
    pd.testing.assert_frame_equal(one.candidates[columns], other.candidates[columns], rtol=1e-6)
    pd.testing.assert_frame_equal(one.averaged(), other.averaged(), rtol=1e-6)


def test_a_frequency_of_two_is_a_row_twice(data: pd.DataFrame) -> None:
    twice = pd.concat([data, data])
    asked = {"criterion": "focus", "context": "z", "progress": False}
    one = cl.select(FORMULA, twice, **asked)
    other = cl.select(FORMULA, data.assign(w=2), weights=cl.Frequency("w"), **asked)
    columns = ["criterion", "z focus_mse", "z focus_variance", "z focus_bias"]
    pd.testing.assert_frame_equal(one.candidates[columns], other.candidates[columns], rtol=1e-6, atol=1e-8)


def test_replicates_are_fits_to_the_rows_of_drawn_clusters(data: pd.DataFrame, search: Search) -> None:
    rng = np.random.default_rng(3)
    times = np.array([np.bincount(rng.integers(0, 18, 18), minlength=18) for _ in range(3)], dtype=np.float64)
    _, candidate = components(search, ("Intercept", "x2"), ("x1",))
    judge = FocusBootstrapJudge(search, BIC.judge(search), times)
    levels = search.design.factors[0].levels
    for row, drawn in zip(judge.replicates(candidate), times, strict=True):
        parts, names = [], [level for level, k in zip(levels, drawn, strict=True) for _ in range(int(k))]
        for number, level in enumerate(names):
            parts.append(data[data["g"] == level].assign(g=number))
        fit = cl.mixed("y ~ x1 + x2 + z + x1:z + blocks(1 + x2, x1 | g)", pd.concat(parts))
        np.testing.assert_allclose(row, fit.params[["z", "x1:z"]], rtol=1e-5)


def test_the_bootstrap_is_the_variance_of_replicates(data: pd.DataFrame) -> None:
    asked = dict(criterion=FocusBootstrap(draws=50), context="z", progress=False)
    found = cl.select(FORMULA, data, **asked)
    again, other = cl.select(FORMULA, data, **asked), cl.select(FORMULA, data, **asked, seed=2)
    column = "z focus_variance"
    pd.testing.assert_series_equal(found.candidates[column], again.candidates[column])
    assert not np.allclose(found.candidates[column].dropna(), other.candidates[column].dropna())
    judge = found.judge
    assert isinstance(judge, FocusBootstrapJudge)
    replicates = judge.replicates(found.chosen)[:, 0]
    chosen = found.candidates.query("step == 2 and chosen").iloc[0]
    assert chosen[column] == pytest.approx(np.var(replicates, ddof=1), rel=1e-12)
    assert found.candidates.query("step == 1")[column].isna().any()


def test_errors_of_replicates() -> None:
    rng = np.random.default_rng(1)
    draws, reference = rng.standard_normal((2, 40))
    error = resampled_errors(np.array([3.0, 1.0]), np.append(draws, np.nan), np.append(reference, 0.0))
    assert error.variance == pytest.approx(np.var(draws, ddof=1))
    assert error.bias_variance == pytest.approx(np.var(draws - reference, ddof=1))
    assert error.mse == pytest.approx(error.variance + 4.0 - error.bias_variance)
    few = resampled_errors(np.array([3.0, 1.0]), draws[:5], reference[:5])
    assert np.isnan(few.variance)
    assert np.isnan(few.mse)
    assert FocusedError(bias=0.1, bias_variance=1.0, variance=2.0).mse == 2.0


def test_averages() -> None:
    weights = smoothed_weights(np.array([4.0, 4.0 + 2.0 * np.log(3.0), np.nan]))
    np.testing.assert_allclose(weights, [0.75, 0.25, 0.0], rtol=1e-12)
    estimates, std_errors, df = (
        np.array([1.0, 2.0, np.nan]),
        np.array([0.5, 0.3, np.nan]),
        np.array([8.0, 13.0, np.nan]),
    )
    average = averaged(estimates, std_errors, df, weights, level=0.9)
    assert average.estimate == pytest.approx(1.25)
    assert average.std_error == pytest.approx(np.sqrt(0.75 * (0.25 + 0.0625) + 0.25 * (0.09 + 0.5625)))
    t, z = student.ppf(0.95, [8.0, 13.0]), norm.ppf(0.95)
    half = np.sqrt(0.75 * (t[0] ** 2 * 0.25 + z**2 * 0.0625) + 0.25 * (t[1] ** 2 * 0.09 + z**2 * 0.5625))
    np.testing.assert_allclose([average.low, average.high], [1.25 - half, 1.25 + half], rtol=1e-12)


def test_the_average_over_candidates(found: Selection) -> None:
    weights, second = found.weights, found.candidates.query("step == 2").drop_duplicates("structure")
    assert list(weights.index) == list(second["structure"])
    raw = second.set_index("structure")["z focus_mse"] ** (-16.0 / 2.0)
    np.testing.assert_allclose(weights["z"], raw / raw.sum(), rtol=1e-9)
    estimates = second.set_index("structure")["z estimate"]
    average = found.averaged()
    assert average.loc["z", "estimate"] == pytest.approx(float(weights["z"] @ estimates), rel=1e-9)
    wider = found.averaged(level=0.99)
    assert wider.loc["z", "conf_low"] < average.loc["z", "conf_low"] < average.loc["z", "estimate"]


def test_the_average_by_bic(data: pd.DataFrame) -> None:
    found = cl.select(FORMULA, data, criterion="bic", progress=False)
    second = found.candidates.query("step == 2").drop_duplicates("structure")
    raw = np.exp(-0.5 * (second["criterion"] - second["criterion"].min())).to_numpy()
    np.testing.assert_allclose(found.weights["z"], raw / raw.sum(), rtol=1e-9)
    alone = cl.select(FORMULA, data, criterion="bic", correlations="full", progress=False)
    tests, average = alone.fit.tests(), alone.averaged()
    columns = ["estimate", "std_error", "conf_low", "conf_high"]
    np.testing.assert_allclose(average.loc["z", columns], tests.loc["z", columns], rtol=1e-6)


def test_the_record_shows_averages_if_asked(data: pd.DataFrame, found: Selection) -> None:
    shown = cl.select(FORMULA, data, criterion="focus", average=True, progress=False)
    estimate = f"{shown.averaged().loc['z', 'estimate']:.4g}"
    assert f"z {estimate} (95 % interval" in shown.log
    assert "averaged over the candidates of step 2" in str(shown)
    assert "averaged" not in found.log
    assert "averaged" not in str(found)


def test_models_that_leave_no_degrees_of_freedom_are_not_preferred(data: pd.DataFrame) -> None:
    few = data[data["g"] < 5]
    found = cl.select(
        "y ~ x1 + x2 + z + (x1 + x2 | g)", few, criterion="focus", correlations="exhaustive", progress=False
    )
    chosen = found.candidates.query("chosen").iloc[-1]
    assert np.isfinite(chosen["criterion"])
    assert np.isfinite(chosen["z focus_mse"])


def refused(data: pd.DataFrame, formula: str = FORMULA, **asked: object) -> str:
    """What is said of a search that cannot be."""
    with pytest.raises(CrosslevelError) as error:
        cl.select(formula, data, progress=False, **({"criterion": "focus"} | asked))
    return str(error.value)


def test_wrong_input(data: pd.DataFrame) -> None:
    assert "no context effect to focus on" in refused(data, "y ~ x1 + x2 + (x1 + x2 | g)")
    assert "'w', which is no coefficient" in refused(data, context="w")
    assert "varies within the clusters of g" in refused(data, context="x2")
    assert "does not vary between clusters" in refused(data, "y ~ x1 + x2 + z + (0 + x1 + x2 | g)")
    assert "method='ml'" in refused(data, method="ml")
    nested = data.assign(h=data["g"] // 3)
    assert "several grouping factors" in refused(nested, "y ~ x1 + z + (x1 | g) + (1 | h)")
    assert "at least 50" in refused(data, criterion=FocusBootstrap(draws=10))


def test_too_many_effects_for_all_subsets(data: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crosslevel.selection.targets.MOST_OTHERS", 1)
    said = refused(data, correlations="target", components="off", keep=["x2"])
    assert "2 effects can be correlated with that of Intercept; at most 1 are searched" in said


def test_wrong_levels_and_criteria_without_weights(found: Selection, data: pd.DataFrame) -> None:
    with pytest.raises(CrosslevelError, match="`level` is a probability"):
        found.averaged(level=95)

    class Own(Criterion):
        name = title = description = "own"

        def prepare(self, search: Search) -> object:
            return lambda candidate: candidate.deviance

    own = cl.select(FORMULA, data, criterion=Own(), progress=False)
    assert isinstance(own.judge, Judge)
    with pytest.raises(CrosslevelError, match="gives no weights"):
        own.averaged()
    assert "gives no weights" in refused(data, criterion="lrt", average=True)
