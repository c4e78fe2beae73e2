"""The workarounds for clustered data beside the multilevel model, so that a user sees what each of them costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from crosslevel.design import CrossProducts
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.mixed import mixed
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.regression import Regression
from crosslevel.estimators.workaround_fits import Approach, Source, aggregated, clusters_alone, disaggregated, dummies
from crosslevel.estimators.workaround_fits import multilevel as multilevel_approach
from crosslevel.inference.workarounds import Role, spread_of
from crosslevel.table import open_source
from crosslevel.types import Frame, Missing


@dataclass(frozen=True, kw_only=True, eq=False)
class Workarounds:
    """A multilevel model and what is done instead of one.

    Attributes
    ----------
    formula : of the multilevel model.
    group : its grouping factor.
    multilevel : its fit.
    products : cross-products by cluster, from which everything was made.
    roles : of the model's terms: "within" clusters, "context", or "determined" by others within every cluster.
    approaches : the multilevel model first, then the workarounds.
    """

    formula: str
    group: str
    multilevel: MixedFit = field(repr=False)
    products: CrossProducts = field(repr=False)
    roles: Mapping[str, Role]
    approaches: tuple[Approach, ...] = field(repr=False)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the multilevel model's coefficients."""
        return tuple(self.roles)

    def std_error(self, term: str) -> float:
        """Standard error of a coefficient in the multilevel model."""
        return self.approaches[0].estimates[term][1]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each approach and term.

        approach, term, estimate, std_error; ratio of the standard error to the multilevel model's; reason, why there is
        no estimate ("" if there is one).
        """
        rows = []
        for approach in self.approaches:
            for term in self.terms:
                estimate, error = approach.estimates.get(term, (np.nan, np.nan))
                ratio, reason = error / self.std_error(term), approach.reasons.get(term, "")
                rows.append((approach.name, term, estimate, error, ratio, reason))
        names = ["approach", "term", "estimate", "std_error", "ratio", "reason"]
        return pd.DataFrame.from_records(rows, columns=names)

    @property
    def fits(self) -> dict[str, Regression | MixedFit]:
        """The fits by approach, of those that are one regression."""
        return {approach.name: approach.fit for approach in self.approaches if approach.fit is not None}

    def approach(self, name: str) -> Approach:
        """An approach by its name."""
        return next(approach for approach in self.approaches if approach.name == name)

    @property
    def by_cluster(self) -> pd.DataFrame:
        """Coefficients of the separate regressions: a row for each cluster that has one."""
        found = self.approach("separate").separate
        if found is None:
            return pd.DataFrame(index=pd.Index([], name=self.group))
        return pd.DataFrame(found.beta, index=pd.Index(found.levels, name=self.group), columns=list(found.names))

    @property
    def left_out(self) -> pd.DataFrame:
        """Clusters without a regression of their own: rows, reason."""
        found = self.approach("separate").separate
        gone = () if found is None else found.left_out
        index = pd.Index([each.level for each in gone], name=self.group)
        return pd.DataFrame(
            {"rows": [each.rows for each in gone], "reason": [each.reason for each in gone]}, index=index
        )

    @property
    def spread(self) -> pd.DataFrame:
        """How coefficients differ between clusters, by term.

        sd, of the clusters' own coefficients; sampling, of it what their sampling errors make; model, the multilevel
        model's standard deviation (NaN where it lets the coefficient not vary).
        """
        found = self.approach("separate").separate
        if found is None:
            return pd.DataFrame(columns=["sd", "sampling", "model"], index=pd.Index([], name="term"), dtype=np.float64)
        sd, sampling = spread_of(found)
        effects = self.multilevel.cov_re[self.group]
        sizes = dict(zip(effects.index, np.sqrt(np.diag(effects.to_numpy(np.float64))), strict=True))
        model = [float(sizes.get(term, np.nan)) for term in found.names]
        index = pd.Index(found.names, name="term")
        return pd.DataFrame({"sd": sd, "sampling": sampling, "model": model}, index=index)

    def document(self) -> Document:
        """All side by side, and a line on what each workaround loses."""
        from crosslevel.estimators.workarounds_document import document

        return document(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def workarounds(formula: str, data: Frame, *, missing: Missing = "drop") -> Workarounds:
    """Put what is often done with clustered data beside the multilevel model.

    Disaggregation (an ordinary regression of all rows), aggregation (a regression of cluster means), a dummy for each
    cluster, dummies times all predictors that vary within clusters, and a regression for each cluster. The data are
    read once; everything comes from the cross-products of the clusters.

    Parameters
    ----------
    formula : of the multilevel model, with one grouping factor, as in "y ~ x * z + (x | school)".
    data : a frame of pandas, polars, pyarrow or any library that narwhals supports.
    missing : "drop" the rows with missing values in the model's variables, and count them; or "raise".

    Returns
    -------
    Workarounds : prints as one table with a line on what each workaround loses.

    Raises
    ------
    CrosslevelError : a formula without a grouping factor or with several; and what `mixed` refuses.

    Examples
    --------
    >>> import crosslevel as cl
    >>> found = cl.workarounds("mathach ~ ses * sector + (ses | school)", cl.datasets.load("hsb"))
    >>> wide = found.frame.pivot(index="term", columns="approach", values="estimate")
    >>> wide.loc["ses", ["multilevel", "disaggregated", "aggregated", "dummies"]].round(3).tolist()
    [2.958, 3.46, 5.852, 2.782]
    """
    if open_source(data) is not None:
        raise CrosslevelError(
            "`data` is read in batches, which `workarounds` does not do: its fits look at rows in memory. Read them "
            "first, with cl.read(path) or the library's own reader."
        )
    fit = mixed(formula, data, missing=missing)
    design = fit.design
    if not design.is_single:
        named = ", ".join(factor.name for factor in design.factors) or "none"
        raise CrosslevelError(
            f"`formula` needs one grouping factor that puts each row into one cluster; it has {named}. Write one "
            "random term, such as (1 | school)."
        )
    if not len(design.x):
        raise CrosslevelError("`formula` has no coefficients to compare. Add predictors, or leave the intercept in.")
    source = Source.of(fit)
    return Workarounds(
        formula=formula, group=design.group, multilevel=fit, products=design.products,
        roles=dict(zip(source.terms, source.roles, strict=True)),
        approaches=(
            multilevel_approach(source), disaggregated(source), aggregated(source), dummies(source),
            clusters_alone(source, pooled=True), clusters_alone(source, pooled=False),
        ),
    )  # fmt: skip
