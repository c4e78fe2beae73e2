"""Random terms whose rows belong to several levels, against dense twins and what they must agree with."""

import numpy as np
import pandas as pd
import pytest
from dense_crossed import Crossed, deviance

import crosslevel as cl


def dyads(seed: int = 1, *, rows: int = 200, countries: int = 12) -> pd.DataFrame:
    """Pairs of countries with a weight for each, and a region of a row that is crossed with them."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, countries, rows)
    second = (first + rng.integers(1, countries, rows)) % countries
    share = rng.uniform(0.2, 0.8, rows)
    x = rng.normal(size=rows)
    u = rng.normal(0.0, [0.9, 0.5], (countries, 2))
    effect = share[:, None] * u[first] + (1.0 - share)[:, None] * u[second]
    y = 1.0 + 0.4 * x + effect[:, 0] + effect[:, 1] * x + rng.normal(size=rows)
    names = np.array([f"c{k:02d}" for k in range(countries)])
    return pd.DataFrame({"y": y, "x": x, "a": names[first], "b": names[second], "wa": share, "wb": 1.0 - share}).assign(
        region=rng.integers(0, 6, rows)
    )


DATA = dyads()


def membership(data: pd.DataFrame, wa: np.ndarray | float, wb: np.ndarray | float) -> np.ndarray:
    """How much (n, J) of each country a row has."""
    levels = sorted({*data.a.dropna(), *data.b.dropna()})
    out = np.zeros((len(data), len(levels)))
    for name, weight in (("a", wa), ("b", wb)):
        out += np.asarray(weight)[..., None] * (data[name].to_numpy()[:, None] == np.array(levels))
    return out


def dense_deviance(fit: "cl.estimators.mixed.MixedFit", data: pd.DataFrame, members: list[np.ndarray]) -> float:
    """At the fit's covariances: slope of x over the countries, intercepts over what else there is."""
    X = np.column_stack([np.ones(len(data)), data.x])
    z = [X if frame.shape[0] == 2 else X[:, :1] for frame in fit.cov_re.values()]
    twin = Crossed(y=data.y.to_numpy(), X=X, z=tuple(z), members=tuple(members))
    psis = tuple(frame.to_numpy() / fit.sigma**2 for frame in fit.cov_re.values())
    return float(deviance(twin.V(psis), X, data.y, reml=True))


def test_given_weights() -> None:
    fit = cl.mixed("y ~ x + (x | mm(a, b, weights=[wa, wb]))", DATA)
    assert fit.converged
    assert fit.ngroups == {"mm(a, b)": 12}
    members = membership(DATA, DATA.wa.to_numpy(), DATA.wb.to_numpy())
    assert fit.deviance == pytest.approx(dense_deviance(fit, DATA, [members]), rel=1e-10)
    rng = np.random.default_rng(2)
    for size in (1e-3, 1e-2, 0.1):
        assert fit.criterion_at(fit.theta + size * rng.normal(size=3)) >= fit.deviance


def test_equal_weights_are_parts_of_one() -> None:
    fit = cl.mixed("y ~ x + (1 | mm(a, b))", DATA)
    assert fit.deviance == pytest.approx(dense_deviance(fit, DATA, [membership(DATA, 0.5, 0.5)]), rel=1e-10)
    halves = cl.mixed("y ~ x + (1 | mm(a, b, weights=[h, h]))", DATA.assign(h=0.5))
    assert halves.deviance == pytest.approx(fit.deviance, abs=1e-9)


def test_crossed_with_another_factor() -> None:
    fit = cl.mixed("y ~ x + (1 | mm(a, b)) + (1 | region)", DATA)
    regions = pd.get_dummies(DATA.region).to_numpy(dtype=float)
    assert fit.deviance == pytest.approx(dense_deviance(fit, DATA, [membership(DATA, 0.5, 0.5), regions]), rel=1e-10)


def test_a_missing_group_leaves_the_row_to_the_others() -> None:
    data = DATA.assign(b=DATA.b.where(np.arange(len(DATA)) % 3 > 0))
    fit = cl.mixed("y ~ x + (1 | mm(a, b))", data)
    assert fit.nobs == len(data)
    alone = data.b.isna().to_numpy()
    members = membership(data, np.where(alone, 1.0, 0.5), np.where(alone, 0.0, 0.5))
    assert fit.deviance == pytest.approx(dense_deviance(fit, data, [members]), rel=1e-10)


def test_the_same_group_twice_is_once_with_both_weights() -> None:
    data = DATA.assign(b=np.where(np.arange(len(DATA)) % 2 == 0, DATA.a, DATA.b))
    fit = cl.mixed("y ~ x + (1 | mm(a, b, weights=[wa, wb]))", data)
    members = membership(data, data.wa.to_numpy(), data.wb.to_numpy())
    assert fit.deviance == pytest.approx(dense_deviance(fit, data, [members]), rel=1e-10)


def test_one_group_in_each_row_is_an_ordinary_factor() -> None:
    data = DATA.assign(b=None)
    fit, plain = cl.mixed("y ~ x + (x | mm(a, b))", data), cl.mixed("y ~ x + (x | a)", data)
    assert fit.deviance == pytest.approx(plain.deviance, abs=1e-8)
    np.testing.assert_allclose(fit.params, plain.params, rtol=1e-6)
    np.testing.assert_allclose(fit.bse, plain.bse, rtol=1e-5)
    np.testing.assert_allclose(fit.ranef(se=False)["mm(a, b)"], plain.ranef(se=False)["a"], rtol=1e-4, atol=1e-6)


def test_rows_without_any_group_are_dropped_and_counted() -> None:
    none = np.arange(len(DATA)) < 5
    fit = cl.mixed("y ~ x + (1 | mm(a, b))", DATA.assign(a=DATA.a.mask(none), b=DATA.b.mask(none)))
    assert fit.nobs == len(DATA) - 5
    assert fit.rows.missing == {"mm(a, b)": 5}


def test_fitted_values_are_weighted_sums_of_the_modes() -> None:
    fit = cl.mixed("y ~ x + (x | mm(a, b, weights=[wa, wb]))", DATA)
    modes = fit.ranef(se=False)["mm(a, b)"]
    expected = fit.params["Intercept"] + fit.params["x"] * DATA.x
    for name, weight in (("a", DATA.wa), ("b", DATA.wb)):
        own = modes.loc[DATA[name]]
        expected += weight * (own["Intercept"].to_numpy() + own["x"].to_numpy() * DATA.x)
    np.testing.assert_allclose(fit.fitted, expected, rtol=1e-9)
    assert fit.augment()["b"].tolist() == DATA.b.tolist()
    assert "mm(a, b)" in str(fit.summary())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wa": -1.0}, "negative"),
        ({"wa": np.nan}, "missing although 'a' is not"),
        ({"b": None}, "positive although 'b' is missing"),
    ],
)
def test_wrong_weights_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(cl.DataError, match=words):
        cl.mixed("y ~ x + (1 | mm(a, b, weights=[wa, wb]))", DATA.assign(**changes))
