"""Paths: is the file there, and writing one whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from crosslevel.errors import DataError, FileError


def existing_file(path: str | os.PathLike[str], argument: str = "path") -> Path:
    """The path, if a file that can be opened is there.

    Raises
    ------
    FileError : nothing there (with the nearest name in the folder), a folder, an empty file, or no permission.
    DataError : not a path at all.
    """
    if not isinstance(path, str | os.PathLike):
        raise DataError(f"`{argument}` must be the name of a file, got {type(path).__name__}.")
    file = Path(path).expanduser()
    try:
        with file.open("rb") as stream:
            content = stream.read(1)
    except FileNotFoundError as error:
        raise FileError(f"`{argument}`: there is no file {str(file)!r}.{_nearest(file)}") from error
    except IsADirectoryError as error:
        raise FileError(f"`{argument}`: {str(file)!r} is a folder. Give the name of a file in it.") from error
    except OSError as error:
        raise FileError(f"`{argument}`: {str(file)!r} cannot be opened: {error.strerror or error}.") from error
    if not content:
        raise FileError(f"`{argument}`: {str(file)!r} is empty (0 bytes). Copy or download it again.")
    return file


def _nearest(file: Path) -> str:
    """A hint: the nearest name in the folder, or the nearest folder that exists."""
    folder = file.parent
    if not folder.is_dir():
        while not folder.is_dir():
            folder = folder.parent
        return f" Its folder does not exist either; the path is right as far as {str(folder.resolve())!r}."
    names = {entry.name.lower(): entry.name for entry in folder.iterdir() if entry.is_file()}
    close = get_close_matches(file.name.lower(), list(names), n=1, cutoff=0.6)
    if close:
        return f" Did you mean {names[close[0]]!r}?"
    return f" The folder is {str(folder.resolve())!r}, with {len(names)} {'file' if len(names) == 1 else 'files'}."


def write_atomically(path: str | os.PathLike[str], content: str | bytes, *, argument: str = "path") -> Path:
    """Write a whole file or nothing: into a temporary file beside it, which then takes its name.

    Parameters
    ----------
    path : where to write; a file of that name is replaced.
    content : text (written as UTF-8) or bytes.
    argument : name of the argument the path came in, for messages.

    Returns
    -------
    path : where it was written.

    Raises
    ------
    FileError : the folder does not exist or cannot be written in.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(f"{folder}/report.html", "<p>done</p>").read_text()
    '<p>done</p>'
    """
    file = Path(path).expanduser()
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
        temporary.replace(file)
    except OSError as error:
        raise FileError(
            f"`{argument}`: cannot write {str(file)!r}: {error.strerror or error}. "
            "Make the folder, free some room, or choose another place."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return file
