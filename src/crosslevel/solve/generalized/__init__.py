"""Generalized linear mixed models: the search for the optimum, standard errors, quadrature, separation, priors."""

from crosslevel.solve.generalized.solution import GeneralizedSolution as GeneralizedSolution
from crosslevel.solve.generalized.solution import Quadrature as Quadrature
