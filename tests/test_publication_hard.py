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


def test_labels_of_categories_with_brackets_and_of_names_with_colons(data):
    texts = np.where(data["x"] > 0, "Yes: (fully)", "No) :[x")
    fit = cl.ols("y ~ answer * `a:b`", data.assign(y=data["y | t"], answer=texts, **{"a:b": data["a, b"]}))
    table = cl.table(fit, terms={"answer": "Answer", "a:b": "A per B"})
    labels = table.frame.loc[table.frame["part"] == "coefficient", "label"]
    assert list(labels) == ["Intercept", "Answer: Yes: (fully)", "A per B", "Answer: Yes: (fully) × A per B"]


def test_codings_know_predictors_whose_names_have_colons(data):
    named = data.rename(columns={"x": "a:b", "y | t": "y"})
    frame = cl.codings("y ~ `a:b` + (1 | `kl:asse`)", named).frame
    about = frame.loc[frame["term"] != "Intercept", "meaning"]
    assert not about.str.contains("other predictor").any()


def test_measurement_error_of_parts_with_names_in_backquotes(data):
    formula = "y ~ within(x, `kl:asse`) + between(x, `kl:asse`) + (1 | `kl:asse`)"
    found = cl.measurement_error(formula, "x", data=data.rename(columns={"y | t": "y"}), reliability=0.9)
    assert "within" in str(found)


def test_multiverse_counts_what_was_fitted(data):
    named = data.rename(columns={"y | t": "y", "a, b": "w"}).assign(text="x")
    found = cl.multiverse("y ~ x + (1 | `kl:asse`)", named, alternatives={"outcome": ["text"]}, progress=False)
    assert found.sentences[0] == "1 of 2 specifications was fitted, the model as given among them."
    assert not any("conclusions" in sentence for sentence in found.sentences)
    again = cl.multiverse(
        "y ~ x + (1 | `kl:asse`)", named, progress=False,
        alternatives={"`x`": ["within(x, `kl:asse`)", " within(x,`kl:asse`)"]},
    )  # fmt: skip
    assert len(again.specifications) == 2


@pytest.mark.parametrize(
    ("alternatives", "words"), [({"controls": []}, "nothing to choose"), ({"controls": ["term"]}, "Rename")]
)
def test_choices_that_cannot_be_made_are_refused(data, alternatives, words):
    named = data.rename(columns={"y | t": "y", "a, b": "term"})
    with pytest.raises(CrosslevelError, match=words):
        cl.multiverse("y ~ x + (1 | `kl:asse`)", named, alternatives=alternatives, progress=False)


def test_transport_says_which_clusters_it_cannot_predict(data):
    named = data.rename(columns={"y | t": "y"}).assign(kind=np.where(data["kl:asse"] == 11, "rare", data["half"] + "-"))
    found = cl.transport(cl.mixed("y ~ x + kind + (1 | `kl:asse`)", named), folds=12, progress=False)
    assert found.sentences[0].startswith("11 clusters of kl:asse were predicted")
    assert found.sentences[1].startswith("kl:asse 11 was not")
    few = named[named["kl:asse"] < 3].assign(kind=lambda d: np.where(d["kl:asse"] == 2, "rare", "usual"))
    with pytest.raises(CrosslevelError, match="no fit that predicts"):
        cl.transport(cl.mixed("y ~ x + kind + (1 | `kl:asse`)", few), progress=False)


def test_tables_with_control_characters_are_saved_in_every_format(data, tmp_path):
    fit = cl.mixed("`y | t` ~ `a, b` + `пол [код]` + (1 | `kl:asse`)", data)
    table = cl.table({"<A>&\n\x00 $1$_%": fit, "Ж": fit}, title="T\x01 & <t>", notes="#\x02 {}", reference=True)
    for ending in ("txt", "md", "html", "tex", "docx", "xlsx"):
        assert table.save(tmp_path / f"table.{ending}").stat().st_size > 500


def test_tests_by_the_normal_distribution_have_a_summary(data):
    fit = cl.mixed("y ~ x + (1 | `kl:asse`)", data.rename(columns={"y | t": "y"}), ddf="normal")
    assert "inf" in str(fit)


@pytest.mark.parametrize(
    "name",
    ["influence", "leverage", "contributions", "linearity", "homogeneity", "envelope", "zeta", "bootstrap", "power",
     "selection", "calibration", "observed_expected", "quantile_residuals", "simulated_check", "simex", "transport",
     "missing", "specification_curve"],
)  # fmt: skip
def test_figures_of_records_say_what_they_draw(data, name):
    fit = cl.ols("y ~ x", data.rename(columns={"y | t": "y"}))
    for figure in (getattr(cl.plot, name), getattr(cl.plot, f"{name}_data")):
        with pytest.raises(CrosslevelError, match="answers; got OLSFit"):
            figure(fit)
