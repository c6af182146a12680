"""Every kind of operation against PyTorch itself: what it reads, what it shares, what it keeps."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import convsmith as cs
from convsmith.arithmetic import Positions
from convsmith.network.dependence import depends_on
from convsmith.network.families import FAMILIES, FAMILY_OF, Trait, family_of
from convsmith.network.network import TensorType

FLOATS = F32, _ = torch.float32, torch.float64


class Calls(nn.Module):
    def __init__(self, call, **modules):
        super().__init__()
        self.call = call
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *inputs):
        return self.call(self, *inputs)


S = (1, 4, 6, 8)


def written(x, y, view):
    """A copy of `x`, into a view of which the same view of `y` is added."""
    z = x.clone()
    view(z).add_(view(y))
    return z


EXAMPLES = {
    "activation": [
        (lambda s, x: F.relu(x), [S]),
        (lambda s, x: F.glu(x, 1), [S]),
        (lambda s, x: F.gelu(x), [S]),
        (lambda s, x, y: torch.clamp(x, min=y), [S, S]),
        (lambda s, x, y: torch.clamp(x, max=y), [S, (4, 1, 8)]),
        (lambda s, x, y, z: torch.clamp(x, y, z), [S, (8,), S]),
        (lambda s, x, w: F.prelu(x - 1, w.flatten()), [S, (1, 4)]),
    ],
    "adaptive pool": [
        (lambda s, x: F.adaptive_avg_pool2d(x, (4, 5)), [S]),
        (lambda s, x: F.adaptive_avg_pool2d(x, 1), [S]),
    ],
    "attention": [(lambda s, x, y: F.scaled_dot_product_attention(x, y, y), [S, (1, 4, 3, 8)])],
    "batch norm": [
        (nn.BatchNorm2d(4), [S]),
        (nn.BatchNorm2d(4, track_running_stats=False), [(2, 4, 6, 8)]),
        (nn.BatchNorm1d(4, track_running_stats=False), [(5, 4)]),
    ],
    "channel shuffle": [(lambda s, x: F.channel_shuffle(x, 2), [S])],
    "complex parts": [
        (
            lambda s, x: torch.view_as_real(torch.view_as_complex(x).conj() * (1 + 2j)),
            [(1, 4, 6, 2)],
        ),
        (lambda s, x, y: (torch.complex(x, y) ** 2).imag, [S, S]),
        (lambda s, x: x + x.detach().view(torch.int32).view(x.dtype), [S]),
    ],
    "concat": [
        (lambda s, x, y: torch.cat([x, y], 1), [S, (1, 2, 6, 8)]),
        (lambda s, x, y: torch.stack([x, y], 2), [S, S]),
        (lambda s, x, y: torch.hstack([x, y]), [S, S]),
    ],
    "convolution": [
        (nn.Conv2d(4, 6, 3, 2, 1, groups=2), [S]),
        (lambda s, x, w: F.conv2d(x, w, padding=1), [S, (2, 4, 3, 3)]),
    ],
    "creation": [
        (lambda s, x: x * torch.ones_like(x), [S]),
        (lambda s, x: x + torch.linspace(x.min(), x.max(), 8), [S]),
        (lambda s, x, y: x + torch.normal(y, 0.0), [S, S]),
    ],
    "elementwise": [
        (lambda s, x, y: x * y, [S, (4, 1, 8)]),
        (lambda s, x, y, z: torch.addcmul(x, y, z), [S, S, (8,)]),
        (lambda s, x, y: torch.max(x, y) + torch.min(x, y), [S, (4, 1, 8)]),
    ],
    "embedding": [(lambda s, x: F.embedding((x[0, 0] * 0).long(), x[0, 1]), [S])],
    "expand": [
        (lambda s, x: x.expand(3, 4, 6, 8), [S]),
        (lambda s, x: x.repeat(1, 2, 1, 2), [S]),
        (lambda s, x: x.repeat_interleave(2, 3), [S]),
    ],
    "fourier transform": [
        (lambda s, x: torch.fft.rfft2(x).abs(), [S]),
        (lambda s, x: torch.fft.irfft(torch.fft.rfft(x, dim=2), dim=2), [S]),
        (lambda s, x: torch.stft(x[0, 0], 4, 2, return_complex=True).real, [S]),
    ],
    "identity": [
        (lambda s, x: x.clone(), [S]),
        (lambda s, x: x.detach().clone() + x.double().float(), [S]),
    ],
    "index": [
        (lambda s, x: x[:, [2, 0, 1]], [S]),
        (lambda s, x, g: F.grid_sample(x, g - 1, align_corners=False), [S, (1, 3, 5, 2)]),
        (lambda s, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), [S]),
        (lambda s, x: x * x.mean().item(), [S]),
        (lambda s, x: x.sort(2)[0], [S]),
        (lambda s, x, g: F.grid_sample(x, g - 1, "bicubic"), [S, (1, 3, 5, 2)]),
        (lambda s, x, g: F.grid_sample(x, g - 1), [(2, 3, 4, 3, 5), (2, 2, 3, 4, 3)]),
    ],
    "input": [(lambda s, x: x * 2, [S])],
    "linear": [
        (lambda s, x, w: F.linear(x, w), [(1, 3, 5), (4, 5)]),
        (nn.Linear(8, 3), [S]),
        (lambda s, x, y: torch.addmm(y[0, 0], x[0, 0], x[0, 1].t()), [S, (1, 1, 6, 6)]),
    ],
    "matmul": [
        (lambda s, x, y: x @ y, [S, (4, 8, 3)]),
        (lambda s, x: torch.baddbmm(x[0, :, :, :6], x[0], x[0].transpose(1, 2)), [S]),
        (lambda s, x: torch.einsum("bchw,bcvw->bchv", x, x), [S]),
        (lambda s, x: torch.mv(x[0, 0], x[0, 1, 0]), [S]),
        (lambda s, x, w: torch.conv_tbc(x[0], w, w[0, 0], 1), [S, (3, 8, 5)]),
        (lambda s, x, y: torch.tensordot(x, y, ([1], [0])), [S, (4, 3)]),
        (lambda s, x, w: F.bilinear(x, x + 1, w), [S, (5, 8, 8)]),
    ],
    "norm": [
        (nn.LayerNorm(8), [S]),
        (nn.GroupNorm(2, 4), [S]),
        (lambda s, x: F.instance_norm(x), [S]),
        (lambda s, x: F.rms_norm(x, (8,)), [S]),
        (lambda s, x: torch.linalg.vector_norm(x, dim=1), [S]),
    ],
    "pad": [
        (lambda s, x: F.pad(x, (1, 2, 0, 1)), [S]),
        (lambda s, x: F.pad(x, (1, 2, 2, 1), mode="reflect"), [S]),
        (lambda s, x: F.pad(x, (1, -2, -1, 1)), [S]),
    ],
    "permute": [
        (lambda s, x: x.permute(0, 2, 3, 1), [S]),
        (lambda s, x: x.movedim(1, 3), [S]),
        (lambda s, x: x.transpose(1, -1), [S]),
    ],
    "pixel shuffle": [(nn.PixelShuffle(2), [S])],
    "pixel unshuffle": [(nn.PixelUnshuffle(2), [S])],
    "pool": [
        (nn.AvgPool2d(3, 2, 1), [S]),
        (nn.AvgPool2d((2, 3), ceil_mode=True), [S]),
        (lambda s, x: F.adaptive_avg_pool2d(x, (3, 4)), [S]),
    ],
    "recurrent": [(nn.GRU(8, 5, batch_first=True), [(2, 6, 8)])],
    "reduction": [
        (lambda s, x: x.mean((2, 3)), [S]),
        (lambda s, x: x.sum(1, keepdim=True), [S]),
        (lambda s, x: x.cumsum(2), [S]),
        (lambda s, x: x.var(3), [S]),
    ],
    "reshape": [
        (lambda s, x: x.reshape(1, 8, 3, 8), [S]),
        (lambda s, x: x.flatten(2), [S]),
        (lambda s, x: x.unsqueeze(2), [S]),
    ],
    "roll": [
        (lambda s, x: x.roll((1, -2), (2, 3)), [S]),
        (lambda s, x: x.flip(3), [S]),
        (lambda s, x: x.roll(3), [S]),
    ],
    "select": [(lambda s, x: x.split(2, 1)[1] * 2, [S])],
    "slice": [
        (lambda s, x: x[:, 1:, ::2], [S]),
        (lambda s, x: x[:, :, -2], [S]),
        (lambda s, x: x.narrow(3, 2, 4), [S]),
    ],
    "softmax": [(lambda s, x: x.softmax(2), [S])],
    "split": [
        (lambda s, x: x.split([1, 3], 1), [S]),
        (lambda s, x: x.unbind(2), [S]),
    ],
    "transposed convolution": [(nn.ConvTranspose2d(4, 2, 3, 2, 1, 1), [S])],
    "unknown": [(lambda s, x: torch.sinc(x), [S])],
    "upsample": [
        (lambda s, x: F.interpolate(x, scale_factor=2), [S]),
        (lambda s, x: F.interpolate(x, size=(9, 7), mode="bilinear"), [S]),
        (lambda s, x: F.interpolate(x, size=(9, 7), mode="bilinear", align_corners=True), [S]),
        (lambda s, x: F.interpolate(x, scale_factor=1.5, mode="bicubic"), [S]),
        (lambda s, x: F.interpolate(x, scale_factor=1.5, mode="nearest-exact"), [S]),
    ],
    "write": [
        (lambda s, x, y: written(x, y, lambda z: z[:, :, 1:]), [S, S]),
        (lambda s, x, y: written(x, y, lambda z: z[..., ::2]), [S, S]),
        (lambda s, x, y: written(x, y, lambda z: z.transpose(2, 3)[:, 1]), [S, S]),
        (lambda s, x, y: written(x, y, lambda z: z.view(1, -1)), [S, S]),
        (lambda s, x, y: written(x, y, lambda z: z.select(3, 2)), [S, S]),
    ],
}
CASES = [
    pytest.param(kind, call, shapes, id=f"{kind}-{number}")
    for kind, cases in EXAMPLES.items()
    for number, (call, shapes) in enumerate(cases)
]
cases = pytest.mark.parametrize(("kind", "call", "shapes"), CASES)


def traced(call, shapes):
    model = call if isinstance(call, nn.Module) else Calls(call)
    inputs = [torch.rand(shape) + 0.5 for shape in shapes]
    return model.eval().double(), cs.trace(model.float(), inputs), [x.double() for x in inputs]


def test_every_kind_has_an_example():
    assert set(EXAMPLES) == set(FAMILIES), "give the new kind an example here"


@cases
def test_an_example_is_of_its_kind(kind, call, shapes):
    _, network, _ = traced(call, shapes)
    assert kind in {layer.kind for layer in network}


@cases
def test_no_value_depends_on_what_its_rule_does_not_read(kind, call, shapes):
    """Gradients in float64 show what a position of each result depends on."""
    torch.manual_seed(0)
    model, network, inputs = traced(call, shapes)
    model.double()
    rng = random.Random(0)
    images = [x.clone().requires_grad_() for x in inputs]
    results = model(*images)
    results = results if isinstance(results, (tuple, list)) else [results]
    for result, name in zip(results, network.outputs, strict=True):
        for _ in range(6):
            place = [rng.randrange(n) for n in result.shape]
            gradients = torch.autograd.grad(
                result[tuple(place)], images, retain_graph=True, allow_unused=True
            )
            found = depends_on(network, name, [tuple(Positions.of([p]) for p in place)])
            for image, gradient in zip(network.inputs, gradients, strict=True):
                if gradient is None:
                    continue
                region = found.inputs.get(image, ())
                for position in (gradient.abs() > 1e-12).nonzero().tolist():
                    assert any(
                        all(p in axis for p, axis in zip(position, box, strict=True))
                        for box in region
                    ), f"{name} at {place} depends on {image} at {position}"


@cases
def test_an_example_is_counted_or_its_kind_is_unknown(kind, call, shapes):
    _, network, _ = traced(call, shapes)
    report = cs.inspect(network)
    for layer in report.layers:
        if layer.kind == kind:
            assert (layer.status == "unknown") == (FAMILIES[kind].cost is None), layer.reason


@cases
def test_a_view_shares_the_bytes_of_its_input(kind, call, shapes):
    if isinstance(call, nn.Module) or kind in ("input", "creation", "select", "index"):
        return
    model, network, inputs = traced(call, shapes)
    last = network[network.outputs[0]]
    if last.kind != kind or last.inputs != network.inputs[:1]:
        return
    result = model(*inputs)
    result = result[0] if isinstance(result, (tuple, list)) else result
    shared = result.untyped_storage().data_ptr() == inputs[0].untyped_storage().data_ptr()
    assert shared == family_of(last).has(Trait.VIEW) or last.operation.name == "reshape"


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_the_nearest_position_is_read_however_a_kernel_rounds(mode):
    """Kernels look for it in single or double precision, which depends on type and layout."""
    network = cs.trace(Calls(lambda s, x: F.interpolate(x, (1, 5), mode=mode)), (1, 1, 1, 3))
    (name,) = network.outputs
    for n, m in itertools.product((2, 3, 12, 37), range(1, 130)):
        row = torch.arange(n)[None, None]
        nearest = [F.interpolate(row.to(kind), m, mode=mode)[0, 0] for kind in FLOATS]
        nearest += [F.interpolate(row[:, None].to(F32), (1, m), mode=mode)[0, 0, 0]]
        layer = replace(
            network[name],
            operands=(TensorType((1, 1, 1, n), "float32", 4),),
            results=(TensorType((1, 1, 1, m), "float32", 4),),
        )
        for o, seen in enumerate(torch.stack([each.double() for each in nearest], 1).tolist()):
            at = tuple(Positions.of([p]) for p in (0, 0, 0, o))
            ((_, read),) = family_of(layer).reads(layer, at, 0, True)
            assert set(map(int, seen)) <= set(read[3]), (n, m, o)


ARGUMENTS = {
    "clamp": (0.2, 0.8), "clamp_max": (0.5,), "clamp_min": (0.5,), "threshold": (0.5, 0.1),
    "prelu": (torch.tensor([0.2]),), "fake_quantize_per_tensor_affine": (0.1, 0, 0, 255),
    "fake_quantize_per_channel_affine": (torch.ones(3), torch.zeros(3), 1, 0, 255),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [n for n, kind in FAMILY_OF.items() if FAMILIES[kind].of(n).has(Trait.SAME_SHAPE)]
)
def test_the_same_shape_is_given_back(name):
    x = torch.rand(1, 3, 4)
    result = getattr(torch.ops.aten, name)(x, *ARGUMENTS.get(name, ()))
    assert result.shape == x.shape and result.dtype == x.dtype
