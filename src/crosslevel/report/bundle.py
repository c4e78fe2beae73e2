"""A report as one zip file: page, code, tables, figures, versions, and the data if they are asked for."""

import datetime
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from crosslevel.display import Block
from crosslevel.errors import CrosslevelError
from crosslevel.report.calls import call_of
from crosslevel.report.pictures import pictures_in
from crosslevel.report.sections.appendix import code_of, versions
from crosslevel.report.sections.subject import Models, last_of

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of every file in a bundle, so that equal contents are equal bytes."""

DATA = "data/data.parquet"


def zipped(files: Mapping[str, str | bytes], folder: str) -> bytes:
    """Files as a zip archive, all in one folder; the same files give the same bytes.

    Parameters
    ----------
    files : contents by name; text is written as UTF-8.
    folder : the name of the folder that unpacking makes.

    Examples
    --------
    >>> import io, zipfile
    >>> packed = zipped({"a.txt": "1"}, "bundle")
    >>> zipfile.ZipFile(io.BytesIO(packed)).namelist()
    ['bundle/a.txt']
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{folder}/{name}", date_time=EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content.encode() if isinstance(content, str) else content)
    return buffer.getvalue()


def bundle_of(
    models: Models, blocks: Sequence[Block], page: str, *, data: bool, date: datetime.date, seed: int | None
) -> dict[str, str | bytes]:
    """The files of a bundle by name.

    Parameters
    ----------
    models : by name.
    blocks : of the page, whose pictures become files.
    page : the page itself.
    data : whether the columns that the models use are put in; see `check_data`.
    date, seed : as in the page's appendix.
    """
    files: dict[str, str | bytes] = {"report.html": page, "models.py": script(models, data=data)}
    files |= dict(tables(models))
    files |= dict(pictures(blocks))
    files |= dict(data_files(models)) if data else {}
    made = versions()
    files["requirements.txt"] = requirements()
    record = {"date": date.isoformat(), "seed": seed, "versions": made, "models": formulas(models)}
    files["bundle.json"] = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    files["README.txt"] = readme(data=data)
    return files


def formulas(models: Models) -> dict[str, str]:
    """The formula of each model."""
    return {name: fit.formula for name, fit in models.items()}


def script(models: Models, *, data: bool) -> str:
    """Python that fits the models again and prints their coefficients."""
    line = (
        f'data = cl.read(Path(__file__).parent / "{DATA}")'
        if data
        else "data = ...  # cl.read of the file that the models were fitted to"
    )
    code = code_of(models, data=line)
    head = "from pathlib import Path\n\n" if data else ""
    return f"{head}{code}\nfor name, fit in models.items():\n    print(name)\n    print(fit.tidy())\n"


def tables(models: Models) -> Iterator[tuple[str, str]]:
    """Coefficients, variance components and fit of each model as csv."""
    for number, (name, fit) in enumerate(models.items(), start=1):
        prefix = f"tables/{number:02d}_{slug(name)}"
        yield f"{prefix}_coefficients.csv", fit.tidy().to_csv()
        yield f"{prefix}_variance_components.csv", fit.varcomp().to_csv(index=False)
        yield f"{prefix}_fit.csv", fit.glance().to_csv(index=False)


def pictures(blocks: Sequence[Block]) -> Iterator[tuple[str, bytes]]:
    """The pictures of a page, numbered in their order."""
    for number, picture in enumerate(pictures_in(blocks), start=1):
        title = slug(picture.alt.split(".")[0])[:60].rstrip("_")
        ending = "svg" if picture.media == "image/svg+xml" else "png"
        content = picture.data.encode() if isinstance(picture.data, str) else picture.data
        yield f"figures/{number:02d}_{title}.{ending}", content


def data_files(models: Models) -> Iterator[tuple[str, bytes]]:
    """The columns that the models use, all rows, as parquet (with labels) and as csv."""
    _, last = last_of(models)
    columns = last.design.columns
    used = list(dict.fromkeys(name for fit in models.values() for name in call_of(fit).columns))
    frame = columns.to_pandas(used)
    frame.attrs["labels"] = {name: columns.labels[name] for name in used if name in columns.labels}
    yield from frame_files(frame)


def check_data(models: Models) -> None:
    """Refuse to bring data that are not one frame at hand: looked at before the work, not after it.

    Raises
    ------
    CrosslevelError : the data of a model were read in batches, or differ from the last one's.
    """
    name_of_last, last = last_of(models)
    streamed = [name for name, fit in models.items() if fit.design.stream is not None]
    others = [name for name, fit in models.items() if fit.data is not last.data]
    if streamed or others:
        why = "its data were read in batches" if streamed else f"its data are not those of {name_of_last!r}"
        raise CrosslevelError(
            f"`data` is true, but {(streamed or others)[0]!r} cannot bring its data: {why}. Leave `data` out, and put "
            "the file beside the bundle."
        )


def frame_files(frame: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    """A frame as parquet, with its categories and labels, and as csv."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    yield DATA, buffer.getvalue()
    yield DATA.replace(".parquet", ".csv"), frame.to_csv(index=False).encode()


def requirements() -> str:
    """The versions of all packages that computed, as pip reads them."""
    return "".join(f"{name}=={number}\n" for name, number in versions().items() if name != "Python")


def slug(text: str) -> str:
    """Text as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "model"


def readme(*, data: bool) -> str:
    """What is in the bundle."""
    lines = [
        "report.html        the report: open it in a browser",
        "models.py          fits the models again" + ("" if data else "; say in it where the data are"),
        "tables/            coefficients, variance components and fit of each model",
        "figures/           the figures of the report, in its order",
        "requirements.txt   the versions that were used: pip install -r requirements.txt",
        "bundle.json        date, seed, versions and formulas",
    ]
    if data:
        lines.insert(2, "data/              the columns that the models use: parquet keeps categories and labels")
    return "\n".join(lines) + "\n"
