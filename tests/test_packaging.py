"""What is shipped around the code: metadata, typing marker, links between the documents."""

import os
import re
import tomllib
from pathlib import Path

import pytest

import crosslevel

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MADE = ("_build", "api", "validation.md", "benchmarks.md")  # by `make docs`, which checks their links itself
WRITTEN = [page for page in ROOT.glob("docs/**/*.md") if page.relative_to(ROOT / "docs").parts[0] not in MADE]
PAGES = sorted([*ROOT.glob("*.md"), *WRITTEN, *ROOT.glob("tests/reference/*.md")])


def test_types_are_shipped() -> None:
    assert Path(crosslevel.__file__).with_name("py.typed").exists()


def test_dependencies_have_lower_bounds_and_no_upper_bounds() -> None:
    for requirement in PROJECT["dependencies"]:
        assert re.fullmatch(r"[a-z-]+>=[\d.]+", requirement), requirement


def test_licence_is_mit() -> None:
    assert PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_changelog_has_this_version() -> None:
    assert f"## {crosslevel.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target) and not is_made(page.parent / target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def is_made(page: Path) -> bool:
    """Whether a page is written when the documentation is built, which checks the links to it."""
    place = Path(os.path.relpath(page, ROOT / "docs"))
    return place.parts[0] in MADE
