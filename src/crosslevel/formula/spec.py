"""Records of a learnt formula."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from crosslevel.formula.components import ClusterMeans, Coding, Component, Product, parts
from crosslevel.formula.evaluate import Evaluator, bind
from crosslevel.formula.membership import Membership
from crosslevel.formula.parse import Formula
from crosslevel.table.columns import Columns
from crosslevel.table.factor import Factor
from crosslevel.types import BoolArray, FloatArray

ALL_ROWS = slice(None)


@dataclass(frozen=True, kw_only=True, eq=False)
class DesignColumn:
    """One column of the design.

    name : the coefficient's name, as in "within(ses, school):sector[Catholic]"; "Intercept" for the intercept.
    factors : names of the component columns it is the product of, as in ("within(ses, school)", "sector[Catholic]");
        empty for the intercept.
    variables : the data columns it uses.
    kind : "intercept", "numeric", "categorical", or "interaction" for a product.
    """

    name: str
    factors: tuple[str, ...]
    variables: tuple[str, ...]
    kind: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Coefficients that vary together.

    structure : "us" (freely), "cs", "ar1", "hcs", "har1", "propto" or "equalto".
    columns : positions in `Spec.columns`.
    text : the design as written, intercept spelt out.
    known : the name of the known matrix of "propto" and "equalto".
    """

    structure: str
    columns: tuple[int, ...]
    text: str
    known: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomTerm:
    """All that varies over one grouping factor: `group` holds its columns, each of `blocks` is independent.

    Where rows belong to several groups, `membership` says to which, and `group` holds its name.
    """

    group: tuple[str, ...]
    blocks: tuple[Block, ...]
    membership: Membership | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Spec:
    """A formula with what was learnt from data: all that is needed to evaluate it on these or on new data.

    formula : the parsed formula.
    response_name : the outcome, as in "log(y)".
    columns : the design columns: those of the fixed part first, then those that only random terms need.
    n_fixed : number of columns of the fixed part.
    terms : the random terms, one for each grouping factor.
    variables : all data columns that are used.

    Examples
    --------
    >>> from crosslevel.formula import learn, parse
    >>> data = Columns.from_frame({"y": [1.0, 2.0, 4.0, 5.0], "x": [0.0, 1.0, 5.0, 6.0], "g": [1, 1, 2, 2]})
    >>> spec = learn(parse("log(y) ~ within(x, g) + between(x, g) + (1 | g)"), data)
    >>> spec.evaluate(data, slice(0, 3))
    array([[ 1. ,  1. ,  1. ],
           [-0.5,  0.5, -0.5],
           [ 0.5,  0.5,  5.5]])
    >>> new = Columns.from_frame({"x": [2.0], "g": [2]})
    >>> spec.evaluate(new)[1:]
    array([[-3.5],
           [ 5.5]])
    """

    formula: Formula
    response_name: str
    columns: tuple[DesignColumn, ...]
    n_fixed: int
    terms: tuple[RandomTerm, ...]
    variables: tuple[str, ...]
    response_component: Component = field(repr=False)
    components: tuple[Component, ...] = field(repr=False)
    products: tuple[Product, ...] = field(repr=False)

    @property
    def has_intercept(self) -> bool:
        """Whether the fixed part has an intercept."""
        return any(column.kind == "intercept" for column in self.columns[: self.n_fixed])

    @property
    def design_variables(self) -> tuple[str, ...]:
        """The data columns that the design columns use: all that `evaluate` needs."""
        return tuple(dict.fromkeys(name for component in self.components for name in component.variables))

    @property
    def cluster_groups(self) -> tuple[tuple[str, ...], ...]:
        """The groups whose cluster means are remembered."""
        whole = (*self.components, self.response_component)
        origins = [part.origin for component in whole for part in parts(component)]
        return tuple(dict.fromkeys(origin.group for origin in origins if isinstance(origin, ClusterMeans)))

    @cached_property
    def codings(self) -> Mapping[str, Coding]:
        """How each categorical component is coded, by its text."""
        return {component.text: component.coding for component in self.components if component.coding is not None}

    def bind(
        self,
        columns: Columns,
        mask: BoolArray | None = None,
        *,
        response: bool = True,
        factors: Mapping[tuple[str, ...], Factor] | None = None,
    ) -> Evaluator:
        """Bind to data, to evaluate any number of slices: categories and clusters are matched once.

        A cluster that was not there when the formula was learnt has no remembered mean for `within` and `between`: the
        mean of its used rows in these data takes its place, and one `DataWarning` says so.

        Parameters
        ----------
        columns : the data, those of the fit or new ones.
        mask : (n_rows,) true where a row is used; None if all are.
        response : whether the response will be needed; new data may lack it.
        factors : level codes of columns that are known already, as when the data are a batch of a longer table.

        Raises
        ------
        ColumnNotFoundError : a column is missing.
        DataError : a category was not there when the formula was learnt.
        """
        outcome = self.response_component if response else None
        return bind(self.components, self.products, outcome, columns, mask, factors)

    def evaluate(
        self, columns: Columns, rows: slice = ALL_ROWS, mask: BoolArray | None = None, out: FloatArray | None = None
    ) -> FloatArray:
        """Design columns at the used rows of a slice, (m, L): `bind`, then `Evaluator.evaluate`."""
        return self.bind(columns, mask, response=False).evaluate(rows, out)

    def response(self, columns: Columns, rows: slice = ALL_ROWS, mask: BoolArray | None = None) -> FloatArray:
        """Response at the used rows of a slice, (L,)."""
        return bind((), (), self.response_component, columns, mask).response(rows)

    def component(
        self, name: str, columns: Columns, rows: slice = ALL_ROWS, mask: BoolArray | None = None
    ) -> FloatArray:
        """One component column (a name in `DesignColumn.factors`) at the used rows of a slice, (L,).

        Raises
        ------
        KeyError : no design column has a factor of this name.
        """
        holders = tuple(component for component in self.components if name in component.names)
        return bind(holders, (), None, columns, mask).component(name, rows)
