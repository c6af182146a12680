"""Composed layers go wherever torch's own layers go: saved, cast, compiled, exported."""

from __future__ import annotations

import copy

import onnxruntime
import pytest
import safetensors.torch
import torch
from torch import nn

from convsmith.nn import (
    CPConv,
    DepthwiseSeparableConvTranspose1d,
    DepthwiseSeparableConvTranspose3d,
    PointwiseFirstConv,
    SpatiallySeparableConv,
    TuckerConv,
)

LAYERS = {
    "cp": lambda: CPConv(4, 6, (3, 5), 5, (2, 1), (1, 2), groups=2),
    "cp, 1-D": lambda: CPConv(4, 6, (3,), 5, padding="same"),
    "cp, transposed": lambda: CPConv(
        4, 6, (3, 5), 5, (2, 3), 1, output_padding=(1, 0), groups=2, transposed=True
    ),
    "pointwise first": lambda: PointwiseFirstConv(4, 6, (3, 5), 2, (2, 1), (1, 2), groups=2),
    "pointwise first, 1-D": lambda: PointwiseFirstConv(4, 6, (3,), 2, padding="same"),
    "pointwise first, transposed": lambda: PointwiseFirstConv(
        4, 6, (3, 5), 2, (2, 3), 1, output_padding=(1, 0), groups=2, transposed=True
    ),
    "spatial": lambda: SpatiallySeparableConv(4, 6, (3, 5), 3, (2, 1), (1, 2), groups=2),
    "spatial, circular": lambda: SpatiallySeparableConv(
        4, 6, (3, 3), 3, padding=1, padding_mode="circular"
    ),
    "spatial, 3-D": lambda: SpatiallySeparableConv(4, 6, (3, 2, 3), 3, padding=1),
    "spatial, transposed": lambda: SpatiallySeparableConv(4, 6, (3, 5), 3, 2, 1, transposed=True),
    "tucker": lambda: TuckerConv(4, 6, (3, 3), (2, 3), dilation=2),
    "tucker, transposed": lambda: TuckerConv(4, 6, (3, 3), (2, 3), 2, transposed=True),
    "separable, transposed, 1-D": lambda: DepthwiseSeparableConvTranspose1d(4, 6, 3, 2),
    "separable, transposed, 3-D": lambda: DepthwiseSeparableConvTranspose3d(4, 6, 3, 2),
}
LAYER = pytest.mark.parametrize("name", LAYERS)


def made(name):
    torch.manual_seed(3)
    return LAYERS[name]().eval()


def example(layer, batch=2):
    return torch.randn(batch, 4, *(9, 8, 7)[: len(layer.kernel_size)])


@LAYER
def test_saved_and_copied(name):
    layer = made(name)
    twin, other = copy.deepcopy(layer), LAYERS[name]().eval()
    image = example(layer)
    expected = layer(image)
    assert torch.equal(twin(image), expected)
    assert not torch.equal(other(image), expected)
    other.load_state_dict(safetensors.torch.load(safetensors.torch.save(layer.state_dict())))
    assert torch.equal(other(image), expected)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert torch.equal(layer(image), expected)


@LAYER
def test_every_part_learns(name):
    layer = made(name).train()
    layer(example(layer)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in layer.parameters())


@LAYER
def test_compiled_in_one_graph(name):
    torch.compiler.reset()
    layer = made(name)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    image = example(layer)
    assert torch.allclose(compiled(image), layer(image), atol=1e-6)


@LAYER
def test_exported_for_any_batch(name):
    layer = made(name)
    dynamic = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(layer, (example(layer),), dynamic_shapes=dynamic)
    image = example(layer, batch=5)
    assert torch.allclose(program.module()(image), layer(image), atol=1e-6)


@LAYER
def test_exported_to_onnx_computes_the_same(name):
    layer = made(name)
    image = example(layer)
    program = torch.onnx.export(layer, (image,), dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (output,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    expected = layer(image).detach()
    assert torch.allclose(torch.from_numpy(output), expected, rtol=1e-5, atol=1e-5)


def test_shapes_are_known_without_values():
    layer = TuckerConv(4, 6, (3, 3), (2, 3), device="meta", dtype=torch.bfloat16)
    assert all(p.is_meta and p.dtype == torch.bfloat16 for p in layer.parameters())
    assert layer(torch.zeros(1, 4, 9, 9, device="meta", dtype=torch.bfloat16)).shape == (1, 6, 7, 7)
    assert isinstance(layer, nn.Module)
