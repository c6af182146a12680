"""Instruction sets, each where this machine has it."""

from tests.isas import isa

__all__ = ["isa"]
