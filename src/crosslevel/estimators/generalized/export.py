"""A generalized fit as plain values: what JSON can hold."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crosslevel.design.precision import words_of_weights
from crosslevel.estimators.export import plain, records

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit


def as_record(fit: "GeneralizedFit", *, level: float = 0.95) -> dict[str, Any]:
    """Every number of a fit, by name; what has no value is None."""
    from crosslevel.estimators.generalized.summary import overall_test

    outcome, ordered, test = fit.outcome, fit.family.kind == "ordered", overall_test(fit)
    return {
        "formula": fit.formula,
        "family": fit.family.name,
        "link": fit.family.link,
        "method": fit.method,
        "quadrature": {key: plain(value) for key, value in asdict(fit.quadrature).items()},
        "prior": None if fit.solution.prior is None else repr(fit.solution.prior),
        "ddf": fit.ddf,
        "level": level,
        "status": fit.status,
        "converged": fit.converged,
        "singular": fit.is_singular,
        "notes": list(fit.notes),
        "outcome": {
            "name": outcome.name,
            "labels": None if outcome.labels is None else [plain(label) for label in outcome.labels],
            "categories": None if outcome.categories is None else [plain(name) for name in outcome.categories],
            "trials": float(outcome.size.sum()) if outcome.has_trials else None,
        },
        "rows": {
            "read": fit.rows.read,
            "used": fit.rows.used,
            "missing": dict(fit.rows.missing),
            "weightless": fit.rows.weightless,
        },
        "weights": words_of_weights(fit.design.weights, outcome),
        "fit": {key: plain(value) for key, value in fit.glance().iloc[0].items()},
        "fixed_effects": records(fit.tidy(level=level)),
        "thresholds": records(fit.thresholds(level=level)) if ordered else None,
        "shape": records(fit.shape_parameters(level=level)),
        "aliased": list(fit.design.aliased),
        "vcov": {"terms": list(fit.term_names), "values": plain(fit.vcov.to_numpy())},
        "variance_components": records(fit.varcomp(level=level)),
        "test_random": None if test is None else {key: plain(value) for key, value in vars(test).items()},
        "theta": plain(fit.theta),
        "clusters": [_clusters(fit, factor.name) for factor in fit.design.factors],
        "labels": dict(fit.labels),
    }


def _clusters(fit: "GeneralizedFit", group: str) -> dict[str, Any]:
    """What a fit knows of the levels of one grouping factor."""
    return {
        "group": group,
        "sizes": records(fit.sizes_of(group).to_frame()),
        "random_effects": records(fit.ranef(se=True)[group]),
        "coefficients": records(fit.coef()[group]),
    }
