"""Run a network in fused kernels: captured, partitioned, lowered to blocks, run in bands."""

from __future__ import annotations

from convsmith.runtime.agreement import Agreement
from convsmith.runtime.compile import compile
from convsmith.runtime.compiled import Compiled
from convsmith.runtime.profile import BlockTime, Profile

__all__ = ["Agreement", "BlockTime", "Compiled", "Profile", "compile"]

Report = Profile
"""The old name of `Profile`."""


def __dir__() -> list[str]:
    return list(__all__)
