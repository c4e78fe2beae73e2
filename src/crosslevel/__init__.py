"""Multilevel models for survey data.

Three steps lead from a file to an answer::

    import crosslevel as cl

    data = cl.read("survey.sav")
    fit = cl.mixed("y ~ x + (x | country)", data)
    print(fit.summary())

The public names below are imported when they are first used, so that ``import crosslevel`` is quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crosslevel import datasets, errors, families, prior, residual
    from crosslevel.analysis.ladder import ladder
    from crosslevel.analysis.script import analyze
    from crosslevel.diagnostics.checks.check import check
    from crosslevel.diagnostics.coding import check_coding
    from crosslevel.diagnostics.contributions import contributions
    from crosslevel.diagnostics.describe import describe
    from crosslevel.diagnostics.diagnosis import diagnose
    from crosslevel.diagnostics.generalized.calibrated import calibration
    from crosslevel.diagnostics.generalized.clusters import observed_expected
    from crosslevel.diagnostics.generalized.quantiles import quantile_residuals
    from crosslevel.diagnostics.generalized.statistics import dispersion, zero_inflation
    from crosslevel.diagnostics.influence import influence
    from crosslevel.diagnostics.leverage import leverage
    from crosslevel.diagnostics.population import population_weight
    from crosslevel.diagnostics.residuals.envelope import envelope
    from crosslevel.diagnostics.residuals.homogeneity import homogeneity
    from crosslevel.diagnostics.residuals.least_confounded import least_confounded
    from crosslevel.diagnostics.residuals.linearity import linearity
    from crosslevel.diagnostics.residuals.residuals import residuals
    from crosslevel.diagnostics.sensitivity.codings import codings
    from crosslevel.diagnostics.sensitivity.latent_mean import latent_mean
    from crosslevel.diagnostics.sensitivity.measurement_error import measurement_error
    from crosslevel.diagnostics.sensitivity.missing_patterns import missing_patterns
    from crosslevel.diagnostics.sensitivity.multiverse import multiverse
    from crosslevel.diagnostics.sensitivity.transport import transport
    from crosslevel.errors import (
        ColumnNotFoundError,
        ConvergenceWarning,
        CrosslevelError,
        DataError,
        DataWarning,
        DesignError,
        FileError,
        FormulaError,
        MemoryShortageError,
    )
    from crosslevel.estimators.compare import compare
    from crosslevel.estimators.comparison import lrtest
    from crosslevel.estimators.contextual_effects import mundlak_test
    from crosslevel.estimators.johnson_neyman import johnson_neyman
    from crosslevel.estimators.margins import margins
    from crosslevel.estimators.mixed import mixed
    from crosslevel.estimators.mundlak import mundlak
    from crosslevel.estimators.ols import ols
    from crosslevel.estimators.panel.between import between
    from crosslevel.estimators.panel.first_difference import first_difference
    from crosslevel.estimators.panel.fixed_effects import fixed_effects
    from crosslevel.estimators.panel.hausman import hausman
    from crosslevel.estimators.panel.hausman_taylor import hausman_taylor
    from crosslevel.estimators.panel.random_effects import random_effects
    from crosslevel.estimators.responses.conditional_logit import conditional_logit
    from crosslevel.estimators.responses.gee import gee
    from crosslevel.estimators.responses.glm import glm
    from crosslevel.estimators.slopes import slopes
    from crosslevel.estimators.translation.from_lme4 import from_lme4
    from crosslevel.estimators.translation.from_spss import from_spss
    from crosslevel.estimators.translation.from_stata import from_stata
    from crosslevel.estimators.translation.translate import translate
    from crosslevel.estimators.two_step import two_step
    from crosslevel.estimators.workarounds import workarounds
    from crosslevel.report import figures as plot
    from crosslevel.report.page import report
    from crosslevel.report.tables.descriptives import descriptives
    from crosslevel.report.tables.table import table
    from crosslevel.selection.select import select
    from crosslevel.simulation import lab
    from crosslevel.simulation.power.power import power
    from crosslevel.table.read import read
    from crosslevel.weights import Frequency, Precision, Sampling

__version__ = "0.1.0"

__all__ = [
    "ColumnNotFoundError",
    "ConvergenceWarning",
    "CrosslevelError",
    "DataError",
    "DataWarning",
    "DesignError",
    "FileError",
    "FormulaError",
    "Frequency",
    "MemoryShortageError",
    "Precision",
    "Sampling",
    "__version__",
    "analyze",
    "between",
    "calibration",
    "check",
    "check_coding",
    "codings",
    "compare",
    "conditional_logit",
    "contributions",
    "datasets",
    "describe",
    "descriptives",
    "diagnose",
    "dispersion",
    "envelope",
    "errors",
    "families",
    "first_difference",
    "fixed_effects",
    "from_lme4",
    "from_spss",
    "from_stata",
    "gee",
    "glm",
    "hausman",
    "hausman_taylor",
    "homogeneity",
    "influence",
    "johnson_neyman",
    "lab",
    "ladder",
    "latent_mean",
    "least_confounded",
    "leverage",
    "linearity",
    "lrtest",
    "margins",
    "measurement_error",
    "missing_patterns",
    "mixed",
    "multiverse",
    "mundlak",
    "mundlak_test",
    "observed_expected",
    "ols",
    "plot",
    "population_weight",
    "power",
    "prior",
    "quantile_residuals",
    "random_effects",
    "read",
    "report",
    "residual",
    "residuals",
    "select",
    "slopes",
    "table",
    "translate",
    "transport",
    "two_step",
    "workarounds",
    "zero_inflation",
]

# public name -> (module, attribute), or (module, None) where the name is the module itself
_HOMES: dict[str, tuple[str, str | None]] = {
    "ColumnNotFoundError": ("crosslevel.errors", "ColumnNotFoundError"),
    "ConvergenceWarning": ("crosslevel.errors", "ConvergenceWarning"),
    "CrosslevelError": ("crosslevel.errors", "CrosslevelError"),
    "DataError": ("crosslevel.errors", "DataError"),
    "DataWarning": ("crosslevel.errors", "DataWarning"),
    "DesignError": ("crosslevel.errors", "DesignError"),
    "FileError": ("crosslevel.errors", "FileError"),
    "FormulaError": ("crosslevel.errors", "FormulaError"),
    "Frequency": ("crosslevel.weights", "Frequency"),
    "MemoryShortageError": ("crosslevel.errors", "MemoryShortageError"),
    "Precision": ("crosslevel.weights", "Precision"),
    "Sampling": ("crosslevel.weights", "Sampling"),
    "between": ("crosslevel.estimators.panel.between", "between"),
    "check": ("crosslevel.diagnostics.checks.check", "check"),
    "check_coding": ("crosslevel.diagnostics.coding", "check_coding"),
    "analyze": ("crosslevel.analysis.script", "analyze"),
    "codings": ("crosslevel.diagnostics.sensitivity.codings", "codings"),
    "compare": ("crosslevel.estimators.compare", "compare"),
    "conditional_logit": ("crosslevel.estimators.responses.conditional_logit", "conditional_logit"),
    "datasets": ("crosslevel.datasets", None),
    "contributions": ("crosslevel.diagnostics.contributions", "contributions"),
    "diagnose": ("crosslevel.diagnostics.diagnosis", "diagnose"),
    "describe": ("crosslevel.diagnostics.describe", "describe"),
    "descriptives": ("crosslevel.report.tables.descriptives", "descriptives"),
    "errors": ("crosslevel.errors", None),
    "families": ("crosslevel.families", None),
    "first_difference": ("crosslevel.estimators.panel.first_difference", "first_difference"),
    "fixed_effects": ("crosslevel.estimators.panel.fixed_effects", "fixed_effects"),
    "gee": ("crosslevel.estimators.responses.gee", "gee"),
    "glm": ("crosslevel.estimators.responses.glm", "glm"),
    "hausman": ("crosslevel.estimators.panel.hausman", "hausman"),
    "hausman_taylor": ("crosslevel.estimators.panel.hausman_taylor", "hausman_taylor"),
    "influence": ("crosslevel.diagnostics.influence", "influence"),
    "envelope": ("crosslevel.diagnostics.residuals.envelope", "envelope"),
    "homogeneity": ("crosslevel.diagnostics.residuals.homogeneity", "homogeneity"),
    "latent_mean": ("crosslevel.diagnostics.sensitivity.latent_mean", "latent_mean"),
    "least_confounded": ("crosslevel.diagnostics.residuals.least_confounded", "least_confounded"),
    "linearity": ("crosslevel.diagnostics.residuals.linearity", "linearity"),
    "measurement_error": ("crosslevel.diagnostics.sensitivity.measurement_error", "measurement_error"),
    "missing_patterns": ("crosslevel.diagnostics.sensitivity.missing_patterns", "missing_patterns"),
    "multiverse": ("crosslevel.diagnostics.sensitivity.multiverse", "multiverse"),
    "residuals": ("crosslevel.diagnostics.residuals.residuals", "residuals"),
    "johnson_neyman": ("crosslevel.estimators.johnson_neyman", "johnson_neyman"),
    "lab": ("crosslevel.simulation.lab", None),
    "ladder": ("crosslevel.analysis.ladder", "ladder"),
    "leverage": ("crosslevel.diagnostics.leverage", "leverage"),
    "lrtest": ("crosslevel.estimators.comparison", "lrtest"),
    "margins": ("crosslevel.estimators.margins", "margins"),
    "mixed": ("crosslevel.estimators.mixed", "mixed"),
    "mundlak": ("crosslevel.estimators.mundlak", "mundlak"),
    "mundlak_test": ("crosslevel.estimators.contextual_effects", "mundlak_test"),
    "ols": ("crosslevel.estimators.ols", "ols"),
    "plot": ("crosslevel.report.figures", None),
    "population_weight": ("crosslevel.diagnostics.population", "population_weight"),
    "power": ("crosslevel.simulation.power.power", "power"),
    "prior": ("crosslevel.prior", None),
    "random_effects": ("crosslevel.estimators.panel.random_effects", "random_effects"),
    "read": ("crosslevel.table.read", "read"),
    "report": ("crosslevel.report.page", "report"),
    "residual": ("crosslevel.residual", None),
    "select": ("crosslevel.selection.select", "select"),
    "slopes": ("crosslevel.estimators.slopes", "slopes"),
    "table": ("crosslevel.report.tables.table", "table"),
    "from_lme4": ("crosslevel.estimators.translation.from_lme4", "from_lme4"),
    "from_spss": ("crosslevel.estimators.translation.from_spss", "from_spss"),
    "from_stata": ("crosslevel.estimators.translation.from_stata", "from_stata"),
    "translate": ("crosslevel.estimators.translation.translate", "translate"),
    "transport": ("crosslevel.diagnostics.sensitivity.transport", "transport"),
    "two_step": ("crosslevel.estimators.two_step", "two_step"),
    "workarounds": ("crosslevel.estimators.workarounds", "workarounds"),
    "calibration": ("crosslevel.diagnostics.generalized.calibrated", "calibration"),
    "dispersion": ("crosslevel.diagnostics.generalized.statistics", "dispersion"),
    "observed_expected": ("crosslevel.diagnostics.generalized.clusters", "observed_expected"),
    "quantile_residuals": ("crosslevel.diagnostics.generalized.quantiles", "quantile_residuals"),
    "zero_inflation": ("crosslevel.diagnostics.generalized.statistics", "zero_inflation"),
}


class _Package(ModuleType):
    """The package as a module whose public functions win over subpackages of the same name.

    Importing the subpackage ``crosslevel.report`` would otherwise replace the function ``crosslevel.report``.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and _HOMES.get(name, ("", None))[1] is not None:
            return
        super().__setattr__(name, value)


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'crosslevel' has no attribute {name!r}. Public names: {', '.join(__all__)}")
    module_name, attribute = _HOMES[name]
    module = import_module(module_name)
    value = module if attribute is None else getattr(module, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Package
