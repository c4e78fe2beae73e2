"""Tables of averages, slopes and contrasts, with what they mean, and comparisons between their rows."""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from crosslevel.display import Column, Document, Note, Row, Table, counted, percent
from crosslevel.errors import CrosslevelError
from crosslevel.estimators.combining import Combiner
from crosslevel.estimators.marginal_setting import written
from crosslevel.inference.bootstrap.intervals import percentile
from crosslevel.inference.multiplicity import ADJUSTMENTS, adjusted, check_adjust
from crosslevel.inference.wald import check_level, coefficient_table
from crosslevel.types import FloatArray, IntArray

Comparison: TypeAlias = Literal["pairwise", "reference", "sequential"]

COMPARISONS = ("pairwise", "reference", "sequential")
"""All pairs, each with the first, each with the one before."""

STATISTICS = ("estimate", "std_error", "df", "statistic", "p_value", "conf_low", "conf_high")
"""Columns that every table begins with."""

OTHER_ORDER = ("estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high")
"""The order in which other packages have them; `df` comes last there."""


ZERO = "Random effects are zero."
"""What predictions of the fixed part do with the random effects."""


@dataclass(frozen=True, kw_only=True, eq=False)
class About:
    """What a table of averages, slopes or contrasts is of.

    Attributes
    ----------
    kind : "predictions", "slopes", "contrasts".
    response : what is predicted.
    by : the variables that are set.
    place : where the other variables are.
    method : how degrees of freedom are counted, or which covariance it is, in words.
    level : confidence level.
    adjust : how p-values and intervals are adjusted.
    n_families : families of tests that are adjusted together.
    notes : what else has to be known.
    rows : (m, p) weights of the coefficients, of which each estimate is a combination; of expected outcomes of models
        with a family their derivatives in all parameters and, last, their values.
    combiner : how combinations are tested.
    averages : what predictions do with the random effects.
    """

    kind: str
    response: str
    by: tuple[str, ...]
    place: str
    method: str
    level: float
    adjust: str
    n_families: int
    notes: tuple[str, ...]
    rows: FloatArray = field(repr=False)
    combiner: Combiner = field(repr=False)
    averages: str = ZERO


class Margins(pd.DataFrame):
    """Averages of predictions, slopes, or comparisons of them: a frame, as every coefficient table, that can compare.

    By term: estimate, std_error, df, statistic, p_value, conf_low, conf_high; then `contrast`, and a column for each
    variable in `by`. Whatever is made of it, as by `found[["estimate"]]` or `found.round(2)`, is a plain frame.

    Attributes
    ----------
    about : what the table is of.
    """

    about: About
    _metadata = ["about"]  # noqa: RUF012 (pandas looks for a list)

    @classmethod
    def of(cls, frame: pd.DataFrame, about: About) -> "Margins":
        """A frame with what it is of."""
        out = cls(frame)
        out.about = about
        return out

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    @property
    def frame(self) -> pd.DataFrame:
        """The same as a plain frame."""
        return pd.DataFrame(self)

    @property
    def notes(self) -> tuple[str, ...]:
        """What has to be known of the table."""
        return self.about.notes

    @property
    def rows(self) -> FloatArray:
        """(m, p) weights of the coefficients, of which each estimate is a combination."""
        return self.about.rows

    def tidy(self) -> pd.DataFrame:
        """The same as a plain frame."""
        return self.frame

    def to_marginaleffects(self) -> pd.DataFrame:
        """The same as a plain frame in the order of the marginaleffects packages.

        Returns
        -------
        frame: term, contrast, estimate, std_error, statistic, p_value, conf_low, conf_high, df, and the variables in
        `by`.
        """
        out = self.frame.reset_index()
        if "contrast" not in out:
            out["contrast"] = ""
        return out[["term", "contrast", *OTHER_ORDER, "df", *(name for name in out if name not in STATISTICS and name
                    not in ("term", "contrast"))]]  # fmt: skip

    def contrasts(
        self,
        kind: Comparison = "pairwise",
        *,
        among: str | Sequence[str] | None = None,
        adjust: str = "none",
        level: float | None = None,
    ) -> "Margins":
        """Differences between rows, each a combination of coefficients with a test of its own.

        Parameters
        ----------
        kind : "pairwise" (each later row less each earlier one), "reference" (each less the first), "sequential" (each
            less the one before).
        among : variables of `by` whose values are compared, within each combination of the others; the first if None.
        adjust : "none", "holm", "bonferroni" or "tukey" (pairwise only). The comparisons within one combination of the
            other variables (and of one term) are a family.
        level : confidence level; that of the table if None.

        Raises
        ------
        CrosslevelError : nothing to compare, or no such comparison or adjustment.
        """
        if kind not in COMPARISONS:
            raise CrosslevelError(f"`contrasts` is one of {', '.join(map(repr, COMPARISONS))}; got {kind!r}.")
        compared = self._compared(among)
        others = [name for name in self.about.by if name not in compared]
        records: list[dict[str, Any]] = []
        rows: list[FloatArray] = []
        families: list[int] = []
        means: list[int] = []
        for family, places in enumerate(self._groups(others)):
            known = int(np.count_nonzero(np.isfinite(self.rows[places]).all(axis=1)))
            labels = [", ".join(written(self.frame[name].iloc[i]) for name in compared) for i in places]
            for one, other in pairs(len(places), kind):
                first, second = places[one], places[other]
                records.append(self._record(first, labels[one], labels[other], compared, others))
                rows.append(self.rows[first] - self.rows[second])
                families.append(family)
                means.append(max(known, 2) if kind == "pairwise" else 0)
        if not records:
            raise CrosslevelError(f"`contrasts` compares values of {', '.join(compared)}, of which there is one only.")
        table = table_of(
            self.about.combiner, np.array(rows), records, families=np.array(families), means=np.array(means),
            adjust=adjust, level=self.about.level if level is None else level,
        )  # fmt: skip
        about = replace(
            self.about,
            kind="contrasts",
            by=tuple(others),
            level=self.about.level if level is None else level,
            adjust=adjust,
            n_families=len(set(families)),
            rows=np.array(rows),
        )
        return Margins.of(table, about)

    def document(self) -> Document:
        """The table with its words, to print or to show in a notebook."""
        return document_of(self)

    def __str__(self) -> str:
        return str(self.document())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.document()._repr_html_()

    def _compared(self, among: str | Sequence[str] | None) -> list[str]:
        """The variables whose values are compared."""
        if not self.about.by:
            raise CrosslevelError("`contrasts` compares the values of variables in `by`, which names none.")
        wanted = [self.about.by[0]] if among is None else [among] if isinstance(among, str) else list(among)
        strange = [name for name in wanted if name not in self.about.by]
        if strange or not wanted:
            raise CrosslevelError(f"`among` names {strange}; the variables of `by` are {', '.join(self.about.by)}.")
        return wanted

    def _groups(self, others: Sequence[str]) -> list[list[int]]:
        """Positions of the rows that are compared with each other."""
        found: dict[Hashable, list[int]] = {}
        term = self.frame.index if self.about.kind != "predictions" else [""] * len(self.frame)
        contrast = self.frame["contrast"] if "contrast" in self.frame else [""] * len(self.frame)
        values = [self.frame[name] for name in others]
        for i, key in enumerate(zip(term, contrast, *values, strict=True)):
            found.setdefault(key, []).append(i)
        return list(found.values())

    def _record(
        self, row: int, first: str, second: str, compared: Sequence[str], others: Sequence[str]
    ) -> dict[str, Any]:
        """Term, contrast and other variables of a difference."""
        held = {name: self.frame[name].iloc[row] for name in others}
        label = f"{bracketed(first)} - {bracketed(second)}"
        if self.about.kind == "predictions":
            return {"term": ":".join(compared), "contrast": label, **held}
        own = self.frame["contrast"].iloc[row]
        what = label if own == SLOPE else f"({own}) {label}"
        return {"term": self.frame.index[row], "contrast": what, **held}


SLOPE = "slope"
"""What stands in `contrast` for the effect of a number."""


def pairs(count: int, kind: str) -> list[tuple[int, int]]:
    """Which rows are compared: (the one that counts positively, the other)."""
    if kind == "pairwise":
        return [(later, earlier) for earlier, later in itertools.combinations(range(count), 2)]
    if kind == "reference":
        return [(k, 0) for k in range(1, count)]
    return [(k, k - 1) for k in range(1, count)]


def bracketed(label: str) -> str:
    """A label that can stand beside a minus sign."""
    return f"({label})" if label.startswith("-") or ", " in label else label


def table_of(
    combiner: Combiner,
    rows: FloatArray,
    records: Sequence[Mapping[str, Any]],
    *,
    families: IntArray,
    means: IntArray,
    adjust: str,
    level: float,
    shift: float = 0.0,
) -> pd.DataFrame:
    """Frame of combinations C beta with adjusted tests and intervals, and what describes each row after these.

    Parameters
    ----------
    combiner, rows : C (m, p), and how it is tested.
    records : the term of each row, and its further columns.
    families, means, adjust, level : see `multiplicity.adjusted`.
    shift : a known number that is added to all estimates.
    """
    check_adjust(adjust)
    estimate, std_error, df = combiner.estimate(rows)
    drawn = combiner.drawn(rows)
    if drawn is not None:
        if adjust != "none":
            raise CrosslevelError(
                f"`adjust` is {adjust!r}, but percentile intervals are of single estimates. Use 'none'."
            )
        std_error, df = drawn.std(axis=1, ddof=1), np.full(len(rows), np.inf)
    terms = tuple(str(record["term"]) for record in records)
    table = coefficient_table(terms, estimate + shift, std_error, df, level=check_level(level))
    if drawn is not None:
        limits = [percentile(values, level) if np.isfinite(values).all() else (np.nan, np.nan) for values in drawn]
        table[["conf_low", "conf_high"]] = np.array(limits) + shift
    if adjust != "none":
        unadjusted = table["p_value"].to_numpy()
        p_value, critical = adjusted(table["statistic"].to_numpy(), df, families, means, adjust, level=level)
        table["p_value"] = p_value
        table["conf_low"] = table["estimate"] - critical * std_error
        table["conf_high"] = table["estimate"] + critical * std_error
    for name in records[0]:
        if name != "term":
            table[name] = [record[name] for record in records]
    if adjust != "none":
        table["p_unadjusted"] = unadjusted
    return table


def document_of(margins: Margins) -> Document:
    """A table of margins with its words."""
    frame = margins.frame
    terms = list(dict.fromkeys(map(str, frame.index)))
    alone = terms[0] if len(terms) == 1 and margins.about.kind != "predictions" else ""
    title = {
        "predictions": f"Adjusted predictions of {margins.about.response}",
        "slopes": f"Effect of {alone} on {margins.about.response}" if alone else f"Effects on {margins.about.response}",
        "contrasts": f"Differences in {margins.about.response} by {alone}"
        if alone
        else f"Differences in {margins.about.response}",
    }[margins.about.kind]
    plain = "contrast" in frame and set(frame["contrast"]) == {SLOPE}
    extra = [
        str(name) for name in frame if name not in (*STATISTICS, "p_unadjusted") and not (plain and name == "contrast")
    ]
    named = not (extra and (alone or margins.about.kind == "predictions"))
    statistics = _statistics(margins)
    columns = [
        *([Column("term", format="text")] if named else []), *(Column(str(name), align="right") for name in extra),
        *statistics.values(),
    ]  # fmt: skip
    body = [_cells(margins, row, extra, list(statistics), named=named) for row in range(len(frame))]
    blocks: list[Table | Note] = [Table(columns, body, notes=_words(margins))]
    empty = int(frame["estimate"].isna().sum())
    if empty:
        what = (
            f"{empty} of {len(frame)} rows are not determined by the data: they need coefficients that were left out, "
            "as those of empty cells are."
        )
        blocks.append(Note(what, kind="warning"))
    return Document(title, blocks)


def _words(margins: Margins) -> list[str]:
    """What stands below the table."""
    out = [
        f"Other variables: {margins.about.place}. {margins.about.averages}",
        f"{_what(margins)}: {margins.about.method}.",
    ]
    if margins.about.adjust != "none":
        per = len(margins.frame) / margins.about.n_families
        size = f"of {per:.0f}" if per == int(per) else f"({len(margins.frame)} tests in all)"
        what = "one family" if margins.about.n_families == 1 else f"{counted(margins.about.n_families)} families, each"
        out.append(f"Multiplicity: {ADJUSTMENTS[margins.about.adjust]}; {what} {size}.")
    return [*out, *margins.notes]


def _what(margins: Margins) -> str:
    """What the method is of."""
    return "Tests" if margins.frame["statistic"].notna().any() else "Intervals"


def _statistics(margins: Margins) -> dict[str, Column]:
    """The columns of statistics that say something: no degrees of freedom of z, no tests where there are none."""
    frame, share = margins.frame, percent(margins.about.level, decimals=0)
    counted_df, tested = bool(np.isfinite(frame["df"]).any()), bool(frame["statistic"].notna().any())
    columns = {
        "estimate": Column("estimate"),
        "std_error": Column("SE"),
        "df": Column("df", format="fixed", decimals=1),
        "statistic": Column("t" if counted_df else "z", format="fixed", decimals=2),
        "p_value": Column("p", format="p"),
        "conf_low": Column(f"{share} low"),
        "conf_high": Column("high"),
    }
    left_out = {*(() if counted_df else ("df",)), *(() if tested else ("statistic", "p_value"))}
    return {name: column for name, column in columns.items() if name not in left_out}


def _cells(margins: Margins, row: int, extra: Sequence[str], statistics: Sequence[str], *, named: bool) -> Row:
    """Cells of one row."""
    shown = [written(margins.frame[name].iloc[row]) for name in extra]
    numbers = [float(margins.frame[name].iloc[row]) for name in statistics]
    return [*([str(margins.frame.index[row])] if named else []), *shown, *numbers]
