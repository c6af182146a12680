"""Operations in place: later readers see the new value, and inputs are written to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.network import trace
from convsmith.network.writes import writes
from convsmith.runtime.graph.functional import functional


class Body(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.body = body
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        return self.body(self, x)


def sum_with_itself(m, x):
    x = m.a(x)
    y = torch.relu_(x)
    return x + y


def read_before_and_after(m, x):
    x = m.a(x)
    before = m.b(x)
    x.add_(1)
    return before + m.b(x)


def chain(m, x):
    y = m.a(x)
    y.clamp_(min=-0.2).mul_(2).add_(m.b(x))
    return y, m.b(y)


def other_name(m, x):
    y = m.a(x)
    z = nn.functional.dropout(y, 0.5, False)
    y.relu_()
    return m.b(z)


def through_a_view(m, x):
    y = m.a(x)
    y[:, :2].relu_()
    return m.b(y)


def view_read_later(m, x):
    y = m.a(x)
    half = y[:, :2]
    y.mul_(3)
    return m.b(y), half


def into_a_slice(m, x):
    y = m.a(x)
    y[:, :, 1:] = 0
    return m.b(y)


def the_input(m, x):
    y = m.a(x)
    x.relu_()
    return y + m.b(x)


def the_input_first(m, x):
    return m.b(m.a(x.mul_(2)))


def a_buffer(m, x):
    m.count.add_(1)
    return m.b(m.a(x)) * m.count


def types(m, x):
    y = m.a(x)
    y.add_(torch.ones(1, dtype=torch.float64))
    return m.b(y)


BODIES = [
    sum_with_itself, read_before_and_after, chain, other_name, through_a_view, view_read_later,
    into_a_slice, the_input, the_input_first, a_buffer, types,
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_like_eager(body):
    torch.manual_seed(0)
    model = Body(body).eval()
    fast = cs.compile(model, (1, 4, 8, 9))
    for shape in [(1, 4, 8, 9), (2, 4, 11, 5)]:
        x = torch.randn(shape)
        mine, theirs = x.clone(), x.clone()
        count = model.count.clone()
        with torch.no_grad():
            wanted = model(theirs)
        after = model.count.clone()
        model.count.copy_(count)
        got = fast(mine)
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
        torch.testing.assert_close(model.count, after)


def test_plain_ones_are_fused():
    fast = cs.compile(Body(sum_with_itself).eval(), (1, 4, 8, 9))
    assert len(fast.regions) == 1
    assert not [name for name in fast.reasons if "relu" in name]


def test_nothing_in_place_is_left():
    program = trace(Body(chain).eval(), (1, 4, 8, 9)).program
    assert functional(program) == (True, "")
    assert not any(map(writes, program.graph.nodes))
    assert functional(program) == (False, "")
