"""Thirty small networks, each of one more kind, with what is true about them."""

from __future__ import annotations

from benchmarks.samples.branches import BRANCHES
from benchmarks.samples.chains import CHAINS
from benchmarks.samples.mixing import MIXING
from benchmarks.samples.resampled import RESAMPLED
from benchmarks.samples.sample import Sample

__all__ = ["SAMPLES", "Sample"]

SAMPLES = (*CHAINS, *BRANCHES, *RESAMPLED, *MIXING)
