"""Steps of an analysis that not every model or data allow."""

from collections.abc import Callable
from typing import TypeVar

from crosslevel.analysis.context_analysis import Skipped
from crosslevel.errors import CrosslevelError

Made = TypeVar("Made")
"""What a step makes."""


def tried(make: Callable[[], Made]) -> "Made | Skipped":
    """What a step makes, or why it cannot be done for this model or these data."""
    try:
        return make()
    except CrosslevelError as error:
        return Skipped(reason=str(error))
