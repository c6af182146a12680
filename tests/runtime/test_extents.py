"""A program that would leave its memory is refused before any kernel runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.errors import ConvsmithError
from convsmith.runtime.execution.extents import check_extents
from tests.runtime.oracle import few


def _region() -> tuple[Any, Any]:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3, stride=2, padding=1)
    ).eval()
    image = torch.randn(1, 3, 12, 10)
    fast = cs.compile(net, image, threads=2)
    (region,) = fast.regions
    return region, image


def _rooms(region: Any, program: Any, image: Any) -> list[int]:
    results = region.results(program.plan)
    tensors = [region.tensors.extent(image), *[4 * int(np.prod(result)) for result in results]]
    return [program.plan.memory, region.constants.memory.nbytes, *tensors]


def test_every_byte_counts() -> None:
    """The programs of a region stay within their memory, and use nearly all of it."""
    region, image = _region()
    program = region.program(image)
    rooms = _rooms(region, program, image)
    check_extents(program.calls, program.arguments, rooms)
    for base in range(2, len(rooms)):
        less = [room - 4 * (place == base) for place, room in enumerate(rooms)]
        with pytest.raises(ConvsmithError, match="refused"):
            check_extents(program.calls, program.arguments, less)


@few
@given(st.data())
def test_wrong_programs(data: st.DataObject) -> None:
    region, image = _region()
    program = region.program(image)
    rooms = _rooms(region, program, image)
    arguments, calls = program.arguments.copy(), program.calls.copy()
    buffers = np.flatnonzero(arguments["base"] >= 0)
    row = data.draw(st.sampled_from(buffers.tolist()))
    kind = data.draw(st.sampled_from(["offset", "before", "extent", "base", "count", "first"]))
    room = max(rooms)
    if kind == "offset":
        arguments["offset"][row] += room
    elif kind == "before":
        arguments["offset"][row] = -4
    elif kind == "extent":
        arguments["extent"][row, 0] += room
    elif kind == "base":
        arguments["base"][row] = len(rooms)
    elif kind == "count":
        calls["count"][0, 0] += len(arguments)
    else:
        calls["first"][0, 0] = -1
    with pytest.raises(ConvsmithError, match="refused"):
        check_extents(calls, arguments, rooms)


def test_a_wrong_plan_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a read elsewhere."""
    region, image = _region()
    region._sized.clear()
    monkeypatch.setattr(type(region.tensors), "extent", lambda self, tensor: 8)
    with pytest.raises(ConvsmithError, match="refused"):
        region(image)


def test_no_memory() -> None:
    region, image = _region()
    image.untyped_storage().resize_(0)
    with pytest.raises(ConvsmithError, match="without memory"):
        region(image)
