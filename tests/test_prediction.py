"""Predictions with standard errors and intervals, against errors worked out from their definition."""

import warnings
from dataclasses import dataclass, replace

import dense_prediction
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import crosslevel as cl
from crosslevel.estimators import target_rows
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.inference.prediction import PredictionError
from crosslevel.kernels import prediction as kernels

Z95 = 1.959963984540054
METHODS = pytest.mark.parametrize("method", ["reml", "ml"])


def frame(seed: int = 3, n: int = 120) -> pd.DataFrame:
    """Crossed a and b, c nested in a, with an offset, weights and strata."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 9, n), rng.integers(0, 6, n)
    c = a * 3 + rng.integers(0, 3, n)
    x, w = rng.normal(3.0, 1.0, n), rng.normal(size=n)
    u, v = rng.normal(size=(9, 2)) @ np.array([[1.0, 0.4], [0.0, 0.6]]), rng.normal(0.0, 0.8, (6, 2))
    t = rng.normal(0.0, 0.7, 27)
    y = 1.0 + 0.5 * x - 0.3 * w + u[a, 0] + u[a, 1] * x + v[b, 0] + v[b, 1] * w + t[c] + rng.normal(0.0, 0.8, n)
    strata = np.where(rng.random(n) < 0.4, "low", "high")
    return pd.DataFrame(
        {"y": y, "x": x, "w": w, "a": a, "b": b, "c": c, "s": strata, "p": rng.uniform(0.4, 3.0, n), "o": 0.3 * w}
    )


DATA = frame()


@dataclass(frozen=True)
class Case:
    """A formula and, for each grouping factor, the columns that vary."""

    formula: str
    random: dict[str, list[str]]
    fixed: tuple[str, ...] = ("one", "x", "w")


CASES = {
    "intercept": Case("y ~ x + w + (1 | a)", {"a": ["one"]}),
    "slope": Case("y ~ x + w + (x | a)", {"a": ["one", "x"]}),
    "slope without its fixed part": Case("y ~ w + (x || a)", {"a": ["one", "x"]}, ("one", "w")),
    "crossed": Case("y ~ x + w + (1 | a) + (1 | b)", {"a": ["one"], "b": ["one"]}),
    "crossed, slopes": Case("y ~ x + w + (x | a) + (w | b)", {"a": ["one", "x"], "b": ["one", "w"]}),
    "nested": Case("y ~ x + w + (x | a) + (1 | c)", {"a": ["one", "x"], "c": ["one"]}),
    "nested and crossed": Case(
        "y ~ x + w + (1 | c) + (w | b) + (x | a)", {"c": ["one"], "b": ["one", "w"], "a": ["one", "x"]}
    ),
    "no intercepts": Case("y ~ 0 + x + (0 + x | a) + (0 + w | b)", {"a": ["x"], "b": ["w"]}, ("x",)),
}

NEW = pd.DataFrame(
    {
        "x": [2.0, 3.0, -1.0, 4.0, 3.5, 0.0, 1.0],
        "w": [0.5, -1.0, 2.0, 0.0, 1.0, 0.3, -0.2],
        "a": [0, 3, 99, 8, 5, 77, 2],
        "b": [5, 77, 2, 0, 1, 88, 4],
        "c": [0, 11, 500, 24, 17, 600, 2],  # the last is of another a in the fit
        "s": ["low", "high"] * 3 + ["low"],
        "p": np.linspace(0.5, 2.0, 7),
        "o": 0.1,
    },
    index=list("tuvwxyz"),
)


def twin(case: Case, fit: MixedFit, data: pd.DataFrame, R: np.ndarray | None = None) -> dense_prediction.Model:
    """The dense model at the estimates; its last level of each factor is one that is not in the data."""
    data = data.assign(one=1.0)
    Z, psi = [], []
    for factor, (name, columns) in zip(fit.design.factors, case.random.items(), strict=True):
        codes = level_codes(fit, name, data)
        Z.append(dense_prediction.columns(codes, data[columns].to_numpy(), len(factor.levels) + 1))
        covariance = fit.solution.factors[fit.design.factors.index(factor)]
        psi.append(np.kron(np.eye(len(factor.levels) + 1), covariance @ covariance.T))
    size = sum(len(block) for block in psi)
    whole, start = np.zeros((size, size)), 0
    for block in psi:
        whole[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return dense_prediction.Model(
        y=data["y"].to_numpy(), X=data[list(case.fixed)].to_numpy(),
        Z=np.concatenate([np.zeros((len(data), 0)), *Z], axis=1), psi=whole,
        R=np.eye(len(data)) if R is None else R, sigma=fit.sigma,
    )  # fmt: skip


def level_codes(fit: MixedFit, name: str, data: pd.DataFrame) -> np.ndarray:
    """Position of each row's level; those that are not in the fit come last."""
    levels = list(fit.design.factor_named(name).levels)
    return np.array([levels.index(level) if level in levels else len(levels) for level in data[name]])


def targets(case: Case, fit: MixedFit, new: pd.DataFrame, chosen: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """X and Z (over all levels) of new rows, zeros in the columns of factors that are not predicted with."""
    new = new.assign(one=1.0)
    Z = []
    for name, columns in case.random.items():
        codes = level_codes(fit, name, new)
        block = dense_prediction.columns(codes, new[columns].to_numpy(), len(fit.design.factor_named(name).levels) + 1)
        Z.append(block * (name in chosen))
    return new[list(case.fixed)].to_numpy(), np.concatenate(Z, axis=1)


def prior(case: Case, fit: MixedFit, new: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Variance of the random effects of some factors in new rows."""
    new, out = new.assign(one=1.0), np.zeros(len(new))
    for name in names:
        z = new[case.random[name]].to_numpy()
        out += np.einsum("ni,ij,nj->n", z, fit.cov_re[name].to_numpy(), z)
    return out


@METHODS
@pytest.mark.parametrize("name", CASES)
def test_standard_errors_are_those_of_hendersons_equations(name: str, method: str) -> None:
    case = CASES[name]
    fit = cl.mixed(case.formula, DATA, method=method)
    model, chosen = twin(case, fit, DATA), list(case.random)
    assert not fit.is_singular
    for new in (NEW, DATA):
        x, z = targets(case, fit, new, chosen)
        estimate, error = model.predict(x, z)
        np.testing.assert_allclose(error, model.henderson(x, z), rtol=1e-9)
        found = fit.predict(new, se=True)
        assert found.index.equals(new.index)
        np.testing.assert_allclose(found["estimate"], estimate, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found["std_error"], error, rtol=1e-9)
        np.testing.assert_allclose(found["conf_low"], found["estimate"] - Z95 * error, rtol=1e-9)
        np.testing.assert_allclose(fit.predict(new), found["estimate"], rtol=1e-12)
    pd.testing.assert_frame_equal(fit.predict(se=True), found, rtol=1e-11)
    pd.testing.assert_series_equal(fit.predict(), fit.fitted, check_names=False)


@pytest.mark.parametrize("name", CASES)
def test_marginal_and_partly_conditional_predictions(name: str) -> None:
    case = CASES[name]
    fit = cl.mixed(case.formula, DATA)
    model = twin(case, fit, DATA)
    for chosen in ([], [next(iter(case.random))], list(case.random)[1:], list(case.random)):
        others = [other for other in case.random if other not in chosen]
        estimate, error = model.predict(*targets(case, fit, NEW, chosen))
        found = fit.predict(NEW, random_effects=chosen, interval="prediction", level=0.9)
        np.testing.assert_allclose(found["estimate"], estimate, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found["std_error"], error, rtol=1e-9)
        wide = np.sqrt(error**2 + prior(case, fit, NEW, others) + fit.sigma**2)
        np.testing.assert_allclose(found["conf_high"] - found["estimate"], 1.6448536269514722 * wide, rtol=1e-9)
        np.testing.assert_allclose(found["estimate"] - found["conf_low"], 1.6448536269514722 * wide, rtol=1e-9)
    plain = fit.predict(NEW, random_effects=False, se=True)
    pd.testing.assert_frame_equal(plain, fit.predict(NEW, random_effects=[], interval="confidence"))
    X = NEW.assign(one=1.0)[list(case.fixed)].to_numpy()
    np.testing.assert_allclose(plain["std_error"], np.sqrt(np.einsum("ni,ij,nj->n", X, fit.vcov, X)), rtol=1e-9)


MM = {
    "alone": ("y ~ x + w + (1 | mm(m1, m2, weights=[v1, v2]))", {"mm(m1, m2)": ["one"]}),
    "slope": ("y ~ x + w + (x | mm(m1, m2))", {"mm(m1, m2)": ["one", "x"]}),
    "crossed": (
        "y ~ x + w + (1 | a) + (w | mm(m1, m2, weights=[v1, v2])) + (1 | c)",
        {"a": ["one"], "mm(m1, m2)": ["one", "w"], "c": ["one"]},
    ),
}


def member_columns(rows: pd.DataFrame, columns: list[str], levels: list[object], *, weighted: bool) -> np.ndarray:
    """Z of a multiple membership, (n, (J + 1) q); levels that are not known are the last, all the same."""
    n = len(rows)
    shares = np.zeros((n, len(levels) + 1))
    present = rows[["m1", "m2"]].notna().sum(axis=1).to_numpy()
    for member, weight in (("m1", "v1"), ("m2", "v2")):
        for i, (level, value) in enumerate(zip(rows[member], rows[weight], strict=True)):
            if not pd.isna(level):
                place = levels.index(level) if level in levels else len(levels)
                shares[i, place] += value if weighted else 1.0 / present[i]
    z = rows.assign(one=1.0)[columns].to_numpy()
    return (shares[:, :, None] * z[:, None, :]).reshape(n, -1)


@pytest.mark.parametrize("name", MM)
def test_rows_with_several_levels(name: str) -> None:
    formula, random = MM[name]
    rng = np.random.default_rng(12)
    data = DATA.assign(
        m1=rng.integers(0, 8, len(DATA)), m2=rng.integers(0, 8, len(DATA)), v1=0.6, v2=rng.random(len(DATA))
    )
    effects = rng.normal(0.0, 1.5, (8, 2))
    data["y"] += data.v1 * (effects[data.m1, 0] + effects[data.m1, 1] * data.w) + data.v2 * effects[data.m2, 0]
    fit = cl.mixed(formula, data)
    weighted = "weights" in formula
    new = NEW.assign(m1=[0, 1, 2, 3, 99, 5, 5], m2=[1, 1, 77, 4, 99, 0, 5], v1=0.5, v2=np.linspace(0.2, 0.8, 7))
    members = ([0.0, 1, 2, 3, 99, np.nan, 5], [1, 1, 77, 4, 99, 0, 5])
    if not weighted:
        new = new.assign(m1=members[0], m2=members[1])
    case = Case(formula, random)

    def Z(rows: pd.DataFrame, chosen: list[str]) -> np.ndarray:  # noqa: N802
        parts = []
        for group, columns in random.items():
            levels = list(fit.design.factor_named(group).levels)
            if group.startswith("mm"):
                block = member_columns(rows, columns, levels, weighted=weighted)
            else:
                z = rows.assign(one=1.0)[columns].to_numpy()
                block = dense_prediction.columns(level_codes(fit, group, rows), z, len(levels) + 1)
            parts.append(block * (group in chosen))
        return np.concatenate(parts, axis=1)

    relative = [factor @ factor.T for factor in fit.solution.factors]
    blocks = [np.kron(np.eye(f.n_levels + 1), psi) for f, psi in zip(fit.design.factors, relative, strict=True)]
    psi = np.zeros((sum(map(len, blocks)),) * 2)
    start = 0
    for block in blocks:
        psi[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    X = data.assign(one=1.0)[list(case.fixed)].to_numpy()
    model = dense_prediction.Model(
        y=data.y.to_numpy(), X=X, Z=Z(data, list(random)), psi=psi, R=np.eye(len(data)), sigma=fit.sigma
    )
    x = new.assign(one=1.0)[list(case.fixed)].to_numpy()
    for chosen in (list(random), [], [group for group in random if group.startswith("mm")]):
        estimate, error = model.predict(x, Z(new, chosen))
        found = fit.predict(new, random_effects=chosen, interval="prediction")
        np.testing.assert_allclose(found["estimate"], estimate, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found["std_error"], error, rtol=1e-9)
        others = Z(new, [group for group in random if group not in chosen])
        wide = np.sqrt(error**2 + fit.sigma**2 * (1.0 + np.einsum("ni,ij,nj->n", others, psi, others)))
        np.testing.assert_allclose((found["conf_high"] - found["estimate"]) / Z95, wide, rtol=1e-9)
    again = fit.predict(data, se=True)
    pd.testing.assert_frame_equal(fit.predict(se=True), again, rtol=1e-10)
    np.testing.assert_allclose(again["std_error"], model.predict(X, Z(data, list(random)))[1], rtol=1e-9)
    pd.testing.assert_series_equal(fit.predict(), fit.fitted, check_names=False)
    with pytest.raises(cl.CrosslevelError, match=r"1 rows whose m1 was not in the fit \(99"):
        fit.predict(new, new_levels="raise", random_effects=["mm(m1, m2)"])


def test_singular_models() -> None:
    rest = cl.mixed(CASES["intercept"].formula, DATA).resid
    data = DATA.assign(y=DATA.y - rest.groupby(DATA.b).transform("mean"))
    case = CASES["crossed"]
    fit = cl.mixed(case.formula, data)
    assert fit.is_singular
    estimate, error = twin(case, fit, data).predict(*targets(case, fit, NEW, ["a", "b"]))
    found = fit.predict(NEW, se=True)
    np.testing.assert_allclose(found["estimate"], estimate, rtol=1e-8)
    np.testing.assert_allclose(found["std_error"], error, rtol=1e-9)


@pytest.mark.parametrize("name", ["slope", "crossed, slopes"])
def test_units_of_a_predictor_make_no_difference(name: str) -> None:
    fit = cl.mixed(CASES[name].formula, DATA)
    other = cl.mixed(CASES[name].formula, DATA.assign(x=DATA.x * 1e-3 + 10.0))
    one, two = fit.predict(NEW, se=True), other.predict(NEW.assign(x=NEW.x * 1e-3 + 10.0), se=True)
    pd.testing.assert_frame_equal(one, two, rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 3, 50])
@pytest.mark.parametrize("name", ["slope", "nested and crossed"])
def test_chunks_make_no_difference(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = cl.mixed(CASES[name].formula, DATA)
    whole = fit.predict(DATA, interval="prediction")
    monkeypatch.setattr(target_rows, "CHUNK", chunk)
    pd.testing.assert_frame_equal(fit.predict(DATA, interval="prediction"), whole, rtol=1e-13)


def test_the_kernel_does_what_it_says_when_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = cl.mixed(CASES["nested and crossed"].formula, DATA)
    compiled = fit.predict(DATA, se=True)
    for name in ("combination_variances", "substitute_levels", "open_node", "add_dense_part"):
        monkeypatch.setattr(kernels, name, getattr(kernels, name).py_func)
    pd.testing.assert_frame_equal(fit.predict(DATA, se=True), compiled, rtol=1e-12)


def test_any_frame_and_missing_values() -> None:
    fit = cl.mixed(CASES["nested and crossed"].formula, DATA)
    whole = fit.predict(NEW, se=True).reset_index(drop=True)
    for new in (pl.from_pandas(NEW), pa.Table.from_pandas(NEW, preserve_index=False), NEW.to_dict("list")):
        pd.testing.assert_frame_equal(fit.predict(new, se=True), whole)
    holes = NEW.astype({"a": object, "c": "Int64"})
    holes.loc["u", "x"], holes.loc["w", "a"], holes.loc["x", "c"] = np.nan, None, pd.NA
    found = fit.predict(holes, interval="prediction")
    assert found.loc["u"].isna().all()
    assert found.drop(index="u").notna().all(axis=None)
    unknown = NEW.assign(a=NEW.a.where(NEW.index != "w", 99), c=NEW.c.where(NEW.index != "x", 500))
    expected = fit.predict(unknown, interval="prediction")
    pd.testing.assert_frame_equal(found.drop(index="u"), expected.drop(index="u"))
    # what is not predicted with need not be there
    marginal = fit.predict(NEW[["x", "w"]], random_effects=False, interval="prediction")
    pd.testing.assert_frame_equal(marginal, fit.predict(NEW, random_effects=False, interval="prediction"))
    assert fit.predict(NEW.drop(columns=["a", "c"]), random_effects=["b"]).notna().all()


@pytest.mark.parametrize("name", ["slope", "crossed, slopes"])
def test_precision_weights_and_offsets(name: str) -> None:
    case = CASES[name]
    fit = cl.mixed(case.formula, DATA, weights=cl.Precision("p"), offset="o")
    model = twin(case, fit, DATA.assign(y=DATA.y - DATA.o), np.diag(1.0 / DATA.p))
    estimate, error = model.predict(*targets(case, fit, NEW, list(case.random)))
    found = fit.predict(NEW, interval="prediction")
    np.testing.assert_allclose(found["estimate"], estimate + NEW.o, rtol=1e-8)
    np.testing.assert_allclose(found["std_error"], error, rtol=1e-9)
    half = Z95 * np.sqrt(error**2 + fit.sigma**2 / NEW.p)
    np.testing.assert_allclose(found["conf_high"] - found["estimate"], half, rtol=1e-9)
    pd.testing.assert_frame_equal(fit.predict(interval="prediction"), fit.predict(DATA, interval="prediction"))
    fit.predict(NEW.drop(columns="p"), se=True)
    with pytest.raises(cl.ColumnNotFoundError, match="`new` uses 'p'"):
        fit.predict(NEW.drop(columns="p"), interval="prediction")
    with pytest.raises(cl.DataError, match="not positive"):
        fit.predict(NEW.assign(p=0.0), interval="prediction")


def test_frequencies_are_repeated_rows() -> None:
    data = DATA.assign(f=np.arange(len(DATA)) % 3 + 1)
    for name in ("slope", "nested and crossed"):
        formula = CASES[name].formula
        one = cl.mixed(formula, data, weights=cl.Frequency("f")).predict(NEW, interval="prediction")
        other = cl.mixed(formula, data.loc[data.index.repeat(data.f)]).predict(NEW, interval="prediction")
        pd.testing.assert_frame_equal(one, other, rtol=1e-6)


RESIDUALS = {
    "by": (cl.residual.By("s"), lambda fit, d: np.exp(fit.solution.phi[0] * (d.s == "low")) ** 2),
    "power": (
        cl.residual.Power("p"),
        lambda fit, d: (d.p / np.exp(np.log(DATA.p).mean())) ** (2 * fit.solution.phi[0]),
    ),
    "known": (cl.residual.Known("p"), lambda fit, d: d.p**2),
}


@pytest.mark.parametrize("name", ["slope", "crossed, slopes"])
@pytest.mark.parametrize("kind", RESIDUALS)
def test_rows_with_their_own_residual_variance(kind: str, name: str) -> None:
    structure, variances = RESIDUALS[kind]
    case = CASES[name]
    fit = cl.mixed(case.formula, DATA, residual=structure)
    if kind == "by":
        assert list(fit.residual_parameters().index) == ["sigma[high]", "sigma[low]"]
    model = twin(case, fit, DATA, np.diag(variances(fit, DATA)))
    estimate, error = model.predict(*targets(case, fit, NEW, list(case.random)))
    found = fit.predict(NEW, interval="prediction")
    np.testing.assert_allclose(found["estimate"], estimate, rtol=1e-7)
    np.testing.assert_allclose(found["std_error"], error, rtol=1e-8)
    half = Z95 * np.sqrt(error**2 + fit.sigma**2 * variances(fit, NEW))
    np.testing.assert_allclose(found["conf_high"] - found["estimate"], half, rtol=1e-8)
    pd.testing.assert_frame_equal(fit.predict(interval="prediction"), fit.predict(DATA, interval="prediction"))


def test_correlated_residuals() -> None:
    data = DATA.sort_values(["a", "x"], ignore_index=True)
    data["t"] = data.groupby("a").cumcount()
    fit = cl.mixed("y ~ x + w + (1 | a)", data, residual=cl.residual.AR1("t", within="a", by="s"))
    values = fit.residual_parameters()["estimate"]
    sd = np.where(data.s == "low", values["sigma[low]"], values["sigma[high]"]) / fit.sigma
    (rho,) = [value for name, value in values.items() if "sigma" not in str(name)]
    apart = np.abs(data.t.to_numpy()[:, None] - data.t.to_numpy())
    R = np.where(data.a.to_numpy()[:, None] == data.a.to_numpy(), rho**apart, 0.0) * sd[:, None] * sd
    case = CASES["intercept"]
    estimate, error = twin(case, fit, data, R).predict(*targets(case, fit, NEW, ["a"]))
    found = fit.predict(NEW, interval="prediction")
    np.testing.assert_allclose(found["estimate"], estimate, rtol=1e-7)
    np.testing.assert_allclose(found["std_error"], error, rtol=1e-8)
    own = np.where(NEW.s == "low", values["sigma[low]"], values["sigma[high]"])
    np.testing.assert_allclose(found["conf_high"] - estimate, Z95 * np.hypot(error, own), rtol=1e-7)


def test_power_of_fitted_values_and_strata_that_are_not_known() -> None:
    data = DATA.assign(y=DATA.y + 30.0)
    fit = cl.mixed("y ~ x + w + (1 | a)", data, residual=cl.residual.Power())
    found = fit.predict(NEW, interval="prediction")
    half = (found["conf_high"] - found["estimate"]) / Z95
    centre = np.log(fit.fitted.abs()).mean()
    sd = fit.sigma * np.exp(fit.solution.phi[0] * (np.log(found["estimate"].abs()) - centre))
    np.testing.assert_allclose(half, np.hypot(found["std_error"], sd), rtol=1e-7)
    fit = cl.mixed("y ~ x + w + (1 | a)", DATA, residual=cl.residual.By("s"))
    with pytest.raises(cl.DataError, match=r"`new` has 'middle' in 's', whose residual variance.*'high', 'low'"):
        fit.predict(NEW.assign(s="middle"), interval="prediction")
    gap = fit.predict(NEW.assign(s=["low", None, "high", "low", "high", "low", "low"]), interval="prediction")
    assert gap["conf_low"].isna().tolist() == [False, True, False, False, False, False, False]
    assert gap["std_error"].notna().all()


def test_no_random_effects_at_all() -> None:
    fit = cl.mixed("y ~ x + w", DATA, residual=cl.residual.By("s"))
    found = fit.predict(NEW, se=True)
    X = np.column_stack([np.ones(len(NEW)), NEW.x, NEW.w])
    np.testing.assert_allclose(found["std_error"], np.sqrt(np.einsum("ni,ij,nj->n", X, fit.vcov, X)), rtol=1e-10)
    np.testing.assert_allclose(found["estimate"], X @ fit.params, rtol=1e-12)


def test_sampling_weights_use_the_sandwich() -> None:
    data = DATA.assign(wc=1.0 + DATA.a % 3)
    weights = cl.Sampling("p", clusters={"a": "wc"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.DataWarning)
        fit = cl.mixed("y ~ x + w + (x | a)", data, weights=weights, method="ml")
    X = np.column_stack([np.ones(len(NEW)), NEW.x, NEW.w])
    found = fit.predict(NEW, random_effects=False, se=True)["std_error"]
    np.testing.assert_allclose(found, np.sqrt(np.einsum("ni,ij,nj->n", X, fit.vcov, X)), rtol=1e-9)
    conditional = fit.predict(NEW, se=True)["std_error"]
    new = prior(CASES["slope"], fit, NEW, ["a"])[2]
    assert conditional.iloc[2] == pytest.approx(np.sqrt(found.iloc[2] ** 2 + new), rel=1e-9)


def test_two_copies_of_a_cluster_are_a_weight_of_two() -> None:
    """Sampling weights of nested levels: standard errors of the effects are those of each copy."""
    formula = "y ~ x + w + (1 | c) + (1 | a)"
    data = DATA.assign(c=DATA.c, wa=np.where(DATA.a == 2, 2.0, 1.0))
    copied = pd.concat([data, data[data.a == 2].assign(a=100, c=lambda d: d.c + 100)], ignore_index=True)
    one = cl.mixed(formula, data, weights=cl.Sampling(clusters={"a": "wa"}), method="ml")
    two = cl.mixed(formula, copied, method="ml")
    np.testing.assert_allclose(one.solution.theta, two.solution.theta, rtol=1e-5)
    rows = data[data.a == 2]
    at, other = one.predict(rows, se=True), two.predict(rows, se=True)
    np.testing.assert_allclose(at["estimate"], other["estimate"], rtol=1e-6)
    spread = [
        np.sqrt(np.maximum(f["std_error"] ** 2 - g, 0.0))
        for f, g in ((at, of_beta(one, rows)), (other, of_beta(two, rows)))
    ]
    np.testing.assert_allclose(*spread, rtol=1e-5)


def of_beta(fit: MixedFit, rows: pd.DataFrame) -> np.ndarray:
    """The part of the prediction variance that beta has."""
    error = PredictionError.of(fit.solution, (0, 1))
    codes = [level_codes(fit, name, rows).astype(np.int32) for name in ("c", "a")]
    x, ones = np.column_stack([np.ones(len(rows)), rows.x, rows.w]).T, np.ones((1, len(rows)))
    whole = error.variance(x, [ones, ones], [[(own, None)] for own in codes])
    working = [np.linalg.solve(basis.T, ones) for basis in error.bases]
    assert error.spread is not None
    return whole - error.sigma**2 * error.spread.variance(working, [[(own, None)] for own in codes])


def test_wrong_arguments_say_what_to_do() -> None:
    fit = cl.mixed(CASES["crossed"].formula, DATA)
    for arguments, message in (
        ({"interval": "both"}, "`interval` is 'confidence', 'prediction' or None; got 'both'"),
        ({"random_effects": ["z"]}, "`random_effects` names 'z'; the grouping factors of the model are 'a', 'b'"),
        ({"random_effects": "a"}, "is True, False or a list of grouping factors"),
        ({"level": 95.0, "se": True}, "`level` is a probability"),
        ({"new_levels": "drop"}, "`new_levels` is 'zero' or 'raise'"),
        ({"new_levels": "raise"}, r"2 rows whose a was not in the fit \(77, 99\)"),
    ):
        with pytest.raises(cl.CrosslevelError, match=message):
            fit.predict(NEW, **arguments)
    with pytest.raises(cl.CrosslevelError, match=r"1 rows whose a was not in the fit \(missing\)"):
        fit.predict(NEW.assign(a=[1, None, 1, 1, 1, 1, 1]), new_levels="raise", random_effects=["a"])
    known = fit.predict(DATA, new_levels="raise")
    np.testing.assert_allclose(known, fit.fitted, rtol=1e-12)


def test_iterative_solutions_give_the_same() -> None:
    rng = np.random.default_rng(1)
    n = 3_000
    a, b, x = rng.integers(0, 200, n), rng.integers(0, 100, n), rng.normal(size=n)
    y = x + rng.normal(size=200)[a] + rng.normal(size=100)[b] + rng.normal(size=n)
    data = pd.DataFrame({"y": y, "x": x, "a": a, "b": b})
    new = data.head(30).assign(a=lambda d: np.where(d.index == 3, 999, d.a))
    fit = cl.mixed("y ~ x + (x | a) + (1 | b)", data, algebra="iterative")
    exact = cl.mixed("y ~ x + (x | a) + (1 | b)", data, algebra="exact")
    state = exact.solution.criterion.at_factors(fit.solution.at.factors)
    same = replace(exact.solution, minimum=replace(exact.solution.minimum, state=state), sigma=fit.sigma)
    columns = [np.vstack([np.ones(len(new)), new.x]), np.ones((1, len(new)))]
    members = [[(level_codes(fit, name, new).astype(np.int32), None)] for name in ("a", "b")]
    members[0] = [(np.where(members[0][0][0] == 200, np.int32(-1), members[0][0][0]), None)]
    for chosen in ((0, 1), (1,), (0,), ()):
        z, own = [columns[k] for k in chosen], [members[k] for k in chosen]
        expected = PredictionError.of(same, chosen).variance(columns[0], z, own)
        np.testing.assert_allclose(
            PredictionError.of(fit.solution, chosen).variance(columns[0], z, own), expected, 1e-8
        )
        found = fit.predict(new, random_effects=[["a", "b"][k] for k in chosen], se=True)["std_error"]
        np.testing.assert_allclose(found, np.sqrt(expected), rtol=1e-8)
    assert fit.predict(data).corr(exact.predict(data)) > 0.999999
    with pytest.raises(cl.CrosslevelError, match=r"solution for each of 3000 distinct rows.*Predict fewer rows"):
        fit.predict(data, se=True)


@pytest.mark.parametrize(("formula", "n"), [("y ~ x + (x | g)", 200_000), ("y ~ x + (x | g) + (1 | h)", 40_000)])
def test_many_rows_have_errors_too(formula: str, n: int) -> None:
    rng = np.random.default_rng(5)
    levels, items = n // 40, n // 600
    g, h, x = rng.integers(0, levels, n), rng.integers(0, items, n), rng.normal(size=n)
    u = rng.normal(size=(levels, 2))
    y = x + u[g, 0] + u[g, 1] * x + rng.normal(size=items)[h] + rng.normal(size=n)
    data = pd.DataFrame({"y": y, "x": x, "g": g, "h": h})
    fit = cl.mixed(formula, data)
    found = fit.predict(data, se=True)
    assert found["std_error"].between(0.0, 1.0).all()
