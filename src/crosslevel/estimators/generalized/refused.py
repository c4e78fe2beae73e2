"""What belongs to linear models, refused with the reason and with what to use."""

from typing import TYPE_CHECKING, Any, NoReturn

from crosslevel.errors import CrosslevelError

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit


def _refuse(fit: "GeneralizedFit", what: str, why: str, instead: str) -> NoReturn:
    raise CrosslevelError(f"`{what}` {why}, and a model with family={fit.family.name!r} has none. {instead}")


def _sigma(fit: "GeneralizedFit") -> float:
    """Refused: a linear model's residual standard deviation."""
    _refuse(
        fit, "sigma", "is the standard deviation of a linear model's residuals",
        "A dispersion is in `fit.shape`, variances of the random effects are in `fit.varcomp()`.",
    )  # fmt: skip


def _resid_normalised(fit: "GeneralizedFit") -> Any:
    """Refused: a linear model's normalised residuals."""
    _refuse(
        fit, "resid_normalised", "divides residuals by their one standard deviation",
        "Use cl.quantile_residuals(fit), which are normal if the model holds.",
    )  # fmt: skip


sigma = property(_sigma)
resid_normalised = property(_resid_normalised)


def residual_parameters(fit: "GeneralizedFit", *, level: float = 0.95) -> Any:
    """Refused: a linear model's residual structure."""
    _refuse(
        fit, "residual_parameters", "are those of a linear model's residual structure",
        "A dispersion is in `fit.shape_parameters()`.",
    )  # fmt: skip


def test_residual_homogeneity(fit: "GeneralizedFit", *_: object, **__: object) -> Any:
    """Refused: a linear model's test of equal residual variances."""
    _refuse(
        fit, "test_residual_homogeneity", "compares residual variances",
        "Its variance follows from the mean; look at cl.dispersion(fit).",
    )  # fmt: skip


def heterogeneity(fit: "GeneralizedFit", *_: object, **__: object) -> Any:
    """Refused: heterogeneity of effect sizes with known errors."""
    _refuse(
        fit, "heterogeneity", "compares variances with those of known or estimated residuals",
        "Use fit.varcomp() and its intervals.",
    )  # fmt: skip


def design_effect(fit: "GeneralizedFit", *_: object, **__: object) -> Any:
    """Refused: design effects from a linear model's variances."""
    _refuse(
        fit, "design_effect", "is computed from the variances of a linear model's residuals",
        "Compare standard errors with those of cl.glm(..., cluster=None) by cl.compare.",
    )  # fmt: skip


def variance_shares(fit: "GeneralizedFit", *_: object, **__: object) -> Any:
    """Refused: shares beside a linear model's residual variance."""
    _refuse(
        fit, "variance_shares", "compares variances with that of a linear model's residuals",
        "Use fit.r2().shares, which say what stands in its place.",
    )  # fmt: skip
