"""Random networks of every operation, and an oracle for what they read: helpers of the tests."""

from tests.grammar.checks import Failure, check
from tests.grammar.draft import Draft, Unfit
from tests.grammar.networks import Sample, one_step, sample
from tests.grammar.shrink import shrunk

__all__ = ["Draft", "Failure", "Sample", "Unfit", "check", "one_step", "sample", "shrunk"]
