"""Criteria of the search for the random-effects structure against what they are defined as, on rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from selection_data import simulated

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.inference.conditional_aic import conditional_aic
from crosslevel.selection.criteria import Criterion
from crosslevel.selection.cross_validation import folds_for
from crosslevel.selection.registry import CRITERIA
from crosslevel.solve import conditional_modes, solve

FORMULA = "y ~ x1*z + x2 + x3 + (x1 + x2 + x3 | g)"


def search(data: pd.DataFrame, formula: str = FORMULA, **given) -> cl.selection.record.Selection:
    return cl.select(formula, data, progress=False, **given)


def effective_parameters(fit: cl.estimators.mixed_fit.MixedFit, step: float) -> float:
    """trace(d yhat / d y) by refitting to outcomes of which one is moved up and down."""
    y, out = fit.data["y"].to_numpy(), 0.0
    start = fit.design.structure.nearest(fit.design.reduced.basis @ fit.solution.factors[0])
    for i in range(len(y)):
        fitted = []
        for sign in (1.0, -1.0):
            moved = y.copy()
            moved[i] += sign * step
            design = fit.design.with_response(moved)
            solution = solve(design.reduced, reml=fit.method == "reml", start=start)
            beta, (modes,) = solution.beta, [part[0] for part in conditional_modes(solution)]
            row = fit.data.iloc[i]
            effects = modes[list(design.factors[0].levels).index(row["g"])]
            fitted.append(np.array([1.0, row["x1"], row["z"]]) @ beta + np.array([1.0, row["x1"]]) @ effects)
        out += (fitted[0] - fitted[1]) / (2.0 * step)
    return out


@pytest.mark.parametrize(
    ("seed", "formula", "method"),
    [
        (2, "y ~ x1 + z + (x1 | g)", "reml"),
        (5, "y ~ x1 + z + (x1 | g)", "ml"),
        pytest.param(3, "y ~ x1 + z + (1 | g) + (0 + x1 | g)", "ml", marks=pytest.mark.slow),
    ],
    ids=["regular", "singular", "uncorrelated"],
)
def test_conditional_aic_counts_the_derivative_of_the_fitted_values(seed, formula, method) -> None:
    rng = np.random.default_rng(seed)
    n, g = 72, np.arange(72) % 9
    x, slope = rng.normal(size=n) + 1.0, (seed != 5) * rng.normal(size=9)
    y = x + rng.normal(size=9)[g] + slope[g] * x + rng.normal(size=n) + 50.0
    data = pd.DataFrame({"y": y, "x1": x, "z": rng.normal(size=9)[g], "g": g})
    fit = cl.mixed(formula, data, method=method)
    factor = fit.design.reduced.basis @ fit.solution.factors[0]
    found = conditional_aic(fit.design.reduced, factor, reml=method == "reml")
    assert fit.is_singular == (seed == 5)
    residual = y - fit.fitted.to_numpy()
    density = n * np.log(2.0 * np.pi * fit.sigma**2) + residual @ residual / fit.sigma**2
    np.testing.assert_allclose(found.deviance, density, rtol=1e-10)
    np.testing.assert_allclose(found.rho + found.estimated, effective_parameters(fit, 1e-3), rtol=1e-5)
    np.testing.assert_allclose(found.value, density + 2.0 * (found.rho + found.estimated + 1.0), rtol=1e-12)


def test_effective_parameters_of_known_covariances_are_the_trace_of_the_hat_matrix() -> None:
    data = simulated(seed=1, clusters=8, rows=10)
    fit = cl.mixed("y ~ x1 + z + (x1 | g)", data)
    x, z = np.column_stack([np.ones(80), data["x1"], data["z"]]), np.zeros((80, 16))
    for i, g in enumerate(data["g"]):
        z[i, 2 * g : 2 * g + 2] = 1.0, data["x1"][i]
    psi = np.kron(np.eye(8), fit.solution.factors[0] @ fit.solution.factors[0].T)
    v = np.linalg.inv(np.eye(80) + z @ psi @ z.T)
    a = v - v @ x @ np.linalg.solve(x.T @ v @ x, x.T @ v)
    found = conditional_aic(fit.design.reduced, fit.design.reduced.basis @ fit.solution.factors[0], reml=True)
    np.testing.assert_allclose(found.rho, 80.0 - np.trace(a), rtol=1e-9)


@pytest.mark.parametrize("weights", [None, cl.Precision("w")])
def test_cross_validation_is_the_density_of_clusters_left_out(weights) -> None:
    data = simulated(seed=3, clusters=12, rows=15, noise=1.5)
    data["w"] = np.random.default_rng(0).uniform(0.5, 2.0, len(data))
    found = search(data, "y ~ x1*z + x2 + (x1 + x2 | g)", criterion="cv", folds=4, seed=7, weights=weights)
    folds = folds_for(found.search)
    assert np.array_equal(np.sum(folds, axis=0), np.ones(12))
    for words in found.candidates["structure"].unique()[:4]:
        candidate = next(c for s, c in found.search.fitted.items() if s.words == words)
        blocks = [f"({' + '.join(['0', *b]).replace('0 + Intercept', '1')} | g)" for b in candidate.structure.blocks]
        total = 0.0
        for fold in folds:
            levels = np.array(found.maximal.design.factors[0].levels)[fold]
            inside = data["g"].isin(levels)
            fit = cl.mixed(" + ".join(["y ~ x1*z + x2", *blocks]), data[~inside], weights=weights)
            total += sum(density_of(fit, own, weights is not None) for _, own in data[inside].groupby("g"))
        value = found.candidates.query("structure == @words")["criterion"].iloc[0]
        np.testing.assert_allclose(value, total, atol=2e-5)


def density_of(fit: cl.estimators.mixed_fit.MixedFit, own: pd.DataFrame, weighted: bool) -> float:
    """-2 log density of the rows of a new cluster."""
    columns = {"Intercept": np.ones(len(own)), "x1:z": own["x1"] * own["z"], **{k: own[k] for k in ("x1", "x2", "z")}}
    mean = sum(fit.params[name] * np.asarray(columns[name]) for name in fit.params.index)
    names = fit.cov_re["g"].index
    z = np.column_stack([np.asarray(columns[name]) for name in names])
    noise = fit.sigma**2 / (own["w"].to_numpy() if weighted else np.ones(len(own)))
    covariance = z @ fit.cov_re["g"].to_numpy() @ z.T + np.diag(noise)
    return -2.0 * float(multivariate_normal(np.asarray(mean), covariance).logpdf(own["y"]))


def test_cross_validation_of_each_cluster_and_by_seed() -> None:
    data = simulated(seed=4, clusters=12, rows=20)
    formula = "y ~ x1*z + x2 + (x1 + x2 | g)"
    one, other = (search(data, formula, criterion="cv", folds=12, seed=seed) for seed in (1, 2))
    np.testing.assert_allclose(one.candidates["criterion"], other.candidates["criterion"], atol=1e-6)
    one, other = (search(data, formula, criterion="cv", folds=3, seed=seed) for seed in (1, 2))
    assert not np.allclose(one.candidates["criterion"], other.candidates["criterion"], atol=1e-3)
    again = search(data.sample(frac=1.0, random_state=0), formula, criterion="cv", folds=3, seed=1)
    np.testing.assert_allclose(one.candidates["criterion"], again.candidates["criterion"], atol=1e-5)


def test_cross_validation_where_a_cluster_is_needed() -> None:
    data = simulated(seed=5, clusters=10, rows=20)
    data["only"] = (data["g"] == 3) * data["x1"]
    with pytest.raises(CrosslevelError, match=r"`criterion` is 'cv', and without the clusters 3 .* not identified"):
        search(data, "y ~ x1 + only + (x1 | g)", criterion="cv", folds=10)


def test_likelihood_ratio_tests_are_those_of_the_library() -> None:
    data = simulated(seed=6, sds=(0.5, 0.4, 0.1, 0.0))
    found = search(data, criterion="lrt")
    table = found.candidates
    baseline = cl.mixed("y ~ x1*z + x2 + x3 + (1|g) + (0+x1|g) + (0+x2|g) + (0+x3|g)", data)
    tests = baseline.test_random()
    first = table.query("step == 1 and round == 1 and role == 'candidate'").set_index("dropped")
    for name in ("x2", "x3"):
        ours, theirs = first.loc[name], tests.loc[f"(0 + {name} | g)"]
        np.testing.assert_allclose(ours["delta"], theirs["statistic"], atol=1e-6)
        np.testing.assert_allclose(ours["criterion"], theirs["p_value"], atol=1e-6)
    step_2 = table.query("step == 2")
    full = step_2.iloc[0]
    for _, row in step_2.iloc[1:].iterrows():
        from scipy.stats import chi2

        df = full["n_params"] - row["n_params"]
        np.testing.assert_allclose(row["criterion"], chi2.sf(row["deviance"] - full["deviance"], df), rtol=1e-8)
    open_ = step_2[step_2["criterion"] > 0.05]
    assert step_2.loc[step_2["chosen"], "n_correlations"].iloc[0] == open_["n_correlations"].min()
    strict = search(data, criterion="lrt", alpha=0.9999)
    assert strict.structure.n_effects == 4


def test_lrt_with_a_slope_of_several_columns() -> None:
    data = simulated(seed=7, sds=(0.5, 0.4))
    data["f"] = np.random.default_rng(1).choice(["a", "b", "c"], len(data))
    found = search(data, "y ~ x1*z + f + (x1 + f | g)", criterion="lrt", correlations="none")
    first = found.candidates.query("step == 1 and dropped == 'f'").iloc[0]
    small = cl.mixed("y ~ x1*z + f + (1 | g) + (0 + x1 | g)", data)
    np.testing.assert_allclose(first["deviance"], small.deviance, atol=1e-7)
    assert 0.0 <= first["criterion"] <= 1.0


@pytest.mark.parametrize("name", ["bic", "bic-clusters", "aic", "caic", "lrt", "cv"])
@pytest.mark.parametrize("correlations", ["exhaustive", "stepwise"])
def test_the_routine_runs_with_every_criterion(name, correlations) -> None:
    data = simulated(seed=8, clusters=15, rows=25)
    found = search(data, criterion=name, correlations=correlations)
    assert {"Intercept", "x1"} <= set(found.structure.effects)
    assert CRITERIA[name].description.split(",")[0].split(" (")[0] in found.log
    assert found.candidates["chosen"].any()
    assert str(found)


def test_an_own_criterion() -> None:
    class Fewest(Criterion):
        name, title, description = "fewest", "count", "the number of random effects"

        def prepare(self, search):
            return lambda candidate: float(candidate.structure.n_parameters)

    found = search(simulated(seed=9), criterion=Fewest())
    assert found.structure.words == "Intercept, x1"


def test_what_is_not_worked_out() -> None:
    data = simulated(seed=10, clusters=8, rows=20)
    data["item"] = np.tile(np.arange(10), 16)
    for name in ("caic", "cv"):
        with pytest.raises(CrosslevelError, match=f"`criterion` is '{name}'.*several grouping factors"):
            search(data, "y ~ x1 + (x1 | g) + (1 | item)", criterion=name)
