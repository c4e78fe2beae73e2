"""What every diagnostic record answers: sentences, a light, and a document."""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from crosslevel.display import Block, Document, Items, Note
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols_fit import OLSFit

AnyFit: TypeAlias = MixedFit | GeneralizedFit | OLSFit
"""Fits that can be diagnosed."""

Concern: TypeAlias = Literal["none", "look", "act"]
"""A light: nothing to do, worth a look, or something has to be done."""

CONCERNS: tuple[Concern, ...] = ("none", "look", "act")
"""The lights, the least worrying first."""


@runtime_checkable
class Diagnostic(Protocol):
    """A record that says whether something is wrong with a model, and what to do.

    Records have no figures of their own, because figures are drawn from records: each names its function of `cl.plot`.
    """

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in plain words with numbers; where something is off, the last says what to do."""

    @property
    def concern(self) -> Concern:
        """The light: "none", "look" or "act"."""

    def document(self) -> Document:
        """The sentences and the tables behind them, to print or to show in a notebook."""


def sentence_blocks(found: Diagnostic) -> list[Block]:
    """The sentences of a record as a list; the last as a warning where something is off."""
    sentences = list(found.sentences)
    if found.concern == "none":
        return [Items(sentences)]
    return [Items(sentences[:-1]), Note(sentences[-1], kind="warning")]


def worst(concerns: Sequence[Concern]) -> Concern:
    """The most worrying of several lights; "none" if there are none."""
    return max(concerns, key=CONCERNS.index, default="none")


def concern_of(p_value: float) -> Concern:
    """The light of a test: below .001 "act", below .05 "look".

    One test in twenty is below .05 where nothing is wrong, so that this asks for no more than a look.
    """
    return "act" if p_value < 0.001 else "look" if p_value < 0.05 else "none"
