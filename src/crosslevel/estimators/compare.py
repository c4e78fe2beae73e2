"""Coefficients of several estimators side by side, and how wide their intervals are."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np
import pandas as pd

from crosslevel.display import Block, Column, Document, Note, Row, Section, Table, counted, fixed, number, percent
from crosslevel.errors import CrosslevelError, DataWarning
from crosslevel.estimators.compared import COLUMNS, Comparable, Entry, read_entry, term_key
from crosslevel.estimators.summary import shown_decimals
from crosslevel.inference.wald import check_level


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Coefficients of several estimators, with the widths of their intervals relative to those of one of them.

    Attributes
    ----------
    entries : the estimators with their coefficient tables; terms have one name in all of them.
    terms : the coefficients, in order.
    baseline : position of the estimator that the others are measured by.
    level : confidence level of all intervals.
    notes : what makes the comparison doubtful, in words.
    """

    entries: tuple[Entry, ...] = field(repr=False)
    terms: tuple[str, ...]
    baseline: int
    level: float
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the estimators."""
        return tuple(entry.name for entry in self.entries)

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each coefficient of each estimator, by term.

        Columns estimate, std_error, df, statistic, p_value, conf_low, conf_high; estimator; width, of the interval; and
        relative_width_percent, D = 100 (width / width of the baseline's interval - 1). NaN where there is none.
        """
        base = _width(self.entries[self.baseline].frame)
        parts = []
        for entry in self.entries:
            own = entry.frame.assign(estimator=entry.name, width=_width(entry.frame))
            whole = base.reindex(own.index)
            ratio = own["width"] / whole.where(whole > 0.0)
            parts.append(own.assign(relative_width_percent=100.0 * (ratio - 1.0)))
        frame = pd.concat(parts)
        place = {term: k for k, term in enumerate(self.terms)}
        return frame.iloc[np.argsort([place[term] for term in frame.index], kind="stable")]

    def wide(self, column: str = "relative_width_percent") -> pd.DataFrame:
        """One column of `frame` with a row for each term and a column for each estimator.

        Raises
        ------
        CrosslevelError : no such column.
        """
        frame = self.frame
        if column not in frame.columns:
            raise CrosslevelError(f"`column` is one of {', '.join(map(repr, frame.columns))}; got {column!r}.")
        parts = {name: frame.loc[frame["estimator"] == name, column] for name in self.names}
        return pd.DataFrame(parts, index=pd.Index(self.terms, name="term"), columns=list(self.names))

    def document(self) -> Document:
        """Widths in percent of the baseline's, and all estimates with their intervals side by side."""
        notes = [Note(note, kind="warning") for note in self.notes]
        blocks: list[Block] = [*notes, _widths(self), _side_by_side(self), _models(self)]
        return Document("Estimators compared", blocks)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the comparison for a notebook."""
        return self.document()._repr_html_()


def compare(
    *fits: "Comparable | Mapping[str, Comparable]",
    baseline: str | int | object = None,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    terms: str | Sequence[str] | None = None,
    rename: Mapping[str, Mapping[str, str]] | None = None,
) -> Comparison:
    """Put the coefficients of any estimators side by side, with the widths of their intervals relative to a baseline.

    D = 100 (width / width of the baseline's interval - 1) percent: negative where an estimator is more precise than the
    baseline (Heisig, Schaeffer & Giesecke 2017, tables 3 and 4). Coefficients are matched by name, whatever the order
    of an interaction's parts; those of a two-step fit by their names in the mixed model.

    Parameters
    ----------
    *fits : fits of `mixed`, `ols`, `two_step`, `fixed_effects` and all others; results of `fit.robust()`, `select` and
        `fit.bootstrap()`; pairs of a fit or a bootstrap with a method, such as (fit, "kenward-roger"), (fit, "CR2"),
        (fit, "profile") or (boot, "bca"); coefficient tables such as `fit.tests("satterthwaite")`; or dicts of these by
        name.
    baseline : the estimator that widths are relative to: its name, its position from 0, or the fit itself; the first
        if None.
    names : of the estimators, in order; what they call themselves if None.
    level : confidence level of all intervals.
    terms : the coefficients to compare, in order; all if None.
    rename : for estimators by name, their coefficients' names in the others: {"Two-step": {"z": "x:z"}}.

    Returns
    -------
    Comparison : prints as tables; `.frame` (a row for each coefficient of each estimator), `.wide(column)`.

    Raises
    ------
    CrosslevelError : nothing to compare, a baseline that is not among them, a term that none has.

    Warns
    -----
    DataWarning : the estimators have different rows or clusters.

    Source
    ------
    Heisig, Schaeffer & Giesecke (2017), Amer. Sociol. Rev. 82: 796-827, note to table 3.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed("mathach ~ ses * sector + (ses | school)", data)
    >>> pooled = cl.ols("mathach ~ ses * sector", data, cluster="school")
    >>> cl.compare(fit, pooled, names=["Mixed", "OLS"]).wide().round(1)
                          Mixed   OLS
    term
    Intercept               0.0 -14.9
    ses                     0.0   7.7
    sector[Catholic]        0.0  -6.6
    ses:sector[Catholic]    0.0  14.8
    """
    check_level(level)
    given = [pair for fit in fits for pair in _named(fit)]
    if len(given) < 2:
        raise CrosslevelError(
            f"`compare` needs at least two estimators; got {len(given)}. Give several fits, or one fit with several "
            "methods: compare(fit, (fit, 'kenward-roger'))."
        )
    if names is not None:
        given = _with_names(given, names)
    entries = _told_apart([read_entry(fit, level, name) for name, fit in given])
    entries = _renamed(entries, rename or {})
    place = _place(baseline, [fit for _, fit in given], entries)
    known, entries = _matched(entries, place)
    chosen = known if terms is None else _chosen(terms, known)
    kept = tuple(
        replace(entry, frame=entry.frame.loc[[term for term in chosen if term in entry.frame.index]])
        for entry in entries
    )
    notes = (*_differences(entries), *_scales(entries))
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    return Comparison(entries=kept, terms=chosen, baseline=place, level=level, notes=notes)


# -- reading what was given ---------------------------------------------------------------------------------------
def _named(given: object) -> Iterator[tuple[str | None, object]]:
    """What was given in one place: itself, or the members of a dict with their names."""
    if isinstance(given, Mapping):
        for name, fit in given.items():
            yield str(name), fit
    else:
        yield None, given


def _with_names(given: list[tuple[str | None, object]], names: Sequence[str]) -> list[tuple[str | None, object]]:
    """The same with the names that were asked for."""
    asked = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(asked) != len(given) or len(set(asked)) < len(asked):
        raise CrosslevelError(f"`names` needs {len(given)} different names, one for each estimator; got {asked!r}.")
    return [(name, fit) for name, (_, fit) in zip(asked, given, strict=True)]


def _told_apart(entries: list[Entry]) -> list[Entry]:
    """Entries whose names differ: the same name twice gets numbers."""
    names = [entry.name for entry in entries]
    count: dict[str, int] = {}
    out = []
    for entry in entries:
        count[entry.name] = count.get(entry.name, 0) + 1
        number_of = f" ({count[entry.name]})" if names.count(entry.name) > 1 else ""
        out.append(replace(entry, name=f"{entry.name}{number_of}"))
    return out


def _renamed(entries: list[Entry], rename: Mapping[str, Mapping[str, str]]) -> list[Entry]:
    """Entries with their coefficients' names in the others."""
    names = [entry.name for entry in entries]
    if not isinstance(rename, Mapping) or not all(isinstance(mapping, Mapping) for mapping in rename.values()):
        raise CrosslevelError(
            "`rename` is a dict by estimator of dicts from its names of coefficients to those of the others, such as "
            f"{{{names[0]!r}: {{'z': 'x:z'}}}}; got {rename!r}."
        )
    for name, mapping in rename.items():
        if name not in names:
            raise CrosslevelError(f"`rename` names the estimator {name!r}; there are {', '.join(map(repr, names))}.")
        frame = entries[names.index(name)].frame
        absent = [term for term in mapping if term not in frame.index]
        if absent:
            raise CrosslevelError(
                f"`rename` has {', '.join(map(repr, absent))} for {name!r}, whose coefficients are "
                f"{', '.join(map(repr, frame.index))}."
            )
    return [replace(entry, frame=entry.frame.rename(index=dict(rename.get(entry.name, {})))) for entry in entries]


def _place(baseline: object, given: list[object], entries: list[Entry]) -> int:
    """Position of the baseline.

    Raises
    ------
    CrosslevelError : it is not among the estimators.
    """
    names = [entry.name for entry in entries]
    if baseline is None:
        return 0
    if isinstance(baseline, str) and baseline in names:
        return names.index(baseline)
    if isinstance(baseline, int | np.integer) and not isinstance(baseline, bool) and 0 <= baseline < len(names):
        return int(baseline)
    for k, fit in enumerate(given):
        if fit is baseline:
            return k
    shown = repr(baseline) if isinstance(baseline, str | int) else f"a {type(baseline).__name__} that was not given"
    listed = ", ".join(f"{k}: {name!r}" for k, name in enumerate(names))
    raise CrosslevelError(f"`baseline` is {shown}; the estimators are {listed}. Name one, or give its position.")


def _matched(entries: list[Entry], first: int) -> tuple[tuple[str, ...], list[Entry]]:
    """Names of all terms, the baseline's first, and the tables with one name for each."""
    names: dict[frozenset[str], str] = {}
    for entry in [entries[first], *entries]:
        for term in entry.frame.index:
            names.setdefault(term_key(term), term)
    out = [
        replace(entry, frame=entry.frame.set_axis(_axis([names[term_key(term)] for term in entry.frame.index])))
        for entry in entries
    ]
    for entry in out:
        if entry.frame.index.has_duplicates:
            twice = sorted({str(term) for term in entry.frame.index[entry.frame.index.duplicated()]})
            raise CrosslevelError(
                f"`compare` finds several coefficients of {entry.name!r} that are called {', '.join(twice)}. Give them "
                "different names by `rename`."
            )
    return tuple(names.values()), out


def _axis(names: list[str]) -> pd.Index:
    """An index of terms."""
    return pd.Index(names, name="term")


def _chosen(terms: str | Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The terms that were asked for, by their names here."""
    place = {term_key(term): term for term in known}
    out = []
    for term in [terms] if isinstance(terms, str) else terms:
        if term_key(str(term)) not in place:
            close = get_close_matches(str(term), known, n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise CrosslevelError(
                f"`terms` has {term!r}, which is a coefficient of none of the estimators.{hint} "
                f"Coefficients: {', '.join(known)}."
            )
        out.append(place[term_key(str(term))])
    if not out:
        raise CrosslevelError("`terms` is empty. Name coefficients, or leave it out for all of them.")
    return tuple(dict.fromkeys(out))


def _differences(entries: Sequence[Entry]) -> Iterator[str]:
    """Rows and clusters that are not the same everywhere, in words."""
    rows = {entry.name: entry.nobs for entry in entries if entry.nobs is not None}
    if len(set(rows.values())) > 1:
        listed = "; ".join(f"{name} {counted(count)}" for name, count in rows.items())
        yield (
            f"The estimators have different numbers of rows ({listed}), so that differences between them may be those "
            "of the rows. Drop rows with missing values first, and fit all to the same. Two-step regressions leave out "
            "clusters without an estimate of their own, too."
        )
    for group in dict.fromkeys(group for entry in entries for group in entry.ngroups):
        clusters = {entry.name: entry.ngroups[group] for entry in entries if group in entry.ngroups}
        if len(set(clusters.values())) > 1:
            listed = "; ".join(f"{name} {counted(count)}" for name, count in clusters.items())
            yield f"The estimators have different numbers of clusters of {group} ({listed})."


def _scales(entries: Sequence[Entry]) -> Iterator[str]:
    """Coefficients that are of different sizes even where all estimators are right, in words."""
    links = {entry.name: entry.link for entry in entries if entry.link is not None}
    if len(set(links.values())) > 1:
        listed = "; ".join(f"{name}: {link}" for name, link in links.items())
        yield (
            f"The estimators have different links ({listed}), so that the sizes of their coefficients cannot be "
            "compared; signs and p-values can. Compare differences on the scale of the outcome by cl.slopes."
        )
        return
    curved = [entry for entry in entries if entry.link not in (None, "identity", "log")]
    if len({entry.given_effects for entry in curved}) > 1:
        listed = "; ".join(entry.name for entry in curved if entry.given_effects)
        yield (
            f"Some coefficients ({listed}) compare rows with the same random effects; those of the others compare "
            "averages over clusters, and are smaller even where both are right. Compare averages by cl.slopes."
        )


def _width(frame: pd.DataFrame) -> pd.Series:
    """Widths of the intervals."""
    return frame["conf_high"] - frame["conf_low"]


# -- words --------------------------------------------------------------------------------------------------------
def _widths(found: Comparison) -> Table:
    """D of each coefficient and estimator, beside the baseline's width."""
    base, relative = found.names[found.baseline], found.wide()
    widths = found.wide("width")[base]
    others = [name for name in found.names if name != base]
    rows: list[Row] = [
        [term, number(widths[term]), *(signed_percent(float(relative[name][term])) for name in others)]
        for term in found.terms
    ]
    columns: list[str | Column] = [
        "Term", Column(f"Width, {base}", align="decimal"), *(Column(name, align="decimal") for name in others),
    ]  # fmt: skip
    return Table(
        columns, rows, title=f"Widths of {percent(found.level, decimals=0)} intervals, in % more than {base}",
        notes=["Negative: narrower than the baseline's, so more precise where both cover as they should."],
    )  # fmt: skip


def _side_by_side(found: Comparison) -> Table:
    """Estimates, intervals, degrees of freedom and relative widths, a column for each estimator."""
    relative, rows = found.wide(), list[Row]()
    for term in found.terms:
        cells = [_cells(entry.frame, term) for entry in found.entries]
        rows.append(Section(term))
        rows.append(["Estimate (SE)", *(cell[0] for cell in cells)])
        rows.append([f"{percent(found.level, decimals=0)} interval", *(cell[1] for cell in cells)])
        rows.append(["df", *(cell[2] for cell in cells)])
        rows.append(["Width, %", *(signed_percent(float(relative[name][term])) for name in found.names)])
    columns: list[str | Column] = ["", *(Column(name, align="right") for name in found.names)]
    return Table(columns, rows, title="Estimates and intervals")


def _cells(frame: pd.DataFrame, term: str) -> tuple[str | None, str | None, str | None]:
    """Estimate with standard error, interval, and degrees of freedom; nothing where there are none."""
    if term not in frame.index:
        return None, None, None
    estimate, error, df, _, _, low, high = (float(frame[column][term]) for column in COLUMNS)
    scale = error if np.isfinite(error) else (high - low) / 4.0
    decimals = shown_decimals(scale, estimate) if np.isfinite(scale) else 3
    shown = fixed(estimate, decimals) + (f" ({fixed(error, decimals)})" if np.isfinite(error) else "")
    interval = f"[{fixed(low, decimals)}, {fixed(high, decimals)}]" if np.isfinite(high - low) else None
    if not np.isfinite(df):
        return shown, interval, None if np.isnan(df) else "∞"
    return shown, interval, fixed(df, 0 if df > 1000 or df == round(df) else 1)


def signed_percent(value: float) -> str | None:
    """A percentage with its sign; nothing for NaN.

    Examples
    --------
    >>> signed_percent(12.34), signed_percent(-0.01), signed_percent(float("nan"))
    ('+12.3', '0.0', None)
    """
    if np.isnan(value):
        return None
    shown = fixed(value, 1)
    return shown if shown.startswith("-") or float(shown) == 0.0 else f"+{shown}"


def _models(found: Comparison) -> Table:
    """What each estimator was fitted to."""
    rows: list[Row] = []
    for entry in found.entries:
        clusters = ", ".join(f"{counted(count)} ({group})" for group, count in entry.ngroups.items())
        rows.append([entry.name, None if entry.nobs is None else counted(entry.nobs), clusters, entry.formula])
    columns: list[str | Column] = ["Estimator", Column("Rows", align="right"), "Clusters", "Formula"]
    return Table(columns, rows, title="Data and models", notes=[f"Baseline: {found.names[found.baseline]}."])
