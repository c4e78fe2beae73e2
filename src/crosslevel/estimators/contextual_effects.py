"""The test that effects within clusters and between clusters are equal, so that there are no contextual effects."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crosslevel.errors import CrosslevelError
from crosslevel.estimators.asked.fixed import method_of
from crosslevel.estimators.robust_fit import ContrastTest, contrast_test
from crosslevel.formula import Spec
from crosslevel.formula.components import ClusterMeans, Component, parts

if TYPE_CHECKING:
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.estimators.ols_fit import OLSFit
    from crosslevel.estimators.panel.fit import PanelFit

Weights = dict[str, float]
"""Weights of coefficients."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """The coefficients of a fit, by what they are made of.

    Attributes
    ----------
    factors : for each coefficient the names of what it is the product of.
    variables : for each the data columns it uses.
    components : the component of each of those names.
    """

    factors: Mapping[str, frozenset[str]]
    variables: Mapping[str, frozenset[str]]
    components: Mapping[str, Component]

    @classmethod
    def of(cls, spec: Spec, terms: Iterable[str]) -> "Effects":
        """Those of some coefficients of a learnt formula."""
        kept = set(terms)
        columns = [column for column in spec.columns[: spec.n_fixed] if column.name in kept]
        return cls(
            factors={column.name: frozenset(column.factors) for column in columns},
            variables={column.name: frozenset(column.variables) for column in columns},
            components={name: component for component in spec.components for name in component.names},
        )

    def means(self, name: str, group: tuple[str, ...] | None) -> list[tuple[str, ClusterMeans]]:
        """The cluster means that a coefficient is the product of, with their names."""
        found = [(factor, self.components[factor].origin) for factor in self.factors[name]]
        return [
            (factor, origin)
            for factor, origin in found
            if isinstance(origin, ClusterMeans) and origin.kind == "between" and group in (None, origin.group)
        ]

    def deviations(self, factor: str, origin: ClusterMeans, name: str) -> str | None:
        """The coefficient of the deviations from the means that another coefficient is of."""
        others = self.factors[name] - {factor}
        for candidate, factors in self.factors.items():
            (single, *more) = factors - others or ("",)
            same = factors >= others and not more and single in self.components
            if same and _are_deviations(self.components[single].origin, origin):
                return candidate
        return None

    def itself(self, factor: str, origin: ClusterMeans, name: str) -> str | None:
        """The coefficient of the predictor itself, of whose means another coefficient is."""
        others = self.factors[name] - {factor}
        wanted = self.variables[name] - set(origin.group) | frozenset(origin.argument.variables)
        for candidate, factors in self.factors.items():
            if factors == others | {origin.argument.text}:
                return candidate
        product = "*" in origin.argument.text.replace("**", "") or "==" in origin.argument.text
        for candidate, factors in self.factors.items():
            if product and self.variables[candidate] == wanted and not any(map(self._is_of_clusters, factors)):
                return candidate
        return None

    def _is_of_clusters(self, factor: str) -> bool:
        """Whether cluster means or deviations from them are in a component."""
        return any(isinstance(part.origin, ClusterMeans) for part in parts(self.components[factor]))


def _are_deviations(one: object, other: ClusterMeans) -> bool:
    """Whether the first are deviations from the means that the second are."""
    return (
        isinstance(one, ClusterMeans)
        and one.kind == "within"
        and one.group == other.group
        and one.argument.text == other.argument.text
    )


def contextual_contrasts(effects: Effects, group: tuple[str, ...] | None) -> dict[str, Weights]:
    """What is zero where effects within and between clusters are equal, by name.

    That is the coefficient of between(x, g) where that of x itself is in the model, and the difference of those of
    between(x, g) and within(x, g) where that is.
    """
    found: dict[str, Weights] = {}
    for name in effects.factors:
        means = effects.means(name, group)
        if len(means) != 1:
            continue
        deviations = effects.deviations(*means[0], name)
        if deviations is not None:
            found[f"{name} - {deviations}"] = {name: 1.0, deviations: -1.0}
        elif effects.itself(*means[0], name) is not None:
            found[name] = {name: 1.0}
    return found


def mundlak_test(
    fit: "MixedFit | OLSFit | PanelFit",
    *,
    group: str | None = None,
    ddf: str | None = None,
    vcov: str | None = None,
    cluster: str | None = None,
    level: float = 0.95,
) -> ContrastTest:
    """Test that the effects of predictors within and between clusters are equal: no contextual effects.

    It is the Hausman test by auxiliary regression: if the group effects are uncorrelated with the predictors, the
    cluster means add nothing. Unlike the classic form it takes any covariance, and cannot turn negative.

    Parameters
    ----------
    fit : a model with cluster means beside the predictors or their deviations, as `cl.mundlak` writes them.
    group : whose means, where there are those of several clusterings; None for all.
    ddf : degrees of freedom of a mixed model, as in `cl.mixed`; those of the fit if None.
    vcov : another covariance of the coefficients, such as "CR2"; that of the fit if None.
    cluster : for `cl.ols`, the clusters of that covariance.
    level : confidence level of the intervals of the single differences.

    Returns
    -------
    ContrastTest : the joint F test, with `combinations`, a frame of the single contextual effects.

    Raises
    ------
    CrosslevelError : a model without cluster means, or arguments that it does not take.

    Source
    ------
    Mundlak (1978), Econometrica 46: 69-85; Arellano (1993), J. Econom. 59: 87-97, for robust covariances; Wooldridge
    (2010), Econometric Analysis of Cross Section and Panel Data, 2nd ed., section 10.7.3.

    Examples
    --------
    >>> import crosslevel as cl
    >>> data = cl.datasets.load("hsb")
    >>> fit = cl.mixed(cl.mundlak("mathach ~ ses + sector", data, group="school"), data)
    >>> print(cl.mundlak_test(fit, ddf="satterthwaite"))
    Joint test (satterthwaite) that between(ses, school) is zero: F = 66.867 with 1 and 178.4 df, p = 5.25e-14
    """
    spec, terms = getattr(fit, "spec", None), getattr(fit, "params", None)
    if spec is None or terms is None:
        raise CrosslevelError(f"`fit` is a fit of cl.mixed, cl.ols or a panel estimator; got {type(fit).__name__}.")
    names = None if group is None else tuple(group.split(":"))
    contrasts = contextual_contrasts(Effects.of(spec, terms.index), names)
    if not contrasts:
        of = "" if group is None else f" of {group}"
        raise CrosslevelError(
            f"`fit` has no cluster means{of} beside the predictors they are of, so that there are no contextual "
            f"effects to test: {fit.formula!r}. Write them into the formula with cl.mundlak(formula, data, "
            "group=...), and fit that."
        )
    return _tested(fit, contrasts, ddf, vcov, cluster, level)


def _tested(
    fit: Any, contrasts: dict[str, Weights], ddf: str | None, vcov: str | None, cluster: str | None, level: float
) -> ContrastTest:
    """The joint test, as the fit makes it."""
    from crosslevel.estimators.mixed_fit import MixedFit
    from crosslevel.estimators.ols_fit import OLSFit

    if not isinstance(fit, MixedFit):
        if ddf is not None:
            raise CrosslevelError(
                f"`ddf` is {ddf!r}, which mixed models have; {fit.estimator} has degrees of freedom by its `vcov`."
            )
        if cluster is not None and not isinstance(fit, OLSFit):
            raise CrosslevelError(f"`cluster` is for cl.ols; the groups of {fit.estimator} are its clusters.")
        covariance = fit.covariance_by(vcov, cluster) if isinstance(fit, OLSFit) else fit.covariance_by(vcov)
        return contrast_test(covariance, fit.coefficients, fit.beta, contrasts, covariance.default_test, level)
    if vcov is not None or cluster is not None:
        if ddf is not None:
            raise CrosslevelError(
                f"`ddf` is {ddf!r} and `vcov` is {vcov!r}, but a cluster-robust covariance has degrees of freedom of "
                "its own. Leave one of them out."
            )
        return fit.robust(vcov or "CR2", cluster).contrast(contrasts, level=level)
    joint = fit.contrast(contrasts, ddf=ddf, joint=True).iloc[0]
    return ContrastTest(
        test=method_of(fit, ddf).name, statistic=float(joint["statistic"]), df_num=float(joint["df_num"]),
        df_den=float(joint["df_den"]), p_value=float(joint["p_value"]),
        combinations=fit.contrast(contrasts, ddf=ddf, level=level),
    )  # fmt: skip
