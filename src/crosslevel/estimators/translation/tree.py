"""The level equations of a model that is to be translated, for packages that are spoken to in them."""

from collections.abc import Callable
from dataclasses import replace

from crosslevel.estimators.translation.model import Model
from crosslevel.estimators.translation.refusals import no_counterpart, refuse_membership
from crosslevel.estimators.written.levels import Levels, Predictor


def level_equations(model: Model, package: str, most: int) -> Levels:
    """Predictors and the levels they describe.

    Raises
    ------
    CrosslevelError : crossed factors, more levels than the package has, structures other than free covariances.
    """
    design = model.need_data("the level of each predictor")
    if not model.is_nested:
        raise no_counterpart(package, "crossed random effects", "Use to='lme4' or 'stata'.")
    if len(model.groups) + 1 > most:
        raise no_counterpart(package, f"{len(model.groups) + 1} levels", "Use to='lme4' or 'stata'.")
    for part in model.formula.random:
        refuse_membership(part, package)
        if part.structure != "us":
            raise no_counterpart(package, f"the structure {part.structure} ({part.text})", "Use to='glmmtmb'.")
    factors = {factor.group: factor for factor in design.factors}
    inner_first = list(reversed(model.groups))
    columns = design.spec.columns
    names = {name for column in columns for name in column.factors}
    predictors = [
        Predictor(
            name=column.name,
            factors=column.factors,
            fixed=j in design.x,
            varies=tuple(level for level, g in enumerate(inner_first, start=2) if j in factors[g].z),
        )
        for j, column in enumerate(columns)
    ]
    used = [part for part in predictors if part.fixed or part.varies]
    return Levels(
        predictors=used, level_of={name: model.level_of(name) for name in names}, n_levels=len(inner_first) + 1
    )


def renamed(levels: Levels, rename: Callable[[str], str]) -> Levels:
    """The same with other names of the variables."""
    predictors = [replace(part, factors=tuple(map(rename, part.factors))) for part in levels.predictors]
    level_of = {rename(name): level for name, level in levels.level_of.items()}
    return Levels(predictors=predictors, level_of=level_of, n_levels=levels.n_levels)
