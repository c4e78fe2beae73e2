"""Random numbers of a study: each replication of each condition has its own, whoever computes it and when."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

SeedSequence = np.random.SeedSequence


@dataclass(frozen=True, kw_only=True)
class Seeds(Sequence[SeedSequence]):
    """Seeds of the replications `start` to `stop` - 1 of a condition, made when they are asked for.

    The seed of replication r of condition c is `SeedSequence(entropy, spawn_key=(c, r))`, that of an estimator which
    draws itself `SeedSequence(entropy, spawn_key=(c, r, *stream))`, where the stream comes from its name: adding an
    estimator, or changing the order, leaves the others' numbers as they are.

    Examples
    --------
    >>> list(Seeds(entropy=1, condition=3, start=7, stop=9))[0].spawn_key
    (3, 7)
    """

    entropy: int
    condition: int
    start: int
    stop: int
    stream: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.stop - self.start

    @overload
    def __getitem__(self, index: int) -> SeedSequence: ...

    @overload
    def __getitem__(self, index: slice) -> list[SeedSequence]: ...

    def __getitem__(self, index: int | slice) -> SeedSequence | list[SeedSequence]:
        chosen = range(self.start, self.stop)[index]
        return self._seed(chosen) if isinstance(chosen, int) else [self._seed(r) for r in chosen]

    def _seed(self, replication: int) -> SeedSequence:
        """That of one replication."""
        return SeedSequence(self.entropy, spawn_key=(self.condition, replication, *self.stream))


def stream_of(name: str) -> tuple[int, int]:
    """The stream of an estimator: two words of the SHA-256 digest of its name.

    Examples
    --------
    >>> stream_of("ME-Correct") == stream_of("ME-Correct"), stream_of("ME-Correct") == stream_of("OLS")
    (True, False)
    """
    digest = hashlib.sha256(name.encode("utf-8")).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")
