"""Likelihood-ratio tests of variance components, for a batch of replications at once.

The statistic is the difference of the (restricted) deviances without and with one random effect and its covariances
with r others. Its reference is the mixture 0.5 chi2(r) + 0.5 chi2(r + 1) (Self & Liang 1987; Stram & Lee 1994), so that
whether it exceeds the critical value of the mixture is all that has to be known of a replication.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import brentq

from crosslevel.design.submodel import with_effects
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.random_tests import terms_of
from crosslevel.inference.lrt import mixture, mixture_tail
from crosslevel.inference.removal import removal
from crosslevel.simulation.estimators.mixed import MixedPrepared
from crosslevel.simulation.estimators.mixed_batch import MixedBatch
from crosslevel.simulation.processes.drawn import Drawn
from crosslevel.simulation.processes.model import Model
from crosslevel.types import BoolArray, FloatArray, IntArray

MOST = 200.0
"""Beyond every critical value that is asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ComponentTest:
    """The test of one random effect.

    Attributes
    ----------
    effect : its name.
    smaller : the model without it; None where that has no random effects.
    critical : value of the statistic from which on the variance differs from zero.
    """

    effect: str
    smaller: Model | None = field(repr=False)
    critical: float

    @classmethod
    def of(cls, model: Model, effect: str, *, level: float) -> "ComponentTest":
        """Prepare the test of an effect.

        Raises
        ------
        CrosslevelError : its variance is not tested by itself.
        """
        design = model.template
        place = design.random_names.index(effect)
        tested = [term for term in terms_of(design) if term.effects == (place,)]
        if not tested:
            names = [design.random_names[term.effects[0]] for term in terms_of(design) if len(term.effects) == 1]
            raise CrosslevelError(
                f"`target` is the variance of {effect!r}, which cannot be tested by itself: it depends on where the "
                "variables of the slopes beside it have their zero, or its structure ties it to others. Tested can be "
                f"the variances of: {', '.join(names) or 'none'}."
            )
        kept = tested[0].kept(design)
        what = removal((design.structure,), kept)
        own, _ = mixture(what.blocks)
        weights = np.concatenate([np.zeros(what.free), own])
        critical = brentq(lambda value: mixture_tail(weights, value) - (1.0 - level), 1e-9, MOST)
        smaller = replace(model, template=with_effects(design, kept)) if any(kept) else None
        return cls(effect=effect, smaller=smaller, critical=float(critical))

    def rejected(self, drawn: Drawn, batch: MixedBatch, mixed: MixedPrepared) -> tuple[BoolArray, BoolArray]:
        """(R,) whether each replication finds that the variance is not zero, and whether it could be tested.

        Parameters
        ----------
        drawn : data.
        batch : fits of the larger model.
        mixed : what fitted it.
        """
        if self.smaller is None:
            columns = drawn.places([*mixed.model.fixed_names, mixed.model.response])
            without, tested = deviance_without(drawn, columns, reml=mixed.reml), batch.fitted
        else:
            small = replace(mixed, model=self.smaller, terms=()).batch(drawn)
            without, tested = small.deviance, batch.fitted & small.fitted
        return np.asarray(tested & (without - batch.deviance > self.critical)), tested


def deviance_without(drawn: Drawn, columns: IntArray, *, reml: bool) -> FloatArray:
    """(R,) deviance of the regression without random effects.

    d = [log|X'X|] + nu (1 + log(2 pi rss / nu)), nu = n - p (REML) or n (ML); [] REML only.

    Parameters
    ----------
    drawn : data.
    columns : (p + 1,) positions of the fixed columns, and of the outcome.
    reml : restricted rather than full likelihood.
    """
    mean = drawn.mean[:, :, columns]
    within = drawn.scatter[:, :, columns[:, None], columns].sum(axis=1)
    gram = within + np.einsum("rg,rgi,rgj->rij", drawn.count, mean, mean)
    # columns of length 1, so that no unit is far from the others
    length = np.sqrt(np.einsum("rii->ri", gram))
    chol = np.linalg.cholesky(gram / (length[:, :, None] * length[:, None, :]))
    n, p = drawn.count.sum(axis=1), len(columns) - 1
    nu = n - p if reml else n
    rss = (chol[:, p, p] * length[:, p]) ** 2
    size = 2.0 * np.sum(np.log(np.einsum("rii->ri", chol)[:, :p] * length[:, :p]), axis=1) if reml else 0.0
    return np.asarray(size + nu * (1.0 + np.log(2.0 * np.pi * rss / nu)))
