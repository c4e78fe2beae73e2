"""Hypotheses about whole terms of the fixed part, types II and III, as contrasts of the coefficients.

With X S the indicator columns of all terms (`term_spaces`), k'beta is k'S in terms of these. F is contained
in G if G has the same numeric factors and all categories of F, and more.

Type III: the k'beta that involve, beside F, only terms that contain F, and are orthogonal (in k'S) to the type III
hypotheses of those. In complete tables they compare means over cells of equal weight. They do not depend on the coding
of categories; a numeric variable's zero point matters, since F and F:x do not have the same numeric factors.

Type II: each term adjusted for all terms that do not contain it: with X1 the columns of those, X2 of the term,
k = X2'(I - X1 (X1'X1)^- X1') X. Weights count if they are precisions or frequencies; the random effects do not.

Which rows represent a hypothesis makes no difference to most tests, but to Satterthwaite's. They are those of treatment
coding with the first levels as references, whatever the model's coding: for type III in reduced echelon form, for type
II (where it differs, since the term is contained in another) such that each column is adjusted for those before it.

Source: SAS/STAT User's Guide, "The Four Types of Estimable Functions"; Yates (1934), JASA 29: 51-66.
"""

import numpy as np
import pandas as pd

from crosslevel.design import Design
from crosslevel.errors import CrosslevelError
from crosslevel.inference.df import DfMethod
from crosslevel.inference.estimates import NO_TEST, Estimates, Joint
from crosslevel.inference.term_spaces import ROUNDING, TermSpace, column_roots, term_spaces
from crosslevel.inference.wald import coefficient_table, joint_table
from crosslevel.types import FloatArray

RANK = 1e-8
"""Singular value, relative to the largest, that counts as zero."""


def term_contrasts(design: Design, kind: int) -> dict[str, FloatArray]:
    """For each term but the intercept, contrasts (r, p) whose joint test is its type II or III test.

    Parameters
    ----------
    design : the model.
    kind : 2 or 3.

    Raises
    ------
    CrosslevelError : another type, or the categories of a term cannot be told from its formula.
    """
    if kind not in (2, 3):
        raise CrosslevelError(f"`type` is 2 or 3; got {kind!r}. For tests in sequence compare fits by cl.lrtest.")
    terms = term_spaces(design)
    if not terms:
        return {}
    half = column_roots(design, design.x)
    size = np.sqrt(np.einsum("ij,ij->j", half, half))
    found = _type_three(terms)
    if kind == 2:
        contained = [term for term in terms if any(other.contains(term) for other in terms)]
        found |= {term.name: _type_two(terms, term, half) for term in contained}
    return {term.name: without_rounding(found[term.name], size) for term in terms[_first(terms) :]}


def _first(terms: tuple[TermSpace, ...]) -> int:
    """Position of the first term that is not the intercept."""
    return int(bool(terms) and terms[0].name == "Intercept" and not terms[0].numeric and not terms[0].categories)


def _type_three(terms: tuple[TermSpace, ...]) -> dict[str, FloatArray]:
    """Type III contrasts (r, p) of every term, those with more categories first."""
    spans = np.concatenate([term.spans for term in terms], axis=1)
    found: dict[str, FloatArray] = {}
    for term in sorted(terms, key=lambda term: -len(term.categories)):
        containing = [other for other in terms if other.contains(term)]
        others = [other.spans for other in terms if other is not term and other not in containing]
        able = _null_space(np.concatenate([np.zeros((len(spans), 0)), *others], axis=1).T)
        rows = [np.zeros((0, len(spans))), *(found[other.name] for other in containing)]
        above = np.concatenate(rows) @ spans
        mine = _null_space(above @ (able @ spans).T) @ able
        found[term.name] = _echelon(mine, mine @ np.hstack([term.spans[:, term.order], spans]))
    return found


def _type_two(terms: tuple[TermSpace, ...], term: TermSpace, half: FloatArray) -> FloatArray:
    """Type II contrasts (r, p) of one term; half (p, p) is H with H'H = X'X."""
    others = [other.spans for other in terms if other is not term and not other.contains(term)]
    before = _range(half @ np.concatenate([np.zeros((len(half), 0)), *others], axis=1))
    rows = []
    for column in (half @ term.spans[:, term.order]).T:
        left, size = column, np.sqrt(column @ column)
        for _ in range(2):
            left = left - before @ (before.T @ left)
        rest = np.sqrt(left @ left)
        if rest > RANK * size:
            before = np.column_stack([before, left / rest])
            rows.append(left @ half / rest**2)
    return np.array(rows).reshape(len(rows), len(half))


def independent_rows(rows: FloatArray) -> FloatArray:
    """Independent rows (r, p) of the same hypothesis as rows (m, p): those themselves where they are independent."""
    return rows if np.linalg.matrix_rank(_unit_rows(rows), tol=RANK) == len(rows) else _echelon(rows, rows)


def without_rounding(rows: FloatArray, size: FloatArray) -> FloatArray:
    """Rows (r, p) with zeros for what is rounding error, coefficients measured in the `size` (p,) of their columns."""
    relative = rows / size
    return np.where(np.abs(relative) < ROUNDING * np.abs(relative).max(axis=1, initial=0.0, keepdims=True), 0.0, rows)


def _echelon(rows: FloatArray, image: FloatArray) -> FloatArray:
    """Independent combinations (r, p) of rows (m, p) with which their image (r, k) is in reduced echelon form."""
    size = np.maximum(np.abs(image).max(axis=1, initial=0.0), 1e-300)[:, None]
    both, k, done = np.hstack([image, rows]) / size, image.shape[1], 0
    for column in range(k):
        if done == len(both):
            break
        pivot = done + int(np.argmax(np.abs(both[done:, column])))
        if np.abs(both[pivot, column]) <= RANK:
            continue
        both[[done, pivot]] = both[[pivot, done]]
        both[done] /= both[done, column]
        others = np.arange(len(both)) != done
        both[others] -= np.outer(both[others, column], both[done])
        done += 1
    return np.asarray(both[:done, k:])


def _unit_rows(rows: FloatArray) -> FloatArray:
    """Rows with a largest element of size 1; zero ones stay."""
    size = np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
    return np.asarray(rows / np.where(size > 0.0, size, 1.0))


def _unit_columns(matrix: FloatArray) -> FloatArray:
    """Columns of length 1; zero ones stay."""
    size = np.sqrt(np.einsum("ij,ij->j", matrix, matrix))
    return np.asarray(matrix / np.where(size > 0.0, size, 1.0))


def _range(matrix: FloatArray) -> FloatArray:
    """Orthonormal basis (n, r) of the columns of (n, m)."""
    left, sizes, _ = np.linalg.svd(_unit_columns(matrix), full_matrices=False)
    return np.asarray(left[:, sizes > RANK])


def _null_space(matrix: FloatArray) -> FloatArray:
    """Orthonormal rows (r, n) that (m, n) maps to zero."""
    if not len(matrix):
        return np.eye(matrix.shape[1])
    _, sizes, right = np.linalg.svd(matrix)
    return np.asarray(right[np.count_nonzero(sizes > RANK * max(float(sizes.max(initial=0.0)), 1e-300)) :])


def terms_tested(design: Design, type: int, method: DfMethod, estimates: Estimates) -> pd.DataFrame:
    """F tests of the terms of the fixed part; see `term_contrasts`.

    Returns
    -------
    frame indexed by term: df_num, df_den, statistic, p_value; no test of a term of which nothing is left.
    """
    return joint_table({name: _joint(method, estimates, rows) for name, rows in term_contrasts(design, type).items()})


def combinations_tested(
    names: tuple[str, ...], rows: FloatArray, method: DfMethod, estimates: Estimates, *, level: float, joint: bool
) -> pd.DataFrame:
    """Combinations C beta, each with its test and interval, or all of them in one F test.

    Parameters
    ----------
    names : of the combinations.
    rows : (m, p) C.
    method, estimates : how degrees of freedom are counted, and what of.
    level : confidence level.
    joint : whether to test that all are zero.
    """
    if joint:
        return joint_table({"; ".join(names): _joint(method, estimates, independent_rows(rows))})
    found = method.single(estimates, rows)
    return coefficient_table(names, rows @ estimates.beta, found.std_error, found.df, level=level)


def _joint(method: DfMethod, estimates: Estimates, rows: FloatArray) -> Joint:
    """F test that independent combinations C beta (r, p) are zero; no test of none."""
    return method.joint(estimates, rows) if len(rows) else NO_TEST
