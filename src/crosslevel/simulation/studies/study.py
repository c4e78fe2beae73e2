"""A Monte Carlo study as it is written down, and run."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import Any

import pandas as pd

from crosslevel.display import Document, html, text
from crosslevel.errors import CrosslevelError
from crosslevel.inference.wald import check_level
from crosslevel.simulation.estimators.estimates import Estimator
from crosslevel.simulation.processes.correlations import plain_correlation
from crosslevel.simulation.processes.draws_itself import DrawsItself
from crosslevel.simulation.processes.process import Process
from crosslevel.simulation.studies import toml
from crosslevel.simulation.studies.condition import Condition, called, grid, process_with
from crosslevel.simulation.studies.description import fingerprint, plain
from crosslevel.simulation.studies.documents import study_document
from crosslevel.simulation.studies.fold import Outline
from crosslevel.simulation.studies.measures import COLUMNS
from crosslevel.simulation.studies.running import BATCH, Plan, check_positive, run
from crosslevel.simulation.studies.store import opened
from crosslevel.simulation.studies.versions import versions


@dataclass(frozen=True, kw_only=True)
class Study:
    """Estimators on data of a process, under all combinations of the levels of some factors.

    Attributes
    ----------
    process : that the data come from, in which each factor replaces a field ("clusters") or an entry of one ("sd.x2",
        "variables.x1.between"); or a function of the levels, its arguments named as factors, that returns a process.
    estimators : applied to each data set; or a function of the levels.
    terms : names of the coefficients that are measured; or a function of the levels.
    factors : levels by name; conditions are all combinations, the last factor changing fastest.
    where : levels to restrict the study to, by factor, or a function of the levels that says whether a combination is
        part of it. Conditions keep their numbers, so that the rest of the study is the same with and without.
    level : of the intervals.
    title : of the study.
    published : name and arguments of the published study that it is, for its file.

    Raises
    ------
    CrosslevelError : something does not fit together; the message says what to do.

    Examples
    --------
    >>> import crosslevel as cl
    >>> process = cl.lab.Process(
    ...     formula="y ~ x + (x | g)", effects={"Intercept": 0.0, "x": 1.0}, sd={"Intercept": 0.5, "x": 0.3},
    ...     clusters=10, size=40,
    ... )
    >>> study = cl.lab.Study(
    ...     process=process, estimators=[cl.lab.OLS(name="OLS", formula="y ~ x")], terms=["x"],
    ...     factors={"clusters": [10, 20], "sd.x": [0.0, 0.3]},
    ... )
    >>> len(study), study.conditions[1].levels
    (4, {'clusters': 10, 'sd.x': 0.3})
    >>> found = study.run(reps=20, seed=1, progress=False)
    >>> list(found.columns)[:5]
    ['clusters', 'sd.x', 'estimator', 'measure', 'interval']
    """

    process: Process | Callable[..., Process]
    estimators: Sequence[Estimator] | Callable[..., Sequence[Estimator]]
    terms: Sequence[str] | Callable[..., Sequence[str]]
    factors: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    where: Mapping[str, Sequence[Any]] | Callable[..., bool] = field(default_factory=dict)
    level: float = 0.95
    title: str = ""
    published: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_level(self.level)
        if not isinstance(self.title, str):
            raise CrosslevelError(f"`title` is text; got {self.title!r}.")
        _check_factors(self.factors)
        if not callable(self.where):
            object.__setattr__(self, "where", _restricted(self.where, self.factors))
        for name in ("estimators", "terms"):
            value = getattr(self, name)
            if isinstance(value, str) or not (callable(value) or isinstance(value, Sequence)) or len_of(value) == 0:
                raise CrosslevelError(f"`{name}` is a list with at least one entry, or a function; got {value!r}.")
            object.__setattr__(self, name, value if callable(value) else tuple(value))
        if not (isinstance(self.process, Process | DrawsItself) or callable(self.process)):
            raise CrosslevelError(f"`process` is a Process or a function that returns one; got {self.process!r}.")
        levels = {name: tuple(map(plain_correlation, levels)) for name, levels in self.factors.items()}
        object.__setattr__(self, "factors", levels)

    def __len__(self) -> int:
        return len(self.conditions)

    def __str__(self) -> str:
        return text(self.document)

    def _repr_html_(self) -> str:
        return html(self.document)

    @property
    def document(self) -> Document:
        """The study in words."""
        return study_document(self)

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The cells of the grid, those left out by `where` excepted."""
        everything = enumerate(grid(self.factors))
        found = tuple(self._condition(number, levels) for number, levels in everything if self._has(levels))
        if not found:
            raise CrosslevelError("`where` leaves out every combination of levels. Let it be true for one at least.")
        return found

    def only(self, **levels: Any) -> "Study":
        """Part of the study: the conditions with these levels, one or several of each factor.

        They have the same numbers, and so the same data, as in the whole study, and can share its folder.

        Raises
        ------
        CrosslevelError : the study's `where` is a function, which cannot be joined with levels.

        Examples
        --------
        >>> import crosslevel as cl
        >>> study = cl.lab.heisig2017()
        >>> part = study.only(variant="dce", clusters=25, slopes=[3, 5], slope_sd=1, between=0.5)
        >>> [one.number for one in part.conditions]
        [41, 47]
        """
        if callable(self.where):
            raise CrosslevelError(
                "`only` needs a study whose `where` is no function. Put the levels into the function."
            )
        return replace(self, where={**self.where, **levels})

    def run(
        self,
        reps: int = 1000,
        seed: int = 1,
        *,
        n_jobs: int = 1,
        folder: str | os.PathLike[str] | None = None,
        resume: bool = False,
        batch: int | None = None,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Simulate, estimate and measure.

        Replication r of condition c has a seed of its own, so that results depend on `seed` alone: not on the number of
        workers, the batches, an interruption, or the other conditions. They are the same to the last bit.

        Parameters
        ----------
        reps : replications of each condition.
        seed : of all random numbers, a whole number that is not negative.
        n_jobs : worker processes, -1 for one on each core. Within `joblib.parallel_config(backend="dask")` the workers
            are those of the Dask cluster.
        folder : where every finished batch is written, as a parquet file, and what was studied; nothing is written if
            None.
        resume : go on with what is in the folder: only what is lacking is computed. More replications than before are
            added to them.
        batch : replications that a worker computes at once; 100 if None.
        progress : report how far it has come, and the time left, on the standard error stream.

        Returns
        -------
        frame : a row for each condition, estimator, term, measure and kind of interval, in columns named as factors,
            then `estimator`, `measure`, `interval` ("" if it has none), `value`, `mcse` (Monte Carlo standard error),
            `reps`, `failed` (replications that have no value and so are not in the measure), `term` ("" for measures of
            the fit as a whole), `truth`, `unit`. Measures are listed in `cl.lab.MEASURES`.

        Raises
        ------
        CrosslevelError : the study does not fit together, or an estimator failed in a way it does not foresee.
        FileError : the folder is another study's, or holds batches already and `resume` is false.
        """
        reps, n_jobs, seed = check_positive("reps", reps), check_jobs(n_jobs), check_seed(seed)
        if folder is None and resume:
            raise CrosslevelError("`resume` goes on with what is in a folder. Give `folder` (`--folder`).")
        if not isinstance(resume, bool):
            raise CrosslevelError(f"`resume` is True or False; got {resume!r}.")
        size = BATCH if batch is None else check_positive("batch", batch)
        store = None if folder is None else opened(folder, self.record(seed), toml.written(self), resume=resume)
        plan = Plan(conditions=self.conditions, reps=reps, entropy=seed, batch=min(size, reps), store=store)
        found = run(plan, n_jobs=n_jobs, progress=progress)
        found.attrs.update(title=self.title, seed=seed, reps=reps, level=self.level)
        return found

    def record(self, seed: int) -> dict[str, Any]:
        """What is studied as plain values, with seed, versions and conditions, as it is written into a folder."""
        return {
            "title": self.title,
            "seed": seed,
            "versions": versions(),
            "study": {name: plain(getattr(self, name)) for name in SPECIFICATION},
            "conditions": {
                str(one.number): {**Outline.of(one).written(), "fingerprint": fingerprint(one.described())}
                for one in self.conditions
            },
        }

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> "Study":
        """A study from a file.

        Its keys are the attributes of the study, those of a table the fields of its record. Estimators and
        variables name their class by `kind`; without one a table is a mapping. A file can also be a published study:
        `published = "heisig2017"`, a table `arguments`, and `where`, `level` or `title`.

        Parameters
        ----------
        path : of the file.

        Raises
        ------
        FileError, CrosslevelError : the file cannot be read, or something in it does not fit.

        Examples
        --------
        >>> import tempfile
        >>> import crosslevel as cl
        >>> written = '''
        ... terms = ["z"]
        ... [factors]
        ... clusters = [10, 20]
        ... "sd.Intercept" = [0, 0.5]
        ... [process]
        ... formula = "y ~ x + z + (1 | g)"
        ... effects = { Intercept = 0, x = 1, z = 0.5 }
        ... sd = { Intercept = 0.5 }
        ... clusters = 10
        ... size = [30, 60]
        ... [process.variables]
        ... z = { kind = "Context" }
        ... [[estimators]]
        ... kind = "OLS"
        ... name = "OLS"
        ... formula = "y ~ x + z"
        ... '''
        >>> with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        ...     _ = file.write(written)
        ...     file.flush()
        ...     study = cl.lab.Study.from_toml(file.name)
        >>> len(study), study.process.size
        (4, (30, 60))
        """
        return toml.read(path)

    def to_toml(self, path: str | os.PathLike[str] | None = None) -> str:
        """The study as the text of a file for `from_toml` and `crosslevel simulate`, written to `path` if given.

        Raises
        ------
        CrosslevelError : its process, estimators, terms or `where` are functions.
        """
        return toml.write(self, path)

    def _has(self, levels: Mapping[str, Any]) -> bool:
        """Whether a combination of levels is part of the study."""
        if callable(self.where):
            return bool(called(self.where, levels))
        return all(levels[name] in chosen for name, chosen in self.where.items())

    def _condition(self, number: int, levels: Mapping[str, Any]) -> Condition:
        """One cell, checked."""
        try:
            given = self.process
            process = called(given, levels) if callable(given) else process_with(given, levels)
            estimators = called(self.estimators, levels) if callable(self.estimators) else self.estimators
            terms = called(self.terms, levels) if callable(self.terms) else self.terms
            found = Condition(
                number=number, levels=levels, process=process, estimators=tuple(estimators), terms=tuple(terms),
                level=self.level,
            )  # fmt: skip
            check_condition(found)
        except CrosslevelError as error:
            listed = ", ".join(f"{name}={level!r}" for name, level in levels.items())
            raise CrosslevelError(f"Condition {number} ({listed}): {error}") from error
        return found


SPECIFICATION = ("process", "estimators", "terms", "factors", "level")
"""What makes two studies the same: their folders can be shared."""


def check_condition(condition: Condition) -> None:
    """Whether what functions of the levels gave is what it has to be.

    Raises
    ------
    CrosslevelError : it is not.
    """
    if not isinstance(condition.process, Process | DrawsItself):
        raise CrosslevelError(f"`process` gave {type(condition.process).__name__}; it must give a Process.")
    wrong = [one for one in condition.estimators if not isinstance(one, Estimator)]
    if wrong or not condition.estimators:
        raise CrosslevelError(f"`estimators` needs estimators such as Mixed(...); got {wrong or 'none'}.")
    names = [one.name for one in condition.estimators]
    if not all(isinstance(name, str) and name for name in names):
        raise CrosslevelError(f"`estimators` needs a `name`, text that is not empty, of each; got {names}.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CrosslevelError(f"`estimators` has {', '.join(map(repr, twice))} more than once. Give each its own name.")
    if not condition.terms or len(set(condition.terms)) < len(condition.terms):
        raise CrosslevelError(f"`terms` needs different names of coefficients; got {list(condition.terms)}.")
    condition.truth  # noqa: B018 - unknown terms are errors of their own


def check_jobs(n_jobs: object) -> int:
    """A number of workers.

    Raises
    ------
    CrosslevelError : something else.
    """
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, Integral) or n_jobs == 0:
        raise CrosslevelError(f"`n_jobs` is a number of workers, or -1 for one on each core; got {n_jobs!r}.")
    return int(n_jobs)


def check_seed(seed: object) -> int:
    """A seed.

    Raises
    ------
    CrosslevelError : something else.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise CrosslevelError(f"`seed` is a whole number that is not negative; got {seed!r}.")
    return int(seed)


def _check_factors(factors: object) -> None:
    """Whether each factor has a name of its own, and different levels."""
    if not isinstance(factors, Mapping):
        raise CrosslevelError(
            f"`factors` maps names to lists of levels, as in {{'clusters': [10, 20]}}; got {factors!r}."
        )
    for name, levels in factors.items():
        if not isinstance(name, str) or not name:
            raise CrosslevelError(f"`factors` has {name!r} as a name; names are text.")
        if isinstance(levels, Mapping) and levels:
            inside = str(next(iter(levels)))
            raise CrosslevelError(
                f"`factors` has {name!r} with a table of levels. To change {inside!r} of {name!r} name the factor "
                f"'{name}.{inside}', in quotes in a TOML file, and give a list of levels."
            )
        if name in COLUMNS:
            raise CrosslevelError(f"`factors` has {name!r}, which is a column of results. Choose another name.")
        if isinstance(levels, str) or not isinstance(levels, Sequence) or not levels:
            raise CrosslevelError(f"`factors` has {name!r} with {levels!r}; give a list of levels.")
        plain_levels = [plain(one) for one in levels]  # matrices have no single answer to whether they are equal
        if any(one in plain_levels[:k] for k, one in enumerate(plain_levels)):
            raise CrosslevelError(f"`factors` has {name!r} with a level twice: {list(levels)}. List each once.")


def _restricted(where: object, factors: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """The levels that a restriction keeps, by factor; a single level needs no list."""
    out = {}
    if not isinstance(where, Mapping):
        raise CrosslevelError(
            f"`where` maps factors to the levels that are kept, as in {{'clusters': [10]}}, or is a function of the "
            f"levels; got {where!r}."
        )
    for name, given in where.items():
        if name not in factors:
            raise CrosslevelError(f"`where` has {name!r}, which is no factor. Factors: {', '.join(factors) or 'none'}.")
        out[name] = (given,) if given in factors[name] or not isinstance(given, list | tuple | range) else tuple(given)
        unknown = [level for level in out[name] if level not in factors[name]]
        if unknown:
            raise CrosslevelError(f"`where` has {unknown} of {name!r}, whose levels are {list(factors[name])}.")
    return out


def len_of(value: Any) -> int:
    """Length of a sequence; 1 of a function."""
    return 1 if callable(value) else len(value)
