"""Spec and Columns become a Design and its CrossProducts."""

from crosslevel.design.build import Design as Design
from crosslevel.design.build import build_design as build_design
from crosslevel.design.levels import equations as equations
from crosslevel.design.levels import slopes_explained as slopes_explained
from crosslevel.design.products import CrossProducts as CrossProducts
from crosslevel.design.products import Moments as Moments
from crosslevel.design.reduced import Reduced as Reduced
from crosslevel.design.reduced import reduce_products as reduce_products
