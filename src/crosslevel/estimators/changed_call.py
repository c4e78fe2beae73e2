"""The call that fitted a model, with something in it changed."""

from collections.abc import Mapping
from typing import Any

from crosslevel.formula import update
from crosslevel.types import Frame


def changed_call(
    formula: str, data: Frame, given: Mapping[str, Any], change: str | None, others: Mapping[str, Any]
) -> tuple[str, Frame, dict[str, Any]]:
    """Formula, data and other arguments of a call, once changed.

    Parameters
    ----------
    formula, data, given : of the call: the formula, the frame, and all other arguments by name.
    change : a new formula, in which a dot stands for what was there ("~ . + x"); None for the same.
    others : arguments that are different, "data" among them.
    """
    merged = {**given, "data": data, **others}
    text = formula if change is None else update(formula, change)
    return text, merged.pop("data"), merged
