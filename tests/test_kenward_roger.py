"""Kenward-Roger: pbkrtest, whole matrices, closed forms, invariances, and what is refused."""

import tracemalloc
from dataclasses import dataclass

import dense_inference
import numpy as np
import pandas as pd
import pytest
from reference_cases import cases_with, components, fit_case, load_case

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.inference import marginal_sums
from crosslevel.inference.kenward_roger import adjustment, f_approximation

KR = "kenward-roger"


# -- pbkrtest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cases_with("df_kr"))
def test_coefficients_are_those_of_pbkrtest(name: str) -> None:
    """Standard errors to the precision of lme4's optimum; degrees of freedom to that of its theta."""
    case, fit = load_case(name), fit_case(name)
    ours = {components(term): i for i, term in enumerate(fit.design.fixed_names)}
    order = [ours[each] for each in case.coefficients]
    table = fit.tests(ddf=KR).iloc[order]
    names = case.expected["coef_names"]
    np.testing.assert_allclose(table["df"], [case.expected["df_kr"][name] for name in names], rtol=1e-6)
    np.testing.assert_allclose(table["std_error"], [case.expected["se_kr"][name] for name in names], rtol=1e-5)
    vcov, reference = fit.estimates.once(adjustment).vcov[np.ix_(order, order)], np.array(case.expected["vcov_kr"])
    size = np.sqrt(np.diag(reference))
    np.testing.assert_allclose(vcov / np.outer(size, size), reference / np.outer(size, size), atol=1e-5)


# -- whole matrices ---------------------------------------------------------------------------------------------------


def rows(seed: int = 3, n: int = 90, *, slope: float = 0.7) -> pd.DataFrame:
    """Unbalanced rows of two crossed factors g and h, a factor k within g, weights and a standard error."""
    rng = np.random.default_rng(seed)
    g, h = rng.choice(7, n, p=rng.dirichlet(np.full(7, 4.0))), rng.choice(5, n, p=rng.dirichlet(np.full(5, 4.0)))
    k = g * 3 + rng.integers(0, 3, n)
    x, w = rng.normal(size=(2, n))
    z = rng.normal(size=7)[g]
    y = 5.0 + x + 0.5 * z + rng.normal(size=7)[g] + slope * rng.normal(size=7)[g] * x + 0.6 * rng.normal(size=5)[h]
    y += 0.5 * rng.normal(size=21)[k] + rng.normal(size=n)
    other = (g + 1 + rng.integers(0, 6, n)) % 7
    occ = np.char.add("t", rng.integers(0, 4, n).astype(str))
    return pd.DataFrame(
        {"y": y, "x": 3.0 + 10.0 * x, "w": w, "z": z, "g": g, "other": other, "h": h, "k": k, "occ": occ}
        | {"weight": rng.uniform(0.5, 2.0, n), "times": rng.integers(1, 4, n), "se": rng.uniform(0.5, 1.5, n)}
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Whole:
    """V of a fit over all rows, with its derivatives in variances and covariances, in the units of the data."""

    V: np.ndarray
    first: list[np.ndarray]


def indicator(data: pd.DataFrame, fit: object, group: str) -> np.ndarray:
    """(n, J) of a grouping factor of a fit; of mm(g, other) the mean of two."""
    factor = fit.design.factor_named(group)
    members = fit.design.used_members(factor)
    out = np.zeros((len(data), factor.n_levels))
    for codes, share in members:
        out[np.arange(len(data)), codes] += 1.0 if share is None else share
    return out


def whole(data: pd.DataFrame, fit: object, spans: dict[str, list[np.ndarray]], residual: np.ndarray | None) -> Whole:
    """V = diag(residual) sigma^2 + sum of Z Sigma Z'; derivatives along a basis of each factor's covariances."""
    base = np.eye(len(data)) if residual is None else np.diag(residual)
    V, first = fit.sigma**2 * base, [base]
    for group, basis in spans.items():
        sigma = fit.cov_re[group]
        columns = np.column_stack(
            [np.ones(len(data)) if name == "Intercept" else column_of(data, name) for name in sigma.columns]
        )
        shared = indicator(data, fit, group)
        same = shared @ shared.T
        V = V + (columns @ sigma.to_numpy() @ columns.T) * same
        first += [(columns @ change @ columns.T) * same for change in basis]
    return Whole(V=V, first=first)


def column_of(data: pd.DataFrame, name: str) -> np.ndarray:
    return (data["occ"] == name[4:-1]).to_numpy(float) if name.startswith("occ[") else data[name].to_numpy(float)


def symmetric(q: int) -> list[np.ndarray]:
    """Basis of the symmetric matrices."""
    out = []
    for i in range(q):
        for j in range(i + 1):
            unit = np.zeros((q, q))
            unit[i, j] = unit[j, i] = 1.0
            out.append(unit)
    return out


def diagonal(q: int) -> list[np.ndarray]:
    return [np.diag(row) for row in np.eye(q)]


ONE, TWO = symmetric(1), symmetric(2)
MATRIX = np.array([[2.0, 0.5, 0.0, 0.0], [0.5, 1.0, 0.3, 0.0], [0.0, 0.3, 1.5, 0.2], [0.0, 0.0, 0.2, 1.0]])
MODELS = {
    "intercepts": ("(1 | g)", {"g": ONE}, {}),
    "slopes": ("(x | g)", {"g": TWO}, {}),
    "independent slopes": ("(x || g)", {"g": diagonal(2)}, {}),
    "no fixed slope": ("(w | g)", {"g": TWO}, {}),
    "crossed": ("(1 | g) + (1 | h)", {"g": ONE, "h": ONE}, {}),
    "crossed, slopes": ("(x | g) + (1 | h)", {"g": TWO, "h": ONE}, {}),
    "nested": ("(1 | g / k)", {"g": ONE, "g:k": ONE}, {}),
    "nested, slopes": ("(x | g) + (1 | g:k)", {"g": TWO, "g:k": ONE}, {}),
    "three factors": ("(1 | g) + (1 | h) + (1 | g:k)", {"g": ONE, "h": ONE, "g:k": ONE}, {}),
    "compound symmetry": ("cs(0 + occ | g)", {"g": [np.eye(4), np.ones((4, 4))]}, {}),
    "diagonal": ("diag(0 + occ | g)", {"g": diagonal(4)}, {}),
    "proportional": ("propto(0 + occ | g, M)", {"g": [MATRIX]}, {"known": {"M": MATRIX}}),
    "known beside estimated": ("equalto(0 + occ | h, M) + (1 | g)", {"h": [], "g": ONE}, {"known": {"M": MATRIX}}),
    "memberships": ("(1 | mm(g, other))", {"mm(g, other)": ONE}, {}),
    "precisions": ("(x | g)", {"g": TWO}, {"weights": cl.Precision("weight")}),
    "crossed, precisions": ("(1 | g) + (1 | h)", {"g": ONE, "h": ONE}, {"weights": cl.Precision("weight")}),
}
HYPOTHESIS = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.2, 1.0, -1.0]])


def compare(fit: object, twin: dense_inference.KenwardRoger, *, ddf: str = KR, rtol: float = 1e-8) -> None:
    """Adjusted covariance, single and joint tests."""
    size = np.sqrt(np.diag(twin.adjusted))
    vcov = fit.estimates.once(adjustment).vcov
    np.testing.assert_allclose(vcov / np.outer(size, size), twin.adjusted / np.outer(size, size), atol=rtol)
    table = fit.tests(ddf=ddf)
    a1 = np.array([twin.moments(row[None])[0] for row in np.eye(len(size))])
    np.testing.assert_allclose(table["df"], 2.0 / a1, rtol=rtol)
    np.testing.assert_allclose(table["std_error"], size, rtol=rtol)
    joint = fit.contrast(HYPOTHESIS, ddf=ddf, joint=True).iloc[0]
    statistic, df = twin.test(HYPOTHESIS, fit.params.to_numpy())
    np.testing.assert_allclose([joint["statistic"], joint["df_den"]], [statistic, df], rtol=10 * rtol)


def fixed_columns(data: pd.DataFrame) -> np.ndarray:
    return np.column_stack([np.ones(len(data)), data["x"], data["w"], data["z"]]).astype(float)


@pytest.mark.parametrize("name", MODELS)
def test_against_whole_matrices(name: str) -> None:
    term, spans, given = MODELS[name]
    data = rows()
    fit = cl.mixed(f"y ~ x + w + z + {term}", data, **given)
    residual = 1.0 / data["weight"].to_numpy() if "weights" in given else None
    found = whole(data, fit, spans, residual)
    compare(fit, dense_inference.kenward_roger(found.V, fixed_columns(data), found.first))


@pytest.mark.parametrize("term", ["(x | g)", "(x || g)", "(x | g) + (1 | h)"])
def test_singular_fits_against_whole_matrices(term: str) -> None:
    """The parametrisation is in variances and covariances, which are regular on the boundary."""
    data = rows(5, slope=0.0).assign(y=lambda d: d.y - 0.6 * d.groupby("h").y.transform("mean"))
    fit = cl.mixed(f"y ~ x + w + z + {term}", data)
    assert fit.is_singular
    spans = {"g": diagonal(2) if "||" in term else TWO} | ({"h": ONE} if "h)" in term else {})
    found = whole(data, fit, spans, None)
    compare(fit, dense_inference.kenward_roger(found.V, fixed_columns(data), found.first))


def test_known_residual_variances_against_whole_matrices() -> None:
    data = rows()
    fit = cl.mixed("y ~ x + w + z + (1 | g)", data, residual=cl.residual.Known("se"))
    found = whole(data, fit, {"g": ONE}, data["se"].to_numpy() ** 2)
    compare(fit, dense_inference.kenward_roger(found.V, fixed_columns(data), found.first[1:]))


def test_frequencies_are_equal_rows() -> None:
    data = rows(n=60)
    long = data.loc[data.index.repeat(data["times"])].reset_index(drop=True)
    fit = cl.mixed("y ~ x + w + z + (x | g)", data, weights=cl.Frequency("times"))
    other = cl.mixed("y ~ x + w + z + (x | g)", long)
    pd.testing.assert_frame_equal(fit.tests(ddf=KR), other.tests(ddf=KR), rtol=1e-6)


# -- covariance structures that are not linear ------------------------------------------------------------------------


def autoregressive(s2: float, r: float) -> tuple[list[np.ndarray], dict[tuple[int, int], np.ndarray], np.ndarray]:
    """Psi = s^2 R, R_ij = r^|i - j|, and its derivatives in (s^2, r); parameter 0 is the residual variance."""
    lag = np.abs(np.subtract.outer(np.arange(4), np.arange(4))).astype(float)
    R = r**lag
    dR = np.where(lag > 0, lag * r ** (lag - 1), 0.0)
    ddR = np.where(lag > 1, lag * (lag - 1) * r ** (lag - 2), 0.0)
    return [R, s2 * dR], {(1, 2): dR, (2, 1): dR, (2, 2): s2 * ddR}, s2 * R


def autoregressive_data() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    person, occ = (some.ravel() for some in np.meshgrid(np.arange(12), np.arange(4), indexing="ij"))
    kept = rng.random(96) > 0.2
    person, occ = (np.repeat(some, 2)[kept] for some in (person, occ))
    chol = np.linalg.cholesky(autoregressive(1.5, 0.6)[2])
    b = rng.normal(size=(12, 4)) @ chol.T
    x, w, z = rng.normal(size=len(occ)), rng.normal(size=len(occ)), rng.normal(size=12)[person]
    y = 1.0 + x + b[person, occ] + rng.normal(size=len(occ))
    names = np.char.add("t", occ.astype(str))
    return pd.DataFrame({"y": y, "x": x, "w": w, "z": z, "g": person, "occ": names})


def test_autoregressive_effects_against_whole_matrices() -> None:
    """The twin's parameters are the variance and the correlation, ours the elements of a square root."""
    data = autoregressive_data()
    fit = cl.mixed("y ~ x + w + z + ar1(0 + occ | g)", data)
    psi = fit.cov_re["g"].to_numpy()
    first, second, again = autoregressive(psi[0, 0], psi[0, 1] / psi[0, 0])
    np.testing.assert_allclose(again, psi, rtol=1e-10)
    columns = np.column_stack([column_of(data, name) for name in fit.cov_re["g"].columns])
    same = indicator(data, fit, "g") @ indicator(data, fit, "g").T

    def over_rows(change: np.ndarray) -> np.ndarray:
        return (columns @ change @ columns.T) * same

    V = fit.sigma**2 * np.eye(len(data)) + over_rows(psi)
    changes = [np.eye(len(data)), *map(over_rows, first)]
    bends = {key: over_rows(change) for key, change in second.items()}
    compare(fit, dense_inference.kenward_roger(V, fixed_columns(data), changes, bends), ddf="kenward-roger-2009")
    with pytest.raises(CrosslevelError, match=r"parametrised.*kenward-roger-2009"):
        fit.tests(ddf=KR)


def test_bias_terms_do_not_depend_on_the_parameters() -> None:
    """The twin for compound symmetry in a standard deviation and an angle, which is linear in other parameters."""
    data = autoregressive_data()
    fit = cl.mixed("y ~ x + w + z + cs(0 + occ | g)", data)
    psi = fit.cov_re["g"].to_numpy()
    s, r = np.sqrt(psi[0, 0]), psi[0, 1] / psi[0, 0]
    J, E = np.ones((4, 4)), np.eye(4)
    sin, cos = r, np.sqrt(1 - r**2)  # r = sin(a)
    R, dR, ddR = E + sin * (J - E), cos * (J - E), -sin * (J - E)
    columns = np.column_stack([column_of(data, name) for name in fit.cov_re["g"].columns])
    same = indicator(data, fit, "g") @ indicator(data, fit, "g").T

    def over_rows(change: np.ndarray) -> np.ndarray:
        return (columns @ change @ columns.T) * same

    first = [np.eye(len(data)), over_rows(2 * s * R), over_rows(s**2 * dR)]
    second = {(1, 1): 2 * R, (1, 2): 2 * s * dR, (2, 1): 2 * s * dR, (2, 2): s**2 * ddR}
    V = fit.sigma**2 * np.eye(len(data)) + over_rows(psi)
    bends = {key: over_rows(change) for key, change in second.items()}
    compare(fit, dense_inference.kenward_roger(V, fixed_columns(data), first, bends))
    without = dense_inference.kenward_roger(V, fixed_columns(data), first, bends, bias=False)
    assert np.abs(without.adjusted / fit.estimates.once(adjustment).vcov - 1.0).max() > 1e-4


def test_the_versions_agree_in_linear_models() -> None:
    fit = cl.mixed("y ~ x + w + z + (x | g) + (1 | h)", rows())
    pd.testing.assert_frame_equal(fit.tests(ddf=KR), fit.tests(ddf="kenward-roger-2009"))
    pd.testing.assert_frame_equal(fit.anova(ddf=KR), fit.anova(ddf="kenward-roger-2009"))


# -- closed forms and invariances -------------------------------------------------------------------------------------


def test_balanced_one_way_is_exact() -> None:
    data = cl.datasets.load("sleepstudy")
    table = cl.mixed("Reaction ~ 1 + (1 | Subject)", data).tests(ddf=KR)
    means = data.groupby("Subject", observed=True)["Reaction"].mean()
    np.testing.assert_allclose(table["df"], 17.0, rtol=1e-10)
    np.testing.assert_allclose(table["std_error"], means.std() / np.sqrt(18), rtol=1e-8)


def test_balanced_growth_is_hotelling() -> None:
    """With one more random effect than nothing to adjust for, the mean of the clusters' own coefficients: J - 1."""
    data = cl.datasets.load("sleepstudy")
    table = cl.mixed("Reaction ~ Days + (Days | Subject)", data).tests(ddf=KR)
    own = np.array([np.polyfit(some["Days"], some["Reaction"], 1)[0] for _, some in data.groupby("Subject")])
    np.testing.assert_allclose(table.loc["Days", "df"], 17.0, rtol=1e-10)
    np.testing.assert_allclose(table.loc["Days", "std_error"], own.std(ddof=1) / np.sqrt(18), rtol=1e-7)


def test_split_plot_is_exact() -> None:
    table = fit_case("cake__interaction_poly_reml").anova(ddf=KR)
    assert table["df_num"].tolist() == [2.0, 5.0, 10.0]
    np.testing.assert_allclose(table["df_den"], [42.0, 210.0, 210.0], rtol=1e-9)


@pytest.mark.parametrize("ddf", [KR, "satterthwaite"])
@pytest.mark.parametrize("term", ["(x | g)", "(x | g) + (1 | h)"])
def test_units_and_the_order_of_rows_do_not_matter(ddf: str, term: str) -> None:
    data = rows()
    other = data.assign(y=1e3 * data.y + 7.0, x=0.01 * data.x - 5.0).sample(frac=1.0, random_state=1)
    one, two = (cl.mixed(f"y ~ x + w + z + {term}", some).tests(ddf=ddf) for some in (data, other))
    slopes = ["x", "w", "z"]
    np.testing.assert_allclose(two.loc[slopes, "df"], one.loc[slopes, "df"], rtol=1e-5)
    np.testing.assert_allclose(two.loc[slopes, "statistic"], one.loc[slopes, "statistic"], rtol=1e-6)


def test_parts_of_the_clusters_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, again = (cl.mixed("y ~ x + w + z + (x | g)", rows()) for _ in range(2))
    whole_sum = fit.tests(ddf=KR)
    monkeypatch.setattr(marginal_sums, "AT_ONCE", 1)
    pd.testing.assert_frame_equal(again.tests(ddf=KR), whole_sum, rtol=1e-12)


def test_nothing_is_as_large_as_the_data() -> None:
    rng = np.random.default_rng(1)
    g, x = rng.integers(0, 40, 20_000), rng.normal(size=20_000)
    y = rng.normal(size=40)[g] + rng.normal(size=40)[g] * x + rng.normal(size=len(g))
    fit = cl.mixed("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g}))
    adjustment(fit.estimates)
    tracemalloc.start()
    adjustment(fit.estimates)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * fit.nobs


def test_batches_give_the_same(tmp_path: object) -> None:
    data = rows()
    data.to_parquet(tmp_path / "rows.parquet")
    streamed = cl.mixed("y ~ x + w + z + (x | g)", tmp_path / "rows.parquet", progress=False)
    for ddf in (KR, "satterthwaite", "between-within"):
        memory = cl.mixed("y ~ x + w + z + (x | g)", data).tests(ddf=ddf)
        pd.testing.assert_frame_equal(streamed.tests(ddf=ddf), memory, rtol=1e-6)
    pd.testing.assert_frame_equal(streamed.anova(ddf=KR), cl.mixed("y ~ x + w + z + (x | g)", data).anova(ddf=KR))


def test_a_single_hypothesis_is_not_scaled() -> None:
    """The general formulas give m = 2 / A1 and lambda = 1 for r = 1."""
    for a in (0.02, 0.3):
        b, g = 7.0 * a / 2.0, -1.0
        c1, c2, c3 = np.array([g, 1.0 - g, 3.0 - g]) / (3.0 + 2.0 * (1.0 - g))
        mean = 1.0 / (1.0 - a)
        rho = (1.0 + c1 * b) / ((1.0 - c2 * b) ** 2 * (1.0 - c3 * b)) / mean**2
        m = 4.0 + 3.0 / (rho - 1.0)
        np.testing.assert_allclose(f_approximation(1, a, a), (m, m / (mean * (m - 2.0))), rtol=1e-12)


def test_moments_of_no_f_distribution_leave_no_degrees_of_freedom() -> None:
    df, scale = f_approximation(3, 40.0, 20.0)
    assert np.isnan(df)
    assert scale == 1.0


def test_known_variances_leave_nothing_to_adjust() -> None:
    fit = cl.mixed("y ~ x + w + z", rows(), residual=cl.residual.Known("se"))
    table = fit.tests(ddf=KR)
    pd.testing.assert_frame_equal(table, fit.tests(ddf="normal"))
    pd.testing.assert_frame_equal(fit.anova(ddf=KR), fit.anova(ddf="normal"))


def test_a_model_without_fixed_effects_has_nothing_to_test() -> None:
    fit = cl.mixed("y ~ 0 + (1 | g)", rows())
    assert fit.tests(ddf=KR).empty
    assert fit.anova(ddf=KR).empty


@pytest.mark.parametrize("term", ["(x | g)", "(x | g) + (1 | h)"])
@pytest.mark.parametrize("clusters", [4, 7])
def test_slopes_that_vary_a_thousand_times_as_much_as_residuals(term: str, clusters: int) -> None:
    """Their mean is that of the clusters' own slopes: J - 1 degrees of freedom, whatever the rest is."""
    data = rows().assign(g=lambda d: d.g % clusters)
    b = np.random.default_rng(1).normal(size=clusters)
    data["y"] += 100.0 * b[data["g"]] * (data["x"] - 3.0)
    table = cl.mixed(f"y ~ x + w + z + {term}", data).tests(ddf=KR)
    np.testing.assert_allclose(table.loc["x", "df"], clusters - 1.0, rtol=1e-5)
    np.testing.assert_allclose(table.loc["x", "std_error"], 100.0 * b.std(ddof=1) / np.sqrt(clusters), rtol=1e-2)


def known_part(n: int, variance: float) -> dict[str, object]:
    """Arguments for a model with a known variance beside the estimated one, the same for all rows."""
    data = rows(n=n).assign(row=[f"r{i:02d}" for i in range(n)], one=1)
    data["y"] = 1.0 + np.random.default_rng(0).normal(size=n)
    return {"data": data, "known": {"M": variance * np.eye(n)}, "progress": False}


def test_a_known_part_of_the_variance_does_not_change_degrees_of_freedom() -> None:
    """V = (sigma^2 + 0.5) I is as uncertain as sigma^2 I, though sigma^2 is a part of it."""
    fit = cl.mixed("y ~ x + w + equalto(0 + row | one, M)", **known_part(40, 0.5))
    assert 0.1 < fit.sigma < 0.9
    for ddf in (KR, "satterthwaite"):
        np.testing.assert_allclose(fit.tests(ddf=ddf)["df"], 37.0, rtol=1e-6)


# -- what is refused --------------------------------------------------------------------------------------------------


def refused(fit: object, match: str, ddf: str = KR) -> None:
    with pytest.raises(CrosslevelError, match=match):
        fit.tests(ddf=ddf)
    with pytest.raises(CrosslevelError, match=match):
        fit.anova(ddf=ddf)


def test_ml_is_refused() -> None:
    refused(cl.mixed("y ~ x + (x | g)", rows(), method="ml"), r'REML.*method="reml"')


def test_residual_structures_with_parameters_are_refused() -> None:
    data = rows().assign(kind=lambda d: np.where(d.w > 0.0, "a", "b"))
    refused(cl.mixed("y ~ x + (1 | g)", data, residual=cl.residual.By("kind")), "residual structures.*satterthwaite")


@pytest.mark.filterwarnings("ignore:.*scal.*:crosslevel.errors.DataWarning")
def test_sampling_weights_are_refused() -> None:
    fit = cl.mixed("y ~ x + (1 | g)", rows(), method="ml", weights=cl.Sampling("weight"))
    refused(fit, "sampling weights.*m-l-1")
    refused(fit, "sampling weights.*m-l-1", "satterthwaite")


def test_iterative_solutions_and_size_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = rows(n=300)
    refused(cl.mixed("y ~ x + (1 | g) + (1 | h)", data, algebra="iterative"), "iterative")
    monkeypatch.setattr(marginal_sums, "WIDEST", 11)
    refused(cl.mixed("y ~ x + (1 | g) + (1 | h)", data), "all 12 random effects")


def test_correlations_of_effects_that_do_not_vary_are_refused() -> None:
    data = rows()
    data["y"] = np.random.default_rng(0).normal(size=len(data))
    fit = cl.mixed("y ~ x + ar1(0 + occ | g)", data)
    assert fit.theta[0] == 0.0
    refused(fit, "information on all", "kenward-roger-2009")


def test_an_expansion_that_does_not_hold_is_refused() -> None:
    """Correlations at the end of their range, of a structure that is not linear in them."""
    fit = cl.mixed("y ~ x + w + z + hcs(0 + occ | g)", rows())
    assert fit.is_singular
    refused(fit, r"expansion does not hold.*satterthwaite", "kenward-roger-2009")


def test_a_residual_variance_of_zero_is_refused() -> None:
    fit = cl.mixed("y ~ x + w + equalto(0 + row | one, M)", **known_part(40, 2.0))
    refused(fit, r"residual variance, which is estimated as \(nearly\) zero.*Known")
    assert np.all(fit.tests(ddf="satterthwaite")["df"] > 1e6)  # as if it were known
