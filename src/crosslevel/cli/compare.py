"""The command that puts estimators side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslevel.cli import output
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.export import records
from crosslevel.inference.df import AUTO

if TYPE_CHECKING:
    from crosslevel.estimators.compare import Comparison
    from crosslevel.estimators.mixed import MixedFit
    from crosslevel.estimators.ols import OLSFit
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
    json: bool,
    path: Path | None,
    sheet: str | None,
    encoding: str | None,
    quiet: bool,
) -> bool:
    """Fit, print the fits side by side, and write that; whether every fit converged.

    Parameters
    ----------
    file, sheet, encoding : the data.
    formulas : a mixed model where there is a random term, else a linear regression. Beside a single mixed model stands
        the linear regression of its fixed part.
    ddf : degrees of freedom of mixed models, by each of which they are tested.
    cluster : clusters of linear regressions; the first mixed model's if None.
    baseline : position, from 1, of the estimator that widths are relative to.
    terms : the coefficients to compare.
    level : confidence level.
    json, path : how the result is printed, and where it is written.
    quiet : no messages meanwhile.
    """
    from crosslevel.estimators.compare import compare

    if baseline < 1:
        raise CrosslevelError(f"`--baseline` is the place of an estimator, counted from 1; got {baseline}.")
    data = output.read_file(file, sheet=sheet, encoding=encoding, quiet=quiet)
    with output.progress("Fitting", quiet):
        fits = fitted(formulas, data, cluster)
        estimators = given(fits, ddf)
        if baseline > len(estimators):
            raise CrosslevelError(
                f"`--baseline` is the place of an estimator, from 1 to {len(estimators)} here; got {baseline}."
            )
        found = compare(*estimators, baseline=baseline - 1, terms=terms, level=level)
    output.deliver(delivered(found), json=json, path=path)
    return all(fit.converged for fit in fits)


def fitted(formulas: Sequence[str], data: "Frame", cluster: str | None) -> "list[MixedFit | OLSFit]":
    """The fits in the order of the formulas.

    Raises
    ------
    CrosslevelError : a single linear regression, beside which nothing would stand.
    """
    from crosslevel.estimators.mixed import mixed
    from crosslevel.estimators.ols import ols
    from crosslevel.formula.parse import parse, write_terms

    parsed = [parse(formula) for formula in formulas]
    if len(parsed) == 1:
        if not parsed[0].random:
            raise CrosslevelError(
                "`FORMULA` is a single linear regression: there is nothing to compare it with. Give several formulas, "
                "or one with a random term, such as 'y ~ x + (x | country)'."
            )
        parsed.append(parse(f"{parsed[0].response.source} ~ {write_terms(parsed[0].fixed_terms)}"))
    groups = [":".join(part.group) for formula in parsed for part in formula.random]
    clusters = cluster or (groups[0] if groups else None)
    return [mixed(one.text, data) if one.random else ols(one.text, data, cluster=clusters) for one in parsed]


def given(fits: "Sequence[MixedFit | OLSFit]", ddf: Sequence[str]) -> list[Any]:
    """What is compared: mixed models by each way of counting degrees of freedom, regressions as they are."""
    from crosslevel.estimators.mixed import MixedFit

    out: list[Any] = []
    for fit in fits:
        out += [fit if one == AUTO else (fit, one) for one in ddf] if isinstance(fit, MixedFit) else [fit]
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
