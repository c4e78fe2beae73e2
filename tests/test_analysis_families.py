"""Analyses and ladders of binary outcomes and counts: their steps against the pieces' own numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import crosslevel as cl
from crosslevel.analysis.context_analysis import Skipped


def answers() -> pd.DataFrame:
    """30 clusters of 25 answers, a slope that varies and depends on the context z, and labels."""
    rng, n_clusters, n = np.random.default_rng(3), 30, 25
    z, g = rng.normal(size=n_clusters), np.repeat(np.arange(n_clusters), n)
    x, w = rng.normal(size=(2, n_clusters * n))
    u = rng.normal(size=(n_clusters, 2)) * [0.7, 0.5]
    eta = 0.2 + u[g, 0] + 0.8 * z[g] + (0.5 + 0.6 * z[g] + u[g, 1]) * x + 0.3 * w
    chance = 1.0 / (1.0 + np.exp(-eta))
    y = rng.random(len(g)) < chance
    return pd.DataFrame({"x": x, "w": w, "z": z[g], "g": g}).assign(
        y=y.astype(int), use=np.where(y, "yes", "no"), n=rng.integers(1, 6, len(g)), c=rng.poisson(np.exp(0.5 * eta))
    )


def analyzed(formula: str = "use ~ x * z + w", **given: Any) -> Any:
    asked = {"context": "z", "group": "g", "family": "binomial", "n_boot": 100, "quadrature": 3, "progress": False}
    return cl.analyze(formula, answers(), **(asked | given))


@pytest.fixture(scope="module")
def found() -> Any:
    return analyzed()


def test_the_steps_are_what_a_user_gets_by_calling_them(found: Any) -> None:
    rows = found.question.frame
    own = cl.mixed(found.selected.formula, rows, family="binomial", quadrature=3)
    np.testing.assert_allclose(found.selected.params, own.params, atol=1e-5)
    assert found.terms == ("z", "x:z")
    glm = cl.glm(found.question.fixed, rows, family="binomial", cluster="g")
    np.testing.assert_allclose(found.pooled.beta, glm.beta, rtol=1e-8)
    conditional = cl.conditional_logit(found.question.fixed, rows, group="g", vcov="CR1")
    np.testing.assert_allclose(found.conditional.bse, conditional.bse, rtol=1e-8)
    steps = cl.two_step("use ~ x + center(w)", {"Intercept": "z", "x": "z"}, rows, cluster="g", family="binomial")
    np.testing.assert_allclose(found.two_step.beta, steps.beta, rtol=1e-8)
    slopes = cl.slopes(found.selected, "x", by=["z"])
    np.testing.assert_allclose(found.interactions["x:z"]["estimate"], slopes["estimate"], rtol=1e-6)
    assert set(found.comparison.names) == {
        "Invariant", "Maximal", "Selected", "Selected, bootstrap", "GLM, CR2", "Conditional logit, CR1",
        "Two-step, FGLS",
    }  # fmt: skip


def test_effects_have_ratios_and_bootstrap_intervals(found: Any) -> None:
    effects = found.effects
    np.testing.assert_allclose(effects["ratio"], np.exp(effects["estimate"]), rtol=1e-10)
    assert (effects["bootstrap_low"] < effects["estimate"]).all()
    assert (effects["estimate"] < effects["bootstrap_high"]).all()
    assert not found.skipped
    assert found.converged


def test_words_are_those_of_a_binary_outcome(found: Any) -> None:
    text = str(found.summary())
    assert "Odds ratio" in text
    assert "median odds ratio" in text
    assert "probability" in text
    assert "REML" not in text
    assert any("averages" in note and "with the same random effects" in note for note in found.comparison.notes)


def test_everything_is_written(found: Any, tmp_path: Path) -> None:
    place = found.save(tmp_path / "binary")
    record = json.loads((place / "analysis.json").read_text(encoding="utf-8"))
    assert record["formulas"]["selected"] == found.selected.formula
    assert 'family=cl.families.Binomial(link="logit")' in record["call"]
    assert {path.stem for path in (place / "tables").glob("*.csv")} >= {"context_effects", "ladder", "two_step"}
    assert {path.stem for path in (place / "figures").glob("*.png")} >= {"context_effects", "slopes_1", "selection"}
    page = (place / "report.html").read_text(encoding="utf-8")
    for words in ("Cross-level interactions", "What to write", "odds ratio", "Laplace"):
        assert words in page
    log = (place / "log.txt").read_text(encoding="utf-8")
    assert "linear model of it" not in log
    assert "inf" not in log.split()


def test_the_ladder_tests_each_step(found: Any) -> None:
    ladder = found.ladder
    frame, steps = ladder.frame, ladder.steps
    small, large = steps["level-1 predictors"], steps["random slope of x"]
    own = cl.lrtest(small, large)
    assert frame.loc["random slope of x", "p_value"] == pytest.approx(own.p_value)
    assert frame.loc["random slope of x", "statistic"] == pytest.approx(small.deviance - large.deviance, abs=1e-6)
    explained = ladder.explained
    assert explained.loc["null", "icc"] == pytest.approx(steps["null"].icc().estimate)
    assert explained.loc["context on the slopes", "marginal_r2"] > explained.loc["null", "marginal_r2"]
    assert "Variances of different steps" in str(ladder)


def test_counts_are_analyzed_too() -> None:
    found = analyzed("c ~ x + z", family="poisson", quadrature=1)
    assert isinstance(found.conditional, Skipped)
    assert "Rate ratio" in str(found.summary())
    assert "expected outcome" in str(found.summary())
    assert found.selected.family.name == "poisson"


def test_ordered_outcomes_have_effects_by_category() -> None:
    rng, data = np.random.default_rng(1), answers()
    latent = 0.5 * data["x"] + 0.5 * data["z"] + rng.logistic(size=len(data)) + rng.normal(size=30)[data["g"]]
    data["o"] = pd.cut(latent, [-99, -1, 1, 99], labels=["low", "mid", "high"])
    found = cl.analyze(
        "o ~ x + z", data, "z", group="g", family="ordinal", n_boot=100, quadrature=1, progress=False
    )  # fmt: skip
    text = str(found.summary())
    for category in ("low", "mid", "high"):
        assert f"{category})" in text
    assert "probability of each category" in text
    assert "GLM, CR1" in found.comparison.names
    effects = pd.DataFrame(found.average_effects["z"])["estimate"]
    assert float(effects.sum()) == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quadrature": "pql"}, "no likelihood"),
        ({"trials": 5}, "column"),
        ({"family": "gaussian", "exposure": "n"}, "another family"),
        ({"family": "binomail"}, "Did you mean"),
        ({"context": "x"}, "varies within clusters"),
        ({"formula": "x ~ w + z", "criterion": "bic"}, "0 or 1"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(cl.CrosslevelError, match=words):
        analyzed(**changes)


def test_a_ladder_of_quasi_likelihoods_is_refused() -> None:
    with pytest.raises(cl.CrosslevelError, match="no likelihood"):
        cl.ladder("y ~ x + z + (1 | g)", answers(), family="binomial", quadrature="pql")


def test_the_commands_know_families(tmp_path: Path) -> None:
    from crosslevel.cli.app import app

    file = str(tmp_path / "answers.csv")
    answers().to_csv(file, index=False)
    command = CliRunner()
    done = command.invoke(app, ["select", file, "y ~ x * z + (x | g)", "--family", "binomial", "--json", "--quiet"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["formula"].startswith("y ~ x + z + x:z")
    asked = ["analyze", file, "c ~ x + z", "-c", "z", "-g", "g", "--family", "poisson", "--boot", "100", "--json", "-q"]
    done = command.invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["given"]["family"] == "Poisson, log link"
