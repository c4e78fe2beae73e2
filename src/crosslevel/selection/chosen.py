"""The chosen candidate as a fit like any other."""

from dataclasses import replace

from crosslevel.design import Design
from crosslevel.estimators.generalized.fitting import fit_generalized
from crosslevel.estimators.mixed import solve_design
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.formula import parse
from crosslevel.formula.spec import Block
from crosslevel.selection.search import Candidate, Search, Searchable
from crosslevel.selection.spelling import block_texts, formula_of
from crosslevel.solve import Solution


def chosen_fit(search: Search, candidate: Candidate) -> Searchable:
    """The fit that `mixed` would give of the candidate's formula, without another look at the rows."""
    formula = formula_of(search, candidate.structure)
    design = respelt(search, candidate, formula)
    maximal = search.maximal
    if not isinstance(maximal, MixedFit):
        return fit_generalized(formula, maximal.data, maximal.given, design)
    solution = solve_design(design, maximal.given) if design.is_single else candidate.solution
    assert isinstance(solution, Solution)
    return MixedFit(formula=formula, data=maximal.data, given=maximal.given, design=design, solution=solution)


def respelt(search: Search, candidate: Candidate, formula: str) -> Design:
    """The candidate's design, with the random terms of its formula."""
    spec, place = search.design.spec, search.place
    z = search.design.factors[place].z[candidate.part.effects]
    texts = block_texts(search, candidate.structure)
    blocks = tuple(
        Block(structure="us", columns=tuple(int(z[e]) for e in columns), text=text)
        for columns, text in zip(candidate.part.structure.columns, texts, strict=True)
    )
    terms = tuple(replace(term, blocks=blocks) if k == place else term for k, term in enumerate(spec.terms))
    return replace(candidate.design, spec=replace(spec, formula=parse(formula), terms=terms))
