"""`codings`: a model with its predictors centred in several ways, side by side, and what each coefficient means."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.diagnostics.coding_subject import Subject
from crosslevel.diagnostics.diagnostic import Concern, concern_of
from crosslevel.diagnostics.sensitivity.codings_words import meaning
from crosslevel.display import Document
from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.estimators.asked.robust import default_clusters
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed import mixed
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.mundlak import mundlak
from crosslevel.formula import parse
from crosslevel.formula.components import ClusterMeans
from crosslevel.formula.rewriting import composed, replace_expressions
from crosslevel.inference.wald import check_level
from crosslevel.types import Frame

AnyMixed: TypeAlias = MixedFit | GeneralizedFit

RAW, GRAND, WITHIN, APART, CONTEXT = "as it is", "grand mean", "cluster mean", "within and between", "Mundlak"
"""The codings: x; center(x); within(x, g); within(x, g) + between(x, g); x + between(x, g)."""

SAME = 1e-5
"""Difference of deviances below which two models are one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Codings:
    """A model with its predictors of rows coded in several ways.

    Attributes
    ----------
    outcome, group : of the model; the clusters whose means are taken.
    variables : the predictors that are coded, as in the formula.
    given : how they stand in the model as it was given, "" if in none of these ways.
    mixed : those of which the model as given has one coefficient for effects within and between clusters.
    fits : by coding.
    deviances : of the maximised likelihood (not the restricted one), by coding.
    level : confidence level.
    """

    outcome: str
    group: str
    variables: tuple[str, ...]
    given: str
    mixed: tuple[str, ...]
    fits: Mapping[str, Any] = field(repr=False)
    deviances: Mapping[str, float] = field(repr=False)
    level: float

    @property
    def formulas(self) -> pd.Series:
        """The formula of each coding."""
        return pd.Series({name: fit.formula for name, fit in self.fits.items()}, name="formula")

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each coefficient of each coding: coding, term, the coefficient table, and what it means."""
        parts = []
        for name, fit in self.fits.items():
            table = fit.tidy(level=self.level).reset_index()
            words = [meaning(name, str(term), self) for term in table["term"]]
            parts.append(table.assign(coding=name, meaning=words))
        frame: pd.DataFrame = pd.concat(parts, ignore_index=True)
        first = ["coding", "term"]
        ordered: pd.DataFrame = frame[[*first, *(column for column in frame.columns if column not in first)]]
        return ordered

    @cached_property
    def random(self) -> pd.DataFrame:
        """Standard deviations of the random effects, a row for each coding and effect."""
        parts = []
        for name, fit in self.fits.items():
            own = fit.varcomp()
            own = own[(own["kind"] == "variance") & (own["group"] != "Residual")]
            parts.append(
                pd.DataFrame({"coding": name, "group": own["group"], "effect": own["term1"], "std_dev": own["std_dev"]})
            )
        return pd.concat(parts, ignore_index=True)

    @property
    def same(self) -> tuple[tuple[str, ...], ...]:
        """Codings that are one model, whose likelihoods are equal; singles are different from all others."""
        groups: list[list[str]] = []
        for name, deviance in self.deviances.items():
            host = next((g for g in groups if abs(self.deviances[g[0]] - deviance) < SAME), None)
            if host is None:
                groups.append([name])
            else:
                host.append(name)
        return tuple(tuple(group) for group in groups)

    @cached_property
    def contextual(self) -> pd.DataFrame:
        """The contextual effects, between less within: the coefficients of cluster means in the Mundlak coding."""
        table: pd.DataFrame = self.fits[CONTEXT].tidy(level=self.level)
        kept: pd.DataFrame = table[[self._is_mean(str(term)) and ":" not in str(term) for term in table.index]]
        return kept

    @property
    def concern(self) -> Concern:
        """The light: "act" where effects within and between clusters differ clearly and the model mixes them."""
        table = self.contextual
        names = {f"between({name}, {self.group})" for name in self.mixed}
        return concern_of(float(table["p_value"][[str(term) in names for term in table.index]].min()))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the coding does, in words with numbers, and which to take."""
        from crosslevel.diagnostics.sensitivity.codings_words import sentences

        return tuple(sentences(self))

    def document(self) -> Document:
        """Sentences, and a table of all coefficients by coding with what they mean."""
        from crosslevel.diagnostics.sensitivity.codings_words import write

        return write(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()

    def _is_mean(self, term: str) -> bool:
        """Whether a term has a cluster mean in it."""
        return "between(" in term


def codings(
    model: "AnyMixed | str", data: Frame | None = None, *, group: str | None = None, level: float = 0.95
) -> Codings:
    """Fit a model with its predictors of rows as they are, centred in three ways, and beside their cluster means.

    x; center(x), about the mean of all rows; within(x, g), about the mean of the cluster; within(x, g) + between(x, g),
    effects within and between apart; x + between(x, g), the effect within and the contextual one. Which of these are
    one model in other words, and what each coefficient is then, is said beside the numbers.

    Parameters
    ----------
    model : a fit of `mixed`, or its formula. within(x, g) and between(x, g) in it are taken for x.
    data : a frame, with a formula.
    group : the clusters; the outermost of the model if None.
    level : confidence level.

    Returns
    -------
    Codings : prints as sentences and tables; `.frame`, `.random`, `.formulas`, `.same`, `.contextual`.

    Raises
    ------
    CrosslevelError : no predictor varies within and between clusters.

    Source
    ------
    Enders & Tofighi (2007), Psychol. Methods 12: 121-138; Kreft, de Leeuw & Aiken (1995), Multivar. Behav. Res. 30:
    1-21, on which models are equivalent; Bell & Jones (2015), Polit. Sci. Res. Methods 3: 133-153.

    Examples
    --------
    >>> import crosslevel as cl
    >>> found = cl.codings("mathach ~ ses + (1 | school)", cl.datasets.load("hsb"))
    >>> found.frame[found.frame["term"] != "Intercept"][["coding", "term", "estimate"]].round(2)
                   coding                  term  estimate
    1            as it is                   ses      2.39
    3          grand mean           center(ses)      2.39
    5        cluster mean   within(ses, school)      2.19
    7  within and between   within(ses, school)      2.19
    8  within and between  between(ses, school)      5.87
    10            Mundlak                   ses      2.19
    11            Mundlak  between(ses, school)      3.68
    >>> found.same
    (('as it is', 'grand mean'), ('cluster mean',), ('within and between', 'Mundlak'))
    """
    check_level(level)
    if isinstance(model, str) and data is not None:
        model = mixed(model, data, progress=False)
    if not isinstance(model, MixedFit | GeneralizedFit):
        raise CrosslevelError(
            "`codings` takes a fit of cl.mixed, or a formula and data; got "
            f"{type(model).__name__}{' without data' if isinstance(model, str) else ''}."
        )
    name = default_clusters(model)[0] if group is None else group
    subject = Subject.of(model.formula, model.data, name, ())
    given, mixed_up = _coding_of(subject), _mixed(subject)
    base = _plain(subject)
    subject = Subject.of(base, model.data, name, ())
    variables = _coded(subject)
    if not variables:
        raise CrosslevelError(
            f"`formula` has no predictor that varies both within and between clusters of {name}, so that there is "
            "nothing to centre in different ways."
        )
    fits, deviances = {}, {}
    for coding, formula in _written(subject, variables, name).items():
        fits[coding], deviances[coding] = _fitted(model, formula)
    return Codings(
        outcome=model.spec.response_name, group=name, variables=variables, given=given,
        mixed=tuple(name for name in variables if name in mixed_up), fits=fits,
        deviances=deviances, level=level,
    )  # fmt: skip


def _written(subject: Subject, variables: tuple[str, ...], group: str) -> dict[str, str]:
    """The formula of each coding."""
    formula, text = subject.formula, subject.group_text
    sources = {name: subject.source(name) for name in variables}
    keep = [
        e.source for name, e in subject.predictors.items() if name not in variables and subject.varies(name)
    ]  # fmt: skip
    return {
        RAW: formula.text,
        GRAND: replace_expressions(formula, {name: f"center({source})" for name, source in sources.items()}),
        WITHIN: replace_expressions(formula, {name: f"within({source}, {text})" for name, source in sources.items()}),
        APART: mundlak(formula.text, subject.data, group=group, kind="within-between", keep=keep, random=False),
        CONTEXT: mundlak(formula.text, subject.data, group=group, kind="mundlak", keep=keep, random=False),
    }


def _fitted(model: AnyMixed, formula: str) -> tuple[Any, float]:
    """The fit of a coding, and the deviance of its likelihood."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            fit = model.update(formula)
            plain = fit if fit.method == "ml" else fit.update(method="ml")
        except ConvergenceWarning as warning:
            raise CrosslevelError(f"`codings` cannot fit {formula}: {warning} Simplify the random effects.") from None
    return fit, float(plain.deviance)


def _coded(subject: Subject) -> tuple[str, ...]:
    """The numeric predictors that stand as they are, vary within clusters, and have means that differ."""
    found = []
    for text in subject.predictors:
        component = subject.components[text]
        if component.coding is None and subject.varies(text) and not subject.is_centred_by_cluster(text):
            means = subject.means(subject.values(subject.columns_of(text)[0]))
            if np.ptp(means) > 1e-8 * max(float(np.abs(means).max()), 1e-300):
                found.append(text)
    return tuple(found)


def _means(subject: Subject, kind: str) -> dict[str, str]:
    """The arguments of within() or between() over these clusters in a formula, by the expression's text."""
    out = {}
    for text, component in subject.components.items():
        origin = component.origin
        if isinstance(origin, ClusterMeans) and origin.kind == kind and set(origin.group) == set(subject.group):
            out[text] = origin.argument.text
    return out


def _coding_of(subject: Subject) -> str:
    """How the predictors of rows stand in the formula; "" if in several ways, or none of these."""
    means, inside = set(_means(subject, "between").values()), set(_means(subject, "within").values())
    raw = set(_coded(subject))
    centred = {text for text in raw if text.startswith("center(")}
    if inside:
        return (APART if inside <= means else "" if means else WITHIN) if not raw else ""
    if means:
        return CONTEXT if raw and raw <= means else ""
    return GRAND if raw and raw == centred else "" if centred else RAW


def _mixed(subject: Subject) -> set[str]:
    """The predictors that stand as they are, or about their grand mean, without their cluster means."""
    raw = {text[len("center(") : -1] if text.startswith("center(") else text for text in _coded(subject)}
    return raw - set(_means(subject, "between").values())


def _plain(subject: Subject) -> str:
    """The formula with x in place of within(x, g) and center(x), and without between(x, g)."""
    means, inside = _means(subject, "between"), _means(subject, "within")
    known = {text for text in subject.predictors if text in subject.components} | set(inside.values())
    gone = {text for text, argument in means.items() if argument in known}
    formula = subject.formula
    terms = tuple(term for term in formula.fixed_terms if not gone & {e.text for e in term.expressions})
    centred = {text: text[len("center(") : -1] for text in subject.components if text.startswith("center(")}
    back = {**{text: argument for text, argument in inside.items()}, **centred}
    plain = parse(composed(formula, terms, [part.text for part in formula.random], {}))
    return replace_expressions(plain, back)
