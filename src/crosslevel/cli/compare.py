"""The command that puts estimators side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslevel.cli import output
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.export import records
from crosslevel.inference.df import AUTO

if TYPE_CHECKING:
    from crosslevel.estimators.compare import Comparison
    from crosslevel.estimators.fitted_mixed import FittedMixed
    from crosslevel.estimators.ols import OLSFit
    from crosslevel.estimators.responses.glm_fit import GLMFit
    from crosslevel.types import Frame


def run_compare(
    file: Path,
    formulas: Sequence[str],
    *,
    ddf: Sequence[str],
    cluster: str | None,
    baseline: int,
    terms: list[str] | None,
    level: float,
    outcome: Mapping[str, Any],
    json: bool,
    path: Path | None,
    sheet: str | None,
    encoding: str | None,
    missing_codes: list[str] | None,
    quiet: bool,
) -> bool:
    """Fit, print the fits side by side, and write that; whether every fit converged.

    Parameters
    ----------
    file, sheet, encoding, missing_codes : the data.
    formulas : a mixed model where there is a random term, else a regression. Beside a single mixed model stands the
        regression of its fixed part.
    ddf : degrees of freedom of mixed models, by each of which they are tested.
    cluster : clusters of regressions; the first mixed model's if None.
    baseline : position, from 1, of the estimator that widths are relative to.
    terms : the coefficients to compare.
    level : confidence level.
    outcome : family, quadrature, trials and exposure, as in `mixed`.
    json, path : how the result is printed, and where it is written.
    quiet : no messages meanwhile.
    """
    from crosslevel.estimators.compare import compare

    if baseline < 1:
        raise CrosslevelError(f"`--baseline` is the place of an estimator, counted from 1; got {baseline}.")
    data = output.read_file(file, sheet=sheet, encoding=encoding, missing_codes=missing_codes, quiet=quiet)
    with output.progress("Fitting", quiet):
        fits = fitted(formulas, data, cluster, outcome)
        estimators = given(fits, ddf)
        if baseline > len(estimators):
            raise CrosslevelError(
                f"`--baseline` is the place of an estimator, from 1 to {len(estimators)} here; got {baseline}."
            )
        found = compare(*estimators, baseline=baseline - 1, terms=terms, level=level)
    output.deliver(delivered(found), json=json, path=path)
    return all(fit.converged for fit in fits)


def fitted(
    formulas: Sequence[str], data: "Frame", cluster: str | None, outcome: Mapping[str, Any]
) -> "list[FittedMixed | OLSFit | GLMFit]":
    """The fits in the order of the formulas.

    Raises
    ------
    CrosslevelError : a single regression, beside which nothing would stand.
    """
    from crosslevel.formula.parse import parse, write_terms

    parsed = [parse(formula) for formula in formulas]
    if len(parsed) == 1:
        if not parsed[0].random:
            raise CrosslevelError(
                "`FORMULA` is a single regression: there is nothing to compare it with. Give several formulas, "
                "or one with a random term, such as 'y ~ x + (x | country)'."
            )
        beside = f"{parsed[0].response.source} ~ {write_terms(parsed[0].fixed_terms)}"
        return fits_of([*formulas, beside], data, cluster, outcome)
    return fits_of(formulas, data, cluster, outcome)


def fits_of(
    formulas: Sequence[str], data: "Frame", cluster: str | None, outcome: Mapping[str, Any]
) -> "list[FittedMixed | OLSFit | GLMFit]":
    """Mixed models where there is a random term, else regressions by clusters; those of the first model if None."""
    from crosslevel.formula.parse import parse

    parsed = [parse(formula) for formula in formulas]
    groups = [":".join(part.group) for formula in parsed for part in formula.random]
    clusters = cluster or (groups[0] if groups else None)
    return [_fit(one.text, data, bool(one.random), clusters, outcome) for one in parsed]


def _fit(
    formula: str, data: "Frame", is_mixed: bool, cluster: str | None, outcome: Mapping[str, Any]
) -> "FittedMixed | OLSFit | GLMFit":
    """A mixed model, or a regression with robust standard errors: linear, or of another family."""
    if is_mixed:
        from crosslevel.estimators.mixed import mixed

        made: FittedMixed = mixed(formula, data, **outcome)
        return made
    if outcome["family"] == "gaussian":
        from crosslevel.estimators.ols import ols

        return ols(formula, data, cluster=cluster)
    from crosslevel.estimators.responses.glm import glm

    return glm(formula, data, cluster=cluster, **{name: outcome[name] for name in ("family", "trials", "exposure")})


def given(fits: "Sequence[FittedMixed | OLSFit | GLMFit]", ddf: Sequence[str]) -> list[Any]:
    """What is compared: mixed models by each way of counting degrees of freedom, regressions as they are."""
    from crosslevel.estimators.fitted_mixed import FittedMixed

    out: list[Any] = []
    for fit in fits:
        out += [fit if one == AUTO else (fit, one) for one in ddf] if isinstance(fit, FittedMixed) else [fit]
    return out


def delivered(found: "Comparison") -> output.Result:
    """A comparison to deliver."""
    return output.Result(document=found.document, frame=lambda: found.frame, record=lambda: recorded(found))


def recorded(found: "Comparison") -> dict[str, Any]:
    """Every number of a comparison as plain values."""
    return {
        "estimators": list(found.names),
        "baseline": found.names[found.baseline],
        "level": found.level,
        "notes": list(found.notes),
        "coefficients": records(found.frame),
    }
