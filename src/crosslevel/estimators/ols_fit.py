"""What a fitted linear regression answers. Every method delegates."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.display import Document
from crosslevel.estimators import ordinary_rows
from crosslevel.estimators.asked.new_rows import Interval
from crosslevel.estimators.asked.robust import cluster_names
from crosslevel.estimators.changed_call import changed_call
from crosslevel.estimators.design_regression import DesignRegression
from crosslevel.estimators.notes import notes_on_rows
from crosslevel.estimators.robust_fit import ContrastTest, RobustFit, concerns, contrast_test
from crosslevel.estimators.written.asked import equation
from crosslevel.inference.cluster_robust import robust_kind
from crosslevel.inference.contrasts import Contrasts
from crosslevel.inference.ordinary import OrdinaryCovariance, check_vcov, covariance_of
from crosslevel.solve.least_squares import LeastSquares
from crosslevel.types import FloatArray, Frame, IntArray

if TYPE_CHECKING:
    from crosslevel.estimators.dependence import Dependence
    from crosslevel.estimators.wild_test import WildTest, WildWeighting


@dataclass(frozen=True, kw_only=True, eq=False)
class OLSFit(DesignRegression):
    """A fitted linear regression.

    Attributes
    ----------
    formula, data, given : as given to `ols`: the formula, the frame, and all other arguments by name.
    design : columns and cross-products of the model.
    solved : coefficients and residual variance.
    clusters : names of the clusterings.
    covariance : covariance of the coefficients, with what tests need.
    """

    solved: LeastSquares = field(repr=False)
    clusters: tuple[str, ...]
    covariance: OrdinaryCovariance = field(repr=False)

    # -- what was fitted ------------------------------------------------------------------------------------------
    @property
    def nobs(self) -> int:
        """Rows used, each as often as its frequency says."""
        return self.design.nobs

    @cached_property
    def ngroups(self) -> dict[str, int]:
        """Clusters of each clustering; empty without."""
        return {name: len(sizes) for name, sizes in self.cluster_sizes.items()}

    @cached_property
    def cluster_sizes(self) -> dict[str, pd.Series]:
        """Rows of each cluster, by clustering."""
        return ordinary_rows.cluster_sizes(self.design, self.clusters)

    # -- coefficients ---------------------------------------------------------------------------------------------
    @property
    def columns(self) -> IntArray:
        """(p,) positions among the design's columns of those that have coefficients."""
        return self.design.x

    @property
    def estimator(self) -> str:
        """The estimator in a few words."""
        return " ".join(["OLS,", self.covariance.name, *(["by", " and ".join(self.clusters)] if self.clusters else [])])

    @property
    def beta(self) -> FloatArray:
        """(p,) coefficients."""
        return self.solved.beta

    def tests(
        self, vcov: str | None = None, *, cluster: str | Sequence[str] | None = None, level: float = 0.95
    ) -> pd.DataFrame:
        """Coefficient table with the standard errors of another covariance, or other clusters.

        Parameters
        ----------
        vcov : as in `ols`; None for that of the fit, or "CR2" if other clusters are given.
        cluster : as in `ols`; None for those of the fit.
        level : confidence level.
        """
        return self._tested(self.covariance_by(vcov, cluster), level)

    def contrast(self, contrasts: Contrasts, test: str | None = None, *, level: float = 0.95) -> ContrastTest:
        """Test combinations of coefficients jointly.

        Parameters
        ----------
        contrasts : names of coefficients, or expressions such as "a - b", that are zero under the hypothesis; weights
            by coefficient, {"a": 1, "b": -1}; a frame with a row for each and columns named by coefficients; or
            numbers (m, p).
        test : with a cluster-robust covariance "HTZ" (Hotelling's T^2 with degrees of freedom by Pustejovsky & Tipton
            2018; the default), "EDF" (Fai & Cornelius 1996) or "naive-F" (clusters - 1 degrees of freedom); with any
            other "F", on rows - coefficients degrees of freedom.
        level : confidence level of the intervals of the single combinations.
        """
        chosen = self.covariance.default_test if test is None else test
        return contrast_test(self.covariance, self.coefficients, self.solved.beta, contrasts, chosen, level)

    def robust(self, vcov: str = "CR2", cluster: str | Sequence[str] | None = None) -> RobustFit:
        """The coefficients with another cluster-robust covariance; as `robust` of a mixed model."""
        found = self.covariance_by(robust_kind(vcov).name, cluster).robust
        assert found is not None
        return RobustFit(
            response=self.spec.response_name, formula=self.formula, coefficients=self.coefficients,
            beta=self.solved.beta, covariance=found,
        )  # fmt: skip

    def wild_test(
        self,
        terms: "Contrasts | None" = None,
        *,
        value: float = 0.0,
        cluster: str | None = None,
        n: int = 9999,
        weights: "WildWeighting" = "webb",
        null: bool = True,
        level: float = 0.95,
        seed: int | np.random.Generator | None = None,
    ) -> "WildTest":
        """Test coefficients by the wild cluster bootstrap, which holds its level with few clusters.

        Residuals keep their size and change sign (and size, a little) by whole clusters; the cluster-robust t (CR1S) of
        the data is compared with those of the draws. All from the clusters' cross-products: no row is looked at again.

        Parameters
        ----------
        terms : coefficients, or expressions such as "a - b", as in `contrast`; None for all but the intercept.
        value : hypothesised value.
        cluster : the column of the clusters, or columns as in "a:b"; None for that of the fit.
        n : draws. With weights="rademacher" and 2^clusters <= n all vectors of signs are gone through instead.
        weights : "webb" (six points, for any number of clusters), "rademacher" (signs), or "auto": "rademacher" from 13
            clusters on, else "webb".
        null : whether residuals are those of the regression under the hypothesis (recommended), or of the fit.
        level : confidence level of the intervals, which invert the test.
        seed : for the draws.

        Examples
        --------
        >>> import crosslevel as cl
        >>> fit = cl.ols("Reaction ~ Days", cl.datasets.load("sleepstudy"), cluster="Subject")
        >>> fit.wild_test(seed=1).frame[["estimate", "std_error", "p_value"]].round(4)
              estimate  std_error  p_value
        term
        Days   10.4673     1.5501   0.0001
        """
        from crosslevel.estimators.wild_test import WildRequest, wild_test

        asked = WildRequest(
            terms=terms, cluster=cluster, value=value, n=n, weights=weights, null=null, level=level, seed=seed
        )
        return wild_test(self, asked)

    def dependence(self, cluster: str | None = None, *, level: float = 0.95) -> "Dependence":
        """How alike residuals of rows in the same cluster are, and what that does to the standard errors.

        Analysis of variance of the residuals by cluster, their intraclass correlation with its interval, the design
        effect of a mean; and for each coefficient the cluster-robust standard error (CR2) beside that of independent
        rows and what Moulton's formula expects. Coefficients are taken as known in the analysis of variance.

        Parameters
        ----------
        cluster : the column of the clusters, or columns as in "a:b"; None for that of the fit.
        level : confidence level of the interval of the intraclass correlation.
        """
        from crosslevel.estimators.dependence import dependence

        return dependence(self, cluster, level)

    def covariance_by(self, vcov: str | None = None, cluster: str | Sequence[str] | None = None) -> OrdinaryCovariance:
        """Another covariance of the same coefficients; see `tests`."""
        if vcov is None and cluster is None:
            return self.covariance
        names = self.clusters if cluster is None else cluster_names(cluster)
        return covariance_of(self.design, self.solved, check_vcov(vcov, clustered=bool(names)), names)

    # -- fit ------------------------------------------------------------------------------------------------------
    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        return self.solved.sigma

    @property
    def df_residual(self) -> float:
        """Rows - coefficients."""
        return self.covariance.df_residual

    @property
    def r_squared(self) -> float:
        """Share of the outcome's sum of squares that is explained, about its mean if there is an intercept."""
        return 1.0 - self.solved.rss / ordinary_rows.total_squares(self.design)

    @property
    def adj_r_squared(self) -> float:
        """The same of variances, each with its degrees of freedom."""
        total = self.nobs - (1 if self.solved.coordinates.intercept >= 0 else 0)
        return 1.0 - (1.0 - self.r_squared) * total / self.df_residual

    @property
    def deviance(self) -> float:
        """-2 log-likelihood."""
        return self.solved.deviance

    @property
    def n_params(self) -> int:
        """Coefficients and sigma."""
        return len(self.solved.beta) + 1

    @property
    def converged(self) -> bool:
        """Always: nothing is searched for."""
        return True

    @property
    def status(self) -> str:
        """How the estimates were found, in a sentence."""
        return "Solved: least squares has one solution, found without a search."

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What deserves a second look, in words, with what to do."""
        robust = self.covariance.robust
        return (*notes_on_rows(self.design), *(() if robust is None else concerns(robust, self.df)))

    def glance(self) -> pd.DataFrame:
        """The fit in one row."""
        return ordinary_rows.glance(self)

    # -- rows -----------------------------------------------------------------------------------------------------
    def augment(self) -> pd.DataFrame:
        """The rows used: outcome, clusters, fitted values, residuals."""
        return ordinary_rows.augment(self.design, self.solved.beta, self.clusters)

    def predict(
        self, new: Frame | None = None, *, se: bool = False, interval: Interval | None = None, level: float = 0.95
    ) -> pd.Series | pd.DataFrame:
        """Predicted outcomes x'beta of the rows used or of new data, with standard errors and intervals if wanted.

        Parameters
        ----------
        new : any frame with the predictors; the outcome is not needed. None for the rows used.
        se : whether to give standard errors, from the covariance of the fit.
        interval : "confidence" for x'beta; "prediction" for a new row, whose residual has the variance sigma^2 (by its
            precision). Both have the degrees of freedom of x'beta.
        level : confidence level.

        Returns
        -------
        Series of predictions; with `se` or `interval` a frame of estimate, std_error, conf_low and conf_high. All are
        NaN in rows with missing predictors.
        """
        return ordinary_rows.predicted(self, new, se=se, interval=interval, level=level)

    # -- other models ---------------------------------------------------------------------------------------------
    def refit(self, y: FloatArray | pd.Series) -> "OLSFit":
        """Fit the same model to another outcome, one value for each row used."""
        from crosslevel.estimators.ols import fit_ordinary

        design = self.design.with_response(np.asarray(y))
        return fit_ordinary(self.formula, self.data, self.given, design, self.clusters, self.covariance.name)

    def update(self, formula: str | None = None, **changes: Any) -> "OLSFit":
        """Fit with a changed formula ("~ . + x") or other arguments of `ols`."""
        from crosslevel.estimators.ols import ols

        text, data, given = changed_call(self.formula, self.data, self.given, formula, changes)
        return ols(text, data, **given)

    # -- words ----------------------------------------------------------------------------------------------------
    equation = equation

    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook, with intervals of a confidence level."""
        from crosslevel.estimators.ols_summary import summarise

        return summarise(self, level=level)
