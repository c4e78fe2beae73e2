"""Influence of single rows and of parts of clusters: against refits from the rows, and of what is left of clusters."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference_cases import load_data

import crosslevel as cl
from crosslevel.design.products import CrossProducts
from crosslevel.diagnostics.influence import _mixed_refits
from crosslevel.errors import CrosslevelError
from crosslevel.inference.bootstrap.batch import values_of
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.deletions import Deletions

HSB = "mathach ~ within(ses, school) * sector + within(ses, school) * meanses + (within(ses, school) | school)"


@cache
def schools() -> pd.DataFrame:
    """A few schools, cut to some rows, two of them to one row, with columns that need no centring."""
    data = cl.datasets.load("hsb")
    few = data[data["school"].isin(data["school"].unique()[:14])].copy()
    few["school"] = few["school"].astype(str)
    place = few.groupby("school").cumcount()
    rank = few["school"].map({name: k for k, name in enumerate(few["school"].unique())})
    few = few[(place < 12) & ((rank > 1) | (place == 0))]
    few["dev"] = few["ses"] - few.groupby("school")["ses"].transform("mean")
    few["w"] = 1.0 + np.arange(len(few)) % 3
    few["half"] = few["school"] + "-" + (few.groupby("school").cumcount() % 2).astype(str)
    few["label"] = [f"pupil {k}" for k in range(len(few))]
    return few.set_index("label")


def quiet(fit: Any, *args: Any, **given: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.ConvergenceWarning)
        return fit(*args, **given)


def compare(found: Any, label: str, refit: Any) -> None:
    """All numbers without one row against a fit to the others."""
    terms = list(refit.params.index)
    table = refit.tidy()
    assert (np.abs(found.estimates.loc[label, terms] - refit.params) / refit.bse).max() < 1e-6
    np.testing.assert_allclose(found.std_errors.loc[label, terms], table["std_error"], rtol=1e-6)
    np.testing.assert_allclose(found.p_values.loc[label, terms], table["p_value"], rtol=1e-4, atol=1e-12)
    parameters = values_of(refit.design, refit.solution)[len(terms) :]
    np.testing.assert_allclose(found.variances.loc[label], parameters, rtol=1e-4, atol=1e-4)


ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "slopes as outcomes": ("mathach ~ dev * sector + meanses + (dev | school)", {"ddf": "m-l-1"}),
    "intercept, full likelihood": ("mathach ~ ses + (1 | school)", {"method": "ml"}),
    "no correlation": ("mathach ~ ses + meanses + (ses || school)", {"ddf": "satterthwaite"}),
    "precision": ("mathach ~ ses + (ses | school)", {"weights": cl.Precision("w"), "ddf": "residual"}),
    "frequency": ("mathach ~ ses + (ses | school)", {"weights": cl.Frequency("w"), "ddf": "between-within"}),
    "compound symmetry": ("mathach ~ ses + cs(1 + ses | school)", {}),
    "no fixed slope": ("mathach ~ meanses + (ses | school)", {"ddf": "m-l-1"}),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_against_refits(name: str) -> None:
    formula, given = ROWS[name]
    # structures without free elements of Lambda are fitted one by one
    data = schools().iloc[:: 3 if name == "compound symmetry" else 1]
    fit = quiet(cl.mixed, formula, data, **given)
    found = quiet(cl.influence, fit, by="rows")
    assert found.estimates.index.name == "row"
    assert list(found.estimates.index) == list(data.index)
    # the first row is all of its school
    for label in (data.index[0], data.index[7], data.index[-1]):
        compare(found, label, quiet(cl.mixed, formula, data.drop(label), **given))


def test_parts_of_clusters_against_refits() -> None:
    formula = "mathach ~ dev * sector + meanses + (dev | school)"
    data = schools()
    found = cl.influence(cl.mixed(formula, data, ddf="m-l-1"), by="half")
    for half in found.estimates.index[[0, 5, 9]]:
        compare(found, half, quiet(cl.mixed, formula, data[data["half"] != half], ddf="m-l-1"))


def test_a_row_that_has_nearly_all_of_a_clusters_scatter() -> None:
    """What is left of the scatter is summed anew: by subtraction it would have lost nearly all of its digits."""
    data = schools().assign(x=lambda frame: frame["ses"])
    label = data.index[30]
    data.loc[label, "x"] = 1e7
    formula = "mathach ~ x + (1 | school)"
    found = cl.influence(cl.mixed(formula, data), by="rows")
    compare(found, label, cl.mixed(formula, data.drop(label)))
    assert found.cooks_distance.idxmax() == label


def test_compiled_refits_are_those_of_the_ordinary_solver() -> None:
    fit = cl.mixed(HSB, cl.datasets.load("hsb"))
    clusters = Clustering(
        name="school", levels=fit.design.factors[0].levels, codes=fit.design.used_codes(fit.design.factors[0])
    )
    refits = _mixed_refits(fit, clusters)
    fast = refits.each(0, 20)
    for place, own in enumerate(fast):
        slow = refits.fit(place)
        assert np.abs((own.values - slow.values)[: len(own.df)] / slow.std_error).max() < 1e-7
        np.testing.assert_allclose(own.values, slow.values, rtol=1e-6)
        np.testing.assert_allclose(own.vcov, slow.vcov, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(own.df, slow.df)


@pytest.mark.parametrize("weights", [None, cl.Precision("w"), cl.Frequency("w")])
def test_what_is_left_of_clusters_against_sums_of_the_rows(weights: Any) -> None:
    data = schools()
    design = cl.mixed("mathach ~ ses * sector + (ses | school)", data, weights=weights).design
    rng = np.random.default_rng(4)
    codes = np.concatenate([np.arange(5), rng.integers(0, 5, len(data) - 5)]).astype(np.int32)
    codes[design.used_codes(design.factors[0]) == 4] = 3
    deletions = Deletions(design=design, sets=Clustering(name="set", levels=tuple(range(5)), codes=codes))
    pieces = deletions.pieces(1, 5)
    block = np.concatenate([part for part, _, _ in design.blocks()], axis=1)
    groups = design.used_codes(design.factors[0])
    for d in range(4):
        for k in range(pieces.first[d], pieces.first[d + 1]):
            own = (groups == pieces.group[k]) & (codes != d + 1)
            assert np.any((groups == pieces.group[k]) & (codes == d + 1))
            if not own.any():
                assert pieces.gone[k]
                continue
            fresh = CrossProducts.from_rows(
                block[:, own], np.zeros(own.sum(), dtype=np.int32), names=design.products.names, levels=(0,),
                weights=None if weights is None else data["w"].to_numpy()[own],
                precision=isinstance(weights, cl.Precision),
            )  # fmt: skip
            left = pieces.products
            assert left.count[k] == pytest.approx(fresh.count[0], rel=1e-12)
            np.testing.assert_allclose(left.mean[k] + left.origin, fresh.mean[0] + fresh.origin, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(left.scatter[k], fresh.scatter[0], rtol=1e-9, atol=1e-9)
            if left.precision is not None and fresh.precision is not None:
                assert left.precision.rows[k] == fresh.precision.rows[0]
                assert left.precision.log_weight[k] == pytest.approx(fresh.precision.log_weight[0], abs=1e-12)


def test_rows_of_crossed_factors_and_of_other_families() -> None:
    pills = load_data("Penicillin").iloc[:18].reset_index(drop=True)
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    found = cl.influence(cl.mixed(formula, pills), by="rows")
    for row in (0, 10):
        compare(found, str(row), cl.mixed(formula, pills.drop(row)))
    answers = load_data("Contraception").iloc[::40].reset_index(drop=True)
    formula = "use ~ age + (1 | district)"
    given: dict[str, Any] = {"family": "binomial", "quadrature": 5}
    found = quiet(cl.influence, quiet(cl.mixed, formula, answers, **given), by="rows")
    refit = quiet(cl.mixed, formula, answers.drop(11), **given)
    np.testing.assert_allclose(found.estimates.loc["11"], refit.params, rtol=1e-4)


# -- what the record says -----------------------------------------------------------------------------------------
def test_record_of_rows() -> None:
    data = schools()
    fit = cl.mixed("mathach ~ dev * sector + meanses + (1 | school)", data)
    found = cl.influence(fit, by="rows")
    assert found.by_rows
    assert set(found.context) == {"sector[Catholic]", "meanses", "dev:sector[Catholic]"}
    np.testing.assert_allclose(found.leverage, cl.leverage(fit).rows["leverage"], rtol=1e-12)
    assert f"without each of {len(data)} rows" in found.sentences[0]
    assert "Most influential rows" in str(found)
    figure = cl.plot.influence(found, "meanses")
    assert figure.axes[0].get_xlabel() == "Coefficient of meanses without one row"
    named = cl.influence(fit)
    np.testing.assert_allclose(named.leverage, cl.leverage(fit).clusters["school"]["leverage"], rtol=1e-12)


def test_changes_of_variances_and_context_effects() -> None:
    data = schools()
    found = cl.influence(cl.mixed("mathach ~ dev * sector + meanses + (1 | school)", data))
    whole = found.variances - found.variance_changes
    np.testing.assert_allclose(whole, np.tile(found.whole[-2:], (len(found.levels), 1)), rtol=1e-12)
    np.testing.assert_allclose(found.frame["change sigma"], found.variance_changes["sigma"])
    np.testing.assert_allclose(np.log(found.covratio), found.log_covratio, rtol=1e-10)
    effects = found.context_effects
    assert list(effects["term"].unique()) == list(found.context)
    own = effects[effects["term"] == "meanses"].set_index("school")
    np.testing.assert_array_equal(own["change"], found.changes["meanses"])
    np.testing.assert_array_equal(own["sign_changes"], found.turned("meanses"))


def test_decisive_clusters_are_named_with_a_light() -> None:
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(12), 30)
    z = np.repeat(np.append(rng.normal(size=11), 6.0), 30)
    shift = np.repeat(np.append(rng.normal(0, 0.1, 11), 4.0), 30)
    data = pd.DataFrame({"g": [f"c{k:02d}" for k in group], "z": z, "y": shift + rng.normal(size=len(z))})
    found = cl.influence(cl.mixed("y ~ z + (1 | g)", data))
    assert found.decisive["g"].tolist() == ["c11"]
    assert found.decisive["test_changes"].tolist() == [True]
    assert found.concern in ("look", "act")
    assert found.sentences[-1].endswith("Report both results, and look at the cluster.")
    calm = cl.influence(cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy")))
    assert calm.concern == "none"
    assert not len(calm.decisive)


def test_a_column_named_rows_is_ambiguous() -> None:
    data = schools().assign(rows=1.0)
    with pytest.raises(CrosslevelError, match="a column of that name"):
        cl.influence(cl.mixed("mathach ~ ses + (1 | school)", data), by="rows")
