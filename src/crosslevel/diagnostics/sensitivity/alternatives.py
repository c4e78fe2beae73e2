"""The choices of an analysis: what may be written otherwise, and the formulas that all combinations make."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.compared import parts_of
from crosslevel.formula import Formula, parse, update
from crosslevel.formula.rewriting import composed, replace_expressions
from crosslevel.formula.terms import Term
from crosslevel.types import BoolArray

RESERVED = ("controls", "outcome", "random", "rows", "estimator")
"""Keys of `alternatives` that are no predictors."""

TAKEN = (
    "term", "specification", "estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high", "nobs",
    "clusters", "formula", "problem",
)  # fmt: skip
"""Columns of the results that choices stand beside."""

ALL = "all rows"
"""Name of the choice to leave no rows out."""

IN, OUT = "in", "out"
"""Whether a control is in the model."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """One choice of the analysis.

    Attributes
    ----------
    name : as a heading: a control, a predictor that has several forms, or "outcome", "random", "rows", "estimator".
    kind : "control", "form", "outcome", "random", "rows" or "estimator".
    options : what may be chosen, by name; what the model as given has comes first.
    """

    name: str
    kind: str
    options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Alternatives:
    """All choices that are varied.

    Attributes
    ----------
    formula : the formula as given.
    whole : the same with all controls.
    choices : what is varied.
    """

    formula: Formula
    whole: Formula
    choices: tuple[Choice, ...] = field(repr=False)

    @property
    def n(self) -> int:
        """Combinations."""
        return int(np.prod([len(choice.options) for choice in self.choices], dtype=np.float64))

    def combinations(self) -> Iterator[dict[str, str]]:
        """All of them, by choice; that of the model as given first."""
        names = [choice.name for choice in self.choices]
        for options in product(*(choice.options for choice in self.choices)):
            yield dict(zip(names, options, strict=True))

    def of_kind(self, kind: str) -> tuple[Choice, ...]:
        """The choices of one kind."""
        return tuple(choice for choice in self.choices if choice.kind == kind)

    def option(self, kind: str, chosen: Mapping[str, str]) -> Any:
        """What a combination has of the only choice of a kind; "" if it has none of it, None if that is not varied."""
        found = self.of_kind(kind)
        return found[0].options.get(chosen[found[0].name], "") if found else None

    def settled(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """A combination in which products with a control that is out are said to be out, as they are."""
        gone = self.left_out(chosen)
        return {
            **chosen,
            **{
                choice.name: OUT
                for choice in self.of_kind("control")
                if any(texts <= choice.options[OUT] for texts in gone)
            },
        }

    # -- formulas -------------------------------------------------------------------------------------------------
    def left_out(self, chosen: Mapping[str, str]) -> tuple[frozenset[str], ...]:
        """The expressions, by text, of the controls that a combination leaves out."""
        return tuple(choice.options[OUT] for choice in self.of_kind("control") if chosen[choice.name] == OUT)

    def written(self, chosen: Mapping[str, str], *, controls: bool = False) -> str:
        """The formula of a combination; with all controls if asked for."""
        out = () if controls else self.left_out(chosen)
        terms = tuple(term for term in self.whole.fixed_terms if not _has(term, out))
        forms = {choice.name: chosen[choice.name] for choice in self.of_kind("form")}
        several = {text: f"({form})" if len(_summands(form)) > 1 else form for text, form in forms.items()}
        first = {text: _summands(form)[0] for text, form in forms.items()}
        response = self.option("outcome", chosen) or self.whole.response.source
        random = self.option("random", chosen)
        parts = [part.text for part in self.whole.random] if random is None else [random] if random else []
        fixed = composed(self.whole, terms, [], several).split("~", 1)[1]
        if parts and first:  # a slope is that of the form's first part
            slopes = parse(" + ".join(["y ~ 1", *dict.fromkeys(parts)]))
            parts = [part.text for part in parse(replace_expressions(slopes, first)).random]
        plain = parse(f"{response} ~{fixed}")
        return composed(plain, plain.fixed_terms, parts, {})

    def own_names(self, terms: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
        """Names of coefficients in the model as given, by their names in a combination."""
        texts = {}
        for choice in self.of_kind("form"):
            first = parse(f"y ~ {_summands(chosen[choice.name])[0]}").fixed_terms[-1].expressions[0].text
            texts[first] = choice.name
        names = [*texts, *(e.text for term in self.whole.fixed_terms for e in term.expressions)]
        return {term: ":".join(_renamed(part, texts) for part in parts_of(term, names)) for term in terms}


def alternatives_of(
    formula: str, given: Mapping[str, object], frame: pd.DataFrame, estimators: Sequence[str]
) -> Alternatives:
    """Read what may be chosen otherwise.

    Parameters
    ----------
    formula : as given.
    given : see `multiverse`.
    frame : the data, for conditions on rows.
    estimators : those there are for this kind of model, the one of the model as given first.

    Raises
    ------
    CrosslevelError : something that is no choice.
    """
    if not isinstance(given, Mapping) or not given:
        raise CrosslevelError(
            "`alternatives` is a dict of what may be chosen otherwise, such as {'controls': ['age', 'female'], 'ses': "
            "['within(ses, school)'], 'random': ['(1 | school)'], 'rows': {'large': 'size > 500'}, 'estimator': "
            f"['ml', 'ols'], 'outcome': ['log(y)']}}; got {given!r}."
        )
    parsed = parse(formula)
    controls = _listed(given.get("controls", ()), "controls")
    # one formula that has all controls; those that are there already are not added twice
    whole = parse(update(formula, " + ".join(["~ .", *controls]))) if controls else parsed
    choices = [_control(name, parsed) for name in controls]
    known = {e.text: e.source for term in whole.fixed_terms for e in term.expressions}
    for asked, value in given.items():
        key = asked if asked in known else str(asked).replace("`", "")
        if key in RESERVED:
            continue
        if key not in known:
            raise CrosslevelError(
                f"`alternatives` has {key!r}, which is neither {', '.join(map(repr, RESERVED))} nor a predictor of the "
                f"formula ({', '.join(map(repr, known))})."
            )
        forms = [known[key], *(form for form in _listed(value, key) if _bare(form) != _bare(known[key]))]
        for form in forms:
            _summands(form)
        choices.append(Choice(name=key, kind="form", options={form: form for form in forms}))
    if "outcome" in given:
        own = whole.response.source
        outcomes = [own, *(each for each in _listed(given["outcome"], "outcome") if each != own)]
        choices.append(Choice(name="outcome", kind="outcome", options={each: each for each in outcomes}))
    if "random" in given:
        choices.append(_random(_listed(given["random"], "random"), whole))
    if "rows" in given:
        choices.append(Choice(name="rows", kind="rows", options=_conditions(given["rows"], frame)))
    if "estimator" in given:
        choices.append(_estimator(_listed(given["estimator"], "estimator"), estimators))
    if not any(len(choice.options) > 1 for choice in choices):
        raise CrosslevelError(
            f"`alternatives` leaves nothing to choose: every option is that of the model; got {given!r}."
        )
    taken = [choice.name for choice in choices if choice.name in TAKEN]
    if taken:
        raise CrosslevelError(f"`alternatives` varies {taken[0]!r}, as a column of the results is called. Rename it.")
    return Alternatives(formula=parsed, whole=whole, choices=tuple(choices))


def _control(name: str, formula: Formula) -> Choice:
    """A control that is in or out, what the formula has first; the option holds its expressions."""
    terms = [term for term in parse(f"y ~ {name}").fixed_terms if term.expressions]
    if len(terms) != 1:
        raise CrosslevelError(
            f"`alternatives` has the control {name!r}; a control is one term, such as 'age' or 'poly(age, 2)'."
        )
    texts = frozenset(e.text for e in terms[0].expressions)
    there = any(frozenset(e.text for e in term.expressions) == texts for term in formula.fixed_terms)
    return Choice(name=name, kind="control", options={key: texts for key in ((IN, OUT) if there else (OUT, IN))})


def _random(given: Sequence[str], formula: Formula) -> Choice:
    """Random parts; the formula's own first."""
    own = " + ".join(dict.fromkeys(part.text for part in formula.random)) or "none"
    options = {own: "" if own == "none" else own}
    for text in given:
        options.setdefault(text or "none", "" if text in ("", "none") else text)
        if text not in ("", "none") and not parse(f"y ~ 1 + {text}").random:
            raise CrosslevelError(
                f"`alternatives` has the random part {text!r}; write it as in a formula, '(1 + x | g)', or 'none'."
            )
    return Choice(name="random", kind="random", options=options)


def _estimator(given: Sequence[str], known: Sequence[str]) -> Choice:
    """Estimators; that of the model as given first."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise CrosslevelError(
            f"`alternatives` has the estimator {unknown[0]!r}; for this model there are {', '.join(map(repr, known))}."
        )
    names = dict.fromkeys([known[0], *given])
    return Choice(name="estimator", kind="estimator", options={name: name for name in names})


def _conditions(given: object, frame: pd.DataFrame) -> dict[str, BoolArray | None]:
    """Rows to use, (n,) truths by name; all rows first."""
    if not isinstance(given, Mapping):
        given = {str(condition): condition for condition in _listed(given, "rows")}
    out: dict[str, BoolArray | None] = {ALL: None}
    for name, condition in given.items():
        if condition is None:
            continue
        if isinstance(condition, str):
            try:
                found = frame.eval(condition)
            except Exception as error:  # pandas raises anything, with pages of its own calls
                raise CrosslevelError(
                    f"`alternatives` has the rows {condition!r}, which is no condition on the columns: {error}"
                ) from None
        else:
            found = condition
        truths = np.asarray(found)
        if truths.shape != (len(frame),) or truths.dtype != np.bool_:
            raise CrosslevelError(
                f"`alternatives` has the rows {name!r}, which are a condition such as 'size > 500' or an array of "
                f"{len(frame)} truth values; got shape {truths.shape} of {truths.dtype}."
            )
        out[str(name)] = truths
    return out


def _listed(given: object, key: str) -> tuple[str, ...]:
    """One or several texts."""
    found = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Sequence) else (given,)
    if not all(isinstance(each, str) for each in found):
        raise CrosslevelError(f"`alternatives` has {key!r}: {given!r}; that is a list of texts.")
    return tuple({_bare(str(each)): str(each) for each in reversed(found)}.values())[::-1]


def _bare(text: str) -> str:
    """A text without blanks, which tell no options apart."""
    return "".join(text.split())


def _has(term: Term, out: Sequence[frozenset[str]]) -> bool:
    """Whether a term is, or is a product with, something that is left out."""
    own = {e.text for e in term.expressions}
    return any(texts <= own for texts in out)


def _summands(form: str) -> list[str]:
    """The terms of a predictor's form, each one expression: "within(x, g) + between(x, g)" has two."""
    terms = [term for term in parse(f"y ~ {form}").fixed_terms if term.expressions]
    if not terms or any(len(term.expressions) != 1 for term in terms):
        raise CrosslevelError(
            f"`alternatives` has the form {form!r} of a predictor; that is an expression such as 'center(x)', or a sum "
            "of some, such as 'within(x, g) + between(x, g)', of which the first takes the predictor's place."
        )
    return [term.expressions[0].source for term in terms]


def _renamed(part: str, texts: Mapping[str, str]) -> str:
    """A part of a coefficient's name with the predictor as it was given."""
    if part in texts:
        return texts[part]
    for text, own in texts.items():
        if part.startswith(f"{text}["):
            return own + part[len(text) :]
    return part
