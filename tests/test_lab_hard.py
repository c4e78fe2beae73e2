"""Processes, studies and power in the hands of people in a hurry, and folders that have suffered."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import crosslevel as cl
from crosslevel.cli.power import run_power
from crosslevel.cli.simulate import check_place
from crosslevel.errors import CrosslevelError, FileError
from crosslevel.simulation.processes.sampler import sampler_of
from crosslevel.simulation.studies import batches
from crosslevel.simulation.studies.seeds import Seeds

PROCESS = cl.lab.Process(
    formula="y ~ x + z + (x | g)", effects={"Intercept": 0.0, "x": 1.0, "z": 0.5}, sd={"Intercept": 0.5, "x": 0.3},
    clusters=6, size=(5, 15), variables={"z": cl.lab.Context()},
)  # fmt: skip
OLS = cl.lab.OLS(name="OLS", formula="y ~ x + z", intervals=("CR1S, m-l-1",))


def study(**changes: object) -> cl.lab.Study:
    """A small study with something changed."""
    given = {"process": PROCESS, "estimators": [OLS], "terms": ["z"], "factors": {"clusters": [6, 8]}, **changes}
    return cl.lab.Study(**given)  # type: ignore[arg-type]


def power(**changes: object) -> object:
    """Power of little, with something changed."""
    given = {"effects": {"z": 0.3}, "icc": 0.1, "clusters": 10, "size": 20, "reps": 2, "progress": False, **changes}
    return cl.power("y ~ x + z + (1 | g)", **given)  # type: ignore[arg-type]


def changed(**changes: object) -> Callable[[], object]:
    return lambda: replace(PROCESS, **changes)  # type: ignore[arg-type]


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "formula in a list": (changed(formula=["y ~ x"]), "`formula` is text such as"),
    "size as text": (changed(size="20"), "`size` is a number of rows"),
    "size true": (changed(size=True), "got True"),
    "size beyond numbers": (changed(size=10**30), "at most 1,000,000,000,000 rows"),
    "many clusters": (changed(clusters=10**9), "`clusters` can be 1,000,000 at most"),
    "correlation in percent": (changed(predictor_correlation=30), "with correlations from -1 to 1; got 30"),
    "no correlation": (changed(correlation=None), "`correlation` is a number, a matrix .* got None"),
    "name of a variable": (changed(variables={"z": cl.lab.Context(), 3: cl.lab.Normal()}), "has 3 as a name"),
    "imbalance in percent": (lambda: cl.lab.Sizes(mean=20, cv=50), "0 to 10: .5 for 50 %"),
    "logarithm of a normal variable": (
        lambda: replace(
            PROCESS, formula="y ~ log(x) + (1 | g)", effects={"Intercept": 0, "log(x)": 1}, sd={"Intercept": 1}
        ).frame(seed=1),
        "does not suit the predictors",
    ),
    "seed": (lambda: PROCESS.frame(seed=-1), "`seed` is a whole number that is not negative"),  # type: ignore[arg-type]
    "too many rows": (lambda: replace(PROCESS, size=10**9).frame(), "at most 50,000,000 where rows are drawn"),
    "factors in a list": (lambda: study(factors=["clusters"]), "`factors` maps names to lists"),
    "factor without quotes": (lambda: study(factors={"sd": {"x": [0, 1]}}), "name the factor 'sd.x', in quotes"),
    "where in a list": (lambda: study(where=["clusters"]), "`where` maps factors"),
    "function of no factor": (lambda: len(study(process=lambda foo: PROCESS)), "'foo' as arguments, which are no"),
    "function that fails": (lambda: len(study(process=lambda clusters: 1 / 0)), "failed: ZeroDivisionError"),
    "estimator without name": (lambda: len(study(estimators=[replace(OLS, name="")])), "needs a `name`"),
    "folder": (lambda: study().run(reps=1, folder=3, progress=False), "`folder` is the name of a folder"),  # type: ignore[arg-type]
    "resume": (lambda: study().run(reps=1, folder="study", resume="yes"), "`resume` is True or False"),  # type: ignore[arg-type]
    "icc as text": (lambda: power(icc="10%"), "`icc` is a share of variance"),
    "sd without names": (lambda: power(sd=0.2), "`sd` maps names"),
    "target a number": (lambda: power(target=3), "`target` is the name of an effect"),
    "no size": (lambda: power(size=[]), "`size` is an empty list"),
    "cv in percent": (lambda: power(cv=50), r"\(.5 for 50 %\); got 50"),
    "sizes said twice": (lambda: power(size=cl.lab.Sizes(mean=20, cv=0.5), cv=0.3), "says itself how sizes vary"),
    "between in words": (lambda: power(between="x"), "`between` is the share of variance"),
    "context a number": (lambda: power(context=3), "`context` is the name of a variable"),
    "share of no arms": (lambda: power(arms={"z": 0}), "`arms` of 'z' is the share"),
    "level of a test": (lambda: power(level=0.05), "Write level=0.95"),
}


@pytest.mark.parametrize(("work", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_words(work: Callable[[], object], message: str) -> None:
    with pytest.raises(CrosslevelError, match=message):
        work()


FILES = {
    "title = 3": "lacks",
    "published = 3": "`published` is one of heisig2017",
    "published = 'heisig2017'\narguments = ['dce']": "`arguments` is a table",
    "published = 'heisig2017'\n[arguments]\nvarant = 'dce'": "did you mean 'variant'",
    "estimators = []\nterms = []\n[process]\nformula = 'y ~ x + (1 | g)'": "needs 'effects', 'sd', 'clusters', 'size'",
    "estimators = []\nterms = []\n[process]\nformla = 'y ~ x + (1 | g)'": "did you mean 'formula'",
}


@pytest.mark.parametrize(("text", "message"), FILES.items())
def test_what_is_wrong_in_files_is_said_in_words(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(CrosslevelError, match=message):
        cl.lab.Study.from_toml(tmp_path / "study.toml")


def test_studies_of_functions_say_what_they_are() -> None:
    shown = " ".join(str(cl.lab.heisig2017(clusters=25, slopes=[0, 1])).split())
    for words in (
        "Process of condition 0: - Formula: y ~ x1 + x2 + x3 + x4 + x5 + x6 + z + (1 | g)",
        "What differs in condition 23: - Formula: y ~ x1 + x2 + x3 + x4 + x5 + x6 + z + x1:z + (1 + x1 + x2 | g)",
        "SD between g: Intercept 0.6, x1 0.6, x2 1",
        "600 to 2,000, all numbers equally likely",
        "ME-Correct: Mixed, y ~ x1",
        "z: true value 1",
    ):
        assert words in shown
    assert "PublishedProcess" not in shown


def test_factors_change_variables_that_are_not_listed_and_matrices() -> None:
    given = {"variables.x.between": [0.0, 0.5], "correlation": [0.3, np.eye(2)]}
    found = study(factors=given).conditions
    assert found[-1].process.all_variables["x"].between == 0.5
    assert found[-1].process.correlation == ((1.0, 0.0), (0.0, 1.0))


def test_many_clusters_are_drawn_a_few_replications_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = study().run(reps=7, seed=3, progress=False)
    monkeypatch.setattr(batches, "AT_ONCE", 6 * 16 * 3)
    assert whole.equals(study().run(reps=7, seed=3, progress=False))


def test_folders_that_have_suffered(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    whole = study().run(reps=5, folder=folder, progress=False)
    first = folder / "condition-0000" / "replications-00000000-00000004.parquet"
    kept = first.read_bytes()
    study().run(reps=8, folder=folder, resume=True, progress=False)
    first.write_bytes((first.parent / "replications-00000005-00000007.parquet").read_bytes())
    with pytest.raises(FileError, match=r"not a batch of this study, or not all of it\. Remove it"):
        study().run(reps=8, folder=folder, resume=True, progress=False)
    first.write_bytes(b"")
    with pytest.raises(FileError, match=r"cannot be read: .* Remove it, and resume"):
        study().run(reps=8, folder=folder, resume=True, progress=False)
    first.unlink()
    assert study().run(reps=5, folder=folder, resume=True, progress=False).equals(whole)
    assert len(kept)
    (folder / "study.json").write_text('{"format": 1}')
    with pytest.raises(FileError, match=r"no study\.json of a study can be read"):
        study().run(reps=5, folder=folder, resume=True, progress=False)


def test_places_are_looked_at_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no such folder"):
        check_place(tmp_path / "nowhere" / "found.csv", "--output")
    costs = dict.fromkeys(("cluster", "person", "budget"))
    with pytest.raises(FileError, match="`--figure`: cannot write"):
        run_power(
            None, wanted=0.8, by="clusters", costs=costs, json=False, path=None, quiet=True,
            figure=tmp_path / "nowhere" / "power.png",
        )  # fmt: skip


def test_moments_without_rows_are_those_of_rows() -> None:
    process = replace(
        PROCESS, formula="y ~ x + z + x:z + between(x, g) + (1 + x | g)", correlation=0.5, clusters=8, size=(3, 9),
        effects={"Intercept": 1, "x": 0.5, "z": 0.3, "x:z": 0.2, "between(x, g)": 0.4},
        variables={"z": cl.lab.Arms(share=0.4), "x": cl.lab.Normal(mean=2, sd=1.5, between=0.3), "w": cl.lab.Normal()},
        predictor_correlation=0.6,
    )  # fmt: skip
    formulas = [process.formula, "y ~ within(x, g) + w + z + (0 + x | g)"]
    means = []
    for drawn_as, reps in ((process, 1500), (replace(process, rows=True), 60)):
        drawn = sampler_of(drawn_as, formulas).draw(Seeds(entropy=reps, condition=0, start=0, stop=reps))
        values = np.concatenate([drawn.mean.mean(1), drawn.scatter.sum(1).reshape(reps, -1)], axis=1)
        means.append((values.mean(0), values.var(0) / reps))
    (exact, own), (rows, other) = means
    error = np.sqrt(own + other)
    assert np.all(np.abs(exact - rows) <= 4.0 * error + 1e-9)
