"""Linear mixed models: `mixed` fits, `MixedFit` answers. Every method delegates."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.design import Design, build_design, slopes_explained
from crosslevel.design.build import RowCount
from crosslevel.display import Document
from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.estimators import rows as by_row
from crosslevel.estimators import tables
from crosslevel.estimators.export import as_record
from crosslevel.estimators.notes import notes_on
from crosslevel.formula import Spec, update
from crosslevel.inference.df import Equations, df_method, equations_of
from crosslevel.inference.icc import IntraclassCorrelation, reliability, sampling_variances
from crosslevel.inference.lrt import BoundaryTest, boundary_test
from crosslevel.inference.varcomp import VarianceComponents, intercept_icc, variance_components
from crosslevel.inference.wald import coefficient_table
from crosslevel.kernels.first_use import announce_compilation
from crosslevel.optimise import MAX_STEPS, Status
from crosslevel.solve import Solution, conditional_modes, deviance_at, solve
from crosslevel.types import FloatArray, Frame, Method, Missing


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedFit:
    """A fitted linear mixed model.

    Attributes
    ----------
    formula, method, ddf : as given to `mixed`.
    data : the frame as given.
    design : columns, clusters and cross-products of the model.
    solution : estimates and how the search for them ended.
    """

    formula: str
    method: Method
    ddf: str
    data: Frame = field(repr=False)
    design: Design = field(repr=False)
    solution: Solution = field(repr=False)

    # -- what was fitted ------------------------------------------------------------------------------------------
    @property
    def spec(self) -> Spec:
        """The formula with what it remembers of the data."""
        return self.design.spec

    @property
    def rows(self) -> RowCount:
        """Rows read, used, and missing values by variable."""
        return self.design.rows

    @property
    def labels(self) -> Mapping[str, str]:
        """Variable labels of the data."""
        return self.design.columns.labels

    @property
    def group(self) -> str:
        """Name of the grouping factor."""
        return self.design.group

    @property
    def nobs(self) -> int:
        """Rows used."""
        return self.design.rows.used

    @property
    def ngroups(self) -> dict[str, int]:
        """Clusters of the grouping factor."""
        return {self.group: len(self.design.products.levels)}

    @property
    def group_sizes(self) -> pd.Series:
        """Rows of each cluster."""
        return pd.Series(self.design.products.count.astype(np.int64), index=self._clusters, name="rows")

    @cached_property
    def equations(self) -> Equations:
        """Which level-2 equation each coefficient belongs to."""
        return equations_of(self.design)

    @cached_property
    def slope_of(self) -> tuple[int, ...]:
        """For each coefficient the random effect (by position) that it explains as a cross-level interaction, or -1."""
        return tuple(int(k) for k in slopes_explained(self.design))

    # -- fixed effects --------------------------------------------------------------------------------------------
    @property
    def params(self) -> pd.Series:
        """Coefficients."""
        return self._by_term(self.solution.beta, "estimate")

    @property
    def bse(self) -> pd.Series:
        """Standard errors of the coefficients."""
        return self._by_term(np.sqrt(np.diag(self.solution.vcov)), "std_error")

    @property
    def df(self) -> pd.Series:
        """Degrees of freedom of the coefficients' t statistics."""
        return self._by_term(df_method(self.ddf)(self.equations), "df")

    @property
    def tvalues(self) -> pd.Series:
        """Coefficients divided by their standard errors."""
        return self.tidy()["statistic"]

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p-values of the coefficients."""
        return self.tidy()["p_value"]

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the coefficients."""
        names = pd.Index(self.design.fixed_names, name="term")
        return pd.DataFrame(self.solution.vcov, index=names, columns=names)

    def tests(self, ddf: str | None = None, *, level: float = 0.95) -> pd.DataFrame:
        """Coefficient table with the degrees of freedom of another method ("m-l-1", "residual", "normal")."""
        df = df_method(self.ddf if ddf is None else ddf)(self.equations)
        return coefficient_table(
            self.design.fixed_names, self.solution.beta, np.sqrt(np.diag(self.solution.vcov)), df, level=level
        )

    def tidy(self, *, level: float = 0.95) -> pd.DataFrame:
        """Coefficient table: estimate, std_error, df, statistic, p_value, conf_low, conf_high by term."""
        return self.tests(level=level)

    def conf_int(self, level: float = 0.95, method: str | None = None) -> pd.DataFrame:
        """Confidence intervals of the coefficients; `method` names the degrees of freedom."""
        return self.tests(method, level=level)[["conf_low", "conf_high"]]

    # -- random effects -------------------------------------------------------------------------------------------
    @property
    def theta(self) -> FloatArray:
        """Relative covariance parameters: lower triangles of Lambda, block by block."""
        return self.solution.theta

    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        return self.solution.sigma

    @property
    def cov_re(self) -> dict[str, pd.DataFrame]:
        """Covariance matrix of the random effects, by grouping factor."""
        names = list(self.design.random_names)
        return {self.group: pd.DataFrame(self.variance_components.covariance, index=names, columns=names)}

    @cached_property
    def variance_components(self) -> VarianceComponents:
        """Variance components with their sampling covariance."""
        return variance_components(self.solution)

    def varcomp(self, *, level: float = 0.95) -> pd.DataFrame:
        """Variances, covariances and the residual variance, with standard errors and intervals."""
        return tables.variance_table(
            self.variance_components, self.group, self.design.random_names, self.design.structure, level=level
        )

    def ranef(self, se: bool = True) -> dict[str, pd.DataFrame]:
        """Conditional modes of the random effects by cluster; with `se`, their standard errors as "<term>_se"."""
        return {self.group: tables.modes_table(self._modes, self._clusters, self.design.random_names, se=se)}

    def coef(self) -> dict[str, pd.DataFrame]:
        """Coefficients of each cluster: fixed effects plus conditional modes."""
        return {
            self.group: tables.coefficients_table(self.params, self._modes[0], self._clusters, self.design.random_names)
        }

    def reliability(self) -> tables.Reliability:
        """Reliability tau / (tau + sigma^2 [(Z'Z)^-1]) of each cluster's own coefficients (Raudenbush & Bryk)."""
        reduced = self.solution.criterion.reduced
        own = sampling_variances(reduced.root, reduced.basis, self.sigma**2)
        values = reliability(np.diag(self.variance_components.covariance), own)
        return tables.reliability_tables(values, self._clusters, self.design.random_names)

    def icc(self, *, level: float = 0.95) -> IntraclassCorrelation:
        """Intraclass correlation of the intercepts (where every slope's variable is zero, if slopes vary).

        Raises
        ------
        CrosslevelError : the model has no random intercept.
        """
        return intercept_icc(self.variance_components, self.design.random_names, level=level)

    @property
    def is_singular(self) -> bool:
        """Whether a variance is zero or random effects are perfectly correlated."""
        return self.solution.is_singular

    def test_random(self) -> BoundaryTest:
        """Likelihood-ratio test against the model without random effects, with the boundary mixture as reference."""
        criterion = self.solution.criterion
        without = criterion.at_factor(np.zeros_like(self.solution.factor)).deviance
        blocks = tuple(
            (len(columns), kind.free)
            for kind, columns in zip(self.design.structure.kinds, self.design.structure.columns, strict=True)
        )
        return boundary_test(without - self.deviance, blocks)

    # -- fit ------------------------------------------------------------------------------------------------------
    @property
    def deviance(self) -> float:
        """-2 log-likelihood, restricted if method is "reml"."""
        return self.solution.deviance

    @property
    def loglik(self) -> float:
        """Log-likelihood, restricted if method is "reml"."""
        return -0.5 * self.solution.deviance

    @property
    def n_params(self) -> int:
        """Coefficients, covariance parameters and sigma."""
        return len(self.solution.beta) + len(self.theta) + 1

    @property
    def aic(self) -> float:
        """Deviance + 2 parameters."""
        return self.deviance + 2.0 * self.n_params

    @property
    def bic(self) -> float:
        """Deviance + log(rows) parameters."""
        return self.deviance + float(np.log(self.nobs)) * self.n_params

    @property
    def status(self) -> str:
        """How the search for the optimum ended, in a sentence."""
        return self.solution.status.value

    @property
    def converged(self) -> bool:
        """Whether the gradient vanishes and no variance could usefully be added."""
        return self.solution.status is Status.CONVERGED

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What deserves a second look, in words, with what to do."""
        return notes_on(self.design, self.solution)

    def criterion_at(self, theta: FloatArray) -> float:
        """Deviance (restricted if method is "reml") at any relative covariance parameters, in the order of `theta`."""
        return deviance_at(self.solution, np.asarray(theta, dtype=np.float64))

    def glance(self) -> pd.DataFrame:
        """The fit in one row."""
        return tables.glance(self)

    def to_dict(self, *, level: float = 0.95) -> dict[str, Any]:
        """Every number of the fit as plain values, ready for JSON; what has no value is None."""
        return as_record(self, level=level)

    # -- rows -----------------------------------------------------------------------------------------------------
    @property
    def fitted(self) -> pd.Series:
        """Fitted values, random effects included."""
        return self.augment()["fitted"]

    @property
    def resid(self) -> pd.Series:
        """Outcome minus fitted values."""
        return self.augment()["resid"]

    def augment(self) -> pd.DataFrame:
        """The rows used: outcome, cluster, fitted values, residuals, and the fixed part's prediction."""
        return by_row.augment(self.design, self.solution.beta, self._modes[0])

    def predict(self, new: Frame | None = None, *, random_effects: bool = True) -> pd.Series:
        """Predicted outcomes of the rows used or of new data.

        Parameters
        ----------
        new : any frame with the predictors (and the clusters); the outcome is not needed. Clusters that were not in the
            fit get random effects of zero; rows with missing values get a missing prediction.
        random_effects : whether to add the clusters' conditional modes to the fixed part.
        """
        if new is None:
            return self.augment()["fitted" if random_effects else "fixed"].rename("prediction")
        modes = self._modes[0] if random_effects else None
        return by_row.predict(self.design, self.solution.beta, modes, new)

    # -- other models ---------------------------------------------------------------------------------------------
    def refit(self, y: FloatArray | pd.Series) -> "MixedFit":
        """Fit the same model to another outcome, one value for each row used."""
        return _fit(self.formula, self.method, self.ddf, self.data, self.design.with_response(np.asarray(y)), MAX_STEPS)

    def update(self, formula: str | None = None, **changes: Any) -> "MixedFit":
        """Fit with a changed formula ("~ . + x") or other arguments of `mixed`."""
        given = {"method": self.method, "ddf": self.ddf, "data": self.data, **changes}
        text = self.formula if formula is None else update(self.formula, formula)
        return mixed(text, given.pop("data"), **given)

    # -- words ----------------------------------------------------------------------------------------------------
    def summary(self, *, level: float = 0.95) -> Document:
        """What was fitted and found, to print or to show in a notebook, with intervals of a confidence level."""
        from crosslevel.estimators.summary import summarise

        return summarise(self, level=level)

    def __str__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        """Return the summary for a notebook."""
        return self.summary()._repr_html_()

    @cached_property
    def _modes(self) -> tuple[FloatArray, FloatArray]:
        """Conditional modes and their covariances."""
        return conditional_modes(self.solution)

    @property
    def _clusters(self) -> pd.Index:
        """The clusters as an index."""
        return pd.Index(self.design.products.levels, name=self.group)

    def _by_term(self, values: FloatArray, name: str) -> pd.Series:
        """A Series by coefficient."""
        return pd.Series(values, index=pd.Index(self.design.fixed_names, name="term"), name=name)


def mixed(
    formula: str,
    data: Frame,
    *,
    family: str = "gaussian",
    method: Method = "reml",
    missing: Missing = "drop",
    ddf: str = "m-l-1",
    max_steps: int = MAX_STEPS,
) -> MixedFit:
    """Fit a linear mixed model.

    In cluster g: y = X beta + Z b + e, with b ~ N(0, sigma^2 Lambda Lambda') and e ~ N(0, sigma^2 I). The rows are read
    once, to sum cross-products by cluster; the likelihood is maximised on those by Newton and scoring steps with exact
    derivatives, and the optimum is checked, the boundary included.

    Parameters
    ----------
    formula : as in lme4, for example "y ~ x * z + (x | country)". Besides everything formulaic has:
        within(x, g), between(x, g), center(x), scale(x), wec(f).
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    family : "gaussian".
    method : "reml" (restricted likelihood: nearly unbiased variances) or "ml" (to compare fixed parts).
    missing : "drop" the rows with missing values in the model's variables, and count them; or "raise".
    ddf : degrees of freedom of the t tests: "m-l-1", "residual" or "normal".
    max_steps : largest number of steps of the search.

    Returns
    -------
    MixedFit

    Raises
    ------
    CrosslevelError : a wrong argument, formula or data; the message says what to do.

    Warns
    -----
    ConvergenceWarning : the optimum was not reached; the result's `status` says why.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("sleepstudy")
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", data)
    >>> fit.params.round(3).to_dict()
    {'Intercept': 251.405, 'Days': 10.467}
    >>> round(fit.deviance, 4)
    1743.6283
    """
    if family != "gaussian":
        raise CrosslevelError(f"`family` is 'gaussian' in this version; got {family!r}.")
    if method not in ("reml", "ml"):
        raise CrosslevelError(f"`method` is 'reml' or 'ml'; got {method!r}.")
    if not isinstance(formula, str):
        raise CrosslevelError(f"`formula` is text such as 'y ~ x + (1 | g)'; got {type(formula).__name__}.")
    df_method(ddf)
    announce_compilation()
    return _fit(formula, method, ddf, data, build_design(formula, data, missing=missing), max_steps)


def _fit(formula: str, method: Method, ddf: str, data: Frame, design: Design, max_steps: int) -> MixedFit:
    """Solve, and warn once if the optimum was not reached."""
    solution = solve(design.reduced, reml=method == "reml", max_steps=max_steps)
    if solution.status is not Status.CONVERGED:
        warnings.warn(solution.status.value, ConvergenceWarning, stacklevel=3)
    return MixedFit(formula=formula, method=method, ddf=ddf, data=data, design=design, solution=solution)
