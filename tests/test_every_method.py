"""Every method of inference on every kind of model: numbers, or an error that says why there are none."""

import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed_fit import MixedFit

FORMULA = "y ~ x * z + k + "


@cache
def rows() -> pd.DataFrame:
    """8 clusters c of 4 units s of 8 rows, crossed with 10 levels h; x varies by row, z by cluster."""
    rng = np.random.default_rng(3)
    c, s = np.repeat(np.arange(8), 32), np.repeat(np.arange(32), 8)
    h, x, z = rng.integers(0, 10, 256), rng.standard_normal(256), rng.standard_normal(8)[c]
    y = 1 + x + z + rng.standard_normal(8)[c] + 0.5 * rng.standard_normal(8)[c] * x + 0.7 * rng.standard_normal(32)[s]
    y += 0.6 * rng.standard_normal(10)[h] + rng.standard_normal(256)
    return pd.DataFrame(
        {
            "y": y, "x": x, "z": z, "c": c, "s": s, "h": h, "k": rng.choice(["a", "b", "d"], 256), "one": 1.0,
            "w": rng.uniform(0.5, 2.0, 256), "f": rng.integers(1, 3, 256), "wc": 1.0 + c % 3,
            "t": np.tile(np.arange(8), 32), "st": np.where(rng.random(256) < 0.5, "p", "q"),
        }
    )  # fmt: skip


def without_random_effects() -> pd.DataFrame:
    """The same rows with an outcome in which no cluster differs."""
    frame = rows()
    return frame.assign(y=frame["x"] + frame["z"] + np.random.default_rng(5).standard_normal(256))


MODELS: dict[str, Callable[[], MixedFit]] = {
    "two levels": lambda: cl.mixed(FORMULA + "(x | c)", rows()),
    "by ML": lambda: cl.mixed(FORMULA + "(x | c)", rows(), method="ml"),
    "three levels": lambda: cl.mixed(FORMULA + "(x | c) + (1 | c:s)", rows()),
    "crossed": lambda: cl.mixed(FORMULA + "(x | c) + (1 | h)", rows()),
    "singular": lambda: cl.mixed(FORMULA + "(x | c)", without_random_effects()),
    "precision": lambda: cl.mixed(FORMULA + "(x | c)", rows(), weights=cl.Precision("w")),
    "frequency": lambda: cl.mixed(FORMULA + "(x | c)", rows(), weights=cl.Frequency("f")),
    "sampling": lambda: cl.mixed(
        FORMULA + "(x | c)", rows(), method="ml", weights=cl.Sampling("one", clusters={"c": "wc"}, scaling="none")
    ),
    "strata": lambda: cl.mixed(FORMULA + "(x | c)", rows(), residual=cl.residual.By("st")),
    "autoregression": lambda: cl.mixed(FORMULA + "(1 | c)", rows(), residual=cl.residual.AR1("t", within="s")),
    "uncorrelated": lambda: cl.mixed(FORMULA + "(x || c)", rows()),
    "iterative": lambda: cl.mixed("y ~ x * z + k + (1 | s) + (1 | h)", rows(), algebra="iterative"),
}

METHODS: dict[str, Callable[[MixedFit], pd.DataFrame]] = {
    **{
        ddf: lambda fit, ddf=ddf: fit.tests(ddf=ddf)
        for ddf in (
            "auto", "m-l-1", "growth-curve", "satterthwaite", "kenward-roger", "kenward-roger-2009", "between-within",
            "residual", "normal",
        )
    },
    **{kind: lambda fit, kind=kind: fit.tests(vcov=kind) for kind in ("CR0", "CR1", "CR1S", "CR2", "CR3")},
    "terms": lambda fit: fit.anova(),
    "contrast": lambda fit: fit.contrast({"at z = 1": "x + x:z"}),
    "slopes": lambda fit: cl.slopes(fit, "x", by={"z": [0.0, 1.0]}),
    "regions": lambda fit: cl.johnson_neyman(fit, "x", "z").frame,
    "margins": lambda fit: cl.margins(fit, "k"),
    "profile": lambda fit: fit.profile(["x"], progress=False).conf_int(),
    "random effects": lambda fit: fit.test_random()[["statistic", "p_value"]],
    "ratio": lambda fit: cl.lrtest(fit.update("~ . - k"), fit).frame[["statistic", "p_value"]].iloc[-1:],
    "rank": lambda fit: fit.rank_re().components,
    "shares": lambda fit: fit.r2(null=None).shares,
    "heterogeneity": lambda fit: fit.heterogeneity().frame[["mean", "sd"]],
}  # fmt: skip

SANDWICH = {"CR0", "CR1", "CR1S", "CR2", "CR3"}
KENWARD_ROGER = {"kenward-roger", "kenward-roger-2009"}
REFUSED = {
    "by ML": KENWARD_ROGER,
    "crossed": {"between-within"},
    "sampling": {*KENWARD_ROGER, *SANDWICH, "satterthwaite", "profile", "random effects", "ratio"},
    "strata": KENWARD_ROGER,
    "autoregression": KENWARD_ROGER,
    "iterative": {*KENWARD_ROGER, *SANDWICH, "between-within", "profile"},
}
"""What is not defined; everything else gives numbers."""


@cache
def fitted(model: str) -> MixedFit:
    """Each model once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.DataWarning)
        return MODELS[model]()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_numbers_or_a_reason(model: str, method: str) -> None:
    fit = fitted(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.DataWarning)  # few clusters: the answer says so
        if method in REFUSED.get(model, set()):
            with pytest.raises(CrosslevelError, match=r"\. [A-Z]|: [a-z]|; "):  # a reason, or what to do instead
                METHODS[method](fit)
            return
        found = METHODS[method](fit)
    numbers = found.select_dtypes("number")
    assert len(found)
    assert numbers.notna().any(axis=None)
    for column in {"estimate", "std_error", "p_value", "statistic"} & set(numbers.columns):
        assert np.isfinite(numbers[column]).all(), column
