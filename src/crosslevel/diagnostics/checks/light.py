"""A light: one check with its sentence and what to do."""

from dataclasses import dataclass

from crosslevel.diagnostics.diagnostic import Concern


@dataclass(frozen=True, kw_only=True, eq=False)
class Light:
    """What one check found.

    Attributes
    ----------
    name : of the check, as "Number of clusters".
    concern : "none", "look" or "act".
    finding : what was found, with numbers.
    advice : what to do; empty where nothing is to be done.
    """

    name: str
    concern: Concern
    finding: str
    advice: str = ""
