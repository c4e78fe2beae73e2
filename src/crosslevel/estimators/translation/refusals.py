"""Errors for what another package does not have."""

from crosslevel.errors import CrosslevelError
from crosslevel.formula import RandomPart


def no_counterpart(package: str, what: str, advice: str) -> CrosslevelError:
    """The error for something without a counterpart."""
    return CrosslevelError(f"{package} has no counterpart of {what}. {advice}")


def refuse_membership(part: RandomPart, package: str) -> None:
    """Refuse multiple membership and known matrices."""
    if part.membership is not None:
        raise no_counterpart(package, f"multiple membership ({part.text})", "Fit it with cl.mixed, or in R's brms.")
    if part.known is not None:
        raise no_counterpart(package, f"a known matrix ({part.text})", "Fit it with cl.mixed, or in R's metafor.")
