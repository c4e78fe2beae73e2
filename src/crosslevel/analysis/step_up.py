"""What ladders of models have in common: numbered steps, each tested against the one that it adds to."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from crosslevel.analysis.levels import Levels
from crosslevel.display import Document
from crosslevel.estimators.comparison import LikelihoodRatioTest, lrtest
from crosslevel.estimators.fitted_mixed import FittedMixed
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit


@dataclass(frozen=True, kw_only=True, eq=False)
class StepUp(ABC):
    """The models of the textbooks, from the null model to the final one: `Ladder` or `GeneralizedLadder`.

    A final class gives the abstract members; nothing else is overridden.

    Attributes
    ----------
    levels : the terms of the formula by level.
    """

    levels: Levels = field(repr=False)

    @property
    @abstractmethod
    def steps(self) -> Mapping[str, FittedMixed]:
        """Fits by the name of the step."""

    @property
    @abstractmethod
    def tests(self) -> dict[str, LikelihoodRatioTest]:
        """Tests by the name of the step, of those that are tested against a smaller model."""

    @abstractmethod
    def document(self) -> Document:
        """The ladder with its words, to print or to show in a notebook."""

    @property
    def numbers(self) -> dict[str, str]:
        """The number of each step."""
        return {name: str(k) for k, name in enumerate(self.steps, start=1)}

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def step_test(smaller: MixedFit | GeneralizedFit | None, fit: MixedFit | GeneralizedFit) -> LikelihoodRatioTest | None:
    """The test of a step; None for the first, and where all terms that it adds are determined by others."""
    return None if smaller is None or fit.n_params <= smaller.n_params else lrtest(smaller, fit)


def record_of_test(test: LikelihoodRatioTest | None) -> dict[str, float]:
    """The numbers of a test by name, NaN without one."""
    return {
        "statistic": np.nan if test is None else test.statistic,
        "df": np.nan if test is None else float(test.df),
        "p_value": np.nan if test is None else test.p_value,
        "naive_p_value": np.nan if test is None else test.naive_p_value,
    }
