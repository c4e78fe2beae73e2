"""What is said of standard errors that take the rows of a group to be independent of each other."""

from typing import TYPE_CHECKING

from crosslevel.display import fixed, p_statement
from crosslevel.estimators.panel.effects import can_be_tested, correlation_of_differences, serial_correlation
from crosslevel.inference.panel.serial import SerialTest

if TYPE_CHECKING:
    from crosslevel.estimators.panel.fit import PanelFit

ENTRIES = 5_000_000
"""Rows times columns that are looked at again for a note."""

CLEAR = 0.05
"""p-value of the test below which the note is made."""


def takes_rows_as_independent(fit: "PanelFit") -> bool:
    """Whether the standard errors of a fit assume that errors of a group's rows are not correlated."""
    from crosslevel.estimators.panel.between import BetweenDetails

    name = fit.covariance.name
    return not isinstance(fit.details, BetweenDetails) and (name == "iid" or name.startswith("white"))


def tested(fit: "PanelFit") -> SerialTest | None:
    """Wooldridge's test that what the standard errors assume holds; None where it cannot be made, or is costly."""
    from crosslevel.estimators.panel.first_difference import DifferenceDetails
    from crosslevel.estimators.panel.fixed_effects import WithinDetails

    details, small = fit.details, fit.panel.n_rows * (len(fit.terms) + 1) <= ENTRIES
    if not small or not can_be_tested(fit):
        return None
    if isinstance(details, DifferenceDetails):
        return correlation_of_differences(details, expected=0.0)
    return serial_correlation(fit) if isinstance(details, WithinDetails) else None


def dependence_notes(fit: "PanelFit") -> list[str]:
    """A note, if errors are correlated over time and the standard errors do not know it."""
    found = tested(fit) if takes_rows_as_independent(fit) else None
    if found is None or not found.p_value < CLEAR:
        return []
    what = "rows" if found.expected else "differences"
    return [
        f"Residuals of {what} that follow each other are correlated: {fixed(found.rho, 2)}, where "
        f"{fixed(found.expected, 2)} is expected if {what} are independent ({p_statement(found.p_value)}, Wooldridge's "
        "test). The standard errors do not allow for it; those of vcov='CR2' do."
    ]


def independence_note(fit: "PanelFit") -> list[str]:
    """What the standard errors assume, where it is not tested."""
    if not takes_rows_as_independent(fit) or tested(fit) is not None:
        return []
    return [f"They take rows of a {fit.group} to be independent given its effect; vcov='CR2' allows for dependence."]
