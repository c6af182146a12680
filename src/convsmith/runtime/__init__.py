"""Run a network in fused kernels: blocks, bands of rows, programs."""

from __future__ import annotations

from convsmith.runtime.compile import Compiled, compile

__all__ = ["Compiled", "compile"]
