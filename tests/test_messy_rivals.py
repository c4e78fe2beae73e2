"""Messy data given to the rival estimators: a right answer, or an error in words."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import crosslevel as cl
from crosslevel.errors import CrosslevelError


def rows(n_groups: int = 12, size: int = 9) -> pd.DataFrame:
    """Groups g of a few rows at times t; x and x2 vary by row, z by group."""
    rng, n = np.random.default_rng(0), n_groups * size
    g = np.repeat(np.arange(n_groups), size)
    x, x2, z = rng.standard_normal(n), rng.standard_normal(n) + rng.standard_normal(n_groups)[g], g % 4 + 0.5
    y = 1.0 + x + 0.5 * x2 + z + rng.standard_normal(n_groups)[g] + rng.standard_normal(n)
    return pd.DataFrame({"y": y, "x": x, "x2": x2, "z": z, "g": g, "t": np.tile(np.arange(size), n_groups)})


SINGLES = rows(20, 1)
LISTS = rows().assign(g=pd.Series([[k] for k in rows()["g"]]))
APART = rows().assign(x3=rows()["x2"] + rows()["z"])
AS_TEXT = rows().assign(x=rows()["x"].astype(str))

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    **{
        method: (
            partial(cl.random_effects, "y ~ x", SINGLES, group="g", method=method),
            "`group` names 'g', of which each value occurs in one row",
        )
        for method in ("swar", "walhus", "amemiya", "nerlove")
    },
    "infinite": (
        lambda: cl.mundlak("y ~ x", rows().replace({"x": {rows()["x"][3]: np.inf}}), group="g"),
        "`data` has 1 infinite value in column 'x' (of 108 used rows)",
    ),
    "log of zero": (
        lambda: cl.mundlak("y ~ np.log(z - 0.5)", rows(), group="g"),
        "`np.log(z - 0.5)`, which is infinite or undefined in 27 of 108 used rows",
    ),
    "lists": (lambda: cl.fixed_effects("y ~ x", LISTS, group="g"), "`data` has values of type object ([0], [0], [0]"),
    "lists of polars": (
        lambda: cl.ols("y ~ x", pl.from_pandas(LISTS), cluster="g"),
        "in column 'g': these are no categories. Turn them into text",
    ),
    "numbers as text": (
        lambda: cl.between("y ~ x", AS_TEXT, group="g"),
        "x alone has 107, one for each category: if its values are numbers that are kept as text",
    ),
    "covariates": (
        lambda: cl.two_step("y ~ x", "x ~ z", rows(), cluster="g", method="adjusted", covariates=3),  # type: ignore[arg-type]
        "`covariates` is a list of coefficients of the first step, 'all', or None to have components chosen; got 3.",
    ),
    "level": (
        lambda: cl.ols("y ~ x", rows()).summary(level="95%"),  # type: ignore[arg-type]
        "`level` is a probability between 0 and 1, such as 0.95; got '95%'.",
    ),
    "method of intervals": (
        lambda: cl.two_step("y ~ x", "x ~ z", rows(), cluster="g").conf_int(method="CR2"),
        "`method` is one of 'scaled', 'unscaled', 'HC0', 'HC1', 'HC2', 'HC3'; got 'CR2'.",
    ),
    "names": (
        lambda: cl.compare(*[cl.ols("y ~ x", rows())] * 2, rename="x"),  # type: ignore[arg-type]
        "`rename` is a dict by estimator of dicts",
    ),
    "one value": (
        lambda: cl.ols("y ~ x", rows().assign(g=1)).dependence("g"),
        "of which the 108 rows have 1 value: dependence needs at least two clusters",
    ),
    "other predictors": (
        lambda: cl.hausman(
            cl.fixed_effects("y ~ x", rows(), group="g"), cl.random_effects("y ~ x + x2 + z", rows(), group="g")
        ),
        "`re` has x2, which varies within g and has no coefficient in `fe`",
    ),
    "determined within groups": (
        lambda: cl.hausman(
            cl.fixed_effects("y ~ x2 + x3", APART, group="g"), cl.random_effects("y ~ x2 + x3", APART, group="g")
        ),
        "`re` has x3, which varies within g and has no coefficient in `fe`",
    ),
    "one row": (lambda: cl.ols("y ~ x", rows().head(1)), "`data` has one row that can be used"),
    "one row twice": (
        lambda: cl.first_difference("y ~ x", pd.concat([rows(), rows().head(1)]), group="g", time="t"),
        "`data` has 1 row at a t that their g has a row of already, such as g 0 at t 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    call, words = REFUSED[what]
    with pytest.raises(CrosslevelError) as raised:
        call()
    assert words in " ".join(str(raised.value).split())


def test_one_row_in_each_group_is_said_in_the_singular() -> None:
    assert "20 (g), 1 row in each" in str(cl.ols("y ~ x", SINGLES, cluster="g", vcov="CR0").summary())
    assert "20 (g), 1 row in each" in str(cl.between("y ~ x", SINGLES, group="g").summary())
