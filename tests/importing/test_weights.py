"""Layers in files of many exporters: the modules, names and counts of what they were written from.

Exporters turn a linear layer into a product and an addition, transpose its weight on the way, and
merge weights that are equal.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from torch import Tensor, nn

pytest.importorskip("onnxscript")

import convsmith as cs
from convsmith.importing import weights
from tests.exporting.networks import settled
from tests.importing.test_onnx import F32, agree, node, saved
from tests.thoroughness import examples

IN, OUT = 6, 5


def kinds(network: nn.Module) -> list[str]:
    return [type(m).__name__ for m in network.modules() if type(m) is not nn.Module][1:]


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize(
    ("bias", "factors", "is_linear"),
    [
        (None, {}, True), ((OUT,), {}, True), ((1, OUT), {}, True), ((1,), {}, False),
        ((3, OUT), {}, False), ((OUT,), {"alpha": 0.5}, False), ((OUT,), {"beta": 2.0}, False),
        ((OUT,), {"transA": 1}, False),
    ],
)  # fmt: skip
def test_gemm(tmp_path: Path, rows: bool, bias: Any, factors: Any, is_linear: bool) -> None:
    random = np.random.default_rng(0)
    held = {"w": random.normal(size=(OUT, IN) if rows else (IN, OUT)).astype(F32)}
    if bias is not None:
        held["b"] = random.normal(size=bias).astype(F32)
    product = node("Gemm", "x0", *held, transB=int(rows), **factors)
    path = saved(tmp_path / "n.onnx", [product], [["n", "m"]], held)
    network = cs.read_onnx(path)
    agree(path, network, torch.randn((IN, 3) if "transA" in factors else (3, IN)))
    assert kinds(network) == (["Linear"] if is_linear else [])
    if is_linear:
        weight = next(network.parameters()).detach().numpy()
        assert np.array_equal(weight, held["w"] if rows else held["w"].T)


@st.composite
def products(draw: st.DrawFn) -> tuple[list[Any], dict[str, Any], tuple[str, ...], int, bool]:
    """A product and an addition; whether both are one linear layer."""
    kind = draw(st.sampled_from(["MatMul", "MatMul", "Gemm"]))
    rank = 2 if kind == "Gemm" else draw(st.integers(1, 4))
    turns, rows = draw(st.booleans()), kind == "Gemm" and draw(st.booleans())
    held = {"w": (OUT, IN) if turns != rows else (IN, OUT)}
    maps = (3 if rank == 4 else 2, 1, OUT)
    held["b"] = draw(st.sampled_from([(OUT,), (OUT,), (OUT,), (1,), (), (1, OUT), maps]))
    weight, nodes = "w", []
    if draw(st.booleans()):
        nodes.append(helper.make_node("Identity", [weight], ["copy"]))
        weight = "copy"
    if turns:
        perm = {"perm": [1, 0]} if draw(st.booleans()) else {}
        nodes.append(helper.make_node("Transpose", [weight], ["turned"], **perm))
        weight = "turned"
    more = {"transB": int(rows)} if kind == "Gemm" else {}
    nodes.append(helper.make_node(kind, ["x0", weight], ["p"], **more))
    nodes.append(helper.make_node("Add", draw(st.permutations(["p", "b"])), ["y"]))
    outputs: tuple[str, ...] = ("y",)
    again = draw(st.sampled_from(["", "", "", "read", "output", "turned"]))
    if again == "read":
        nodes.append(helper.make_node("Relu", ["p"], ["z"]))
    elif again == "turned" and turns:
        nodes.append(helper.make_node("Relu", ["turned"], ["z"]))
    if again:
        outputs += ("p" if again == "output" or (again == "turned" and not turns) else "z",)
    alone = not again or (again == "turned" and outputs == ("y", "z"))
    random = np.random.default_rng(draw(st.integers(0, 9)))
    arrays = {name: random.normal(size=shape).astype(F32) for name, shape in held.items()}
    return nodes, arrays, outputs, rank, alone and held["b"] == (OUT,)


@examples(200, 25)
@given(drawn=products())
def test_products_and_additions(tmp_path_factory: Any, drawn: Any) -> None:
    nodes, held, outputs, rank, joins = drawn
    path = tmp_path_factory.mktemp("product") / "n.onnx"
    axes = ["n", "m", "k"][: rank - 1]
    saved(path, nodes, [[*axes, IN]], held, outputs=outputs)
    network = cs.read_onnx(path)
    agree(path, network, torch.randn(*(2, 3, 4)[: rank - 1], IN))
    assert kinds(network) == ["Linear"]
    linear = next(m for m in network.modules() if isinstance(m, nn.Linear))
    assert (linear.bias is not None) == joins
    if not joins:
        return
    cost = cs.inspect(network, (*(2, 3, 4)[: rank - 1], IN))
    layer = next(each for each in cost.layers if each.operation == "linear")
    assert layer.params == IN * OUT + OUT and cost.status == "exact"


class Mixed(nn.Module):
    """Linear layers on maps and on vectors, one of them without bias; fresh norms; lists."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.second, self.norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8, bias=False)
            )
            for _ in range(2)
        )
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        x = self.norm(self.second(self.stem(x))).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean((1, 2)))


def older(model: nn.Module, image: Tensor, path: Path) -> None:
    torch.onnx.export(model, (image,), str(path), dynamo=False, do_constant_folding=False,
                      training=torch.onnx.TrainingMode.PRESERVE)  # fmt: skip


def older_folded(model: nn.Module, image: Tensor, path: Path) -> None:
    torch.onnx.export(model, (image,), str(path), dynamo=False)


def newer(model: nn.Module, image: Tensor, path: Path) -> None:
    torch.onnx.export(model, (image,), str(path), dynamo=True, verbose=False)


def newer_as_is(model: nn.Module, image: Tensor, path: Path) -> None:
    torch.onnx.export(model, (image,), str(path), dynamo=True, verbose=False, optimize=False)


def ours(model: nn.Module, image: Tensor, path: Path) -> None:
    cs.export(model, image, path, check=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("exporter", "folds"),
    [(ours, False), (older, False), (older_folded, True), (newer, True), (newer_as_is, False)],
)
def test_exporters(tmp_path: Path, exporter: Callable[..., None], folds: bool) -> None:
    model, image = Mixed().eval(), torch.randn(1, 3, 9, 8)
    settled(model.stem)  # the other norm stays as it is when it is new
    path = tmp_path / "net.onnx"
    exporter(model, image, path)
    network = cs.read_onnx(path)
    agree(path, network, image)
    parts = {name: type(part) for name, part in network.named_modules()}
    for name, part in model.named_modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            assert parts[name] is type(part), name
        elif isinstance(part, nn.BatchNorm2d) and not folds:
            assert issubclass(parts[name], nn.modules.batchnorm._BatchNorm), name
    found = cs.inspect(network, image)
    assert found.status == "exact"
    if folds:  # a norm into the convolution before it
        assert not any("BatchNorm" in kind for kind in kinds(network))
        return
    own = {k: v for k, v in model.state_dict().items() if "tracked" not in k}
    held = network.state_dict()
    assert own.keys() == held.keys() and all(torch.equal(own[key], held[key]) for key in own)
    assert (found.params, found.macs) == (
        cs.inspect(model, image).params, cs.inspect(model, image).macs,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_equal_weights_are_each_a_layers_own(tmp_path: Path) -> None:
    """As they are in the model: training one of two fresh norms leaves the other."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.BatchNorm2d(8))
    older(model.eval(), torch.randn(1, 3, 4, 4), tmp_path / "net.onnx")
    assert any(each.op_type == "Identity" for each in onnx.load(tmp_path / "net.onnx").graph.node)
    network = cs.read_onnx(tmp_path / "net.onnx")
    with torch.no_grad():
        network.get_parameter("1.weight").fill_(3.0)
    assert bool((network.get_parameter("2.weight") == 1).all())
    tensors = [*network.parameters(), *network.buffers()]
    assert len({t.data_ptr() for t in tensors}) == len(tensors)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_layer_that_is_called_twice_stays_one(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.between = nn.Linear(4, 4), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.first(self.between(self.first(x)))

    for exporter in (older, older_folded, newer, ours):
        exporter(Twice().eval(), torch.randn(2, 3, 4), tmp_path / f"{exporter.__name__}.onnx")
        network = cs.read_onnx(tmp_path / f"{exporter.__name__}.onnx")
        assert list(network.state_dict()) == ["first.weight", "first.bias"], exporter.__name__


def test_linear_layers_get_kernels(tmp_path: Path) -> None:
    """Of a map and of vectors, without a step that torch computes."""
    model, image = settled(Mixed()).eval(), torch.randn(2, 3, 33, 32)
    network = cs.read_onnx(cs.export(model, image, tmp_path / "net.onnx").path)
    one, other = (cs.compile(each, image, threads=1) for each in (network, model))
    assert sorted(one.reasons.values()) == sorted(other.reasons.values())
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(image.double())
        assert (one(image) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_copies_beyond_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [helper.make_node("Identity", ["w"], [f"w{i}"]) for i in range(9)]
    nodes += [helper.make_node("Sum", ["x0", *(f"w{i}" for i in range(9))], ["y"])]
    path = saved(tmp_path / "n.onnx", nodes, [["n", 100]], {"w": np.ones(100, F32)})
    agree(path, cs.read_onnx(path), torch.randn(2, 100))
    monkeypatch.setattr(weights, "memory", lambda: 2000)
    with pytest.raises(cs.ModelError, match="copies of its weights are larger"):
        cs.read_onnx(path)


def test_names_that_are_not_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, the same ones everywhere."""
    held = {"w.weight": np.ones((4, 3, 1, 1), F32)}
    path = saved(tmp_path / "n.onnx", [node("Conv", "x0", "w.weight")], [[1, 3, 4, 4]], held)
    path.write_bytes(path.read_bytes().replace(b"w.weight", b"\xff.weight"))
    network = cs.read_onnx(path)
    assert kinds(network) == ["Conv2d"] and network(torch.ones(1, 3, 4, 4)).max() == 3
