"""Instruction sets, each where this machine has it."""

from __future__ import annotations

import pytest

pytest.importorskip("halide")

from convsmith.errors import ArgumentError
from convsmith.kernels.isa import ISAS, Isa, choose_isa


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Isa:
    """One instruction set after the other."""
    try:
        found = choose_isa(request.param)
    except ArgumentError as error:
        pytest.skip(f"this processor lacks {request.param}: {error}")
    assert found is not None
    return found
