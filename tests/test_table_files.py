import os
from pathlib import Path

import pytest

from crosslevel.errors import FileError
from crosslevel.table import write_atomically


def test_text_and_bytes_are_written(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert write_atomically(file, "<p>Größe</p>\n") == file
    assert file.read_bytes() == "<p>Größe</p>\n".encode()
    write_atomically(str(file), b"\x89PNG")
    assert file.read_bytes() == b"\x89PNG"
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_atomically(tmp_path / "new", "x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(
        FileError, match=r"`output`: cannot write '.*out.html': No such file or directory. Make the folder"
    ):
        write_atomically(tmp_path / "no" / "out.html", "x", argument="output")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")

    def full_disk(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(FileError, match=r"`path`: cannot write '.*a.txt': No space left on device"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")

    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="`path`: cannot write"):
        write_atomically(tmp_path, "x")
    assert tmp_path.is_dir()
