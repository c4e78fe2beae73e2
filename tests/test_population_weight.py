"""`population_weight`: shares of groups in the sample become those in the population."""

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl

SIZES = {"DE": 83e6, "MT": 0.5e6, "FR": 68e6}


@pytest.fixture
def survey():
    rng = np.random.default_rng(0)
    country = np.repeat(["DE", "FR", "MT"], [200, 150, 50])
    return pd.DataFrame({"country": country, "dw": rng.lognormal(0.0, 0.4, 400), "y": rng.normal(size=400)})


def test_shares_of_the_sample_become_shares_of_the_population(survey):
    weights = cl.population_weight(survey, "country", SIZES)
    assert weights.mean() == pytest.approx(1.0, rel=1e-13)
    share = weights.groupby(survey["country"]).sum() / weights.sum()
    total = sum(SIZES.values())
    assert share.to_dict() == pytest.approx({name: size / total for name, size in SIZES.items()})
    assert weights.index.equals(survey.index)


def test_with_design_weights_the_product_has_the_shares(survey):
    weights = cl.population_weight(survey, "country", SIZES, design="dw")
    product = weights * survey["dw"]
    share = product.groupby(survey["country"]).sum() / product.sum()
    assert share["MT"] == pytest.approx(0.5 / 151.5)
    assert product.sum() == pytest.approx(survey["dw"].sum())
    assert weights.groupby(survey["country"]).nunique().eq(1).all()


def test_unit_form_and_type_of_the_population_do_not_matter(survey):
    first = cl.population_weight(survey, "country", SIZES)
    series = pd.Series(SIZES) / 1e6
    pd.testing.assert_series_equal(cl.population_weight(survey, "country", series), first)
    with_column = survey.assign(size=survey["country"].map(SIZES))
    pd.testing.assert_series_equal(cl.population_weight(with_column, "country", "size"), first)
    numbered = survey.assign(country=survey["country"].map({"DE": 1, "FR": 2, "MT": 3}))
    pd.testing.assert_series_equal(cl.population_weight(numbered, "country", {"1": 83, "2": 68, "3": 0.5}), first)


def test_rows_without_group_or_design_weight_get_none(survey):
    survey.loc[0, "country"] = None
    survey.loc[1, "dw"] = np.nan
    weights = cl.population_weight(survey, "country", SIZES, design="dw")
    assert weights.isna().to_numpy().nonzero()[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("population", "message"),
    [
        ({"DE": 83e6}, r"no size for 2 groups of 'country': FR, MT"),
        ({**SIZES, "MT": 0.0}, "above zero and finite; it is not for MT"),
        ({**SIZES, "MT": np.nan}, "above zero and finite; it is not for MT"),
        ("dw", "differs within 'DE'"),
        (83e6, "is a dict or Series of sizes by group, or the name of a column"),
    ],
)
def test_wrong_populations_are_refused(survey, population, message):
    with pytest.raises(cl.CrosslevelError, match=message):
        cl.population_weight(survey, "country", population)


def test_wrong_names_and_design_weights_are_refused(survey):
    with pytest.raises(cl.ColumnNotFoundError, match="'nation'"):
        cl.population_weight(survey, "nation", SIZES)
    with pytest.raises(cl.DataError, match="have to be finite and not negative"):
        cl.population_weight(survey.assign(dw=-1.0), "country", SIZES, design="dw")
