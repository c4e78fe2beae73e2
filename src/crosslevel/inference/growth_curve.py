"""Tests of context effects that charge for the other varying coefficients: the growth-curve method.

A model whose coefficients vary together estimates a context effect more precisely than regressing the clusters' own
coefficients would, because it takes the target's random effect as given the other, correlated ones. With few clusters
that adjustment is itself estimated. In the limit of large clusters, whose coefficients are known, the model of a target
b0 = W gamma + u0 with r columns W and of s other coefficients B = 1 mu' + U, whose equations lack the context variable,
is the growth-curve model: given B,

    b0 = W gamma + (B - 1 mu') delta + e,

an ordinary regression on r + s columns, with J - r - s degrees of freedom. REML's standard error has the residual sum
of squares over m = J - r, not m - s, and (W'W)^-1 in place of that part of the inverse of [W B]'[W B]; the ratio of the
two, for context variables that do not depend on U, is on average (m - 1) / (m - s - 1). Hence

    t(m - s),    squared standard error times f(s) = m / (m - s) (m - 1) / (m - s - 1).

To first order f is 1 + 2 s / m. Kenward and Roger's inflation of the variance is the first-order one in every model,
1 + 2 lambda, so that m lambda is s in the limit, for every combination c'beta: nothing for a mean at the average of the
context variables, where no adjustment is made. Covariances can only be spent as far as there is room for them: a
coefficient that hardly varies cannot take up much of the target's. With rho_i the reliabilities of the principal
components of the other coefficients, eigenvalues of Psi_oo relative to (Pbar^-1)_oo, Pbar the mean of Z'V^-1 Z over
clusters, the information on a covariance is m rho_i relative to the room 1 - rho_i it lacks, and

    s = min(m lambda, sum_i rho_i / (rho_i + (1 - rho_i) / m)).

With s = 0 the method is m-l-1.

Source: Rao (1965), Biometrika 52: 447-458; Grizzle & Allen (1969), Biometrics 25: 357-381; Khatri (1966), Ann. Inst.
Stat. Math. 18: 75-86, for the growth-curve model; Kenward & Roger (1997), Biometrics 53: 983-997, for lambda. The
bound by reliabilities and the coverage of the result: docs/inference.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crosslevel.design import Design, equations
from crosslevel.design.levels import Equation
from crosslevel.errors import CrosslevelError
from crosslevel.inference.df_method import DfMethod
from crosslevel.inference.estimates import Estimates, Joint, Single, wald_f
from crosslevel.inference.kenward_roger import adjustment
from crosslevel.inference.sensitivity import engine_state
from crosslevel.types import FloatArray, IntArray

NOT_VARYING = 1e-10
"""Reliability of a component that counts as none."""


@dataclass(frozen=True)
class GrowthCurve(DfMethod):
    """t tests with m - s degrees of freedom, s the number of coefficients that the target is adjusted for.

    Attributes
    ----------
    name, description : see `DfMethod`.
    counted : the method that counts m; standard errors are multiplied by the root of f(s).
    """

    name: str
    description: str
    counted: DfMethod

    def single(self, estimates: Estimates, contrasts: FloatArray) -> Single:
        """Standard errors sqrt(C V C' f(s)) and m - s degrees of freedom."""
        plain = self.counted.single(estimates, contrasts)
        s = spent(estimates, contrasts, plain.df)
        return Single(std_error=plain.std_error * np.sqrt(inflation(plain.df, s)), df=remaining(plain.df, s))

    def joint(self, estimates: Estimates, contrasts: FloatArray) -> Joint:
        """F with each axis of C V C' inflated by its own f(s), and the fewest degrees of freedom of an axis.

        The axes are those in which both V and Kenward and Roger's covariance are diagonal, so that F does not depend on
        how the hypothesis is written.
        """
        contrasts = _axes(estimates, contrasts)
        single = self.single(estimates, contrasts)
        df = float(np.min(single.df))
        if np.isnan(df):
            return Joint(statistic=np.nan, df_num=float(len(contrasts)), df_den=np.nan, p_value=np.nan)
        return wald_f(contrasts @ estimates.beta, np.diag(single.std_error**2), df)


def inflation(m: FloatArray, s: FloatArray) -> FloatArray:
    """f(s) = m / (m - s) (m - 1) / (m - s - 1); NaN where no degrees of freedom are left for it."""
    with np.errstate(invalid="ignore", divide="ignore"):
        out = m / (m - s) * ((m - 1.0) / (m - s - 1.0))
    return np.asarray(np.where(s == 0.0, 1.0, np.where(m - s > 1.0, out, np.nan)))


def remaining(m: FloatArray, s: FloatArray) -> FloatArray:
    """Degrees of freedom m - s; NaN where not more than one is left of those that were spent."""
    return np.asarray(np.where((s == 0.0) | (m - s > 1.0), m - s, np.nan))


def spent(estimates: Estimates, contrasts: FloatArray, m: FloatArray) -> FloatArray:
    """Degrees of freedom s (n,) that the adjustments for other coefficients take from each row of C (n, p).

    Raises
    ------
    CrosslevelError : the model has coefficients to adjust for, and Kenward and Roger's inflation is not defined for it.
    """
    room = available(estimates, contrasts, m)
    out = np.zeros(len(contrasts))
    some = (room > 0.0) & np.isfinite(m)
    if np.any(some):
        out[some] = np.minimum(m[some] * first_order(estimates, contrasts[some]), room[some])
    return np.maximum(out, 0.0)


def first_order(estimates: Estimates, contrasts: FloatArray) -> FloatArray:
    """Lambda (n,): half of Kenward and Roger's relative inflation of the variance of each row of C (n, p)."""
    _check_defined(estimates)
    adjusted = np.einsum("ij,jk,ik->i", contrasts, estimates.once(adjustment).vcov, contrasts)
    return np.asarray(0.5 * (adjusted / estimates.std_error(contrasts) ** 2 - 1.0))


def _check_defined(estimates: Estimates) -> None:
    """Refuse models in which the inflation is not defined.

    Raises
    ------
    CrosslevelError : with the reason.
    """
    reasons = {
        "weights were those of a sample": estimates.design.is_sampled,
        'the variances were estimated by method="ml"': not estimates.reml,
        "the algebra is iterative": estimates.solution.iterative is not None,
        "the residual structure has parameters": len(estimates.solution.phi) > 0,
    }
    for reason, holds in reasons.items():
        if holds:
            raise CrosslevelError(
                "growth-curve needs Kenward and Roger's inflation for coefficients that vary together, and that is not "
                f'defined here, since {reason}. Write ddf="m-l-1", and trust a bootstrap more if clusters are few.'
            )


def available(estimates: Estimates, contrasts: FloatArray, m: FloatArray) -> FloatArray:
    """The most degrees of freedom (n,) that adjustments can take from each row of C: sums over reliabilities.

    A row that combines several equations has the largest of theirs.
    """
    out = np.zeros(len(contrasts))
    found = equations(estimates.design)
    regressors = [_regressors(estimates.design, each, i) for i, each in enumerate(found)]
    reliabilities: dict[tuple[int, tuple[int, ...]], FloatArray] = {}
    for row, contrast in enumerate(contrasts):
        for k, others in _adjusted_for(estimates.design, found, regressors, np.flatnonzero(contrast)):
            key = (k, tuple(int(e) for e in others))
            if key not in reliabilities:
                reliabilities[key] = component_reliabilities(estimates, k, others)
            rho = reliabilities[key]
            rho = rho[rho > NOT_VARYING]
            out[row] = max(out[row], float(np.sum(rho / (rho + (1.0 - rho) / m[row]))))
    return out


def component_reliabilities(estimates: Estimates, k: int, effects: IntArray) -> FloatArray:
    """Reliabilities of the principal components of some random effects of factor k: of Psi_oo over (Pbar^-1)_oo."""
    solution = estimates.solution
    state = engine_state(solution)
    engine = getattr(solution.minimum.state, "engine", solution.criterion)
    basis, working = solution.criterion.bases[k], state.factors[k]
    mean = engine.psi_slopes(state).sums[k] / estimates.design.factors[k].n_levels
    total = np.linalg.inv(basis.T @ mean @ basis)[np.ix_(effects, effects)]
    own = np.linalg.solve(basis, working)[effects]
    half = np.linalg.solve(np.linalg.cholesky(total), own)
    return np.asarray(np.clip(np.linalg.svd(half, compute_uv=False) ** 2, 0.0, 1.0))


def adjustments(design: Design) -> tuple[IntArray, ...]:
    """For each coefficient of a model with one grouping factor, the random effects that it is adjusted for."""
    found = equations(design)
    regressors = [_regressors(design, each, i) for i, each in enumerate(found)]
    none = np.zeros(0, dtype=np.int64)
    each = (list(_adjusted_for(design, found, regressors, np.array([i]))) for i in range(len(found)))
    return tuple(some[0][1] if some else none for some in each)


def _adjusted_for(
    design: Design, found: list[Equation | None], regressors: list[frozenset[str]], columns: IntArray
) -> Iterator[tuple[int, IntArray]]:
    """For each equation of some coefficients, its factor and the effects that its own one is adjusted for.

    These are correlated with it, and their equations lack one of its variables.
    """
    explained: dict[tuple[int, int], set[frozenset[str]]] = {}
    for i, each in enumerate(found):
        if each is not None:
            explained.setdefault((each.factor, _position(design, each)), set()).add(regressors[i])
    chosen = [each for each in (found[i] for i in columns) if each is not None]
    for k, effect in dict.fromkeys((each.factor, _position(design, each)) for each in chosen):
        if effect < 0:  # the equation has no random effect
            continue
        correlated = np.flatnonzero(design.factors[k].structure.mask[effect])
        variables = explained[k, effect]
        others = [o for o in correlated if o != effect and variables - explained.get((k, int(o)), set())]
        if others:
            yield k, np.array(others, dtype=np.int64)


def _position(design: Design, equation: Equation) -> int:
    """Position among its factor's random effects of the coefficient that an equation explains, -1 if it is fixed."""
    if equation.effect is not None:
        return equation.effect
    own = np.flatnonzero(design.factors[equation.factor].z == design.constant)
    return int(own[0]) if len(own) and design.constant >= 0 else -1


def _regressors(design: Design, equation: Equation | None, i: int) -> frozenset[str]:
    """Names of what the i-th fixed column multiplies the coefficient of its equation by; none for its mean."""
    if equation is None:
        return frozenset()
    factors = frozenset(design.spec.columns[design.x[i]].factors)
    if equation.effect is None:
        return factors
    own = design.factors[equation.factor].z[equation.effect]
    return factors - frozenset(design.spec.columns[own].factors)


def _axes(estimates: Estimates, contrasts: FloatArray) -> FloatArray:
    """Combinations (r, p) of the rows of C that are uncorrelated, under V and as Kenward and Roger adjust it."""
    root = np.linalg.cholesky(contrasts @ estimates.vcov @ contrasts.T)
    whitened = np.linalg.solve(root, contrasts)
    if not np.any(available(estimates, contrasts, np.full(len(contrasts), np.inf)) > 0.0):
        return np.asarray(whitened)
    _check_defined(estimates)
    _, turn = np.linalg.eigh(whitened @ estimates.once(adjustment).vcov @ whitened.T)
    return np.asarray(turn.T @ whitened)
