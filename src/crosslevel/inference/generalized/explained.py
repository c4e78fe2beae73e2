"""Shares of variance of generalized linear mixed models, on the scale of the linear predictor and of the outcome.

Linear predictor (latent scale), at the average of the rows as in linear models,

    beta' Phi beta  +  sum_k tr(M_k Psi_k)  +  variance of one answer (`row_variance.latent_variance`).

Outcome, by the law of total variance, exactly: with mu the expected answer given the random effects b, and rows i as
they are in the data,

    Var(y) = Var_i(E_b mu_i)  +  E_i Var_b(mu_i)  +  E_i E_b Var(y | mu_i)
             fixed part          random effects      one answer.

With several grouping factors the part of factor k is E_i Var(E[mu_i | b_k]); effects of factors do not add up on a
curved scale, and what they have together beyond the sum of their parts has a line of its own. Random effects of which
every row has its own are overdispersion: on both scales they belong to one answer, as in the source.

Source: Nakagawa, Johnson & Schielzeth (2017), J. R. Soc. Interface 14: 20170213 (latent); Goldstein, Browne & Rasbash
(2002), Underst. Stat. 1: 223-231, and de Villemereuil, Schielzeth, Nakagawa & Morrissey (2016), Genetics 204: 1281-1294
(outcome).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crosslevel.display import Column, Document, Note, Row, Table
from crosslevel.inference.generalized.integrals import averaged, shared_moment
from crosslevel.inference.generalized.predictive import Predictive
from crosslevel.inference.generalized.row_variance import LatentVariance, QuadraticVariance
from crosslevel.inference.icc import IntraclassCorrelation, intraclass_correlation
from crosslevel.types import FloatArray

TOGETHER = "Together"
"""What the random effects of several factors have in common beyond the sum of their parts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A part of the variance.

    Attributes
    ----------
    value : of it.
    gradient : (K,) its derivative in all parameters.
    """

    value: float
    gradient: FloatArray = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class SharesOfVariance:
    """Where the variance of an outcome comes from, on one scale.

    Attributes
    ----------
    scale : "latent" (the linear predictor's) or "response" (the outcome's).
    fixed : part of the fixed effects.
    random : parts of the random effects, by grouping factor; on the outcome's scale also "Together" if several.
    residual : part of one answer given everything.
    vcov : (K, K) covariance of the parameters.
    level : confidence level.
    words : what the residual part is.
    """

    scale: str
    fixed: Part = field(repr=False)
    random: Mapping[str, Part] = field(repr=False)
    residual: Part = field(repr=False)
    vcov: FloatArray = field(repr=False)
    level: float
    words: str

    @property
    def marginal(self) -> float:
        """Share of the fixed part."""
        return self.share(["Fixed"]).estimate

    @property
    def conditional(self) -> float:
        """Share of the fixed part and the random effects."""
        return self.share(["Fixed", *self.random]).estimate

    @property
    def parts(self) -> dict[str, Part]:
        """All parts by source."""
        return {"Fixed": self.fixed, **self.random, "Residual": self.residual}

    @property
    def shares(self) -> pd.DataFrame:
        """Variance and share by source, "Fixed" first, "Residual" last: variance, share, std_error, interval."""
        records = {}
        for name, part in self.parts.items():
            own = self.share([name])
            records[name] = (part.value, own.estimate, own.std_error, own.conf_low, own.conf_high)
        columns = ["variance", "share", "std_error", "conf_low", "conf_high"]
        return pd.DataFrame.from_dict(records, orient="index", columns=columns).rename_axis("source")

    @property
    def frame(self) -> pd.DataFrame:
        """Marginal and conditional R2 by measure: r2, std_error, conf_low, conf_high."""
        found = {"marginal": self.share(["Fixed"]), "conditional": self.share(["Fixed", *self.random])}
        records = {name: (own.estimate, own.std_error, own.conf_low, own.conf_high) for name, own in found.items()}
        columns = ["r2", "std_error", "conf_low", "conf_high"]
        return pd.DataFrame.from_dict(records, orient="index", columns=columns).rename_axis("measure")

    def share(self, chosen: Iterable[str], of: Iterable[str] | None = None) -> IntraclassCorrelation:
        """Share of some sources in the sum of others, by the delta method, with an interval on the logit scale.

        Parameters
        ----------
        chosen : sources.
        of : those whose sum it is a share of, `chosen` included; all if None.
        """
        parts, inside = self.parts, tuple(chosen)
        rest = [part for name, part in parts.items() if name not in inside and (of is None or name in tuple(of))]
        tau, other = sum_of([parts[name] for name in inside]), sum_of(rest)
        return intraclass_correlation(
            tau.value,
            other.value,
            tau_se=self._std_error(tau),
            sigma2_se=self._std_error(other),
            covariance=float(tau.gradient @ self.vcov @ other.gradient),
            level=self.level,
        )

    def _std_error(self, part: "Part") -> float:
        """Standard error of a sum of parts."""
        return float(np.sqrt(np.maximum(part.gradient @ self.vcov @ part.gradient, 0.0)))

    def document(self) -> Document:
        """The shares as a table."""
        names = {"Fixed": "Fixed effects", "Residual": "One answer", TOGETHER: "Random effects together"}
        rows: list[Row] = []
        for name, part in self.parts.items():
            own = self.share([name])
            label = names.get(name, f"Random effects of {name}")
            rows.append((label, part.value, own.estimate, own.conf_low, own.conf_high))
        fixed, both = self.share(["Fixed"]), self.share(["Fixed", *self.random])
        rows.append(("Marginal R²: fixed effects", None, fixed.estimate, fixed.conf_low, fixed.conf_high))
        rows.append(("Conditional R²: and random effects", None, both.estimate, both.conf_low, both.conf_high))
        share = f"{self.level:.0%}"
        columns: list[str | Column] = [
            "Source", Column("Variance", format="number"), Column("Share", format="fixed"),
            Column(f"{share} low", format="fixed"), Column("high", format="fixed"),
        ]  # fmt: skip
        scale = "the linear predictor" if self.scale == "latent" else "the outcome"
        note = Note(f"One answer: {self.words}.")
        return Document(f"Shares of variance on the scale of {scale}", [Table(columns, rows), note])

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.document()._repr_html_()


def sum_of(parts: Iterable[Part]) -> Part:
    """Sum of parts."""
    found = list(parts)
    return Part(value=sum(part.value for part in found), gradient=np.sum([part.gradient for part in found], axis=0))


def latent_parts(
    estimates: Predictive,
    covariance: FloatArray,
    moments: Mapping[str, FloatArray],
    alone: Sequence[bool],
    mean: Part,
    latent: LatentVariance,
) -> tuple[Part, dict[str, Part], Part]:
    """Parts on the scale of the linear predictor: fixed, by grouping factor, and of one answer.

    Parameters
    ----------
    estimates : of the model.
    covariance : (p, p) of the fixed columns over rows.
    moments : for each grouping factor (q, q) the mean of z z' over rows.
    alone : for each factor whether every row has a level of its own.
    mean : the mean outcome, at which the variance of one answer was taken.
    latent : that variance.
    """
    beta, none = estimates.beta, [np.zeros_like(psi) for psi in estimates.psi]
    fixed = Part(value=float(beta @ covariance @ beta), gradient=estimates.gradient(2.0 * covariance @ beta, none))
    random = {}
    for k, (name, own) in enumerate(moments.items()):
        by_psi = [own if j == k else np.zeros_like(psi) for j, psi in enumerate(estimates.psi)]
        random[name] = Part(
            value=float(np.sum(own * estimates.psi[k])), gradient=estimates.gradient(np.zeros_like(beta), by_psi)
        )
    gradient = latent.by_mean * mean.gradient
    if len(estimates.shape) and latent.by_shape:
        gradient[-len(estimates.shape)] += latent.by_shape
    answer = Part(value=latent.value, gradient=gradient)
    rows = [name for name, each in zip(random, alone, strict=True) if each]
    residual = sum_of([answer, *(random[name] for name in rows)])
    return fixed, {name: part for name, part in random.items() if name not in rows}, residual


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedRows:
    """Some rows, as their expected answers need them.

    Attributes
    ----------
    x : (p, L) fixed columns.
    z : for each grouping factor (q, L).
    shares : for each factor (L,) the sum of squared shares of the levels of a row; None where each has one.
    alone : for each factor whether every row has a level of its own.
    offset, weights : (L,) known part of the linear predictor, and what rows count.
    """

    x: FloatArray
    z: tuple[FloatArray, ...]
    shares: tuple[FloatArray | None, ...]
    alone: tuple[bool, ...]
    offset: FloatArray
    weights: FloatArray


def outcome_sums(estimates: Predictive, rows: PredictedRows) -> FloatArray:
    """Sums over rows that the parts on the scale of the outcome are made of, and their derivatives.

    Returns
    -------
    (4 + factors, 1 + K) : of the population's mean mu_i = E_b mu, of its square, of E_b mu^2, of E[mu | effects of
    clusters]^2, and for each factor that has clusters of E[mu | b_k]^2; each with its derivatives in all parameters.
    """
    curve, mean = estimates.curve, estimates.beta @ rows.x + rows.offset
    own = [
        np.einsum("al,ab,bl->l", part, psi, part) * (1.0 if share is None else share)
        for part, psi, share in zip(rows.z, estimates.psi, rows.shares, strict=True)
    ]
    spread = np.sum(own, axis=0) if own else np.zeros_like(mean)
    level, slope, bend = averaged(curve, mean, spread, 3)

    def shared(chosen: Sequence[int]) -> FloatArray:
        """Sums of the mean product of two answers that share the random effects of some factors."""
        common = np.sum([own[k] for k in chosen], axis=0) if chosen else np.zeros_like(mean)
        found = shared_moment(curve, mean, common, spread - common)
        by_variance = [found.by_shared if k in chosen else found.by_rest for k in range(len(own))]
        return _summed(estimates, rows, found.value, found.by_mean, by_variance)

    everything, clusters = range(len(own)), [k for k, alone in enumerate(rows.alone) if not alone]
    whole = shared(everything)
    common = whole if len(clusters) == len(own) else shared(clusters)
    single = [common] if len(clusters) == 1 else [shared([k]) for k in clusters]
    return np.array([
        _summed(estimates, rows, level, slope, [0.5 * bend] * len(own)),
        _summed(estimates, rows, level**2, 2.0 * level * slope, [level * bend] * len(own)),
        whole,
        common,
        *single,
    ])  # fmt: skip


def _summed(
    estimates: Predictive,
    rows: PredictedRows,
    value: FloatArray,
    by_mean: FloatArray,
    by_variance: Sequence[FloatArray],
) -> FloatArray:
    """Sum (1 + K,) over rows of one quantity, with its derivatives by those in m and in each factor's variance."""
    by_psi = [
        np.einsum("l,al,bl->ab", rows.weights * own * (1.0 if share is None else share), part, part)
        for own, part, share in zip(by_variance, rows.z, rows.shares, strict=True)
    ]
    gradient = estimates.gradient(rows.x @ (rows.weights * by_mean), by_psi)
    return np.append(float(rows.weights @ value), gradient)


def outcome_parts(
    estimates: Predictive, variance: QuadraticVariance, names: Sequence[str], means: FloatArray
) -> tuple[Part, dict[str, Part], Part]:
    """Parts on the scale of the outcome: fixed, by grouping factor, and of one answer.

    Parameters
    ----------
    estimates : of the model.
    variance : of one answer.
    names : of the grouping factors that have clusters.
    means : (4 + factors, 1 + K) what `outcome_sums` has, divided by the sum of the weights.
    """
    mean, square, whole, common, *single = means
    squared = np.append(mean[0] ** 2, 2.0 * mean[0] * mean[1:])
    random = {name: own - square for name, own in zip(names, single, strict=True)}
    if len(random) > 1:
        random[TOGETHER] = common - square - np.sum(list(random.values()), axis=0)
    residual = whole - common + variance.linear * mean + variance.square * whole
    if len(estimates.shape):
        residual[-len(estimates.shape) :] += variance.linear_slope * mean[0] + variance.square_slope * whole[0]
    return _part(square - squared), {name: _part(row) for name, row in random.items()}, _part(residual)


def _part(row: FloatArray) -> Part:
    """A part from [value, gradient]."""
    return Part(value=float(row[0]), gradient=row[1:])
