"""Context-focused selection: the structure that estimates the context effects most precisely.

Step 1, which slopes vary, is left to BIC (clusters): that is a question of fit, and what does not vary gives nothing.
Step 2, which of them are correlated with the context effect's own, is where precision is won or lost, and where BIC
charges too much: it is decided by the estimated mean squared error. See `inference.focus` for the numbers and
docs/selection.md for how it does.
"""

from dataclasses import dataclass

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.inference.focus import Components, FocusedError, gls_covariance
from crosslevel.inference.growth_curve import inflation, spent
from crosslevel.selection.criteria import BIC_CLUSTERS, Criterion, Judge, Score
from crosslevel.selection.search import Candidate, Search
from crosslevel.selection.targets import target_effects
from crosslevel.types import FloatArray


class FocusJudge(Judge):
    """Compares candidates by the mean squared errors of the context effects.

    Attributes
    ----------
    search : whose candidates.
    score, slopes : see `Judge`.
    """

    def __init__(self, search: Search, slopes: Judge) -> None:
        super().__init__(self._score, slopes)
        self.search = search
        self._errors: dict[Candidate, tuple[FocusedError, ...]] = {}

    def errors(self, candidate: Candidate) -> tuple[FocusedError, ...]:
        """Errors of each context effect; NaN where no degrees of freedom are left."""
        if candidate not in self._errors:
            self._errors[candidate] = self.estimated_errors(candidate)
        return self._errors[candidate]

    def estimated_errors(self, candidate: Candidate) -> tuple[FocusedError, ...]:
        """The same, computed."""
        return focused_errors(self.search, candidate)

    def columns(self, candidate: Candidate) -> dict[str, float]:
        """Focused error, bias and variance of each context effect, by name of the column."""
        names = self.search.design.fixed_names
        out: dict[str, float] = {}
        for i, error in zip(self.search.context, self.errors(candidate), strict=True):
            out |= {
                f"{names[i]} focus_mse": error.mse,
                f"{names[i]} focus_bias": error.bias,
                f"{names[i]} focus_variance": error.variance,
            }
        return out

    def _score(self, candidate: Candidate) -> float:
        """Mean over context effects of the mean squared error relative to the maximal model's variance."""
        mse = np.array([error.mse for error in self.errors(candidate)])
        return float(np.mean(mse / np.diag(self.search.maximal.solution.vcov)[list(self.search.context)]))


def focused_errors(search: Search, candidate: Candidate) -> tuple[FocusedError, ...]:
    """Errors of each context effect in a candidate, if the maximal model's covariance is taken for true."""
    maximal, places = search.maximal, list(search.context)
    truth = Components(factor=maximal.solution.factors[0], sigma=maximal.solution.sigma)
    used = Components(factor=whole_factor(search, candidate), sigma=candidate.solution.sigma)
    variance = np.diag(gls_covariance(maximal.design.reduced, used, truth))[places]
    bias = (candidate.beta - maximal.solution.beta)[places]
    least = np.diag(maximal.solution.vcov)[places]
    price = inflation(search.df, spent(candidate.estimates, _contrasts(search), search.df))
    return tuple(
        FocusedError(bias=float(b), bias_variance=max(0.0, float(v - w)), variance=float(v * f))
        for b, v, w, f in zip(bias, variance, least, price, strict=True)
    )


def whole_factor(search: Search, candidate: Candidate) -> FloatArray:
    """Lambda (q, r) of a candidate, with rows of zeros for effects of the maximal model that do not vary in it."""
    own = candidate.solution.factors[0]
    out = np.zeros((len(search.effects), own.shape[1]))
    out[candidate.part.effects] = own
    return out


def _contrasts(search: Search) -> FloatArray:
    """Rows (m, p) that pick the context effects."""
    return np.asarray(np.eye(len(search.maximal.solution.beta))[list(search.context)])


@dataclass(frozen=True)
class Focus(Criterion):
    """Mean squared error of the context effects, estimated from the maximal model's covariance.

    Attributes
    ----------
    name, title, description : see `Criterion`.
    correlations : see `Criterion`: structures that differ in what a context effect's own is correlated with.
    """

    name: str = "focus"
    title: str = "focused error"
    description: str = (
        "the estimated mean squared error of the context effects (their variance if the covariance of the maximal "
        "model is true, times the price of the variances that the model estimates, plus their squared bias against "
        "the maximal model), relative to their variance in the maximal model"
    )
    correlations: str = "target"

    @property
    def slopes(self) -> Criterion:
        """BIC by clusters: which slopes vary is a question of fit."""
        return BIC_CLUSTERS

    def prepare(self, search: Search) -> Score:
        """The score of `judge`."""
        return self.judge(search).score

    def judge(self, search: Search) -> Judge:
        """What compares candidates of a search.

        Raises
        ------
        CrosslevelError : the error is not defined for this model.
        """
        check_focus(search)
        return FocusJudge(search, self.slopes.judge(search))


def check_focus(search: Search) -> None:
    """Refuse models for which focused errors are not defined.

    Raises
    ------
    CrosslevelError : with the reason.
    """
    design = search.design
    reasons = {
        "the model has another family than the normal one": not search.is_linear,
        "the variances are estimated by method='ml'; use method='reml'": not search.reml,
        "there are several grouping factors": not design.is_single,
        "residuals have a structure": design.residual is not None,
    }
    for reason, holds in reasons.items():
        if holds:
            raise CrosslevelError(
                f"`criterion` looks at the precision of context effects, which is not worked out here, since {reason}. "
                "Choose a criterion of fit, such as 'bic' or 'aic'."
            )
    target_effects(search)
