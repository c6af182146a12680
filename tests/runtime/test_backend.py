"""`torch.compile(backend="convsmith")`, and a compiled network within PyTorch's own tools."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from torch import nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

import convsmith as cs
from convsmith.errors import ArgumentError, TraceError
from convsmith.runtime.execution.region import Region


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 20, 3, 2, 1), nn.BatchNorm2d(20), nn.ReLU(True),
        nn.Conv2d(20, 24, 1), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, 5),
    )  # fmt: skip


def test_it_is_registered():
    assert "convsmith" in torch.compiler.list_backends()


def test_like_eager_at_several_sizes_and_for_new_weights():
    model = network().eval()
    fast = torch.compile(model, backend="convsmith", options={"threads": 1})
    with torch.no_grad():
        for shape in [(1, 3, 16, 16), (2, 3, 20, 16), (2, 3, 32, 24)]:
            x = torch.randn(shape)
            torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
        model[0].weight.mul_(-2)
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
        model[3].weight = nn.Parameter(torch.randn(24, 20, 1, 1))
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)


def test_kernels_run(monkeypatch):
    from convsmith.runtime.execution.region import Region

    calls, compute = [], Region.compute
    monkeypatch.setattr(Region, "compute", lambda *a: calls.append(a) or compute(*a))
    with torch.no_grad():
        torch.compile(network().eval(), backend="convsmith")(torch.zeros(1, 3, 16, 16))
    assert len(calls) == 1


def test_gradients_are_pytorchs():
    model, same = network().eval(), network().eval()
    x = torch.randn(2, 3, 16, 16)
    with pytest.warns(RuntimeWarning, match="no gradients"):
        torch.compile(model, backend="convsmith")(x).sum().backward()
    same(x).sum().backward()
    torch.testing.assert_close(model[0].weight.grad, same[0].weight.grad)


def test_training_without_gradients_updates_statistics():
    model, same = network()[:4].train(), network()[:4].train()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, backend="convsmith")(x), same(x))
    torch.testing.assert_close(model[1].running_mean, same[1].running_mean)


def test_a_network_that_has_no_convolution():
    model = nn.Linear(4, 3)
    with torch.no_grad():
        x = torch.randn(2, 4)
        torch.testing.assert_close(torch.compile(model, backend="convsmith")(x), model(x))


@pytest.mark.parametrize("last", [False, True])
def test_the_operation_is_well_behaved(last):
    fast = cs.compile(network().eval()[:4], (1, 3, 16, 16))
    (region,) = fast.regions
    x = torch.randn(2, 3, 17, 16)
    x = x.to(memory_format=torch.channels_last) if last else x
    torch.library.opcheck(torch.ops.convsmith.region.default, ([x], region.number))


def test_a_compiled_network_is_compiled_and_exported_again():
    fast = cs.compile(network().eval(), (2, 3, 16, 16))
    x = torch.randn(2, 3, 16, 16)
    wanted = fast(x)
    again = torch.compile(fast, backend="aot_eager", fullgraph=True)
    assert torch.equal(again(x), wanted)
    program = torch.export.export(fast, (x,))
    # Where gradients are on, torch.export puts what is under no_grad into a graph of its own.
    graphs = [m.graph for m in program.graph_module.modules() if isinstance(m, GraphModule)]
    assert any("convsmith" in str(node.target) for graph in graphs for node in graph.nodes)
    assert torch.equal(program.module()(x), wanted)
    y = torch.randn(2, 3, 22, 16)
    other = torch.compile(fast, backend="aot_eager")
    assert torch.equal(other(y), fast(y))


def test_the_model_is_no_other_than_before():
    model = network().eval()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        torch.compile(model, backend="convsmith")(torch.zeros(1, 3, 16, 16))
    assert list(before) == list(model.state_dict())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_settings_that_are_tensors(monkeypatch):
    """With dynamic=True, numbers of the layers are inputs of the graph."""
    torch._dynamo.reset()
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.LeakyReLU(0.2)).eval()
    ran = []
    compute = Region.compute
    monkeypatch.setattr(
        Region, "compute", lambda self, tensors: ran.append(1) or compute(self, tensors)
    )
    fast = torch.compile(net, backend="convsmith", dynamic=True)
    with torch.no_grad():
        for size in ((2, 3, 16, 16), (2, 3, 20, 20), (3, 3, 20, 21)):
            image = torch.randn(size)
            assert torch.allclose(fast(image), net(image), atol=1e-5)
        net[1].eps, net[2].negative_slope = 0.7, 0.5
        assert torch.allclose(fast(image), net(image), atol=1e-5)
    assert len(ran) == 4


def test_what_cannot_be_captured_is_said(monkeypatch):
    torch._dynamo.reset()
    room = sys.modules["convsmith.runtime.backend"]

    def refuse(*args, **kwargs):
        raise TraceError("a reason")

    monkeypatch.setattr(room, "compile", refuse)
    net, image = nn.Conv2d(3, 8, 3).eval(), torch.randn(1, 3, 9, 9)
    with torch.no_grad(), pytest.warns(RuntimeWarning, match="a reason"):
        found = torch.compile(net, backend="convsmith")(image)
    assert torch.allclose(found, net(image), atol=1e-5)


def test_modes_see_a_region():
    """What records operations gets the region, not a result that no operation made."""
    fast = cs.compile(network().eval()[:4], (1, 3, 16, 16), threads=1)
    x, y = torch.randn(2, 1, 3, 16, 16)
    recorded = make_fx(fast)(x)
    assert torch.equal(recorded(y), fast(y))


@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: torch.vmap(f)(x[:, None]),
        lambda f, x: torch.func.grad(lambda v: f(v).sum())(x),
        lambda f, x: torch.func.jvp(f, (x,), (x,)),
    ],
    ids=["vmap", "grad", "jvp"],
)
def test_transforms_are_refused_in_words(transform):
    fast = cs.compile(network().eval(), (1, 3, 16, 16), threads=1)
    with pytest.raises(ArgumentError, match=r"torch\.func does not reach into kernels"):
        transform(fast, torch.randn(1, 3, 16, 16))
