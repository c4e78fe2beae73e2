"""Models in statsmodels: MixedLM and OLS."""

import keyword
import re
from collections.abc import Iterator, Sequence

from crosslevel.estimators.translation import steps
from crosslevel.estimators.translation.arithmetic import PYTHON
from crosslevel.estimators.translation.columns import has_intercept
from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.outcomes import read_outcome, without_offset
from crosslevel.estimators.translation.preparing import Atom, Atoms, Preparation
from crosslevel.estimators.translation.refusals import no_counterpart, refuse_membership
from crosslevel.formula import RandomPart
from crosslevel.formula.terms import Terms


def legal(name: str) -> str:
    """A name of Python."""
    name = re.sub(r"\W", "_", name)
    name = name if re.match(r"[^\W\d]", name) else f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def statsmodels(model: Model) -> str:
    """The calls of statsmodels."""
    if model.family is not None:
        raise no_counterpart(
            "statsmodels", f"family={model.family.name!r} by maximum likelihood",
            "Its BinomialBayesMixedGLM approximates a posterior. Use to='lme4' or 'stata'.",
        )  # fmt: skip
    if model.residual is not None:
        raise no_counterpart("statsmodels", "a residual structure beside random effects", "Use to='nlme'.")
    if model.weights is not None:
        raise no_counterpart("statsmodels' MixedLM", model.weights.words, "Use to='lme4' or 'stata'.")
    preparation = Preparation(model=model, legal=legal)
    outcome = without_offset(model, preparation, read_outcome(model, preparation))
    fixed = f"{outcome.name} ~ {_side(model.formula.fixed_terms, preparation)}"
    make = _ordinary if model.is_ordinary else _mixed
    fit = list(make(fixed, model, preparation))
    imports = ["import statsmodels.formula.api as smf"]
    made = list(commands(preparation, model.formula.required))
    numpy = ["import numpy as np"] if any("np." in line for line in made) else []
    return "\n".join([*numpy, *imports, "", *made, *fit, "print(fit.summary())"])


def commands(preparation: Preparation, needed: Sequence[str]) -> Iterator[str]:
    """Statements that prepare the data."""
    renamed = {old: new for old, new in preparation.renamed.items() if old != new}
    if renamed:
        yield f"data = data.rename(columns={renamed!r})"
    listed = [preparation.column(name) for name in needed]
    if preparation.model.has_dropped:
        yield f"data = data.dropna(subset={listed!r})"
    elif preparation.steps:
        yield "data = data.copy()"
    for step in preparation.steps:
        yield f'data["{step.new}"] = {_right(step)}'


def _right(step: steps.Step) -> str:
    """What a new variable is."""
    match step:
        case steps.ClusterMean(of=of, group=group):
            by = f'"{group[0]}"' if len(group) == 1 else repr(list(group))
            return f'data.groupby({by}, observed=True)["{of}"].transform("mean")'
        case steps.Difference(of=of, mean=mean):
            return f'data["{of}"] - data["{mean}"]'
        case steps.Centred(of=of, scaled=scaled):
            centred = f'data["{of}"] - data["{of}"].mean()'
            return f'({centred}) / data["{of}"].std()' if scaled else centred
        case steps.Computed(tree=tree, variables=variables):
            written = PYTHON.write(tree)
            for name in sorted(variables, key=len, reverse=True):
                written = re.sub(rf"(?<![\w.\"]){name}(?![\w\"(])", f'data["{name}"]', written)
            return written
        case steps.Indicator(variable=variable, level=level):
            return f'(data["{variable}"] == {level!r}).astype(float)'
        case steps.WeightedEffect(variable=v, level=level, omitted=o):
            one, other = f'(data["{v}"] == {level!r})', f'(data["{v}"] == {o!r})'
            return f"{one}.astype(float) - {other} * {one}.sum() / {other}.sum()"
        case steps.Numbered(variable=variable, levels=levels):
            return f'data["{variable}"].map({ {level: k for k, level in enumerate(levels, start=1)}!r}).astype(int)'
        case steps.Crossing(columns=columns):
            return f"data.groupby({list(columns)!r}, observed=True).ngroup()"
        case steps.Multiplied(factors=factors):
            return " * ".join(f'data["{name}"]' for name in factors)


def _atom(atom: Atom) -> str:
    """A variable in a formula."""
    if atom.levels == ("?",):
        return f"C({atom.name})"
    return f"C({atom.name}, levels={list(atom.levels)!r})" if atom.is_categorical else atom.name


def _side(terms: Terms, preparation: Preparation) -> str:
    """Some terms."""
    found = [] if has_intercept(terms) else ["0"]
    for term in terms:
        if term.expressions:
            found += [_product(atoms) for atoms in preparation.term(term)]
    return " + ".join(found) or "1"


def _product(atoms: Atoms) -> str:
    return ":".join(map(_atom, atoms))


def _mixed(fixed: str, model: Model, preparation: Preparation) -> Iterator[str]:
    """MixedLM."""
    outer = model.groups[0]
    components: dict[str, str] = {}
    formula = None
    if not model.is_nested:
        one = preparation.free("all_rows")
        yield f'data["{one}"] = 1'
        group = one
    else:
        group = preparation.group(outer)
        formula = _outer(model.parts[outer], preparation, components)
    for inner in model.groups if not model.is_nested else model.groups[1:]:
        for part in model.parts[inner]:
            _component(part, preparation, components)
    arguments = [f'"{fixed}"', "data", f'groups="{group}"']
    if formula is not None:
        arguments.append(f're_formula="{formula}"')
    if components:
        arguments.append(f"vc_formula={components!r}")
    if formula is None and components and model.is_nested:
        arguments.append('re_formula="0"')
    yield f"model = smf.mixedlm({', '.join(arguments)})"
    yield f"fit = model.fit(reml={model.reml})"


def _outer(parts: list[RandomPart], preparation: Preparation, components: dict[str, str]) -> str | None:
    """The formula of the random effects of the outermost factor; blocks beside the first are variance components."""
    formula = None
    for part in parts:
        refuse_membership(part, "statsmodels")
        blocks = part.blocks
        if part.structure == "diag":
            blocks = tuple((term,) for block in blocks for term in block)
        elif part.structure != "us":
            raise no_counterpart("statsmodels", f"the structure {part.structure} ({part.text})", "Use to='glmmtmb'.")
        for block in blocks:
            if formula is None:
                formula = f"~ {_side(block, preparation)}"
                continue
            if len(block) > 1 or any(a.is_categorical for t in block for atoms in preparation.term(t) for a in atoms):
                raise no_counterpart("statsmodels", f"several correlated blocks ({part.text})", "Use to='lme4'.")
            written = _side(block, preparation)
            components[re.sub(r"\W+", "_", written).strip("_")] = written
    return formula


def _component(part: RandomPart, preparation: Preparation, components: dict[str, str]) -> None:
    """An inner factor as a variance component: one variance of the indicators of its levels."""
    refuse_membership(part, "statsmodels")
    name = preparation.group(part.group)
    for block in part.blocks:
        if len(block) > 1:
            raise no_counterpart(
                "statsmodels", f"correlated random effects of {':'.join(part.group)}, no outermost factor",
                "Use to='lme4', or uncorrelated ones: (x || g).",
            )  # fmt: skip
        (term,) = block
        if not term.expressions:
            components[name] = f"0 + C({name})"
            continue
        for atoms in preparation.term(term):
            components[f"{name}_{'_'.join(a.name for a in atoms)}"] = f"0 + C({name}):{_product(atoms)}"


def _ordinary(fixed: str, model: Model, preparation: Preparation) -> Iterator[str]:
    """OLS."""
    yield f'model = smf.ols("{fixed}", data)'
    if model.cluster:
        group = preparation.group(tuple(model.cluster[0].split(":")))
        yield f'fit = model.fit(cov_type="cluster", cov_kwds={{"groups": data["{group}"]}}, use_t=True)'
    elif model.vcov in ("HC0", "HC1", "HC2", "HC3"):
        yield f'fit = model.fit(cov_type="{model.vcov}", use_t=True)'
    else:
        yield "fit = model.fit()"
