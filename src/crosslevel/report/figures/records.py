"""Figures of records say which function answers what they draw, where they are given something else."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from crosslevel.errors import CrosslevelError

Drawing = TypeVar("Drawing", bound=Callable[..., Any])


def draws(source: str) -> Callable[[Drawing], Drawing]:
    """Let a figure take what its first argument is annotated as, and nothing else.

    Parameters
    ----------
    source : the call that answers it, such as "cl.influence(fit)".
    """

    def decorated(function: Drawing) -> Drawing:
        first, annotation = next(iter(function.__annotations__.items()))
        kinds = set(re.findall(r"\w+", str(annotation)))

        @wraps(function)
        def checked(*given: Any, **named: Any) -> Any:
            found = given[0] if given else named.get(first)
            if not kinds & {kind.__name__ for kind in type(found).__mro__}:
                name = function.__name__
                raise CrosslevelError(f"`{name}` draws what {source} answers; got {type(found).__name__}.")
            return function(*given, **named)

        return cast(Drawing, checked)

    return decorated
