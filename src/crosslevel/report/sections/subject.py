"""What a report on models is about."""

from collections.abc import Mapping
from typing import TypeAlias

from crosslevel.estimators.generalized.fit import GeneralizedFit
from crosslevel.estimators.mixed import MixedFit

Fit: TypeAlias = MixedFit | GeneralizedFit
"""What a report is about."""

Models: TypeAlias = Mapping[str, Fit]
"""Fits by name; the last is the one that is looked at closely."""


def last_of(models: Models) -> tuple[str, Fit]:
    """Name and fit of the last model."""
    return list(models.items())[-1]


def outcome_of(fit: Fit) -> str:
    """The outcome by its label, or as written."""
    return fit.labels.get(fit.spec.response_name) or fit.spec.response_name
