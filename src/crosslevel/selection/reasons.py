"""Why a candidate was kept or dropped, in words."""

from typing import TYPE_CHECKING

from crosslevel.selection.routine import Round
from crosslevel.selection.search import Candidate

if TYPE_CHECKING:
    from crosslevel.selection.record import Selection


def reason_of(selection: "Selection", found: Round, candidate: Candidate, dropped: str) -> str:
    """The reason for what became of a candidate or a baseline in a round."""
    title = selection.criterion_in(found.step).title
    if candidate is found.baseline:
        return _of_baseline(title, found)
    if candidate is found.chosen:
        if found.by_components:
            return (
                f"kept although its {title} is not better: {found.supported} principal components make up the variance "
                f"of the baseline's {found.baseline.structure.n_effects} random effects"
            )
        return f"kept: its {title} is better than the baseline's, and the best"
    if candidate is found.best:
        return f"not kept: the best, but its {title} is not better than the baseline's"
    if selection.judge_in(found.step).prefers(candidate, found.baseline):
        return f"not kept: its {title} is better than the baseline's, but another one's is better still"
    return f"not kept: its {title} is not better than the baseline's"


def _of_baseline(title: str, found: Round) -> str:
    """The reason for what became of a round's baseline."""
    if found.best is None:
        return "kept: there is nothing to take out"
    if not found.taken:
        return f"kept: no candidate has a better {title}"
    return "given up for a simpler candidate"
