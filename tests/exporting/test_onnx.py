"""ONNX files: ONNX Runtime gives what the model gives in float64; names and counts are kept."""

from __future__ import annotations

import copy
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import convsmith as cs
from convsmith.cli import main
from convsmith.exporting import agreement
from convsmith.rewrite import Timing
from tests.exporting.networks import Fixed, Mixed, Two, settled
from tests.nn.test_forms_toolchain import LAYERS, example, made
from tests.runtime.test_random_networks import Network, networks
from tests.thoroughness import examples, thinned


def run(path: Path, *inputs: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return list(map(torch.from_numpy, session.run(None, dict(zip(names, map(np.asarray, inputs))))))


def in_float64(model: nn.Module, *inputs: Tensor) -> list[Tensor]:
    exact = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        return tree_leaves(exact(*[t.double() if t.is_floating_point() else t for t in inputs]))


def agree(path: Path, model: nn.Module, *inputs: Tensor) -> None:
    expected, found = in_float64(model, *inputs), run(path, *inputs)
    assert len(expected) == len(found)
    for one, other in zip(expected, found):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= 1e-5 * one.abs().max().clamp_min(1e-30)


def initializers(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    graph = onnx.load(path).graph
    return {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 3, 33, 40), (2, 3, 24, 24)])
def test_any_batch_and_size(tmp_path: Path, shape: tuple[int, ...]) -> None:
    model = settled(Mixed())
    written = cs.export(model, shape, tmp_path / "net.onnx")
    assert written.values[0].shape == ("batch", 3, "height", "width")
    assert written.error is not None and written.error <= 1e-5
    onnx.checker.check_model(onnx.load(written.path), full_check=True)
    for size in (shape, (3, 3, 64, 47), (1, 3, 18, 90)):
        agree(written.path, model, torch.randn(size))


def test_names_values_and_counts_are_the_models(tmp_path: Path) -> None:
    model = settled(Mixed())
    written = cs.export(model, (1, 3, 32, 32), tmp_path / "net.onnx")
    held = initializers(written.path)
    for name, tensor in model.named_parameters():
        assert np.array_equal(held[name], tensor.detach().numpy()), name
    for name, tensor in model.named_buffers():
        if "tracked" not in name:
            assert np.array_equal(held[name], tensor.numpy()), name
    assert written.parameters == cs.inspect(model, (1, 3, 32, 32)).params


def test_code_that_depends_on_the_size(tmp_path: Path) -> None:
    model = Fixed()
    written = cs.export(model, (1, 3, 8, 8), tmp_path / "net.onnx")
    assert written.values[0].shape == ("batch", 3, 8, 8)
    agree(written.path, model, torch.randn(5, 3, 8, 8))
    settled_size = cs.export(model, (1, 3, 8, 8), tmp_path / "fixed.onnx", fixed=True)
    assert settled_size.values[0].shape == (1, 3, 8, 8)
    agree(settled_size.path, model, torch.randn(1, 3, 8, 8))


def test_inputs_by_name_and_parameters_that_nothing_reads(tmp_path: Path) -> None:
    model = Two()
    example = {"image": (2, 3, 8, 8), "kind": torch.tensor([3, 8])}
    written = cs.export(model, example, tmp_path / "net.onnx")
    assert written.notes == ("left out, as nothing reads them: unread",)
    assert written.parameters == cs.inspect(model, example).params - 7
    agree(written.path, model, torch.randn(2, 3, 8, 8), torch.tensor([0, 5]))


@examples(10, 3)
@given(drawn=networks())
def test_random_networks(tmp_path_factory: Any, drawn: tuple[Network, Tensor]) -> None:
    model, image = drawn
    path = tmp_path_factory.mktemp("random") / "net.onnx"
    written = cs.export(model, image, path)
    agree(path, model, image)
    assert written.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    "pool",
    [
        nn.AdaptiveAvgPool2d((1, 5)), nn.AdaptiveAvgPool2d((3, 4)), nn.AdaptiveAvgPool2d((None, 2)),
        nn.AdaptiveAvgPool2d((7, 20)), nn.AdaptiveMaxPool2d((3, 5)),
    ],
    ids=str,
)  # fmt: skip
def test_adaptive_pools_have_one_size(tmp_path: Path, pool: nn.Module, check: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), pool).eval()
    written = cs.export(model, (1, 3, 6, 10), tmp_path / "net.onnx", check=check)
    assert written.values[0].shape == ("batch", 3, 6, 10)
    (note,) = written.notes  # torch.export itself fixes the sizes of some largest pools
    assert note.endswith(": the batch alone is free")
    image = torch.randn(3, 3, 6, 10)
    agree(written.path, model, image)
    again = cs.read_onnx(written.path)
    with torch.no_grad():
        torch.testing.assert_close(again(image), model(image))


@pytest.mark.slow
def test_rewritten_networks(tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1)
    )
    light = cs.lighten(net, torch.rand(16, 3, 8, 8), multiplier=1, timing=Timing(compiled=False))
    written = light.export(tmp_path / "light.onnx")
    assert written.parameters == light.report.lightened.params
    agree(written.path, light.model, torch.randn(2, 3, 12, 10))
    wide = cs.dilate(net, (1, 3, 16, 16), output_stride=1)
    agree(wide.export(tmp_path / "wide.onnx").path, wide.model, torch.randn(1, 3, 20, 16))
    with pytest.raises(cs.ArgumentError, match="which input"):
        cs.Lightened(light.model, light.report).export(tmp_path / "other.onnx")


@pytest.mark.parametrize("name", thinned(LAYERS))
def test_every_form(tmp_path: Path, name: str) -> None:
    layer = made(name)
    image = example(layer, 2)
    written = cs.export(layer, image, tmp_path / "net.onnx")
    assert written.parameters == sum(p.numel() for p in layer.parameters())
    # The same number of zeros would serve, but another one is what the exporter has given.
    biases = [
        n.input[2]
        for n in onnx.load(written.path).graph.node
        if "Conv" in n.op_type and len(n.input) > 2
    ]
    assert all(not each or each in dict(layer.named_parameters()) for each in biases)
    agree(written.path, layer, image)
    agree(written.path, layer, example(layer, 3))


@pytest.mark.slow
def test_the_model_is_left_alone_in_all_threads(tmp_path: Path) -> None:
    model, image = settled(Mixed()).train(), torch.randn(2, 3, 16, 16)
    beside = settled(Mixed()).eval()
    state = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    expected = beside(image)[0].detach()
    differing, over = [], threading.Event()

    def others() -> None:
        while not over.is_set():
            with torch.no_grad():
                if not torch.equal(beside(image)[0], expected):
                    differing.append(1)

    thread = threading.Thread(target=others)
    thread.start()
    cs.export(beside, image, tmp_path / "beside.onnx")
    cs.export(model, image, tmp_path / "net.onnx")
    over.set()
    thread.join()
    assert not differing
    assert model.training and all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_an_exported_program(tmp_path: Path) -> None:
    model = settled(Mixed()).eval()
    program = torch.export.export(model, (torch.zeros(2, 3, 16, 16),))
    written = cs.export(program, None, tmp_path / "net.onnx")
    assert written.values[0].shape == (2, 3, 16, 16)
    agree(written.path, model, torch.randn(2, 3, 16, 16))


@pytest.mark.slow
def test_a_file_that_disagrees_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "_of_file", lambda session, inputs: [torch.zeros(1, 8, 6, 6)])
    with pytest.raises(cs.ConvsmithError, match=r"at 1×3×8×8 .* differ by 1\.0e\+00"):
        cs.export(nn.Conv2d(3, 8, 3), (1, 3, 8, 8), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []
    written = cs.export(nn.Conv2d(3, 8, 3), (1, 3, 8, 8), tmp_path / "net.onnx", check=False)
    assert written.error is None and written.checked == "not checked: check=False"


class _Shifted(nn.Module):
    """Loses digits of its input in float32: the larger the shift, the more."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, x: Tensor) -> Tensor:
        """The input, but for rounding."""
        return (x + self.shift) - self.shift


@pytest.mark.parametrize(
    ("shift", "factor", "holds"),
    [(0.0, 0.0, True), (1e4, 0.0, True), (1e4, 0.9, True), (1e4, 2.5, False), (1e7, 0.9, False)],
)
def test_it_may_differ_as_the_models_own_float32_does(
    shift: float, factor: float, holds: bool
) -> None:
    model, image = _Shifted(shift).eval(), torch.randn(1, 3, 9, 9)
    expected = [model(image).detach()]
    own = float((expected[0] - image).abs().max())
    found = [image + factor * own]
    differs = agreement.difference(expected, found) > agreement.TOLERANCE
    assert differs == bool(shift)  # or there would be nothing to judge
    if holds:
        gap = agreement.held_to("A and B", model, ((image,), {}), expected, found)
        assert gap == agreement.difference(expected, found)
    else:
        with pytest.raises(cs.ConvsmithError, match="A and B differ by"):
            agreement.held_to("A and B", model, ((image,), {}), expected, found)
    assert model.shift.dtype == torch.float32 and image.dtype == torch.float32
    with pytest.raises(cs.ConvsmithError, match="differ"):
        agreement.held_to("A and B", model, ((image,), {}), expected, [image * torch.nan])


def test_without_onnxruntime_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "find_spec", lambda name: None)
    written = cs.export(nn.Conv2d(3, 8, 3), (1, 3, 8, 8), tmp_path / "net.onnx")
    assert written.error is None and "onnxruntime is not installed" in written.checked


class _Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """What ONNX has no operator for."""
        return torch.special.bessel_j0(x)


@pytest.mark.parametrize(
    ("model", "target", "options", "message"),
    [
        (nn.Conv2d(3, 8, 3), "net.pb", {}, "expected a name like net.onnx"),
        (nn.Conv2d(3, 8, 3), "nowhere/net.onnx", {}, "no folder"),
        (nn.Conv2d(3, 8, 3), "net.onnx", {"opset": 9}, "the oldest is 18"),
        (_Unknown(), "net.onnx", {}, "ONNX has no prims.bessel_j0"),
        ("net", "net.onnx", {}, "expected a torch.nn.Module"),
    ],
)  # fmt: skip
def test_bad_input(
    tmp_path: Path, model: Any, target: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(cs.ConvsmithError, match=message):
        cs.export(model, (1, 3, 8, 8), tmp_path / target, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (2, 3, 24, 40)])
def test_a_compiled_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    model = settled(Mixed())
    written = cs.export(model, shape, tmp_path / "net.cvs")
    assert written.format == "cvs" and written.error is not None and written.error <= 1e-5
    assert written.parameters == cs.inspect(model, shape).params
    reasons = cs.compile(model, shape).reasons
    assert all(any(name in note for note in written.notes) for name in reasons)
    assert len(written.notes) == len(set(reasons.values()))
    image = torch.randn(shape)
    for one, other in zip(in_float64(model, image), cs.load(written.path)(image)):
        assert (one - other).abs().max() <= 1e-5 * one.abs().max()
    with pytest.raises(cs.ArgumentError, match="is for ONNX"):
        cs.export(model, shape, tmp_path / "other.cvs", opset=20)


def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_text("mine")
    with pytest.raises(cs.ArgumentError, match="exists"):
        cs.export(nn.Conv2d(3, 8, 3), (1, 3, 8, 8), path)
    assert path.read_text() == "mine"
    cs.export(nn.Conv2d(3, 8, 3), (1, 3, 8, 8), path, force=True)
    onnx.checker.check_model(onnx.load(path))


def test_the_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 8, 3))\n"
    )
    words = ["export", "my.py:build", "--input", "1,3,16,16", "-o", "net.onnx"]
    assert main([*words, "--json"]) == 0
    out, err = capfd.readouterr()
    assert "wrote net.onnx" in err
    found = json.loads(out)
    assert found["parameters"] == 224 and found["values"][0]["shape"][0] == "batch"
    assert main(words) == 2
    assert "--force" in capfd.readouterr().err
    assert main([*words, "--force"]) == 0
    assert "batch×3×height×width" in capfd.readouterr().out
    assert main(["export", "my.py:build", "--input", "1,3,16,16", "-o", "net.cvs"]) == 0
    assert "224 parameters, " in capfd.readouterr().out
    assert cs.load("net.cvs")(torch.zeros(1, 3, 16, 16)).shape == (1, 8, 14, 14)
    for wrong, message in (
        (["export", "my.py:build", "-o", "b.onnx"], "--input"),
        (["export", "my.py:build", "--input", "1,3,9,9", "-o", "b.tflite"], "net.onnx"),
    ):
        assert main(wrong) == 2
        assert message in capfd.readouterr().err
