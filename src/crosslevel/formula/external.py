"""The part of a formula that formulaic computes: any expression that is no column, cluster mean or simple rescaling.

formulaic is imported when the first such expression is learnt, not before.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

import numpy as np

from crosslevel.errors import DataError
from crosslevel.formula.rows import Rows, Source
from crosslevel.types import FloatArray, Frame

SAMPLE = 64
"""Used rows on which an expression without memory is tried out."""

BUILTINS = frozenset({"abs", "round", "pow", "dict", "list", "tuple", "range"})
"""Functions of Python itself that a formula may call."""

Arguments: TypeAlias = Mapping[str, FloatArray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """An expression with the state that formulaic remembers for it.

    text : the expression as the user knows it.
    code : the expression as formulaic reads it.
    variables : the data columns it uses.
    levels : the categories of those that hold no numbers.
    names : its columns: those of the full coding first, then those that only the reduced coding has.
    full, reduced : model specifications of formulaic; `reduced` is None where its columns are among the others.
    n_full : number of columns of the full coding.
    """

    text: str
    code: str
    variables: tuple[str, ...]
    levels: Mapping[str, tuple[Any, ...]]
    names: tuple[str, ...]
    full: Any
    reduced: Any
    n_full: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Learnt:
    """A model, the positions of the columns of its reduced coding (None: spans no intercept), and its coding."""

    model: Model
    reduced: tuple[int, ...] | None
    kind: str
    levels: tuple[Any, ...]
    reference: Any


def unknown_function(names: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, str] | None:
    """First of `names` that is no function a formula may call, and a hint; None if all are."""
    from formulaic.transforms import TRANSFORMS

    known = [*own, *(name for name, value in TRANSFORMS.items() if callable(value)), *BUILTINS]
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1, cutoff=0.6)
            if not close and hasattr(np, name):
                close = [f"np.{name}"]
            hint = f" Did you mean {close[0]}()?" if close else ""
            hint = " Give offset='x' beside the formula." if name == "offset" else hint
            hint = " cbind(successes, failures) is an outcome of family='binomial'." if name == "cbind" else hint
            return name, f"there is no function {name}() for formulas.{hint}"
    return None


def learn(
    text: str,
    code: str,
    functions: tuple[str, ...],
    variables: tuple[str, ...],
    source: Source,
    arguments: Callable[[Rows], Arguments],
) -> Learnt:
    """Let formulaic learn an expression from the used rows, and see which columns it has.

    Parameters
    ----------
    text : the expression as the user knows it.
    code : the expression as formulaic is to read it.
    functions : names of the functions it calls.
    variables : the data columns it uses.
    source : the data.
    arguments : components that stand in `code` by name, at some rows.

    Raises
    ------
    DataError : the expression cannot be computed from the data, or a row's value depends on other rows.
    """
    categorical = [name for name in variables if not holds_numbers(source, name)]
    levels = {name: used_levels(source, name) for name in categorical}
    draft = Model(text=text, code=code, variables=variables, levels=levels, names=(), full=None, reduced=None, n_full=0)
    sample = _sample(source)
    small = _frame(draft, sample, arguments(sample))
    frame = small
    if stateful_functions(functions):
        frame = _frame(draft, source.rows(slice(None)), arguments(source.rows(slice(None))))
    with _translated(text, frame):
        full, reduced = _materialize(code, frame, False), _materialize(code, frame, True)
    if frame is small and _names(reduced)[1:] != _names(full):
        # categories that a sample may not show
        frame = _frame(draft, source.rows(slice(None)), arguments(source.rows(slice(None))))
        with _translated(text, frame):
            full, reduced = _materialize(code, frame, False), _materialize(code, frame, True)
    learnt = _describe(draft, full, reduced)
    _require_rowwise(learnt.model, small)
    return learnt


def evaluate(model: Model, indices: tuple[int, ...], rows: Rows, arguments: Arguments) -> list[FloatArray]:
    """Some columns of a model at some rows, each (size,).

    Raises
    ------
    DataError : formulaic cannot compute them, or a category was not there when the model was learnt.
    """
    if not rows.size:
        return [np.empty(0) for _ in indices]
    return _columns(model, indices, _frame(model, rows, arguments))


def stateful_functions(functions: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some functions that have state which must be learnt from all rows."""
    from formulaic.transforms import TRANSFORMS

    return tuple(
        name
        for name in functions
        if name in ("C", "hashed") or hasattr(TRANSFORMS.get(name), "__is_stateful_transform__")
    )


def holds_numbers(source: Source, name: str) -> bool:
    """Whether a column holds numbers or truth values, as opposed to categories, text or dates."""
    return source.columns.holds_numbers(name)


def used_levels(source: Source, name: str) -> tuple[Any, ...]:
    """Categories of a column that occur in the used rows, in order; the factor's own tuple where all do."""
    factor = source.factor((name,))
    counts = source.counts((name,))
    if counts.all():
        return factor.levels
    return tuple(level for level, count in zip(factor.levels, counts, strict=True) if count)


def _columns(model: Model, indices: tuple[int, ...], frame: Frame) -> list[FloatArray]:
    """Some columns of a model on a frame."""
    with _translated(model.text, frame):
        full = _matrix(model.full, frame) if any(index < model.n_full for index in indices) else None
        reduced = _matrix(model.reduced, frame) if any(index >= model.n_full for index in indices) else None
    found: list[FloatArray] = []
    for index in indices:
        matrix, column = (full, index) if index < model.n_full else (reduced, 1 + index - model.n_full)
        assert matrix is not None
        found.append(matrix[:, column])
    return found


def _frame(model: Model, rows: Rows, arguments: Arguments) -> Frame:
    """Data that formulaic needs at some rows; categories are those of the used rows."""
    frame = rows.source.columns.to_pandas(model.variables, rows.part, rows.source.mask)
    for name, levels in model.levels.items():
        frame[name] = frame[name].astype("category").cat.set_categories(list(levels))
    for name, argument in arguments.items():
        frame[name] = argument
    return frame


def _sample(source: Source) -> Rows:
    """The first used rows."""
    rows = next(source.chunks())
    used = np.arange(rows.size)[:SAMPLE] if rows.keep is None else np.flatnonzero(rows.keep)[:SAMPLE]
    return source.rows(slice(rows.part.start, rows.part.start + int(used[-1]) + 1))


def _materialize(code: str, frame: Frame, intercept: bool) -> Any:
    """Model matrix of an expression, alone (full coding) or beside an intercept (reduced coding)."""
    from formulaic import Formula, ModelSpec
    from formulaic.parser.types import Factor, Term

    terms = [Term([Factor(code, eval_method="python")])]
    if intercept:
        terms.insert(0, Term([Factor("1", eval_method="literal")]))
    return ModelSpec(formula=Formula(terms), na_action="ignore", output="numpy").get_model_matrix(frame)


def _matrix(spec: Any, frame: Frame) -> FloatArray:
    """Model matrix of a learnt specification on new data, (rows, columns)."""
    return np.asarray(spec.get_model_matrix(frame).__wrapped__, dtype=np.float64)


def _names(matrix: Any) -> list[str]:
    return list(matrix.model_spec.column_names)


def _describe(draft: Model, full: Any, reduced: Any) -> Learnt:
    """Model and coding from the matrices of an expression without and with an intercept."""
    names = [_shown(name, draft) for name in _names(full)]
    beside = [_shown(name, draft) for name in _names(reduced)[1:]]
    contrasts = next(iter(full.model_spec.factor_contrasts.values()), None)
    positions: list[int] = []
    first = len(names)
    for number, name in enumerate(beside):
        same = name in names[:first] and np.array_equal(full[:, names.index(name)], reduced[:, 1 + number])
        positions.append(names.index(name) if same else first + number)
    shared = all(position < first for position in positions)
    if not shared:
        positions = list(range(first, first + len(beside)))
        names += beside
    model = Model(
        text=draft.text,
        code=draft.code,
        variables=draft.variables,
        levels=draft.levels,
        names=tuple(names),
        full=full.model_spec,
        reduced=None if shared else reduced.model_spec,
        n_full=first,
    )
    spans = beside != names[:first] or not shared
    kind = "" if contrasts is None else type(contrasts.contrasts).__name__.removesuffix("Contrasts").lower()
    levels = () if contrasts is None else tuple(contrasts.levels)
    left_out = [level for level, name in zip(levels, names, strict=False) if shared and name not in beside]
    reference = left_out[0] if len(left_out) == 1 else None
    return Learnt(
        model=model, reduced=tuple(positions) if spans else None, kind=kind, levels=levels, reference=reference
    )


def _shown(name: str, model: Model) -> str:
    """Name of a column for the user: the expression as written, and no mark of treatment coding."""
    field = name.removeprefix(model.code)
    return model.text + ("[" + field[3:] if field.startswith("[T.") else field)


def _require_rowwise(model: Model, frame: Frame) -> None:
    """Raise `DataError` if the value of a row changes when other rows are left out."""
    size = len(frame)
    indices = tuple(range(len(model.names)))
    whole = _columns(model, indices, frame)
    for kept in (slice(0, 1), slice(size // 2, None), slice(1, None, 2)):
        part = frame.iloc[kept].reset_index(drop=True)
        if len(part) and not all(
            np.allclose(all_rows[kept], some, rtol=1e-9, atol=0, equal_nan=True)
            for all_rows, some in zip(whole, _columns(model, indices, part), strict=True)
        ):
            raise DataError(
                f"`formula` uses `{model.text}`, which gives a row a value that depends on the other rows, so that it "
                "would mean something else for a part of the data or for new data. Use center(x), scale(x), "
                "within(x, group) or between(x, group), which remember their means, or make the column first."
            )


@contextmanager
def _translated(text: str, frame: Frame) -> Iterator[None]:
    """Turn the errors of formulaic, and of the functions it calls, into ours."""
    from formulaic.errors import DataMismatchWarning, FormulaicError

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", DataMismatchWarning)
            # what is not finite is counted and refused later
            warnings.filterwarnings("ignore", category=RuntimeWarning)
            yield
    except DataMismatchWarning as error:
        raise DataError(
            f"`{text}` meets a category that it does not know: one that was not there when the model was fitted, "
            "or not among its `levels`. Leave those rows out, or add the category."
        ) from error
    except (
        FormulaicError,
        ArithmeticError,
        AttributeError,
        LookupError,
        NameError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        cause = (error.__cause__ if isinstance(error, FormulaicError) else None) or error
        columns = ", ".join(f"{name} ({frame[name].dtype})" for name in frame.columns)
        if "truth value" in str(cause):
            cause = TypeError("rows are compared one by one: join comparisons by & and |, as in (0 < x) & (x < 1)")
        reason = f"{type(cause).__name__}: {cause}".rstrip(".")
        raise DataError(
            f"`formula` uses `{text}`, which cannot be computed from {columns}: {reason}. "
            "Correct the expression, or make the column first."
        ) from error
