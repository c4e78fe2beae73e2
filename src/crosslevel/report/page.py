"""The report: models, their data and their checks as one HTML file that needs nothing else."""

import datetime
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import crosslevel
from crosslevel.diagnostics.generalized.calibrated import calibration
from crosslevel.diagnostics.generalized.quantiles import quantile_residuals
from crosslevel.display import (
    Block,
    Document,
    Heading,
    Items,
    Note,
    Paragraph,
    Picture,
    Table,
    page,
)
from crosslevel.errors import CrosslevelError, FileError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.generalized.words import modelled
from crosslevel.estimators.mixed import MixedFit
from crosslevel.estimators.random import has_shares
from crosslevel.report import figures
from crosslevel.report.comparison import comparison
from crosslevel.report.figures import theme
from crosslevel.report.figures.subject import predictor_of
from crosslevel.report.findings import data_sentence, effect_sentences, variation_sentence
from crosslevel.report.ratio_findings import ratio_sentences, ratio_variation
from crosslevel.table import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Fit: TypeAlias = MixedFit | GeneralizedFit
"""What a report is about."""

CHECK_SEED = 1
"""Of the outcomes that are drawn from a model to check it."""

MOST_POINTS = 2500
"""A figure of more points is smaller, and quicker to show, as a PNG than as an SVG."""
PACKAGES = ("numpy", "scipy", "numba", "pandas", "formulaic", "narwhals", "matplotlib")


def report(
    obj: "Fit | Mapping[str, Fit] | Sequence[Fit]",
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    date: datetime.date | None = None,
    seed: int | None = None,
) -> Path:
    """Write a report on one or several models: one HTML file with all pictures inside.

    It holds what was found in words, the data, the models side by side, each model's summary and figures, checks of
    the last model, and what is needed to do it again.

    Parameters
    ----------
    obj : a fit, or several: by name, or in a list.
    path : where to write, ending in .html; a file of that name is replaced.
    title : of the page; the outcome and its clusters if None.
    date : shown in the appendix; today if None.
    seed : shown in the appendix, when random numbers were used to get here.

    Returns
    -------
    path : where it was written.

    Raises
    ------
    CrosslevelError : `obj` is something else, or empty.
    FileError : the folder does not exist, the name does not end in .html, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cl.report(fit, f"{folder}/sleep.html").name
    'sleep.html'
    """
    models = named_models(obj)
    file = html_file(path)
    first = next(iter(models.values()))
    outcome = first.labels.get(first.spec.response_name) or first.spec.response_name
    by = f" by {first.labels.get(first.group) or first.group}" if first.design.factors else ""
    title = title or f"{outcome}{by}"
    blocks = [
        *in_short(models),
        *data_section(models),
        *model_sections(models),
        *checks(models),
        *appendix(models, date or datetime.date.today(), seed),
    ]
    return write_atomically(file, page(Document(title, blocks), contents=True))


def named_models(obj: object) -> dict[str, Fit]:
    """The models to report by name; anything else is refused."""
    if isinstance(obj, MixedFit | GeneralizedFit):
        return {"Model": obj}
    found: dict[str, object] = {}
    if isinstance(obj, Mapping):
        found = {str(name): fit for name, fit in obj.items()}
    elif isinstance(obj, Sequence) and not isinstance(obj, str | bytes):
        found = {f"Model {k}": fit for k, fit in enumerate(obj, start=1)}
    else:
        raise CrosslevelError(
            "`report` writes about a fitted model, a list of them, or a dict of them by name; "
            f"got {type(obj).__name__}. Fit one with crosslevel.mixed(formula, data)."
        )
    models: dict[str, Fit] = {name: fit for name, fit in found.items() if isinstance(fit, MixedFit | GeneralizedFit)}
    for name, fit in found.items():
        if name not in models:
            raise CrosslevelError(f"`report` writes about fitted models; {name!r} is of type {type(fit).__name__}.")
    if not models:
        raise CrosslevelError("`report` got no model to write about.")
    return models


def html_file(path: str | os.PathLike[str]) -> Path:
    """The path of a page in a folder that exists: looked at before the work, not after it."""
    file = Path(path).expanduser()
    if file.suffix.lower() not in (".html", ".htm"):
        raise FileError(f"`path` must end in .html, because a report is a page for a browser; got {str(file)!r}.")
    if not file.parent.is_dir():
        raise FileError(f"`path` names the folder {str(file.parent)!r}, which does not exist. Make it first.")
    return file


def in_short(models: Mapping[str, Fit]) -> Iterator[Block]:
    """What was found, in words."""
    yield Heading("In short")
    name, last = list(models.items())[-1]
    about = f" Modelled: {modelled(last)}." if isinstance(last, GeneralizedFit) else ""
    yield Paragraph(data_sentence(last) + about)
    said = {key: variation_of(fit) for key, fit in models.items()}
    sentences = [f"{key}: {told}" if len(models) > 1 else told for key, told in said.items() if told]
    if sentences:
        yield Items(sentences)
    effects = list(effect_sentences(last) if isinstance(last, MixedFit) else ratio_sentences(last))
    if effects:
        alike = ", between rows whose random effects are the same" if isinstance(last, GeneralizedFit) else ""
        yield Paragraph(f"{name if len(models) > 1 else 'The model'} finds{alike}:")
        yield Items(effects)
    if any(len(column.factors) > 1 for column in last.spec.columns[: last.spec.n_fixed]):
        yield Paragraph(
            "Coefficients of variables that take part in an interaction hold where the other variable is zero, or at "
            "its reference category."
        )
    for key, fit in models.items():
        for note in (() if fit.converged else (fit.status,)) + fit.notes:
            yield Note(f"{key}: {note}" if len(models) > 1 else note, kind="warning")


def variation_of(fit: Fit) -> str:
    """How much the clusters matter, in a sentence; empty where there is nothing to say."""
    if isinstance(fit, GeneralizedFit):
        return ratio_variation(fit)
    return variation_sentence(fit) if has_shares(fit.design) else ""


def data_section(models: Mapping[str, Fit]) -> Iterator[Block]:
    """Clusters and raw data."""
    yield Heading("Data")
    last = list(models.values())[-1]
    if last.design.factors:
        yield picture(figures.cluster_sizes(last))
    linear = [fit for fit in models.values() if isinstance(fit, MixedFit)]
    source = next((fit for fit in reversed(linear) if predictor_of(fit) is not None), None)
    if source is not None:
        yield picture(figures.raw(source))


def model_sections(models: Mapping[str, Fit]) -> Iterator[Block]:
    """Models side by side, then each with its summary and figures."""
    if len(models) > 1:
        yield Heading("Models side by side")
        yield comparison(models)
        yield from comparability(list(models.values()))
    for name, fit in models.items():
        yield Heading(name)
        yield from fit.summary().blocks
        if isinstance(fit, MixedFit) and predictor_of(fit) is not None:
            yield picture(figures.fitted_lines(fit))
        for factor in fit.design.factors:
            for term in fit.design.effects_of(factor):
                yield picture(figures.caterpillar(fit, term, group=factor.name))
        if isinstance(fit, MixedFit) and fit.design.is_single:
            yield picture(figures.shrinkage(fit))


def comparability(fits: Sequence[Fit]) -> Iterator[Block]:
    """What stands in the way of comparing likelihoods."""
    if len({fit.nobs for fit in fits}) > 1:
        yield Note(
            "The models use different rows, because of missing values: their likelihoods cannot be compared. Fit all "
            "of them to the rows that have every variable.",
            kind="warning",
        )
    if any(isinstance(fit, GeneralizedFit) for fit in fits):
        if len({(family_of(fit), outcome_of(fit)) for fit in fits}) > 1:
            yield Note(
                "The models have different families, links or outcomes: the sizes of their coefficients cannot be "
                "compared.",
                kind="warning",
            )
        return
    if len({fit.method for fit in fits}) > 1:
        yield Note("Likelihoods by REML and by ML cannot be compared with each other.", kind="warning")
    elif fits[0].method == "reml" and len({fit.design.fixed_names for fit in fits}) > 1:
        yield Note(
            "The fixed effects differ, so log-likelihood, AIC and BIC by REML cannot be compared between these "
            'models; fit them with method="ml" for that.'
        )


def family_of(fit: Fit) -> str:
    """Family and link of a model."""
    return fit.family.description if isinstance(fit, GeneralizedFit) else "normal, identity link"


def outcome_of(fit: Fit) -> str:
    """The outcome, as written."""
    return fit.spec.response_name


def checks(models: Mapping[str, Fit]) -> Iterator[Block]:
    """Residuals of the last model."""
    name, last = list(models.items())[-1]
    yield Heading("Checks")
    if len(models) > 1:
        yield Paragraph(f"Residuals of {name}.")
    if isinstance(last, GeneralizedFit):
        yield picture(figures.quantile_residuals(quantile_residuals(last, seed=CHECK_SEED)))
        yield picture(figures.calibration(calibration(last, seed=CHECK_SEED)))
        return
    yield picture(figures.residual_qq(last))
    yield picture(figures.residual_fitted(last))


def appendix(models: Mapping[str, Fit], date: datetime.date, seed: int | None) -> Iterator[Block]:
    """What is needed to do it again."""
    yield Heading("Appendix")
    rows: list[list[str]] = [[name, f"{fit.formula}   [{fit.method}]"] for name, fit in models.items()]
    yield Table(["Model", "Formula"], rows)
    facts = [["Date", date.isoformat()], *([["Seed", str(seed)]] if seed is not None else [])]
    facts += [["crosslevel", crosslevel.__version__], ["Python", platform.python_version()]]
    facts += [[name, version(name)] for name in PACKAGES]
    yield Table(["Made with", ""], facts)


def picture(figure: "Figure") -> Picture:
    """A figure for the page, with its title and subtitle as its words for who cannot see it."""
    if theme.points(figure) <= MOST_POINTS:
        return Picture(theme.svg(figure), alt=words_of(figure), media="image/svg+xml", width=width_of(figure))
    return Picture(theme.png(figure), alt=words_of(figure), media="image/png", width=width_of(figure))


def words_of(figure: "Figure") -> str:
    """Title and subtitle of a figure."""
    return " ".join(re.sub(r"\s+", " ", text.get_text()).rstrip(".") + "." for text in figure.texts)


def width_of(figure: "Figure") -> int:
    """Pixels that a figure takes."""
    return round(96 * float(figure.get_size_inches()[0]))
