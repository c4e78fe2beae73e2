"""What the dummies of a formula's categorical predictors are compared with, in words."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from crosslevel.formula import Spec
from crosslevel.formula.components import Coding


class Described(Protocol):
    """What has a formula.

    Attributes
    ----------
    spec : the formula with what it remembers of the data.
    """

    @property
    def spec(self) -> Spec: ...  # noqa: D102


def references(fit: Described, terms: Collection[str] | None = None) -> Iterator[str]:
    """The category that each set of dummies is compared with.

    Parameters
    ----------
    fit : what has a formula.
    terms : names of the columns that have coefficients; None for all of the formula.
    """
    columns = [column.factors for column in fit.spec.columns if terms is None or column.name in terms]
    for text, coding in fit.spec.codings.items():
        used = any(factor.startswith(f"{text}[") for factors in columns for factor in factors)
        if used and coding.reference is not None and coding.kind == "treatment":
            yield f"{text}: {compared_with(text, coding, columns)}."
        elif used and coding.kind == "wec":
            yield (
                f"{text}: deviations from the mean of the sample (weighted effect coding); "
                f"{coding.reference} is left out."
            )
        elif used:
            yield f"{text}: {coding.kind} coding."


def compared_with(text: str, coding: Coding, columns: Sequence[tuple[str, ...]]) -> str:
    """What the dummies of a categorical component are compared with; nothing, where each category has a coefficient.

    Parameters
    ----------
    text, coding : the component.
    columns : factors of the columns that have coefficients.
    """
    shown = categories_shown(text, columns)
    names = [str(level) for level in coding.levels]
    absent = [tuple(name for name in names if name not in some) for some in shown.values()]
    if not any(absent):
        return "each category has a coefficient of its own"
    sets = set(absent)
    if len(sets) == 1 and len(absent[0]) == 1:
        return f"compared with {absent[0][0]}"
    if () in sets:
        return f"compared with {coding.reference}, but for terms that have a coefficient of each category"
    return f"compared with {coding.reference}"


def categories_shown(text: str, columns: Sequence[tuple[str, ...]]) -> dict[frozenset[str], set[str]]:
    """The categories of a component that have coefficients, by what their dummies are multiplied with."""
    shown: dict[frozenset[str], set[str]] = {}
    for factors in columns:
        for k, factor in enumerate(factors):
            if factor.startswith(f"{text}["):
                beside = frozenset((*factors[:k], *factors[k + 1 :]))
                shown.setdefault(beside, set()).add(factor[len(text) + 1 : -1])
    return shown


def own_category(fit: Described, factors: Collection[str], factor: str) -> str | None:
    """The category of a dummy that is compared with none, as the reference has a coefficient too; else None.

    Parameters
    ----------
    fit : what has a formula.
    factors : what the column of the dummy is the product of.
    factor : the dummy among them.
    """
    columns = [column.factors for column in fit.spec.columns[: fit.spec.n_fixed]]
    for text, coding in fit.spec.codings.items():
        if factor.startswith(f"{text}[") and coding.kind == "treatment":
            shown = categories_shown(text, columns).get(frozenset(factors) - {factor}, set())
            return factor[len(text) + 1 : -1] if str(coding.reference) in shown else None
    return None
