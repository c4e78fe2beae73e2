"""The second of two steps in many replications: `inference.second_step` and `inference.adjusted_step`, all at once.

Symbols and equations are those of these modules. Arrays have clusters in the last axis and replications before it;
clusters that are not used weigh nothing.
"""

from dataclasses import dataclass, field

import numpy as np

from crosslevel.inference.adjusted_step import LEAST
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.inference.heteroskedastic import LEVERAGE_ONE, ROW_ROBUST
from crosslevel.simulation.estimators.stacked import (
    Solved,
    cholesky,
    independent,
    inverse,
    inverse_lower,
    least_squares,
    times,
)
from crosslevel.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """Coefficients of clusters in R replications, and what explains them.

    Attributes
    ----------
    able : (R, J) which clusters are used.
    y, covariates : (R, J) the coefficient, and (m, R, J) those that it is adjusted for.
    sampling : (1 + m, 1 + m, R, J) their sampling covariances.
    context, constant : (k, R, J) context variables, and which of them is the intercept, -1 for none.
    """

    able: BoolArray = field(repr=False)
    y: FloatArray = field(repr=False)
    covariates: FloatArray = field(repr=False)
    sampling: FloatArray = field(repr=False)
    context: FloatArray = field(repr=False)
    constant: int

    @property
    def n(self) -> IntArray:
        """(R,) clusters used."""
        return np.asarray(np.count_nonzero(self.able, axis=1))

    def some(self, which: IntArray) -> "Targets":
        """Those of some replications, with zeros for clusters that are not used."""
        able = self.able[which]
        return Targets(
            able=able, y=np.where(able, self.y[which], 0.0), constant=self.constant,
            covariates=np.where(able, self.covariates[:, which], 0.0),
            sampling=np.where(able, self.sampling[:, :, which], 0.0),
            context=np.where(able, self.context[:, which], 0.0),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained:
    """Second steps of R replications with k context variables.

    Attributes
    ----------
    outcome : (R,) how each ended, an `Outcome`.
    sigma2 : (R,) variance beyond sampling (and covariates) before it is floored; NaN where the method has none.
    estimate, variance : (k, R) gamma, and the variance of each.
    df : (R,) clusters - regressors.
    """

    outcome: IntArray = field(repr=False)
    sigma2: FloatArray = field(repr=False)
    estimate: FloatArray = field(repr=False)
    variance: FloatArray = field(repr=False)
    df: FloatArray = field(repr=False)

    def put(self, which: IntArray, found: Solved, variance: FloatArray, sigma2: FloatArray | float) -> None:
        """Results of some replications; those whose estimates are not finite stay refused."""
        k = len(self.estimate)
        fine = np.all(np.isfinite(found.coefficients[:k]), axis=0)
        here = which[fine]
        self.outcome[here], self.df[here] = int(Outcome.FITTED), found.df[fine]
        self.sigma2[here] = np.broadcast_to(sigma2, fine.shape)[fine]
        self.estimate[:, here], self.variance[:, here] = found.coefficients[:k, fine], variance[:, fine]


def second_steps(targets: Targets, *, method: str, kind: str, chosen: bool) -> Explained:
    """Explain a coefficient in each replication.

    Parameters
    ----------
    targets : the coefficient, with its covariates.
    method, kind : of `METHODS` and of `CLUSTER_ERRORS`.
    chosen : whether components of the covariates are chosen.
    """
    k, (m, r, _) = len(targets.context), targets.covariates.shape
    out = Explained(
        outcome=np.full(r, int(Outcome.REFUSED), dtype=np.int64), sigma2=np.full(r, np.nan),
        estimate=np.full((k, r), np.nan), variance=np.full((k, r), np.nan), df=np.full(r, np.nan),
    )  # fmt: skip
    enough = np.flatnonzero(targets.n >= (m + k + 2 if m and not chosen else k + 1))
    with np.errstate(all="ignore"):  # what is not finite is refused
        known = independent(targets.context[:, enough], targets.able[enough], targets.constant)
        out.outcome[enough[~known]] = int(Outcome.UNIDENTIFIED)
        which = enough[known]
        some = targets.some(which)
        if not m:
            explain_plainly(some, method, kind, which, out)
            return out
        components = find_components(some, chosen=chosen)
        counts = components.kept if chosen or method == "adjusted-fgls" else np.full(len(which), m)
        for kept in np.unique(counts):
            mine = np.flatnonzero(counts == kept)
            part, its = some.some(mine), components.some(mine)
            if method == "adjusted":
                explain_equally(part, its, int(kept) if chosen else None, kind, which[mine], out)
            else:
                explain_shrunk(part, its, int(kept), kind, which[mine], out)
    return out


def errors_of(solved: Solved, kind: str) -> FloatArray:
    """(R, J) variances of the clusters' errors as a kind of covariance takes them; NaN where it is not defined."""
    used = solved.root > 0.0
    if kind in ("scaled", "unscaled"):
        weights = solved.root**2
        size = np.sum(weights * solved.residual**2, axis=1) / solved.df if kind == "scaled" else np.ones(len(used))
        return np.divide(size[:, None], weights, out=np.zeros_like(weights), where=used)
    robust = ROW_ROBUST[kind]
    kept = 1.0 - solved.leverage
    able = kept > LEVERAGE_ONE
    nothing = {0.0: 1.0, 1.0: np.nan}.get(robust.power, 0.0)
    share = np.where(able, np.where(able, kept, 1.0) ** (-2.0 * robust.power), nothing)
    factor = (np.count_nonzero(used, axis=1) / solved.df)[:, None] if robust.counted else 1.0
    return np.where(used, solved.residual**2 * share * factor, 0.0)


def drawn_variance(solved: Solved, k: int, kind: str) -> FloatArray:
    """(k, R) variances of the first coefficients, from the errors of clusters."""
    errors = errors_of(solved, kind)
    return np.stack([np.sum(solved.influence(i) ** 2 * errors, axis=1) for i in range(k)])


def beyond_sampling(solved: Solved, sampling: FloatArray) -> FloatArray:
    """(R,) Lewis & Linzer's sigma^2 before it is floored, from regressions with equal weights; sampling (R, J)."""
    return np.asarray(np.sum(solved.residual**2 - (1.0 - solved.leverage) * sampling, axis=1) / solved.df)


def inverse_weights(able: BoolArray, variance: FloatArray) -> FloatArray:
    """(R, J) inverse variances of the clusters that are used, zero for others."""
    return np.divide(1.0, variance, out=np.zeros_like(variance), where=able)


def explain_plainly(targets: Targets, method: str, kind: str, which: IntArray, out: Explained) -> None:
    """Second steps without covariates; an adjusted one without is that with the weights of its kind."""
    sampling = targets.sampling[0, 0]
    solved = least_squares(targets.y, targets.context, targets.able.astype(np.float64))
    raw = beyond_sampling(solved, sampling)
    if method not in ("ols", "adjusted"):
        more = np.zeros(len(raw)) if method == "wls" else np.maximum(raw, 0.0)
        solved = least_squares(targets.y, targets.context, inverse_weights(targets.able, sampling + more[:, None]))
    out.put(which, solved, drawn_variance(solved, len(targets.context), kind), raw)


@dataclass(frozen=True, kw_only=True, eq=False)
class Components:
    """Principal components of the covariates relative to sampling, the largest first, in R replications.

    Attributes
    ----------
    deviations : (m, R, J) covariates less their means.
    average : (1 + m, 1 + m, R) mean of Omega, of the target and the covariates.
    weights, loadings : (m, m, R) B and Obar B.
    values, kept : (m, R) lambda, and (R,) how many are kept.
    """

    deviations: FloatArray = field(repr=False)
    average: FloatArray = field(repr=False)
    weights: FloatArray = field(repr=False)
    loadings: FloatArray = field(repr=False)
    values: FloatArray = field(repr=False)
    kept: IntArray = field(repr=False)

    def some(self, which: IntArray) -> "Components":
        """Those of some replications."""
        return Components(
            deviations=self.deviations[:, which], average=self.average[..., which], weights=self.weights[..., which],
            loadings=self.loadings[..., which], values=self.values[..., which], kept=self.kept[which],
        )  # fmt: skip


def find_components(targets: Targets, *, chosen: bool) -> Components:
    """Components, and how many of them vary more than sampling; none where sampling covariances are singular."""
    n, k, m = targets.n, len(targets.context), len(targets.covariates)
    average = targets.sampling.sum(axis=3) / n
    mean = targets.covariates.sum(axis=2) / n
    deviations = np.where(targets.able, targets.covariates - mean[:, :, None], 0.0)
    size = np.sqrt(np.einsum("iir->ir", average[1:, 1:]))
    lower = cholesky(average[1:, 1:] / (size[:, None] * size))
    upper = inverse_lower(lower).transpose(1, 0, 2)
    whitened = times(upper.transpose(1, 0, 2)[..., None], deviations / size[:, :, None])
    spread = np.einsum("irj,krj->rik", whitened, whitened) / (n - 1.0)[:, None, None]
    known = np.all(np.isfinite(spread), axis=(1, 2))
    values, vectors = np.linalg.eigh(np.where(known[:, None, None], spread, np.eye(m)))
    values, vectors = values[:, ::-1].T, vectors[:, :, ::-1].transpose(1, 2, 0)
    edge = (1.0 + np.sqrt(m / (n - 1.0))) ** 2 if chosen else np.ones(len(n))
    most = np.minimum((n - k - 1) // 2, m) if chosen else np.full(len(n), m)
    return Components(
        deviations=deviations, average=average, values=values,
        weights=np.einsum("iar,acr->icr", upper, vectors) / size[:, None],
        loadings=np.einsum("iar,acr->icr", lower, vectors) * size[:, None],
        kept=np.maximum(np.minimum(np.count_nonzero(values > edge, axis=0), most), 0),
    )  # fmt: skip


def explain_equally(
    targets: Targets, components: Components, kept: int | None, kind: str, which: IntArray, out: Explained
) -> None:
    """Clusters weighed equally ("adjusted"): OLS on the kept components, or on all covariates (None)."""
    n, k, m = targets.n, len(targets.context), len(targets.covariates)
    deviations, average = components.deviations, components.average
    known: FloatArray = np.zeros((m, len(n)))
    turn: FloatArray = np.broadcast_to(np.eye(m)[:, :, None], (m, m, len(n)))
    if kept is not None:
        known, turn = times(inverse(average[1:, 1:]), average[1:, 0]), components.weights[:, :kept]
    y = targets.y - np.sum(known[:, :, None] * deviations, axis=0)
    more = times(turn.transpose(1, 0, 2)[..., None], deviations) if turn.shape[1] else deviations[:0]
    solved = least_squares(y, np.concatenate([targets.context, more]), targets.able.astype(np.float64))
    # what the error of the covariates' means does to gamma
    delta = known + np.sum(turn * solved.coefficients[k:], axis=1)
    spread = np.sum(np.sum(delta[:, :, None] * deviations, axis=0) ** 2, axis=1)
    whole = np.stack([solved.influence(i).sum(axis=1) for i in range(k)])
    variance = drawn_variance(solved, k, kind) + whole**2 * spread / (n * (n - 1.0))
    out.put(which, solved, variance, np.nan)


def explain_shrunk(
    targets: Targets, components: Components, kept: int, kind: str, which: IntArray, out: Explained
) -> None:
    """Covariates shrunk and clusters weighed ("adjusted-fgls")."""
    n, k, m = targets.n, len(targets.context), len(targets.covariates)
    able, own, shared = targets.able, targets.sampling[0, 0], targets.sampling[1:, 0]
    root = components.loadings[:, :kept] * np.sqrt(np.maximum(components.values[:kept] - 1.0, 0.0))
    psi = np.einsum("icr,acr->iar", root, root)
    # V_j^-1, of clusters that are used
    v = psi[..., None] + np.where(able, targets.sampling[1:, 1:], np.eye(m)[:, :, None, None])
    precision = np.where(able, inverse(v), 0.0)
    total = inverse(precision.sum(axis=3))
    mean = times(total, times(precision, targets.covariates).sum(axis=2))
    turned = times(precision, targets.covariates - mean[:, :, None])
    y = targets.y - np.sum(shared * turned, axis=0)
    regressors = np.concatenate([targets.context, np.einsum("icr,irj->crj", root, turned)])
    # tau^2 and the weights, from OLS
    plain = least_squares(y, regressors, able.astype(np.float64))
    delta = plain.coefficients[k:]
    together = shared + np.einsum("icr,cr->ir", root, delta)[:, :, None]
    kappa = own + np.sum(delta**2, axis=0)[:, None] - np.sum(together * times(precision, together), axis=0)
    kappa = np.where(able, np.maximum(kappa, own * LEAST), 0.0)
    raw = beyond_sampling(plain, kappa)
    solved = least_squares(y, regressors, inverse_weights(able, np.maximum(raw, 0.0)[:, None] + kappa))
    # what the error of mu does to gamma
    together = shared + np.einsum("icr,cr->ir", root, solved.coefficients[k:])[:, :, None]
    slopes = times(precision, together)
    carried = np.stack([np.sum(solved.influence(i) * slopes, axis=2) for i in range(k)])
    spread = np.sum(np.einsum("iar,arj->irj", np.einsum("icr,car->iar", carried, total), turned) ** 2, axis=2)
    variance = drawn_variance(solved, k, kind) + spread * n / (n - 1.0)
    out.put(which, solved, variance, raw)
