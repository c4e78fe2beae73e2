"""Every wrong input ends in an error that names the argument, says what came, and says what to do."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl

CLUSTERS, ROWS = 12, 10
FORMULA = "y ~ x + (1 | g)"


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(CLUSTERS), ROWS)
    x = rng.normal(size=g.size)
    y = x + rng.normal(size=CLUSTERS)[g] + rng.normal(size=g.size)
    return pd.DataFrame({"y": y, "x": x, "g": g, "party": rng.choice(["left", "right"], g.size)})


def changed(**columns: object) -> Callable[[], pd.DataFrame]:
    return lambda: frame().assign(**columns)


NOISE = np.random.default_rng(0).normal(size=CLUSTERS * ROWS)
WITH_INFINITY = np.where(np.arange(NOISE.size) == 7, np.inf, NOISE)
WITH_GAP = np.where(np.arange(NOISE.size) == 7, np.nan, NOISE)

# what is wrong -> formula, data, error, and what its text must say
WRONG: dict[str, tuple[object, Callable[[], object], type[Exception], list[str]]] = {
    "unknown column": ("y ~ X1 + (1 | g)", changed(x1=1.0), cl.ColumnNotFoundError, ["`formula`", "'X1'", "'x1'"]),
    "unknown group": ("y ~ x + (1 | G)", frame, cl.ColumnNotFoundError, ["`formula`", "'G'", "Did you mean 'g'"]),
    "text outcome": ("party ~ x + (1 | g)", frame, cl.DataError, ["party", "'left', 'right'", "0 and 1"]),
    "no complete row": (FORMULA, changed(y=np.nan), cl.DesignError, ["`data`", "no row", "y (120)"]),
    "constant outcome": (FORMULA, changed(y=3.0), cl.DesignError, ["'y'", "same value in all 120 rows", "varies"]),
    "one cluster": (FORMULA, changed(g=1), cl.DesignError, ["'g'", "one value", "at least two clusters"]),
    "as many effects as rows": (
        "y ~ x + (party * x + I(x**2) + I(x**3) + I(x**4) + I(x**5) + I(x**6) + I(x**7) + I(x**8) | g)",
        frame,
        cl.DesignError,
        ["132 random effects", "12 clusters", "120 rows", "Drop a random slope"],
    ),
    "cluster per row": (FORMULA, changed(g=np.arange(120)), cl.DesignError, ["'g'", "each of the 120 rows"]),
    "continuous cluster": (FORMULA, changed(g=NOISE), cl.DesignError, ["'g'", "looks continuous", "120 different"]),
    "infinite predictor": (FORMULA, changed(x=WITH_INFINITY), cl.DataError, ["1 infinite", "'x'", "missing"]),
    "infinite outcome": (FORMULA, changed(y=WITH_INFINITY), cl.DataError, ["1 infinite", "'y'", "missing"]),
    "undefined transform": ("y ~ log(x) + (1 | g)", frame, cl.DataError, ["`log(x)`", "undefined", "x is finite"]),
    "unclosed": ("y ~ x + (1 | g", frame, cl.FormulaError, ["`formula`", "never closed", "\n            ^"]),
    "no operator": ("y ~ x + (1 g)", frame, cl.FormulaError, ["`formula`", "(1 g)\n               ^"]),
    "no group": ("y ~ x + (1 | )", frame, cl.FormulaError, ["`formula`", "grouping column", "^"]),
    "no outcome": ("~ x + (1 | g)", frame, cl.FormulaError, ["`formula`", "nothing stands before ~"]),
    "empty": ("", frame, cl.FormulaError, ["`formula` is empty"]),
    "not text": (3, frame, cl.CrosslevelError, ["`formula`", "got int"]),
    "no random term": ("y ~ x", frame, cl.DesignError, ["`formula`", "no random term", "(1 | school)"]),
    "several of one partition": (
        "y ~ x + (1 | g) + (1 | h)",
        changed(h=lambda d: d.g + 1),
        cl.DesignError,
        ["g and for h", "same way"],
    ),
    "twice the same term": ("y ~ x + (1 | g) + (1 | g)", frame, cl.FormulaError, ["`formula`", "(1 | g)"]),
    "duplicated columns": (
        FORMULA,
        lambda: pd.concat([frame(), frame()[["x"]]], axis=1),
        cl.DataError,
        ["`data`", "'x'", "Rename or drop"],
    ),
    "no frame": (FORMULA, lambda: [1, 2], cl.DataError, ["`data`", "got list", "crosslevel.read"]),
    "no rows": (FORMULA, lambda: frame().iloc[:0], cl.DataError, ["`data`", "0 rows"]),
    "outcome is a predictor": (FORMULA, lambda: frame().assign(y=lambda d: 2 * d.x + 1), cl.DesignError, ["exactly"]),
    "outcome of clusters": (FORMULA, lambda: frame().assign(y=lambda d: d.g % 5), cl.DesignError, ["exactly", "'y'"]),
    "random columns that determine each other": (
        "y ~ x + (x + twice | g)",
        lambda: frame().assign(twice=lambda d: 2.0 * d.x - 1.0),
        cl.DesignError,
        ["`formula`", "lets twice vary between clusters of g", "Drop it"],
    ),
    "as many cluster coefficients as clusters": (
        "y ~ x + C(g) + (x | g)",
        frame,
        cl.DesignError,
        ["13 fixed coefficients", "12 clusters of g in Intercept, so", "Drop cluster-level predictors"],
    ),
    "more coefficients than rows": (
        "y ~ C(i) + (1 | g)",
        lambda: frame().assign(i=range(120)).iloc[::2],
        cl.DesignError,
        ["60 fixed coefficients for 60 rows"],
    ),
    "overflow": (FORMULA, changed(x=NOISE * 1e200), cl.DesignError, ["x", "overflow", "power of ten"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(case: str) -> None:
    formula, data, error, words = WRONG[case]
    with pytest.raises(error) as caught:
        cl.mixed(formula, data())  # type: ignore[arg-type]
    assert isinstance(caught.value, cl.CrosslevelError)
    for word in words:
        assert word in str(caught.value)


OPTIONS = {
    "method": ({"method": "remle"}, ["`method`", "'reml' or 'ml'", "'remle'"]),
    "missing": ({"missing": "ignore"}, ["`missing`", "'drop' or 'raise'", "'ignore'"]),
    "ddf": ({"ddf": "kenward"}, ["`ddf`", "'m-l-1'", "'kenward'"]),
    "family": ({"family": "binomal"}, ["`family`", "'gaussian'", "'binomial'"]),
    "max_steps": ({"max_steps": 0}, ["`max_steps`", "at least 1", "0"]),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_wrong_option(case: str) -> None:
    options, words = OPTIONS[case]
    with pytest.raises(cl.CrosslevelError) as caught:
        cl.mixed(FORMULA, frame(), **options)  # type: ignore[arg-type]
    for word in words:
        assert word in str(caught.value)


def test_missing_values_are_dropped_and_counted_or_refused() -> None:
    data = frame().assign(x=WITH_GAP)
    fit = cl.mixed(FORMULA, data)
    assert (fit.rows.read, fit.rows.used, fit.rows.dropped, dict(fit.rows.missing)) == (120, 119, 1, {"x": 1})
    assert "1 of 120 rows (0.8 %) were dropped for missing values: x (1)" in fit.notes[0]
    with pytest.raises(cl.DesignError, match=r"`data` has 1 rows with missing values: x \(1\)"):
        cl.mixed(FORMULA, data, missing="raise")


def test_results_refuse_wrong_arguments() -> None:
    fit = cl.mixed(FORMULA, frame())
    with pytest.raises(cl.CrosslevelError, match=r"`level` is a probability between 0 and 1, such as 0.95; got 95"):
        fit.conf_int(level=95)
    with pytest.raises(cl.CrosslevelError, match=r"`theta` needs 1 numbers for this model; got shape \(2,\)"):
        fit.criterion_at(np.array([1.0, 2.0]))
    with pytest.raises(cl.CrosslevelError, match="`y` needs 120 finite numbers"):
        fit.refit(np.ones(3))
    with pytest.raises(cl.DesignError, match="same value in all 120 rows"):
        fit.refit(np.ones(120))
    with pytest.raises(cl.DesignError, match="exactly"):
        fit.refit(2.0 * frame()["x"] + 1.0)
    with pytest.raises(cl.ColumnNotFoundError, match="'x'"):
        fit.predict(frame().drop(columns="x"))
    with pytest.raises(cl.CrosslevelError, match="`icc` needs a random intercept"):
        cl.mixed("y ~ x + (0 + x | g)", frame()).icc()


def test_too_few_steps_warn_once_in_the_words_of_the_status() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = cl.mixed("y ~ x + (x | g)", frame(), max_steps=1)
    assert [str(warning.message) for warning in caught] == [fit.status]
    assert caught[0].category is cl.ConvergenceWarning
    assert caught[0].filename == __file__
    assert not fit.converged
    assert fit.status.startswith("Not converged")


def test_unseen_category_on_new_data() -> None:
    fit = cl.mixed("y ~ x + party + (1 | g)", frame())
    with pytest.raises(cl.DataError, match=r"centre.*left.*right"):
        fit.predict(frame().assign(party="centre"))


def test_a_name_with_blanks_is_shown_between_backticks():
    error = cl.ColumnNotFoundError.in_argument("formula", ["Vertrauen", "Politik"], ["Vertrauen in Politik", "x"])
    assert "stand between backticks: `Vertrauen in Politik`." in str(error)
    assert "backticks" not in str(cl.ColumnNotFoundError.in_argument("group", ["Vertrauen"], ["Vertrauen in Politik"]))
