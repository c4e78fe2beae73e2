"""Formulas: text -> terms -> remembered state -> design columns.

The only package that knows formulaic, which it imports when an expression first needs it::

    formula = parse("y ~ within(x, g) * z + (within(x, g) | g)")
    spec = learn(formula, columns, mask)
    evaluator = spec.bind(columns, mask)
    design, response = evaluator.evaluate(rows), evaluator.response(rows)
"""

from crosslevel.formula.change import update as update
from crosslevel.formula.components import Coding as Coding
from crosslevel.formula.context_writing import random_texts as random_texts
from crosslevel.formula.context_writing import slopes_text as slopes_text
from crosslevel.formula.context_writing import write_context as write_context
from crosslevel.formula.contextual import Kind as Kind
from crosslevel.formula.contextual import learn_context as learn_context
from crosslevel.formula.evaluate import Evaluator as Evaluator
from crosslevel.formula.learn import learn as learn
from crosslevel.formula.membership import Membership as Membership
from crosslevel.formula.outcome import LearntOutcome as LearntOutcome
from crosslevel.formula.outcome import learn_outcome as learn_outcome
from crosslevel.formula.parse import Formula as Formula
from crosslevel.formula.parse import RandomPart as RandomPart
from crosslevel.formula.parse import parse as parse
from crosslevel.formula.repeated import Repeated as Repeated
from crosslevel.formula.spec import Block as Block
from crosslevel.formula.spec import DesignColumn as DesignColumn
from crosslevel.formula.spec import RandomTerm as RandomTerm
from crosslevel.formula.spec import Spec as Spec
from crosslevel.formula.two_levels import ContextVariables as ContextVariables
from crosslevel.formula.two_levels import TwoLevels as TwoLevels
from crosslevel.formula.two_levels import context_variables as context_variables
