"""What a model assumes of its outcome, its random effects and its residuals, as lines of equations."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from crosslevel import residual as structures
from crosslevel.display import decimals_for, fixed, number
from crosslevel.estimators import known_part
from crosslevel.estimators.written.records import Statement, name
from crosslevel.families import Family
from crosslevel.kernels import responses

if TYPE_CHECKING:
    from crosslevel.estimators.fitted_mixed import FittedMixed
    from crosslevel.estimators.generalized.fit import GeneralizedFit
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.residual import ResidualStructure

WORDS = {
    "diag": "uncorrelated", "cs": "compound symmetry", "hcs": "compound symmetry, variances of their own",
    "ar1": "first-order autoregression", "har1": "first-order autoregression, variances of their own",
    "propto": "in proportion to the known matrix {0}", "equalto": "known",
}  # fmt: skip
"""Structures of random effects."""

DISTRIBUTIONS = {
    responses.NEGATIVE_BINOMIAL_1: ("NegativeBinomial(μ{0}, φ)", "φ", "variance μ (1 + φ)"),
    responses.NEGATIVE_BINOMIAL_2: ("NegativeBinomial(μ{0}, θ)", "θ", "variance μ + μ^{{2}} / θ"),
    responses.GAMMA: ("Gamma(μ{0}, ν)", "ν", "variance μ^{{2}} / ν"),
    responses.BETA: ("Beta(μ{0}, φ)", "φ", "variance μ (1 − μ) / (1 + φ)"),
    responses.BETA_BINOMIAL: ("BetaBinomial(n{0}, μ{0}, φ)", "φ", "intraclass correlation 1 / (1 + φ)"),
}
"""Distribution, its shape parameter, and what this means, by family."""


def shown(value: float, digits: int | None) -> str:
    """A number with so many decimals; by default four significant digits, with a power of ten beyond 1e-6 and 1e9."""
    if digits is None and value and not 1e-6 <= abs(value) < 1e9:
        return number(value, significant=4)
    return fixed(value, decimals_for(abs(value), significant=4, least=0) if digits is None else digits).replace(",", "")


def of_block(symbols: Sequence[str], covariance: Any, own: str, block: Any, digits: int | None) -> Statement:
    """What is assumed of random effects that vary together.

    Parameters
    ----------
    symbols : of the effects.
    covariance : (q, q) their estimated covariance, or None for symbols.
    own : symbol of the variance or covariance matrix.
    block : how they vary together.
    digits : decimals of the numbers.
    """
    left = symbols[0] if len(symbols) == 1 else f"({', '.join(symbols)})"
    remark = WORDS[block.structure].format(block.known) if len(symbols) > 1 and block.structure in WORDS else ""
    known = known_part.matrix_of(block)
    if covariance is None or known:
        return Statement(left=left, relation="~", right=f"N(0, {name(known) if known else own})", remark=remark)
    matrix = tuple(tuple(shown(float(value), digits) for value in row) for row in covariance)
    return Statement(left=left, relation="~", right="", matrix=matrix, remark=remark)


def of_residuals(fit: "MixedFit", error: str, index: str, numbers: bool, digits: int | None) -> Iterator[Statement]:
    """What is assumed of the residuals of a linear mixed model."""
    asked = fit.given.get("residual")
    variance = shown(fit.sigma**2, digits) if numbers else "σ^{2}"
    if asked is None:
        weights = fit.design.weights
        divided = (
            f" / {name(weights.given.columns[0])}_{{{index}}}" if weights is not None and weights.is_precision else ""
        )
        yield Statement(left=error, relation="~", right=f"N(0, {variance}{divided})")
        return
    yield from _structured(fit, asked, error, index, variance, numbers)
    if numbers and isinstance(asked, structures.Unstructured):
        yield _occasions(fit, digits)
    elif numbers:
        frame = fit.residual_parameters()
        for parameter, row in frame.iterrows():
            yield Statement(left=_parameter(str(parameter)), right=shown(float(row["estimate"]), digits))


def _structured(
    fit: "MixedFit", asked: "ResidualStructure", error: str, index: str, variance: str, numbers: bool
) -> Iterator[Statement]:
    """What is assumed of residuals with a structure."""
    if isinstance(asked, structures.Known):
        yield Statement(left=error, relation="~", right=f"N(0, {name(asked.se)}_{{{index}}}^{{2}})")
        return
    strata = asked.by if isinstance(asked, structures.By) else getattr(asked, "by", None)
    if isinstance(asked, structures.Power):
        base = f"{name(asked.covariate)}_{{{index}}}" if asked.covariate else f"μ_{{{index}}}"
        right = f"N(0, {variance} |{base} / g|^{{2δ}})"
        yield Statement(left=error, relation="~", right=right, remark="g the geometric mean of the size")
        return
    if isinstance(asked, structures.Unstructured):
        yield Statement(
            left=error, relation="~", right="N(0, Σ)",
            remark=f"any variances and correlations on the occasions of {asked.occasion} within {asked.within}",
        )  # fmt: skip
        return
    own = f"σ_{{{name(strata)}}}^{{2}}" if strata else variance
    yield Statement(left=error, relation="~", right=f"N(0, {own})")
    if isinstance(asked, structures.AR1 | structures.CAR1):
        lag = f"|{name(asked.time)}−{name(asked.time)}'|"
        right, within = f"ρ^{{{lag}}}", asked.within
    elif isinstance(asked, structures.CompoundSymmetry):
        right, within = "ρ", asked.within
    else:
        return
    yield Statement(left=f"Cor({error}, {error}')", right=right, remark=f"within {within}")


def _occasions(fit: "MixedFit", digits: int | None) -> Statement:
    """The covariance matrix of residuals on the occasions, whose standard deviations and correlations are free."""
    values = fit.residual_parameters()["estimate"].to_dict()
    levels = [str(key)[6:-1] for key in values if str(key).startswith("sigma[")]
    rows = []
    for a in levels:
        row = []
        for b in levels:
            both = next((values[key] for key in (f"rho[{a}, {b}]", f"rho[{b}, {a}]") if key in values), 1.0)
            row.append(shown(values[f"sigma[{a}]"] * values[f"sigma[{b}]"] * both, digits))
        rows.append(tuple(row))
    return Statement(left="Σ", right="", matrix=tuple(rows))


def _parameter(text: str) -> str:
    """A residual parameter, as in "sigma[Public]" or "rho", in markup."""
    letters = {"sigma": "σ", "rho": "ρ", "delta": "δ", "power": "δ"}
    head, _, rest = text.partition("[")
    symbol = letters.get(head, name(head))
    return f"{symbol}_{{{name(rest[:-1])}}}" if rest else symbol


def of_outcome(fit: "GeneralizedFit", index: str, numbers: bool, digits: int | None) -> Iterator[Statement]:
    """The distribution of the outcome of a generalized mixed model, given its mean μ."""
    family, outcome = fit.family, fit.outcome
    below = f"_{{{index}}}"
    if family.kind == "ordered":
        left = f"{family.link} P({name(outcome.name)}{below} ≤ c)"
        yield Statement(left=left, right=f"θ_{{c}} − η{below}")
        if numbers:
            for k, (threshold, row) in enumerate(fit.thresholds().iterrows(), start=1):
                right = shown(float(row["estimate"]), digits)
                yield Statement(left=f"θ_{{{k}}}", right=right, remark=f"{threshold}")
        return
    yield _distribution(fit, family, below)
    if family.code in DISTRIBUTIONS and numbers:
        _, symbol, _ = DISTRIBUTIONS[family.code]
        yield Statement(left=symbol, right=shown(float(fit.shape.iloc[0]), digits))


def _distribution(fit: "GeneralizedFit", family: Family, below: str) -> Statement:
    """The outcome's distribution in one line."""
    outcome = fit.outcome
    subject = f"{name(outcome.name)}{below}"
    if family.code in DISTRIBUTIONS:
        written, _, meaning = DISTRIBUTIONS[family.code]
        plain = meaning.format().replace("μ^{2}", "mean²").replace("μ", "mean").replace("mean²", "mean^2")
        return Statement(left=subject, relation="~", right=written.format(below), remark=_in_words(plain))
    if family.kind == "binary":
        one = outcome.labels[1] if outcome.labels is not None else 1
        remark = f"of {one}" if outcome.labels is not None else ""
        if outcome.has_trials:
            return Statement(left=subject, relation="~", right=f"Binomial(n{below}, μ{below})")
        return Statement(
            left=subject, relation="~", right=f"Bernoulli(μ{below})", remark=remark and f"1 stands for {one}"
        )
    return Statement(left=subject, relation="~", right=f"Poisson(μ{below})")


def _in_words(text: str) -> str:
    """Greek letters of a remark as words."""
    for letter, word in {"φ": "phi", "θ": "theta", "ν": "nu", "−": "-"}.items():
        text = text.replace(letter, word)
    return text


def predictor(fit: "FittedMixed", index: str) -> str:
    """The left side of the equation of the linear predictor."""
    family: Family = fit.family  # type: ignore[attr-defined]
    below = f"_{{{index}}}"
    if family.kind == "ordered":
        return f"η{below}"
    return f"μ{below}" if family.link == "identity" else f"{family.link}(μ{below})"
