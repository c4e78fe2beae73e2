"""A fit as plain values: what JSON can hold."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crosslevel.estimators.known_part import estimates_effects
from crosslevel.estimators.random import has_shares, overall_test

if TYPE_CHECKING:
    from crosslevel.estimators.mixed import MixedFit


def as_record(fit: "MixedFit", *, level: float = 0.95) -> dict[str, Any]:
    """Every number of a fit, by name; what has no value is None."""
    shared = has_shares(fit.design)
    return {
        "formula": fit.formula,
        "method": fit.method,
        "ddf": fit.ddf,
        "level": level,
        "status": fit.status,
        "converged": fit.converged,
        "singular": fit.is_singular,
        "notes": list(fit.notes),
        "rows": {
            "read": fit.rows.read,
            "used": fit.rows.used,
            "missing": dict(fit.rows.missing),
            "weightless": fit.rows.weightless,
        },
        "weights": None if fit.design.weights is None else fit.design.weights.given.words,
        "fit": {key: plain(value) for key, value in fit.glance().iloc[0].items()},
        "fixed_effects": records(fit.tidy(level=level)),
        "aliased": list(fit.design.aliased),
        "vcov": {"terms": list(fit.design.fixed_names), "values": plain(fit.solution.vcov)},
        "variance_components": records(fit.varcomp(level=level)),
        "residual": None if fit.design.residual is None else fit.design.residual.words,
        "residual_parameters": records(fit.residual_parameters(level=level)),
        "theta": plain(fit.theta),
        "sigma": fit.sigma,
        "icc": {key: plain(value) for key, value in vars(fit.icc(level=level)).items()} if shared else None,
        "test_random": None
        if fit.design.is_sampled or not estimates_effects(fit)
        else {key: plain(value) for key, value in vars(overall_test(fit)).items()},
        "variance_shares": records(fit.variance_shares(level=level)) if shared else None,
        "clusters": [_clusters(fit, factor.name) for factor in fit.design.factors],
        "labels": dict(fit.labels),
    }


def _clusters(fit: "MixedFit", group: str) -> dict[str, Any]:
    """What a fit knows of the levels of one grouping factor."""
    reliability = fit.reliability(group)
    return {
        "group": group,
        "sizes": records(fit.sizes_of(group).to_frame()),
        "random_effects": records(fit.ranef(se=True)[group]),
        "coefficients": records(fit.coef()[group]),
        "reliability": records(reliability.clusters),
        "average_reliability": {key: plain(value) for key, value in reliability.average.items()},
    }


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as dictionaries, its index first if it has a name."""
    named = frame.reset_index() if frame.index.name else frame
    return [{str(key): plain(value) for key, value in row.items()} for row in named.to_dict("records")]


def plain(value: Any) -> Any:
    """A value as JSON knows it: Python numbers, text, lists; None for what is missing or not finite."""
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return None if value is pd.NA or value is pd.NaT else str(value)
