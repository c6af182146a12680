"""Run a network in fused kernels: blocks, bands of rows, programs."""

from __future__ import annotations

from convsmith.runtime.compile import compile
from convsmith.runtime.compiled import Compiled
from convsmith.runtime.report import BlockTime, Report

__all__ = ["BlockTime", "Compiled", "Report", "compile"]


def __dir__() -> list[str]:
    return list(__all__)
