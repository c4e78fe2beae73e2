"""What an outcome of another family may be, and how wrong ones are refused."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

import crosslevel as cl
from crosslevel import families
from crosslevel.errors import ColumnNotFoundError, CrosslevelError, DataError, DesignError, FormulaError


@pytest.fixture(scope="module")
def data():
    """Rows of 20 clusters with every kind of outcome."""
    rng = np.random.default_rng(7)
    n, groups = 200, 20
    frame = pd.DataFrame({"g": np.arange(n) % groups, "x": rng.normal(size=n), "size": rng.integers(3, 9, n)})
    eta = 0.5 * frame["x"] + rng.normal(size=groups)[frame["g"]]
    chance = 1.0 / (1.0 + np.exp(-eta))
    frame["y"] = (rng.random(n) < chance).astype(int)
    frame["truth"] = frame["y"] == 1
    frame["answer"] = np.where(frame["y"] == 1, "yes", "no")
    frame["successes"] = rng.binomial(frame["size"], chance)
    frame["failures"] = frame["size"] - frame["successes"]
    frame["share"] = frame["successes"] / frame["size"]
    frame["count"] = rng.poisson(np.exp(0.3 * eta) * frame["size"])
    latent = eta + rng.logistic(size=n)
    frame["level"] = pd.cut(latent, [-np.inf, -1, 1, np.inf], labels=["low", "middle", "high"])
    frame["amount"] = rng.gamma(3.0, np.exp(0.3 * eta) / 3.0)
    frame["id"] = np.arange(n)
    return frame


def fit(outcome, data, family="binomial", **given):
    return cl.mixed(f"{outcome} ~ x + (1 | g)", data, family=family, quadrature=given.pop("quadrature", 1), **given)


# -- one outcome in several forms -----------------------------------------------------------------------------------
@pytest.mark.parametrize("outcome", ["truth", "answer", "I(y == 1)", "cbind(y, 1 - y)"])
def test_yes_or_no_may_be_written_in_many_ways(data, outcome):
    ours, plain = fit(outcome, data), fit("y", data)
    np.testing.assert_allclose(ours.params, plain.params, rtol=1e-9)
    assert abs(ours.deviance - plain.deviance) < 1e-9


@pytest.mark.parametrize(
    ("outcome", "given"),
    [
        ("cbind(successes, size - successes)", {}),
        ("share", {"trials": "size"}),
        ("successes", {"trials": "size"}),
    ],
)
def test_trials_may_be_given_in_many_ways(data, outcome, given):
    ours, pair = fit(outcome, data, **given), fit("cbind(successes, failures)", data)
    np.testing.assert_allclose(ours.params, pair.params, rtol=1e-9)
    assert abs(ours.deviance - pair.deviance) < 1e-9


def test_trials_may_be_numbers(data):
    one = cl.mixed("share ~ x + (1 | g)", data, family="binomial", trials=data["size"], quadrature=1)
    assert abs(one.deviance - fit("share", data, trials="size").deviance) < 1e-9


def test_other_frames(data):
    frame = pl.from_pandas(data).with_columns(pl.col("level").cast(pl.Enum(["low", "middle", "high"])))
    for outcome in ("answer", "truth", "level"):
        family = "ordinal" if outcome == "level" else "binomial"
        ours, plain = fit(outcome, frame, family), fit(outcome, data, family)
        np.testing.assert_allclose(ours.params, plain.params, rtol=1e-9)


def test_aggregated_rows_are_the_rows(data):
    cells = data.assign(x=np.round(data["x"])).groupby(["g", "x"], as_index=False).agg(y=("y", "sum"), n=("y", "size"))
    rows = fit("y", data.assign(x=np.round(data["x"])))
    together = fit("cbind(y, n - y)", cells)
    np.testing.assert_allclose(together.params, rows.params, rtol=1e-7)
    np.testing.assert_allclose(together.bse, rows.bse, rtol=1e-6)
    np.testing.assert_allclose(together.cov_re["g"], rows.cov_re["g"], rtol=1e-6)


# -- symmetries -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("quadrature", [1, 7])
@pytest.mark.parametrize("link", ["logit", "probit"])
def test_success_and_failure_may_be_swapped(data, link, quadrature):
    family = families.Binomial(link=link)
    one = fit("cbind(successes, failures)", data, family, quadrature=quadrature)
    other = fit("cbind(failures, successes)", data, family, quadrature=quadrature)
    np.testing.assert_allclose(other.params, -one.params, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(other.bse, one.bse, rtol=1e-6)
    assert abs(one.deviance - other.deviance) < 1e-8


def test_the_order_of_categories_may_be_reversed(data):
    back = data.assign(level=data["level"].cat.reorder_categories(["high", "middle", "low"]))
    one, other = fit("level", data, "ordinal"), fit("level", back, "ordinal")
    np.testing.assert_allclose(other.params, -one.params, rtol=1e-6)
    np.testing.assert_allclose(other.thresholds()["estimate"], -one.thresholds()["estimate"][::-1], rtol=1e-6)


@pytest.mark.parametrize(("outcome", "family"), [("y", "binomial"), ("count", "poisson"), ("amount", "gamma")])
def test_a_constant_offset_moves_the_intercept(data, outcome, family):
    one, other = fit(outcome, data, family), fit(outcome, data.assign(o=2.0), family, offset="o")
    np.testing.assert_allclose(other.params - one.params, [-2.0, 0.0], atol=1e-7)
    assert abs(one.deviance - other.deviance) < 1e-8


def test_exposure_is_the_offset_of_its_logarithm(data):
    one = fit("count", data, "poisson", exposure="size")
    other = fit("count", data.assign(o=np.log(data["size"])), "poisson", offset="o")
    assert abs(one.deviance - other.deviance) < 1e-9
    new = {"x": [0.0, 0.0], "g": [0, 0], "size": [1.0, 10.0]}
    np.testing.assert_allclose(one.predict(new)[1], 10.0 * one.predict(new)[0])


def test_rows_twice_are_frequencies_of_two(data):
    twice = pd.concat([data, data], ignore_index=True)
    rows = fit("y", twice)
    weighted = fit("y", data.assign(w=2.0), weights=cl.Frequency("w"))
    np.testing.assert_allclose(weighted.params, rows.params, rtol=1e-7)
    np.testing.assert_allclose(weighted.bse, rows.bse, rtol=1e-6)
    assert abs(weighted.deviance - rows.deviance) < 1e-8
    assert weighted.nobs == rows.nobs == 400


# -- missing values -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("outcome", "column"), [("answer", "answer"), ("cbind(successes, failures)", "failures")])
def test_missing_outcomes_are_counted(data, outcome, column):
    some = data.assign(**{column: data[column].where(data.index >= 13)})
    found = fit(outcome, some)
    assert found.rows.missing == {column: 13}
    assert found.outcome.n == 187
    assert "13 of 200 rows" in found.notes[0]


def test_missing_trials_and_exposures_are_counted(data):
    some = data.assign(size=data["size"].where(data.index >= 5))
    assert fit("share", some.assign(share=data["share"]), trials="size").rows.missing == {"size": 5}
    assert fit("count", some, "poisson", exposure="size").rows.missing == {"size": 5}


# -- refused --------------------------------------------------------------------------------------------------------
def refused(kind, match, formula, data, **given):
    given = {"family": "binomial", **given}
    with pytest.raises(kind, match=match):
        cl.mixed(formula, data, **given)


def test_outcomes_that_are_not_binary(data):
    refused(DataError, r"proportions, for instance .* trials='n'", "share ~ x + (1 | g)", data)
    refused(DataError, r"I\(two == 2\)", "two ~ x + (1 | g)", data.assign(two=data["y"] + 1))
    refused(DataError, r"cbind\(successes, n - successes\)", "successes ~ x + (1 | g)", data)
    refused(DataError, r"3 labels .*I\(level == 'high'\).*'ordinal'", "level ~ x + (1 | g)", data)
    refused(DesignError, "which is 1 in all 200 rows", "one ~ x + (1 | g)", data.assign(one=1))
    refused(DesignError, "which is yes in all 200 rows", "one ~ x + (1 | g)", data.assign(one="yes"))


def test_pairs_that_are_none(data):
    refused(FormulaError, r"cbind\(cases, size - cases\)", "cbind(y) ~ x + (1 | g)", data)
    refused(DataError, "failures have to be whole numbers", "cbind(size, successes - size) ~ x + (1 | g)", data)
    refused(DataError, "has no trials in 4 of the 200", "cbind(a, b) ~ x + (1 | g)",
            data.assign(a=data["successes"] * (data["id"] > 3), b=data["failures"] * (data["id"] > 3)))  # fmt: skip
    refused(DataError, "family='poisson' does not know", "cbind(y, y) ~ x + (1 | g)", data, family="poisson")
    refused(FormulaError, "outcome of family='binomial'", "cbind(y, y) ~ x + (1 | g)", data, family="gaussian")


def test_trials_that_do_not_fit(data):
    refused(ColumnNotFoundError, "`trials` uses 'sise'.*'size'", "share ~ x + (1 | g)", data, trials="sise")
    refused(DesignError, "one number for each of the 200 rows", "share ~ x + (1 | g)", data, trials=[1, 2])
    refused(DataError, "do not fit in", "share ~ x + (1 | g)", data, trials=7)
    refused(DataError, "Say which", "y ~ x + (1 | g)", data, trials="size")
    refused(DesignError, "has its trials already", "cbind(y, y) ~ x + (1 | g)", data, trials="size")
    refused(DesignError, "'poisson' knows none", "count ~ x + (1 | g)", data, trials="size", family="poisson")
    refused(CrosslevelError, "'gaussian' has none", "x ~ y + (1 | g)", data, trials="size", family="gaussian")


def test_exposures_that_do_not_fit(data):
    poisson = {"family": "poisson", "exposure": "size"}
    refused(DesignError, "has to be positive; it is not in 1 of", "count ~ x + (1 | g)",
            data.assign(size=data["id"]), **poisson)  # fmt: skip
    refused(DesignError, "outcome is no count", "y ~ x + (1 | g)", data, exposure="size")
    refused(DesignError, "numbers beside `exposure`", "count ~ x + (1 | g)", data, offset=data["x"], **poisson)


def test_counts_amounts_and_shares(data):
    refused(DataError, "has to be a count", "share ~ x + (1 | g)", data, family="poisson")
    refused(DataError, "family='poisson' needs numbers", "answer ~ x + (1 | g)", data, family="poisson")
    refused(DataError, "amount|positive", "x ~ y + (1 | g)", data, family="gamma")
    refused(DataError, "a share above 0 and below 1", "count ~ x + (1 | g)", data, family="beta")


def test_text_has_no_order(data):
    text = data.assign(level=data["level"].astype(str))
    refused(DataError, r"pandas.Categorical\(.*lowest first", "level ~ x + (1 | g)", text, family="ordinal")
    refused(DataError, "200 different values", "x ~ y + (1 | g)", data, family="ordinal")
    refused(CrosslevelError, "Leave the 0 out", "level ~ 0 + x + (1 | g)", data, family="ordinal")


def test_an_effect_of_every_row(data):
    refused(DesignError, "a single answer of yes or no says nothing", "y ~ x + (1 | id)", data)
    refused(DesignError, "a single answer in categories", "level ~ x + (1 | id)", data, family="ordinal")
    refused(DesignError, "has a dispersion parameter", "count ~ x + (1 | id)", data, family="negbinomial")
    found = cl.mixed("count ~ x + (1 | g) + (1 | id)", data, family="poisson")
    assert found.ngroups == {"g": 20, "id": 200}
    assert cl.mixed("cbind(successes, failures) ~ x + (1 | id)", data, family="binomial").converged


# -- arguments ------------------------------------------------------------------------------------------------------
def test_arguments_of_linear_models(data, tmp_path):
    formula = "y ~ x + (1 | g)"
    refused(CrosslevelError, "no restricted likelihood", formula, data, method="reml")
    refused(CrosslevelError, "`residual` is a covariance structure", formula, data, residual=cl.residual.By("truth"))
    refused(CrosslevelError, "derived from the normal distribution", formula, data, ddf="satterthwaite")
    refused(CrosslevelError, "`ddf` is 'auto' or one of", formula, data, ddf="many")
    refused(CrosslevelError, "exact algebra only", formula, data, algebra="iterative")
    refused(CrosslevelError, "`prior` is cl.prior.Weak", formula, data, prior=2.5)
    refused(DesignError, "cl.glm for another family", "y ~ x", data)
    data.to_csv(tmp_path / "rows.csv")
    refused(CrosslevelError, "read in batches", formula, tmp_path / "rows.csv")


def test_names_of_families(data):
    refused(CrosslevelError, "Did you mean 'binomial'", "y ~ x + (1 | g)", data, family="binomal")
    refused(CrosslevelError, "Did you mean 'gaussian'", "y ~ x + (1 | g)", data, family="gausian")
    refused(CrosslevelError, "or an object such as", "y ~ x + (1 | g)", data, family=3)
    assert fit("y", data, "Bernoulli").family.name == "binomial"
    assert isinstance(cl.mixed("x ~ y + (1 | g)", data, family="Gaussian"), type(cl.mixed("x ~ y + (1 | g)", data)))


def test_quadrature_of_linear_models(data):
    refused(CrosslevelError, "exact without any", "x ~ y + (1 | g)", data, family="gaussian", quadrature=5)
