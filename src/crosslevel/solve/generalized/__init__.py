"""Generalized linear mixed models: the search for the optimum, standard errors, quadrature, separation, priors."""

from crosslevel.solve.generalized.search import Search as Search
from crosslevel.solve.generalized.solution import GeneralizedSolution as GeneralizedSolution
from crosslevel.solve.generalized.solution import Quadrature as Quadrature
from crosslevel.solve.generalized.solve import Integration as Integration
from crosslevel.solve.generalized.solve import criterion_of as criterion_of
from crosslevel.solve.generalized.solve import solve_criterion as solve_criterion
from crosslevel.solve.generalized.solve import solve_generalized as solve_generalized
