"""`import crosslevel` is quick: what is slow to import is imported when it is used."""

import subprocess
import sys

import pytest

import crosslevel as cl

HEAVY = [
    "numba",
    "matplotlib",
    "pyreadstat",
    "formulaic",
    "pandas",
    "pyarrow",
    "narwhals",
    "scipy",
    "numpy",
    "rich",
    "typer",
]


def run(code: str) -> str:
    """Output of a new interpreter in which only this code has run."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_is_light() -> None:
    code = f"import crosslevel, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code) == "[]"


def test_errors_are_light() -> None:
    code = f"import crosslevel as cl, sys; cl.FormulaError; print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code) == "[]"


def test_reading_a_table_needs_no_fitting_or_drawing() -> None:
    code = "import crosslevel as cl, sys; cl.read; print([m for m in ['numba', 'matplotlib'] if m in sys.modules])"
    assert run(code) == "[]"


@pytest.mark.parametrize("name", [name for name in cl.__all__ if not name.startswith("_")])
def test_public_names_exist(name: str) -> None:
    assert name in dir(cl)
    assert run(f"import crosslevel as cl; value = cl.{name}; print(value is cl.{name})") == "True"


@pytest.mark.parametrize("first", ["crosslevel.report.page", "crosslevel.report.figures", "crosslevel.cli"])
def test_report_stays_the_function_when_its_package_is_imported(first: str) -> None:
    code = f"import crosslevel as cl, importlib; importlib.import_module({first!r}); print(callable(cl.report))"
    assert run(code) == "True"


def test_unknown_name_lists_the_public_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'lmer'.*mixed"):
        _ = cl.lmer


def test_version_is_the_one_installed() -> None:
    from importlib.metadata import version

    assert version("crosslevel") == cl.__version__
