"""Known matrices and multiple membership between the formula and the design."""

import dense
import numpy as np
import pandas as pd
import pytest
from small_models import unbalanced

import crosslevel as cl
from crosslevel.covariance import KNOWN
from crosslevel.design.factors import grouping_factor
from crosslevel.design.known import KnownMatrices
from crosslevel.design.rows import RowCount
from crosslevel.errors import DesignError
from crosslevel.formula import learn, parse
from crosslevel.table import Columns

MATRIX = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, -0.2], [0.1, -0.2, 0.7]])


def spec_of(formula: str):
    rng = np.random.default_rng(1)
    g = unbalanced(rng, 12, 9)
    frame = pd.DataFrame({"y": rng.normal(size=len(g)), "f": rng.choice(list("abc"), len(g)), "g": g, "h": g[::-1]})
    columns = Columns.from_frame(frame)
    return learn(parse(formula), columns), columns


def factor_with(matrix: object, formula: str = "y ~ 1 + propto(0 + f | g, V)"):
    spec, columns = spec_of(formula)
    known = KnownMatrices(matrices={"V": matrix}, names=tuple(column.name for column in spec.columns))
    rows = RowCount(read=columns.n_rows, used=columns.n_rows, missing={})
    return grouping_factor(spec.terms[0], columns, None, rows, known=known)


LABELS = {"levels": list("abc"), "names": ["f[a]", "f[b]", "f[c]"]}


@pytest.mark.parametrize("labels", LABELS)
def test_rows_of_a_labelled_matrix_are_put_in_order(labels: str) -> None:
    frame = pd.DataFrame(MATRIX, index=LABELS[labels], columns=LABELS[labels])
    for matrix in (MATRIX, MATRIX.tolist(), frame, frame.iloc[[2, 0, 1], [1, 2, 0]]):
        structure = factor_with(matrix).structure
        factor = structure.factor(np.array([2.0]))
        np.testing.assert_allclose(factor @ factor.T, 4.0 * MATRIX, rtol=1e-14)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.eye(2), r"`known\['V'\]` needs a row and a column for each of the 3 random effects \(f\[a\], "),
        (pd.DataFrame(MATRIX, index=list("abd"), columns=list("abc")), "its index has a, b, d, its columns a, b, c"),
        (-MATRIX, "cannot be used: the matrix must be a covariance matrix"),
        ("V", "must be a matrix of numbers; got str"),
    ],
)  # fmt: skip
def test_matrices_that_do_not_fit_are_refused(matrix: object, words: str) -> None:
    with pytest.raises(DesignError, match=words):
        factor_with(matrix)


def test_a_matrix_that_is_not_given_is_asked_for() -> None:
    with pytest.raises(DesignError, match=r"the matrix 'W', and `known` gives 'V'. Give it: known=\{'W': matrix\}"):
        factor_with(MATRIX, "y ~ 1 + propto(0 + f | g, W)")


def test_every_structure_with_a_matrix_can_be_written() -> None:
    for name in KNOWN:
        spec, _ = spec_of(f"y ~ 1 + {name}(0 + f | g, V)")
        (block,) = spec.terms[0].blocks
        assert (block.structure, block.known, block.columns) == (name, "V", (1, 2, 3))


def test_terms_know_their_membership() -> None:
    spec, _ = spec_of("y ~ 1 + (1 | mm(g, h)) + diag(0 + f | mm(g, h)) + (1 | g)")
    several, single = spec.terms
    assert several.membership.members == ("g", "h")
    assert several.group == ("mm(g, h)",)
    assert len(several.blocks) == 4
    assert single.membership is None
    assert spec.variables == ("y", "f", "g", "h")


def test_density_of_a_known_matrix_does_not_depend_on_its_unit() -> None:
    """The twin's optimum over the factor that the matrix is multiplied by is the same for V and 9 V."""
    rng = np.random.default_rng(3)
    codes = unbalanced(rng, 15, 9)
    z = np.eye(3)[rng.integers(0, 3, len(codes))]
    data = dense.Data(y=rng.normal(size=len(codes)), X=np.ones((len(codes), 1)), Z=z, codes=codes)
    for scale in (0.3, 1.0):
        one = dense.profile(data, scale**2 * MATRIX, reml=True).deviance
        factor = KNOWN["propto"](9.0 * MATRIX).factor(np.array([scale / 3.0]), 3)
        assert dense.profile(data, factor @ factor.T, reml=True).deviance == pytest.approx(one, rel=1e-12)


def test_a_random_term_with_a_known_matrix() -> None:
    """propto with the matrix of an autoregression: at the same correlation, the deviance of ar1."""
    rng = np.random.default_rng(3)
    g, t = np.repeat(np.arange(30), 8), np.tile(np.arange(4), 60)
    effects = rng.normal(size=(30, 4)) @ np.linalg.cholesky(0.6 ** abs(np.subtract.outer(range(4), range(4)))).T
    data = pd.DataFrame({"y": effects[g, t] + rng.normal(size=240), "g": g, "t": pd.Categorical(t)})
    free = cl.mixed("y ~ 1 + ar1(0 + t | g)", data)
    cov = free.cov_re["g"]
    fit = cl.mixed("y ~ 1 + propto(0 + t | g, V)", data, known={"V": cov / cov.iloc[0, 0]})
    assert fit.deviance == pytest.approx(free.deviance, abs=1e-8)
    np.testing.assert_allclose(fit.cov_re["g"], cov, rtol=1e-4)
    assert fit.theta.shape == (1,)
    assert fit.update(method="ml").converged


def test_matrices_that_no_term_names_are_refused() -> None:
    data = pd.DataFrame({"y": [1.0, 2, 4, 3, 5, 4], "g": [1, 1, 2, 2, 3, 3]})
    with pytest.raises(cl.DesignError, match="no random term"):
        cl.mixed("y ~ 1 + (1 | g)", data, known={"V": np.eye(2)})
    with pytest.raises(cl.DesignError, match="known"):
        cl.mixed("y ~ 1 + propto(1 | g, V)", data)
