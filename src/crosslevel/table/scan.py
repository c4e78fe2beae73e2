"""Files that are scanned rather than read: parquet, feather and text, alone or many of a kind."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from crosslevel.errors import CrosslevelError, FileError
from crosslevel.table.batches import ARGUMENT, regrouped, rows_per_batch
from crosslevel.table.columns import Columns, refuse_duplicates
from crosslevel.table.files import existing_file
from crosslevel.table.progress import Progress
from crosslevel.table.read import UNREADABLE

ENDINGS = {
    "parquet": "parquet",
    "pq": "parquet",
    "feather": "feather",
    "arrow": "feather",
    "csv": "csv",
    "txt": "csv",
    "tsv": "tsv",
    "tab": "tsv",
}
"""Endings of files that can be scanned, and what they mean."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetRows:
    """Rows of a pyarrow dataset.

    dataset : the dataset.
    title : what it is called in messages.
    """

    dataset: Any
    title: str
    names: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    n_rows: int | None = None
    has_index: bool = False

    @classmethod
    def of(cls, dataset: Any, title: str) -> DatasetRows:
        """Rows of a dataset; those of parquet files are counted in the files' footers."""
        schema = dataset.schema
        refuse_duplicates(schema.names, ARGUMENT)
        attributes = json.loads((schema.metadata or {}).get(b"PANDAS_ATTRS", b"{}"))
        attributes = (schema.pandas_metadata or {}).get("attributes") or attributes
        names = tuple(name for name in schema.names if not name.startswith("__index_level_"))
        labels = {name: str(label) for name, label in (attributes.get("labels") or {}).items() if name in names}
        counted = "parquet" in str(getattr(getattr(dataset, "format", None), "default_extname", ""))
        return cls(
            dataset=dataset,
            title=title,
            names=names,
            labels=labels,
            n_rows=dataset.count_rows() if counted else None,
        )

    def batches(self, names: Sequence[str]) -> Iterator[Columns]:
        """All rows of some columns, in order; see `RowSource`.

        Other threads read ahead, in a parquet file no further than its row group, and never more than the 1 GiB at
        which pyarrow waits: memory does not depend on the number of rows.
        """
        import pyarrow as pa

        size = rows_per_batch(len(names))
        try:
            yield from regrouped(self._scan(list(names), size), size)
        except (pa.ArrowException, OSError) as error:
            first, *_ = str(error).splitlines()
            raise FileError(
                f"`{ARGUMENT}`: {self.title} cannot be read to its end: {first.rstrip('.')}. The type of a column is "
                "settled by the first file, or the first lines of a text file. Correct what differs, copy a damaged "
                "file again, or read the data with cl.read() and give the frame."
            ) from error

    def reduce(
        self,
        names: Sequence[str],
        task: Callable[[Iterable[Columns]], T],
        merge: Callable[[T, T], T],
        progress: Progress,
    ) -> T:
        """Work through all batches; see `RowSource`."""
        return task(progress.counted(self.batches(names), self.n_rows))

    def _scan(self, names: list[str], size: int) -> Iterator[Any]:
        import pyarrow.dataset as ds

        options = {"schema": self.dataset.schema, "columns": names, "batch_size": size, "batch_readahead": 2}
        for fragment in self.dataset.get_fragments():
            if not isinstance(fragment, ds.ParquetFileFragment):
                yield from fragment.to_batches(**options)
                continue
            scan = ds.ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True)
            for group in fragment.split_by_row_group():
                yield from group.to_batches(**options, fragment_scan_options=scan)


def scan_path(path: str | os.PathLike[str]) -> DatasetRows:
    """The rows of a file, of all files in a folder, or of all that a pattern such as "waves/*.parquet" matches.

    Raises
    ------
    FileError : nothing there, several types of files, or a type that cannot be scanned.
    """
    import pyarrow as pa

    files, base = _files(path)
    kind = _one_kind(files, path)
    title = repr(str(path))
    try:
        if kind in ("csv", "tsv"):
            from crosslevel.table.text_scan import text_dataset

            return DatasetRows.of(text_dataset(files, kind), title)
        return DatasetRows.of(_binary_dataset(files, kind, base), title)
    except CrosslevelError:
        raise
    except (pa.ArrowException, *UNREADABLE) as error:
        first, *_ = [*str(error).splitlines(), type(error).__name__]
        raise FileError(
            f"`{ARGUMENT}`: {title} cannot be read as {kind}: {first.rstrip('.')}. A file is damaged, of another type, "
            "or has columns that do not fit those of the others."
        ) from error


def _binary_dataset(files: Sequence[Path], kind: str, base: str | None) -> Any:
    """A dataset with all columns that any of the files has, and those that are written in the names of folders."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    names = [str(file) for file in files]
    keywords: dict[str, Any] = {"format": kind}
    if base is not None:
        keywords |= {"partitioning": ds.HivePartitioning.discover(), "partition_base_dir": base}
    first = ds.dataset(names, **keywords)
    if len(files) == 1:
        return first
    schema = pa.unify_schemas([ds.dataset(name, format=kind).schema for name in names], promote_options="permissive")
    for name in first.schema.names:
        if name not in schema.names:
            schema = schema.append(first.schema.field(name))
    return ds.dataset(names, schema=schema, **keywords)


def _files(path: str | os.PathLike[str]) -> tuple[list[Path], str | None]:
    """The files that a path stands for, sorted by name, and the folder if it is one."""
    place = Path(path).expanduser()
    text = str(place)
    if place.is_dir():
        found = [
            file
            for file in sorted(place.rglob("*"))
            if file.is_file() and not any(part.startswith((".", "_")) for part in file.relative_to(place).parts)
        ]
        what, base = "the folder", text
    elif any(sign in text for sign in "*?[") and not place.exists():
        found, what, base = [Path(name) for name in sorted(glob.glob(text, recursive=True))], "the pattern", None
        found = [file for file in found if file.is_file()]
    else:
        return [existing_file(place, ARGUMENT)], None
    if not found:
        raise FileError(f"`{ARGUMENT}`: {what} {text!r} has no files. Give a file, a folder of files or a pattern.")
    return found, base


def _one_kind(files: Sequence[Path], path: str | os.PathLike[str]) -> str:
    """The type that all files have."""
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1:
        raise FileError(
            f"`{ARGUMENT}`: {str(path)!r} holds files of several types ({', '.join(sorted(kinds))}). "
            "Name those of one type by a pattern such as 'folder/*.parquet'."
        )
    return kinds.pop()


def _kind(file: Path) -> str:
    """The type of a file that can be scanned."""
    *_, inner, ending = ["", "", *(suffix.lower().lstrip(".") for suffix in file.suffixes)]
    kind = ENDINGS.get(inner if ending == "gz" else ending, "")
    if not kind or (ending == "gz" and kind not in ("csv", "tsv")):
        raise FileError(
            f"`{ARGUMENT}`: {str(file)!r} cannot be read in batches, as {', '.join(ENDINGS)}, csv.gz and tsv.gz can "
            "be. Read it into a frame with cl.read() and give that."
        )
    return kind
