"""What is moved by the calling thread alone has the values, the order and the memory of torch's."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from convsmith.runtime.graph import moving
from tests.thoroughness import examples

CAT, CONTIGUOUS = torch.ops.aten.cat.default, torch.ops.aten.contiguous.default
FLATTEN, RESHAPE = torch.ops.aten.flatten.using_ints, torch.ops.aten.reshape.default
DTYPES = [torch.float32, torch.bfloat16, torch.int64, torch.bool]


@pytest.fixture(autouse=True)
def few_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that small tensors lie on both sides of."""
    monkeypatch.setattr(moving, "_SHARED", 20)
    monkeypatch.setattr(moving, "_MOST", 200)


@st.composite
def tensors(draw: st.DrawFn, shape: list[int] | None = None) -> Tensor:
    """Any order of axes, some with gaps, of any type."""
    size = draw(st.lists(st.integers(0, 7), min_size=1, max_size=4)) if shape is None else shape
    order = draw(st.permutations(range(len(size))))
    gap = draw(st.integers(1, 2))
    memory = [size[axis] * (gap if place == 0 else 1) for place, axis in enumerate(order)]
    dtype = draw(st.sampled_from(DTYPES))
    whole = torch.arange(math.prod(memory)).reshape(memory).to(dtype)
    back = [order.index(axis) for axis in range(len(size))]
    return whole[: memory[0] // gap if gap > 1 else None].permute(back)


def same(mine: Tensor, right: Tensor, *sources: Tensor) -> None:
    """The same values, order in memory, and memory of the same source or of none."""
    assert mine.dtype == right.dtype
    assert mine.shape == right.shape
    assert torch.equal(mine, right)
    if right.numel():  # an axis of one has no step
        steps = [
            [s for s, n in zip(t.stride(), t.shape, strict=True) if n > 1] for t in (mine, right)
        ]
        assert steps[0] == steps[1]
    for source in sources:
        assert shares(mine, source) == shares(right, source)


def shares(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() != 0


@examples(400, 60)
@given(data=st.data())
def test_reshape_flatten_and_contiguous(data: st.DataObject) -> None:
    x = data.draw(tensors())
    count = x.numel()
    parts = [n for n in range(1, count + 1) if count % n == 0] or [1]
    first = data.draw(st.sampled_from(parts))
    for shape in ([first, -1], [-1], [1, count // first, first]):
        if count or -1 not in shape:
            same(moving.by_itself(RESHAPE)(x, shape), RESHAPE(x, shape), x)
    start, end = sorted(data.draw(st.integers(0, x.dim() - 1)) for _ in range(2))
    for a, b in ((start, end), (start - x.dim(), end - x.dim())):
        same(moving.by_itself(FLATTEN)(x, a, b), FLATTEN(x, a, b), x)
    same(moving.by_itself(CONTIGUOUS)(x), CONTIGUOUS(x), x)


@examples(400, 60)
@given(data=st.data())
def test_cat(data: st.DataObject) -> None:
    size = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    axis = data.draw(st.integers(-len(size), len(size) - 1))
    parts = []
    for _ in range(data.draw(st.integers(1, 4))):
        shape = list(size)
        shape[axis] = data.draw(st.integers(0, 6))
        parts.append(data.draw(tensors(shape)))
    if data.draw(st.booleans()):
        parts.append(torch.empty(0))  # torch leaves such a one out
    same(moving.by_itself(CAT)(parts, axis), CAT(parts, axis), *parts)


@pytest.mark.parametrize(
    ("parts", "axis"),
    [([torch.ones(30, 2), torch.ones(30, 3)], 0), ([torch.ones(30)], 3), ([], 0)],
)
def test_errors_are_those_of_torch(parts: list[Tensor], axis: int) -> None:
    with pytest.raises((RuntimeError, IndexError, ValueError)) as right:
        CAT(parts, axis)
    with pytest.raises(type(right.value)):
        moving.by_itself(CAT)(parts, axis)


class _Detector(nn.Module):
    """Heads at two sizes, as detectors have them: permuted, flattened, joined."""

    def __init__(self, several: bool) -> None:
        super().__init__()
        self.several = several
        self.stem, self.down = nn.Conv2d(3, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 2, 1)
        self.head, self.boxes = nn.Conv2d(32, 27, 3, 1, 1), nn.Conv2d(32, 12, 1)

    def forward(self, x: Tensor) -> Any:
        large = self.stem(x).relu()
        small = self.down(large).relu()
        classes = [
            self.head(y).permute(0, 2, 3, 1).reshape(len(x), -1, 9).contiguous()
            for y in (large, small)
        ]
        boxes = torch.cat([self.boxes(y).flatten(2) for y in (large, small)], 2)
        return (torch.cat(classes, 1), boxes) if self.several else torch.cat(classes, 1)


@pytest.mark.parametrize("several", [False, True])
def test_a_detector_needs_no_threads_of_torch(several: bool, tmp_path: Any) -> None:
    pytest.importorskip("halide")
    import convsmith as cs

    model, image = _Detector(several).eval(), torch.randn(2, 3, 30, 26)
    fast = cs.compile(model, image, threads=2)
    found, moved = fast(image), fast.current
    with torch.no_grad():
        right = model(image)
    pairs = zip(found, right, strict=True) if several else [(found, right)]
    for mine, other in pairs:
        torch.testing.assert_close(mine, other)
        assert mine.is_contiguous()
    assert moved is not None
    ran = (moved.lean or moved.whole).__self__ if not several else moved.whole
    targets = {node.target for node in ran.graph.nodes}
    assert not targets & set(moving._MOVING)
    fast.save(tmp_path / "detector.cvs")
    again = cs.load(tmp_path / "detector.cvs")(image)
    for mine, other in zip(again, found, strict=True) if several else [(again, found)]:
        assert torch.equal(mine, other)
