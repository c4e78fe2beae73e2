"""What linear fits with a prior are not asked for: methods that refit by maximum likelihood, without it."""

from typing import TYPE_CHECKING

from crosslevel.errors import CrosslevelError

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit


def refuse_prior(fit: "MixedFit", name: str) -> None:
    """Refuse a method, by its name, for a fit whose covariances are a posterior's mode.

    Raises
    ------
    CrosslevelError : there is a prior.
    """
    if fit.solution.prior is not None:
        raise CrosslevelError(
            f"`{name}` maximises likelihoods, and this fit is the mode of a posterior with "
            f"{fit.solution.prior.covariance_words}. Fit without `prior` for it; with the prior take fit.conf_int() "
            "and fit.varcomp()."
        )
