"""Covariances of the coefficients of a panel regression, by name.

With transformed rows x~, residuals e~ and M = (X~'X~)^-1, in group i s_i = X~_i' e~_i:

    CR0 to CR3      cluster-robust by group, as for a linear regression of the transformed rows
    arellano-HC0    M (sum_i s_i s_i') M, Arellano's (1987): the same as CR0
    arellano-HC1    times n / (n - p), n transformed rows and p coefficients (effects taken out not counted)
    arellano-HC2, arellano-HC3    with e~_it / sqrt(1 - h_it) or e~_it / (1 - h_it), h = x~'M x~
    white1-HC0 ..   M (sum_it e~_it^2 x~_it x~_it') M: rows independent, each with a variance of its own
    white2-HC0 ..   M (sum_i s2_i X~_i'X~_i) M, s2_i the mean of e~_it^2 in group i: each group a variance of its own

CR0 to CR3 come with Satterthwaite's degrees of freedom, arellano with groups - 1 (one clustering), all others with
those of the regression. Only HC2, HC3 and white1 look at the rows; all else comes from cross-products.

Source: Arellano (1987), Oxf. Bull. Econ. Stat. 49: 431-434; Croissant & Millo (2008), J. Stat. Softw. 27(2), section 6.
"""

from typing import Literal

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.cluster_robust import LEVERAGE_ONE, ROBUST, one_way
from crosslevel.inference.clusterings import Clustering
from crosslevel.inference.ordinary import OrdinaryCovariance
from crosslevel.inference.panel.regression import PanelRegression
from crosslevel.inference.panel.transformed import RowMaker as RowMaker
from crosslevel.inference.panel.transformed import TransformedRows as TransformedRows
from crosslevel.inference.robust import RobustCovariance
from crosslevel.inference.robust_rows import RANK, ModelRows
from crosslevel.types import FloatArray, IntArray

Meat = Literal["arellano", "white1", "white2"]
"""Which errors may be correlated or differ in variance."""

MEATS: dict[Meat, str] = {
    "arellano": "robust to any correlation and variances within {group} (Arellano)",
    "white1": "robust to variances that differ from row to row, no correlation (White, by row)",
    "white2": "robust to variances that differ between {group}, no correlation (White, by group)",
}
"""What each is robust to, in words."""

ADJUSTMENTS = {"HC0": 0.0, "HC1": 0.0, "HC2": 0.5, "HC3": 1.0}
"""Power of 1 - h that residuals are divided by."""

NAMES = ("iid", *ROBUST, *(f"{meat}-{kind}" for meat in MEATS for kind in ADJUSTMENTS))
"""Covariances that a panel regression has."""


def check_covariance(vcov: object) -> str:
    """The name of a covariance, "iid" where none is given.

    Raises
    ------
    CrosslevelError : no such covariance.
    """
    if vcov is None:
        return "iid"
    if isinstance(vcov, str) and vcov in ADJUSTMENTS:
        raise CrosslevelError(
            f"`vcov` is {vcov!r}, which leaves open what rows of a group have to do with each other. Write "
            f"'arellano-{vcov}' (anything), 'white2-{vcov}' (a variance for each group) or 'white1-{vcov}' (a variance "
            "for each row)."
        )
    if not isinstance(vcov, str) or vcov not in NAMES:
        raise CrosslevelError(f"`vcov` is one of {', '.join(map(repr, NAMES))}; got {vcov!r}.")
    return vcov


def panel_covariance(
    regression: PanelRegression, groups: Clustering, maker: RowMaker, vcov: str | None, *, normal: bool = False
) -> OrdinaryCovariance:
    """Work out a covariance of `NAMES`.

    Parameters
    ----------
    regression, groups : the solved regression, and the groups of its cross-products.
    maker : makes its rows.
    vcov : the name; None for "iid".
    normal : whether tests with "iid" use the normal distribution instead of t.
    """
    name = check_covariance(vcov)
    df = np.inf if normal else regression.df_residual
    if name == "iid":
        words = "errors that are independent and of equal variance (iid)"
        return OrdinaryCovariance(name=name, description=words, matrix=regression.vcov, df_residual=df)
    if name in ROBUST:
        robust = clustered(regression, groups, name)
        return OrdinaryCovariance(
            name=name, description=robust.kind.description, matrix=robust.vcov, df_residual=df, robust=robust
        )
    meat, kind = name.split("-")
    middle = _middle(regression, maker, meat, kind, groups)
    half = regression.products.coordinates.beta_map @ regression.working_unscaled
    matrix = half @ middle @ half.T
    if kind == "HC1":
        n = regression.products.n_rows
        matrix *= n / (n - len(regression.beta))
    if meat == "arellano":
        df = float(np.count_nonzero(np.einsum("jaa->j", regression.products.gram)) - 1)
    described = MEATS[meat].format(group=groups.name)  # type: ignore[index]  # the name was checked
    return OrdinaryCovariance(name=name, description=f"{described}, {kind}", matrix=matrix, df_residual=df)


def _middle(regression: PanelRegression, maker: RowMaker, meat: str, kind: str, groups: Clustering) -> FloatArray:
    """(p, p) covariance of X~'e~ in working coordinates."""
    gram = regression.products.gram
    if ADJUSTMENTS[kind] == 0.0 and meat == "arellano":
        scores = gram[:, :-1] @ regression.contrast
        return np.asarray(scores.T @ scores)
    if ADJUSTMENTS[kind] == 0.0 and meat == "white2":
        squares = np.einsum("a,jab,b->j", regression.contrast, gram, regression.contrast, optimize=True)
        counts = np.maximum(regression.products.counts, 1)
        return np.asarray(np.einsum("j,jab->ab", squares / counts, gram[:, :-1, :-1]))
    return _from_rows(regression, maker.rows(), meat, ADJUSTMENTS[kind])


def _from_rows(regression: PanelRegression, rows: TransformedRows, meat: str, power: float) -> FloatArray:
    """The same from the rows, whose residuals are divided by a power of 1 - leverage."""
    coordinates = regression.products.coordinates
    x, half = rows.x.copy(), np.linalg.cholesky(regression.working_unscaled)
    if coordinates.intercept >= 0:
        x -= np.outer(coordinates.shift[:-1], rows.x[coordinates.intercept])
    x /= coordinates.scale[:-1, None]
    residual = (rows.y - regression.beta @ rows.x) / coordinates.scale[-1]
    leverage = np.sum((half.T @ x) ** 2, axis=0)
    able = 1.0 - leverage > LEVERAGE_ONE
    if power == 1.0 and not np.all(able):
        raise CrosslevelError(
            f"`vcov` with HC3 leaves out one row at a time, but {np.count_nonzero(~able)} rows alone determine a "
            "coefficient. Use HC2, or drop the predictor that is theirs."
        )
    adjusted = np.where(able, residual / np.where(able, 1.0 - leverage, 1.0) ** power, 0.0 if power else residual)
    n_groups = len(regression.products.gram)
    if meat == "arellano":
        scores = np.array([np.bincount(rows.codes, row * adjusted, n_groups) for row in x])
        return np.asarray(scores @ scores.T)
    squares = adjusted**2
    if meat == "white2":
        counts = np.maximum(np.bincount(rows.codes, minlength=n_groups), 1)
        squares = (np.bincount(rows.codes, squares, n_groups) / counts)[rows.codes]
    return np.asarray((x * squares) @ x.T)


def clustered(regression: PanelRegression, groups: Clustering, name: str) -> RobustCovariance:
    """Cluster-robust covariance by group, as that of an ordinary regression of the transformed rows."""
    rows, codes = stand_ins(regression)
    present, compact = np.unique(codes, return_inverse=True)
    levels = tuple(groups.levels[int(code)] for code in present)
    clusters = Clustering(name=groups.name, levels=levels, codes=compact.astype(np.int32))
    way = one_way(rows, clusters, ROBUST[name], regression.products.n_rows)
    way.vcov.setflags(write=False)
    return RobustCovariance(
        kind=ROBUST[name], clusters={groups.name: clusters.n_clusters}, ways=(way,), vcov=way.vcov,
        expected=way.mean / np.diag(way.model),
    )  # fmt: skip


def stand_ins(regression: PanelRegression) -> tuple[ModelRows, IntArray]:
    """At most p rows for each group with its cross-products, and the group of each; as for a linear regression."""
    gram, contrast = regression.products.gram, regression.contrast
    size = np.einsum("jaa->ja", gram)[:, :-1].max(axis=1)
    values, vectors = np.linalg.eigh(gram[:, :-1, :-1])
    values = np.where(values > RANK * size[:, None], values, 0.0)
    root = np.sqrt(values)
    x = root[:, :, None] * vectors.transpose(0, 2, 1)
    along = np.einsum("jab,ja->jb", vectors, gram[:, :-1] @ contrast)
    e = np.divide(along, root, out=np.zeros_like(along), where=root > 0.0)
    codes = np.repeat(np.arange(len(gram)), gram.shape[1] - 1)
    used = root.ravel() > 0.0
    x = x.reshape(len(codes), -1)[used]
    rows = ModelRows(
        x=x, weighted=x, residual=e.ravel()[used], loadings=(), bread=regression.working_unscaled,
        turn=regression.products.coordinates.beta_map,
    )  # fmt: skip
    return rows, codes[used]
