"""A formula, its data and its clusters, as checks of coding look at them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from crosslevel.errors import ConvergenceWarning, CrosslevelError
from crosslevel.estimators.mixed import mixed
from crosslevel.estimators.mixed_fit import MixedFit
from crosslevel.formula import Formula, Spec, learn, parse
from crosslevel.formula.components import ClusterMeans, Component
from crosslevel.formula.expressions import Expression, quoted
from crosslevel.inference.anova import OneWayAnova
from crosslevel.table import Columns, group_codes, group_names
from crosslevel.types import BoolArray, CodeArray, FloatArray, Frame

CONSTANT = 1e-20
"""Share of a sum of squares within clusters below which it is rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """Something in a formula or its data that deserves a second look.

    Attributes
    ----------
    kind : of what kind it is, in a few words.
    variable : what it is about, as in the formula.
    severity : "warning" where numbers are likely to mislead, "note" where they may.
    words : what was found, and what it means.
    fix : the formula that avoids it; "" where no formula does.
    """

    kind: str
    variable: str
    severity: str
    words: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What is checked.

    Attributes
    ----------
    data : the frame.
    columns, mask : the same, and which rows (rows read,) are complete.
    spec : the formula with what was learnt from the data.
    group : the columns of the clusters.
    codes, levels : (n,) cluster of each row used, and the J clusters.
    context : data columns that are said to describe clusters.
    """

    data: Frame = field(repr=False)
    columns: Columns = field(repr=False)
    mask: BoolArray | None = field(repr=False)
    spec: Spec
    group: tuple[str, ...]
    codes: CodeArray = field(repr=False)
    levels: tuple[object, ...] = field(repr=False)
    context: tuple[str, ...]

    @classmethod
    def of(cls, formula: str, data: Frame, group: str | None, context: Sequence[str]) -> "Subject":
        """Read a formula and learn it from the data."""
        columns = Columns.from_frame(data)
        asked = () if group is None else _group_names(columns, group)
        parsed = parse(formula, [name for name in columns.names if name not in asked])
        columns.require(parsed.variables, "formula")
        columns.require(context, "context")
        names = asked or _group_of(parsed, columns)
        mask, _ = columns.complete(dict.fromkeys((*parsed.required, *names, *context)))
        spec, factor = learn(parsed, columns, mask), group_codes(columns, names)
        used, codes = np.unique(factor.codes if mask is None else factor.codes[mask], return_inverse=True)
        return cls(
            data=data, columns=columns, mask=mask, spec=spec, group=names, codes=codes.astype(np.int32),
            levels=tuple(factor.levels[int(k)] for k in used), context=tuple(context),
        )  # fmt: skip

    # -- the formula ----------------------------------------------------------------------------------------------
    @property
    def formula(self) -> Formula:
        """The formula."""
        return self.spec.formula

    @property
    def group_text(self) -> str:
        """The clusters as they are written in a formula."""
        return ":".join(quoted(name) for name in self.group)

    @cached_property
    def components(self) -> dict[str, Component]:
        """What each expression of the formula stands for, by its text."""
        return {component.text: component for component in self.spec.components}

    @cached_property
    def predictors(self) -> dict[str, Expression]:
        """The expressions that have a term of their own in the fixed part, by text."""
        return {
            term.expressions[0].text: term.expressions[0]
            for term in self.formula.fixed_terms
            if len(term.expressions) == 1
        }

    def columns_of(self, text: str) -> tuple[str, ...]:
        """Names of the component columns of an expression in its reduced coding."""
        component = self.components[text]
        places = component.full if component.reduced is None else component.reduced
        return tuple(component.names[k] for k in places)

    def is_centred_by_cluster(self, text: str) -> bool:
        """Whether an expression is a cluster mean, or a deviation from it."""
        origin = self.components[text].origin
        return isinstance(origin, ClusterMeans)

    def has_means_of(self, text: str) -> bool:
        """Whether the formula has the cluster means of an expression too."""
        variables = set(self.components[text].variables)
        origins = [other.origin for other in self.components.values()]
        return any(
            isinstance(origin, ClusterMeans)
            and origin.kind == "between"
            and set(origin.group) == set(self.group)
            and set(origin.argument.variables) == variables
            for origin in origins
        )

    def source(self, text: str) -> str:
        """How an expression is written in the formula."""
        random = (term for part in self.formula.random for terms in part.blocks for term in terms)
        return next(
            e.source for term in (*self.formula.fixed_terms, *random) for e in term.expressions if e.text == text
        )

    # -- the data -------------------------------------------------------------------------------------------------
    @property
    def n_clusters(self) -> int:
        """J."""
        return len(self.levels)

    @cached_property
    def sizes(self) -> FloatArray:
        """(J,) rows of each cluster."""
        return np.bincount(self.codes, minlength=self.n_clusters).astype(np.float64)

    @cached_property
    def _values(self) -> dict[str, FloatArray]:
        return {}

    def values(self, name: str) -> FloatArray:
        """(n,) a component column at the rows used."""
        if name not in self._values:
            self._values[name] = self.spec.component(name, self.columns, mask=self.mask)
        return self._values[name]

    def raw(self, variable: str) -> CodeArray | FloatArray:
        """(n,) a column of the data at the rows used: numbers, or codes of its categories."""
        numeric = self.columns.is_numeric(variable)
        whole: CodeArray | FloatArray = (
            self.columns.numeric(variable) if numeric else self.columns.factor(variable).codes
        )
        return whole if self.mask is None else whole[self.mask]

    def category_shares(self, variable: str) -> dict[str, float]:
        """Shares of the rows in the categories of a data column, those that occur."""
        codes, levels = self.raw(variable), self.columns.factor(variable).levels
        found = {str(level): float(np.mean(codes == k)) for k, level in enumerate(levels)}
        return {level: share for level, share in found.items() if share > 0.0}

    def means(self, values: FloatArray) -> FloatArray:
        """(J,) means by cluster."""
        return np.asarray(np.bincount(self.codes, values, self.n_clusters) / self.sizes)

    def anova(self, name: str) -> OneWayAnova:
        """Analysis of variance of a component column by cluster."""
        values = self.values(name)
        centred = values - values.mean()
        means = self.means(centred)
        return OneWayAnova.of(self.sizes, means, float(np.sum((centred - means[self.codes]) ** 2)))

    def is_constant(self, name: str) -> bool:
        """Whether a component column is constant within clusters."""
        found = self.anova(name)
        return found.ss_within <= CONSTANT * (found.ss_within + found.ss_between)

    def varies(self, text: str) -> bool:
        """Whether an expression varies within clusters."""
        return not all(self.is_constant(name) for name in self.columns_of(text))


def correlation(a: FloatArray, b: FloatArray) -> float:
    """Correlation of two sets of numbers (J,); 0 where one of them does not vary.

    Examples
    --------
    >>> import numpy as np
    >>> correlation(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0]))
    0.0
    """
    sizes = [float(np.sum((x - x.mean()) ** 2)) for x in (a, b)]
    if any(size <= CONSTANT * float(np.sum(x**2)) for size, x in zip(sizes, (a, b), strict=True)):
        return 0.0
    return float((a - a.mean()) @ (b - b.mean()) / np.sqrt(sizes[0] * sizes[1]))


def fitted(formula: str, data: Frame) -> MixedFit | None:
    """An auxiliary fit; None where the model cannot be fitted, or its optimum is not reached."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return mixed(formula, data, progress=False)
        except (CrosslevelError, ConvergenceWarning):
            return None


def checked(subject: Subject, formula: str) -> str:
    """A formula if it can be learnt from the data; else ""."""
    try:
        learn(parse(formula), subject.columns, subject.mask)
    except CrosslevelError:
        return ""
    return formula


def _group_names(columns: Columns, group: object) -> tuple[str, ...]:
    """The columns of the clusters that are named."""
    if not isinstance(group, str) or not group:
        raise CrosslevelError(f"`group` is the column of the clusters, such as group='school'; got {group!r}.")
    names = group_names(columns, group)
    columns.require(names, "group")
    return names


def _group_of(formula: Formula, columns: Columns) -> tuple[str, ...]:
    """The columns of the fewest clusters among those of the random terms."""
    groups = [part.group for part in formula.random if part.membership is None]
    if not groups:
        raise CrosslevelError(
            f"`group` is needed: `formula` has no random term that names the clusters: {formula.text!r}. Name their "
            "column: group='school'."
        )
    return min(dict.fromkeys(groups), key=lambda names: group_codes(columns, names).n_levels)
