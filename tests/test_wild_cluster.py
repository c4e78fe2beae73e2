"""Wild cluster bootstrap of linear regressions: against outcomes drawn and refitted row by row, and in simulations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.inference.wild_cluster import WildWeights


def small(sizes: tuple[int, ...] = (5, 12, 7, 2, 9, 15, 4, 8, 11), seed: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(len(sizes)), sizes)
    n = len(g)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=n) + 3.0, "z": rng.normal(size=len(sizes))[g] + 40.0})
    frame["y"] = 100.0 + 0.5 * frame["x"] + rng.normal(size=n) + 0.6 * rng.normal(size=len(sizes))[g]
    return frame.assign(f=rng.integers(1, 4, n), w=rng.uniform(0.5, 2.0, n), one=1, h=rng.integers(0, 3, n))


DATA = small()


class Rows:
    """The same test with whole columns: draws of y, each refitted."""

    def __init__(self, data: pd.DataFrame, weights: np.ndarray | None = None) -> None:
        root = np.ones(len(data)) if weights is None else np.sqrt(weights)
        self.x = np.column_stack([np.ones(len(data)), data["x"], data["z"]]) * root[:, None]
        self.y, self.g = data["y"].to_numpy() * root, data["g"].to_numpy()

    def fit(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        beta = np.linalg.lstsq(self.x, y, rcond=None)[0]
        return beta, y - self.x @ beta

    def error(self, e: np.ndarray, c: np.ndarray) -> float:
        n, p = self.x.shape
        groups = np.unique(self.g)
        bread = np.linalg.inv(self.x.T @ self.x)
        scores = np.array([self.x[self.g == g].T @ e[self.g == g] for g in groups])
        factor = len(groups) / (len(groups) - 1) * (n - 1) / (n - p)
        return float(np.sqrt(factor * np.sum((scores @ bread @ c) ** 2)))

    def statistic(self, c: np.ndarray, r: float) -> float:
        beta, e = self.fit(self.y)
        return float(c @ beta - r) / self.error(e, c)

    def draws(self, c: np.ndarray, r: float, weights: np.ndarray, *, null: bool) -> np.ndarray:
        beta, e = self.fit(self.y)
        target = c @ beta
        if null:
            bread = np.linalg.inv(self.x.T @ self.x)
            beta = beta - bread @ c * (c @ beta - r) / (c @ bread @ c)
            e, target = self.y - self.x @ beta, r
        out = []
        for v in weights:
            own, left = self.fit(self.x @ beta + v[self.g] * e)
            out.append((c @ own - target) / self.error(left, c))
        return np.array(out)


def weights_of(kind: str, clusters: int, n: int, seed: int) -> np.ndarray:
    made = WildWeights.of(kind, clusters, n)
    return np.concatenate(list(made.chunks(np.random.default_rng(np.random.SeedSequence(seed)))))


@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize("kind", ["webb", "rademacher"])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_drawn_and_refitted(kind: str, null: bool, weighted: bool) -> None:
    """Statistics of every draw to 1e-10, p-values exactly, with hypotheses other than zero."""
    fit = cl.ols("y ~ x + z", DATA, cluster="g", weights=cl.Precision("w") if weighted else None)
    rows = Rows(DATA, DATA["w"].to_numpy() if weighted else None)
    weights = weights_of(kind, 9, 199, 7)
    for c, name, r in (
        (np.eye(3)[1], "x", 0.3),
        (np.eye(3)[2], "z", 0.0),
        (np.array([0.0, 2.0, -1.0]), "2 * x - z", 1.0),
    ):
        found = fit.wild_test(name, value=r, n=199, weights=kind, null=null, seed=7)
        theirs, row = rows.draws(c, r, weights, null=null), found.frame.loc[name]
        t = rows.statistic(c, r)
        assert row["statistic"] == pytest.approx(t, rel=1e-9)
        np.testing.assert_allclose(_statistics(fit, c, r, weights, null=null), theirs, rtol=1e-8, atol=1e-10)
        count = np.count_nonzero(np.abs(theirs) >= abs(t) * (1.0 - 1e-9))
        assert row["p_value"] == pytest.approx((1.0 + count) / 200.0, rel=1e-12)


def _statistics(fit: Any, c: np.ndarray, r: float, weights: np.ndarray, *, null: bool) -> np.ndarray:
    """t* of all draws, from the five numbers that are kept of each."""
    from crosslevel.inference.clusterings import clustering_named
    from crosslevel.inference.ordinary_clusters import OrdinaryClusters
    from crosslevel.inference.wild_cluster import Restriction

    sums = OrdinaryClusters.of(fit.design, fit.solved, clustering_named(fit.design, "g"))
    own = Restriction.of(sums, c)
    n0, n1, q00, q01, q11 = own.sums(
        weights @ sums.gram[:, :-1, -1], weights @ own.columns, weights**2 @ own.square_columns
    )
    delta = (float(c @ fit.beta) - r) if null else 0.0
    j, n, p = len(weights[0]), fit.nobs, len(c)
    factor = j / (j - 1) * (n - 1) / (n - p)
    return (n0 + delta * n1) / np.sqrt(factor * (q00 + 2.0 * delta * q01 + delta**2 * q11))


@pytest.mark.parametrize("null", [True, False])
def test_interval_holds_what_is_not_rejected(null: bool) -> None:
    fit, rows = cl.ols("y ~ x + z", DATA, cluster="g"), Rows(DATA)
    weights = weights_of("webb", 9, 399, 3)
    found = fit.wild_test(["x", "z"], n=399, seed=3, level=0.9, null=null).frame
    for k, term in ((1, "x"), (2, "z")):
        c, row = np.eye(3)[k], found.loc[term]
        for end, outside in (("conf_low", -1.0), ("conf_high", 1.0)):
            for step, rejected in ((1e-5, True), (-1e-5, False)):
                r = row[end] + outside * step * row["std_error"]
                theirs = rows.draws(c, r, weights, null=null)
                p = (1.0 + np.count_nonzero(np.abs(theirs) >= abs(rows.statistic(c, r)))) / 400.0
                assert bool(p <= 0.1 + 1e-12) == rejected
        # the facade's own p-value at the ends
        assert (
            fit.wild_test(term, value=row["conf_high"] - 1e-5, n=399, seed=3, null=null).frame.loc[term, "p_value"]
            > 0.1
        )


def test_all_vectors_of_signs() -> None:
    """With few clusters nothing is left to chance: the p-value is a share of all 2^J, whatever the seed."""
    fit, rows = cl.ols("y ~ x + z", DATA, cluster="g"), Rows(DATA)
    one, two = (fit.wild_test(weights="rademacher", seed=seed) for seed in (1, 2))
    pd.testing.assert_frame_equal(one.frame, two.frame)
    assert (one.every, one.n, list(one.frame["draws"])) == (True, 512, [512, 512])
    signs = 1.0 - 2.0 * (np.arange(512)[:, None] >> np.arange(9) & 1)
    for k, term in ((1, "x"), (2, "z")):
        c = np.eye(3)[k]
        theirs = np.abs(rows.draws(c, 0.0, signs, null=True))
        count = np.count_nonzero(theirs >= abs(rows.statistic(c, 0.0)) * (1.0 - 1e-9))
        assert one.frame.loc[term, "p_value"] == count / 512
    assert "all 512 vectors of signs" in str(one)
    sampled = fit.wild_test("x", weights="rademacher", n=300, seed=1)
    assert (sampled.every, sampled.n) == (False, 300)


def test_few_vectors_of_signs_give_no_interval() -> None:
    few = DATA[DATA["g"] < 5]
    found = cl.ols("y ~ x", few, cluster="g").wild_test(weights="rademacher")
    assert found.frame.loc["x", "p_value"] >= 2 / 32
    assert np.isinf(found.conf_int().to_numpy()).all()
    assert "no p-value is below 0.0625" in " ".join(str(found).split())
    webb = cl.ols("y ~ x", few, cluster="g").wild_test(seed=1)
    assert np.isfinite(webb.conf_int().to_numpy()).all()


def test_weights_by_the_number_of_clusters() -> None:
    many = small(tuple(range(3, 17)))
    assert cl.ols("y ~ x", many, cluster="g").wild_test(weights="auto", n=99, seed=1).weights == "rademacher"
    assert cl.ols("y ~ x", DATA, cluster="g").wild_test(weights="auto", n=99, seed=1).weights == "webb"
    drawn = weights_of("webb", 9, 6000, 1)
    values, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_allclose(values**2, [1.5, 1.0, 0.5, 0.5, 1.0, 1.5], rtol=1e-12)
    assert np.all(np.abs(counts - 9000) < 4 * np.sqrt(54000 * 5 / 36))


def test_frequencies_offsets_order_and_units() -> None:
    base = cl.ols("y ~ x + z", DATA, cluster="g").wild_test(seed=4, n=499).frame
    moved = DATA.assign(known=2.0 * DATA["w"], y=DATA["y"] + 2.0 * DATA["w"], x=1e3 * DATA["x"] - 5e4)
    again = cl.ols("y ~ x + z", moved.iloc[::-1], offset="known").wild_test(cluster="g", seed=4, n=499).frame
    pd.testing.assert_series_equal(again["p_value"], base["p_value"])
    np.testing.assert_allclose(again.loc["z"], base.loc["z"], rtol=1e-7)
    one = cl.ols("y ~ x", DATA, cluster="g", weights=cl.Frequency("f")).wild_test(seed=4, n=499).frame
    two = cl.ols("y ~ x", DATA.loc[DATA.index.repeat(DATA["f"])], cluster="g").wild_test(seed=4, n=499).frame
    np.testing.assert_allclose(one, two, rtol=1e-8)


def test_clusters_made_of_two_columns() -> None:
    joint = DATA.assign(both=10 * DATA["g"] + DATA["h"])
    one = cl.ols("y ~ x + z", joint, cluster="g:h").wild_test(["x", "x - z"], seed=4, n=299, value=0.1)
    two = cl.ols("y ~ x + z", joint, cluster="both").wild_test(["x", "x - z"], seed=4, n=299, value=0.1)
    assert one.cluster == "g:h"
    np.testing.assert_allclose(one.frame, two.frame, rtol=1e-9)
    three = cl.ols("y ~ x + z", joint).dependence("both").frame
    np.testing.assert_allclose(cl.ols("y ~ x + z", joint, cluster="g:h").dependence().frame, three, rtol=1e-9)


def test_seeds() -> None:
    fit = cl.ols("y ~ x", DATA, cluster="g")
    one, two, three = (fit.wild_test(seed=seed, n=999).frame for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, two)
    assert one.loc["x", "conf_low"] != three.loc["x", "conf_low"]
    drawn = fit.wild_test(n=99)
    pd.testing.assert_frame_equal(fit.wild_test(n=99, seed=drawn.seed).frame, drawn.frame)


def test_terms_are_tested_by_the_same_draws() -> None:
    fit = cl.ols("y ~ x + z", DATA, cluster="g")
    both, one = fit.wild_test(seed=1, n=299).frame, fit.wild_test("z", seed=1, n=299).frame
    np.testing.assert_allclose(one.loc["z"], both.loc["z"], rtol=1e-9)
    assert list(cl.ols("y ~ 1", DATA, cluster="g").wild_test(n=99, seed=1).frame.index) == ["Intercept"]
    np.testing.assert_allclose(both["std_error"], fit.tests("CR1S")["std_error"][["x", "z"]], rtol=1e-10)


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = cl.ols("y ~ x + z", DATA, cluster="g")
    whole = fit.wild_test(weights="rademacher").frame
    monkeypatch.setattr("crosslevel.inference.wild_cluster.CHUNK", 9 * 16)
    np.testing.assert_allclose(fit.wild_test(weights="rademacher").frame, whole, rtol=1e-10)


def test_what_no_cluster_tells_is_not_tested() -> None:
    found = cl.ols("y ~ x + C(g)", DATA, cluster="g").wild_test(["x", "C(g)[3]"], n=199, seed=1)
    assert np.isfinite(found.frame.loc["x", "p_value"])
    alone = cl.ols("y ~ C(g)", DATA, cluster="g").wild_test(n=99, seed=1)
    assert alone.frame["p_value"].isna().all()
    assert "No test of C(g)[1]" in " ".join(str(alone).split())


def test_words() -> None:
    data = DATA.assign(treated=1.0 * (DATA["g"] < 1))
    found = cl.ols("y ~ x + treated", data, cluster="g").wild_test(seed=1, n=999)
    text = " ".join(str(found).split())
    for part in (
        "Wild cluster bootstrap: y", "9 (g)", "999 of Webb's six-point weights, seed 1", "(CR1S)", "imposed",
        "The information on treated (", "rejects too seldom",
    ):  # fmt: skip
        assert part in text, part
    assert "<table" in found._repr_html_()
    assert found.frame.loc["treated", "effective_clusters"] < 2.0


@pytest.mark.slow
def test_level_with_eight_clusters() -> None:
    """A context variable with no effect: 5 and 20 per cent are rejected, where rows as independent reject far more."""
    rng, reps, clusters, size = np.random.default_rng(12), 400, 8, 25
    g = np.repeat(np.arange(clusters), size)
    p, naive = np.empty(reps), np.empty(reps)
    for k in range(reps):
        z = rng.normal(size=clusters)[g]
        frame = pd.DataFrame({"g": g, "z": z, "x": rng.normal(size=len(g))})
        frame["y"] = frame["x"] + 0.5 * rng.normal(size=clusters)[g] + rng.normal(size=len(g))
        fit = cl.ols("y ~ z + x", frame)
        p[k] = fit.wild_test("z", cluster="g", n=399, seed=k).frame["p_value"].iloc[0]
        naive[k] = fit.pvalues["z"]
    for level in (0.05, 0.2):
        assert abs(np.mean(p <= level) - level) < 3.0 * np.sqrt(level * (1.0 - level) / reps)
    assert np.mean(naive <= 0.05) > 0.3


ERRORS = {
    "no cluster": ({}, {}, "no clusters were named"),
    "two clusterings": ({"cluster": ["g", "h"]}, {}, "about one clustering"),
    "one value": ({}, {"cluster": "one"}, "has one value"),
    "column": ({}, {"cluster": "gg"}, "`cluster` uses 'gg'"),
    "term": ({"cluster": "g"}, {"terms": "xx"}, "`terms` uses 'xx'"),
    "draws": ({"cluster": "g"}, {"n": 0}, "`n` is a whole number"),
    "weights": ({"cluster": "g"}, {"weights": "mammen"}, "`weights` is one of"),
    "null": ({"cluster": "g"}, {"null": 0.0}, "`null` is True"),
    "value": ({"cluster": "g"}, {"value": np.nan}, "`value` is the number"),
    "level": ({"cluster": "g"}, {"level": 95}, "`level`"),
    "seed": ({"cluster": "g"}, {"seed": -1}, "`seed` is a whole number"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str) -> None:
    given, asked, message = ERRORS[case]
    with pytest.raises(cl.CrosslevelError, match=message):
        cl.ols("y ~ x", DATA, **given).wild_test(**asked)
