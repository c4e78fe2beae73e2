"""A study's folder: what was studied, in words that a person reads, and a parquet file for each finished batch."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np
import pandas as pd

from crosslevel.errors import DataWarning, FileError
from crosslevel.inference.bootstrap.batch import Outcome
from crosslevel.simulation.estimators.estimates import Estimates
from crosslevel.simulation.studies.batches import Batch
from crosslevel.simulation.studies.fold import Found, Outline
from crosslevel.table import write_atomically

RECORD, SPECIFICATION = "study.json", "study.toml"
"""What was studied, with seed and versions; and the study itself, where it can be written."""

FORMAT = 1
KEPT: dict[str, type] = {"seed": int, "versions": dict, "study": dict, "conditions": dict}
"""What the record is read for."""

NAMES = tuple(outcome.name.lower() for outcome in Outcome)
PATTERN = re.compile(r"replications-(\d+)-(\d+)\.parquet")


@dataclass(frozen=True, kw_only=True, eq=False)
class Store:
    """The folder of a study.

    Attributes
    ----------
    folder : where it is.
    """

    folder: Path

    def record(self) -> dict[str, Any]:
        """What the folder says it holds.

        Raises
        ------
        FileError : it is not the folder of a study.
        """
        file = self.folder / RECORD
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            if record["format"] != FORMAT:
                raise KeyError("format")
            if not all(isinstance(record[name], kind) for name, kind in KEPT.items()):
                raise TypeError("not a record")
            for written in record["conditions"].values():
                Outline.read(written)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileError(
                f"`folder` is {str(self.folder)!r}, where no {RECORD} of a study can be read. Name the folder that "
                "`Study.run(folder=...)` has written."
            ) from error
        return dict(record)

    def outlines(self) -> list[Outline]:
        """The conditions that the folder is for."""
        return [Outline.read(written) for written in self.record()["conditions"].values()]

    def files(self, number: int) -> list[tuple[int, int, Path]]:
        """Finished batches of a condition: first replication, that after the last, file."""
        found = []
        for path in sorted(self._folder_of(number).glob("replications-*.parquet")):
            match = PATTERN.fullmatch(path.name)
            if match:
                found.append((int(match[1]), int(match[2]) + 1, path))
        return sorted(found)

    def write(self, batch: Batch, outline: Outline) -> Path:
        """Write a finished batch, whole or not at all."""
        folder = self._folder_of(batch.condition)
        name = f"replications-{batch.start:08d}-{batch.stop - 1:08d}.parquet"
        buffer = BytesIO()
        framed(batch.estimates, outline, batch.start).to_parquet(buffer, engine="pyarrow", index=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"`folder`: cannot make {str(folder)!r}: {error.strerror or error}.") from error
        return write_atomically(folder / name, buffer.getvalue(), argument="folder")

    def read(self, path: Path, outline: Outline) -> Found:
        """A finished batch."""
        frame = self.frame(path)
        try:
            found = found_in(frame, outline)
            first, last = map(int, PATTERN.fullmatch(path.name).groups())  # type: ignore[union-attr]
            if len(found[0]) != last + 1 - first or (int(frame["replication"].iloc[0]) != first):
                raise ValueError("replications")
        except (KeyError, ValueError, TypeError) as error:
            raise FileError(
                f"`folder`: {str(path)!r} is not a batch of this study, or not all of it. Remove it, and resume: its "
                "replications are made again, and are the same."
            ) from error
        return found

    def frame(self, path: Path) -> pd.DataFrame:
        """A finished batch as it is stored."""
        try:
            return pd.read_parquet(path, engine="pyarrow")
        except (OSError, ValueError) as error:
            raise FileError(
                f"`folder`: {str(path)!r} cannot be read: {str(error).rstrip('.')}. Remove it, and resume: its "
                "replications are made again, and are the same."
            ) from error

    def _folder_of(self, number: int) -> Path:
        return self.folder / f"condition-{number:04d}"


def framed(found: Found, outline: Outline, start: int) -> pd.DataFrame:
    """Estimates as a frame: a row for each estimator, replication, term and interval ("" where there are none)."""
    terms, parts = list(outline.truth), []
    for (name, intervals), one in zip(outline.intervals.items(), found, strict=True):
        kinds = list(intervals) or [""]
        r, t, i = len(one), len(terms), len(kinds)
        ends = np.full((r, t, i), np.nan)
        low, high = (one.low, one.high) if intervals else (ends, ends)
        parts.append({
            "replication": np.repeat(start + np.arange(r), t * i),
            "estimator": np.repeat([name], r * t * i),
            "term": np.tile(np.repeat(terms, i), r),
            "outcome": np.repeat(np.array(NAMES)[one.outcome], t * i),
            "singular": np.repeat(one.singular, t * i),
            "estimate": np.repeat(one.estimate.ravel(), i),
            "std_error": np.repeat(one.std_error.ravel(), i),
            "interval": np.tile(kinds, r * t),
            "low": low.ravel(),
            "high": high.ravel(),
        })  # fmt: skip
    return pd.DataFrame({key: np.concatenate([part[key] for part in parts]) for key in parts[0]})


def found_in(frame: pd.DataFrame, outline: Outline) -> Found:
    """Estimates from a frame made by `framed`.

    Raises
    ------
    KeyError, ValueError : it was not made for this condition.
    """
    t, found, at = len(outline.truth), [], 0
    shares = [t * max(len(intervals), 1) for intervals in outline.intervals.values()]
    r, rest = divmod(len(frame), sum(shares))
    if rest:
        raise ValueError(len(frame))
    columns = {name: frame[name].to_numpy() for name in STORED}
    for (name, intervals), share in zip(outline.intervals.items(), shares, strict=True):
        cubes = {key: column[at : at + r * share].reshape(r, t, -1) for key, column in columns.items()}
        if r and (cubes["estimator"][0, 0, 0], *cubes["interval"][0, 0]) != (name, *(intervals or ("",))):
            raise KeyError(name)
        ends = [cubes[key].astype(np.float64) if intervals else np.zeros((r, t, 0)) for key in ("low", "high")]
        found.append(
            Estimates(
                outcome=np.array([NAMES.index(word) for word in cubes["outcome"][:, 0, 0]], dtype=np.int64),
                singular=cubes["singular"][:, 0, 0].astype(np.bool_),
                estimate=cubes["estimate"][:, :, 0].astype(np.float64),
                std_error=cubes["std_error"][:, :, 0].astype(np.float64),
                intervals=intervals,
                low=ends[0],
                high=ends[1],
            )
        )
        at += r * share
    return tuple(found)


STORED = ("estimator", "interval", "outcome", "singular", "estimate", "std_error", "low", "high")
"""Columns that estimates are rebuilt from; the rest of a frame follows from its place."""


def opened(
    folder: str | os.PathLike[str], record: Mapping[str, Any], specification: str | None, *, resume: bool
) -> Store:
    """The folder for a study, made if it is not there.

    Parameters
    ----------
    folder : where batches are written.
    record : what is studied: `title`, `study`, `seed`, `versions`, and `conditions` by number.
    specification : the study in TOML, if it can be written.
    resume : whether batches may be there already.

    Raises
    ------
    FileError : the folder is another study's, holds other things, or holds batches and `resume` is false.
    """
    if not isinstance(folder, str | os.PathLike) or not str(folder):
        raise FileError(f"`folder` is the name of a folder, or None; got {folder!r}.")
    store = Store(folder=Path(folder).expanduser())
    if store.folder.exists() and not store.folder.is_dir():
        raise FileError(f"`folder` is {str(store.folder)!r}, which is a file. Give the name of a folder.")
    if (store.folder / RECORD).exists():
        _go_on(store, record, resume=resume)
        return store
    if store.folder.is_dir() and any(store.folder.iterdir()):
        raise FileError(
            f"`folder` is {str(store.folder)!r}, which holds something else than a study. Name another one."
        )
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"`folder`: cannot make {str(store.folder)!r}: {error.strerror or error}.") from error
    if specification is not None:
        write_atomically(store.folder / SPECIFICATION, specification, argument="folder")
    _write_record(store, record)
    return store


def _write_record(store: Store, record: Mapping[str, Any]) -> None:
    """Write what is studied."""
    text = json.dumps({"format": FORMAT, **record}, indent=1, ensure_ascii=False)
    write_atomically(store.folder / RECORD, text + "\n", argument="folder")


def _go_on(store: Store, record: Mapping[str, Any], *, resume: bool) -> None:
    """Check that the folder is that of the same study and seed; note the conditions that it has not heard of."""
    there = store.record()
    difference = _difference(there, record)
    where = f"`folder` is {str(store.folder)!r}, which holds"
    if difference:
        raise FileError(f"{where} another study: {difference}. Name another folder.")
    if not resume and any(store.folder.glob("condition-*/*.parquet")):
        raise FileError(
            f"{where} batches of this study. Go on from there with resume=True (`--resume`), or name another folder."
        )
    if there["versions"] != record["versions"]:
        changed = [name for name, version in record["versions"].items() if there["versions"].get(name) != version]
        warn(
            f"`folder` was begun with other versions of {', '.join(changed)} (see {RECORD}): later replications may "
            "differ in the last digits from what the earlier versions would give.",
            DataWarning,
            stacklevel=4,
        )
    conditions = {**there["conditions"], **record["conditions"]}
    if conditions != there["conditions"]:
        _write_record(store, {**there, "conditions": conditions})


def _difference(there: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """In what two studies differ, in words; nothing if they do not."""
    if there["seed"] != record["seed"]:
        return f"its seed is {there['seed']}, not {record['seed']}"
    old, new = there["study"], json.loads(json.dumps(record["study"]))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if names:
        return f"they differ in {', '.join(names)} (see {RECORD})"
    for number, condition in record["conditions"].items():
        if number in there["conditions"] and there["conditions"][number]["fingerprint"] != condition["fingerprint"]:
            return f"its functions of the levels give another process or other estimators in condition {number}"
    return ""


def frames(store: Store) -> Iterator[tuple[Outline, Path]]:
    """All finished batches, in order; of those that overlap the first."""
    for outline in store.outlines():
        at = 0
        for start, stop, path in store.files(outline.number):
            if start >= at:
                at = stop
                yield outline, path
