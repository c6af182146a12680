"""Everything that is changed in a model is taken over: by `compile`, the backend and the layers."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.nn import use_fused_
from convsmith.runtime.backend import backend
from tests.runtime.changes import CHANGES, Layer, Net
from tests.runtime.holders import HOLDERS, Held
from tests.thoroughness import thinned

IMAGE = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def _same(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and torch.allclose(found, expected, atol=1e-4, rtol=1e-4)


# From the third call on C looks for changes, before that Python does.
@pytest.mark.parametrize("calls", thinned([3, 1], 2))
@pytest.mark.parametrize("change", CHANGES)
def test_compile(net: Net, change: str, calls: int) -> None:
    fast = cs.compile(net, IMAGE, threads=1)
    assert fast.regions
    with torch.no_grad():
        before = net(IMAGE)
        assert all(_same(fast(IMAGE), before) for _ in range(calls))
    CHANGES[change](net)
    with torch.no_grad():
        after = net(IMAGE)
        assert change == "half and back" or not _same(before, after)
        assert _same(fast(IMAGE), after)
        assert _same(fast(IMAGE[:1]), net(IMAGE[:1]))
    assert fast.regions


@pytest.mark.parametrize("change", thinned(CHANGES))
def test_frozen(net: Net, change: str) -> None:
    fast = cs.compile(net, IMAGE, threads=1, frozen=True)
    before = [fast(image) for image in (IMAGE, IMAGE[:1]) for _ in range(3)]
    CHANGES[change](net)
    for image, found in ((IMAGE, before[0]), (IMAGE[:1], before[3])):
        assert all(torch.equal(fast(image), found) for _ in range(3))
    with pytest.raises(ArgumentError, match="keeps its weights"):
        fast.refresh()


# By default torch.compile, whatever its backend, does not look for hooks that came later.
@pytest.mark.parametrize("change", thinned(name for name in CHANGES if "hook" not in name))
def test_backend(net: Net, change: str) -> None:
    torch._dynamo.reset()
    fast = torch.compile(net, backend=backend, dynamic=False)
    with torch.no_grad():
        fast(IMAGE)
        CHANGES[change](net)
        assert _same(fast(IMAGE), net(IMAGE))


@pytest.mark.parametrize("change", thinned(CHANGES))
def test_layers(change: str) -> None:
    torch.manual_seed(0)
    layer = use_fused_(Layer().eval())
    with torch.no_grad():
        before = layer(IMAGE)
        assert layer._fusion._compiled.regions
    CHANGES[change](layer)
    with torch.no_grad():
        found, alone = layer(IMAGE), layer(IMAGE[:1])
        use_fused_(layer, False)
        after = layer(IMAGE)
        assert change == "half and back" or not _same(before, after)
        assert _same(found, after)
        assert _same(alone, layer(IMAGE[:1]))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", HOLDERS)
def test_what_is_held(name: str, frozen: bool) -> None:
    net = Held(name).eval()
    fast = cs.compile(net, IMAGE, threads=1, frozen=frozen)
    with torch.no_grad():
        before = net(IMAGE)
        assert all(_same(fast(IMAGE), before) for _ in range(3))
        HOLDERS[name].change(net.held)
        after = net(IMAGE)
        assert not _same(before, after)
        expected = before if frozen else after
        for count in (1, 2):
            assert _same(fast(IMAGE[:count]), expected[:count])


@pytest.mark.parametrize(
    "weight",
    [
        torch.randn(4, 4, 3, 6)[..., ::2],
        torch.randn(4, 4, 3, 3).transpose(0, 1),
        torch.randn(8, 4, 3, 3)[::2],
        torch.randn(4, 1, 3, 3).expand(4, 4, 3, 3),
    ],
    ids=["gaps", "transposed", "rows", "expanded"],
)
def test_weights_in_other_orders_of_memory(weight: Tensor) -> None:
    net = nn.Conv2d(4, 4, 3).eval()
    net.weight.data = weight
    fast = cs.compile(net, IMAGE, threads=1)
    with torch.no_grad():
        before = fast(IMAGE)
        weight.detach().numpy()[:, :1] *= 2
        assert not _same(before, net(IMAGE))
        assert _same(fast(IMAGE), net(IMAGE))


def test_part_of_a_large_weight() -> None:
    """What no count and no sample shows is found in turns, or by `refresh`."""
    net = nn.Conv2d(64, 256, 3).eval()
    image = torch.randn(1, 64, 8, 8)
    for refreshed in (False, True):
        fast = cs.compile(net, image, threads=1)
        fast(image)
        net.weight.data[3, 1, 1, 1] += 100
        if refreshed:
            fast.refresh()
        calls = 1 if refreshed else 100
        found = [fast(image) for _ in range(calls)][-1]
        assert _same(found, net(image))


def test_equal_values_and_caches_change_nothing() -> None:
    """A number set to an equal one, and what a forward pass stores, are no reason to compile."""

    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.size, self.last = nn.Conv2d(3, 8, 3), 10**9, None

        def forward(self, x: Tensor) -> Tensor:
            self.last = y = self.conv(x)
            self.calls = y.shape[2]
            return y

    net = Caching().eval()
    image = torch.randn(1, 3, 9, 9)
    fast = cs.compile(net, image, threads=1)
    source = fast._source
    net(image)
    net.size = int("1" + "0" * 9)
    net.train()
    fast(image)
    assert fast._source is source


def test_weights_made_in_inference_mode() -> None:
    image = torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        net = Net().eval()
        fast = cs.compile(net, image, threads=1)
        assert _same(fast(image), net(image))
        net.conv.weight.mul_(3)
        assert _same(fast(image), net(image))
    with torch.no_grad():
        assert _same(fast(image), net(image))


@pytest.mark.parametrize("change", [".data.mul_", "a new layer", "eps", "load_state_dict"])
def test_a_compiled_network_within_another(net: Net, change: str) -> None:
    inner = cs.compile(net, IMAGE, threads=1)
    outer = nn.Sequential(inner, nn.Conv2d(4, 3, 1)).eval()
    fast = cs.compile(outer, IMAGE, threads=1)
    assert _same(fast(IMAGE), outer(IMAGE))
    for called_between in (False, True):
        CHANGES[change](net)
        if called_between:
            inner(IMAGE)
        with torch.no_grad():
            assert _same(fast(IMAGE), outer[1](net(IMAGE)))


def test_swapped_tensors(net: Net) -> None:
    """Torch may refuse to swap what a capture refers to; what it swaps is taken over."""
    fast = cs.compile(net, IMAGE, threads=1)
    with suppress(RuntimeError):
        torch.utils.swap_tensors(net.conv.weight, nn.Parameter(torch.randn(4, 4, 3, 3)))
    assert _same(fast(IMAGE), net(IMAGE))


def test_a_new_value_costs_no_capture(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = cs.compile(net, IMAGE, threads=1)
    monkeypatch.setattr("convsmith.runtime.graph.source.Capture", None)
    nn.init.normal_(net.conv.weight)
    assert _same(fast(IMAGE), net(IMAGE))
