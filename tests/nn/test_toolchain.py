"""Separable layers go wherever torch's own layers go: saved, cast, compiled, exported."""

from __future__ import annotations

import copy
import io

import onnxruntime
import pytest
import safetensors.torch
import torch
from torch import nn

from convsmith.nn import DepthwiseSeparableConv2d, DepthwiseSeparableConvTranspose2d
from tests.nn.layers import PAIRS

CLASSES = pytest.mark.parametrize("kind", [ours for ours, _ in PAIRS])
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def complete(kind, **arguments):
    """A layer with everything there is, its norms not the identity."""
    layer = kind(
        4,
        6,
        3,
        stride=2,
        padding=1,
        groups=2,
        multiplier=2,
        norm=NORMS[kind.dimensions],
        activation=nn.Hardswish,
        mid_norm=NORMS[kind.dimensions],
        mid_activation=nn.ReLU6,
        **arguments,
    )
    for norm in (layer.norm, layer.mid_norm):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return layer.eval()


def example(kind, batch=2):
    return torch.randn(batch, 4, *(9, 7, 5)[: kind.dimensions])


@CLASSES
def test_state_goes_through_safetensors(kind):
    layer, other = complete(kind), complete(kind)
    image = example(kind)
    assert not torch.equal(layer(image), other(image))
    saved = safetensors.torch.save(layer.state_dict())
    other.load_state_dict(safetensors.torch.load(saved))
    assert torch.equal(layer(image), other(image))


@CLASSES
def test_state_goes_through_torch_save_without_unpickling_code(kind):
    layer, other = complete(kind), complete(kind)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    image = example(kind)
    assert torch.equal(layer(image), other(image))


@CLASSES
def test_a_deep_copy_shares_nothing(kind):
    layer = complete(kind, dtype=torch.float32)
    twin = copy.deepcopy(layer)
    image = example(kind)
    expected = layer(image)
    assert torch.equal(twin(image), expected)
    assert repr(twin) == repr(layer)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert torch.equal(layer(image), expected)


@CLASSES
def test_a_lambda_as_factory_does_not_stand_in_the_way_of_a_copy(kind):
    layer = kind(4, 6, 3, norm=lambda channels: nn.GroupNorm(2, channels))
    image = example(kind)
    assert torch.equal(copy.deepcopy(layer)(image), layer(image))
    buffer = io.BytesIO()
    torch.save(layer, buffer)


@CLASSES
def test_autocast_computes_in_bfloat16(kind):
    layer = complete(kind)
    image = example(kind)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(image)
    assert output.dtype == torch.bfloat16
    assert torch.allclose(output.float(), layer(image), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("kind", [DepthwiseSeparableConv2d, DepthwiseSeparableConvTranspose2d])
def test_channels_last_stays_channels_last(kind):
    layer = complete(kind)
    image = torch.randn(2, 4, 9, 7)
    output = layer(image.to(memory_format=torch.channels_last))
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert not output.is_contiguous()
    assert layer(image).is_contiguous()
    assert torch.allclose(output, layer(image), atol=1e-5)
    wide = copy.deepcopy(layer).to(memory_format=torch.channels_last)
    assert wide(image).is_contiguous(memory_format=torch.channels_last)


def test_channels_last_survives_from_conv():
    conv = nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    layer = DepthwiseSeparableConv2d.from_conv(conv, 2)
    image = torch.randn(2, 4, 9, 7).to(memory_format=torch.channels_last)
    assert layer(image).is_contiguous(memory_format=torch.channels_last)


@CLASSES
def test_shapes_are_known_without_values(kind):
    layer, real = complete(kind, device="meta"), complete(kind)
    assert all(p.is_meta for p in (*layer.parameters(), *layer.buffers()))
    output = layer(example(kind).to("meta"))
    assert output.is_meta
    assert output.shape == real(example(kind)).shape


@CLASSES
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_every_parameter_has_the_dtype_asked_for(kind, dtype):
    layer = complete(kind, dtype=dtype)
    assert {p.dtype for p in layer.parameters()} == {dtype}
    assert layer(example(kind).to(dtype)).dtype == dtype


@CLASSES
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_in_one_graph(kind, backend):
    torch.compiler.reset()
    layer = complete(kind)
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    image = example(kind)
    assert torch.allclose(compiled(image), layer(image), atol=1e-6)


def test_compiled_gradients_are_the_same():
    torch.compiler.reset()
    layer = complete(DepthwiseSeparableConv2d)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    grads = []
    image = example(DepthwiseSeparableConv2d)
    for run in (layer, compiled):
        layer.zero_grad()
        run(image).square().mean().backward()
        grads.append([p.grad.clone() for p in layer.parameters()])
    for eager, traced in zip(*grads, strict=True):
        assert torch.allclose(eager, traced, atol=1e-6)


@CLASSES
def test_exported_for_any_batch(kind):
    layer = complete(kind)
    dynamic = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(layer, (example(kind),), dynamic_shapes=dynamic)
    image = example(kind, batch=5)
    assert torch.allclose(program.module()(image), layer(image), atol=1e-6)


@CLASSES
def test_exported_to_onnx_computes_the_same(kind):
    layer = complete(kind)
    image = example(kind)
    program = torch.onnx.export(layer, (image,), dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (output,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    expected = layer(image).detach()
    assert torch.allclose(torch.from_numpy(output), expected, rtol=1e-5, atol=1e-5)
