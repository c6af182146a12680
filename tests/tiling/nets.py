"""Networks to be tiled, and the whole image's result that tiles are held against."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

import convsmith as cs
from convsmith.runtime.precision import lacks_bf16

TOLERANCE = 1e-5
"""Of the largest value: torch adds up a sum in another order for another shape."""

needs_bf16 = pytest.mark.skipif(bool(lacks_bf16()), reason=f"no bf16: {lacks_bf16()}")

PRECISIONS = ["float32", pytest.param("bf16", marks=needs_bf16)]
"""What compiled kernels compute with, as far as this machine can."""

LAYOUT = {1: "CX", 2: "CYX", 3: "CZYX"}
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
MEAN = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def shaken(model):
    """Batch norms with statistics of their own, so that what lies beyond a border is not zero."""
    generator = torch.Generator().manual_seed(7)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in (
                (module.running_mean, -1, 1), (module.running_var, 0.5, 2),
                (module.weight.data, 0.5, 1.5), (module.bias.data, -1, 1),
            ):  # fmt: skip
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return model.eval()


def whole(model, image):
    """The result for a whole image (channels, *spatial), as numpy."""
    with torch.no_grad():
        return model(image[None])[0].numpy()


def differs(model, image, **settings):
    """The largest difference of the tiled result, over the largest value."""
    run = {k: settings.pop(k) for k in ("workers",) if k in settings}
    tiled = (
        cs.tile(model, (1, *image.shape), **settings)
        .run(image.numpy(), layout=LAYOUT[image.dim() - 1], **run)
        .array
    )
    expected = whole(model, image)
    assert tiled.shape == expected.shape
    return abs(tiled - expected).max() / max(abs(expected).max(), 1e-6)


class UNet(nn.Module):
    """Encoder and decoder with skips, for any size: the decoder pads what flooring has cut."""

    def __init__(
        self, dims=2, depth=3, channels=3, classes=4, width=4, up="transposed", mode="zeros"
    ):
        super().__init__()
        self.dims, conv = dims, CONV[dims]

        def block(m, n):
            layers = [conv(m, n, 3, padding=1, padding_mode=mode), NORM[dims](n), nn.ReLU()]
            return nn.Sequential(*layers)

        widths = [width * 2**i for i in range(depth)]
        self.down = nn.ModuleList(map(block, [channels, *widths[:-1]], widths))
        self.up, self.join = nn.ModuleList(), nn.ModuleList()
        for n in reversed(widths[:-1]):
            if up == "transposed":
                self.up.append(TRANSPOSED[dims](2 * n, n, 2, 2))
            else:
                scale = nn.Upsample(scale_factor=2, mode=LINEAR[dims])
                self.up.append(nn.Sequential(scale, conv(2 * n, n, 1)))
            self.join.append(block(2 * n, n))
        self.head = conv(width, classes, 1)

    def forward(self, x):
        skips = []
        for i, block in enumerate(self.down):
            x = block(MAX_POOL[self.dims](x, 2) if i else x)
            skips.append(x)
        skips.pop()
        for up, join in zip(self.up, self.join):
            x, skip = up(x), skips.pop()
            lacks = [b - a for a, b in zip(x.shape[2:], skip.shape[2:])]
            x = F.pad(x, [side for lack in reversed(lacks) for side in (0, lack)])
            x = join(torch.cat([skip, x], 1))
        return self.head(x)


MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


class Squeeze(nn.Module):
    """A convolution, squeeze and excite, another convolution."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        self.gate = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Sigmoid())

    def forward(self, x):
        x = self.a(x)
        return self.b(x * self.gate(x.mean((2, 3), keepdim=True)))


class Attention(nn.Module):
    """A decoder with group norm and attention at its coarsest level."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(4, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.out = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        x = self.norm(self.stem(x))
        tokens = x.flatten(2).transpose(1, 2)
        x = x + F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).reshape(
            x.shape
        )
        return self.out(F.interpolate(x, scale_factor=2.0))


class Chain(nn.Module):
    """Layers in a row, some of them with a branch around: added, or joined along channels."""

    def __init__(self, layers, branches):
        super().__init__()
        self.layers, self.branches = nn.ModuleList(layers), branches

    def forward(self, x):
        for layer, branch in zip(self.layers, self.branches):
            y = layer(x)
            if branch and y.shape[2:] == x.shape[2:]:
                y = (
                    y + x
                    if branch == "add" and y.shape == x.shape
                    else torch.cat([y, x], 1)[:, : y.shape[1]]
                )
            x = y
        return x


def _layer(draw, dims, channels):
    kind = draw(
        st.sampled_from(["conv", "conv", "norm", "act", "max", "mean", "up", "transposed", "pad"])
    )
    kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 3))
    extent = dilation * (kernel - 1) + 1
    match kind:
        case "conv":
            groups = draw(st.sampled_from([1, channels]))
            mode = draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]))
            padding = draw(st.integers(0, min(2, extent // 2) if mode != "zeros" else extent))
            return CONV[dims](channels, channels, kernel, stride, padding, dilation,
                              groups=groups, padding_mode=mode)  # fmt: skip
        case "norm":
            return NORM[dims](channels)
        case "act":
            return draw(st.sampled_from([nn.ReLU(), nn.Hardswish(), nn.PReLU(channels), nn.GELU()]))
        case "max":
            return MAX[dims](
                kernel, stride, draw(st.integers(0, kernel // 2)), ceil_mode=draw(st.booleans())
            )
        case "mean":
            return MEAN[dims](kernel, stride, draw(st.integers(0, kernel // 2)),
                              draw(st.booleans()), draw(st.booleans()))  # fmt: skip
        case "up":
            modes = ["nearest", "nearest-exact", LINEAR[dims]] + ["bicubic"] * (dims == 2)
            mode = draw(st.sampled_from(modes))
            align = None if "nearest" in mode else draw(st.booleans())
            factor = draw(st.sampled_from([2.0, 3.0, 0.5, 1.7]))
            return nn.Upsample(scale_factor=factor, mode=mode, align_corners=align)
        case "transposed":
            step = max(stride, dilation)
            padding, extra = draw(st.integers(0, extent // 2)), draw(st.integers(0, step - 1))
            return TRANSPOSED[dims](
                channels, channels, kernel, stride, padding, extra, dilation=dilation
            )
        case "pad":
            side = draw(st.integers(0, 2)), draw(st.integers(-1, 2))
            return Padded(side * dims, draw(st.sampled_from(["constant", "replicate"])))


class Padded(nn.Module):
    """Padding as an operation of its own; negative sides cut."""

    def __init__(self, sides, mode):
        super().__init__()
        self.sides, self.mode = sides, mode

    def forward(self, x):
        return F.pad(x, self.sides, self.mode)


@st.composite
def chains(draw, dims=2, longest=6):
    """Networks of up to `longest` layers, of all kinds that a tile computes by position."""
    channels = draw(st.integers(1, 3))
    layers = [_layer(draw, dims, channels) for _ in range(draw(st.integers(1, longest)))]
    branches = [draw(st.sampled_from(["", "", "add", "concat"])) for _ in layers]
    torch.manual_seed(draw(st.integers(0, 99)))
    return channels, shaken(Chain(layers, branches))
