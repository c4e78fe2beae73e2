"""How a chosen structure is written as a formula that gives the same model."""

from collections.abc import Sequence

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.formula import Spec
from crosslevel.formula.components import Component, LevelTable
from crosslevel.formula.expressions import Expression, quoted
from crosslevel.formula.parse import Formula, write_random, write_terms
from crosslevel.selection.search import Search, Unit
from crosslevel.selection.structures import RandomStructure


def formula_of(search: Search, structure: RandomStructure) -> str:
    """The maximal model's formula with the random effects of a structure; every block is a term of its own.

    A categorical variable in a block without the intercept, or without its own lower terms, is written with a number
    for each of its columns: spelt by its name it would get a column for every category there. A fit of such a formula
    has the same likelihood and coefficients; which coefficients the random slopes belong to does not show in it, so
    that degrees of freedom of theirs may differ.
    """
    formula, group = search.design.spec.formula, search.design.spec.terms[search.place].group
    fixed = write_terms(formula.fixed_terms).removeprefix("1 + ")
    own = [f"({text} | {':'.join(quoted(name) for name in group)})" for text in block_texts(search, structure)]
    others = [write_random(part) for part in formula.random if set(part.group) != set(group)]
    return f"{formula.response.source} ~ {' + '.join([fixed, *own, *others])}"


def block_texts(search: Search, structure: RandomStructure) -> list[str]:
    """What stands before the bar of each block's term."""
    return [_block_text(search, block) for block in structure.blocks]


def _block_text(search: Search, block: Sequence[str]) -> str:
    """What stands before the bar of one block's term."""
    units = [unit for unit in search.units if unit.effects[0] in block]
    terms = {frozenset(unit.factors) for unit in units}
    has_intercept = frozenset() in terms
    parts = ["1" if has_intercept else "0"]
    for unit in units:
        if unit.factors:
            parts += (
                [_term_text(search.design, unit)] if _is_natural(search.design, unit, terms) else _columns(search, unit)
            )
    return " + ".join(parts)


def _is_natural(design: Design, unit: Unit, terms: set[frozenset[str]]) -> bool:
    """Whether a term gives the same columns beside these other terms as it did in the maximal model."""
    components = {component.text: component for component in design.spec.components}
    coded = [name for name in unit.factors if _changes(components.get(name))]
    lower = [frozenset(unit.factors) - {name} for name in coded]
    return all(term in terms for term in lower)


def _changes(component: Component | None) -> bool:
    """Whether a component has more columns where nothing else spans the intercept."""
    return component is not None and component.reduced is not None and component.reduced != component.full


def _term_text(design: Design, unit: Unit) -> str:
    """A term as it was written."""
    sources = _sources(design.spec.formula)
    return ":".join(sources.get(name, name) for name in unit.factors)


def _columns(search: Search, unit: Unit) -> list[str]:
    """The columns of a term, one by one."""
    design = search.design
    names, out = design.spec.columns, []
    sources = _sources(design.spec.formula)
    for j in design.factors[search.place].z:
        if names[j].name in unit.effects:
            product = design.spec.products[j]
            atoms = [_atom(design.spec, number, index, sources) for number, index in product.atoms]
            out.append(":".join([*([f"{product.scale:g}"] if product.scale != 1.0 else []), *atoms]))
    return out


def _atom(spec: Spec, number: int, index: int, sources: dict[str, str]) -> str:
    """One component column as an expression."""
    component = spec.components[number]
    if component.coding is None:
        return sources.get(component.text, component.text)
    if not isinstance(component.origin, LevelTable):
        raise CrosslevelError(
            f"`formula` codes {component.text} in a way that cannot be written for a random slope apart from the "
            "intercept. Make numeric columns of its categories, and give these random slopes."
        )
    origin = component.origin
    variable = quoted(origin.variable)
    values = [(float(value), level) for value, level in zip(origin.table[index], origin.levels, strict=False)]
    parts = [f"{value!r} * ({variable} == {level!r})" for value, level in values if value != 0.0]
    return f"I({' + '.join(parts)})"


def _sources(formula: Formula) -> dict[str, str]:
    """How each expression of a formula is written, by its name."""
    terms = [*formula.fixed_terms, *(term for part in formula.random for block in part.blocks for term in block)]
    found: list[Expression] = [expression for term in terms for expression in term.expressions]
    return {expression.text: expression.source for expression in found}
