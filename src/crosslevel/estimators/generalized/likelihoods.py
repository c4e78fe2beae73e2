"""Which fits have a likelihood that can be maximised again, compared or profiled."""

from typing import TYPE_CHECKING

from crosslevel.errors import CrosslevelError
from crosslevel.inference.generalized.refits import EXACT, TOLERANCE, Refitter

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit


def require_likelihood(fit: "GeneralizedFit", what: str) -> None:
    """Refuse estimates that maximise no likelihood.

    Raises
    ------
    CrosslevelError : the fit is by PQL or MQL.
    """
    kind = fit.quadrature.kind
    if kind in ("pql", "mql"):
        raise CrosslevelError(
            f"{what} needs the likelihood that the estimates maximise; this fit is by {kind.upper()}, which maximises "
            "none. Fit with quadrature='auto', 'laplace' or a number of nodes."
        )


def refuse_sampled(fit: "GeneralizedFit", what: str, instead: str) -> None:
    """Refuse sampling weights where a likelihood is needed.

    Raises
    ------
    CrosslevelError : there are some.
    """
    if fit.design.is_sampled:
        raise CrosslevelError(
            f"{what} needs a likelihood; with sampling weights there is a pseudo-likelihood, whose rise has no "
            f"chi-square distribution. {instead}"
        )


def refitter(fit: "GeneralizedFit", *, errors: bool = False, exact: bool = False) -> Refitter:
    """What fits the model again, with standard errors if wanted, and to the last digits if exact."""
    return Refitter(
        solution=fit.solution, estimands=fit.estimands, max_steps=int(fit.given["max_steps"]), errors=errors,
        tolerance=EXACT if exact else TOLERANCE,
    )  # fmt: skip
