"""The bootstrap of a fit: what is refused, what is counted, and what does not change the result."""

import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bootstrap_models import clustered, fitted, of_file, setting_of

import crosslevel as cl
from crosslevel.estimators import resampling
from crosslevel.inference.bootstrap import intervals, run
from crosslevel.inference.bootstrap.batch import Batch, Outcome
from crosslevel.inference.bootstrap.jackknife import GROUPS, without_groups

KINDS = ("cluster", "parametric", "residual", "wild")


def crossed_frame(seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = (codes.ravel() for codes in np.indices((12, 9)))
    a, b = np.tile(a, 2), np.tile(b, 2)
    x = rng.normal(size=len(a))
    y = 2.0 + 0.5 * x + rng.normal(0, 1.0, 12)[a] + rng.normal(0, 0.7, 9)[b] + rng.normal(size=len(a))
    return pd.DataFrame({"y": y, "x": x, "a": [f"a{k}" for k in a], "b": [f"b{k}" for k in b]})


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_result_whatever_the_threads(kind):
    fit = fitted("two effects")
    one, two = (fit.bootstrap(60, kind, seed=11, n_jobs=jobs) for jobs in (1, 3))
    assert np.array_equal(one.batch.values, two.batch.values)
    assert np.array_equal(one.batch.std_errors, two.batch.std_errors)
    other = fit.bootstrap(60, kind, seed=12, n_jobs=2)
    assert not np.array_equal(one.batch.values, other.batch.values)


def test_more_replicates_begin_with_the_same_ones():
    fit = fitted("two effects")
    few, many = fit.bootstrap(2 * run.BLOCK, seed=1), fit.bootstrap(5 * run.BLOCK, seed=1)
    assert np.array_equal(few.batch.values, many.batch.values[: 2 * run.BLOCK])


def test_a_generator_and_no_seed_are_told_in_the_result():
    fit = fitted("one effect")
    boot = fit.bootstrap(30, seed=np.random.default_rng(4))
    assert np.array_equal(fit.bootstrap(30, seed=boot.seed).batch.values, boot.batch.values)
    boot = fit.bootstrap(30)
    assert np.array_equal(fit.bootstrap(30, seed=boot.seed).batch.values, boot.batch.values)


@pytest.mark.parametrize("method", intervals.METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_the_estimate_and_are_about_as_wide_as_those_of_t(kind, method):
    fit = fitted("two effects")
    boot = fit.bootstrap(300, kind, seed=2)
    frame = boot.conf_int(method=method, terms=["x", "w"])
    width = (frame["conf_high"] - frame["conf_low"]) / (2.2 * 2.0 * fit.bse[["x", "w"]])
    assert width.between(0.5, 2.0).all()
    assert (frame["conf_low"] < frame["estimate"]).all()
    assert (frame["estimate"] < frame["conf_high"]).all()
    assert frame["replicates"].tolist() == [300, 300]


def test_the_record_holds_all_replicates():
    boot = fitted("two effects").bootstrap(100, seed=3)
    frame = boot.replicates
    assert frame.shape == (100, 7)
    assert list(frame.columns[:3]) == ["Intercept", "x", "w"]
    assert frame.index.tolist() == list(range(1, 101))
    assert boot.bias["x"] == pytest.approx(frame["x"].mean() - fitted("two effects").params["x"])
    assert boot.std_error["sigma"] == pytest.approx(frame["sigma"].std())
    assert boot.replicate_std_errors.shape == (100, 3)
    assert boot.counts[["asked", "done", "failed", "used"]].tolist() == [100, 100, 0, 100]
    assert "100 done" in str(boot)
    assert "<table" in boot._repr_html_()
    assert set(boot.refits.columns) == {"deviance", "singular", "failed", "why"}


def test_intervals_by_hand():
    boot = fitted("one effect").bootstrap(199, seed=3)
    values = np.sort(boot.replicates["x"].to_numpy())
    estimate = boot.estimate[1]
    low, high = values[4], values[194]  # (199 + 1) x 0.025 = 5, (199 + 1) x 0.975 = 195
    percentile = boot.conf_int(terms="x").loc["x"]
    assert (percentile["conf_low"], percentile["conf_high"]) == pytest.approx((low, high))
    basic = boot.conf_int(method="basic", terms="x").loc["x"]
    assert (basic["conf_low"], basic["conf_high"]) == pytest.approx((2 * estimate - high, 2 * estimate - low))
    normal = boot.conf_int(method="normal", terms="x").loc["x"]
    centre = estimate - (values.mean() - estimate)
    assert normal["conf_low"] + normal["conf_high"] == pytest.approx(2 * centre)
    ratio = np.sort((boot.replicates["x"] - estimate) / boot.replicate_std_errors["x"])
    studentised = boot.conf_int(method="studentised", terms="x").loc["x"]
    assert studentised["conf_low"] == pytest.approx(estimate - ratio[194] * boot.std_errors[1])


def test_bca_without_skewness_or_bias_is_the_percentile_interval():
    values = np.concatenate([np.arange(-1000.0, 0.0), [0.0], np.arange(1.0, 1001.0)])
    assert intervals.bca(0.0, values, 0.0, 0.9) == pytest.approx(intervals.percentile(values, 0.9))


def test_bca_of_the_mean_of_an_exponential_sample():
    """Efron & Tibshirani (1993), section 14.3: a = skewness / (6 sqrt(n)) for a mean."""
    sample = np.random.default_rng(1).exponential(size=30)
    left_out = np.array([[np.delete(sample, k).mean()] for k in range(30)])
    d = sample - sample.mean()
    assert intervals.acceleration(left_out) == pytest.approx([np.sum(d**3) / (6 * np.sum(d**2) ** 1.5)])


def test_bca_has_no_interval_beyond_all_replicates():
    assert np.all(np.isnan(intervals.bca(5.0, np.arange(4.0), 0.0, 0.95)))


def test_jackknife_leaves_out_every_cluster_once():
    assert np.array_equal(sum(1.0 - times for times in without_groups(7)), np.ones(7))
    many = list(without_groups(1000))
    assert len(many) == GROUPS
    assert np.array_equal(sum(1.0 - times for times in many), np.ones(1000))


def test_singular_refits_are_kept_or_dropped_and_counted():
    fit = of_file("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    kept = fit.bootstrap(100, "parametric", seed=1)
    dropped = fit.bootstrap(100, "parametric", seed=1, singular="drop")
    n = int(kept.batch.singular.sum())
    assert 10 < n < 100
    assert kept.counts["used"] == 100
    assert dropped.counts["used"] == 100 - n
    assert dropped.counts["singular"] == n
    assert f"{n} singular, kept" in str(kept)
    assert f"{n} singular, left out" in str(dropped)
    assert dropped.conf_int()["replicates"].tolist() == [100 - n] * 3


def one_sector_frame() -> pd.DataFrame:
    """Eight clusters of which one alone is in a sector: a third of the draws lack it."""
    frame = clustered(clusters=8)
    return frame.assign(sector=(frame["g"] == "c0").astype(float))


def test_refits_that_fail_are_counted_and_left_out():
    fit = cl.mixed("y ~ x + sector + (1 | g)", one_sector_frame())
    boot = fit.bootstrap(200, seed=1)
    n = int((boot.batch.outcome == Outcome.UNIDENTIFIED).sum())
    assert 40 < n < 100  # (7 / 8)^8 of 200 = 69
    assert boot.counts["failed"] == n
    assert boot.counts["failed: coefficients are not identified in the draw"] == n
    assert boot.counts["used"] == 200 - n
    assert boot.replicates["x"].isna().sum() == n
    assert boot.refits["failed"].sum() == n
    assert boot.conf_int(terms="x")["replicates"].tolist() == [200 - n]
    assert "of the refits failed" in str(boot)


def test_refits_that_fail_raise_if_wanted():
    fit = cl.mixed("y ~ x + sector + (1 | g)", one_sector_frame())
    with pytest.raises(cl.CrosslevelError, match="could not refit replicate"):
        fit.bootstrap(200, seed=1, failed="raise")


def test_an_interrupt_keeps_what_is_done(monkeypatch):
    fit = fitted("one effect")
    collect = run._collect

    def interrupted(waiting, done, reporter, failed):
        first = dict([next(iter(waiting.items()))])
        collect(first, done, reporter, failed)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_collect", interrupted)
    boot = fit.bootstrap(2000, seed=1, n_jobs=1)
    assert boot.interrupted
    assert run.BLOCK <= len(boot.batch) < 2000
    assert len(boot.batch) % run.BLOCK == 0
    assert "Interrupted" in str(boot)
    assert boot.replicates.index.tolist() == list(range(1, len(boot.batch) + 1))
    monkeypatch.setattr(run, "_collect", collect)
    whole = fit.bootstrap(len(boot.batch), seed=1)
    assert np.array_equal(whole.batch.values, boot.batch.values)


def test_progress_tells_how_many(capsys, monkeypatch):
    monkeypatch.setattr(run, "PATIENCE", 0.0)
    fitted("one effect").bootstrap(100, seed=1, n_jobs=1)
    assert "crosslevel: bootstrap: 100 of 100 refits\n" in capsys.readouterr().err
    fitted("one effect").bootstrap(100, seed=1, n_jobs=1, progress=False)
    assert capsys.readouterr().err == ""


def test_no_threads_are_left():
    before = threading.active_count()
    fitted("one effect").bootstrap(60, seed=1, n_jobs=4)
    assert threading.active_count() == before


# -- which models ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["parametric", "residual", "wild"])
def test_crossed_factors(kind):
    fit = cl.mixed("y ~ x + (1 | a) + (1 | b)", crossed_frame())
    boot = fit.bootstrap(20, kind, seed=1)
    assert boot.counts["failed"] == 0
    assert boot.names == ("Intercept", "x", "sd(Intercept|a)", "sd(Intercept|b)", "sigma")
    ratio = boot.std_error["x"] / fit.bse["x"]
    assert 0.5 < ratio < 1.6
    with pytest.raises(cl.CrosslevelError, match="leaving out independent clusters"):
        boot.conf_int(method="bca")


def test_crossed_factors_have_no_clusters():
    fit = cl.mixed("y ~ x + (1 | a) + (1 | b)", crossed_frame())
    with pytest.raises(cl.CrosslevelError, match="not nested in each other"):
        fit.bootstrap(20, "cluster")


@pytest.mark.parametrize("kind", KINDS)
def test_three_levels(kind):
    fit = of_file("strength ~ 1 + (1 | batch) + (1 | batch:cask)", "Pastes")
    boot = fit.bootstrap(12, kind, seed=1)
    assert boot.counts["failed"] == 0
    terms = None if kind != "wild" else ["Intercept"]
    assert boot.conf_int(terms=terms).notna().all().all()
    assert boot.conf_int(method="bca", terms=["Intercept"]).notna().all().all()


@pytest.mark.parametrize("kind", ["parametric", "cluster", "wild"])
def test_streams_need_cross_products_only(kind, tmp_path):
    frame = clustered()
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path)
    streamed = cl.mixed("y ~ x + w + (x | g)", path, progress=False).bootstrap(50, kind, seed=1)
    memory = cl.mixed("y ~ x + w + (x | g)", frame).bootstrap(50, kind, seed=1)
    assert streamed.replicates.to_numpy() == pytest.approx(
        memory.replicates.to_numpy(), rel=1e-4, abs=1e-4, nan_ok=True
    )


def test_streams_have_no_rows_to_resample(tmp_path):
    path = tmp_path / "rows.parquet"
    clustered().to_parquet(path)
    with pytest.raises(cl.CrosslevelError, match="read in batches"):
        cl.mixed("y ~ x + (1 | g)", path, progress=False).bootstrap(20, "residual")


def test_residual_structures_are_simulated():
    fit = cl.mixed("y ~ x + (1 | g)", clustered(), residual=cl.residual.By("half"))
    boot = fit.bootstrap(20, "parametric", seed=1)
    assert boot.counts["failed"] == 0
    assert list(boot.names[:5]) == ["Intercept", "x", "sd(Intercept|g)", "sigma", boot.names[4]]
    assert boot.std_error["x"] / fit.bse["x"] == pytest.approx(1.0, abs=0.5)
    for kind in ("cluster", "residual", "wild"):
        with pytest.raises(cl.CrosslevelError, match="kind='parametric'"):
            fit.bootstrap(20, kind)


def test_weights_with_several_factors():
    frame = crossed_frame().assign(v=np.random.default_rng(8).uniform(0.5, 2.0, 216), times=2.0)
    formula = "y ~ x + (1 | a) + (1 | b)"
    precise = cl.mixed(formula, frame, weights=cl.Precision("v"))
    for kind in ("parametric", "residual", "wild"):
        boot = precise.bootstrap(10, kind, seed=1)
        assert boot.counts["failed"] == 0
        assert 0.3 < boot.std_error["x"] / precise.bse["x"] < 2.0
    often = cl.mixed(formula, frame, weights=cl.Frequency("times"))
    for kind in ("parametric", "residual", "wild"):
        with pytest.raises(cl.CrosslevelError, match="frequency weights a row stands"):
            often.bootstrap(10, kind)


def test_known_covariances_are_simulated():
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"f": [f"f{k:02}" for k in range(25)], "all": "all", "x": rng.normal(size=25)})
    variances = rng.uniform(0.1, 0.5, 25)
    data["y"] = 0.4 * data["x"] + rng.normal(0.0, np.sqrt(variances + 0.3))
    fit = cl.mixed("y ~ x + equalto(0 + f | all, V)", data, known={"V": np.diag(variances)})
    boot = fit.bootstrap(20, "parametric", seed=1)
    assert boot.names == ("Intercept", "x", "sigma")
    assert 0.5 < boot.std_error["x"] / fit.bse["x"] < 1.6
    for kind in ("cluster", "residual", "wild"):
        with pytest.raises(cl.CrosslevelError, match="known covariance"):
            fit.bootstrap(20, kind)


@pytest.mark.parametrize("kind", ["parametric", "residual", "wild"])
def test_multiple_membership(kind):
    rng, frame = np.random.default_rng(5), crossed_frame()
    frame["c"] = rng.permutation(frame["a"].to_numpy())
    fit = cl.mixed("y ~ x + (1 | mm(a, c))", frame)
    boot = fit.bootstrap(10, kind, seed=1)
    assert boot.counts["failed"] == 0
    assert 0.3 < boot.std_error["x"] / fit.bse["x"] < 2.0
    with pytest.raises(cl.CrosslevelError, match="not nested"):
        fit.bootstrap(10, "cluster")


def test_iterative_algebra():
    fit = cl.mixed("y ~ x + (1 | a) + (1 | b)", crossed_frame(), algebra="iterative")
    for kind in ("parametric", "residual"):
        boot = fit.bootstrap(3, kind, seed=1)
        assert boot.counts["failed"] == 0
        assert boot.replicates["x"].notna().all()


def test_too_few_levels_to_resample_their_effects():
    known = {"V": 0.5 * np.eye(2) + 0.5}
    two = clustered(clusters=2, rows=40).rename(columns={"g": "pair"})
    fit = cl.mixed("y ~ x + propto(0 + half | pair, V)", two, known=known)
    with pytest.raises(cl.CrosslevelError, match="at least 3 levels"):
        fit.bootstrap(10, "residual")
    assert fit.bootstrap(10, "parametric", seed=1).counts["failed"] == 0


def test_weights_of_each_kind():
    precise = fitted("precisions")
    for kind in KINDS:
        assert precise.bootstrap(25, kind, seed=1).counts["failed"] == 0
    often = fitted("frequencies")
    for kind in ("cluster", "parametric", "wild"):
        assert often.bootstrap(25, kind, seed=1).counts["failed"] == 0
    with pytest.raises(cl.CrosslevelError, match="frequency weights a row stands"):
        often.bootstrap(25, "residual")
    sampled = cl.mixed(
        "y ~ x + w + (1 | g)", clustered(), method="ml", weights=cl.Sampling(None, clusters={"g": "sampled"})
    )
    boot = sampled.bootstrap(100, seed=1)
    assert 0.5 < boot.std_error["x"] / sampled.bse["x"] < 2.0
    with pytest.raises(cl.CrosslevelError, match="sandwich"):
        boot.conf_int(method="studentised")
    for kind in ("parametric", "residual", "wild"):
        with pytest.raises(cl.CrosslevelError, match="sampling weights"):
            sampled.bootstrap(25, kind)


def test_offsets_are_added_to_what_is_drawn():
    frame = clustered().assign(known=lambda f: 100.0 * f["x"])
    frame["z"] = frame["y"] + frame["known"]
    plain, offset = cl.mixed("y ~ x + (1 | g)", frame), cl.mixed("z ~ x + (1 | g)", frame, offset="known")
    for kind in ("residual", "parametric"):
        a, b = (fit.bootstrap(25, kind, seed=1).replicates.to_numpy() for fit in (plain, offset))
        assert b == pytest.approx(a, rel=1e-5, abs=1e-5)


def test_offsets_with_several_factors():
    frame = crossed_frame().assign(known=lambda f: 10.0 * f["x"])
    frame["z"] = frame["y"] + frame["known"]
    formula = " ~ x + (1 | a) + (1 | b)"
    plain, offset = cl.mixed("y" + formula, frame), cl.mixed("z" + formula, frame, offset="known")
    for kind in ("residual", "parametric"):
        a, b = (fit.bootstrap(5, kind, seed=1).replicates.to_numpy() for fit in (plain, offset))
        assert b == pytest.approx(a, rel=1e-4, abs=1e-4)


# -- what is refused --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "pairs"}, "`kind` is one of"),
        ({"n": 0}, "`n` is a whole number"),
        ({"n": 2.5}, "`n` is a whole number"),
        ({"n_jobs": -1}, "`n_jobs`"),
        ({"weights": "mammen"}, "`weights` is one of"),
        ({"leverage": "hc3"}, "`leverage` is one of"),
        ({"failed": "ignore"}, "`failed` is one of"),
        ({"singular": "no"}, "`singular` is one of"),
        ({"seed": -3}, "`seed` is a whole number"),
        ({"seed": "a"}, "`seed` is a whole number"),
    ],
)
def test_wrong_arguments(given, message):
    with pytest.raises(cl.CrosslevelError, match=message):
        fitted("one effect").bootstrap(**given)


def test_wrong_questions():
    boot = fitted("two effects").bootstrap(40, seed=1)
    with pytest.raises(cl.CrosslevelError, match="`method` is one of"):
        boot.conf_int(method="profile")
    with pytest.raises(cl.CrosslevelError, match="the estimates are"):
        boot.conf_int(terms=["nothing"])
    with pytest.raises(cl.CrosslevelError, match="boundary"):
        boot.conf_int(method="studentised", terms=["sigma"])
    with pytest.raises(cl.CrosslevelError, match="`level`"):
        boot.conf_int(95)
    with pytest.raises(cl.CrosslevelError, match="at least 10 replicates"):
        fitted("two effects").bootstrap(5, seed=1).conf_int()
    wild = fitted("two effects").bootstrap(40, "wild", seed=1)
    with pytest.raises(cl.CrosslevelError, match="not variances"):
        wild.conf_int(terms=["sigma"])
    assert list(wild.conf_int().index) == ["Intercept", "x", "w"]


def test_a_refit_that_does_not_converge_is_counted(monkeypatch):
    fit = fitted("tied")
    setting = setting_of(fit)
    assert setting.places is None
    boot = replace_max_steps(fit).bootstrap(20, seed=1)
    assert boot.counts["failed: the search did not converge"] == 20
    with pytest.raises(cl.CrosslevelError, match="at least 10 replicates"):
        boot.conf_int()


def replace_max_steps(fit):
    return replace(fit, given={**fit.given, "max_steps": 1})


def test_batches_are_joined_in_order():
    parts = [resampling.failed(Outcome.REFUSED, 3, 2), resampling.failed(Outcome.UNCONVERGED, 3, 2)]
    batch = Batch.joined(parts)
    assert batch.outcome.tolist() == [3, 2]
    assert batch.taken(np.array([1, 0])).outcome.tolist() == [2, 3]


def test_the_figure_shows_the_replicates():
    boot = fitted("two effects").bootstrap(100, seed=1)
    figure = cl.plot.bootstrap(boot)
    (panel,) = figure.axes
    assert panel.get_xlabel() == "x"
    assert cl.plot.bootstrap_data(boot, "sigma", bins=7).shape == (7, 3)
    assert cl.plot.bootstrap_data(boot)["count"].sum() == 100
    with pytest.raises(cl.CrosslevelError, match="`term`"):
        cl.plot.bootstrap(boot, "nothing")
