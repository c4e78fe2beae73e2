"""Spec and Columns become a Design and its CrossProducts."""

from crosslevel.design.products import CrossProducts as CrossProducts
from crosslevel.design.products import Moments as Moments
