"""What was found, in words: what a reader with one minute reads."""

from collections.abc import Iterator

from crosslevel.display import Block, Facts, Heading, Items, Note, Paragraph, counted, fixed, percent
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.generalized.words import modelled
from crosslevel.estimators.mixed import MixedFit
from crosslevel.estimators.random import has_shares
from crosslevel.report.findings import data_sentence, effect_sentences, variation_sentence
from crosslevel.report.ratio_findings import ratio_sentences, ratio_variation
from crosslevel.report.sections.subject import Fit, Models, last_of


def in_short(models: Models) -> Iterator[Block]:
    """What was found, in words."""
    yield Heading("In short")
    name, last = last_of(models)
    yield Facts(list(facts(last)))
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


def facts(fit: Fit) -> Iterator[tuple[str, str]]:
    """The size of the data, and how much the clusters differ."""
    yield counted(fit.nobs), "rows used"
    for factor in fit.design.factors:
        yield counted(factor.n_levels), f"clusters of {factor.name}"
    if fit.design.is_single:
        yield fixed(float(fit.group_sizes.mean()), 1), "rows per cluster, on average"
    if isinstance(fit, MixedFit) and fit.design.is_single and has_shares(fit.design):
        yield percent(fit.icc().estimate), "of the variance left between clusters"


def variation_of(fit: Fit) -> str:
    """How much the clusters matter, in a sentence; empty where there is nothing to say."""
    if isinstance(fit, GeneralizedFit):
        return ratio_variation(fit)
    return variation_sentence(fit) if has_shares(fit.design) else ""
