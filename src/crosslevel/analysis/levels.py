"""Which terms of a formula describe rows, which clusters, and which both: the formulas of the usual models follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crosslevel.design import Design, build_design
from crosslevel.design.levels import constant_components
from crosslevel.design.outcome import AskedOutcome
from crosslevel.errors import CrosslevelError, FormulaError
from crosslevel.estimators.mixed import mixed
from crosslevel.formula import Formula, parse
from crosslevel.formula.expressions import quoted
from crosslevel.formula.terms import Term
from crosslevel.table import Columns
from crosslevel.types import Frame, Missing


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossLevelTerm:
    """A cross-level interaction.

    Attributes
    ----------
    text : the term, as in "ses:sector".
    slope : its part within clusters, as in "ses".
    moderator : its part that is constant within them, as in "sector".
    """

    text: str
    slope: str
    moderator: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """A formula with one grouping factor, its terms sorted by level.

    Attributes
    ----------
    response : the outcome as written.
    group : what stands after the bar.
    within : terms that vary within clusters.
    context : terms that are constant within clusters.
    cross : cross-level interactions.
    slopes : what the random part lets vary besides the intercept; none where it has no random part.
    random : the random part as written, "(1 | group)" where there was none.
    free : whether it is one block whose effects are freely correlated.
    context_columns : names of the components' columns that are constant within clusters, as in "sector[Catholic]".
    frame : the complete rows of all variables, which every model is fitted to.
    rows_read : rows before those with missing values were left out.
    """

    response: str
    group: str
    within: tuple[str, ...]
    context: tuple[str, ...]
    cross: tuple[CrossLevelTerm, ...]
    slopes: tuple[str, ...]
    random: str
    free: bool
    context_columns: frozenset[str]
    frame: pd.DataFrame
    rows_read: int

    @property
    def fixed(self) -> tuple[str, ...]:
        """All terms of the fixed part, in the order of a formula."""
        return (*self.within, *self.context, *(term.text for term in self.cross))

    @property
    def moderated(self) -> tuple[str, ...]:
        """The slopes that context explains, each once."""
        return tuple(dict.fromkeys(term.slope for term in self.cross))

    @property
    def candidates(self) -> tuple[str, ...]:
        """All that may have a random slope: those of cross-level interactions first, then the other terms within."""
        return tuple(dict.fromkeys([*self.moderated, *self.within]))

    def formula(self, fixed: Sequence[str], random: str) -> str:
        """A formula of the same outcome."""
        return f"{self.response} ~ {' + '.join(fixed) or '1'} + {random}"

    def columns_of(self, slope: str, design: Design) -> tuple[str, ...]:
        """Names of the design columns that a term within clusters has, as cross-level interactions multiply them."""
        wanted = [expression.text for expression in parse(f"y ~ 0 + {slope}").fixed_terms[0].expressions]
        names = [set(component.names) for text in wanted for component in design.spec.components
                 if component.text == text]  # fmt: skip
        found = (
            [name for name in column.factors if name not in self.context_columns] for column in design.spec.columns
        )
        return tuple(
            dict.fromkeys(
                ":".join(inside)
                for inside in found
                if len(inside) == len(names) and all(any(name in own for name in inside) for own in names)
            )
        )

    def varying(self, slopes: Sequence[str]) -> str:
        """The random term with an intercept and these slopes, freely correlated."""
        return f"({' + '.join(['1', *slopes])} | {self.group})"


def levels_of(
    formula: str,
    data: Frame,
    *,
    group: str | None = None,
    missing: Missing = "drop",
    outcome: AskedOutcome | None = None,
) -> Levels:
    """Sort the terms of a formula by level.

    Parameters
    ----------
    formula : with one grouping factor in its random part; or without a random part, and `group`.
    data : a frame with its rows in memory.
    group : the clusters, where the formula has no random part.
    missing : as in `mixed`.
    outcome : how a family of distributions reads the outcome; None for linear models.

    Raises
    ------
    CrosslevelError : no grouping factor or several, no intercept, or a wrong formula or data.
    """
    asked = parse(formula)
    found = group_of(asked, group)
    random = " + ".join(dict.fromkeys(part.text for part in asked.random)) or f"(1 | {found})"
    require_intercepts(asked)
    columns = Columns.from_frame(data)
    if not asked.random:
        columns.require(parse(f"y ~ 1 + (1 | {found})").random[0].group, "group")
    text = f"{asked.response.source} ~ {asked.fixed} + {random}"
    if outcome is None:
        design = mixed(text, columns, missing=missing).design
    else:
        design = build_design(text, columns, missing=missing, outcome=outcome)
    terms = [term for term in asked.fixed_terms if term.expressions]
    constant = constant_components(design)
    above = {term.source: constant_factors(term, design, constant) for term in terms}
    sizes = {term.source: len(term.expressions) for term in terms}
    return Levels(
        response=asked.response.source,
        group=found,
        within=tuple(text for text, constant in above.items() if not constant),
        context=tuple(text for text, constant in above.items() if len(constant) == sizes[text]),
        cross=tuple(
            CrossLevelTerm(
                text=term.source,
                slope=":".join(e.source for e in term.expressions if e.source not in above[term.source]),
                moderator=":".join(above[term.source]),
            )
            for term in terms
            if 0 < len(above[term.source]) < sizes[term.source]
        ),
        slopes=random_slopes(asked),
        random=random,
        free=all(part.structure == "us" and len(part.blocks) == 1 for part in asked.random) and len(asked.random) < 2,
        context_columns=frozenset(name for name, is_constant in constant.items() if is_constant),
        frame=rows_of(design, asked, found),
        rows_read=design.rows.read,
    )


def require_intercepts(asked: Formula) -> None:
    """Refuse formulas whose fixed or random part has no intercept.

    Raises
    ------
    CrosslevelError : one has none.
    """
    blocks = [block for part in asked.random for block in part.blocks]
    lacking = [] if asked.fixed.startswith("1") else ["fixed"]
    if blocks and all(term.expressions for block in blocks for term in block):
        lacking.append("random")
    if lacking:
        raise CrosslevelError(
            f"`formula` has no intercept in its {' and '.join(lacking)} part, and the models of this analysis let it "
            "vary between clusters. Leave out 0 or -1."
        )


def group_of(asked: Formula, group: str | None) -> str:
    """What the one grouping factor is.

    Raises
    ------
    CrosslevelError : none, several, or two that contradict each other.
    """
    found = tuple(dict.fromkeys(part.group_text for part in asked.random))
    if group is not None and (not isinstance(group, str) or not group):
        raise CrosslevelError(f"`group` is the name of the column that identifies the clusters; got {group!r}.")
    if group is not None and "`" not in group:
        group = ":".join(map(quoted, group.split(":")))
    if len(found) > 1:
        raise CrosslevelError(
            f"`formula` has {len(found)} grouping factors ({', '.join(found)}), and this analysis is of rows in the "
            "clusters of one. Keep the one whose contexts are studied, or fit the model by cl.mixed."
        )
    if not found and group is None:
        raise FormulaError(
            f"`formula` names no clusters: {asked.text!r} has no random part. Add one, as in "
            f"'{asked.text} + (1 | country)', or give group='country'."
        )
    if found and group is not None and group != found[0]:
        raise CrosslevelError(
            f"`group` is {group!r}, and the random part of `formula` says {found[0]!r}. Leave `group` out."
        )
    return found[0] if found else str(group)


def constant_factors(term: Term, design: Design, constant: Mapping[str, bool]) -> tuple[str, ...]:
    """The factors of a term that are constant within clusters, as written; `constant` says it of their columns."""
    names = {component.text: component.names for component in design.spec.components}
    return tuple(
        expression.source
        for expression in term.expressions
        if any(constant.get(name, False) for name in names[expression.text])
    )


def random_slopes(asked: Formula) -> tuple[str, ...]:
    """The terms that vary between clusters besides the intercept."""
    terms = (term for part in asked.random for block in part.blocks for term in block)
    return tuple(dict.fromkeys(term.source for term in terms if term.expressions))


def rows_of(design: Design, asked: Formula, group: str) -> pd.DataFrame:
    """The rows used, with the columns that the formula and the clusters need, and their labels."""
    columns = design.columns
    beside = () if design.asked is None else design.asked.columns(columns)
    names = tuple(dict.fromkeys([*asked.variables, *parse(f"y ~ 1 + (1 | {group})").variables[1:], *beside]))
    frame = columns.to_pandas(names, slice(0, columns.n_rows), design.mask).reset_index(drop=True)
    for name in names:
        if not columns.is_numeric(name):
            frame[name] = _in_order(frame[name], columns.factor(name).levels)
    frame.attrs["labels"] = {name: label for name, label in columns.labels.items() if name in names}
    return frame


def _in_order(values: pd.Series, levels: Sequence[object]) -> pd.Series:
    """A column of categories whose order is that of the data, which decides about the reference category."""
    if all(isinstance(level, bool | np.bool_) for level in levels):  # False and True have an order, and are one column
        return values.astype(bool)
    if isinstance(values.dtype, pd.CategoricalDtype) and list(values.cat.categories) == list(levels):
        return values
    return values.astype("category").cat.set_categories(list(levels))
