"""Processes that data come from: what they refuse, their truths, their rows, and others made from them."""

import pickle
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from scipy import stats

import crosslevel as cl
from crosslevel.simulation.processes.correlations import RandomCorrelation, fixed_root, mean_absolute
from crosslevel.simulation.processes.model import Model
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.processes.sizes import Sizes
from crosslevel.simulation.processes.variables import Arms, Binary, Context, Normal, Skewed, StudentT, Variable

GIVEN: Mapping[str, object] = {
    "formula": "y ~ x1 + z + (1 + x1 | g)",
    "effects": {"Intercept": 1.0, "x1": 1.0, "z": 0.5},
    "sd": {"Intercept": 0.6, "x1": 0.2},
    "clusters": 20,
    "size": 30,
    "variables": {"z": Context()},
}


def process_of(**changes: object) -> Process:
    return Process(**{**GIVEN, **changes})  # type: ignore[arg-type]


REFUSED: dict[str, tuple[Mapping[str, object], str]] = {
    "effects missing and unknown": (
        {"effects": {"Intercept": 1, "x1": 1, "Z": 1}},
        r"`effects` lacks z and has 'Z', which is none\. The coefficients of `formula` are Intercept, x1, z; give each",
    ),
    "hint": ({"effects": {"Intercept": 1, "x1": 1, "z": 1, "x11": 1}}, "did you mean 'x1'"),
    "no number": ({"effects": {"Intercept": 1, "x1": "a", "z": 1}}, "`effects` of x1 must be a finite number; got 'a'"),
    "no mapping": ({"effects": [1, 1, 1]}, "`effects` maps names of coefficients to numbers"),
    "sd of no random effect": ({"sd": {"Intercept": 1, "x1": 1, "z": 1}}, "The random effects of `formula` are Inter"),
    "sd negative": ({"sd": {"Intercept": -1, "x1": 1}}, "`sd` of Intercept must be 0 or more; got -1"),
    "impossible correlation": ({"correlation": 1.5}, "with correlations from -1 to 1; got 1.5"),
    "asymmetric": ({"correlation": [[1, 0.9], [0.8, 1]]}, "must be symmetric with ones"),
    "ragged": ({"correlation": [[1, 0.9], [0.8]]}, "`correlation` is a number, a matrix or RandomCorrelation"),
    "shape": ({"correlation": np.eye(3)}, r"needs a matrix of shape \(2, 2\), for Intercept, x1; got .*\(3, 3\)"),
    "kept apart": (
        {"formula": "y ~ x1 + z + (1 + x1 || g)", "correlation": [[1, 0.5], [0.5, 1]]},
        "that `formula` keeps apart",
    ),
    "predictor matrix": ({"predictor_correlation": np.eye(2)}, r"shape \(1, 1\), for x1"),
    "size 0": ({"size": 0}, "at least 1 row"),
    "size reversed": ({"size": (5, 2)}, "the first exceeds the second"),
    "sizes of other clusters": ({"size": [3] * 4}, "the rows of 4 clusters, but there are 20"),
    "half a row": ({"size": 2.5}, "`size` is a number of rows, "),
    "size in words": ({"size": "many"}, "got 'many'"),
    "one cluster": ({"clusters": 1}, "whole number of at least 2; got 1"),
    "half a cluster": ({"clusters": 2.5}, "whole number of at least 2; got 2.5"),
    "no residual": ({"sigma": 0}, "`sigma` must be more than 0"),
    "rows": ({"rows": "yes"}, "`rows` is True or False"),
    "outcome as variable": ({"variables": {"y": Normal()}}, "'y', which is the outcome"),
    "clusters as variable": ({"variables": {"g": Normal()}}, "'g', the name of the clusters"),
    "clusters as predictor": (
        {"formula": "y ~ x1 + g + (1 | g)"},
        "uses 'g', the name of the clusters, as a predictor",
    ),
    "no variable": ({"variables": {"z": 1}}, "must be a variable such as Normal"),
    "no variables": ({"variables": [Normal()]}, "`variables` maps names to variables"),
    "all in one arm": ({"variables": {"z": Arms(share=0.01)}}, "of which 0 of 20 clusters would have a 1"),
    "two factors": ({"formula": "y ~ x1 + (1 | g) + (1 | h)"}, "one grouping factor.*it has g, h"),
    "crossed names": ({"formula": "y ~ x1 + (1 | g:h)"}, "one grouping factor.*it has g:h"),
    "no factor": ({"formula": "y ~ x1 + z"}, "it has no random term"),
    "made outcome": ({"formula": "log(y) ~ x1 + (1 | g)"}, "must be a plain name"),
    "outcome on both sides": ({"formula": "y ~ x1 + I(y**2) + (1 | g)"}, "'y' on both sides"),
    "structure": ({"formula": "y ~ x1 + cs(1 + x1 | g)"}, "Write the term without a structure"),
    "syntax": ({"formula": "y ~ x1 +"}, "a term is expected"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_processes_are_refused_in_words(changes: Mapping[str, object], message: str) -> None:
    with pytest.raises(cl.CrosslevelError, match=message):
        process_of(**changes)


PARTS: dict[str, tuple[Callable[[], object], str]] = {
    "all between": (lambda: Normal(between=1), "`between` of Normal is 1"),
    "no spread": (lambda: Normal(sd=0), "Normal needs a finite `mean` and an `sd` above 0"),
    "mean in words": (lambda: Context(mean="a"), "Context needs a finite `mean`"),  # type: ignore[arg-type]
    "all ones": (lambda: Binary(share=1), "`share` of Binary is 1"),
    "all in the arm": (lambda: Arms(share=0), "`share` of Arms is 0"),
    "no variance": (lambda: StudentT(df=2), "must be more than 2"),
    "symmetric": (lambda: Skewed(skewness=0), "it must be more than 0"),
    "sizes": (lambda: Sizes(mean=0.5), "a number of rows, from 1 to"),
    "sizes spread": (lambda: Sizes(mean=5, cv=-1), "`cv` of Sizes is -1"),
    "correlation": (lambda: RandomCorrelation(mean_absolute=1), "must lie between 0 and 1"),
    "too many": (
        lambda: process_of(
            formula="y ~ a + b + c + z + (1 | g)", effects=dict.fromkeys(["Intercept", "a", "b", "c", "z"], 1),
            sd={"Intercept": 1}, predictor_correlation=RandomCorrelation(mean_absolute=0.7),
            variables={"z": Normal()},
        ),
        "mean size 0.7 among 4 variables; that many can have less than 0.500",
    ),
    "no coefficient": (lambda: process_of().effect("w"), "no coefficient 'w'; it has Intercept, x1, z. If its true"),
    "nothing to change": (lambda: process_of().changed("cluster", 1), "nothing called 'cluster'. It has formula, effe"),
    "no element": (lambda: process_of().changed("clusters.x", 1), "nothing called 'clusters.x'"),
    "no effect to change": (lambda: process_of().changed("sd.z", 1), "`sd` has 'z', which is none"),
    "no variable to change": (lambda: process_of().changed("variables.w.sd", 1), "no 'w' to change; there are x1, z"),
    "no setting": (lambda: process_of().changed("variables.z.between", 1), "z is Context.*, which has mean, sd"),
    "aliased": (
        lambda: Model.of(process_of(), "y ~ z + x1 + I(2 * x1) + (1 | g)"),
        r"has I\(2 \* x1\), which other columns determine in data of 20 clusters",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), PARTS.values(), ids=PARTS)
def test_wrong_parts_are_refused_in_words(make: Callable[[], object], message: str) -> None:
    with pytest.raises(cl.CrosslevelError, match=message):
        make()


def test_truths() -> None:
    process = process_of(
        correlation=0.5,
        sigma=2.0,
        formula="y ~ x1 + z + (1 + x1 | g)",
        variables={"z": Context(), "x1": Normal(mean=3)},
    )
    assert process.effect("z") == 0.5
    assert process.fixed_names == ("Intercept", "x1", "z")
    assert process.random_names == ("Intercept", "x1")
    between = 0.6**2 + 2 * 3 * 0.5 * 0.6 * 0.2 + 9 * 0.2**2
    assert process.random_variance == pytest.approx(between, rel=1e-12)
    assert process.variance == pytest.approx(between + 4.0, rel=1e-12)
    assert process.icc == pytest.approx(between / (between + 4.0), rel=1e-12)
    random = process.changed("correlation", RandomCorrelation())
    assert random.random_variance == pytest.approx(0.36 + 9 * 0.04, rel=1e-12)
    within = process_of(formula="y ~ x1 + z + (within(x1, g) | g)", sd={"Intercept": 1.0, "within(x1, g)": 5.0})
    assert within.icc == pytest.approx(0.5, rel=1e-12)
    scaled = process_of(formula="y ~ x1 + z + (scale(x1) | g)", sd={"Intercept": 1.0, "scale(x1)": 5.0})
    with pytest.raises(cl.CrosslevelError, match="at the mean of all predictors is not defined"):
        print(scaled.icc)


def test_processes_are_made_from_others() -> None:
    process = process_of(correlation=[[1, 0.3], [0.3, 1]])
    changed = process.changed_by({"clusters": 25, "sd.x1": 1.0, "effects.z": 0.0, "variables.x1.between": 0.4})
    assert (changed.clusters, changed.sd["x1"], changed.effects["z"]) == (25, 1.0, 0.0)
    assert changed.variables["x1"] == Normal(between=0.4)
    assert (process.clusters, process.sd["x1"], process.variables) == (20, 0.2, {"z": Context()})
    assert process.changed("variables.z", Arms()).contexts == ("z",)
    assert process.changed("variables.z", Binary()).predictors == ("x1", "z")
    assert process == process_of(correlation=np.array([[1, 0.3], [0.3, 1]]))
    assert process != changed
    copy = pickle.loads(pickle.dumps(changed))
    assert copy == changed
    assert copy.frame(1).equals(changed.frame(1))
    assert eval(repr(changed)) == changed


def test_semidefinite_correlations_have_roots() -> None:
    together = np.zeros(4, dtype=np.int64)
    half = np.random.default_rng(1).standard_normal((4, 2))
    matrix = half @ half.T
    matrix /= np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
    np.fill_diagonal(matrix, 1.0)
    for given in (matrix, np.ones((4, 4)), np.eye(4)):
        root = fixed_root(given, together, "abcd", "correlation")
        np.testing.assert_allclose(root @ root.T, given, atol=1e-8)
        assert np.all(np.triu(root, 1) == 0.0)
    blocks = np.array([0, 0, 1])
    root = fixed_root(0.5, blocks, "abc", "correlation")
    np.testing.assert_allclose(root @ root.T, [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]], atol=1e-15)
    # all random effects one: the residual of the last is exactly zero
    frame = process_of(correlation=1.0).frame(3)
    assert np.isfinite(frame["y"]).all()


def test_random_correlations_have_the_size_asked_for() -> None:
    for asked in (0.05, 0.3, 0.33):
        b = RandomCorrelation(mean_absolute=asked).b
        assert mean_absolute(b) == pytest.approx(asked, rel=1e-10)
        assert stats.beta(b, b).expect(lambda v: 2 * (2 * v - 1), lb=0.5) == pytest.approx(asked, rel=1e-6)


VARIABLES: tuple[Variable, ...] = (
    Normal(mean=1, sd=2, between=0.5), StudentT(df=7, mean=-1, sd=3, between=0.2), Skewed(skewness=1.5, sd=0.5),
    Binary(share=0.3, between=0.3), Context(mean=2, sd=3), Arms(share=0.25),
)  # fmt: skip


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: type(variable).__name__)
def test_variables_have_their_moments(variable: Variable) -> None:
    J, n = 2000, 40
    process = process_of(clusters=J, size=n, variables={"z": Context(), "w": variable}, predictor_correlation=0.5)
    values = process.frame(5)["w"].to_numpy().reshape(J, n)
    means = values.mean(axis=1)
    assert abs(means.mean() - variable.expected) <= 4.5 * means.std() / np.sqrt(J) + 1e-12
    if variable.is_context:
        assert np.all(values == values[:, :1])
        assert means.std() == pytest.approx(3.0 if isinstance(variable, Context) else 0.433, rel=0.06)
        return
    if isinstance(variable, Binary):
        assert set(np.unique(values)) == {0.0, 1.0}
        limit = -stats.norm.ppf(0.3)
        both = stats.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]]).cdf([-limit, -limit]) - 0.3**2
        pairs = (means**2 * n - means) / (n - 1) - 0.3**2  # of two rows of one cluster
        assert abs(pairs.mean() - both) <= 4.5 * pairs.std() / np.sqrt(J) + 1e-3
        return
    within = values.var(axis=1, ddof=1)
    assert abs(within.mean() - variable.sd**2) <= 4.5 * within.std() / np.sqrt(J)
    between = variable.sd**2 * variable.between / (1 - variable.between) + variable.sd**2 / n
    assert means.var() == pytest.approx(between, rel=0.15)
    if isinstance(variable, Skewed):
        assert stats.skew(values.ravel()) == pytest.approx(1.5, abs=0.2)
        assert np.corrcoef(process.frame(5)["x1"], values.ravel())[0, 1] > 0.4


def test_rows_follow_the_process() -> None:
    process = process_of(
        formula="y ~ x1 + z + x1:z + (1 + x1 || g)", effects={"Intercept": 1, "x1": 2, "z": 3, "x1:z": -1},
        sd={"Intercept": 0.5, "x1": 0.3}, clusters=400, size=Sizes(mean=20, cv=0.5), variables={"z": Arms()},
    )  # fmt: skip
    frame = process.frame(np.random.SeedSequence(7))
    assert list(frame.columns) == ["x1", "z", "g", "y"]
    assert frame["g"].nunique() == 400
    assert frame.groupby("g")["z"].first().sum() == 200
    assert frame.equals(process.frame(np.random.SeedSequence(7)))
    assert not frame.equals(process.frame())
    fit = cl.mixed(process.formula, frame)
    for name, value in process.effects.items():
        assert abs(fit.params[name] - value) < 4.5 * fit.bse[name]
    np.testing.assert_allclose(np.sqrt(np.diag(fit.cov_re["g"])), [0.5, 0.3], rtol=0.2)
    assert fit.sigma == pytest.approx(1.0, rel=0.05)


def test_names_of_the_lab() -> None:
    for name in cl.lab.__all__:
        assert getattr(cl.lab, name).__doc__
