"""Random numbers from what a user gives as a seed."""

import numpy as np

from crosslevel.errors import CrosslevelError


def generator_from(seed: object) -> np.random.Generator:
    """Random numbers from a seed; a generator is used as it is.

    Raises
    ------
    CrosslevelError : it is none.
    """
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0
    if seed is None or whole or isinstance(seed, np.random.Generator | np.random.SeedSequence):
        return np.random.default_rng(seed)  # type: ignore[arg-type]
    raise CrosslevelError(
        f"`seed` is a whole number that is not negative, a numpy Generator, or None for another one each time; got "
        f"{seed!r}."
    )
