"""Judges: does this operator compute what it says, and is its gradient right?

`operator(module, case, oracle)` asserts every law; `laws` returns what each found, for reports; `grade` judges a
learner's function, `adapt` makes an operator of somebody else's. Operators come in as values; nothing here imports
one. Hypothesis is imported by `cases.strategy` alone.
"""

from pyhybrid.check.adapt import adapt
from pyhybrid.check.adjoint import adjoint
from pyhybrid.check.case import Case
from pyhybrid.check.close import TOLERANCE, Measure, assert_close, bound, measure
from pyhybrid.check.gradient import central_difference, complex_step, jacobian
from pyhybrid.check.grading import Grade, grade
from pyhybrid.check.subject import Result
from pyhybrid.check.suite import LAWS, STANDARD, laws, operator

__all__ = [
    "LAWS",
    "STANDARD",
    "TOLERANCE",
    "Case",
    "Grade",
    "Measure",
    "Result",
    "adapt",
    "adjoint",
    "assert_close",
    "bound",
    "central_difference",
    "complex_step",
    "grade",
    "jacobian",
    "laws",
    "measure",
    "operator",
]
