"""Which coefficient of which level each predictor belongs to, in models whose factors are nested in each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from crosslevel.estimators.written.records import Sum, Term, indexed

INDEX = "ijk"
"""Subscripts of the rows, of their clusters, and of the clusters of these."""

COEFFICIENTS = {1: "β", 2: "βγ", 3: "πβγ"}
"""Letters of the coefficients of each level, by the number of levels."""

ERRORS = {1: "e", 2: "ru", 3: "eru"}
"""Letters of the errors of each level, by the number of levels."""

Path = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """A predictor as the equations of nested levels need it.

    Attributes
    ----------
    name : of the design column.
    factors : the names it is the product of; none for the intercept.
    fixed : whether it has a fixed coefficient.
    varies : levels (2, 3) whose units have random coefficients of it.
    """

    name: str
    factors: tuple[str, ...]
    fixed: bool
    varies: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """Predictors and the levels they describe.

    Attributes
    ----------
    predictors : in the order of the design.
    level_of : for each factor of a predictor the highest level within whose units it is constant, 1 for rows.
    n_levels : 1, 2 or 3.
    """

    predictors: Sequence[Predictor]
    level_of: Mapping[str, int]
    n_levels: int

    @cached_property
    def _sets(self) -> list[tuple[tuple[str, ...], ...]]:
        """For each predictor its factors by the level whose equation they stand in.

        What varies over the units of a level has a coefficient in the equations below it, whatever it describes.
        """
        found = []
        for part in self.predictors:
            highest = min(part.varies) - 1 if part.varies else self.n_levels
            placed = {name: min(self.level_of.get(name, 1), highest) for name in part.factors}
            found.append(
                tuple(tuple(n for n in part.factors if placed[n] == level) for level in range(1, self.n_levels + 1))
            )
        return found

    @cached_property
    def paths(self) -> list[Path]:
        """For each predictor the number of its coefficient in the equations of level 1, 2, ...; 0 for intercepts."""
        numbers: dict[Path, dict[frozenset[str], int]] = {}
        found = []
        for sets in self._sets:
            path: Path = ()
            for names in sets:
                known = numbers.setdefault(path, {frozenset(): 0})
                path = (*path, known.setdefault(frozenset(names), len(known)))
            found.append(path)
        return found

    def factors_at(self, path: Path) -> tuple[str, ...]:
        """What the coefficient of a path multiplies in its own equation."""
        for sets, own in zip(self._sets, self.paths, strict=True):
            if own[: len(path)] == path:
                return sets[len(path) - 1]
        return ()

    def below(self, path: Path) -> list[Path]:
        """Paths of the coefficients in the equation of the coefficient of a path, in order."""
        length = len(path) + 1
        found = {own[:length] for own in self.paths if own[: len(path)] == path}
        return sorted(own for own in found if self.is_used(own))

    def is_used(self, path: Path) -> bool:
        """Whether a coefficient has anything in it: fixed coefficients of higher levels, or errors."""
        return any(
            own[: len(path)] == path and (part.fixed or any(level > len(path) for level in part.varies))
            for part, own in zip(self.predictors, self.paths, strict=True)
        )

    def fixed(self, path: Path) -> str | None:
        """Name of the fixed coefficient with a full path."""
        for part, own in zip(self.predictors, self.paths, strict=True):
            if own == path and part.fixed:
                return part.name
        return None

    def has_error(self, path: Path) -> bool:
        """Whether the equation of a coefficient has an error, of the level above its own."""
        level = len(path) + 1
        return any(
            level in part.varies and own[: len(path)] == path and not any(own[len(path) :])
            for part, own in zip(self.predictors, self.paths, strict=True)
        )

    def differs(self, path: Path, level: int) -> bool:
        """Whether a coefficient differs between units of a level above its own because of what that level adds."""
        inner = [own for own in self._reached(path, level - 1) if self.is_used(own)]
        return any(self.has_error(own) or any(p[-1] for p in self.below(own)) for own in inner)

    def _reached(self, path: Path, length: int) -> list[Path]:
        paths = [path]
        for _ in range(length - len(path)):
            paths = [inner for own in paths for inner in self.below(own)]
        return paths

    def symbol(self, path: Path) -> str:
        """The coefficient of a path, with subscripts for its numbers and for the units between which it differs."""
        varying = [level for level in range(len(path) + 1, self.n_levels + 1) if self.differs(path, level)]
        index = INDEX[min(varying) - 1 : self.n_levels] if varying else ""
        return f"{COEFFICIENTS[self.n_levels][len(path) - 1]}_{{{''.join(map(str, path))}{index}}}"

    def error(self, path: Path) -> str:
        """The error in the equation of a coefficient; of the outcome's equation for the empty path."""
        level = len(path) + 1
        return f"{ERRORS[self.n_levels][level - 1]}_{{{''.join(map(str, path))}{INDEX[level - 1 : self.n_levels]}}}"

    def variables(self, path: Path) -> tuple[str, ...]:
        """What the coefficient of a path multiplies in its own equation, in markup."""
        return tuple(indexed(name, INDEX[len(path) - 1 : self.n_levels]) for name in self.factors_at(path))

    def equation(self, path: Path, left: str, *, error: bool) -> Sum:
        """The equation of the outcome (empty path), or of a coefficient."""
        full = len(path) + 1 == self.n_levels
        terms = [
            Term(
                symbol=self.symbol(own),
                coefficient=self.fixed(own) if full else None,
                variables=self.variables(own),
            )
            for own in self.below(path)
        ]
        return Sum(left=left, terms=(*terms, *([Term(symbol=self.error(path))] if error else [])))

    def by_level(self, left: str, *, residual: bool) -> list[list[Sum]]:
        """Equations of each level: of the outcome, then of the coefficients in the level below."""
        found = [[self.equation((), left, error=residual)]]
        for level in range(2, self.n_levels + 1):
            paths = self._reached((), level - 1)
            found.append([self.equation(path, self.symbol(path), error=self.has_error(path)) for path in paths])
        return found

    def in_one(self, left: str, *, residual: bool) -> Sum:
        """All equations put into that of the outcome: fixed part, errors from the highest level down, residual."""
        terms = [
            Term(
                symbol=f"{COEFFICIENTS[self.n_levels][-1]}_{{{''.join(map(str, path))}}}",
                coefficient=self.fixed(path),
                variables=self._all_variables(path),
            )
            for path in self._reached((), self.n_levels)
        ]
        for level in range(self.n_levels, 1, -1):
            terms += [
                Term(symbol=self.error(path), variables=self._all_variables(path))
                for path in self._reached((), level - 1)
                if self.has_error(path)
            ]
        return Sum(left=left, terms=(*terms, *([Term(symbol=self.error(()))] if residual else [])))

    def _all_variables(self, path: Path) -> tuple[str, ...]:
        return tuple(name for length in range(1, len(path) + 1) for name in self.variables(path[:length]))

    def error_of(self, name: str, level: int) -> str:
        """The error that is the random coefficient of a predictor between units of a level."""
        (path,) = (own for part, own in zip(self.predictors, self.paths, strict=True) if part.name == name)
        return self.error(path[: level - 1])
