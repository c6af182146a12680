"""Random networks of several inputs and outputs, each held against itself in float64."""

from tests.runtime.several.checks import agree, differences
from tests.runtime.several.draft import STEPS, Draft, Unfit, step
from tests.runtime.several.networks import Sample, sample, shrunk

__all__ = [
    "STEPS", "Draft", "Sample", "Unfit", "agree", "differences", "sample", "shrunk", "step"
]  # fmt: skip
