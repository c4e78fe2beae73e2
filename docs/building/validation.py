"""The numbers of other software in tests/reference beside ours, computed at the build, and by how much they differ."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import crosslevel as cl

KINDS = {
    "log-likelihood": "units",
    "coefficient": "standard errors",
    "standard error": "relative",
    "standard deviation": "relative",
    "correlation": "units",
    "df, Satterthwaite": "relative",
    "df, Kenward-Roger": "relative",
}
"""Kinds of numbers, and in what their differences are given."""

FAMILIES = {
    "nbinom2": cl.families.NegativeBinomial(),
    "nbinom1": cl.families.NegativeBinomial("nb1"),
    "Gamma": cl.families.Gamma(),
    "betabinomial": cl.families.BetaBinomial(),
    "poisson": cl.families.Poisson(),
}

PANEL_KEYS = {"Grunfeld": ("firm", "year"), "Crime": ("county", "year"), "Wages": ("id", "time")}
"""Columns of units and of times."""

OTHER_CRITERION = "Contraception__ri_probit_laplace"
"""With a probit link lme4 approximates by the expected information, not the observed one: other numbers."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """One number of other software and ours.

    Parameters
    ----------
    kind : one of KINDS.
    name : what it is the value of.
    theirs, ours : the two values, in the units of the outcome or of the quantity.
    difference : their distance, in the unit of its kind.
    """

    kind: str
    name: str
    theirs: float
    ours: float
    difference: float


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model that other software fitted, and its numbers.

    Parameters
    ----------
    data : name of the data set.
    formula : the model in our words.
    software : what fitted it there.
    kind : "Linear models", "Generalized models" or "Panel estimators".
    numbers : every number compared.
    remark : what has to be known about a difference; may be empty.
    comparable : whether both mean to compute the same; false where their criteria differ by definition.
    """

    data: str
    formula: str
    software: str
    kind: str
    numbers: tuple[Number, ...]
    remark: str = ""
    comparable: bool = True


def models(tests: Path) -> Iterator[Model]:
    """Every model of the reference set that is compared number by number, fitted anew.

    Parameters
    ----------
    tests : the folder of the tests, which know how to read the files.
    """
    if str(tests) not in sys.path:
        sys.path.append(str(tests))
    import reference_cases

    for name in reference_cases.CASES:
        yield linear_model(reference_cases.load_case(name))
    for name in reference_cases.GENERALIZED:
        yield generalized_model(reference_cases.load_case(name))
    for file in sorted((tests / "reference" / "panel").glob("*.json")):
        theirs = json.loads(file.read_text(encoding="utf-8"))
        if theirs.get("model") in PANEL_FITS:
            yield panel_model(theirs, reference_cases.load_data(theirs["dataset"]))


def linear_model(case: Any) -> Model:
    """A linear mixed model by lme4 or nlme."""
    fit, theirs = cl.mixed(case.formula, case.data, method=case.method), case.expected
    remark = ""
    if theirs["r_function"].startswith("nlme"):
        remark = "nlme's search stops up to 1e-6 below the maximum; lme4's numbers for the same model are closer."
    numbers = [
        likelihood(theirs["loglik"], fit.loglik),
        *fixed_numbers(case, fit, theirs["se"]),
        *random_numbers(case, fit),
        *df_numbers(case, fit),
    ]
    return Model(
        data=theirs["dataset"], formula=f"{case.formula}, {case.method.upper()}", software=software_of(theirs),
        kind="Linear models", numbers=tuple(numbers), remark=remark,
    )  # fmt: skip


def generalized_model(case: Any) -> Model:
    """A generalized linear mixed model by lme4, glmmTMB or ordinal."""
    theirs = case.expected
    nodes = theirs.get("nagq") or 1
    if "thresholds" in theirs:
        family: Any = cl.families.Ordinal(link=theirs["link"])
    elif theirs["family"] == "binomial":
        family = cl.families.Binomial(link=theirs["link"])
    else:
        family = FAMILIES[theirs["family"]]
    fit = cl.mixed(case.formula, case.data, family=family, quadrature=nodes, progress=False)
    entry = "loglik_exact_at_fit" if nodes > 1 else "loglik_laplace_exact_at_fit"
    loglik = theirs.get(entry, theirs["loglik"])
    numbers = [
        likelihood(loglik, fit.loglik),
        *fixed_numbers(case, fit, theirs.get("se_precise", theirs["se"])),
        *random_numbers(case, fit),
    ]
    by = "Laplace" if nodes == 1 else f"{nodes} nodes"
    name = theirs.get("family", "ordinal")
    remark = (
        "lme4 takes the expected information in its approximation here, we take the observed one."
        if case.name == OTHER_CRITERION
        else ""
    )
    return Model(
        data=theirs["dataset"], software=software_of(theirs),
        formula=f"{case.formula}, {name} ({theirs['link']}), {by}",
        kind="Generalized models", numbers=tuple(numbers), remark=remark, comparable=case.name != OTHER_CRITERION,
    )  # fmt: skip


def software_of(theirs: dict[str, Any]) -> str:
    """The package that fitted a model."""
    return str(re.match(r"\w+(?:\.\w+)?", theirs["r_function"])[0])  # type: ignore[index]


def fixed_numbers(case: Any, fit: Any, errors: dict[str, float]) -> Iterator[Number]:
    """Coefficients and their standard errors."""
    import reference_cases

    ours = {reference_cases.components(str(name)): str(name) for name in fit.params.index}
    for name, value in case.expected["fixef"].items():
        own = ours[case.components(name)]
        yield from estimate_and_error(own, (value, errors[name]), (float(fit.params[own]), float(fit.bse[own])))


def estimate_and_error(name: str, theirs: tuple[float, float], ours: tuple[float, float]) -> list[Number]:
    """A coefficient and its standard error."""
    apart, ratio = abs(ours[0] - theirs[0]) / theirs[1], abs(ours[1] / theirs[1] - 1)
    return [
        Number(kind="coefficient", name=name, theirs=theirs[0], ours=ours[0], difference=apart),
        Number(kind="standard error", name=name, theirs=theirs[1], ours=ours[1], difference=ratio),
    ]


def likelihood(theirs: float, ours: float) -> Number:
    """The log-likelihood."""
    name = "log-likelihood"
    return Number(kind=name, name="", theirs=theirs, ours=ours, difference=abs(ours - theirs))


def random_numbers(case: Any, fit: Any) -> Iterator[Number]:
    """Standard deviations and correlations of random effects, and the residual standard deviation."""
    import reference_cases

    groups = list(fit.ngroups)
    for key, block in case.expected["varcorr"].items():
        group = case.group_of(key) if "ngroups" in case.expected else key
        names, theirs = [case.components(name) for name in block["names"]], block["cov"]
        own = reference_cases.our_group(group, groups)
        matrix = fit.cov_re[own]
        position = {reference_cases.components(str(name)): k for k, name in enumerate(matrix.index)}
        order = [position[name] for name in names]
        found = matrix.to_numpy()[np.ix_(order, order)]
        labels = [str(matrix.index[k]) for k in order]
        yield from covariance_numbers(own, labels, np.array(theirs), found, case.expected.get("sigma") or 1.0)
    sigma = case.expected.get("sigma")
    if (
        case.expected.get("reml") is not None
        and sigma
        and getattr(fit, "sigma", None)
        and case.expected.get("family") == "gaussian"
    ):
        yield Number(
            kind="standard deviation",
            name="Residual",
            theirs=sigma,
            ours=fit.sigma,
            difference=abs(fit.sigma / sigma - 1),
        )


def covariance_numbers(
    group: str, labels: list[str], theirs: np.ndarray, found: np.ndarray, sigma: float
) -> Iterator[Number]:
    """Standard deviations and correlations of one block; an estimate of zero is compared with 1% of sigma."""
    sd, own = np.sqrt(np.diag(theirs)), np.sqrt(np.diag(found))
    for k, label in enumerate(labels):
        yield Number(
            kind="standard deviation", name=f"{label} | {group}", theirs=float(sd[k]), ours=float(own[k]),
            difference=float(abs(own[k] - sd[k]) / max(sd[k], 1e-2 * sigma)),
        )  # fmt: skip
        for j in range(k):
            if min(sd[k], sd[j], own[k], own[j]) < 1e-4 * sigma:
                continue
            a, b = theirs[k, j] / sd[k] / sd[j], found[k, j] / own[k] / own[j]
            yield Number(
                kind="correlation", name=f"{labels[j]}, {label} | {group}", theirs=float(a), ours=float(b),
                difference=float(abs(a - b)),
            )  # fmt: skip


def df_numbers(case: Any, fit: Any) -> Iterator[Number]:
    """Degrees of freedom by Satterthwaite and by Kenward and Roger."""
    import reference_cases

    ours = {reference_cases.components(str(name)): k for k, name in enumerate(fit.params.index)}
    for entry, method, kind in (
        ("df_satterthwaite", "satterthwaite", "df, Satterthwaite"),
        ("df_kr", "kenward-roger", "df, Kenward-Roger"),
    ):
        if entry not in case.expected:
            continue
        found = fit.tests(ddf=method)["df"]
        for name, value in case.expected[entry].items():
            k = ours[case.components(name)]
            own = float(found.iloc[k])
            yield Number(
                kind=kind, name=str(fit.params.index[k]), theirs=value, ours=own, difference=abs(own / value - 1)
            )


PANEL_FITS: dict[str, Any] = {
    "within": lambda formula, data, group, time: cl.fixed_effects(formula, data, group=group, time=time),
    "within_twoways": lambda formula, data, group, time: cl.fixed_effects(
        formula, data, group=group, time=time, effect="twoways"
    ),
    "between": lambda formula, data, group, time: cl.between(formula, data, group=group),
    "first_difference": lambda formula, data, group, time: cl.first_difference(formula, data, group=group, time=time),
    **{
        f"random_{method}": lambda formula, data, group, time, method=method: cl.random_effects(
            formula, data, group=group, method=method
        )
        for method in ("swar", "amemiya", "walhus", "nerlove")
    },
}
"""Estimators of panel data by the names of their files."""


def panel_model(theirs: dict[str, Any], data: Any) -> Model:
    """A panel estimator by plm."""
    group, time = PANEL_KEYS[theirs["dataset"]]
    fit = PANEL_FITS[theirs["model"]](theirs["formula"], data, group, time)
    numbers = []
    for name, value in theirs["coef"].items():
        own = "Intercept" if name == "(Intercept)" else re.sub(r"yes$", "[yes]", name)
        error = theirs["se"][name]
        numbers += estimate_and_error(own, (value, error), (float(fit.params[own]), float(fit.bse[own])))
    label = theirs["model"].replace("_", " ")
    return Model(
        data=theirs["dataset"], formula=f"{theirs['formula']}, {label}", software="plm", kind="Panel estimators",
        numbers=tuple(numbers),
    )  # fmt: skip
