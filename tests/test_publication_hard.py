"""What is published of models with difficult names, numbers and data: tables, equations, translations, reports."""

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.errors import CrosslevelError


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    """Twelve clusters of fifteen rows, with names that join other names."""
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(12), 15)
    found = pd.DataFrame({"kl:asse": cluster, "x": rng.normal(size=180), "a, b": rng.normal(size=180)})
    found["пол [код]"] = rng.choice(["м, ж", "ж:|", "<b>&\"'", "$%_^{}\\#~"], size=180)
    found["context"] = rng.normal(size=12)[cluster]
    found["y | t"] = 1.0 + found["x"] + rng.normal(size=12)[cluster] + rng.normal(size=180)
    found["half"] = np.where(found["x"] > 0, "", "low")
    return found


TRANSLATED = {
    "mixed y i2.race || g:": '"y ~ I(race == 2) + (1 | g)"',
    "mixed y i(2 3).race#c.x || g:": "I(race == 2):x + I(race == 3):x",
    "mixed y ib2.race || g:": "C(race, contr.treatment(2))",
    "mixed y x || g : x, cov ( un )": "(1 + x | g)",
    "mixed y x || g:, res(ex) vce(oim)": "CompoundSymmetry(within='g')",
    "eststo m1: qui xi: mixed y i.race || g:, difficul": "C(race) + (1 | g)",
    "xtmelogit y x || g:, laplace": "quadrature=1",
    "meglm y x, f(binomial n) l(probit) || g:": "link='probit'), trials=\"n\"",
    "meglm y x, family(nbinomial constant) || g:": "variant='nb1'",
    'label define l 1 "a" 2 "b"\nencode race, gen(r) label(l)\nmixed y 2.r || g:': "I(race == 'b')",
    "xtreg y x, fe i(g) vce(conventional)": 'cl.fixed_effects("y ~ x", data, group="g")',
}


@pytest.mark.parametrize("text", TRANSLATED)
def test_commands_as_they_are_in_do_files(text):
    assert TRANSLATED[text] in cl.from_stata(text).call


HOPELESS = {
    "svy: mixed y x || g:": "prefix 'svy'",
    "bysort sex: mixed y x || g:": "loop over the subsets",
    "mixed y x || g: x, cov(unstructured": "brackets",
    "drop if x > 3\nmixed y x || g:": "drop if",
    "xtreg y x, fe i(g) vce(cluster h)": "cluster g",
    "xtreg y x, re i(g) vce(bootstrap)": "bootstrap",
    "meglm y x, family(poisson) link(identity) || g:": "identity",
    "meglm y x, family() || g:": "family",
    "mixed y x || g:, level(abc)": "whole number",
    "mixed y x || g h: x": "names no level",
    "mixed y 3x || g:": "no name",
    "mixed y x || g:, nocons": "no random effects",
    "mixed y ib(last).race || g:": "number of the base",
    "reg": "no outcome",
    "* nothing": "comments only",
}


@pytest.mark.parametrize("text", HOPELESS)
def test_commands_that_would_be_another_model_are_refused(text):
    with pytest.raises(CrosslevelError, match=HOPELESS[text]):
        cl.from_stata(text)


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (cl.from_lme4, "lmer(y ~ x)", "random effects"),
        (cl.from_lme4, "glmer(y ~ x + (1 | g), family = binomial, nAGQ = 0)", "nAGQ"),
        (cl.from_lme4, 3, "got int"),
        (cl.from_spss, "MIXED y WITH x /FIXED=x.", "RANDOM"),
        (cl.from_spss, "MIXED y WITH x /FIXED=x /METHOD=FOO /RANDOM=INTERCEPT | SUBJECT(g).", "METHOD"),
        (cl.from_spss, "MIXED y /CRITERIA=DFMETHOD(FOO) /RANDOM=INTERCEPT | SUBJECT(g).", "DFMETHOD"),
        (cl.from_stata, 3, "got int"),
    ],
)
def test_other_packages_commands_that_cannot_be_read(read, text, words):
    with pytest.raises(CrosslevelError, match=words):
        read(text)


def test_small_and_large_numbers_of_equations_keep_their_digits(data):
    fit = cl.mixed("y ~ x + (x | g)", data.assign(y=data["y | t"] * 1e-12, g=data["kl:asse"]))
    text = fit.equation(numbers=True).splitlines()
    assert float(text[2].split(" = ")[1].split()[0]) == pytest.approx(fit.params["x"], rel=0.01)
    assert float(text[-1].removesuffix(")").split(", ")[1]) == pytest.approx(fit.sigma**2, rel=1e-3)
    assert r"\times 10^{-25}" in fit.equation(format="latex", numbers=True)
    assert "× 10⁻²⁵" in fit.equation(format="unicode", numbers=True)


def test_names_with_marks_of_equations_stay_names(data):
    fit = cl.mixed("y ~ `⟦x⟧_{a}` + (1 | `kl:asse`)", data.rename(columns={"y | t": "y", "x": "⟦x⟧_{a}"}))
    assert "beta_1 * [x]_{a}_ij" in fit.equation()


def test_descriptives_of_groups_with_colons_and_of_empty_texts(data):
    table = cl.descriptives(data, "kl:asse", ["x", "context", "half"])
    frame = table.frame.set_index(["variable", "category"])
    assert frame.loc[("context", ""), "n"] == 12
    assert frame.loc[("half", "(empty)"), "mean"] == (data["half"] == "").mean()
    by = cl.descriptives(data, "kl:asse", ["x"], by="half").frame.set_index("subset")
    assert by.loc["", "mean"] == pytest.approx(data["x"].mean())
    assert by.loc["(empty)", "mean"] == pytest.approx(data.loc[data["half"] == "", "x"].mean())


def test_descriptives_of_infinite_numbers_have_no_spread(data):
    frame = cl.descriptives(data.assign(x=np.where(data["x"] > 1, np.inf, data["x"])), "kl:asse", ["x"]).frame
    assert np.isinf(frame["mean"].iloc[0])
    assert frame[["sd", "icc (kl:asse)"]].isna().all(axis=None)


@pytest.mark.parametrize(("arguments", "words"), [({"digits": -1}, "`digits`"), ({"group": "rows"}, "Rename")])
def test_descriptives_refuse_what_they_cannot_show(data, arguments, words):
    with pytest.raises(CrosslevelError, match=words):
        cl.descriptives(**{"data": data.assign(rows=data["kl:asse"]), "group": "kl:asse", **arguments})
