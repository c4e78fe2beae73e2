"""Every cell of a table is its model's own number, rounded."""

import re

import numpy as np
import pandas as pd
import pytest

import crosslevel as cl
from crosslevel.errors import CrosslevelError, FileError
from crosslevel.report.tables.cells import Printed, estimate_cell, uncertainty_cell, writer
from crosslevel.report.tables.record import Heading, Line, PublicationTable

COEFFICIENTS = ["estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high"]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    found = cl.datasets.load("hsb")
    found = found[found["school"].isin(found["school"].unique()[:30])].copy()
    found["able"] = found["mathach"] > 13
    found["grade"] = pd.Categorical(
        pd.cut(found["mathach"], [-5, 8, 16, 30], labels=["low", "mid", "high"]), ordered=True
    )
    found["room"] = np.arange(len(found)) % 7
    return found


@pytest.fixture(scope="module")
def fits(data: pd.DataFrame) -> dict[str, object]:
    return {
        "mixed": cl.mixed("mathach ~ ses * sector + (ses || school)", data),
        "crossed": cl.mixed("mathach ~ 1 + (1 | school) + (1 | room)", data, method="ml"),
        "logit": cl.mixed("able ~ ses + (1 | school)", data, family="binomial", quadrature=1),
        "ordinal": cl.mixed("grade ~ ses + (1 | school)", data, family="ordinal", quadrature=1),
        "ols": cl.ols("mathach ~ ses", data, cluster="school"),
        "glm": cl.glm("able ~ ses", data, family="binomial", cluster="school"),
        "within": cl.fixed_effects("mathach ~ ses", data, group="school"),
        "gee": cl.gee("able ~ ses", data, family="binomial", group="school"),
        "clogit": cl.conditional_logit("able ~ ses", data, group="school"),
        "two steps": cl.two_step("mathach ~ ses", "ses ~ sector", data, cluster="school"),
        "strata": cl.mixed("mathach ~ ses", data, residual=cl.residual.By("sector")),
    }


def lines_of(table: PublicationTable) -> dict[str, list[Line]]:
    """Lines by label, those that continue it behind it."""
    found: dict[str, list[Line]] = {}
    for line in table.lines:
        if isinstance(line, Line):
            found.setdefault(line.label or list(found)[-1], []).append(line)
    return found


def rounds_to(cell: Printed, value: float) -> bool:
    """Whether the digits shown are those of a number, to their last decimal."""
    if "e" in cell.number:
        return np.isclose(float(cell.number), value, rtol=5e-3)
    decimals = len(cell.number.partition(".")[2])
    shown = float(cell.number.replace(",", ""))
    return abs(shown - value) <= 0.5 * 10.0**-decimals * (1 + 1e-9) and not re.fullmatch(r"-0(\.0*)?", cell.number)


def test_numbers_behind_coefficients_are_those_of_the_fits(fits: dict[str, object]) -> None:
    frame = cl.table(fits).frame
    for name, fit in fits.items():
        found = frame[(frame["part"] == "coefficient") & (frame["model"] == name)].set_index("term")
        expected = fit.tidy().rename(index=dict(getattr(fit, "mixed_terms", {})))
        pd.testing.assert_frame_equal(
            found.loc[expected.index, COEFFICIENTS].astype(float), expected[COEFFICIENTS], check_names=False, rtol=0,
        )  # fmt: skip


def test_every_printed_number_is_the_one_behind_it(fits: dict[str, object]) -> None:
    table = cl.table(fits, show=("se", "t", "p", "interval"))
    count = 0
    for line in table.lines:
        for cell in line.cells if isinstance(line, Line) else ():
            if cell is not None and cell.number:
                count += 1
                assert rounds_to(cell, cell.value), cell
    assert count > 150
    lines = lines_of(table)["ses"]
    tidy = fits["mixed"].tidy().loc["ses"]
    values = [line.cells[0].value for line in lines[:4]]
    assert values == [tidy["estimate"], tidy["std_error"], tidy["statistic"], tidy["p_value"]]
    assert lines[4].cells[0].text == f"[{tidy['conf_low']:.3f}, {tidy['conf_high']:.3f}]"


def test_variances_thresholds_and_shapes_are_those_of_the_fits(fits: dict[str, object]) -> None:
    frame = cl.table(fits, level=0.9).frame.set_index(["model", "term"])
    names = ["estimate", "std_error", "conf_low", "conf_high"]
    for model in ("mixed", "crossed", "logit", "ordinal"):
        for _, row in fits[model].varcomp(level=0.9).iterrows():
            term = "Residual" if row["kind"] == "residual" else f"{row['term1']} | {row['group']}"
            assert frame.loc[(model, term), names].tolist() == pytest.approx(row[names].tolist(), rel=0, nan_ok=True)
    for threshold, row in fits["ordinal"].thresholds(level=0.9).iterrows():
        assert frame.loc[("ordinal", threshold), names].tolist() == row[names].tolist()
    for parameter, row in fits["strata"].residual_parameters(level=0.9).iterrows():
        assert frame.loc[("strata", parameter), names].tolist() == row[names].tolist()


def test_effects_with_a_comma_in_their_name_are_no_pairs(data: pd.DataFrame) -> None:
    fit = cl.mixed("mathach ~ within(ses, school) + (within(ses, school) | school)", data)
    table = cl.table([fit], terms={"within(ses, school)": "Own status"})
    labels = table.frame.loc[table.frame["part"] == "variance", "label"]
    assert list(labels) == [
        "Intercept (school)", "Own status (school)", "Correlation: Intercept, Own status (school)", "Residual",
    ]  # fmt: skip


def test_correlations_standard_deviations_and_covariances(data: pd.DataFrame) -> None:
    fit = cl.mixed("mathach ~ ses + (ses | school)", data)
    expected = fit.varcomp().set_index("kind").loc["covariance"]
    rows = {kind: cl.table(fit, random=kind).frame.set_index("label") for kind in ("variance", "sd", "covariance")}
    assert rows["variance"].loc["Correlation: Intercept, ses (school)", "estimate"] == expected["std_dev"]
    assert rows["covariance"].loc["Covariance: Intercept, ses (school)", "std_error"] == pytest.approx(
        expected["std_error"], nan_ok=True
    )
    assert rows["sd"].loc["ses (school)", "estimate"] == pytest.approx(np.sqrt(fit.cov_re["school"].loc["ses", "ses"]))
    assert "variance" not in set(cl.table(fit, random=False).frame["part"])


def test_statistics_are_those_of_the_fits(fits: dict[str, object]) -> None:
    table = cl.table(fits)
    found = table.frame[table.frame["part"] == "statistic"].set_index(["model", "term"])["estimate"]
    for name, fit in fits.items():
        assert found[name, "nobs"] == (fit.rows.used if hasattr(fit, "rows") else fit.nobs)
        for group, count in fit.ngroups.items():
            assert found[name, f"clusters: {group}"] == count
    mixed, logit = fits["mixed"], fits["logit"]
    for name, fit in (("mixed", mixed), ("logit", logit)):
        assert found[name, "icc"] == fit.icc().estimate
        assert found[name, "r2_marginal"] == fit.r2().marginal
        assert found[name, "r2_conditional"] == fit.r2().conditional
        assert (found[name, "loglik"], found[name, "aic"], found[name, "bic"]) == (fit.loglik, fit.aic, fit.bic)
    assert found["ols", "r2"] == fits["ols"].r_squared
    assert found["glm", "pseudo_r2"] == fits["glm"].pseudo_r_squared
    assert ("gee", "loglik") not in found.index  # quasi-likelihood
    assert "within: Fixed effects (within school); iid standard errors." in table.notes
    assert "ols: OLS, CR2 by school." in table.notes


def test_ratios_are_those_of_the_fit(fits: dict[str, object]) -> None:
    table = cl.table({"a": fits["mixed"], "b": fits["logit"], "c": fits["glm"]}, exponentiate=["b", "c"])
    frame = table.frame[table.frame["part"] == "coefficient"].set_index(["model", "term"])
    for name, fit in (("b", fits["logit"]), ("c", fits["glm"])):
        expected = fit.ratios()
        assert np.allclose(frame.loc[name, COEFFICIENTS].astype(float), expected[COEFFICIENTS], rtol=1e-14)
    assert frame.loc[("a", "ses"), "estimate"] == fits["mixed"].params["ses"]
    assert "b, c: odds ratios, exponentials of coefficients." in table.notes
    with pytest.raises(CrosslevelError, match="Model 1 has the identity link"):
        cl.table(fits["ols"], exponentiate=True)


def test_other_standard_errors_and_intervals_of_a_fit(fits: dict[str, object]) -> None:
    fit = fits["mixed"]
    boot, robust = fit.bootstrap(n=60, seed=3, progress=False), fit.robust("CR2")
    table = cl.table({"boot": (fit, boot, "basic"), "robust": (fit, robust), "kr": (fit, "kenward-roger")})
    frame = table.frame[table.frame["part"] == "coefficient"].set_index(["model", "term"])
    terms = list(fit.params.index)
    assert np.array_equal(
        frame.loc["boot"].loc[terms, ["conf_low", "conf_high"]],
        boot.conf_int(method="basic").loc[terms, ["conf_low", "conf_high"]],
    )
    assert np.array_equal(frame.loc["boot"].loc[terms, "std_error"], boot.std_error[terms])
    assert np.array_equal(frame.loc["robust"].loc[terms, COEFFICIENTS], robust.tidy()[COEFFICIENTS])
    assert np.array_equal(frame.loc["kr"].loc[terms, COEFFICIENTS], fit.tests("kenward-roger")[COEFFICIENTS])
    assert table.frame.query("part == 'variance'").groupby("model").size().to_dict() == dict.fromkeys(
        ("boot", "robust", "kr"), 3
    )
    assert "boot: Mixed model, REML; coefficients: Bootstrap (cluster), basic." in table.notes
    with pytest.raises(CrosslevelError, match="not its own"):
        cl.table([(fits["ols"], robust)])


@pytest.mark.parametrize(
    ("estimate", "error", "digits", "shown"),
    [
        (12.12793, 0.19923, None, ("12.128", "(0.199)")),
        (-0.00004, 0.5, None, ("0.000", "(0.500)")),
        (0.0005, 0.0625, 3, ("0.001", "(0.062)")),  # 0.0005 lies above its name, 0.0625 is exact: to even
        (0.0123, 0.00021, None, ("0.01230", "(0.00021)")),
        (2.28e-9, 2.15e-10, None, ("2.28e-09", "(2.15e-10)")),
        (1.36e13, 4.19e11, None, ("1.36e+13", "(4.19e+11)")),
        (51234.5678, 812.4, None, ("51235", "(812)")),
        (0.0, np.nan, None, ("0.000", None)),
        (np.inf, np.inf, None, ("inf", "(inf)")),
    ],
)
def test_rounding(estimate: float, error: float, digits: int | None, shown: tuple[str, str | None]) -> None:
    numbers = {"estimate": estimate, "std_error": error}
    below = uncertainty_cell(numbers, "se", digits)
    assert (estimate_cell(numbers, digits).text, None if below is None else below.text) == shown


def test_small_p_values_and_stars(fits: dict[str, object]) -> None:
    assert uncertainty_cell({"p_value": 1e-7}, "p", None).text == "(< .001)"
    assert uncertainty_cell({"p_value": 0.0499}, "p", None).text == "(.050)"
    assert writer({"estimate": 1.0}, 0)(2.5) == "2"  # half to even
    plain, starred = cl.table(fits["mixed"]), cl.table(fits["mixed"], stars=(0.1, 0.01))
    assert not any(cell.marks for line in plain.lines if isinstance(line, Line) for cell in line.cells if cell)
    p = fits["mixed"].tidy()["p_value"]
    for term, value in p.items():
        assert lines_of(starred)[term][0].cells[0].marks == "*" * ((value < 0.1) + (value < 0.01))
    assert starred.notes[-1] == "* p < .1, ** p < .01."


def test_labels_order_groups_and_references(fits: dict[str, object]) -> None:
    labels = {
        "sector": "Type",
        "ses:sector[Catholic]": None,
        "ses": "SES",
        "school": "schools",
        "Intercept": "Constant",
    }
    table = cl.table(fits["mixed"], reference=True, groups={"Schools": ["sector[Catholic]"]}, terms=labels)
    shown = [
        line.text if isinstance(line, Heading) else line.label
        for line in table.lines
        if not getattr(line, "continues", 0)
    ]
    assert shown[:6] == ["Fixed effects", "SES", "Constant", "Schools", "Type: Public", "Type: Catholic"]
    assert shown[6:10] == ["Variance components", "Constant (schools)", "SES (schools)", "Residual"]
    assert "N (schools)" in shown
    assert "Type: compared with Public." in table.notes
    assert lines_of(table)["Type: Public"][0].cells[0].text == "reference"
    only = cl.table(fits["mixed"], terms=["sector[Catholic]:ses"]).frame
    assert only[only["part"] == "coefficient"]["term"].tolist() == ["ses:sector[Catholic]"]


def test_interactions_match_whatever_the_order_of_their_parts(data: pd.DataFrame, fits: dict[str, object]) -> None:
    other = cl.ols("mathach ~ sector * ses", data)
    frame = cl.table([fits["mixed"], other]).frame
    assert (frame["term"] == "ses:sector[Catholic]").sum() == 2


def test_what_is_beside_and_what_is_missing(fits: dict[str, object], data: pd.DataFrame) -> None:
    table = cl.table([fits["mixed"], fits["ols"]], beside=True, show=("se", "p"))
    tidy = fits["ols"].tidy().loc["ses"]
    assert lines_of(table)["ses"][0].cells[1].text == f"{tidy['estimate']:.3f} ({tidy['std_error']:.3f}) (< .001)"
    assert lines_of(table)["sector[Catholic]"][0].cells[1] is None
    empty = cl.table(cl.mixed("mathach ~ 0 + (1 | school)", data))
    assert [line.text for line in empty.lines if isinstance(line, Heading)] == ["Variance components", "Model"]
    twin = cl.mixed("mathach ~ ses + twice + (1 | school)", data.assign(twice=2.0 * data["ses"]))
    assert "Left out, as other terms determine it: twice." in cl.table(twin).notes


def test_eight_models_in_text_keep_their_widths(fits: dict[str, object]) -> None:
    models = {f"A rather long heading, number {k}": fits["mixed"] for k in range(8)}
    text = str(cl.table(models))
    assert max(map(len, text.splitlines())) <= 80
    estimate = f"{fits['mixed'].params['ses']:.3f}"
    assert text.count(estimate) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": []}, "`models` is empty"),
        ({"models": 3}, "`table` takes fits"),
        ({"terms": ["sess"]}, "Did you mean 'ses'"),
        ({"terms": {"sess": "x"}}, "Did you mean 'ses'"),
        ({"show": "sd"}, "`show` is one or several of"),
        ({"names": ["a", "b"]}, "one heading for each of the 1 models"),
        ({"statistics": ["foo"]}, "`statistics` is 'auto' or names"),
        ({"groups": {"A": ["ses"], "B": ["ses"]}}, "`groups` has 'ses' in 'A' and in 'B'"),
        ({"groups": {"A": ["nix"]}}, "`groups` has 'nix'"),
        ({"stars": [5.0]}, "`stars` is True or levels"),
        ({"digits": -1}, "`digits` is a number of decimals"),
        ({"random": "sds"}, "`random` is True, False"),
        ({"exponentiate": ["X"]}, "the models are 'Model 1'"),
        ({"format": "doc"}, "`format` is one of"),
        ({"format": "docx"}, "`path` is needed"),
        ({"terms": [], "random": False, "statistics": ()}, "nothing to show"),
    ],
)
def test_errors_say_what_is_wrong(fits: dict[str, object], arguments: dict[str, object], message: str) -> None:
    with pytest.raises(CrosslevelError, match=re.escape(message)):
        cl.table(**{"models": fits["mixed"], **arguments})


def test_files_need_an_ending_that_says_their_format(fits: dict[str, object], tmp_path: object) -> None:
    with pytest.raises(FileError, match=re.escape("`path` ends in .txt")):
        cl.table(fits["ols"], path=tmp_path / "table.pdf")
    with pytest.raises(FileError, match="cannot write"):
        cl.table(fits["ols"], path=tmp_path / "nowhere" / "table.md")
    assert cl.table(fits["ols"], path=tmp_path / "table.md").read_text().startswith("|")


def test_a_row_has_one_manner_of_decimals_and_unknown_errors_a_word() -> None:
    names = ["estimate", "std_error", "conf_low", "conf_high"]
    large = pd.DataFrame([[1958.86, 217.6, 1500.0, 2400.0]], index=["x"], columns=names)
    small = pd.DataFrame([[960.457, 107.05, 700.0, 1200.0]], index=["x"], columns=names)
    unknown = pd.DataFrame([[0.6701, np.nan, np.nan, np.nan]], index=["z"], columns=names)
    lines = lines_of(cl.table([large, small, unknown], beside=True))
    assert [cell.text for cell in lines["x"][0].cells[:2]] == ["1959 (218)", "960 (107)"]
    assert lines["z"][0].cells[2].text == "0.670 (unknown)"
