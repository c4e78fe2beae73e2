"""The criteria by name."""

from crosslevel.errors import CrosslevelError
from crosslevel.selection.conditional import Conditional
from crosslevel.selection.criteria import AIC, BIC, BIC_CLUSTERS, Criterion
from crosslevel.selection.cross_validation import CrossValidation
from crosslevel.selection.focus import Focus
from crosslevel.selection.focus_bootstrap import FocusBootstrap
from crosslevel.selection.likelihood_ratio import LikelihoodRatio

CRITERIA: dict[str, Criterion] = {
    one.name: one
    for one in (
        BIC, BIC_CLUSTERS, AIC, Conditional(), LikelihoodRatio(), CrossValidation(), Focus(), FocusBootstrap(),
    )
}  # fmt: skip
"""By name."""


def criterion_named(criterion: object) -> Criterion:
    """A criterion by its name, or itself.

    Raises
    ------
    CrosslevelError : there is none of this name.
    """
    if isinstance(criterion, Criterion):
        return criterion
    if isinstance(criterion, str) and criterion in CRITERIA:
        return CRITERIA[criterion]
    raise CrosslevelError(f"`criterion` is one of {', '.join(map(repr, CRITERIA))}; got {criterion!r}.")
