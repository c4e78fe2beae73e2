"""Every public name is documented: what it takes, gives and raises, with an example; the reference has its page."""

from pathlib import Path

import pytest
from building import api_pages
from building.arguments import COMMON
from building.complete import gaps, of_function, raises
from building.docstrings import as_markdown, plain, read
from building.public_names import methods, public_names

import crosslevel as cl


def test_every_public_name_is_documented() -> None:
    lacking = [f"{name}: {words}" for name, words in gaps()]
    assert not lacking, "\n".join(lacking)


def test_every_listed_name_is_known() -> None:
    paths = {name.path for name in public_names()}
    known = [name for name in cl.__all__ if callable(getattr(cl, name)) and not name.endswith(("Error", "Warning"))]
    assert set(known) <= paths
    assert {f"plot.{name}" for name in cl.plot.__all__} <= paths
    assert {"MixedFit", "GeneralizedFit", "OLSFit", "TwoStepFit", "Bootstrap", "Profile"} <= paths


def test_common_arguments_are_those_of_methods() -> None:
    import inspect

    used = {
        argument
        for name in public_names()
        if name.is_class
        for _, member in methods(name.value)
        if inspect.isfunction(member)
        for argument in inspect.signature(member).parameters
    }
    assert set(COMMON) <= used


def test_what_is_lacking_is_found() -> None:
    def poor(x: int, y: int) -> int:
        """Add."""
        raise ValueError(x + y)

    assert raises(poor)
    found = list(of_function(poor, example=True))
    assert found == ["not described: x, y", "not said what it returns", "not said what it raises", "no example"]


def test_reference_has_a_page_for_each_name(tmp_path: Path) -> None:
    api_pages.write(tmp_path)
    index = (tmp_path / "index.md").read_text(encoding="utf-8")
    for name in public_names():
        page = tmp_path / f"{api_pages.address(name)}.md"
        assert page.exists()
        assert name.path.endswith("_data") or f"({api_pages.address(name)}.md)" in index
    mixed = (tmp_path / "mixed.md").read_text(encoding="utf-8")
    assert "cl.mixed(formula, data, *, family='gaussian', method=None" in mixed
    assert "-> MixedFit | GeneralizedFit" in mixed
    fit = (tmp_path / "results" / "MixedFit.md").read_text(encoding="utf-8")
    assert "{py:method} bootstrap(" in fit


def test_docstring_is_read_into_its_sections() -> None:
    found = read(
        "Add two numbers. They may be negative.\n\n    x + y\n\nParameters\n----------\nx, y : numbers,\n"
        "    of any size.\n\n"
        "Source\n------\nEuclid (300 BC).\n\nExamples\n--------\n>>> 1 + 1\n2"
    )
    assert found.first_sentence == "Add two numbers"
    assert found.items("Parameters") == [("x, y", "numbers,\nof any size.")]
    shown = as_markdown(found, {})
    assert "<math" in shown
    assert "{rubric} Source" in shown
    assert "``````pycon\n>>> 1 + 1\n2\n``````" in shown


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("y ~ x * z + b_k", r"y \~ x \* z + b\_k"),
        ("`a * b` or a*b", r"`a * b` or a\*b"),
        ("- one\n- two", "- one\n- two"),
    ],
)
def test_only_backticks_mean_something(text: str, markdown: str) -> None:
    assert plain(text) == markdown
