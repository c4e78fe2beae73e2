"""Figures of multilevel data and models, reached as `crosslevel.plot`.

Each function returns a matplotlib `Figure` that belongs to no window and no global state: show it as the last line of
a notebook cell, or `figure.savefig("file.svg")`. Those with one panel draw into `ax=` when it is given. Beside each
function stands the one that returns its data, `<name>_data`.
"""

from crosslevel.report.figures.bootstrap import bootstrap, bootstrap_data
from crosslevel.report.figures.caterpillar import caterpillar, caterpillar_data
from crosslevel.report.figures.checks import (
    calibration,
    calibration_data,
    observed_expected,
    observed_expected_data,
    quantile_residuals,
    quantile_residuals_data,
    simulated_check,
    simulated_check_data,
)
from crosslevel.report.figures.coefficients import coefficients, coefficients_data
from crosslevel.report.figures.contributions import contributions, contributions_data
from crosslevel.report.figures.estimators import estimators, estimators_data
from crosslevel.report.figures.fitted_lines import fitted_lines, fitted_lines_data
from crosslevel.report.figures.heterogeneity import heterogeneity, heterogeneity_data
from crosslevel.report.figures.influence import influence, influence_data
from crosslevel.report.figures.interactive import interactive
from crosslevel.report.figures.johnson_neyman import johnson_neyman, johnson_neyman_data
from crosslevel.report.figures.lab import study, study_data
from crosslevel.report.figures.leverage import leverage, leverage_data
from crosslevel.report.figures.margins import margins, margins_data, slopes, slopes_data
from crosslevel.report.figures.missing import missing, missing_data
from crosslevel.report.figures.power import power, power_data
from crosslevel.report.figures.raw import raw, raw_data, raw_lines
from crosslevel.report.figures.residual_checks import (
    envelope,
    envelope_data,
    homogeneity,
    homogeneity_data,
    linearity,
    linearity_data,
)
from crosslevel.report.figures.residuals import residual_fitted, residual_fitted_data, residual_qq, residual_qq_data
from crosslevel.report.figures.save import save
from crosslevel.report.figures.selection import selection, selection_data
from crosslevel.report.figures.shrinkage import shrinkage, shrinkage_data
from crosslevel.report.figures.simex import simex, simex_data
from crosslevel.report.figures.sizes import cluster_sizes, cluster_sizes_data
from crosslevel.report.figures.slope_by_context import slope_by_context, slope_by_context_data
from crosslevel.report.figures.slopes_distribution import slopes_distribution, slopes_distribution_data
from crosslevel.report.figures.specification_curve import specification_curve, specification_curve_data
from crosslevel.report.figures.transport import transport, transport_data
from crosslevel.report.figures.variance_partition import variance_partition, variance_partition_data
from crosslevel.report.figures.zeta import zeta, zeta_data

__all__ = [
    "bootstrap",
    "bootstrap_data",
    "calibration",
    "calibration_data",
    "caterpillar",
    "caterpillar_data",
    "cluster_sizes",
    "cluster_sizes_data",
    "coefficients",
    "coefficients_data",
    "contributions",
    "contributions_data",
    "envelope",
    "envelope_data",
    "estimators",
    "estimators_data",
    "fitted_lines",
    "fitted_lines_data",
    "heterogeneity",
    "heterogeneity_data",
    "homogeneity",
    "homogeneity_data",
    "influence",
    "influence_data",
    "interactive",
    "johnson_neyman",
    "johnson_neyman_data",
    "leverage",
    "leverage_data",
    "linearity",
    "linearity_data",
    "margins",
    "margins_data",
    "missing",
    "missing_data",
    "observed_expected",
    "observed_expected_data",
    "power",
    "power_data",
    "quantile_residuals",
    "quantile_residuals_data",
    "raw",
    "raw_data",
    "raw_lines",
    "residual_fitted",
    "residual_fitted_data",
    "residual_qq",
    "residual_qq_data",
    "save",
    "selection",
    "selection_data",
    "shrinkage",
    "shrinkage_data",
    "simex",
    "simex_data",
    "simulated_check",
    "simulated_check_data",
    "slope_by_context",
    "slope_by_context_data",
    "slopes",
    "slopes_data",
    "slopes_distribution",
    "slopes_distribution_data",
    "specification_curve",
    "specification_curve_data",
    "study",
    "study_data",
    "transport",
    "transport_data",
    "variance_partition",
    "variance_partition_data",
    "zeta",
    "zeta_data",
]
