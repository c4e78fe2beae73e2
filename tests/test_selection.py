"""The search for the random-effects structure: the routine, its candidates, its record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from selection_data import simulated
from selection_twin import Routine, all_partitions

import crosslevel as cl
from crosslevel.errors import DataWarning
from crosslevel.selection.structures import RandomStructure, bell

FIXED = "y ~ x1*z + x2 + x3"
MAXIMAL = f"{FIXED} + (x1 + x2 + x3 | g)"


def search(data: pd.DataFrame, formula: str = MAXIMAL, **given) -> cl.selection.record.Selection:
    return cl.select(formula, data, progress=False, **given)


def fresh(formula: str, data: pd.DataFrame, **given) -> cl.estimators.mixed_fit.MixedFit:
    """A fit from the rows; singular ones are meant."""
    return cl.mixed(formula, data, **given)


def plain(structure: RandomStructure) -> frozenset[frozenset[str]]:
    """A structure without any order."""
    return frozenset(frozenset("1" if name == "Intercept" else name for name in block) for block in structure.blocks)


# -- the routine against a plain one that refits from the rows -------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "sds", "correlation", "method", "criterion"),
    [
        (1, (0.5, 0.4, 0.0, 0.3), 0.0, "reml", "bic"),
        (2, (0.5, 0.4, 0.1, 0.15), 0.9, "ml", "aic"),
        (3, (0.0, 0.3, 0.25, 0.0), 0.0, "reml", "bic-clusters"),
    ],
)
def test_step_by_step_as_a_plain_routine_from_the_rows(seed, sds, correlation, method, criterion) -> None:
    data = simulated(seed=seed, sds=sds, correlation=correlation)
    cost = {"bic": np.log(len(data)), "aic": 2.0, "bic-clusters": np.log(24)}[criterion]
    twin = Routine(FIXED, "g", data, lambda fit: fit.deviance + cost * fit.n_params, method)
    dropped, final = twin.run(("1", "x1", "x2", "x3"), {"1", "x1"})
    found = search(data, method=method, criterion=criterion)
    table = found.candidates
    ours = table[(table["step"] == 1) & (table["role"] == "candidate") & table["chosen"]]
    assert ours["dropped"].tolist() == dropped
    assert plain(found.structure) == frozenset(frozenset(block) for block in final)
    assert found.candidates.query("step == 2").iloc[-1]["round"] == 1
    chosen = table[table["chosen"]].iloc[-1]
    np.testing.assert_allclose(chosen["criterion"], twin.value(final), atol=1e-6)


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ({"seed": 4, "correlation": 0.5}, "ml"),
        ({"seed": 5, "sds": (0.5, 0.4, 0.0, 0.0), "correlation": 0.99}, "reml"),
        ({"seed": 5, "sds": (0.5, 0.4, 0.0, 0.0), "correlation": 0.99}, "ml"),
        ({"seed": 6, "centre": (2000.0, -3.0, 0.5)}, "reml"),
        pytest.param({"seed": 7, "clusters": 6, "rows": 12, "noise": 3.0}, "reml", marks=pytest.mark.slow),
        pytest.param({"seed": 7, "clusters": 6, "rows": 12, "noise": 3.0}, "ml", marks=pytest.mark.slow),
    ],
    ids=["regular", "singular REML", "singular ML", "far from zero", "few clusters REML", "few clusters ML"],
)
def test_every_structure_has_the_deviance_of_a_fit_from_the_rows(given, method) -> None:
    data = simulated(**given)
    formula = "y ~ x1*z + x2 + x3 + (x1 + x2 + x3 | g)"
    found = search(data, formula, method=method, components="off")
    names = ("Intercept", "x1", "x2", "x3")
    for blocks in [*all_partitions(names), *all_partitions(names[:2]), *all_partitions(names[1:])]:
        ordered = sorted((tuple(sorted(block, key=names.index)) for block in blocks), key=lambda b: names.index(b[0]))
        structure = RandomStructure(blocks=tuple(ordered))
        candidate = found.search.candidate(structure)
        terms = [f"({' + '.join(['0', *block]).replace('0 + Intercept', '1')} | g)" for block in ordered]
        fit = fresh(" + ".join(["y ~ x1*z + x2 + x3", *terms]), data, method=method)
        tolerance = max(1e-7, 1e-12 * abs(fit.deviance))
        assert abs(candidate.deviance - fit.deviance) < tolerance, structure.words
        assert abs(candidate.solution.deviance - fit.deviance) < tolerance
        assert candidate.n_params == fit.n_params
        np.testing.assert_allclose(candidate.beta, fit.params, rtol=0, atol=3e-4 * fit.bse.max())
        np.testing.assert_allclose(candidate.sigma, fit.sigma, rtol=1e-5)


def test_candidates_with_weights_and_offset() -> None:
    data = simulated(seed=8, clusters=12, rows=30)
    rng = np.random.default_rng(8)
    data["times"], data["w"], data["known"] = rng.integers(1, 4, len(data)), rng.uniform(0.5, 2.0, len(data)), 0.1
    for weights in (cl.Frequency("times"), cl.Precision("w")):
        found = search(data, weights=weights, offset="known")
        assert found.formula == f"y ~ x1 + z + x2 + x3 + x1:z + {found.formula.partition('x1:z + ')[2]}"
        fit = fresh(found.formula, data, weights=weights, offset="known")
        assert abs(fit.deviance - found.fit.deviance) < 1e-7
        assert abs(found.chosen.deviance - fit.deviance) < 1e-7


def test_several_grouping_factors() -> None:
    data = simulated(seed=9, clusters=12, rows=40, sds=(0.5, 0.4, 0.0))
    data["item"] = np.tile(np.arange(20), 24)
    data["y"] += np.random.default_rng(1).normal(size=20)[data["item"]]
    formula = "y ~ x1*z + x2 + (x1 + x2 | g) + (1 | item)"
    found = search(data, formula)
    assert found.search.place == 0
    assert abs(fresh(found.formula, data).deviance - found.fit.deviance) < 1e-7
    assert "(1 | item)" in found.formula
    for name in found.candidates["structure"].unique()[-2:]:
        candidate = next(c for s, c in found.search.fitted.items() if s.words == name)
        terms = [f"({' + '.join(['0', *b]).replace('0 + Intercept', '1')} | g)" for b in candidate.structure.blocks]
        fit = fresh(" + ".join(["y ~ x1*z + x2 + (1 | item)", *terms]), data)
        assert abs(candidate.deviance - fit.deviance) < 1e-6


@pytest.mark.slow
def test_residual_structures() -> None:
    data = simulated(seed=9, clusters=10, rows=16, sds=(0.5, 0.4, 0.0))
    data["half"] = np.where(np.arange(len(data)) % 2, "a", "b")
    found = search(data, "y ~ x1*z + x2 + (x1 + x2 | g)", residual=cl.residual.By("half"), correlations="none")
    fit = fresh(found.formula, data, residual=cl.residual.By("half"))
    assert abs(fit.deviance - found.fit.deviance) < 1e-6
    assert found.candidates["criterion"].notna().all()


# -- the formula of the choice ---------------------------------------------------------------------------------------


def check_same_fit(found: cl.selection.record.Selection, data: pd.DataFrame) -> None:
    """The chosen fit is what `mixed` makes of its formula."""
    fit = fresh(found.formula, data)
    assert abs(fit.deviance - found.fit.deviance) < 1e-7
    assert fit.n_params == found.fit.n_params
    np.testing.assert_allclose(fit.theta, found.fit.theta, rtol=0, atol=1e-4)
    pd.testing.assert_series_equal(fit.params, found.fit.params, rtol=1e-6)
    pd.testing.assert_frame_equal(fit.tidy(), found.fit.tidy(), rtol=1e-4)
    names = found.maximal.design.factors[0].name
    assert fit.cov_re[names].shape == found.fit.cov_re[names].shape


@pytest.mark.parametrize("correlations", ["exhaustive", "full", "none", "stepwise"])
def test_the_formula_gives_the_chosen_fit(correlations) -> None:
    data = simulated(seed=10, correlation=0.95, sds=(0.6, 0.5, 0.3, 0.3))
    found = search(data, correlations=correlations)
    check_same_fit(found, data)
    assert found.fit.test_random().index[-1] == "all"
    assert str(found.fit.summary())
    blocks = {"full": 1, "none": 4}.get(correlations)
    assert blocks is None or len(found.structure.blocks) == blocks


def test_truth_values_and_numbers_as_categories_in_the_formula() -> None:
    data = simulated(seed=26, sds=(0.5, 0.4))
    rng = np.random.default_rng(4)
    data["b"], data["k"] = rng.random(len(data)) > 0.5, rng.choice([1, 2, 5], len(data))
    found = search(data, "y ~ x1*z + b + C(k) + (x1 + b + C(k) | g)", keep=["b", "C(k)"], correlations="none")
    fit = fresh(found.formula, data)
    assert abs(fit.deviance - found.fit.deviance) < 1e-7
    pd.testing.assert_series_equal(fit.bse, found.fit.bse, rtol=1e-5)


@pytest.mark.parametrize("keep", [["f"], ["f[b]"], ["f", "my x"]])
def test_categories_and_odd_names_in_the_formula(keep) -> None:
    data = simulated(seed=11, sds=(0.5, 0.4, 0.3)).rename(columns={"x2": "my x"})
    rng = np.random.default_rng(3)
    data["f"] = rng.choice(["a", "b", "it's c"], len(data))
    data["y"] += np.where(data["f"] == "b", rng.normal(0.0, 0.8, 24)[data["g"]], 0.0)
    found = search(data, "y ~ x1*z + `my x` + f + (x1 + `my x` + f | g)", keep=keep, correlations="none")
    assert found.search.units[-1].effects == ("f[b]", "f[it's c]")
    assert "I(1.0 * (f == 'b'))" in found.formula
    fit = fresh(found.formula, data)  # its random slopes have other names than the fixed columns: other df of these
    assert abs(fit.deviance - found.fit.deviance) < 1e-7
    pd.testing.assert_series_equal(fit.params, found.fit.params, rtol=1e-6)
    pd.testing.assert_series_equal(fit.bse, found.fit.bse, rtol=1e-5)
    found = search(data, "y ~ x1*z + `my x` + f + (x1 + `my x` + f | g)", keep=keep, correlations="full")
    assert "I(" not in found.formula
    check_same_fit(found, data)


def test_interactions_stay_before_their_parts() -> None:
    data = simulated(seed=12, sds=(0.5, 0.0, 0.0))
    data["y"] += data["x1"] * data["x2"] * np.random.default_rng(0).normal(0.0, 0.5, 24)[data["g"]]
    found = search(data, "y ~ x1*x2 + z + (x1*x2 | g)")
    assert set(found.structure.effects) == {"Intercept", "x1", "x2", "x1:x2"}
    check_same_fit(found, data)


def test_blocks_of_the_maximal_model_are_not_joined() -> None:
    data = simulated(seed=10, correlation=0.95, sds=(0.6, 0.5, 0.3, 0.3))
    found = search(data, f"{FIXED} + (x1 | g) + (0 + x2 + x3 | g)")
    tried = {words for words in found.candidates.query("step == 2")["structure"]}
    assert tried == {"Intercept ~ x1, x2 ~ x3", "Intercept ~ x1, x2, x3", "Intercept, x1, x2 ~ x3",
                     "Intercept, x1, x2, x3"}  # fmt: skip
    found = search(data, f"{FIXED} + (x1 + x2 + x3 || g)")
    assert found.structure.n_correlations == 0


# -- what may not go -------------------------------------------------------------------------------------------------


def test_slopes_that_are_never_dropped() -> None:
    data = simulated(seed=13, sds=(0.0, 0.0, 0.0, 0.0))
    found = search(data, components="off")
    assert found.structure.effects == ("Intercept", "x1")
    kept = {unit.name: unit.kept for unit in found.search.units}
    assert "x1:z" in kept["x1"]
    assert "intercept" in kept["Intercept"]
    assert kept["x2"] == ""
    found = search(data, keep=["x3"], components="off")
    assert found.structure.effects == ("Intercept", "x1", "x3")
    assert "never dropped" in found.log.lower()


def test_the_random_intercept_may_go_if_allowed() -> None:
    data = simulated(seed=25, sds=(0.0, 0.4, 0.3, 0.0))
    data["y"] -= data.groupby("g")["y"].transform("mean") - 0.2 * data["z"]
    found = search(data, keep_intercept=False, components="off")
    assert found.structure.effects == ("x1", "x2")
    assert search(data, components="off").structure.effects == ("Intercept", "x1", "x2")
    check_same_fit(found, data)
    assert str(found)


def test_components_force_a_simpler_model_as_published() -> None:
    """x1 is kept and has no variance: the published rule goes on to drop slopes that vary; the curable one does not."""
    for seed in range(100, 120):
        data = simulated(seed=seed, sds=(0.5, 0.0, 0.4, 0.4))
        off = search(data, components="off")
        if off.candidates.loc[1, "rank"] == 3:
            break
    assert off.candidates.loc[1, "rank"] == 3
    published, curable = search(data), search(data, components="curable")
    assert published.structure.effects == ("Intercept", "x1")
    assert curable.structure == off.structure
    assert set(off.structure.effects) == {"Intercept", "x1", "x2", "x3"}
    assert any("components='curable'" in note for note in published.notes)
    assert "although the BIC became no better" in published.log
    assert published.candidates["reason"].str.contains("principal components").any()
    assert not any("components" in note for note in curable.notes)


def test_share_of_the_components() -> None:
    data = simulated(seed=15, sds=(2.0, 0.5, 0.1, 0.5), rows=400)
    assert "x2" in search(data).structure.effects
    assert "x2" not in search(data, share=0.99).structure.effects


# -- the record ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found() -> cl.selection.record.Selection:
    return search(simulated(seed=16, correlation=0.9, sds=(0.6, 0.5, 0.0, 0.3)))


def test_the_record_has_every_candidate(found) -> None:
    table = found.candidates
    step_2 = table[table["step"] == 2]
    assert len(step_2) == bell(found.structure.n_effects)
    assert step_2["structure"].is_unique
    assert table.loc[0, "structure"] == "Intercept ~ x1 ~ x2 ~ x3"
    assert (
        table.loc[0, "deviance"] == found.maximal.deviance
        or abs(table.loc[0, "deviance"] - found.maximal.deviance) < 1e-8
    )
    np.testing.assert_allclose(
        table["criterion"], table["deviance"] + np.log(found.maximal.nobs) * table["n_params"], rtol=1e-12
    )
    best = step_2.loc[step_2["criterion"].idxmin()]
    assert best["chosen"]
    assert best["structure"] == found.structure.words
    assert table["converged"].all()
    assert table["reason"].str.len().min() > 10
    row = step_2[step_2["chosen"]].iloc[0]
    assert row["z estimate"] == pytest.approx(found.fit.params["z"], abs=1e-5)
    tests = found.fit.tests("m-l-1")
    for what in ("std_error", "conf_low", "conf_high"):
        assert row[f"x1:z {what}"] == pytest.approx(tests.loc["x1:z", what], rel=1e-4)


def test_ranks_are_those_of_the_fit(found) -> None:
    row = found.candidates[found.candidates["chosen"]].iloc[-1]
    assert found.fit.rank_re().supported["nonzero"].tolist() == [row["rank"]]
    whole = found.maximal.rank_re().supported["nonzero"].tolist()
    assert whole == [found.candidates.loc[0, "rank"]]


def test_a_minimum_that_was_missed_is_found_from_a_simpler_structure() -> None:
    data = simulated(seed=16, correlation=0.9, sds=(0.6, 0.5, 0.0, 0.3))
    looked = search(data, components="off").search
    full = looked.candidate(looked.maximal_structure)
    simpler = looked.candidate(looked.structure([[unit] for unit in looked.units]))
    right = full.deviance
    assert right < simpler.deviance
    looked.found[full.structure] = replace(full.found, deviance=simpler.deviance + 1.0)
    looked.settle(full, simpler)
    np.testing.assert_allclose(full.deviance, right, atol=1e-7)
    before = looked.found[full.structure]
    looked.settle(full, simpler)
    assert looked.found[full.structure] is before


def test_the_path_ends_with_the_choice(found) -> None:
    assert found.path.iloc[0]["structure"] == "Intercept ~ x1 ~ x2 ~ x3"
    assert found.path.iloc[-1]["structure"] == found.structure.words


def test_two_runs_and_other_orders_give_the_same() -> None:
    data = simulated(seed=17, sds=(0.5, 0.3, 0.1, 0.2))
    one, two = search(data), search(data)
    pd.testing.assert_frame_equal(one.candidates, two.candidates, check_exact=True)
    assert one.log == two.log
    shuffled = search(data.sample(frac=1.0, random_state=1))
    assert shuffled.structure == one.structure
    pd.testing.assert_frame_equal(
        shuffled.candidates.drop(columns="reason"), one.candidates.drop(columns="reason"), rtol=1e-5, atol=1e-6
    )
    other = search(data, f"{FIXED} + (x3 + x1 + x2 | g)")
    assert plain(other.structure) == plain(one.structure)


def test_units_of_measurement_do_not_matter() -> None:
    data = simulated(seed=18, sds=(0.5, 0.3, 0.1, 0.2))
    one = search(data)
    scaled = search(data.assign(x1=1e4 * data["x1"], x2=1e-3 * data["x2"], y=50.0 * data["y"]))
    assert scaled.structure == one.structure
    assert scaled.candidates["rank"].tolist() == one.candidates["rank"].tolist()
    for column in ("deviance", "criterion"):  # another unit moves all deviances of a search by the same
        change = scaled.candidates[column] - one.candidates[column]
        np.testing.assert_allclose(change, change[0], atol=1e-6)


def test_ties_go_to_the_simplest_and_then_to_the_first_name() -> None:
    """x2 and x3 both have no variance, so that models without one or the other are equally good."""
    for seed in range(60, 100):
        data = simulated(seed=seed, sds=(0.5, 0.4, 0.0, 0.0))
        found = search(data)
        if found.candidates.loc[1, "rank"] == 2:
            break
    assert found.candidates.loc[1, "rank"] == 2
    for other in (found, search(data, f"{FIXED} + (x1 + x3 + x2 | g)")):
        first = other.candidates.query("step == 1 and round == 1 and role == 'candidate'")
        assert np.ptp(first["criterion"]) < 1e-6
        assert first.loc[first["chosen"], "dropped"].tolist() == ["x3"]


def test_search_of_what_cannot_be_searched_stays_quiet() -> None:
    data = simulated(seed=20)
    found = search(data, "y ~ x1 + z + (1 | g)")
    assert found.structure.effects == ("Intercept",)
    assert found.formula == "y ~ x1 + z + (1 | g)"
    assert "only random effect" in found.log


def test_more_random_effects_than_clusters() -> None:
    data = simulated(seed=21, clusters=4, rows=80, sds=(0.5, 0.4, 0.3, 0.2))
    with pytest.warns(DataWarning, match="4 random effects and 4 clusters"):
        found = search(data, "y ~ x1 + x2 + x3 + (x1 + x2 + x3 | g)")
    assert any("4 clusters" in note for note in found.notes)
    check_same_fit(found, data)
