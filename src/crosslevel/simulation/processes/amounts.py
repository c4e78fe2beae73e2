"""What counts as a number in the specification of a simulated process."""

import math

import numpy as np


def is_number(value: object) -> bool:
    """Whether something is a finite number; truth values are none.

    Examples
    --------
    >>> is_number(0.5), is_number(True), is_number(float("nan")), is_number("1")
    (True, False, False, False)
    """
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value)


def is_whole(value: object) -> bool:
    """Whether something is a whole number.

    Examples
    --------
    >>> is_whole(2), is_whole(2.0)
    (True, False)
    """
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
