"""Times of layers: measured once for what they depend on, and checked when read."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from convsmith.rewrite.lightening import clock as module
from convsmith.rewrite.lightening.clock import Clock
from convsmith.rewrite.lightening.stopwatch import Settled

SIZE = (1, 3, 9, 9)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder of its own for what is measured."""
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def measured(monkeypatch):
    """What was measured, and with how many threads."""
    seen = []

    def measure(self, layer, size):
        seen.append((self.compiled, self.threads))
        ms = 2.0 ** len(seen)
        return Settled(ms, ms, ms, 0.01, 16)

    monkeypatch.setattr(Clock, "_measure", measure)
    return seen


def layer():
    return nn.Conv2d(3, 4, 3)


def test_a_time_is_measured_once(kept, measured):
    first = Clock(compiled=False).layer(("a",), layer, SIZE)
    assert first == pytest.approx(2.0, rel=0.01)
    assert Clock(compiled=False).layer(("a",), layer, SIZE) == first
    assert len(measured) == 1
    assert len(list(kept.glob("*.ms"))) == 1


def test_what_it_depends_on_is_measured_apart(kept, measured, monkeypatch):
    monkeypatch.setattr(module, "_kernels", lambda: True)
    times = {Clock(compiled=False).layer(("a",), layer, SIZE)}
    times.add(Clock(compiled=True).layer(("a",), layer, SIZE))
    times.add(Clock(compiled=False).layer(("b",), layer, SIZE))
    times.add(Clock(compiled=False).layer(("a",), layer, (2, *SIZE[1:])))
    torch.set_num_threads(2)
    times.add(Clock(compiled=False).layer(("a",), layer, SIZE))
    monkeypatch.setattr(module, "cpu_name", lambda: "another processor")
    times.add(Clock(compiled=False).layer(("a",), layer, SIZE))
    assert len(times) == len(measured) == 6
    assert measured[1] == (True, 1) and measured[4] == (False, 2)


def test_a_damaged_time_is_measured_again(kept, measured):
    Clock(compiled=False).layer(("a",), layer, SIZE)
    (path,) = kept.glob("*.ms")
    whole = path.read_bytes()
    for broken in (b"", whole[:-1], whole.replace(b'"ms": 2', b'"ms": 1'), b"\xff" * 200):
        path.write_bytes(broken)
        count = len(measured)
        found = Clock(compiled=False).layer(("a",), layer, SIZE)
        assert found == pytest.approx(2.0 ** (count + 1), rel=0.01)
        assert len(measured) == count + 1


def test_remeasuring_happens_once(kept, measured):
    Clock(compiled=False).layer(("a",), layer, SIZE)
    clock = Clock(compiled=False, remeasure=True)
    again = clock.layer(("a",), layer, SIZE)
    assert clock.layer(("a",), layer, SIZE) == again == pytest.approx(4.0, rel=0.01)
    assert Clock(compiled=False).layer(("a",), layer, SIZE) == again


def test_without_halide_time_is_pytorchs(kept, monkeypatch):
    assert Clock().compiled
    monkeypatch.setitem(sys.modules, "halide", None)
    module._kernels.cache_clear()
    try:
        clock = Clock()
        assert not clock.compiled
        net, image = nn.Sequential(layer(), nn.ReLU()), torch.rand(SIZE)
        assert torch.equal(clock.runner(net, image)(), net(image))
        assert clock.networks({"one": net}, image)["one"].median_ms > 0
        assert clock.layer(("a",), layer, SIZE) > 0
    finally:
        module._kernels.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_layer_is_timed_in_its_own_precision(kept, dtype):
    assert Clock(compiled=False).layer((str(dtype),), lambda: layer().to(dtype), SIZE) > 0


def test_networks_come_back_as_they_were(kept):
    net = nn.Sequential(layer(), nn.BatchNorm2d(4), nn.Dropout()).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    times = Clock(compiled=False).networks({"a": net, "b": net}, torch.rand(SIZE))
    assert times.keys() == {"a", "b"}
    assert all(module.training for module in net.modules())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_compiled_layer_is_timed_without_packing(kept):
    """The parts of a compiled layer that a network does without are not the layer's."""
    found = Clock(compiled=True).layer(("c",), lambda: nn.Conv2d(16, 16, 3), (1, 16, 12, 12))
    assert 0 < found < 100
