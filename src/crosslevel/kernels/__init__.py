"""Compiled loops: arrays in, arrays out. No domain words, no branches on strings.

Every kernel has a plain numpy twin in `tests/dense.py`. Small matrices are handled by hand-written loops:
one call of `np.linalg` inside numba costs seconds of compilation.
"""
