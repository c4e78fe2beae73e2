"""What a user should know of a generalized fit beyond its numbers: in words, each with what to do."""

from crosslevel.design import Design
from crosslevel.solve.generalized.solution import GeneralizedSolution


def notes_on(design: Design, solution: GeneralizedSolution) -> tuple[str, ...]:
    """Notes on columns left out, rows dropped, singular fits and few clusters."""
    from crosslevel.estimators.notes import notes_on_rows

    return tuple(notes_on_rows(design))
