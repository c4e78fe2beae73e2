"""Which predictors vary within groups, and which are endogenous: what the instruments are made of."""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from crosslevel.errors import CrosslevelError, DesignError
from crosslevel.inference.panel.instruments import Roles
from crosslevel.inference.panel.panel import Panel
from crosslevel.types import BoolArray

Instruments: TypeAlias = Literal["ht", "am", "bms"]

METHODS: dict[Instruments, str] = {"ht": "Hausman-Taylor", "am": "Amemiya-MaCurdy", "bms": "Breusch-Mizon-Schmidt"}
"""The estimators by the names that choose them."""

NOTHING = 1e-13
"""Variance of the errors within groups, relative to that of the outcome, that counts as none."""


def check_method(method: object) -> Instruments:
    """The name of an estimator.

    Raises
    ------
    CrosslevelError : no such estimator.
    """
    for name in METHODS:
        if method == name:
            return name
    listed = ", ".join(f"{name!r} ({words})" for name, words in METHODS.items())
    raise CrosslevelError(f"`method` is one of {listed}; got {method!r}.")


def roles_of(panel: Panel, endogenous: object) -> Roles:
    """What is known of the columns of a panel model.

    Parameters
    ----------
    panel : the rows of the model.
    endogenous : names of coefficients or of variables.

    Raises
    ------
    CrosslevelError : names that are not in the model; nothing endogenous; nothing varies within groups.
    """
    columns = panel.design.x
    fixed = set(panel.constant_in_groups(columns))
    varying = np.array([name not in fixed and name != "Intercept" for name in panel.names(columns)])
    if not varying.any():
        raise DesignError(
            f"`formula` has no predictor that varies within {panel.groups.name}, and such predictors are what the "
            "instruments are made of. Add some, or compare groups with cl.between."
        )
    return Roles(columns=columns, varying=varying, endogenous=_endogenous(panel, endogenous))


def _endogenous(panel: Panel, endogenous: object) -> BoolArray:
    """(p,) whether each column is one of those named, or is made of a variable that is."""
    out = np.zeros(len(panel.design.x), dtype=np.bool_)
    for name in _listed(endogenous):
        found = _made_of(panel, name)
        if not found.any():
            raise _unknown(panel, name)
        out |= found
    return out


def _listed(endogenous: object) -> tuple[str, ...]:
    """Names as given, one or several."""
    names = (endogenous,) if isinstance(endogenous, str) or not isinstance(endogenous, Iterable) else tuple(endogenous)
    if not all(isinstance(name, str) for name in names):
        raise CrosslevelError(
            f"`endogenous` names the predictors that are correlated with the effects of the groups, as in "
            f"endogenous=['education', 'hours']; got {endogenous!r}."
        )
    if not names:
        raise CrosslevelError(
            "`endogenous` is empty. If no predictor is correlated with the effects of the groups, cl.random_effects is "
            "the estimator; else name those that are."
        )
    return names


def _made_of(panel: Panel, name: str) -> BoolArray:
    """(p,) whether a column has this name, or is made of the variable of this name."""
    spec = panel.design.spec
    columns = [spec.columns[j] for j in panel.design.x]
    groups = panel.groups.name.split(":")
    return np.array([name == c.name or (name in c.variables and name not in groups) for c in columns], dtype=np.bool_)


def _unknown(panel: Panel, name: str) -> CrosslevelError:
    """Error for a name that is no predictor."""
    spec = panel.design.spec
    names = panel.names(panel.slopes)
    if name in panel.design.aliased:
        return CrosslevelError(
            f"`endogenous` names {name!r}, which is a linear combination of other predictors and has no coefficient. "
            "Drop it from the formula, or drop others."
        )
    outcome = name == spec.response_name or name in spec.response_component.variables
    what = "the outcome" if outcome else "no predictor of `formula`"
    variables = dict.fromkeys(v for j in panel.slopes for v in spec.columns[j].variables)
    return CrosslevelError(
        f"`endogenous` names {name!r}, which is {what}. Coefficients: {', '.join(names)}; variables: "
        f"{', '.join(variables)}."
    )


def check_order(panel: Panel, roles: Roles, method: Instruments) -> None:
    """Refuse fewer instruments than endogenous columns that are constant within groups.

    Raises
    ------
    DesignError : see above; the message counts both.
    """
    helpers = of_kind(panel, roles, varying=True, endogenous=False)
    needing = of_kind(panel, roles, varying=False, endogenous=True)
    periods = 1 if method == "ht" or panel.times is None else panel.times.n_clusters
    if not needing or len(helpers) * periods >= len(needing):
        return
    if method == "bms" and of_kind(panel, roles, varying=True, endogenous=True):
        return  # deviations of the endogenous ones are instruments, too; whether they suffice is seen from their rank
    group, one = panel.groups.name, len(needing) == 1
    more = " Or use method='am', which takes their values in each period." if method == "ht" and helpers else ""
    raise DesignError(
        f"`endogenous` has {_counted(needing)} that {'is' if one else 'are'} constant within {group}, but there "
        f"{'is' if len(helpers) == 1 else 'are'} {_counted(helpers, 'exogenous predictor')} varying within {group} to "
        "make instruments of: there must be at least as many of these. Declare fewer predictors endogenous, drop "
        f"{needing[0]} from the formula, or add predictors that vary within {group} and are uncorrelated with its "
        f"effects.{more}"
    )


def check_residual(panel: Panel, variance: float) -> None:
    """Refuse an outcome of which nothing is left within groups, `variance` the error's there.

    Raises
    ------
    DesignError : see above.
    """
    total = panel.products.total[panel.response, panel.response] / panel.n_rows
    if variance <= NOTHING * total:
        outcome, group = panel.products.names[panel.response], panel.groups.name
        raise DesignError(
            f"`formula` leaves nothing of {outcome!r} within {group}: either it does not vary there, or predictors "
            f"reproduce it. Compare groups of {group} with cl.between, or check for an outcome that is a function of "
            "the predictors."
        )


def unidentified(panel: Panel, roles: Roles) -> DesignError:
    """Error for instruments that are enough in number, but do not tell the coefficients apart."""
    needing = of_kind(panel, roles, varying=False, endogenous=True)
    what = f"of {', '.join(needing)}" if needing else "of all predictors"
    return DesignError(
        f"`endogenous` leaves instruments that do not identify the coefficients {what}: the group means of the "
        f"exogenous predictors vary too little between groups of {panel.groups.name}, or are combinations of each "
        "other (a variable with the same mean in all groups, such as time in a balanced panel, is no instrument). Add "
        "exogenous predictors that vary within groups and differ between them, or declare fewer endogenous."
    )


def of_kind(panel: Panel, roles: Roles, *, varying: bool, endogenous: bool) -> tuple[str, ...]:
    """Names of the predictors of one kind, the intercept apart."""
    which = (roles.varying == varying) & (roles.endogenous == endogenous)
    return tuple(name for name in panel.names(roles.columns[which]) if name != "Intercept")


def _counted(names: Sequence[str], what: str = "predictor") -> str:
    """So many predictors, and which."""
    shown = f" ({', '.join(names)})" if names else ""
    return f"{len(names) or 'no'} {what}{'' if len(names) == 1 else 's'}{shown}"
