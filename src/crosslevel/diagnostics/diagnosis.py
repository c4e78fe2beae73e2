"""`diagnose`: every check of a model, done when it is looked at, told in the order of concern."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TypeAlias

import pandas as pd

from crosslevel.diagnostics.checks.check import check
from crosslevel.diagnostics.contributions import contributions
from crosslevel.diagnostics.diagnostic import CONCERNS, AnyFit, Concern, Diagnostic, worst
from crosslevel.diagnostics.generalized.calibrated import calibration
from crosslevel.diagnostics.generalized.clusters import observed_expected
from crosslevel.diagnostics.generalized.quantiles import quantile_residuals
from crosslevel.diagnostics.generalized.statistics import dispersion, zero_inflation
from crosslevel.diagnostics.influence import influence
from crosslevel.diagnostics.leverage import leverage
from crosslevel.diagnostics.residuals.envelope import envelope
from crosslevel.diagnostics.residuals.homogeneity import homogeneity
from crosslevel.diagnostics.residuals.linearity import linearity
from crosslevel.display import Block, Document, Heading, Items, Paragraph, Row, Table
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.inference.seeds import generator_from

Made: TypeAlias = Callable[[], Diagnostic]
"""What makes a part."""

TITLES = {
    "check": "Checks of estimates, clusters and predictors",
    "residuals": "Distribution of the residuals",
    "random_effects": "Distribution of the random effects",
    "homogeneity": "Spread of the residuals",
    "linearity": "Straight lines of predictors",
    "quantile_residuals": "Quantile residuals",
    "dispersion": "Dispersion",
    "zero_inflation": "Zeros",
    "calibration": "Calibration",
    "observed_expected": "Clusters beside what is expected of them",
    "influence": "Influence of single clusters",
    "leverage": "Leverage",
    "contributions": "What each cluster contributes",
}
"""Headings of the parts, in their order."""

WORDS: Mapping[Concern, str] = {"act": "act", "look": "look", "none": "in order"}
"""The lights in words."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Undone:
    """A part that this model does not have.

    Attributes
    ----------
    name : of the part.
    reason : why, and what to do instead.
    """

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Diagnosis:
    """All checks of a model; each is done when it is first looked at, and kept.

    Attributes
    ----------
    fit : what is diagnosed.
    made : what makes each part, by name.
    """

    fit: AnyFit = field(repr=False)
    made: Mapping[str, Made] = field(repr=False)
    _done: dict[str, Diagnostic | Undone] = field(default_factory=dict, repr=False)

    def part(self, name: str) -> Diagnostic:
        """One check: a record with `sentences`, `concern`, `document()` and a figure.

        Parameters
        ----------
        name : one of `names`, such as "influence".

        Raises
        ------
        CrosslevelError : no such part, or the model does not have it.
        """
        if name not in self.made:
            raise CrosslevelError(f"`name` is one of {', '.join(map(repr, self.names))}; got {name!r}.")
        found = self._look(name)
        if isinstance(found, Undone):
            raise CrosslevelError(found.reason)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the checks."""
        return tuple(self.made)

    @cached_property
    def parts(self) -> dict[str, Diagnostic]:
        """Every check that the model has, by name."""
        found = {name: self._look(name) for name in self.made}
        return {name: part for name, part in found.items() if not isinstance(part, Undone)}

    @cached_property
    def undone(self) -> tuple[Undone, ...]:
        """The checks that the model does not have, each with the reason."""
        found = (self._look(name) for name in self.made)
        return tuple(part for part in found if isinstance(part, Undone))

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each check: check, concern ("none", "look", "act"), sentences."""
        rows = [(name, part.concern, " ".join(part.sentences)) for name, part in self.ordered()]
        return pd.DataFrame(rows, columns=["check", "concern", "sentences"])

    @property
    def sentences(self) -> tuple[str, ...]:
        """What all checks say, the most worrying first."""
        return tuple(sentence for _, part in self.ordered() for sentence in part.sentences)

    @property
    def concern(self) -> Concern:
        """The most worrying light."""
        return worst([part.concern for part in self.parts.values()])

    def ordered(self) -> list[tuple[str, Diagnostic]]:
        """The checks with their names, the most worrying first."""
        return sorted(self.parts.items(), key=lambda item: -CONCERNS.index(item[1].concern))

    def document(self) -> Document:
        """A light for each check, and what they say in the order of concern."""
        return Document(f"Diagnosis of {self.fit.formula}", list(_blocks(self)))

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()

    def _look(self, name: str) -> Diagnostic | Undone:
        """A part, done now if it was not yet."""
        if name not in self._done:
            try:
                self._done[name] = self.made[name]()
            except CrosslevelError as error:
                self._done[name] = Undone(name=name, reason=str(error))
        return self._done[name]


def diagnose(fit: AnyFit, *, n: int = 200, seed: int | None = 1, progress: bool = True) -> Diagnosis:
    """Check a model in every way there is, and say what was found in the order of concern.

    Traffic lights (`cl.check`); the distribution of residuals and of random effects beside outcomes drawn from the
    model (`cl.envelope`), their spread (`cl.homogeneity`), the course of predictors (`cl.linearity`); of other families
    quantile residuals, dispersion, zeros, calibration, clusters beside what is expected of them; influence by exact
    deletion of every cluster (`cl.influence`), leverage (`cl.leverage`), and what each cluster contributes
    (`cl.contributions`).

    Parameters
    ----------
    fit : of `mixed` or `ols`.
    n : outcomes drawn from the model for each check that needs them.
    seed : of these draws; the same seed gives the same diagnosis.
    progress : whether to report, on the standard error stream, how far a long check has come.

    Returns
    -------
    Diagnosis : prints as lights and sentences; `.parts` by name, `.part("influence")`, `.frame`, `.sentences`,
        `.concern`; `cl.report(diagnosis, "checks.html")` has the figures.

    Raises
    ------
    CrosslevelError : something else is given.

    Source
    ------
    Snijders & Berkhof (2008), in Handbook of Multilevel Analysis, chapter 3; Loy, Hofmann & Cook (2017), Journal of
    Computational and Graphical Statistics 26: 478-492, on judging residuals by simulation.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> found = cl.diagnose(fit, progress=False)
    >>> found.part("check").concern
    'look'
    >>> found.names[:3]
    ('check', 'residuals', 'random_effects')
    """
    if not isinstance(fit, AnyFit):
        raise CrosslevelError(
            f"`diagnose` is for fits of cl.mixed and cl.ols; got {type(fit).__name__}. Fit the model by one of them."
        )
    generator_from(seed)  # a wrong seed or number is the caller's, no trait of the model
    if isinstance(n, bool) or not isinstance(n, int) or n < 20:
        raise CrosslevelError(f"`n` is the number of simulations, at least 20; got {n!r}. 200 are usual.")
    plan = _generalized(fit, n, seed) if isinstance(fit, GeneralizedFit) else _linear(fit, n, seed, progress)
    made: dict[str, Made] = {"check": partial(check, fit), **dict(plan)}
    clustered = not isinstance(fit, OLSFit) or len(fit.clusters) == 1
    if clustered:
        made["influence"] = partial(influence, fit, progress=progress)
    made["leverage"] = partial(leverage, fit)
    if clustered:
        made["contributions"] = partial(contributions, fit)
    return Diagnosis(fit=fit, made=made)


def _linear(fit: AnyFit, n: int, seed: int | None, progress: bool) -> Iterator[tuple[str, Made]]:
    """Checks of residuals of a linear model."""
    yield "residuals", partial(envelope, fit, "residuals", n=n, seed=seed, progress=progress)
    if not isinstance(fit, OLSFit):
        yield "random_effects", partial(envelope, fit, "random effects", n=n, seed=seed, progress=progress)
    yield "homogeneity", partial(homogeneity, fit, n=n, seed=seed)
    yield "linearity", partial(linearity, fit)


def _generalized(fit: GeneralizedFit, n: int, seed: int | None) -> Iterator[tuple[str, Made]]:
    """Checks of outcomes of other families."""
    yield "quantile_residuals", partial(quantile_residuals, fit, n=n, seed=seed)
    yield "dispersion", partial(dispersion, fit, n=n, seed=seed)
    if fit.family.kind == "count":
        yield "zero_inflation", partial(zero_inflation, fit, n=n, seed=seed)
    yield "calibration", partial(calibration, fit, n=n, seed=seed)
    yield "observed_expected", partial(observed_expected, fit, n=n, seed=seed)
    yield "linearity", partial(linearity, fit)


def _blocks(found: Diagnosis) -> Iterator[Block]:
    """The lights, then the sentences of each check."""
    ordered = found.ordered()
    counts = {concern: sum(part.concern == concern for _, part in ordered) for concern in CONCERNS}
    yield Paragraph(
        f"{len(ordered)} checks: {counts['act']} to act on, {counts['look']} to look at, {counts['none']} in order."
    )
    rows: list[Row] = [[TITLES[name], WORDS[part.concern]] for name, part in ordered]
    yield Table(["Check", "Light"], rows)
    for name, part in ordered:
        yield Heading(f"{TITLES[name]} ({WORDS[part.concern]})", level=2)
        yield Items(list(part.sentences))
    if found.undone:
        yield Heading("Not done", level=2)
        yield Items([f"{TITLES[part.name]}: {part.reason}" for part in found.undone])
