"""Rows of weights C, such that C beta is an average of predictions, or of their derivatives, at set values of inputs.

A design column is a product of atoms: columns of components, each a function of some inputs. Where some inputs are set
and the others stay as they are in the data, atoms of set inputs are constants and the average over rows is

    mean_i prod_k a_k(x_i) = prod over set atoms of a_k(set) . mean_i prod over other atoms of a_k(x_i),

so that the data are read once for any number of settings; only atoms that mix both kinds, as I(x * z), need every row
at every setting. Derivatives follow the product rule, atom by atom: exactly where an atom is linear (columns, cluster
deviations, center, scale), by differences of fourth order whose step is halved until they settle elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from crosslevel.errors import CrosslevelError
from crosslevel.formula import Spec
from crosslevel.formula.components import Component, Product, values
from crosslevel.formula.inputs import Input, at_inputs, categorical, inputs_of, slope_in, standing
from crosslevel.formula.rows import Rows, Source
from crosslevel.inference.differences import differentiate
from crosslevel.table import Columns
from crosslevel.types import BoolArray, FloatArray

Atom: TypeAlias = tuple[int, int, bool]
"""Component, column of it, and whether its derivative is meant."""

CHUNK = 1 << 15
"""Rows looked at at a time."""

ENTRIES = 1 << 22
"""Values of rows at settings that are held at a time."""

WORST = 1e-6
"""Relative change that is not accepted as a derivative."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MarginalRows:
    """The fixed part of a model as a function of its inputs, and the data it is averaged over.

    Attributes
    ----------
    spec : the formula with what it remembers.
    columns, mask : the data, and the rows that are used.
    weights : (n,) what the rows used count in averages; None if they count alike.
    held : texts of expressions that are inputs themselves, apart from cluster means.
    every : whether the columns that only random effects need are wanted too.
    known : means over rows of products of atoms that were worked out already, by what moves and the atoms.
    """

    spec: Spec
    columns: Columns = field(repr=False)
    mask: BoolArray | None = field(repr=False)
    weights: FloatArray | None = field(repr=False)
    held: tuple[str, ...] = ()
    every: bool = False
    known: dict[tuple[tuple[str, ...], frozenset[Atom]], float] = field(default_factory=dict, repr=False)

    @property
    def products(self) -> tuple[Product, ...]:
        """How the columns are made, those of the fixed part first."""
        return self.spec.products if self.every else self.spec.products[: self.spec.n_fixed]

    @cached_property
    def used(self) -> tuple[int, ...]:
        """Numbers of the components that the columns have."""
        return tuple(sorted({number for made in self.products for number, _ in made.atoms}))

    @cached_property
    def functions(self) -> dict[int, Component]:
        """Components as functions of inputs, by number."""
        return {number: standing(self.spec.components[number], self.held) for number in self.used}

    @cached_property
    def inputs(self) -> dict[str, Input]:
        """What the fixed part is computed from, by name."""
        return inputs_of([self.spec.components[number] for number in self.used], self.held)

    @cached_property
    def _source(self) -> Source:
        """The data with categories and clusters matched."""
        return self.spec.bind(self.columns, self.mask, response=False).source

    def chunks(self, size: int = CHUNK) -> Iterator[tuple[Rows, FloatArray | None]]:
        """The used rows, some at a time, with what they count."""
        done = 0
        for start in range(0, self.columns.n_rows, size):
            rows = self._source.rows(slice(start, start + size))
            if rows.size:
                place = slice(done, done + rows.size)
                done = place.stop
                yield rows, None if self.weights is None else self.weights[place]

    def observed(self, name: str) -> Any:
        """Values of an input in the rows used, (n,): numbers, or categories as codes of a `pandas.Categorical`."""
        found = [self.inputs[name].values(rows) for rows, _ in self.chunks()]
        levels = self.inputs[name].levels
        if levels is None:
            return np.concatenate(found)
        return categorical(np.concatenate([some.codes for some in found]), levels)

    def averages(self, settings: Mapping[str, Any], along: Sequence[str] = ()) -> FloatArray:
        """Averages over rows of the fixed columns at P settings of some inputs, or of their derivatives.

        Parameters
        ----------
        settings : values (P,) of the inputs that are set; the others are as in the data.
        along : inputs that move together, for the derivative in their direction; () for the columns themselves.

        Returns
        -------
        (P, columns of the fixed part), those that are not estimated included.
        """
        n_settings = len(next(iter(settings.values()))) if settings else 1
        work = _Work(rows=self, settings=settings, along=tuple(along), n_settings=n_settings)
        return work.averages()

    def at_rows(
        self, settings: Mapping[str, Any], along: Sequence[str] = ()
    ) -> "Iterator[tuple[slice | None, FloatArray, FloatArray | None, FloatArray | None]]":
        """The columns of every row at P settings of some inputs, some rows at a time: what is averaged elsewhere.

        Parameters
        ----------
        settings, along : see `averages`.

        Yields
        ------
        place : of the rows among those used; None for one that stands for all, if the settings leave nothing to them.
        columns : (P, columns, L).
        slopes : (P, columns, L) derivatives of the columns along; None if () is.
        weights : (L,) what the rows count; None if they count alike.
        """
        n_settings = len(next(iter(settings.values()))) if settings else 1
        moves = [(), tuple(along)] if along else [()]
        work = [_Work(rows=self, settings=settings, along=move, n_settings=n_settings) for move in moves]
        if not any(each.needs_rows for each in work):
            arrays = [each.columns(None) for each in work]
            yield None, arrays[0], arrays[1] if along else None, None
            return
        done = 0
        for rows, weights in self.chunks(max(1, min(CHUNK, ENTRIES // (n_settings * len(self.products) * len(work))))):
            arrays = [each.columns(rows) for each in work]
            place = slice(done, done + rows.size)
            done = place.stop
            yield place, arrays[0], arrays[1] if along else None, weights

    def range_of(self, name: str) -> tuple[float, float, float]:
        """Least and greatest value of an input of numbers, and their standard deviation (1 if there is none)."""
        numbers = self.observed(name)
        spread = float(np.std(numbers))
        return float(numbers.min()), float(numbers.max()), spread if spread > 0.0 else 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Term:
    """scale times a product of atoms, as a part of a design column."""

    column: int
    scale: float
    atoms: tuple[Atom, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Work:
    """One call of `MarginalRows.averages`."""

    rows: MarginalRows
    settings: Mapping[str, Any]
    along: tuple[str, ...]
    n_settings: int

    def averages(self) -> FloatArray:
        """See `MarginalRows.averages`."""
        out = np.zeros((self.n_settings, len(self.rows.products)))
        terms = list(self._terms())
        separate = [term for term in terms if not any(self._mixes(atom) for atom in term.atoms)]
        means = self._means({self._in_rows(term) for term in separate})
        for term in separate:
            own = np.full(self.n_settings, term.scale * means[self._in_rows(term)])
            for atom in term.atoms:
                if self._is_set(atom):
                    own = own * self._set_values[atom]
            out[:, term.column] += own
        mixed = [term for term in terms if term not in separate]
        if mixed:
            self._add_mixed(mixed, out)
        return out

    @property
    def needs_rows(self) -> bool:
        """Whether the settings leave anything to the rows."""
        return any(not self._is_set(atom) for term in self._terms() for atom in term.atoms)

    def columns(self, rows: Rows | None) -> FloatArray:
        """The columns (P, columns, L) at all settings and some rows; L is 1 where rows are not needed."""
        out = np.zeros((self.n_settings, len(self.rows.products), 1 if rows is None else rows.size))
        arrays: dict[Atom, FloatArray] = {}
        for term in self._terms():
            product: FloatArray = np.full((1, 1), term.scale)
            for atom in term.atoms:
                if atom not in arrays:
                    # without rows every atom is set
                    arrays |= {atom: self._set_values[atom][:, None]} if rows is None else self._anywhere(atom, rows)
                product = product * arrays[atom]
            out[:, term.column] += product
        return out

    def _terms(self) -> Iterator[_Term]:
        """Products that make up the columns, or by the product rule their derivatives; linear atoms leave numbers."""
        for column, made in enumerate(self.rows.products):
            atoms = [(number, index, False) for number, index in made.atoms]
            if not self.along:
                yield _Term(column=column, scale=made.scale, atoms=tuple(atoms))
                continue
            for k, (number, index, _) in enumerate(atoms):
                slope = slope_in(self.rows.functions[number], self.along)
                others = (*atoms[:k], *atoms[k + 1 :])
                if slope is None:
                    yield _Term(column=column, scale=made.scale, atoms=(*others, (number, index, True)))
                elif slope != 0.0:
                    yield _Term(column=column, scale=made.scale * slope, atoms=others)

    def _is_set(self, atom: Atom) -> bool:
        """Whether all inputs of an atom are set."""
        return set(self.rows.functions[atom[0]].variables) <= set(self.settings)

    def _mixes(self, atom: Atom) -> bool:
        """Whether some inputs of an atom are set and others are not."""
        return not self._is_set(atom) and bool(set(self.rows.functions[atom[0]].variables) & set(self.settings))

    def _in_rows(self, term: _Term) -> frozenset[Atom]:
        """The atoms of a term whose inputs are as in the data."""
        return frozenset(atom for atom in term.atoms if not self._is_set(atom))

    @cached_property
    def _set_values(self) -> dict[Atom, FloatArray]:
        """Values (P,) of the atoms whose inputs are all set."""
        wanted = {atom for term in self._terms() for atom in term.atoms if self._is_set(atom)}
        out: dict[Atom, FloatArray] = {}
        for atom in wanted:
            if atom not in out:
                out |= self._evaluate(atom, self.settings)
        return out

    def _means(self, wanted: set[frozenset[Atom]]) -> dict[frozenset[Atom], float]:
        """Means over rows of products of atoms, in one pass."""
        known = self.rows.known
        sums = {atoms: 0.0 for atoms in wanted if atoms and (self.along, atoms) not in known}
        total = 0.0
        for rows, weights in self.rows.chunks() if sums else ():
            total += rows.size if weights is None else float(weights.sum())
            arrays: dict[Atom, FloatArray] = {}
            for atoms in sums:
                product = np.ones(rows.size) if weights is None else weights
                for atom in sorted(atoms):
                    if atom not in arrays:
                        arrays |= self._of_rows(atom, rows)
                    product = product * arrays[atom]
                sums[atoms] += float(product.sum())
        known |= {(self.along, atoms): value / total for atoms, value in sums.items()}
        return {atoms: known[self.along, atoms] if atoms else 1.0 for atoms in wanted}

    def _add_mixed(self, terms: list[_Term], out: FloatArray) -> None:
        """Add the averages of terms that need every row at every setting."""
        size = max(1, min(CHUNK, ENTRIES // self.n_settings))
        total = 0.0
        sums = np.zeros((self.n_settings, len(terms)))
        for rows, weights in self.rows.chunks(size):
            count = np.ones(rows.size) if weights is None else weights
            total += float(count.sum())
            arrays: dict[Atom, FloatArray] = {}
            for k, term in enumerate(terms):
                product = np.full((self.n_settings, rows.size), term.scale) * count
                for atom in term.atoms:
                    if atom not in arrays:
                        arrays |= self._anywhere(atom, rows)
                    product *= arrays[atom]
                sums[:, k] += product.sum(axis=1)
        for k, term in enumerate(terms):
            out[:, term.column] += sums[:, k] / total

    def _anywhere(self, atom: Atom, rows: Rows) -> dict[Atom, FloatArray]:
        """An atom, and its fellows, at all settings and some rows, to be broadcast to (P, size)."""
        if self._is_set(atom):
            return {atom: self._set_values[atom][:, None]}
        if not self._mixes(atom):
            return {fellow: array[None, :] for fellow, array in self._of_rows(atom, rows).items()}
        frame = {}
        for name in self.rows.functions[atom[0]].variables:
            if name in self.settings:
                frame[name] = np.repeat(np.asarray(self.settings[name]), rows.size)
            else:
                frame[name] = np.tile(np.asarray(self.rows.inputs[name].values(rows)), self.n_settings)
        return {
            fellow: array.reshape(self.n_settings, rows.size) for fellow, array in self._evaluate(atom, frame).items()
        }

    def _of_rows(self, atom: Atom, rows: Rows) -> dict[Atom, FloatArray]:
        """An atom, and its fellows, in some rows of the data, (size,)."""
        number, _, differentiated = atom
        if not differentiated:
            fellows = self._fellows(atom)
            found = values(self.rows.spec.components[number], tuple(index for _, index, _ in fellows), rows)
            return dict(zip(fellows, found, strict=True))
        names = self.rows.functions[number].variables
        return self._evaluate(atom, {name: self.rows.inputs[name].values(rows) for name in names})

    def _fellows(self, atom: Atom) -> list[Atom]:
        """The atoms of the same component: what one evaluation gives."""
        number, _, differentiated = atom
        indices = {index for each in self.rows.products for other, index in each.atoms if other == number}
        return [(number, index, differentiated) for index in sorted(indices)]

    def _evaluate(self, atom: Atom, frame: Mapping[str, Any]) -> dict[Atom, FloatArray]:
        """An atom, or its derivative, and its fellows where inputs have some values, (n,)."""
        component, fellows = self.rows.functions[atom[0]], self._fellows(atom)
        indices = tuple(index for _, index, _ in fellows)
        if atom[2]:
            return dict(zip(fellows, self._derivative(component, indices, frame), strict=True))
        found = at_inputs(component, indices, frame)
        if not np.all(np.isfinite(found)):
            raise CrosslevelError(f"`by` sets values at which {component.text} is not a finite number. Choose others.")
        return dict(zip(fellows, found, strict=True))

    def _derivative(self, component: Component, indices: tuple[int, ...], frame: Mapping[str, Any]) -> FloatArray:
        """Derivatives (columns, n) of columns of a component where inputs have some values."""
        moving = [name for name in self.along if name in component.variables]
        x = np.asarray(frame[moving[0]], dtype=np.float64)

        def shifted(shift: FloatArray) -> FloatArray:
            there = {name: frame[name] + shift if name in moving else frame[name] for name in component.variables}
            return np.array(at_inputs(component, indices, there))

        out, change = differentiate(shifted, x, *self._ranges[moving[0]])
        if not np.all(change <= WORST):
            where = float(x[np.argmax(np.max(np.where(np.isnan(change), np.inf, change), axis=0))])
            raise CrosslevelError(
                f"`{moving[0]}` has no slope at {where:.6g}, where {component.text} has a kink or a jump, or is not "
                "defined. Ask for slopes at other values, or for differences of predictions with cl.margins."
            )
        return out

    @cached_property
    def _ranges(self) -> dict[str, tuple[float, float, float]]:
        """Range and spread of the inputs that move."""
        return {name: self.rows.range_of(name) for name in self.along}
