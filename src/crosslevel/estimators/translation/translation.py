"""A model read from another package's commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, TypeAlias

from crosslevel.types import Frame

Estimator: TypeAlias = Literal["mixed", "ols", "fixed_effects", "random_effects", "between"]

HOMES: dict[Estimator, str] = {
    "mixed": "mixed", "ols": "ols", "fixed_effects": "panel.fixed_effects", "random_effects": "panel.random_effects",
    "between": "panel.between",
}  # fmt: skip
"""Modules of the estimators."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Translation:
    """A model of another package, ready to be fitted.

    Attributes
    ----------
    formula : of the model.
    estimator : the function that fits it: "mixed", "ols", "fixed_effects", "random_effects" or "between".
    arguments : its other arguments, by name.
    source : the commands that were read.
    notes : what is good to know, in words.
    level : confidence level that was asked for.

    Examples
    --------
    >>> import crosslevel as cl
    >>> found = cl.from_stata("mixed mathach ses || school: ses, covariance(unstructured) reml")
    >>> print(found.call)
    cl.mixed("mathach ~ ses + (1 + ses | school)", data, method="reml")
    >>> round(found.fit(cl.datasets.load("hsb")).loglik, 3)
    -23320.199
    """

    formula: str
    estimator: Estimator = "mixed"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    source: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()
    level: float = 0.95

    @property
    def call(self) -> str:
        """The call of crosslevel that fits the model to `data`."""
        quote = "'" if '"' in self.formula else '"'
        shown = [f"{quote}{self.formula}{quote}", "data"]
        shown += [f"{name}={_shown(value)}" for name, value in self.arguments.items()]
        return f"cl.{self.estimator}({', '.join(shown)})"

    def fit(self, data: Frame) -> Any:
        """Fit the model to data; the result is that of `estimator`."""
        module = import_module(f"crosslevel.estimators.{HOMES[self.estimator]}")
        return getattr(module, self.estimator)(self.formula, data, **self.arguments)

    def __str__(self) -> str:
        return "\n".join([self.call, *(f"# {note}" for note in self.notes)])


def _shown(value: object) -> str:
    """An argument as it is written in a call."""
    if isinstance(value, str):
        return f'"{value}"'
    module = type(value).__module__
    if module.startswith("crosslevel.weights"):
        return _weights(value)
    if module.startswith("crosslevel.residual"):
        return f"cl.residual.{_plain(value)}"
    if module.startswith("crosslevel.families"):
        return f"cl.families.{_plain(value)}"
    return repr(value)


def _plain(value: object) -> str:
    """A record as a call, without the arguments that are None."""
    parts = [f"{name}={item!r}" for name, item in vars(value).items() if item is not None]
    return f"{type(value).__name__}({', '.join(parts)})"


def _weights(value: Any) -> str:
    """A reading of weights as a call."""
    if type(value).__name__ != "Sampling":
        return f"cl.{type(value).__name__}({value.column!r})"
    parts = [repr(value.rows)] if value.rows else []
    parts += [f"clusters={dict(value.clusters)!r}"] if value.clusters else []
    return f"cl.Sampling({', '.join([*parts, f'scaling={value.scaling!r}'])})"
