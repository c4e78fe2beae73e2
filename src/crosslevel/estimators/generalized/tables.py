"""A generalized fit in one row."""

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from crosslevel.estimators.generalized.fit import GeneralizedFit


def glance(fit: "GeneralizedFit") -> pd.DataFrame:
    """A fit in one row."""
    groups = list(fit.ngroups)
    record = {
        "nobs": fit.nobs,
        "n_groups": fit.ngroups[groups[0]] if len(groups) == 1 else ", ".join(map(str, fit.ngroups.values())),
        "group": ", ".join(groups),
        "family": fit.family.name,
        "link": fit.family.link,
        "method": fit.method,
        "quadrature": fit.quadrature.kind,
        "nodes": fit.quadrature.nodes,
        "loglik": fit.loglik,
        "deviance": fit.deviance,
        "aic": fit.aic,
        "bic": fit.bic,
        "n_params": fit.n_params,
        "df_residual": fit.nobs - fit.n_params,
        "converged": fit.converged,
        "singular": fit.is_singular,
    }
    return pd.DataFrame([record])
