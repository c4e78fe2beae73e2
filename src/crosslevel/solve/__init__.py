"""Design -> criterion -> minimum -> Solution."""

from crosslevel.solve.one_factor import solve as solve
from crosslevel.solve.one_factor import working_factor as working_factor
from crosslevel.solve.solution import NEGLIGIBLE as NEGLIGIBLE
from crosslevel.solve.solution import Solution as Solution
from crosslevel.solve.solution import conditional_modes as conditional_modes
from crosslevel.solve.solution import deviance_at as deviance_at
