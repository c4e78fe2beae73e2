"""Terms of a model as products of variables, for packages that code categories otherwise or not at all."""

from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.preparing import Atoms, Preparation
from crosslevel.formula.terms import Term, Terms


def is_marginal(model: Model) -> bool:
    """Whether every category meets the intercept or its partners without it, so that its first level can be left out.

    If so, the columns of a term are the products of the indicators of all categories but the first.
    """
    keys = {term.key for term in model.formula.fixed_terms}
    return all(
        term.key - {expression} in keys
        for term in model.formula.fixed_terms
        for expression in term.expressions
        if expression.text in model.codings and model.codings[expression.text].kind == "treatment"
    )


def has_categories(model: Model) -> bool:
    """Whether any predictor is categorical, as far as is known."""
    return bool(model.codings) or any(
        expression.text.startswith("C(") for term in model.formula.fixed_terms for expression in term.expressions
    )


def has_intercept(terms: Terms) -> bool:
    """Whether an intercept is among some terms."""
    return any(not term.expressions for term in terms)


def fixed_columns(model: Model, preparation: Preparation) -> list[Atoms]:
    """The columns of the fixed part as products of numeric variables, without the intercept."""
    if not has_categories(model):
        return [atoms for term in model.formula.fixed_terms if term.expressions for atoms in preparation.term(term)]
    design = model.need_data("the categories of its predictors")
    columns = design.spec.columns[: design.spec.n_fixed]
    return [tuple(preparation.component(name) for name in column.factors) for column in columns if column.factors]


def random_columns(terms: Terms, model: Model, preparation: Preparation) -> list[Atoms]:
    """The columns of a block of random effects as products of numeric variables, without the intercept."""
    found: list[Atoms] = []
    for term in terms:
        if term.expressions:
            found += _expanded(term, preparation, full=not has_intercept(terms))
    return found


def _expanded(term: Term, preparation: Preparation, *, full: bool) -> list[Atoms]:
    """A term with indicators in place of its categories."""
    found: list[Atoms] = []
    for atoms in preparation.term(term):
        products: list[Atoms] = [()]
        for atom in atoms:
            if not atom.is_categorical:
                choices: Atoms = (atom,)
            else:
                preparation.model.need_data(f"the categories of {atom.text}")
                kept = [level for level in atom.levels if full or level != atom.reference]
                choices = tuple(preparation.indicator(atom, level) for level in kept)
            products = [(*before, choice) for before in products for choice in choices]
        found += products
    return found
