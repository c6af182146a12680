"""Memory of large outputs: reused once nothing refers to it, and never before."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor, nn

import convsmith as cs
from convsmith.runtime.execution.room import LARGE, Room

SIDE = 512
SHAPE = (1, 8, SIDE, SIDE)


@pytest.fixture
def room() -> Room:
    assert 4 * 8 * SIDE**2 >= LARGE
    return Room(2)


@pytest.mark.parametrize("last", [False, True])
def test_used_again_when_the_tensor_is_gone(room: Room, last: bool) -> None:
    first = room.tensor(0, SHAPE, last)
    layout = torch.channels_last if last else torch.contiguous_format
    assert first.shape == SHAPE
    assert first.is_contiguous(memory_format=layout)
    place = first.data_ptr()
    assert place % 64 == 0
    del first
    assert room.tensor(0, SHAPE, last).data_ptr() == place


@pytest.mark.parametrize(
    "keep",
    [
        lambda t: t,
        lambda t: t[0, 1:, ::2],
        lambda t: t.numpy(),
        lambda t: t.numpy()[0, 0, 5:],
        lambda t: t.detach(),
        lambda t: nn.Parameter(t),
        lambda t: t.untyped_storage(),
        lambda t: memoryview(t.numpy()),
        lambda t: t.view(torch.int32),
    ],
)
def test_not_while_anything_shares_it(room: Room, keep: object) -> None:
    tensor = room.tensor(0, SHAPE, False)
    place = tensor.data_ptr()
    kept = keep(tensor)  # type: ignore[operator]
    del tensor
    gc.collect()
    assert room.tensor(0, SHAPE, False).data_ptr() != place
    del kept
    gc.collect()
    assert room.tensor(0, SHAPE, False).data_ptr() == place


def test_each_output_has_its_own_and_sizes_differ(room: Room) -> None:
    places = {}
    for output in (0, 1):
        places[output] = room.tensor(output, SHAPE, False).data_ptr()
    assert places[0] != places[1]
    larger = room.tensor(0, (2, *SHAPE[1:]), False)
    assert larger.shape == (2, *SHAPE[1:])
    assert room.tensor(1, SHAPE, True).data_ptr() == places[1]


def test_small_ones_are_torchs(room: Room) -> None:
    small = room.tensor(0, (1, 3, 8, 8), False)
    small.resize_(1, 3, 16, 16)  # which memory of others would refuse
    assert small.shape == (1, 3, 16, 16)


def test_a_tensor_outlives_its_room() -> None:
    room = Room(1)
    tensor = room.tensor(0, SHAPE, False).fill_(3)
    del room
    gc.collect()
    assert bool((tensor == 3).all())


def test_results_that_are_kept_stay_as_they_are() -> None:
    torch.manual_seed(0)
    net = nn.Conv2d(3, 8, 3, padding=1).eval()
    fast = cs.compile(net, (1, 3, SIDE, SIDE))
    images = [torch.rand(1, 3, SIDE, SIDE) for _ in range(4)]
    kept: list[Tensor] = [fast(image) for image in images]
    with torch.no_grad():
        for image, found in zip(images, kept, strict=True):
            torch.testing.assert_close(found, net(image), atol=1e-5, rtol=1e-5)
    assert len({found.data_ptr() for found in kept}) == len(kept)
