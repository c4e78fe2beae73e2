"""What is given for a table, read into one form: a column with its coefficients and the fit they are of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.compared import Chosen, Compared, Entry, read_entry, term_key
from crosslevel.estimators.fitted_mixed import FittedMixed
from crosslevel.estimators.robust_fit import RobustFit
from crosslevel.inference.bootstrap.record import Bootstrap
from crosslevel.inference.generalized.ratios import exponentiated

RATIOS = {"logit": "odds ratios", "log": "ratios of means", "cloglog": "hazard ratios"}
"""What exponentials of coefficients are, by link."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """One column of a table of models.

    Attributes
    ----------
    name : its heading.
    entry : coefficients by term, rows and clusters, and what the estimator is called.
    source : the fit; None for a coefficient table or a bootstrap alone.
    own : whether standard errors and intervals are those of the fit, not of a method that was given with it.
    ratios : what its coefficients are where they are exponentials; "" where they are not.
    """

    name: str
    entry: Entry
    source: Any = field(repr=False)
    own: bool
    ratios: str = ""

    @property
    def coefficients(self) -> pd.DataFrame:
        """Coefficient table by term."""
        return self.entry.frame


def read_models(given: object, names: Sequence[str] | None, level: float) -> list[Model]:
    """The columns of a table, in order, coefficients by one name each.

    Parameters
    ----------
    given : a fit, several, or several by name; see `table`.
    names : headings; "Model 1" and so on if None.
    level : confidence level.

    Raises
    ------
    CrosslevelError : nothing, something that has no coefficients, or names that do not suit.
    """
    listed = _listed(given)
    if names is not None:
        if isinstance(names, str) or len(names) != len(listed):
            raise CrosslevelError(f"`names` has one heading for each of the {len(listed)} models; got {names!r}.")
        listed = [(str(name), model) for name, (_, model) in zip(names, listed, strict=True)]
    return _matched([_read(model, name, level) for name, model in listed])


def _listed(given: object) -> list[tuple[str, object]]:
    """What was given, by heading."""
    if isinstance(given, Mapping):
        found = [(str(name), model) for name, model in given.items()]
    else:
        one = isinstance(given, Compared | Chosen | Bootstrap | RobustFit | pd.DataFrame | tuple)
        models = [given] if one or not isinstance(given, Sequence) else list(given)
        found = [(f"Model {k}", model) for k, model in enumerate(models, start=1)]
    if not found:
        raise CrosslevelError("`models` is empty. Give a fit, a list of fits, or a dict of fits by name.")
    return found


def _read(given: object, name: str, level: float) -> Model:
    """One column."""
    pair = _dressed(given, level)
    if pair is None:
        alone = not isinstance(given, tuple)
        return Model(name=name, entry=_entry(given, level), source=_source(given), own=alone)
    fit, entry = pair
    own = _entry(fit, level)
    if set(own.frame.index) != set(entry.frame.index):
        raise CrosslevelError(
            f"`models` pairs a fit with coefficients ({', '.join(entry.frame.index)}) that are not its own "
            f"({', '.join(own.frame.index)})."
        )
    kept = replace(own, name=f"{own.name}; coefficients: {entry.name}", frame=entry.frame.loc[own.frame.index])
    return Model(name=name, entry=kept, source=_source(fit), own=False)


def _dressed(given: object, level: float) -> tuple[object, Entry] | None:
    """A fit, and another's standard errors and intervals of its coefficients: (fit, boot), (fit, boot, "bca")."""
    if not isinstance(given, tuple) or len(given) not in (2, 3):
        return None
    fit, other = given[0], given[1]
    if not isinstance(other, Bootstrap | RobustFit | pd.DataFrame):
        return None
    return fit, _entry((other, given[2]) if len(given) == 3 else other, level)


def _entry(given: object, level: float) -> Entry:
    """Coefficients, by the names of a comparison."""
    try:
        return read_entry(given, level)
    except CrosslevelError as error:  # `compare` reads the same things
        raise type(error)(str(error).replace("`compare`", "`table`")) from None


def _source(given: object) -> Any:
    """The fit itself."""
    first = given[0] if isinstance(given, tuple) else given
    if not isinstance(first, Compared) and isinstance(first, Chosen):
        first = first.fit
    return None if isinstance(first, Bootstrap | RobustFit | pd.DataFrame) else first


def _matched(models: Sequence[Model]) -> list[Model]:
    """The models with one name for each coefficient, whatever the order of an interaction's parts."""
    names: dict[frozenset[str], str] = {}
    for model in models:
        for term in model.coefficients.index:
            names.setdefault(term_key(term), term)
    out = []
    for model in models:
        terms = [names[term_key(term)] for term in model.coefficients.index]
        if len(set(terms)) < len(terms):
            twice = sorted({term for term in terms if terms.count(term) > 1})
            raise CrosslevelError(
                f"`models`: {model.name} has several coefficients that are called {', '.join(twice)}."
            )
        frame = model.coefficients.set_axis(pd.Index(terms, name="term", dtype=object))
        out.append(replace(model, entry=replace(model.entry, frame=frame)))
    return out


def exponentials(models: Sequence[Model], asked: bool | Sequence[str]) -> list[Model]:
    """The models with exponentials of their coefficients, of all or of those named.

    Raises
    ------
    CrosslevelError : a model whose coefficients are no logarithms of ratios, or a name that none has.
    """
    if isinstance(asked, str):
        asked = [asked]
    known = [model.name for model in models]
    chosen = known if asked is True else list(asked or ())
    absent = [name for name in chosen if name not in known]
    if absent:
        raise CrosslevelError(
            f"`exponentiate` is true, or the names of models; got {', '.join(map(repr, absent))}, where the models are "
            f"{', '.join(map(repr, known))}."
        )
    return [_exponential(model) if model.name in chosen else model for model in models]


def _exponential(model: Model) -> Model:
    """A model as ratios."""
    link = model.entry.link
    if link not in RATIOS:
        what = f"has the {link} link" if link else "came without its fit, so that its link is not known"
        raise CrosslevelError(
            f"`exponentiate`: {model.name} {what}; exponentials of coefficients are ratios with the links "
            f"{', '.join(map(repr, RATIOS))}. Name the models that have one: exponentiate=['...']."
        )
    frame = exponentiated(model.coefficients)
    return replace(model, entry=replace(model.entry, frame=frame), ratios=RATIOS[link])


def is_mixed(model: Model) -> bool:
    """Whether it is a mixed model, with random effects or without."""
    return isinstance(model.source, FittedMixed)
