"""The reference results of `tests/reference` in the words of this package: frames, formulas, names."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import crosslevel as cl

FOLDER = Path(__file__).parent / "reference"

SEPARATOR = re.compile(r":(?![^(\[]*[)\]])")  # the colon of an interaction, not one inside brackets


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceCase:
    """One model as R fitted it. `expected` is the JSON file as it is; names in it are R's."""

    name: str
    expected: dict[str, Any]

    @property
    def data(self) -> pd.DataFrame:
        return load_data(self.expected["dataset"])

    @property
    def method(self) -> str:
        return "reml" if self.expected["reml"] else "ml"

    @property
    def formula(self) -> str:
        return our_formula(self.expected["formula"])

    @property
    def groups(self) -> list[str]:
        """R's names of the grouping factors, in the order of `varcorr` and `theta`."""
        return list(dict.fromkeys(self.group_of(name) for name in self.expected["varcorr"]))

    def group_of(self, block: str) -> str:
        """The grouping factor of a block of random effects: `||` makes `Subject` and `Subject.1`."""
        return block if block in self.expected["ngroups"] else block.rpartition(".")[0]

    def our_theta(self, theta: list[float], names: list[str]) -> np.ndarray:
        """R's theta, whose factors are sorted by their size, with the factors in the order of ours (`names`)."""
        blocks: dict[str, list[float]] = {name: [] for name in names}
        start = 0
        for key, block in self.expected["varcorr"].items():
            stop = start + len(block["names"]) * (len(block["names"]) + 1) // 2
            blocks[our_group(self.group_of(key), names)] += theta[start:stop]
            start = stop
        return np.concatenate(list(blocks.values()))

    @property
    def coefficients(self) -> list[frozenset[str]]:
        """Our names of the coefficients in R's order, as sets of components."""
        return [self.components(name) for name in self.expected["coef_names"]]

    def components(self, r_name: str) -> frozenset[str]:
        """Our name of one of R's coefficients, as the set of what an interaction multiplies."""
        return frozenset(our_component(part, self.data) for part in SEPARATOR.split(r_name))

    def blocks(self) -> list[tuple[str, list[frozenset[str]], np.ndarray]]:
        """Covariance matrix of every block of random effects, with its grouping factor and names."""
        return [
            (self.group_of(key), [self.components(name) for name in block["names"]], np.array(block["cov"]))
            for key, block in self.expected["varcorr"].items()
        ]


def our_group(r_group: str, names: list[str]) -> str:
    """Our name of a grouping factor: R turns `batch/cask` into `cask:batch`, we keep the order."""
    (found,) = (name for name in names if sorted(name.split(":")) == sorted(r_group.split(":")))
    return found


def our_level(r_level: str, r_group: str, ours: str) -> str:
    """Our name of a level: its parts in the order of our group's name."""
    if r_group == ours:
        return r_level
    parts = dict(zip(r_group.split(":"), r_level.split(":"), strict=True))
    return ":".join(parts[name] for name in ours.split(":"))


def components(name: str) -> frozenset[str]:
    """What an interaction multiplies: `a:b` and `b:a` are the same coefficient."""
    return frozenset(SEPARATOR.split(name))


def our_component(part: str, frame: pd.DataFrame) -> str:
    """R's name of a main effect in ours: `sectorCatholic` is `sector[Catholic]`."""
    if part == "(Intercept)":
        return "Intercept"
    for column in sorted(frame.columns, key=len, reverse=True):
        if not part.startswith(column) or not isinstance(frame[column].dtype, pd.CategoricalDtype):
            continue
        level = part.removeprefix(column)
        if frame[column].dtype.ordered:
            return f"C({column}, contr.poly)[{level}]"
        if level in frame[column].cat.categories:
            return f"{column}[{level}]"
    return part.replace("^", " ** ")


def our_formula(r_formula: str) -> str:
    """R's formula in ours; nlme's random part is written in lme4's way, ordered factors ask for their contrasts."""
    fixed, *rest = r_formula.split("; ")
    for part in rest:
        group, terms = re.fullmatch(r"random = (\w+): ~(.+)", part).groups()
        fixed += f" + ({terms} | {group})"
    return re.sub(r"\btemperature\b", "C(temperature, contr.poly)", fixed.replace("^", " ** "))


@cache
def load_data(name: str) -> pd.DataFrame:
    """One data set with the types and the level order of its schema. Callers must not change it."""
    schema = json.loads((FOLDER / "data" / f"{name}.schema.json").read_text(encoding="utf-8"))
    frame = pd.read_csv(FOLDER / "data" / schema["file"], dtype=str, keep_default_na=False, na_values=[""])
    assert len(frame) == schema["nrow"]
    for column, kind in schema["columns"].items():
        if kind["type"] == "factor":
            frame[column] = pd.Categorical(frame[column], categories=kind["levels"], ordered=kind["ordered"])
        else:
            frame[column] = pd.to_numeric(frame[column])
        assert frame[column].isna().sum() == kind["n_missing"]
    return frame


@cache
def load_case(name: str) -> ReferenceCase:
    """One reference model, by the name of its file."""
    text = (FOLDER / "expected" / f"{name}.json").read_text(encoding="utf-8")
    return ReferenceCase(name=name, expected=json.loads(text))


@cache
def fit_case(name: str) -> Any:
    """Our fit of one reference model: fits are frozen, so the tests share them."""
    case = load_case(name)
    return cl.mixed(case.formula, case.data, method=case.method)


def is_linear(name: str) -> bool:
    """Whether a reference model is a linear one with independent residuals of one variance."""
    expected = load_case(name).expected
    structured = re.search(r"(weights|correlation) = ", expected.get("formula") or "weights = ")
    return not structured and not is_generalized(name)


def is_generalized(name: str) -> bool:
    """Whether a reference model is a mixed model of another family: ordered categories have thresholds."""
    expected = load_case(name).expected
    return "thresholds" in expected or expected.get("family", "gaussian") != "gaussian"


CASES = sorted(path.stem for path in (FOLDER / "expected").glob("*.json") if is_linear(path.stem))
"""Models with independent residuals of one variance."""

GENERALIZED = sorted(path.stem for path in (FOLDER / "expected").glob("*.json") if is_generalized(path.stem))
"""Models of other families."""


def cases_with(*entries: str) -> list[str]:
    """Names of the reference models that have all of these entries."""
    return [name for name in CASES if all(entry in load_case(name).expected for entry in entries)]
