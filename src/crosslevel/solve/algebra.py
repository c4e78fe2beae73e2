"""By which algebra a model with several grouping factors is fitted: exact elimination, or iterative solutions."""

from crosslevel.design.crossing import Crossing
from crosslevel.likelihood.elimination import EliminationPlan
from crosslevel.likelihood.large import Cost, exact_cost, iterative_cost
from crosslevel.memory import available_memory, require_memory
from crosslevel.types import Algebra

ALWAYS_EXACT = 2500
"""Columns beside those of the largest factor up to which exact elimination is a matter of seconds."""


def choose_algebra(crossing: Crossing, wanted: Algebra) -> Algebra:
    """Exact or iterative, whichever is expected to be quicker and fits into memory; what was asked for, if it fits.

    Parameters
    ----------
    crossing : cross-products of the model.
    wanted : "exact", "iterative", or "auto".

    Raises
    ------
    MemoryShortageError : what was asked for, or both, would need more memory than there is.
    """
    counts = [len(block) for block in crossing.diagonal]
    sizes = [block.shape[1] for block in crossing.diagonal]
    columns = sorted(count * size for count, size in zip(counts, sizes, strict=True))
    if wanted != "iterative" and sum(columns[:-1]) <= ALWAYS_EXACT:
        return "exact"
    if wanted == "iterative":
        _require(iterative_cost(crossing), "An iterative fit", "Use fewer grouping factors, or a sample of the rows.")
        return "iterative"
    plan = EliminationPlan.of(crossing.pairs, tuple(counts), tuple(sizes))
    exact = exact_cost(crossing, plan.n_dense)
    if wanted == "exact":
        remedy = "Use algebra='iterative', whose deviance has a small Monte-Carlo error."
        _require(exact, f"Exact elimination of a dense part of {plan.n_dense:,} columns", remedy)
        return "exact"
    if plan.n_dense <= ALWAYS_EXACT:
        return "exact"
    iterative, available = iterative_cost(crossing), available_memory()
    if exact.seconds <= iterative.seconds and (available is None or exact.bytes <= available):
        return "exact"
    _require(iterative, "An iterative fit", "Use fewer grouping factors, or a sample of the rows.")
    return "iterative"


def _require(cost: Cost, what: str, remedy: str) -> None:
    """Refuse what does not fit into memory."""
    require_memory(cost.bytes, what, remedy)
