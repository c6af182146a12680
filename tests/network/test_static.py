"""Programs with free sizes: at each choice of them, what a trace of the module there says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.export import Dim, ExportedProgram, export

import convsmith as cs
from convsmith.errors import ArgumentError, TraceError
from convsmith.measure.memory import memory
from convsmith.measure.timing import layer_latency
from convsmith.network.stored.program import load_program
from tests.thoroughness import examples


class Net(nn.Module):
    """Sizes are asked for, computed with, passed on, and returned."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(True))
        self.down = nn.Conv2d(5, 7, 3, stride=2, padding=1, dilation=2)
        self.up = nn.ConvTranspose2d(7, 5, 2, 2)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        y = self.stem(x)
        small = F.max_pool2d(self.down(F.pad(y, (1, 1, 1, 1))), 3, 1, 1)
        z = F.interpolate(self.up(small), size=y.shape[2:]) + y
        tokens = z.flatten(2).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
        wide = mixed.reshape(x.shape[0], x.shape[2], x.shape[3], -1)
        half = F.interpolate(z, size=(x.shape[2] // 2, x.shape[3]))
        return self.head(wide.mean((1, 2))), half, x.shape[3]


@pytest.fixture(scope="module")
def model():
    return Net().eval()


@pytest.fixture(scope="module")
def program(model) -> ExportedProgram:
    sizes = {0: Dim("n"), 2: Dim("h", min=6, max=64), 3: Dim.DYNAMIC}
    with torch.no_grad():
        return export(model, (torch.randn(2, 3, 16, 20),), dynamic_shapes=(sizes,))


def figures(network):
    """What must not depend on how the network was read."""
    report = cs.inspect(network)
    return {
        "totals": (report.params, report.macs, report.flops, report.status),
        "inputs": report.inputs,
        "outputs": [network[name].shape for name in network.outputs],
        "layers": [
            (layer.path, layer.operation, layer.output, layer.params, layer.macs)
            for layer in report.layers
            if layer.params
        ],
        "field": report.receptive_field,
        "parameters": dict(network.parameters),
    }


@examples(12)
@given(st.integers(1, 5), st.integers(6, 64), st.integers(6, 41))
def test_the_figures_are_those_of_the_module_at_the_same_sizes(model, program, n, height, width):
    found, there = (cs.trace(m, (n, 3, height, width)) for m in (program, model))
    assert figures(found) == figures(there)
    # Only the module's own code says how long its variables live.
    bounds = memory(found)
    assert bounds.activations <= memory(there).activations <= bounds.at_most
    assert [free.size for free in found.free] == [n, height, width]


def test_without_an_example_the_sizes_are_those_of_the_export(model, program):
    found = cs.trace(program)
    assert figures(found) == figures(cs.trace(model, (2, 3, 16, 20)))
    assert [(f.input, f.axis, f.size) for f in found.free] == [
        ("x", 0, 2), ("x", 2, 16), ("x", 3, 20),
    ]  # fmt: skip
    assert (found.free[1].low, found.free[1].high) == (6, 64)
    assert found.free[2].high is None
    assert str(found.free[1]) == "axis 2 of input 'x' (here 16, free from 6 to 64)"


def test_a_saved_program(model, program, tmp_path: Path):
    path = tmp_path / "net.pt2"
    torch.export.save(program, path)
    for example, sizes in (None, (2, 3, 16, 20)), ((1, 3, 31, 9), (1, 3, 31, 9)):
        found = cs.trace(load_program(path), example)
        assert figures(found) == figures(cs.trace(model, sizes))


def test_sizes_are_not_symbols_anywhere(program):
    network = cs.trace(program, (1, 3, 9, 12))
    for node in network.program.graph.nodes:
        assert not any(isinstance(arg, torch.SymInt) for arg in node.args)
        if isinstance(value := node.meta.get("val"), torch.Tensor):
            assert all(type(size) is int for size in value.shape)
    assert not any(layer.operation.name == "sym_size" for layer in network)
    assert layer_latency(network, seconds=0.01).layers  # so it can be run


def test_the_program_is_left_as_it_is(program):
    def state():
        nodes = [(n.name, str(n.args), str(n.meta.get("val"))) for n in program.graph.nodes]
        return nodes, dict(program.range_constraints), str(program.graph_signature)

    before = state()
    cs.inspect(program)
    cs.inspect(program, (7, 3, 33, 31))
    assert state() == before
    assert program.module()(torch.randn(3, 3, 24, 18))[1].shape == (3, 5, 12, 18)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ((1, 3, 5, 20), "takes 6 to 64 for axis 2 of input 'x', not 5"),
        ((1, 3, 65, 20), "takes 6 to 64 for axis 2 of input 'x', not 65"),
        ((1, 4, 16, 20), "exported for axis 1 of input 'x' = 3, not 4"),
        ((3, 16, 20), r"has 4 axes, not \(3, 16, 20\)"),
        ([(1, 3, 16, 20), (1, 3)], r"takes 1 tensors \(x\), not 2"),
        ({"y": (1, 3, 16, 20)}, "no input 'y'"),
        ((None, 3, 16, 20), "none left free"),
        ((-1, 3, 16, 20), "no negative lengths"),
    ],
)
def test_an_example_that_the_program_does_not_take(program, example, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        cs.inspect(program, example)
    assert "\n" not in str(caught.value)


def test_sizes_that_depend_on_one_another():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv1d(2, 4, 2, 2), nn.Conv1d(2, 4, 1)

        def forward(self, x, *, y):
            return self.a(x) + self.b(y)

    size = Dim("size", min=3, max=50)
    program = export(
        Pair(),
        (torch.randn(1, 2, 16),),
        {"y": torch.randn(1, 2, 8)},
        dynamic_shapes={"x": {2: 2 * size}, "y": {2: size}},
    )
    found = cs.trace(program, {"x": (1, 2, 22), "y": (1, 2, 11)})
    assert found[found.outputs[0]].shape == (1, 4, 11)
    assert cs.inspect(found).macs == cs.inspect(Pair(), {"x": (1, 2, 22), "y": (1, 2, 11)}).macs
    for x, y in ((21, 11), (22, 10), (24, 11)):
        with pytest.raises(ArgumentError, match=r"input '[xy]'"):
            cs.trace(program, {"x": (1, 2, x), "y": (1, 2, y)})


def test_a_program_with_one_size_takes_no_other():
    program = export(nn.Conv2d(3, 4, 3), (torch.randn(1, 3, 8, 8),))
    assert cs.trace(program, (1, 3, 8, 8)).free == ()
    with pytest.raises(ArgumentError, match=r"axis 3 of input 'input' = 8, not 9: export it"):
        cs.trace(program, (1, 3, 8, 9))


def test_control_flow_on_sizes_is_fixed():
    class Even(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 2, 2)

        def forward(self, x):
            while x.shape[2] % 4:
                x = F.pad(x, (0, 0, 0, 1))
            return self.conv(x)

    for height, pads in (8, 0), (9, 3), (11, 1):
        network = cs.trace(Even(), (1, 1, height, 4))
        assert sum(layer.operation.name == "pad" for layer in network) == pads
        assert network.layers[-1].shape == (1, 1, -(-height // 4) * 2, 2)


class Chosen(nn.Module):
    def __init__(self, choose):
        super().__init__()
        self.inner = Inner(choose)

    def forward(self, x):
        return self.inner(x) * 2


class Inner(nn.Module):
    def __init__(self, choose):
        super().__init__()
        self.choose = choose

    def forward(self, x):
        if self.choose == "branch" and x.sum() > 0:
            return -x
        if self.choose == "slice":
            return x[:, : int(x.max())]
        if self.choose == "mask":
            return x[x > 0]
        return torch.nonzero(x).sum(0)


@pytest.mark.parametrize("choose", ["branch", "slice", "mask", "nonzero"])
def test_what_depends_on_values_names_the_line(choose):
    with pytest.raises(TraceError) as caught:
        cs.trace(Chosen(choose), (1, 3, 4))
    message = str(caught.value)
    lines = Path(__file__).read_text().splitlines()
    word = {"branch": "x.sum()", "slice": "x.max()", "mask": "x[x > 0]", "nonzero": "nonzero(x)"}
    number = 1 + max(
        i for i, line in enumerate(lines) if word[choose] in line and "word" not in line
    )
    assert f"test_static.py:{number}" in message
    assert "values of a tensor" in message
    assert "in layer 'inner'" in message
    assert "\n" not in message


def test_a_program_whose_sizes_depend_on_values():
    program = export(Chosen("mask"), (torch.randn(1, 3, 4),), strict=False)
    with pytest.raises(TraceError, match=r"values of a tensor in layer 'inner' \(test_static.py:"):
        cs.trace(program)


def test_an_input_that_is_named_like_a_function_of_python():
    """`nn.Sequential` calls its input so, and graphs avoid the name."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
    sizes = ({0: Dim.AUTO, 2: Dim.AUTO},)
    program = export(net, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=sizes)
    assert program.graph_signature.user_inputs == ("input",)
    for height in (8, 11):
        found = cs.inspect(program, (2, 3, height, 8))
        assert found.macs == cs.inspect(net, (2, 3, height, 8)).macs
