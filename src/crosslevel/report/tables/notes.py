"""What is said below a table of models: what stands in brackets, what the estimators are, stars, references."""

import re
from collections.abc import Iterator, Sequence

from crosslevel.estimators.codings import references
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.summary import percent_of
from crosslevel.report.tables.cells import Shown
from crosslevel.report.tables.labels import Labels, clean
from crosslevel.report.tables.models import Model, is_mixed

BRACKETED = {"se": "standard errors", "t": "test statistics (t or z)", "p": "p-values"}
NUMBERED = re.compile(r"Model (\d+)")


def notes_of(
    models: Sequence[Model], shown: Sequence[Shown], level: float, stars: Sequence[float], terms: Sequence[str],
    labels: Labels, *, likelihoods: bool,
) -> Iterator[str]:  # fmt: skip
    """The notes, most general first; `likelihoods` says whether the table has any."""
    yield from bracketed(models, shown, level)
    if len(outcomes_of(models)) == 1:
        yield f"Outcome: {labels(*outcomes_of(models))}."
    yield from estimators(models)
    yield from coded(models, terms, labels)
    yield from warned(models)
    if likelihoods and differ(models):
        yield "Likelihoods by REML are not comparable between models with different fixed effects."
    if stars:
        yield ", ".join(f"{'*' * k} p < {_level(p)}" for k, p in enumerate(stars, start=1)) + "."


def outcome_of(model: Model) -> str | None:
    """Name of the outcome; None if it is not known."""
    spec = getattr(model.source, "spec", None)
    written, mark, _ = model.entry.formula.partition("~")
    name = getattr(spec, "response_name", written.strip() if mark else None)
    return None if name is None else clean(name)


def outcomes_of(models: Sequence[Model]) -> set[str]:
    """The outcomes that are known."""
    return {name for name in map(outcome_of, models) if name is not None}


def bracketed(models: Sequence[Model], shown: Sequence[Shown], level: float) -> Iterator[str]:
    """What the cells are."""
    round_ones = " and ".join(BRACKETED[one] for one in shown if one in BRACKETED)
    words = [f"{round_ones} in parentheses"] if round_ones else []
    words += [f"{percent_of(level)} intervals in brackets"] if "interval" in shown else []
    ratios = {model.ratios for model in models}
    if ratios == {""}:
        yield f"Coefficients{''.join(['; ', ', '.join(words)]) if words else ''}."
        return
    for kind in sorted(ratios - {""}):
        mine = [model for model in models if model.ratios == kind]
        which = _of(mine, models)
        yield f"{which}{kind if which else kind.capitalize()}, exponentials of coefficients."
    if words:
        yield f"{'; '.join(words).capitalize()}{delta(shown)}."


def delta(shown: Sequence[Shown]) -> str:
    """How standard errors of ratios are made, and what their tests are of."""
    return " (of ratios by the delta method; tests are those of the coefficients)" if "se" in shown else ""


def estimators(models: Sequence[Model]) -> Iterator[str]:
    """How models were estimated: in one sentence where all are alike."""
    words: dict[str, list[Model]] = {}
    for model in models:
        words.setdefault(estimator_words(model), []).append(model)
    for text, mine in words.items():
        which = _of(mine, models)
        yield f"{which}{text if which else text[:1].upper() + text[1:]}."


def estimator_words(model: Model) -> str:
    """Estimator, approximation of the likelihood, weights, and degrees of freedom."""
    source = model.source
    parts = [model.entry.name if model.entry.name != "Table" else "coefficients as given"]
    if isinstance(source, GeneralizedFit) and source.design.factors:
        nodes = source.quadrature.nodes
        kind = source.quadrature.kind
        parts.append(f"{kind} quadrature with {nodes} nodes" if nodes > 1 else f"{kind} approximation")
    if is_mixed(model):
        if model.own:
            parts.append("z tests" if source.ddf == "normal" else f"degrees of freedom: {source.ddf}")
        if source.design.weights is not None:
            parts.append(source.design.weights.given.words)
        if isinstance(source, MixedFit) and source.design.residual is not None:
            parts.append(f"residuals: {source.design.residual.words}")
    elif model.own and hasattr(source, "glance"):
        kind = source.glance().iloc[0].get("vcov")
        parts += [f"{kind} standard errors"] if isinstance(kind, str) and kind not in model.entry.name else []
    return clean("; ".join(parts))


def coded(models: Sequence[Model], terms: Sequence[str], labels: Labels) -> Iterator[str]:
    """What categories are compared with."""
    found: dict[str, None] = {}
    for model in models:
        if hasattr(model.source, "spec"):
            mine = [term for term in model.coefficients.index if term in set(terms)]
            found |= dict.fromkeys(references(model.source, mine))
    for sentence in found:
        variable, colon, rest = sentence.partition(": ")
        yield clean(f"{labels(variable)}{colon}{rest}")


def warned(models: Sequence[Model]) -> Iterator[str]:
    """Models that did not converge, that lack a coefficient, or are singular."""
    for model in models:
        aliased = getattr(getattr(model.source, "design", None), "aliased", ())
        if aliased:
            which = "" if len(models) == 1 else f"{model.name}: "
            them = "it" if len(aliased) == 1 else "them"
            yield f"{which}Left out, as other terms determine {them}: {clean(', '.join(aliased))}."
        if not getattr(model.source, "converged", True):
            yield f"{model.name} did not converge: {clean(model.source.status)}"
    singular = [model for model in models if getattr(model.source, "is_singular", False)]
    if singular:
        which = _of(singular, models) or ("All models: " if len(models) > 1 else "")
        words = "singular fit: a variance is zero or random effects are perfectly correlated"
        yield f"{which}{words}." if which else f"{words.capitalize()}."


def differ(models: Sequence[Model]) -> bool:
    """Whether restricted likelihoods are of models with different fixed effects."""
    linear = [model for model in models if isinstance(model.source, MixedFit) and model.source.method == "reml"]
    return len({model.source.design.fixed_names for model in linear}) > 1


def _of(mine: Sequence[Model], models: Sequence[Model]) -> str:
    """The models that a note is about: "Models 1, 2: "; nothing where it is about all."""
    if len(mine) == len(models):
        return ""
    numbers = [NUMBERED.fullmatch(model.name) for model in mine]
    if len(mine) > 1 and all(numbers):
        return f"Models {', '.join(found[1] for found in numbers if found)}: "
    return f"{', '.join(model.name for model in mine)}: "


def _level(p: float) -> str:
    """A level of significance without its leading zero."""
    return f"{p:g}".removeprefix("0")
