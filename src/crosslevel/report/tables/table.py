"""`cl.table`: models side by side as a table for publication."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, get_args

from crosslevel.errors import CrosslevelError
from crosslevel.inference.wald import check_level
from crosslevel.report.tables.body import read_body
from crosslevel.report.tables.cells import Shown
from crosslevel.report.tables.formats import BINARY, check_format, rendered, saved
from crosslevel.report.tables.labels import Terms, clean
from crosslevel.report.tables.lines import Manner, number_of_digits
from crosslevel.report.tables.models import exponentials, read_models
from crosslevel.report.tables.record import PublicationTable, TableFormat
from crosslevel.report.tables.rows import Components
from crosslevel.report.tables.statistics import Asked

Show: TypeAlias = "Shown | Sequence[Shown] | None"
Random: TypeAlias = "bool | Components"

USUAL_STARS = (0.05, 0.01, 0.001)


def table(
    models: object,
    *,
    names: Sequence[str] | None = None,
    show: Show = "se",
    beside: bool = False,
    stars: bool | Sequence[float] | None = None,
    terms: Terms = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    reference: bool = False,
    random: Random = True,
    statistics: Asked = "auto",
    exponentiate: bool | Sequence[str] = False,
    level: float = 0.95,
    digits: int | None = None,
    notes: str | Sequence[str] = (),
    title: str = "",
    label: str = "",
    format: TableFormat | None = None,
    path: str | os.PathLike[str] | None = None,
) -> PublicationTable | str | bytes | Path:
    """Models side by side as a table for publication: coefficients, variance components, and what describes each model.

    Every number is the fit's own, rounded: to three decimals, to more where that would leave the standard error less
    than two digits, with powers of ten below 1e-6 and beyond 1e9.

    Parameters
    ----------
    models : a fit of any estimator, a list of fits, or a dict of fits by heading. In the place of a fit there may be
        all that `compare` takes: a robust covariance, a bootstrap, a coefficient table, (fit, "kenward-roger"), (fit,
        "CR2") or (fit, "profile"); and a fit with what its standard errors and intervals are taken from: (fit, boot),
        (fit, boot, "bca"), (fit, fit.robust("CR2")).
    names : headings of the models.
    show : what stands below estimates: "se", "interval", "t", "p", several of these, or None.
    beside : whether it stands behind the estimate instead.
    stars : True for p < .05, .01 and .001, or other levels; None for no stars.
    terms : coefficients, in order; or labels by name, None leaving one out: {"ses": "Social status", "Intercept":
        None}. Those named change places among themselves, in the order of the dict; the others stay. Labels of
        variables and categories are used in interactions, those of grouping factors below.
    groups : coefficients by heading; those of no group come first.
    reference : whether reference categories have a line; they are in the notes in any case.
    random : "variance" (or True) for variances and correlations of random effects, "sd" for standard deviations and
        correlations, "covariance" for variances and covariances, False for none.
    statistics : "auto", names such as ("nobs", "clusters", "icc", "r2_marginal", "aic"), or labels by name.
    exponentiate : whether coefficients are shown as ratios of odds, means or hazards; or the headings of the models
        that are.
    level : confidence level of intervals.
    digits : decimals of estimates; None for those described above.
    notes : more notes, after those that the table makes.
    title, label : title, and LaTeX's label for cross-references.
    format : "text", "markdown", "html", "latex", "docx" or "xlsx", to have the table in it; None for the record.
    path : file to write; "docx" and "xlsx" need one. Its ending says the format where `format` does not.

    Returns
    -------
    PublicationTable : prints as text; `.to(format)`, `.save(path)`, `.frame` (all numbers). With `format` text in that
    format; with `path` where it was written.

    Raises
    ------
    CrosslevelError : nothing to show, or an argument that does not suit; the message says which and why.
    FileError : `path` has an ending that belongs to no format, or cannot be written.

    Source
    ------
    American Psychological Association (2020), Publication Manual, 7th ed., chapter 7.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> null = cl.mixed("mathach ~ 1 + (1 | school)", data)
    >>> fit = cl.mixed("mathach ~ ses + (1 | school)", data)
    >>> print(cl.table({"Null": null, "SES": fit}, terms={"ses": "Social status"}, statistics=["nobs", "clusters"]))
    ────────────────────────────────────────────
                                Null         SES
    ────────────────────────────────────────────
    Fixed effects
      Intercept              12.637      12.657
                             (0.244)     (0.188)
      Social status                       2.390
                                         (0.106)
    Variance components
      Intercept (school)      8.614       4.768
                             (1.079)     (0.655)
      Residual               39.148      37.034
                             (0.661)     (0.625)
    Model
      N                   7,185       7,185
      N (school)            160         160
    ────────────────────────────────────────────
    Coefficients; standard errors in parentheses.
    Outcome: mathach.
    Mixed model, REML; degrees of freedom: m-l-1.
    """
    if format is not None:
        check_format(format)
    if format in BINARY and path is None:
        raise CrosslevelError(f"`path` is needed with format={format!r}: the file to write, such as 'table.{format}'.")
    manner = Manner(
        shown=_shown(show),
        beside=beside,
        stars=_stars(stars),
        digits=None if digits is None else number_of_digits(digits),
    )
    models = exponentials(read_models(models, names, check_level(level)), exponentiate)
    body = read_body(models, terms, statistics, level=level, random=_random(random))
    made = PublicationTable(
        headings=("", *(clean(model.name) for model in models)),
        lines=tuple(body.lines(manner, groups, reference=reference)),
        notes=tuple(map(clean, (*body.notes(manner, level), *([notes] if isinstance(notes, str) else notes)))),
        title=clean(title), label=label, frame=body.frame(),
    )  # fmt: skip
    if path is not None:
        return saved(made, path, format=format)
    return made if format is None else rendered(made, format, document=False)


def _shown(show: Show) -> tuple[Shown, ...]:
    """What is said of the uncertainty of estimates.

    Raises
    ------
    CrosslevelError : another word.
    """
    asked = () if show is None else (show,) if isinstance(show, str) else tuple(show)
    if any(one not in get_args(Shown) for one in asked):
        raise CrosslevelError(
            f"`show` is one or several of {', '.join(map(repr, get_args(Shown)))}, or None; got {show!r}."
        )
    return asked


def _stars(stars: bool | Sequence[float] | None) -> tuple[float, ...]:
    """Levels of significance, the largest first.

    Raises
    ------
    CrosslevelError : numbers that are no levels.
    """
    if stars is None or isinstance(stars, bool):
        return USUAL_STARS if stars else ()
    levels = (stars,) if isinstance(stars, float) else tuple(stars)
    if not all(isinstance(one, float) and 0.0 < one < 1.0 for one in levels):
        raise CrosslevelError(f"`stars` is True or levels such as (.05, .01, .001); got {stars!r}.")
    return tuple(sorted(levels, reverse=True))


def _random(random: Random) -> Components | None:
    """How variance components are shown; None for not at all.

    Raises
    ------
    CrosslevelError : another word.
    """
    if isinstance(random, bool):
        return "variance" if random else None
    if random not in get_args(Components):
        raise CrosslevelError(f"`random` is True, False, 'variance', 'sd' or 'covariance'; got {random!r}.")
    return random
