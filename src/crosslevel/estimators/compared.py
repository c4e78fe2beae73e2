"""What can stand beside other results in a comparison, read into one form: a coefficient table with a name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pandas as pd

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.estimators.panel.fit import PanelFit
from crosslevel.estimators.regression import Regression
from crosslevel.estimators.responses.conditional_fit import ConditionalFit
from crosslevel.estimators.robust_fit import RobustFit
from crosslevel.estimators.two_step_fit import TwoStepFit
from crosslevel.inference.bootstrap.record import Bootstrap
from crosslevel.types import FloatArray

COLUMNS = ("estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high")
"""Of a coefficient table."""

NEEDED = ("estimate", "conf_low", "conf_high")
"""Columns without which a frame is no coefficient table."""

LEVELS_AGREE = 1e-6
"""Difference of two confidence levels that is rounding."""


@runtime_checkable
class Compared(Protocol):
    """A result with coefficients.

    Attributes
    ----------
    estimator : a short name.
    nobs, ngroups : rows, and clusters by grouping factor.
    """

    @property
    def estimator(self) -> str: ...  # noqa: D102
    @property
    def nobs(self) -> int: ...  # noqa: D102
    @property
    def ngroups(self) -> dict[str, int]: ...  # noqa: D102
    def tidy(self, *, level: float = 0.95) -> pd.DataFrame:
        """Coefficient table: `COLUMNS` by term."""
        ...


@runtime_checkable
class Renamed(Protocol):
    """A result whose coefficients have other names in a mixed model.

    Attributes
    ----------
    mixed_terms : the mixed model's name by own name, as in {"z": "x1:z", "Intercept": "x1"} for slopes of x1.
    """

    @property
    def mixed_terms(self) -> Mapping[str, str]: ...  # noqa: D102


@runtime_checkable
class Chosen(Protocol):
    """A search whose result is a fit.

    Attributes
    ----------
    fit : what was chosen.
    """

    @property
    def fit(self) -> object: ...  # noqa: D102


Comparable: TypeAlias = "Compared | Chosen | RobustFit | Bootstrap | pd.DataFrame | tuple[Any, str]"
"""A fit; what has a fit; a coefficient table; a bootstrap; a fit or bootstrap with the name of a method."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One column of a comparison.

    Attributes
    ----------
    name : its heading.
    frame : `COLUMNS` by term; NaN where there is none.
    formula : of the model; "" if unknown.
    nobs : rows; None if unknown.
    ngroups : clusters by grouping factor.
    link : what the coefficients add up to is this function of the mean; None if unknown.
    given_effects : whether coefficients compare rows with the same random effects; None if unknown.
    """

    name: str
    frame: pd.DataFrame = field(repr=False)
    formula: str = ""
    nobs: int | None = None
    ngroups: Mapping[str, int] = field(default_factory=dict)
    link: str | None = None
    given_effects: bool | None = None


def read_entry(given: object, level: float, name: str | None = None) -> Entry:
    """What was given as a column of a comparison.

    Parameters
    ----------
    given : see `Comparable`.
    level : confidence level of its intervals.
    name : its heading; what it calls itself if None.

    Raises
    ------
    CrosslevelError : it is none of these, or its intervals have another level.
    """
    source, method = _pair(given) if isinstance(given, tuple) else (given, None)
    searched = not isinstance(source, Compared) and isinstance(source, Chosen)
    source = source.fit if isinstance(source, Chosen) and searched else source
    if isinstance(source, Bootstrap):
        found = Entry(name=f"Bootstrap ({source.kind}), {method or 'percentile'}", frame=_drawn(source, method, level))
    elif isinstance(source, RobustFit):
        found = _robust_entry(source, level)
    elif isinstance(source, Compared):
        found = _fit_entry(source, method, level)
    elif isinstance(source, pd.DataFrame):
        found = Entry(name="Table", frame=_checked(source, level, name or "Table"))
    else:
        raise CrosslevelError(
            "`compare` takes fits, coefficient tables such as `fit.tests('kenward-roger')`, bootstraps, pairs such as "
            f"(fit, 'CR2'), and dicts of these by name; got {type(given).__name__}."
        )
    frame = found.frame.reindex(columns=list(COLUMNS)).astype(np.float64)
    frame.index = pd.Index([str(term) for term in frame.index], name="term")
    return replace(found, name=name or found.name + (", selected" if searched else ""), frame=frame)


def _robust_entry(source: RobustFit, level: float) -> Entry:
    """A cluster-robust covariance as a column of a comparison."""
    name = f"{source.method} by {' and '.join(source.ngroups)}"
    return Entry(name=name, frame=source.tidy(level=level), formula=source.formula, ngroups=source.ngroups)


def _fit_entry(source: Compared, method: str | None, level: float) -> Entry:
    """A fit as a column of a comparison, its coefficients by their names in a mixed model."""
    frame = source.tidy(level=level) if method is None else _by_method(source, method, level)
    mixed_terms = source.mixed_terms if isinstance(source, Renamed) else {}
    steps = source.second if isinstance(source, TwoStepFit) else ()
    # rows are not groups, differences, or those of groups that say something
    rows = source.rows.used if isinstance(source, PanelFit | ConditionalFit) else int(source.nobs)
    groups = {source.groups.name: source.groups.n_clusters} if isinstance(source, ConditionalFit) else source.ngroups
    return Entry(
        name=source.estimator if method is None else f"{source.estimator}, {method}",
        frame=frame.rename(index=dict(mixed_terms)), formula="; ".join((str(getattr(source, "formula", "")), *steps)),
        nobs=rows, ngroups=dict(groups), link=link_of(source),
        given_effects=has_given_effects(source),
    )  # fmt: skip


def has_given_effects(source: object) -> bool:
    """Whether coefficients compare rows of the same cluster, or with the same random effects."""
    if isinstance(source, GeneralizedFit):
        return bool(source.design.factors)
    return isinstance(source, ConditionalFit) or (isinstance(source, TwoStepFit) and source.family is not None)


def link_of(source: object) -> str:
    """Name of the link of a fit: that of its family, "identity" where it has none."""
    link = getattr(getattr(source, "family", None), "link", None)
    return link if isinstance(link, str) else "identity"


def term_key(term: str) -> frozenset[str]:
    """What makes two names of a coefficient the same: the order of an interaction's parts does not matter.

    Examples
    --------
    >>> term_key("ses:sector[a:b]") == term_key("sector[a:b]:ses")
    True
    """
    return frozenset(parts_of(term))


def parts_of(term: str, names: Iterable[str] = ()) -> list[str]:
    """Parts of an interaction: colons inside brackets, and in names that have some themselves, join none.

    Parameters
    ----------
    term : name of a coefficient.
    names : of variables and expressions that may be parts.

    Examples
    --------
    >>> parts_of("ses:grade[Yes: (fully)]:within(ses, a:b)"), parts_of("a:b:ses", ["a:b", "ses"])
    (['ses', 'grade[Yes: (fully)]', 'within(ses, a:b)'], ['a:b', 'ses'])
    """
    whole = sorted((name for name in names if ":" in name), key=len, reverse=True)
    found, depth, start, k = [], 0, 0, 0
    while k < len(term):
        here = next((name for name in whole if k == start and term.startswith(name, k)), "")
        if here and term[k + len(here) : k + len(here) + 1] in ("", ":", "["):
            k += len(here)
            continue
        depth = max(0, depth + (term[k] in "([") - (term[k] in ")]"))
        if term[k] == ":" and depth == 0:
            found.append(term[start:k])
            start = k + 1
        k += 1
    return [*found, term[start:]]


def _pair(given: tuple[object, ...]) -> tuple[object, str]:
    """A result and the name of a method."""
    if len(given) == 2 and isinstance(given[1], str) and isinstance(given[0], Compared | Chosen | Bootstrap):
        return given[0], given[1]
    kinds = ", ".join(type(part).__name__ for part in given)
    raise CrosslevelError(
        f"`compare` takes pairs of a fit or a bootstrap and the name of a method, such as (fit, 'kenward-roger') or "
        f"(boot, 'bca'); got ({kinds}). Give a table its name by a dict: {{'name': table}}."
    )


def _by_method(source: Compared, method: str, level: float) -> pd.DataFrame:
    """The coefficient table of a fit by another method than its own."""
    if isinstance(source, MixedFit | GeneralizedFit):
        if method == "profile":
            frame = source.tidy(level=level).drop(columns=["df", "statistic", "p_value", "conf_low", "conf_high"])
            return frame.join(source.conf_int(level, "profile"))
        if method.startswith("CR") or method == "jackknife":
            return source.tests(vcov=method, level=level)
        return source.tests(method, level=level)
    if isinstance(source, Regression):
        return source.tests(method, level=level)
    raise CrosslevelError(
        f"`compare` got ({source.estimator}, {method!r}), but this result has intervals of one kind only. Give it "
        "alone."
    )


def _drawn(boot: Bootstrap, method: str | None, level: float) -> pd.DataFrame:
    """Coefficients of a bootstrap, with the standard deviations of the replicates."""
    terms = boot.names[: boot.n_fixed]
    chosen: Any = method or "percentile"
    frame = boot.conf_int(level, chosen, terms=terms)
    return frame.assign(std_error=boot.std_error[list(terms)])


def _checked(frame: pd.DataFrame, level: float, name: str) -> pd.DataFrame:
    """A coefficient table that came without its fit.

    Raises
    ------
    CrosslevelError : columns are missing, terms come twice, or the intervals have another level.
    """
    absent = [column for column in NEEDED if column not in frame.columns]
    if absent:
        raise CrosslevelError(
            f"`compare` got the table {name!r} without {', '.join(absent)}; its columns are "
            f"{', '.join(map(str, frame.columns))}. A coefficient table has a row for each term, and at least "
            "estimate, conf_low and conf_high."
        )
    if frame.index.has_duplicates:
        twice = sorted({str(term) for term in frame.index[frame.index.duplicated()]})
        raise CrosslevelError(f"`compare` got the table {name!r} with several rows for {', '.join(twice)}.")
    if {"std_error", "df"} <= set(frame.columns):
        own = level_of(frame)
        if not np.isnan(own) and abs(own - level) > LEVELS_AGREE:
            raise CrosslevelError(
                f"`compare` got the table {name!r}, whose intervals have the level {own:.4g}, and `level` is {level:g}"
                f". Make the table with level={level:g}, or compare with level={own:.4g}."
            )
    return frame


def level_of(frame: pd.DataFrame) -> float:
    """The confidence level of t intervals, from their width; NaN where they are none or differ.

    Examples
    --------
    >>> import crosslevel as cl
    >>> fit = cl.mixed("Reaction ~ Days + (Days | Subject)", cl.datasets.load("sleepstudy"))
    >>> round(level_of(fit.tidy(level=0.9)), 6)
    0.9
    """
    from scipy.special import stdtr

    columns = (frame[column].to_numpy(dtype=np.float64) for column in (*NEEDED, "std_error", "df"))
    estimate, low, high, std_error, df = columns
    able = np.isfinite(low) & np.isfinite(high) & (std_error > 0.0) & (df > 0.0)
    if not np.any(able):
        return np.nan
    half: FloatArray = (high[able] - low[able]) / (2.0 * std_error[able])
    centred = np.abs(0.5 * (low[able] + high[able]) - estimate[able]) <= 1e-6 * std_error[able]
    levels = 2.0 * stdtr(np.minimum(df[able], 1e10), half) - 1.0
    return float(levels[0]) if np.all(centred) and np.ptp(levels) <= LEVELS_AGREE else np.nan
