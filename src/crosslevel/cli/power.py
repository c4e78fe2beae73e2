"""The command that plans a study: its power, the smallest one, the cheapest one."""

import json as json_text
import sys
import tomllib
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslevel.cli import output
from crosslevel.cli.simulate import check_place
from crosslevel.errors import CrosslevelError, FileError
from crosslevel.estimators.export import records

if TYPE_CHECKING:
    from crosslevel.simulation.power.optimal import Optimal
    from crosslevel.simulation.power.record import Power

PLANS = (".toml", ".json")
"""Endings of files that hold arguments of `power`."""

PICTURES = (".png", ".svg", ".pdf")
"""Endings of figures."""

KIND = "kind"
"""The key that names the class of a record in a file."""


def run_power(
    file: Path | None,
    *,
    wanted: float,
    by: str,
    costs: Mapping[str, float | None],
    json: bool,
    path: Path | None,
    figure: Path | None,
    quiet: bool,
    **given: Any,
) -> bool:
    """Simulate power, print it, and write it; whether some replication of every design could be tested.

    Parameters
    ----------
    file : data to fit the formula to, or arguments of `power` as .toml or .json; None for a formula alone.
    wanted, by : power that is looked for, along clusters, sizes or effects.
    costs : cluster, person and budget, for the best design; none if neither of the first two is given.
    json, path : how the result is printed, and where it is written.
    figure : where the power curve is drawn.
    quiet : no messages meanwhile.
    **given : arguments of `power`, None for those that were not given.
    """
    from crosslevel.simulation.power.power import power

    if figure is not None and figure.suffix.lower() not in PICTURES:
        raise FileError(f"`--figure` ends in {', '.join(PICTURES)}; got {str(figure)!r}.")
    if path is not None and path.suffix.lower() not in output.FORMATS:
        raise FileError(f"`--output` ends in {', '.join(output.FORMATS)}; got {str(path)!r}.")
    check_place(path, "--output")
    check_place(figure, "--figure")
    asked = {name: value for name, value in given.items() if value is not None}
    if file is not None and file.suffix.lower() in PLANS:
        asked = {**plan_in(file), **asked}
    model = asked.pop("model", None)
    if model is None:
        raise CrosslevelError("`--formula` says what is fitted, as in --formula 'y ~ x + z + (1 | country)'.")
    if file is not None and file.suffix.lower() not in PLANS:
        from crosslevel.estimators.mixed import mixed

        data = output.read_file(file, sheet=None, encoding=None, missing_codes=None, quiet=quiet)
        model = mixed(model, data)
    found = power(model, progress=not quiet, **asked)
    best = None
    if costs["cluster"] is not None or costs["person"] is not None:
        best = _best(found, costs, wanted)
    output.deliver(delivered(found, best, wanted, by), json=json, path=path)
    if figure is not None:
        _draw(found, figure, wanted)
    return bool((found.frame["failed"] < found.frame["reps"]).all())


def _best(found: "Power", costs: Mapping[str, float | None], wanted: float) -> "Optimal":
    """The best design for its cost."""
    if costs["cluster"] is None or costs["person"] is None:
        raise CrosslevelError("`--cost-cluster` and `--cost-person` go together. Give both.")
    return found.optimal(
        cost_cluster=costs["cluster"], cost_person=costs["person"], budget=costs["budget"],
        power=wanted if costs["budget"] is None else None,
    )  # fmt: skip


def _draw(found: "Power", figure: Path, wanted: float) -> None:
    """Write the power curve."""
    from crosslevel.report.figures.power import power as draw

    try:
        draw(found, wanted=wanted).savefig(figure)
    except OSError as error:
        raise FileError(f"`--figure`: {str(figure)!r} cannot be written: {error.strerror or error}.") from error
    print(f"Drawn in {figure}", file=sys.stderr)


def delivered(found: "Power", best: "Optimal | None", wanted: float, by: str) -> output.Result:
    """Power to deliver."""
    from crosslevel.display import Document, Heading
    from crosslevel.simulation.power.words import USUAL, needed_or_nothing, needed_table

    def document() -> Document:
        # the usual question is answered by the document itself
        more = [] if (wanted, by) == (USUAL, "clusters") else needed_table(found, wanted, by)
        blocks = [*found.document().blocks, *more]
        if best is not None:
            own = best.document()
            blocks += [Heading(own.title), *own.blocks]
        return Document(found.document().title, blocks)

    def record() -> dict[str, Any]:
        whole = found.to_dict()
        whole["needed"] = records(needed_or_nothing(found, wanted, by))
        return whole | ({"optimal": best.to_dict()} if best is not None else {})

    return output.Result(document=document, frame=lambda: found.frame.set_index("target"), record=record)


def plan_in(file: Path) -> dict[str, Any]:
    """Arguments of `power` from a file.

    Raises
    ------
    FileError : the file cannot be read.
    CrosslevelError : something in it means nothing.
    """
    from crosslevel.simulation.power.power import power

    try:
        text = file.read_text(encoding="utf-8")
        given = tomllib.loads(text) if file.suffix.lower() == ".toml" else json_text.loads(text)
    except OSError as error:
        raise FileError(f"{str(file)!r} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise FileError(f"{str(file)!r} is no {file.suffix[1:].upper()} file: {error}.") from error
    if not isinstance(given, Mapping):
        raise CrosslevelError(f"{str(file)!r} has to hold names and values.")
    plan = {("model" if name == "formula" else name): _records(value) for name, value in given.items()}
    known = [name for name in signature(power).parameters if name != "progress"]
    unknown = [name for name in plan if name not in known]
    if unknown:
        raise CrosslevelError(
            f"{str(file)!r} has {', '.join(map(repr, unknown))}, which it cannot have. It can have formula, "
            f"{', '.join(name for name in known if name != 'model')}."
        )
    if "size" in plan:
        plan["size"] = sizes_in(plan["size"]) if isinstance(plan["size"], str) else plan["size"]
    return plan


def _records(value: Any) -> Any:
    """A value in which tables with a `kind` are variables, sizes or correlations."""
    if isinstance(value, list):
        return [_records(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    inside = {name: _records(one) for name, one in value.items() if name != KIND}
    if KIND not in value:
        return inside
    from crosslevel.simulation import lab

    names = ("Normal", "Context", "Arms", "Binary", "StudentT", "Skewed", "Sizes", "RandomCorrelation")
    if value[KIND] not in names:
        raise CrosslevelError(f"`kind` is one of {', '.join(names)}; got {value[KIND]!r}.")
    try:
        return getattr(lab, value[KIND])(**inside)
    except TypeError as error:
        raise CrosslevelError(f"A {value[KIND]} cannot be made of {inside}: {error}.") from error


def numbers_in(text: str | None, option: str) -> dict[str, float | list[float]] | None:
    """Numbers by name, as in "z=.2,x:z=.1"; several of one name are "z=.1/.2/.3"."""
    if text is None:
        return None
    out: dict[str, float | list[float]] = {}
    for part in text.split(","):
        name, equals, values = part.partition("=")
        try:
            several = [float(one) for one in values.split("/")]
        except ValueError:
            several = []
        if not equals or not several or not name.strip():
            raise CrosslevelError(f"`{option}` gives numbers by name, as in z=.2,x=.1; got {text!r}.")
        out[name.strip()] = several if len(several) > 1 else several[0]
    return out


def named_or_number(text: str | None, option: str) -> Any:
    """One number, or numbers by name."""
    if text is None or "=" in text:
        return numbers_in(text, option)
    try:
        return float(text)
    except ValueError:
        raise CrosslevelError(f"`{option}` is a number, or numbers by name as in x=.15; got {text!r}.") from None


def arms_in(text: str | None) -> Any:
    """Names of arms, or their shares of ones."""
    if text is None or "=" in text:
        return numbers_in(text, "--arms")
    return [name.strip() for name in text.split(",") if name.strip()]


def counts_in(text: str | None, option: str) -> list[int] | None:
    """Whole numbers separated by commas."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise CrosslevelError(f"`{option}` is whole numbers separated by commas; got {text!r}.") from None


def sizes_in(text: str | None) -> Any:
    """Sizes separated by commas, each a number or a range such as 600-2000."""
    if text is None:
        return None
    out: list[Any] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        try:
            out.append((int(low), int(high)) if dash else int(low))
        except ValueError:
            raise CrosslevelError(
                f"`--size` is rows of a cluster, as in 100, or 50,100,200 to try several, or 600-2000; got {text!r}."
            ) from None
    return out if len(out) > 1 else out[0]
