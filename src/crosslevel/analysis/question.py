"""What an analysis is asked: the formulas of its models, the context effects, and whether the data bear them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
import pandas as pd

from crosslevel.analysis.levels import Levels, group_of, levels_of
from crosslevel.design import Design
from crosslevel.design.outcome import AskedOutcome
from crosslevel.errors import ColumnNotFoundError, CrosslevelError, DataError, DesignError
from crosslevel.estimators.fitted_mixed import FittedMixed
from crosslevel.formula import DesignColumn, parse
from crosslevel.table import Columns, Factor, group_codes
from crosslevel.types import Frame, IntArray, Missing

PER_EFFECT = 2
"""Clusters for each random effect that a maximal model has at least, where it is made from the formula."""

MANY = 10
"""Categories up to which numbers as text may be codes."""

SAME = 1e-9
"""Range of a variable in a cluster, in standard deviations, up to which it has one value there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What is asked.

    Attributes
    ----------
    formula : as given.
    levels : its terms by level, and the rows that all models are fitted to.
    context : the context variables, as given.
    slopes : terms that the maximal model lets vary; the random part as written where the formula has slopes.
    maximal_random : random part of the maximal model.
    too_many : terms that have no random slope in any model, because the clusters are too few.
    n_clusters : in the rows that are used.
    """

    formula: str
    levels: Levels = field(repr=False)
    context: tuple[str, ...]
    slopes: tuple[str, ...]
    maximal_random: str
    too_many: tuple[str, ...]
    n_clusters: int

    @property
    def group(self) -> str:
        """The clusters, as the data name them."""
        return ":".join(_columns_of(self.levels.group))

    @property
    def frame(self) -> pd.DataFrame:
        """The rows that all models are fitted to."""
        return self.levels.frame

    @property
    def null(self) -> str:
        """No predictors; the intercept varies."""
        return self.levels.formula((), self.levels.varying(()))

    @property
    def fixed(self) -> str:
        """All fixed effects, without a random part."""
        return f"{self.levels.response} ~ {' + '.join(self.levels.fixed) or '1'}"

    @property
    def invariant(self) -> str:
        """The intercept varies, and of the slopes only those of cross-level interactions."""
        return self.levels.formula(self.levels.fixed, self.levels.varying(self.levels.moderated))

    @property
    def maximal(self) -> str:
        """All slopes vary that may."""
        return self.levels.formula(self.levels.fixed, self.maximal_random)

    def effects(self, fit: FittedMixed) -> tuple[str, ...]:
        """Names of the context effects among a fit's coefficients: of the variables, and of what they moderate."""
        return tuple(column.name for column in self.columns(fit))

    def columns(self, fit: FittedMixed) -> list[DesignColumn]:
        """The design columns of the context effects."""
        design = fit.design
        names = context_names(design, self.levels, self.context)
        columns = [design.spec.columns[j] for j in design.x]
        return [column for column in columns if names.intersection(column.factors)]


def ask(
    formula: str,
    data: Frame,
    context: Sequence[str] | str,
    *,
    group: str | None = None,
    missing: Missing = "drop",
    outcome: AskedOutcome | None = None,
) -> Question:
    """Read formula, data and context variables, and check that they fit together.

    Parameters
    ----------
    formula : all fixed effects; its random part is the maximal model's if it has slopes, and else names the clusters.
    data : a frame with its rows in memory.
    context : variables that are constant within clusters, by column or as the formula has them.
    group : the clusters, where the formula has no random part.
    missing : as in `mixed`.
    outcome : how a family of distributions reads the outcome; None for linear models.

    Raises
    ------
    CrosslevelError : a context variable that is no column, is not in the formula or varies within clusters; too few
        clusters; or what `levels_of` refuses.
    """
    asked = parse(formula)
    columns = Columns.from_frame(data)
    names = _named(context)
    columns_of_clusters = _columns_of(group_of(asked, group))
    columns.require(columns_of_clusters, "formula" if asked.random else "group")
    _refuse_numbers_as_text(columns, [name for name in asked.variables if name not in columns_of_clusters])
    clusters = group_codes(columns, tuple(columns_of_clusters))
    for name in names:
        if name in columns.names:
            _refuse_varying(columns, name, clusters)
    _refuse_few(clusters.n_levels, clusters.name, len(names), names)
    levels = levels_of(formula, columns, group=group, missing=missing, outcome=outcome)
    return _question(formula, levels, names, columns.names, outcome)


def _question(
    formula: str, levels: Levels, context: tuple[str, ...], columns: Sequence[str], outcome: AskedOutcome | None
) -> Question:
    """The question, once its terms are sorted."""
    from crosslevel.design import build_design

    n_clusters = int(levels.frame.groupby(_columns_of(levels.group), observed=True).ngroups)
    design = build_design(levels.formula(levels.fixed, levels.varying(())), levels.frame, outcome=outcome)
    for name in context:
        if not context_names(design, levels, (name,)):
            _refuse_absent(name, levels, columns)
    _refuse_determined(design, levels, context)
    n_context = sum(bool(c.factors) and set(c.factors) <= levels.context_columns for c in design.spec.columns)
    _refuse_few(n_clusters, levels.group, n_context, levels.context)
    left: tuple[str, ...] = ()
    if levels.slopes:
        slopes, random = levels.slopes, levels.random
    else:
        slopes, left = affordable(levels, design, n_clusters)
        random = levels.varying(slopes)
    return Question(
        formula=formula, levels=levels, context=context, slopes=slopes, maximal_random=random, too_many=left,
        n_clusters=n_clusters,
    )  # fmt: skip


def _refuse_few(n_clusters: int, group: str, n_context: int, names: Sequence[str]) -> None:
    """Refuse more cluster-level predictors than the clusters can tell apart.

    Raises
    ------
    DesignError : they are.
    """
    if n_clusters < n_context + 2:
        what = (
            f"tell the effect of a cluster-level predictor ({names[0]}) from chance"
            if n_context == 1
            else f"tell the effects of {n_context} cluster-level predictors ({', '.join(names)}) apart"
        )
        fix = "Take data with more clusters" if n_context == 1 else "Keep fewer context variables in the formula"
        raise DesignError(
            f"`context`: {n_clusters} {'cluster' if n_clusters == 1 else 'clusters'} of {group} cannot {what}: each "
            "equation of clusters needs at least two clusters more than predictors, and ten for each predictor is the "
            f"usual advice. {fix}."
        )


def _refuse_determined(design: Design, levels: Levels, context: Sequence[str]) -> None:
    """Refuse context effects, and slopes that are to vary, that other terms of the formula determine.

    Raises
    ------
    DesignError : there are some.
    """
    studied = context_names(design, levels, context)
    columns = [column for column in design.spec.columns if column.name in design.aliased]
    for column in columns:
        inside = [name for name in column.factors if name not in levels.context_columns]
        if studied.intersection(column.factors):
            what = f"the effect of {column.name}, which `context` asks for,"
        elif inside == list(column.factors) and not levels.slopes:
            what = f"the coefficient of {column.name}"
        else:
            continue
        raise DesignError(
            f"`formula`: {what} cannot be estimated, since the terms before it determine its values (but for rounding, "
            "if a variable's values are far from zero). Leave it out or what determines it; if it is an interaction, "
            "centre its variables."
        )


def affordable(levels: Levels, design: Design, n_clusters: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The slopes that a maximal model lets vary, and those that the clusters are too few for.

    All terms within clusters if there are at least two clusters for each random effect, the intercept's included; else
    those of cross-level interactions, then the others in the order of the formula, until there are as many.

    Raises
    ------
    DesignError : the slopes of the cross-level interactions alone are more.
    """
    room = n_clusters // PER_EFFECT - 1
    sizes = {term: n_columns(design, term) for term in levels.candidates}
    slopes: list[str] = []
    for term in levels.candidates:
        used = sum(sizes[name] for name in slopes)
        if used + sizes[term] <= room:
            slopes.append(term)
        elif term in levels.moderated:
            raise DesignError(
                f"`formula` has cross-level interactions with {', '.join(levels.moderated)}, each of which needs a "
                f"random slope, and {n_clusters} clusters of {levels.group} bear at most {max(room, 0)} (two clusters "
                "for each random effect). Keep fewer cross-level interactions."
            )
    return tuple(slopes), tuple(term for term in levels.candidates if term not in slopes)


def n_columns(design: Design, term: str) -> int:
    """Number of columns that a random slope of a term has: one for numbers, categories less one for a category."""
    (part,) = parse(f"y ~ {term}").fixed_terms[1:]
    components = {component.text: component for component in design.spec.components}
    sizes = []
    for expression in part.expressions:
        component = components[expression.text]
        sizes.append(len(component.reduced if component.reduced is not None else component.full))
    return int(np.prod(sizes))


def context_names(design: Design, levels: Levels, context: Sequence[str]) -> frozenset[str]:
    """Names of the components' columns that are made of context variables."""
    return frozenset(
        name
        for component in design.spec.components
        for name in component.names
        if name in levels.context_columns
        and (_plain(component.text) in map(_plain, context) or set(component.variables).intersection(context))
    )


def _plain(text: str) -> str:
    """A term without spaces and backquotes, as it may be spelt."""
    return "".join(text.replace("`", "").split())


def _named(context: Sequence[str] | str) -> tuple[str, ...]:
    """The context variables, each once.

    Raises
    ------
    CrosslevelError : none, or something else than names.
    """
    names = [context] if isinstance(context, str) else list(context) if isinstance(context, Iterable) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise CrosslevelError(
            "`context` names the variables of clusters whose effects are studied, such as ['gdp', 'inequality']; "
            f"got {context!r}."
        )
    return tuple(dict.fromkeys(names))


def _refuse_absent(name: str, levels: Levels, columns: Sequence[str]) -> None:
    """Say that a context variable is not in the formula.

    Raises
    ------
    CrosslevelError : always.
    """
    close = get_close_matches(name, [*levels.context, *columns], n=1, cutoff=0.6)
    hint = f" Did you mean {close[0]!r}?" if close and name not in columns else ""
    if name in levels.within:
        raise CrosslevelError(
            f"`context` names {name!r}, which varies within clusters of {levels.group}. For the effect of its mean in "
            f"the cluster, put between(..., {levels.group}) into the formula and name that."
        )
    there = ", ".join(levels.context) or "none"
    if ":" in name or "*" in name:
        raise CrosslevelError(
            f"`context` names {name!r}, which is an interaction. Name the cluster-level variable in it: the effects of "
            f"its interactions are among those studied. The cluster-level terms of `formula`: {there}."
        )
    raise ColumnNotFoundError(
        f"`context` names {name!r}, which is no cluster-level term of `formula`.{hint} Its cluster-level terms: "
        f"{there}. Add it, as in '{levels.response} ~ ... + {name}'."
    )


def _refuse_varying(columns: Columns, name: str, clusters: Factor) -> None:
    """Refuse a context variable with several values in a cluster.

    Raises
    ------
    DesignError : it has.
    """
    values = _values(columns, name)
    known = (clusters.codes >= 0) & ~np.isnan(values)
    if not known.any():
        return
    spread = pd.Series(values[known]).groupby(clusters.codes[known]).agg(["min", "max"])
    varies = (spread["max"] - spread["min"]) > SAME * max(float(np.std(values[known])), 0.0)
    count = int(varies.sum())
    if not count:
        return
    place = int(np.asarray(spread.index)[varies.to_numpy()][0])
    example = clusters.levels[place]
    fix = (
        f"If the composition of clusters is meant, put between({name}, {clusters.name}) into the formula and name that"
        if columns.is_numeric(name)
        else "If the share of a category is meant, compute it for each cluster and name that"
    )
    raise DesignError(
        f"`context` names {name!r}, which varies within clusters of {clusters.name}: {count} of {len(spread)} have "
        f"several values, such as {example!r}, and a context variable has one. {fix}; if values are wrong, correct "
        "them; else it is a predictor within clusters: leave it out of `context`."
    )


def _refuse_numbers_as_text(columns: Columns, names: Sequence[str]) -> None:
    """Refuse predictors whose many categories are all numbers: each number would have a coefficient of its own.

    Raises
    ------
    DataError : there is one.
    """
    for name in names:
        if name not in columns.names or columns.is_numeric(name):
            continue
        levels = columns.factor(name).levels
        if len(levels) > MANY and all(isinstance(level, str) and _is_number(level) for level in levels):
            raise DataError(
                f"`data` has numbers as text in {name!r}, such as {levels[0]!r}, so that each of its {len(levels)} "
                f"values would be a category. Turn them into numbers first, as in data[{name!r}].astype(float)."
            )


def _is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _values(columns: Columns, name: str) -> np.ndarray:
    """(n,) numbers of a column, or codes of its categories; NaN where missing."""
    if columns.is_numeric(name):
        return np.asarray(columns.numeric(name), dtype=np.float64)
    codes: IntArray = np.asarray(columns.factor(name).codes, dtype=np.int64)
    return np.where(codes >= 0, codes.astype(np.float64), np.nan)


def _columns_of(group: str) -> list[str]:
    """The columns that make the clusters."""
    return list(parse(f"y ~ 1 + (1 | {group})").random[0].group)
