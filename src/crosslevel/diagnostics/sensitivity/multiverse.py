"""`multiverse`: the same question asked with every combination of defensible choices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from crosslevel.diagnostics.diagnostic import Concern, worst
from crosslevel.diagnostics.sensitivity.alternatives import Alternatives, Choice, alternatives_of
from crosslevel.diagnostics.sensitivity.multiverse_fits import Fitter, Specification
from crosslevel.display import Document
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.robust import default_clusters
from crosslevel.estimators.compared import COLUMNS, term_key
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed import mixed
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.ols import ols
from crosslevel.estimators.ols_fit import OLSFit
from crosslevel.formula import parse
from crosslevel.inference.bootstrap.run import Reporter
from crosslevel.inference.wald import check_level
from crosslevel.table import Columns, group_names
from crosslevel.types import FloatArray, Frame

AGREE, SOME = 0.95, 0.5
"""Share of specifications that agree with the model as given, from which on there is no concern, and some."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Multiverse:
    """Coefficients in all combinations of the choices of an analysis.

    Attributes
    ----------
    outcome : of the model as given.
    terms : the coefficients that are looked at, by their names in the model as given.
    choices : what was varied.
    specifications : all combinations; the first is the model as given.
    rows : "same" if all were fitted to the rows that are complete in all variables, "own" if each to its own.
    level : confidence level.
    """

    outcome: str
    terms: tuple[str, ...]
    choices: tuple[Choice, ...] = field(repr=False)
    specifications: tuple[Specification, ...] = field(repr=False)
    rows: str
    level: float

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each term and specification.

        Columns term, specification (0 is the model as given), one for each choice, estimate, std_error, df, statistic,
        p_value, conf_low, conf_high (NaN where the specification lacks the term), nobs, clusters, formula, problem.
        """
        parts = []
        for term in self.terms:
            for k, each in enumerate(self.specifications):
                there = each.table is not None and term in each.table.index
                numbers = each.table.loc[term, list(COLUMNS)].to_dict() if there and each.table is not None else {}
                parts.append(
                    {"term": term, "specification": k, **each.chosen, **{c: numbers.get(c, np.nan) for c in COLUMNS},
                     "nobs": each.nobs, "clusters": each.n_clusters, "formula": each.formula, "problem": each.problem}
                )  # fmt: skip
        return pd.DataFrame(parts)

    def of(self, term: str) -> pd.DataFrame:
        """The rows of one term that have an estimate, the smallest first.

        Raises
        ------
        CrosslevelError : no such term.
        """
        if term not in self.terms:
            raise CrosslevelError(f"`term` is one of {', '.join(map(repr, self.terms))}; got {term!r}.")
        frame = self.frame
        found = frame[(frame["term"] == term) & frame["estimate"].notna()]
        return found.sort_values("estimate", kind="stable").reset_index(drop=True)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """By term: specifications, as_given, median, lowest, highest, positive and significant (shares), agree.

        agree : share of specifications with the sign of the model as given, and the same result of the test.
        """
        rows = {}
        for term in self.terms:
            found = self.of(term)
            estimate, significant = found["estimate"].to_numpy(), found["p_value"].to_numpy() < 1.0 - self.level
            base = found[found["specification"] == 0]
            own = float(base["estimate"].iloc[0]) if len(base) else np.nan
            same = np.full(len(found), np.nan)
            if len(base):
                same = (np.sign(estimate) == np.sign(own)) & (
                    significant == (float(base["p_value"].iloc[0]) < 1.0 - self.level)
                )
            ends = (np.median(estimate), estimate.min(), estimate.max()) if len(found) else (np.nan,) * 3
            shares = (np.mean(estimate > 0.0), np.mean(significant), np.mean(same)) if len(found) else (np.nan,) * 3
            rows[term] = [len(found), own, *ends, *shares]
        names = ["specifications", "as_given", "median", "lowest", "highest", "positive", "significant", "agree"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("term")

    @cached_property
    def influence(self) -> pd.DataFrame:
        """By term and choice, the share of the variance of the estimates over specifications that it explains.

        Share of the sum of squares between the means of its options; what the shares lack to 1 is due to combinations.
        """
        return pd.DataFrame(
            {term: {choice.name: _share(self.of(term), choice.name) for choice in self.choices} for term in self.terms}
        ).T.rename_axis("term")

    @property
    def concern(self) -> Concern:
        """The light: "act" where fewer than half of the specifications agree with the model as given."""
        return worst([_light(float(agree)) for agree in self.summary["agree"]])

    @property
    def sentences(self) -> tuple[str, ...]:
        """How far the results depend on choices, in words with numbers."""
        from crosslevel.diagnostics.sensitivity.multiverse_words import sentences

        return tuple(sentences(self))

    def document(self) -> Document:
        """Sentences, a table of the terms, and one of the choices."""
        from crosslevel.diagnostics.sensitivity.multiverse_words import write

        return write(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the document for a notebook."""
        return self.document()._repr_html_()


def multiverse(
    model: "MixedFit | GeneralizedFit | OLSFit | str",
    data: Frame | None = None,
    *,
    alternatives: Mapping[str, object],
    terms: str | Sequence[str] | None = None,
    rows: str = "same",
    group: str | None = None,
    level: float = 0.95,
    most: int = 5000,
    progress: bool = True,
) -> Multiverse:
    """Fit every combination of the choices that an analysis could have made, and see what becomes of its results.

    Linear models that differ in their controls alone are parts of one model's cross-products: the rows are read once.

    Parameters
    ----------
    model : a fit of `mixed` or `ols`; or a formula, with `data`.
    data : a frame, with a formula.
    alternatives : what may be chosen otherwise, beside what the model has, by kind of choice:
        "controls": terms that may be in or out, each by itself, with all products they are in, as in ["age", "female"];
        a predictor, by its name in the formula: other forms of it, as in "ses": ["center(ses)", "within(ses, school) +
        between(ses, school)"]; of a sum the first part takes the predictor's place, in products and random slopes too;
        "outcome": other outcomes, as in ["log(y)"]; "random": other random parts, as in ["(1 | school)"] or "none";
        "rows": conditions on the rows used, {"large": "size > 500"} or arrays of truth values by name;
        "estimator": "reml", "ml", "ols" (with CR2 standard errors by cluster), "fixed effects".
    terms : the coefficients to look at, by their names in the model; all but the intercept and the controls if None.
    rows : "same" fits all to the rows without missing values in any variable, so that differences are none of the rows;
        "own" lets each use what it can.
    group : the clusters of estimators without random effects; the outermost of the model if None.
    level : confidence level.
    most : combinations above which the multiverse is refused.
    progress : whether to report, on the standard error stream, how far a long run has come.

    Returns
    -------
    Multiverse : prints as sentences and tables; `.frame`, `.summary`, `.influence`; figure
        `cl.plot.specification_curve`.

    Raises
    ------
    CrosslevelError : something that is no choice, too many combinations, or no such term.

    Source
    ------
    Steegen, Tuerlinckx, Gelman & Vanpaemel (2016), Perspect. Psychol. Sci. 11: 702-712; Simonsohn, Simmons & Nelson
    (2020), Nat. Hum. Behav. 4: 1208-1214.

    Examples
    --------
    >>> import crosslevel as cl
    >>> found = cl.multiverse(
    ...     "mathach ~ ses * sector + (ses | school)", cl.datasets.load("hsb"), terms="ses:sector[Catholic]",
    ...     alternatives={"controls": ["minority", "female"], "ses": ["within(ses, school) + between(ses, school)"],
    ...                   "random": ["(1 | school)"], "estimator": ["ols"]}, progress=False)
    >>> found.summary[["specifications", "as_given", "lowest", "highest", "significant"]].round(2)
                          specifications  as_given  lowest  highest  significant
    term
    ses:sector[Catholic]              24     -1.31   -1.35    -0.94          1.0
    """
    check_level(level)
    if rows not in ("same", "own"):
        raise CrosslevelError(f"`rows` is 'same' or 'own'; got {rows!r}.")
    fit = _fit_of(model, data)
    columns = fit.design.columns
    frame = columns.to_pandas(columns.names)
    found = alternatives_of(fit.formula, alternatives, frame, _estimators(fit))
    if found.n > most:
        counts = ", ".join(f"{choice.name} {len(choice.options)}" for choice in found.choices)
        raise CrosslevelError(
            f"`alternatives` make {found.n:,} combinations ({counts}), more than `most` = {most:,}. Leave choices out "
            "that nobody would defend, or raise `most`."
        )
    frame, found = _usable(fit, found, frame, alternatives, rows)
    fitter = Fitter(
        alternatives=found, frame=frame, group=_group(fit, group), estimator=_estimators(fit)[0], given=fit.given,
        level=level, shares=rows == "same",
    )  # fmt: skip
    specifications = _fitted(fitter, progress=progress)
    wanted = _terms(terms, fit, found)
    return Multiverse(
        outcome=fit.spec.response_name, terms=wanted, choices=found.choices, specifications=specifications, rows=rows,
        level=level,
    )  # fmt: skip


def _fitted(fitter: Fitter, *, progress: bool) -> tuple[Specification, ...]:
    """All combinations, their coefficients by the names of the model as given."""
    alternatives = fitter.alternatives
    combinations = fitter.different()
    reporter = Reporter(n=len(combinations), shown=progress, what="multiverse")
    out = []
    for chosen in combinations:
        each = fitter.fit(chosen)
        if each.table is not None:
            names = alternatives.own_names([str(term) for term in each.table.index], chosen)
            table = each.table.rename(index=names)
            each = replace(each, table=table[~table.index.duplicated()])
        out.append(each)
        reporter.add(1)
        reporter.show()
    reporter.end()
    first = out[0]
    if first.table is None:
        raise CrosslevelError(f"The model as given cannot be fitted to the rows that all share: {first.problem}")
    return tuple(_matched(each, first.table) for each in out)


def _matched(each: Specification, first: pd.DataFrame) -> Specification:
    """A specification whose interactions have their parts in the order of the model as given."""
    if each.table is None:
        return each
    names = {term_key(str(term)): str(term) for term in first.index}
    table = each.table.rename(index={str(t): names.get(term_key(str(t)), str(t)) for t in each.table.index})
    return replace(each, table=table)


def _fit_of(model: object, data: Frame | None) -> "MixedFit | GeneralizedFit | OLSFit":
    """The fit, made from a formula if that was given.

    Raises
    ------
    CrosslevelError : neither, or what cannot be fitted again.
    """
    if isinstance(model, str) and data is not None:
        model = mixed(model, data, progress=False) if parse(model).random else ols(model, data)
    if not isinstance(model, MixedFit | GeneralizedFit | OLSFit):
        raise CrosslevelError(
            "`multiverse` takes a fit of cl.mixed or cl.ols, or a formula and data; got "
            f"{type(model).__name__}{' without data' if isinstance(model, str) else ''}."
        )
    given: Mapping[str, Any] = model.given
    arrays = [name for name in ("offset", "trials", "exposure") if not isinstance(given.get(name), str | None)]
    if arrays or model.design.stream is not None or model.design.response is not None:
        what = f"`{arrays[0]}` as numbers" if arrays else "data in batches, or an outcome, that are not in its frame"
        raise CrosslevelError(
            f"`multiverse` fits models to parts of a frame, and this fit has {what}. Put all of it into the columns of "
            "a frame in memory, and name these."
        )
    return model


def _estimators(fit: "MixedFit | GeneralizedFit | OLSFit") -> tuple[str, ...]:
    """Estimators that there are, that of the fit first."""
    if isinstance(fit, GeneralizedFit):
        return ("ml",)
    if isinstance(fit, OLSFit):
        return ("ols", "fixed effects")
    own = fit.method
    return (own, "ml" if own == "reml" else "reml", "ols", "fixed effects")


def _group(fit: "MixedFit | GeneralizedFit | OLSFit", group: str | None) -> str:
    """The clusters of estimators without random effects."""
    if group is not None:
        fit.design.columns.require(group_names(fit.design.columns, group), "group")
        return group
    if isinstance(fit, OLSFit):
        return fit.clusters[0] if fit.clusters else ""
    return default_clusters(fit)[0]


def _usable(
    fit: "MixedFit | GeneralizedFit | OLSFit", found: Alternatives, frame: pd.DataFrame, given: Mapping[str, object],
    rows: str,
) -> tuple[pd.DataFrame, Alternatives]:  # fmt: skip
    """The rows that all specifications share, and the alternatives with conditions on these."""
    if rows == "own":
        return frame, found
    names: dict[str, None] = {}
    for chosen in found.combinations():
        names |= dict.fromkeys(parse(found.written(chosen, controls=True)).required)
        if len(names) == len(frame.columns):
            break
    columns = Columns.from_frame(frame)
    columns.require(names, "alternatives")
    mask, _ = columns.complete(names)
    if mask is None:
        return frame, found
    kept = columns.to_pandas(columns.names, mask=mask)
    conditions = given.get("rows")
    if isinstance(conditions, Mapping):  # arrays are those of all rows
        conditions = {
            key: value if value is None or isinstance(value, str) else np.asarray(value)[mask]
            for key, value in conditions.items()
        }
    again = dict(given) if conditions is None else {**given, "rows": conditions}
    return kept, alternatives_of(fit.formula, again, kept, _estimators(fit))


def _terms(
    terms: str | Sequence[str] | None, fit: "MixedFit | GeneralizedFit | OLSFit", found: Alternatives
) -> tuple[str, ...]:
    """The coefficients to look at.

    Raises
    ------
    CrosslevelError : one that the model as given does not have.
    """
    known = {term_key(str(term)): str(term) for term in fit.params.index}
    if terms is None:
        controls = [texts for choice in found.of_kind("control") for texts in choice.options.values()]
        texts = {name: part.text for part in fit.spec.components for name in part.names}
        factors = {column.name: {texts[name] for name in column.factors} for column in fit.spec.columns}
        return tuple(
            name for name in known.values()
            if name != "Intercept" and not any(control <= factors.get(name, set()) for control in controls)
        )  # fmt: skip
    asked = [terms] if isinstance(terms, str) else list(terms)
    absent = [term for term in asked if term_key(str(term)) not in known]
    if absent or not asked:
        raise CrosslevelError(
            f"`terms` are coefficients of the model as given, of {', '.join(map(repr, known.values()))}; got {asked!r}."
        )
    return tuple(dict.fromkeys(known[term_key(str(term))] for term in asked))


def _share(found: pd.DataFrame, choice: str) -> float:
    """Share of the sum of squares of the estimates that lies between the options of a choice."""
    values: FloatArray = found["estimate"].to_numpy(dtype=np.float64)
    whole = float(np.sum((values - values.mean()) ** 2)) if len(values) else 0.0
    if whole <= 1e-24 * float(np.sum(values**2)) or not len(values):
        return 0.0
    means = found.groupby(choice)["estimate"].transform("mean").to_numpy(dtype=np.float64)
    return float(np.sum((means - values.mean()) ** 2) / whole)


def _light(agree: float) -> Concern:
    """The light of one term."""
    return "none" if agree >= AGREE or np.isnan(agree) else "look" if agree >= SOME else "act"
