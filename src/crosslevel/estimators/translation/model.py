"""What is translated: a formula with what the data say of it, and the other arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from crosslevel.design import Design, build_design
from crosslevel.design.levels import constant_components
from crosslevel.design.outcome import AskedOutcome
from crosslevel.errors import CrosslevelError
from crosslevel.families import Family, family_of
from crosslevel.formula import Coding, Formula, RandomPart, parse
from crosslevel.weights import Weights, check_weights

if TYPE_CHECKING:
    from crosslevel.residual import ResidualStructure

ARGUMENTS = ("family", "method", "weights", "offset", "residual", "quadrature", "trials", "exposure", "ddf", "known")
"""Arguments of `mixed` that a translation knows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model to be translated.

    Attributes
    ----------
    formula : the formula.
    given : the other arguments of `mixed`, by name.
    design : columns and clusters of the data; None where only the formula is known.
    is_ordinary : whether it is a regression without random effects or residual structure.
    cluster : for such a regression the clusters of its standard errors.
    vcov : the kind of these, as in `ols`.
    """

    formula: Formula
    given: Mapping[str, Any]
    design: Design | None = field(default=None, repr=False)
    is_ordinary: bool = False
    cluster: tuple[str, ...] = ()
    vcov: str | None = None

    @property
    def family(self) -> Family | None:
        """Distribution of the outcome; None for linear models."""
        family = self.given.get("family", "gaussian")
        return None if family == "gaussian" else family_of(family)

    @property
    def reml(self) -> bool:
        """Whether the restricted likelihood is maximised."""
        return self.family is None and not self.is_ordinary and self.given.get("method") in (None, "reml")

    @property
    def residual(self) -> "ResidualStructure | None":
        """Covariance structure of the residuals."""
        found: ResidualStructure | None = self.given.get("residual")
        return found

    @property
    def weights(self) -> Weights | None:
        """Weights."""
        return check_weights(self.given.get("weights"))

    @property
    def ddf(self) -> str:
        """How degrees of freedom are counted."""
        return str(self.given.get("ddf", "auto"))

    @property
    def nodes(self) -> int | None:
        """Nodes of the quadrature that was asked for; None if it was left open."""
        asked = self.given.get("quadrature", "auto")
        return 1 if asked == "laplace" else asked if isinstance(asked, int) else None

    @cached_property
    def codings(self) -> Mapping[str, Coding]:
        """How each categorical expression is coded, by its text; empty where the data are unknown."""
        return {} if self.design is None else self.design.spec.codings

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Grouping factors, the outermost first where they are nested, else the smallest first."""
        names = tuple(dict.fromkeys(part.group for part in self.formula.random))
        if self.design is None:
            return tuple(sorted(names, key=len))
        sizes = {factor.group: factor.n_levels for factor in self.design.factors}
        return tuple(sorted(names, key=lambda group: sizes[group]))

    @cached_property
    def is_nested(self) -> bool:
        """Whether each grouping factor is nested in the one before.

        Raises
        ------
        CrosslevelError : this cannot be told without the data.
        """
        if len(self.groups) < 2:
            return True
        if all(set(outer) < set(inner) for outer, inner in pairwise(self.groups)):
            return True
        design = self.need_data("whether its grouping factors are nested or crossed")
        codes = {factor.group: design.used_codes(factor).astype(np.int64) for factor in design.factors}
        for outer, inner in pairwise(self.groups):
            above, below = codes[outer], codes[inner]
            if len(np.unique(below * (int(above.max()) + 1) + above)) != len(np.unique(below)):
                return False
        return True

    @cached_property
    def parts(self) -> dict[tuple[str, ...], list[RandomPart]]:
        """Random terms by grouping factor, in the order of `groups`."""
        return {group: [part for part in self.formula.random if part.group == group] for group in self.groups}

    def need_data(self, what: str) -> Design:
        """The design, asked for where the formula alone does not say something.

        Raises
        ------
        CrosslevelError : only the formula is known.
        """
        if self.design is None:
            raise CrosslevelError(
                f"`translate` has to know {what}, which the formula {self.formula.text!r} does not say. "
                "Give a fit, or data= beside the formula."
            )
        return self.design

    def level_of(self, component: str) -> int:
        """The highest level within whose units a component column is constant: 1 rows, 2 the innermost clusters, ..."""
        design = self.need_data(f"of which level {component} is")
        return self._levels(design).get(component, 1)

    def _levels(self, design: Design) -> dict[str, int]:
        found: dict[str, int] = {}
        places = {factor.group: k for k, factor in enumerate(design.factors)}
        for level, group in enumerate(reversed(self.groups), start=2):
            constant = constant_components(design, places[group])
            found.update({name: level for name, is_constant in constant.items() if is_constant})
        return found

    @property
    def has_dropped(self) -> bool:
        """Whether rows were left out for missing values, or may be."""
        return self.design is None or self.design.rows.dropped > 0


def read_model(model: object, data: object, arguments: Mapping[str, Any]) -> Model:
    """A fit, or a formula with or without data, as something to translate.

    Raises
    ------
    CrosslevelError : it is neither; arguments beside a fit, or such as no model has.
    """
    unknown = [name for name in arguments if name not in ARGUMENTS]
    if unknown:
        raise CrosslevelError(
            f"`translate` does not know the argument {unknown[0]!r}; beside a formula it takes {', '.join(ARGUMENTS)}."
        )
    if isinstance(model, str):
        return _of_formula(model, data, arguments)
    from crosslevel.estimators.fitted_mixed import FittedMixed
    from crosslevel.estimators.ols_fit import OLSFit

    if not isinstance(model, FittedMixed | OLSFit):
        raise CrosslevelError(
            f"`model` is a fit of cl.mixed or cl.ols, or a formula; got {type(model).__name__}, which has no "
            "counterpart that `translate` knows."
        )
    if arguments or data is not None:
        raise CrosslevelError("`translate` takes data= and other arguments beside a formula only: the fit has its own.")
    formula = parse(model.formula, _names(model.design))
    ordinary = isinstance(model, OLSFit)
    clusters = model.clusters if isinstance(model, OLSFit) else ()
    given = dict(model.given)
    if given.get("quadrature") == "auto" and hasattr(model, "quadrature"):
        used = model.quadrature
        given["quadrature"] = 1 if used.kind == "laplace" else used.nodes
    return Model(
        formula=formula,
        given=given,
        design=model.design,
        is_ordinary=ordinary,
        cluster=clusters,
        vcov=model.covariance.name if isinstance(model, OLSFit) else None,
    )


def _names(design: Design) -> tuple[str, ...]:
    """Columns of the data."""
    return tuple(design.columns.names)


def _of_formula(text: str, data: object, arguments: Mapping[str, Any]) -> Model:
    """A formula as something to translate."""
    given = dict(arguments)
    design = None
    if data is not None:
        family = given.get("family", "gaussian")
        asked = None
        if family != "gaussian":
            asked = AskedOutcome(family=family_of(family), trials=given.get("trials"), exposure=given.get("exposure"))
        known = parse(text)
        design = build_design(
            text, data, weights=check_weights(given.get("weights")), offset=given.get("offset"),
            residual=given.get("residual"), known=given.get("known"), outcome=asked,
            clusters=None if known.random or given.get("residual") is not None else (),
        )  # fmt: skip
    formula = parse(text, () if design is None else _names(design))
    ordinary = not formula.random and given.get("residual") is None
    return Model(formula=formula, given=given, design=design, is_ordinary=ordinary)
