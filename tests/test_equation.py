"""The equations of fits: what they say, their numbers, and that LaTeX reads them."""

import re
import shutil
import subprocess
from functools import cache

import pytest
from translation_models import data_of

import crosslevel as cl

ASKED = {
    "slopes": ("mathach ~ within(ses, school) * sector + meanses + (within(ses, school) | school)", "hsb", {}),
    "blocks": ("mathach ~ ses * sector + (ses || school)", "hsb", {"offset": "minority"}),
    "three": ("mathach ~ ses * sector + (ses | district) + (1 | school)", "hsb", {}),
    "crossed": ("mathach ~ ses * sector + (ses | room) + (1 | school)", "hsb", {}),
    "by": ("mathach ~ ses + (1 | school)", "hsb", {"residual": cl.residual.By("sector")}),
    "ar1": ("Reaction ~ Days + (1 | Subject)", "sleepstudy", {"residual": cl.residual.AR1("Days", within="Subject")}),
    "us": ("Reaction ~ Days", "sleepstudy", {"residual": cl.residual.Unstructured("Late", within="Row")}),
    "cs": ("Reaction ~ Days + cs(1 + Days | Subject)", "sleepstudy", {"weights": cl.Precision("w")}),
    "logit": ("minority ~ ses + sector + (1 | school)", "hsb", {"family": "binomial", "quadrature": 1}),
    "labels": ("sector ~ ses + (1 | district)", "hsb", {"family": "binomial", "quadrature": 1}),
    "trials": ("correct ~ ses + (1 | school)", "hsb", {"family": "binomial", "trials": "items", "quadrature": 1}),
    "poisson": ("count ~ ses + (1 | school)", "hsb", {"family": "poisson", "exposure": "time", "quadrature": 1}),
    "negbinomial": ("count ~ ses + (1 | district)", "hsb", {"family": "negbinomial", "quadrature": 1}),
    "ordinal": ("wave ~ mathach + (1 | district)", "hsb", {"family": "ordinal", "quadrature": 1}),
    "members": ("mathach ~ ses + (1 | mm(district, other))", "hsb", {}),
}  # fmt: skip


@cache
def fit_of(name: str):
    formula, data, arguments = ASKED[name]
    frame = data_of(data)
    if data == "sleepstudy":
        frame = frame.assign(
            Row=frame["Subject"].astype(str) + (frame["Days"] % 5).astype(str), w=1.0 + frame["Days"] % 2
        )
    else:
        frame = frame.assign(other=frame["district"].to_numpy()[::-1])
    return cl.mixed(formula, frame, **arguments)


LINES = {
    "slopes": [
        "mathach_ij = beta_0j + beta_1j * within(ses, school)_ij + r_ij",
        "beta_0j = gamma_00 + gamma_01 * sector[Catholic]_j + gamma_02 * meanses_j + u_0j",
        "beta_1j = gamma_10 + gamma_11 * sector[Catholic]_j + u_1j",
        "(u_0j, u_1j) ~ N(0, T)",
        "r_ij ~ N(0, sigma^2)",
    ],
    "blocks": ["mathach_ij = beta_0j + beta_1j * ses_ij + minority_ij + r_ij", "u_1j ~ N(0, tau_11)"],
    "three": [
        "mathach_ijk = pi_0jk + pi_1jk * ses_ijk + e_ijk",
        "pi_0jk = beta_00k + beta_01 * sector[Catholic]_jk + r_0jk",
        "pi_1jk = beta_10k + beta_11 * sector[Catholic]_jk",
        "beta_10k = gamma_100 + u_10k",
        "(u_00k, u_10k) ~ N(0, T_district)",
    ],
    "crossed": ["(u_0,room[i], u_1,room[i]) ~ N(0, T_room)", "u_0,school[i] ~ N(0, tau_school)"],
    "by": ["r_ij ~ N(0, sigma_sector^2)"],
    "ar1": ["Cor(r_ij, r_ij') = rho^|Days-Days'|  (within Subject)"],
    "cs": ["(u_0j, u_1j) ~ N(0, T)  (compound symmetry)", "r_ij ~ N(0, sigma^2 / w_ij)"],
    "logit": ["minority_ij ~ Bernoulli(mu_ij)", "logit(mu_ij) = beta_0j + beta_1 * ses_ij"],
    "labels": ["sector_ij ~ Bernoulli(mu_ij)  (1 stands for Catholic)"],
    "trials": ["correct_ij ~ Binomial(n_ij, mu_ij)"],
    "poisson": ["log(mu_ij) = beta_0j + beta_1 * ses_ij + log(time_ij)"],
    "negbinomial": ["count_ij ~ NegativeBinomial(mu_ij, theta)  (variance mean + mean^2 / theta)"],
    "ordinal": ["logit P(wave_ij <= c) = theta_c - eta_ij", "eta_ij = beta_0j + beta_1 * mathach_ij"],
    "members": ["mathach_i = beta_0 + beta_1 * ses_i + u_0,mm(district, other)[i] + e_i"],
}


@pytest.mark.parametrize("name", LINES)
def test_the_lines(name):
    lines = fit_of(name).equation().splitlines()
    if name == "slopes":
        assert lines == LINES[name]
    for line in LINES[name]:
        assert line in lines


def coefficients(text: str) -> list[float]:
    """Numbers that stand where coefficients do, in an equation of one line with the signs of its terms."""
    right = text.split(" = ", 1)[1]
    found = re.findall(r"(?:(?<=^)|(?<= )|(?<=\+ )|(?<=- ))(-?)(\d+\.\d+)(?= |$)", right)
    signs = re.findall(r"(^|[+-] ?)-?\d+\.\d+(?= |$)", right)
    return [
        float(f"{own}{number}") * (-1.0 if "-" in sign else 1.0)
        for (own, number), sign in zip(found, signs, strict=True)
    ]


@pytest.mark.parametrize("name", ["slopes", "three", "crossed", "logit", "poisson", "ordinal"])
def test_numbers_are_the_estimates(name):
    fit = fit_of(name)
    text = fit.equation("combined", numbers=True, digits=6).replace("\n    ", " ")
    line = next(line for line in text.splitlines() if re.match(r"mathach_|logit\(|log\(|eta_", line))
    expected = sorted(round(float(value), 6) for value in fit.params)
    assert sorted(coefficients(line)) == pytest.approx(expected, abs=1e-9)
    rounded = fit.equation("combined", numbers=True)
    assert len(rounded) < len(text)


def test_variances_are_the_estimates():
    fit = fit_of("slopes")
    text = fit.equation(numbers=True, digits=4)
    cov = fit.cov_re["school"].to_numpy()
    shown = ", ".join(f"[{row[0]:.4f}, {row[1]:.4f}]" for row in cov)
    assert f"(u_0j, u_1j) ~ N(0, [{shown}])" in text
    assert f"r_ij ~ N(0, {fit.sigma**2:.4f})" in text


def test_ordinary_regressions_have_one_level():
    fit = cl.ols("mathach ~ ses", data_of("hsb"))
    assert fit.equation() == "mathach_i = beta_0 + beta_1 * ses_i + e_i\ne_i ~ N(0, sigma^2)"
    assert fit.equation(format="unicode", numbers=True).startswith("mathachᵢ = 12.7474 + 3.1839 sesᵢ + eᵢ")


def test_wrong_arguments_are_refused():
    fit = fit_of("by")
    for asked in ({"form": "level"}, {"format": "html"}, {"digits": -1}):
        with pytest.raises(cl.CrosslevelError, match=next(iter(asked))):
            fit.equation(**asked)


@pytest.mark.slow
def test_latex_compiles(tmp_path):
    assert shutil.which("pdflatex"), "needs a TeX engine: install texlive-latex-extra"
    odd = data_of("sleepstudy").rename(columns={"Reaction": "50% & more_{x}^2", "Days": "a<b|c~d\\e #1 $"})
    fits = [*map(fit_of, ASKED), cl.ols("mathach ~ ses * sector", data_of("hsb"))]
    fits.append(cl.mixed("`50% & more_{x}^2` ~ `a<b|c~d\\e #1 $` + (1 | Subject)", odd))
    body = [
        fit.equation(form, "latex", numbers=n) for fit in fits for form in ("levels", "combined") for n in (False, True)
    ]
    page = (
        "\\documentclass{article}\\usepackage{amsmath}\\begin{document}\n" + "\n\n".join(body) + "\n\\end{document}\n"
    )
    (tmp_path / "page.tex").write_text(page)
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in (tmp_path / "page.log").read_text(errors="replace")
