"""ONNX files as modules: what ONNX Runtime says they compute, at any size, and traced exactly."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import convsmith as cs
from convsmith.cli import main
from convsmith.importing.table import OPERATORS
from convsmith.rewrite import Timing
from tests.exporting.networks import Mixed, settled
from tests.nn.test_forms_toolchain import LAYERS, example, made
from tests.runtime.test_random_networks import Network, networks
from tests.thoroughness import examples, thinned

Arrays = Sequence[np.ndarray[Any, Any]]


def runtime(path: Path, *inputs: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    found = session.run(None, {n: t.numpy() for n, t in zip(names, inputs)})
    return [torch.from_numpy(each) for each in found]


def several(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple) else [result]


def agree(path: Path, network: nn.Module, *inputs: Tensor, tolerance: float = 1e-5) -> None:
    expected = runtime(path, *inputs)
    with torch.no_grad():
        found = several(network(*inputs))
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        assert one.shape == other.shape and one.dtype == other.dtype
        if one.is_floating_point():
            scale = other[torch.isfinite(other)].abs().max().clamp_min(1e-30)
            torch.testing.assert_close(one, other, rtol=0, atol=tolerance * float(scale))
        else:
            assert torch.equal(one, other)


def saved(
    path: Path,
    nodes: Sequence[Any],
    shapes: Sequence[Sequence[Any]],
    constants: dict[str, np.ndarray[Any, Any]] | None = None,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    kind: int = TensorProto.FLOAT,
) -> Path:
    """A file of nodes from inputs x0, x1, … to outputs."""
    inputs = [
        helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, list(shape))
        for i, shape in enumerate(shapes)
    ]
    results = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    held = [numpy_helper.from_array(a, name) for name, a in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "g", inputs, results, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def node(kind: str, *inputs: str, **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), ["y"], name=f"the {kind}", **attributes)


F32 = np.float32
POSITIVE = {"Log", "Sqrt", "Pow"}
UNARY = [
    ("Abs", {}), ("Ceil", {}), ("Cos", {}), ("Erf", {}), ("Exp", {}), ("Floor", {}),
    ("HardSwish", {}), ("Identity", {}), ("Log", {}), ("Mish", {}), ("Neg", {}),
    ("Reciprocal", {}), ("Relu", {}), ("Round", {}), ("Sigmoid", {}), ("Sign", {}), ("Sin", {}),
    ("Softplus", {}), ("Softsign", {}), ("Sqrt", {}), ("Tanh", {}), ("LeakyRelu", {"alpha": 0.3}),
    ("Elu", {"alpha": 0.7}), ("Celu", {"alpha": 1.3}), ("Selu", {}), ("HardSigmoid", {}),
    ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}), ("Softmax", {}), ("Softmax", {"axis": 1}),
    ("LogSoftmax", {"axis": 2}), ("GlobalAveragePool", {}), ("GlobalMaxPool", {}),
    ("Flatten", {}), ("Flatten", {"axis": 0}), ("Flatten", {"axis": 3}), ("Transpose", {}),
    ("Transpose", {"perm": [0, 2, 3, 1]}), ("DepthToSpace", {"blocksize": 2}),
    ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}), ("SpaceToDepth", {"blocksize": 2}),
    ("ReduceMean", {"axes": [2, 3]}), ("ReduceMean", {"axes": [-1], "keepdims": 0}),
    ("ReduceMax", {"axes": [1]}), ("ReduceMin", {"keepdims": 0}), ("ReduceL1", {"axes": [1]}),
    ("ReduceL2", {"axes": [1, 2]}), ("ReduceSumSquare", {"axes": [3]}),
    ("ReduceLogSumExp", {"axes": [1]}), ("ReduceProd", {"axes": [3]}),
    ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [0, 1, 1, 1], "strides": [2, 2]}),
    ("LRN", {"size": 3}), ("LpNormalization", {"axis": 1}), ("Dropout", {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "attributes"), UNARY)
def test_one_input(tmp_path: Path, kind: str, attributes: dict[str, Any]) -> None:
    opset = 18 if kind == "Mish" else 14 if kind.startswith("Reduce") else 17
    opset = 13 if kind in ("ReduceSumSquare",) else opset
    shape = ["n", 4, "h", "w"]
    path = saved(tmp_path / "n.onnx", [node(kind, "x0", **attributes)], [shape], opset=opset)
    network = cs.read_onnx(path)
    for size in ((2, 4, 6, 8), (1, 4, 8, 6)):
        image = torch.rand(size) + 0.1 if kind in POSITIVE else 4 * torch.randn(size)
        agree(path, network, image)


C = {
    "one": np.array(0.5, F32), "row": np.array([0.25], F32),
    "channels": np.linspace(0.1, 0.9, 4, dtype=F32).reshape(4, 1, 1),
    "low": np.array(0.0, F32), "high": np.array(6.0, F32),
    "axes": np.array([2, 3]), "axis": np.array([1]), "last": np.array([-1]),
    "flat": np.array([0, -1]), "rows": np.array([0, 4, -1, 2]), "starts": np.array([1, 0]),
    "ends": np.array([2**31 - 1, -1]), "steps": np.array([2, 1]), "back": np.array([-1]),
    "far": np.array([-(2**31)]), "picks": np.array([2, 0, -1]), "pick": np.array(1),
    "pads": np.array([0, 0, 1, 2, 0, 0, 3, 0]), "twice": np.array([1, 1, 2, 2]),
    "x2": np.array([1, 1, 2, 2], F32), "x1.5": np.array([1, 1, 1.5, 0.75], F32),
    "sizes": np.array([2, 4, 9, 5]), "none": np.zeros(0, F32), "parts": np.array([1, 3]),
    "more": np.array([3, 1, 1, 1, 8]),
    "slope": np.full((4, 1, 1), 0.2, F32), "grid": np.array([[0, 1], [2, 3]]),
    "places": np.array([[0, 1], [1, -2], [-2, 3]]),
}  # fmt: skip
TWO = [
    ("Add", ["x0", "channels"], {}, 17), ("Sub", ["one", "x0"], {}, 17),
    ("Mul", ["x0", "row"], {}, 17), ("Div", ["x0", "channels"], {}, 17),
    ("Pow", ["x0", "one"], {}, 17), ("Max", ["x0", "channels"], {}, 17),
    ("Min", ["x0", "one"], {}, 17), ("Sum", ["x0", "x0", "channels"], {}, 17),
    ("Mean", ["x0", "channels"], {}, 17), ("Clip", ["x0", "low", "high"], {}, 17),
    ("Clip", ["x0", "", "one"], {}, 17), ("Clip", ["x0"], {"min": 0.2, "max": 0.4}, 7),
    ("PRelu", ["x0", "slope"], {}, 17), ("Reshape", ["x0", "flat"], {}, 17),
    ("Reshape", ["x0", "rows"], {}, 17), ("Slice", ["x0", "starts", "ends", "axes"], {}, 17),
    ("Slice", ["x0", "starts", "ends", "axes", "steps"], {}, 13),
    ("Slice", ["x0"], {"starts": [1, 0], "ends": [3, 2], "axes": [1, 3]}, 9),
    ("Slice", ["x0", "last", "far", "axis", "back"], {}, 17),
    ("Gather", ["x0", "picks"], {"axis": 1}, 17), ("Gather", ["x0", "pick"], {"axis": 2}, 17),
    ("Gather", ["x0", "grid"], {"axis": 1}, 17), ("GatherND", ["x0", "places"], {}, 17),
    ("Concat", ["x0", "x0"], {"axis": 1}, 17),
    ("Unsqueeze", ["x0", "axis"], {}, 17), ("Unsqueeze", ["x0"], {"axes": [0, 2]}, 11),
    ("Tile", ["x0", "twice"], {}, 17), ("Expand", ["x0", "more"], {}, 17),
    ("Pad", ["x0", "pads", "one"], {}, 17), ("Pad", ["x0", "pads"], {"mode": "reflect"}, 17),
    ("Pad", ["x0", "pads"], {"mode": "edge"}, 17), ("ReduceSum", ["x0", "axes"], {}, 17),
    ("ReduceMean", ["x0", "axes"], {}, 18), ("ReduceSum", ["x0"], {"axes": [1]}, 11),
    ("Softmax", ["x0"], {"axis": 2}, 11),
    ("Pad", ["x0"], {"pads": [0, 0, 1, 1, 0, 0, 2, 0], "value": 0.5}, 9),
    ("Gelu", ["x0"], {}, 20), ("Gelu", ["x0"], {"approximate": "tanh"}, 20),
    ("Upsample", ["x0", "x2"], {"mode": "nearest"}, 9),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "inputs", "attributes", "opset"), TWO)
def test_constants(
    tmp_path: Path, kind: str, inputs: list[str], attributes: dict[str, Any], opset: int
) -> None:
    held = {name: C[name] for name in inputs if name in C}
    path = saved(
        tmp_path / "n.onnx", [node(kind, *inputs, **attributes)], [[2, 4, "h", "w"]], held, opset
    )
    image = torch.rand(2, 4, 6, 8) + 0.1
    agree(path, cs.read_onnx(path), image, tolerance=2e-5 if kind == "Pow" else 1e-5)


MODES = [
    ("nearest", "asymmetric", {"nearest_mode": "floor"}),
    ("nearest", "asymmetric", {"nearest_mode": "round_prefer_floor"}),
    ("nearest", "half_pixel", {}), ("nearest", "half_pixel", {"nearest_mode": "ceil"}),
    ("nearest", "pytorch_half_pixel", {"nearest_mode": "round_prefer_ceil"}),
    ("nearest", "align_corners", {"nearest_mode": "floor"}),
    ("linear", "half_pixel", {}), ("linear", "pytorch_half_pixel", {}),
    ("linear", "align_corners", {}), ("cubic", "half_pixel", {}), ("cubic", "align_corners", {}),
]  # fmt: skip


@pytest.mark.parametrize("target", ["x2", "x1.5", "sizes"])
@pytest.mark.parametrize(("mode", "coordinates", "more"), thinned(MODES, 2))
def test_resize(
    tmp_path: Path, mode: str, coordinates: str, more: dict[str, Any], target: str
) -> None:
    inputs = ["x0", "", target] if target != "sizes" else ["x0", "", "", target]
    each = node("Resize", *inputs, mode=mode, coordinate_transformation_mode=coordinates, **more)
    path = saved(tmp_path / "n.onnx", [each], [[2, 4, "h", "w"]], {target: C[target]})
    agree(path, cs.read_onnx(path), torch.randn(2, 4, 6, 8))


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_sizes_that_are_computed(tmp_path: Path, opset: int) -> None:
    """A map resized to the size of another, and flattened: as exporters of all ages write it."""
    scales = "roi" if opset < 13 else ""  # it may not be left out of older ones
    nodes = [
        helper.make_node("Shape", ["x0"], ["s"]),
        helper.make_node("Gather", ["s", "two"], ["h"]),
        helper.make_node("Gather", ["s", "three"], ["w"]),
        helper.make_node("Mul", ["h", "two"], ["h2"]),
        helper.make_node("Div", ["w", "two"], ["w2"]),
        helper.make_node("Cast", ["w2"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Floor", ["f"], ["f2"]),
        helper.make_node("Cast", ["f2"], ["w3"], to=TensorProto.INT64),
        *(
            [helper.make_node("Unsqueeze", [n], [f"{n}u"], axes=[0]) for n in ("h2", "w3")]
            if opset < 13
            else [helper.make_node("Unsqueeze", [n, "zero"], [f"{n}u"]) for n in ("h2", "w3")]
        ),
        helper.make_node("Slice", ["s", "zero", "end"], ["nc"]),
        helper.make_node("Concat", ["nc", "h2u", "w3u"], ["size"], axis=0),
        helper.make_node("Resize", ["x0", "roi", scales, "size"], ["r"], mode="linear"),
        helper.make_node("Concat", ["nc", "minus"], ["flat"], axis=0),
        helper.make_node("Reshape", ["r", "flat"], ["y"]),
    ]
    constants = {
        "two": np.array(2), "three": np.array(3), "zero": np.array([0]), "end": np.array([2]),
        "minus": np.array([-1]), "roi": np.zeros(0, F32),
    }  # fmt: skip
    path = saved(tmp_path / "n.onnx", nodes, [["n", 3, "h", "w"]], constants, opset)
    network = cs.read_onnx(path)
    for size in ((1, 3, 6, 8), (2, 3, 5, 12)):
        agree(path, network, torch.randn(size))
    sizes = ({0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    program = torch.export.export(network, (torch.zeros(2, 3, 6, 8),), dynamic_shapes=sizes)
    assert program.module()(torch.randn(3, 3, 7, 10)).shape == (3, 3, 14 * 5)


WEIGHTED = [
    ("Conv", ["w"], {"pads": [1, 1, 1, 1]}, {"w": (6, 4, 3, 3)}),
    ("Conv", ["w", "b"], {"pads": [0, 1, 2, 1], "strides": [2, 1]}, {"w": (6, 4, 3, 3), "b": (6,)}),
    ("Conv", ["w"], {"group": 4, "dilations": [2, 1]}, {"w": (8, 1, 3, 2)}),
    ("Conv", ["w"], {"auto_pad": "SAME_LOWER"}, {"w": (6, 4, 2, 4)}),
    ("ConvTranspose", ["w", "b"], {"strides": [2, 2], "output_padding": [1, 0]},
     {"w": (4, 6, 3, 3), "b": (6,)}),
    ("ConvTranspose", ["w"], {"group": 2, "pads": [1, 0, 1, 0]}, {"w": (4, 3, 3, 3)}),
    ("BatchNormalization", ["a", "b", "m", "v"], {"epsilon": 1e-3},
     {"a": (4,), "b": (4,), "m": (4,), "v": (4,)}),
    ("InstanceNormalization", ["a", "b"], {}, {"a": (4,), "b": (4,)}),
    ("LayerNormalization", ["a", "b"], {}, {"a": (8,), "b": (8,)}),
    ("MatMul", ["w"], {}, {"w": (8, 5)}), ("MatMul", ["w"], {}, {"w": (4, 8, 5)}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "weights", "attributes", "shapes"), WEIGHTED)
def test_weights(
    tmp_path: Path,
    kind: str,
    weights: list[str],
    attributes: dict[str, Any],
    shapes: dict[str, tuple[int, ...]],
) -> None:
    random = np.random.default_rng(0)
    held = {name: random.uniform(0.2, 1, shape).astype(F32) for name, shape in shapes.items()}
    each = node(kind, "x0", *weights, **attributes)
    path = saved(tmp_path / "n.onnx", [each], [["n", 4, "h", "w"]], held)
    network = cs.read_onnx(path)
    agree(path, network, torch.randn(2, 4, 6, 8))
    count = sum(a.size for name, a in held.items() if name not in ("m", "v"))
    assert sum(p.numel() for p in network.parameters()) == count
    assert cs.inspect(network, (2, 4, 6, 8)).status == "exact"


def test_gemm(tmp_path: Path) -> None:
    held = {"w": np.ones((5, 8), F32), "b": np.arange(5, dtype=F32)}
    path = saved(tmp_path / "n.onnx", [node("Gemm", "x0", "w", "b", transB=1)], [["n", 8]], held)
    network = cs.read_onnx(path)
    agree(path, network, torch.randn(3, 8))
    assert [type(m).__name__ for m in network.modules()] == ["OnnxNetwork", "Linear"]


def test_several_outputs_and_values_that_are_shared(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["x0", "parts"], ["a", "b"], axis=1),
        helper.make_node("Where", ["c", "a", "low"], ["y"]),
        helper.make_node("ArgMax", ["b"], ["z"], axis=1, keepdims=0),
        helper.make_node("Greater", ["a", "one"], ["c"]),
    ]
    nodes = [nodes[0], nodes[3], nodes[1], nodes[2]]
    held = {name: C[name] for name in ("parts", "low", "one")}
    path = saved(tmp_path / "n.onnx", nodes, [["n", 4, "h", "w"]], held, outputs=("y", "b"))
    agree(path, cs.read_onnx(path), torch.rand(2, 4, 5, 3))


@pytest.mark.slow
@examples(10, 3)
@given(drawn=networks())
def test_random_networks_go_out_and_come_back(
    tmp_path_factory: Any, drawn: tuple[Network, Tensor]
) -> None:
    model, image = drawn
    path = tmp_path_factory.mktemp("random") / "net.onnx"
    cs.export(model, image, path, check=False)
    again = cs.read_onnx(path)
    with torch.no_grad():
        for one, other in zip(several(again(image)), several(copy.deepcopy(model).eval()(image))):
            scale = float(other.abs().max().clamp_min(1e-30))
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * scale)
    # By how many pixels the windows of an adaptive pool divide are numbers of the file, too.
    pooled = any(
        isinstance(m, nn.AdaptiveAvgPool2d) and m.output_size != 1 for m in model.modules()
    )
    own, found = ({p.numel() for p in each.parameters()} for each in (model, again))
    assert own <= found if pooled else own == found


def test_names_come_back(tmp_path: Path) -> None:
    model = settled(Mixed()).eval()
    again = cs.read_onnx(cs.export(model, (1, 3, 32, 32), tmp_path / "net.onnx").path)
    own = {k: v for k, v in model.state_dict().items() if "tracked" not in k}
    found = again.state_dict()
    assert own.keys() == found.keys()
    assert all(torch.equal(own[key], found[key]) for key in own)
    one, other = (cs.inspect(each, (1, 3, 32, 32)) for each in (model, again))
    assert (one.params, one.macs) == (other.params, other.macs) and other.status == "exact"


def test_inputs_and_outputs_keep_their_names(tmp_path: Path) -> None:
    """Also where the exporter, or another value of the graph, would have such a name."""
    nodes = [
        helper.make_node("Conv", ["x0", "w"], ["relu"], "conv"),
        helper.make_node("Relu", ["relu"], ["conv2d"]),
        helper.make_node("Add", ["conv2d", "x1"], ["image"]),
    ]
    shape, held = ["n", 4, "h", "w"], {"w": np.ones((4, 4, 1, 1), F32)}
    outputs = ("image", "conv2d")
    network = cs.read_onnx(saved(tmp_path / "a.onnx", nodes, [shape, shape], held, 17, outputs))
    images = torch.randn(2, 1, 4, 6, 5)
    written = cs.export(network, list(images), tmp_path / "b.onnx")
    assert [value.name for value in written.values] == ["x0", "x1", *outputs]
    onnx.checker.check_model(onnx.load(written.path), full_check=True)
    agree(written.path, network, *images)
    again = cs.read_onnx(written.path)
    assert (again.inputs, again.outputs) == (network.inputs, network.outputs)


@pytest.mark.parametrize("name", thinned(LAYERS))
def test_every_form_comes_back(tmp_path: Path, name: str) -> None:
    layer = made(name)
    path = cs.export(layer, example(layer, 2), tmp_path / "net.onnx", check=False).path
    agree(path, cs.read_onnx(path), example(layer, 3))


def test_the_older_exporter_of_torch(tmp_path: Path) -> None:
    model = settled(Mixed()).eval()
    path = tmp_path / "net.onnx"
    axes = {"x": {0: "n", 2: "h", 3: "w"}}
    torch.onnx.export(
        model, (torch.zeros(1, 3, 32, 32),), str(path), dynamo=False, input_names=["x"],
        dynamic_axes=axes, opset_version=13, do_constant_folding=False,
    )  # fmt: skip
    network = cs.read_onnx(path)
    for size in ((1, 3, 32, 32), (2, 3, 40, 24)):
        agree(path, network, torch.randn(size))


@pytest.mark.slow
def test_all_verbs_take_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1)
    )
    path = cs.export(net, (1, 3, 16, 16), tmp_path / "net.onnx").path
    network, image = cs.read_onnx(path), torch.rand(2, 3, 16, 16)
    fast = cs.compile(network, (1, 3, 16, 16))
    assert not fast.reasons
    agree(path, fast, image)
    light = cs.lighten(network, torch.rand(16, 3, 16, 16), multiplier=1,
                       timing=Timing(compiled=False))  # fmt: skip
    assert light.report.lightened.params < light.report.original.params
    lighter = light.export(tmp_path / "light.onnx")
    assert (lighter.values[0].name, lighter.values[-1].name) == (*network.inputs, *network.outputs)
    wide = cs.dilate(network, (1, 3, 16, 16), output_stride=1)
    assert torch.allclose(wide.model(image)[..., ::2, ::2], network(image), atol=1e-5)
    assert main(["inspect", str(path), "--input", "1,3,16,16"]) == 0
    assert "OnnxNetwork on 1×3×16×16" in capfd.readouterr().out
    assert main(["inspect", str(path), "--input", "1,3,16,16", "--weights", "w.pth"]) == 2
    again = str(tmp_path / "again.onnx")
    assert main(["export", str(path), "--input", "1,3,16,16", "-o", again]) == 0


def test_there_are_about_eighty_operators() -> None:
    assert 80 <= len(OPERATORS) <= 130


@pytest.mark.parametrize(
    "nodes",
    [
        [node("PRelu", "x0")],
        [helper.make_node("Reshape", [], ["a"]), node("PRelu", "x0", "a")],
        [helper.make_node("Identity", ["a"], ["a"]), node("PRelu", "x0", "a")],
    ],
)
def test_a_prelu_without_its_slope_is_an_error_of_the_file(tmp_path: Path, nodes: Any) -> None:
    with pytest.raises(cs.ModelError):
        cs.read_onnx(saved(tmp_path / "net.onnx", nodes, [(1, 3, 4, 4)]))(torch.rand(1, 3, 4, 4))
