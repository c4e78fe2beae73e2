"""Whether context effects depend on correlations that the chosen structure fixes to zero.

Two checks of each context effect. Blocks of the chosen structure are joined, which frees the correlations between them.
And a slope that is not correlated with the intercept is measured from another origin: with x - c in place of x among
the random effects, and the same fixed part, the model is another one, since the intercept's variance and its zero
correlation are then those at x = c. Cross-products of the shifted column are linear in those at hand; no row is read.

Source: Heisig, Schaeffer & Giesecke (2017), American Sociological Review 82: 796-827, pp. 815-816; Bates, Maechler,
Bolker & Walker (2015), J. Stat. Softw. 67(1), section 2.2, for the dependence on the origin.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from crosslevel.design.submodel import part_of_reduced
from crosslevel.inference.structure_fits import fit_structure
from crosslevel.selection.search import Candidate, Search, Unit
from crosslevel.solve.one_factor import solve
from crosslevel.types import FloatArray

MOVES = 0.5
"""Change of a context effect, in standard errors of the chosen model, that is called one: a 95 % interval that is off
by so much covers 92 %."""

COLUMNS = ("check", "what", "term", "estimate", "other_estimate", "change", "change_in_se", "se_ratio", "moves")


@dataclass(frozen=True, kw_only=True, eq=False)
class Alternative:
    """Another model beside the chosen one.

    Attributes
    ----------
    check : "correlated" or "shifted".
    what : what is different, in words.
    beta, vcov : (p,) its coefficients and (p, p) their covariance given the variances.
    """

    check: str
    what: str
    beta: FloatArray
    vcov: FloatArray


def sensitivity_table(search: Search, chosen: Candidate) -> pd.DataFrame:
    """What `Selection.sensitivity` shows; see there."""
    places = list(search.context)
    names = [search.design.fixed_names[i] for i in places]
    own, error = chosen.beta[places], np.sqrt(np.diag(chosen.vcov)[places])
    records = []
    for other in (*joined_blocks(search, chosen), *shifted_slopes(search, chosen)):
        estimate, other_error = other.beta[places], np.sqrt(np.diag(other.vcov)[places])
        for k, name in enumerate(names):
            change = float((estimate[k] - own[k]) / error[k])
            values = (
                other.check, other.what, name, float(own[k]), float(estimate[k]), float(estimate[k] - own[k]), change,
                float(other_error[k] / error[k]), abs(change) > MOVES,
            )  # fmt: skip
            records.append(dict(zip(COLUMNS, values, strict=True)))
    return pd.DataFrame.from_records(records, columns=list(COLUMNS))


def joined_blocks(search: Search, chosen: Candidate) -> Iterator[Alternative]:
    """The chosen structure with the correlations between two of its blocks freed, if the maximal model has them."""
    order = {name: k for k, name in enumerate(search.effects)}
    for pair, structure in zip(combinations(chosen.structure.blocks, 2), chosen.structure.joined(order), strict=True):
        if structure.within(search.maximal_structure):
            other = search.candidate(structure)
            what = " and ".join(" ~ ".join(block) for block in pair)
            yield Alternative(check="correlated", what=what, beta=other.beta, vcov=other.vcov)


def shifted_slopes(search: Search, chosen: Candidate) -> Iterator[Alternative]:
    """The chosen structure with a slope's variable measured from a point one standard deviation away.

    Only for slopes that are not correlated with the intercept: those that are give the same model from any origin.
    """
    if not search.is_plain or "Intercept" not in chosen.structure.effects:
        return
    beside = next(block for block in chosen.structure.blocks if "Intercept" in block)
    for unit in search.units:
        if len(unit.factors) == 1 and unit.effects[0] in chosen.structure.effects and unit.effects[0] not in beside:
            for sign, words in ((1.0, "1 SD above"), (-1.0, "1 SD below")):
                beta, vcov = _from_other_origin(search, chosen, unit, sign)
                yield Alternative(check="shifted", what=f"{unit.name}, origin {words}", beta=beta, vcov=vcov)


def _from_other_origin(search: Search, chosen: Candidate, unit: Unit, sds: float) -> tuple[FloatArray, FloatArray]:
    """Coefficients and their covariance with the columns of a slope shifted by so many standard deviations.

    Working effects are T b. With Z M in place of Z, M taking c times the constant from the column, they are T M b.
    """
    design, reduced = search.design, search.design.reduced
    spread = np.sqrt(np.diag(design.products.total) / design.products.weight)
    shift, intercept = np.eye(len(search.effects)), search.effects.index("Intercept")
    for name in unit.effects:
        e = search.effects.index(name)
        shift[intercept, e] = -sds * spread[design.z[e]]
    moved = replace(reduced, basis=reduced.basis @ shift)
    near = np.linalg.solve(shift, search.maximal.solution.factors[0])
    fit = fit_structure(moved, chosen.part, near, reml=search.reml)
    if fit is not None:
        return fit.beta, fit.vcov
    solution = solve(part_of_reduced(moved, chosen.part), reml=search.reml)
    return solution.beta, solution.vcov


def concerns(search: Search, table: pd.DataFrame) -> list[str]:
    """What of the sensitivity must be known, in words, with what to do."""
    out = []
    moved = table[table["moves"].astype(bool)]
    for (check, term), rows in moved.groupby(["check", "term"], sort=False):
        worst = rows.iloc[int(rows["change_in_se"].abs().to_numpy().argmax())]
        size = (
            f"{abs(worst['change_in_se']):.2g} standard errors (from {worst['estimate']:.4g} to "
            f"{worst['other_estimate']:.4g})"
        )
        if check == "correlated":
            out.append(
                f"The context effect {term} moves by {size} when the blocks {worst['what']} are correlated, which the "
                "chosen structure fixes to zero. Use the model with these correlations, or drop the uncorrelated slope."
            )
        else:
            out.append(
                f"The context effect {term} moves by {size} with another origin of an uncorrelated random slope "
                f"({worst['what']}). Centre the variable, let the slope correlate with the intercept, or drop it."
            )
    return out
