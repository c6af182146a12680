"""The oracle itself, on networks simple enough to see at a glance what they read."""

from __future__ import annotations

import pytest

from tests.grammar.networks import Sample
from tests.grammar.probe import probe

# Line, whether it is smooth, whether gradients pass, and what position 4 of 9 reads.
LINES = {
    "convolution": ("x = F.conv1d(x, torch.ones(1, 1, 3).to(x), padding=1)", 1, 1, "...###..."),
    "dilated": ("x = F.conv1d(x, torch.ones(1, 1, 3).to(x), None, 1, 2, 2)", 1, 1, "..#.#.#.."),
    "maximum": ("x = F.max_pool1d(x, 3, 1, 1)", 0, 1, "...###..."),
    "argmax": ("x = x.argmax(2, keepdim=True).expand(x.shape)", 0, 0, "#########"),
    "threshold": ("x = (x.roll(1, 2) > 1).double()", 0, 0, "...#....."),
    "detached": ("x = x.detach().roll(-1, 2) + x", 1, 0, "....##..."),
    "without gradients": ("with torch.no_grad(): x = x.flip(2) * 2", 1, 0, "....#...."),
    "statistics": ("x = F.instance_norm(x)", 1, 1, "#########"),
    "running sum": ("x = x.cumsum(2)", 1, 1, "#####...."),
    "computed index": ("x = x + x[..., (x[0, 0, :1] * 3).long() % 9]", 0, 1, "#########"),
    "a zero weight": ("x = F.interpolate(x, size=9, mode='linear')", 1, 1, "....#...."),
    "constant": ("x = torch.ones_like(x)", 1, 1, "........."),
    "softmax of one": ("x = x + F.softmax(x[..., :1], 2)", 1, 1, "....#...."),
}


@pytest.mark.parametrize("name", LINES)
def test_what_one_line_reads(name):
    line, smooth, differentiable, expected = LINES[name]
    source = f"class Net(nn.Module):\n    def forward(s, x):\n        {line}\n        return x\n"
    sample = Sample(
        source, (1, 1, 9), "NCL", ("N", "C", 0), bool(smooth), bool(differentiable), (), ("", 0)
    )
    (truth,) = probe(sample, [(4,)])
    low = "".join(".#"[int(read)] for read in truth.low)
    assert all(claim == "." or true == "#" for claim, true in zip(low, expected))
    # Which pixel an index picks depends on values, and no probe tries all of them.
    if name not in ("argmax", "computed index"):
        assert low == expected
    assert (truth.high is None) != sample.smooth
    if sample.smooth:
        assert truth.high.tolist() == truth.low.tolist()


@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 2, 4)])
def test_other_images_of_a_batch_count(shape):
    source = "class Net(nn.Module):\n    def forward(s, x):\n        return x.flip(0)\n"
    sample = Sample(source, shape, "NCL", ("N", "C", 0), True, True, (), ("", 0))
    (truth,) = probe(sample, [(1,)])
    assert truth.hull == ((1, 2),)
