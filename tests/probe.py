"""Random networks with positive weights, and the gradient probe that shows what they really read.

With positive weights and a positive image nothing cancels: a value depends on exactly the pixels
where its gradient, in float64, is not zero. A max pool passes a gradient to one of its values only,
so while a network is probed its max pools sum their windows instead.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
UP = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
SUM = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class MaxPool(nn.Module):
    def __init__(self, dims, *options):
        super().__init__()
        self.dims, self.options, self.probed = dims, options, False

    def forward(self, x):
        kernel, stride, padding, dilation, ceil_mode = self.options
        pooled = MAX[self.dims](x, kernel, stride, padding, dilation, ceil_mode)
        if not self.probed:
            return pooled
        ones = x.new_ones(x.shape[1], 1, *kernel)
        wide = F.pad(x, [side for p in reversed(padding) for side in (p, p + 20)])
        summed = SUM[self.dims](wide, ones, None, stride, 0, dilation, x.shape[1])
        return summed[(..., *(slice(0, n) for n in pooled.shape[2:]))]


class Step(nn.Module):
    """A call without parameters."""

    def __init__(self, name, call):
        super().__init__()
        self.name, self.call = name, call

    def forward(self, x):
        return self.call(x)

    def extra_repr(self):
        return self.name


class Branches(nn.Module):
    """Two ways from one map, added or concatenated where both still have it."""

    def __init__(self, left, right, merge):
        super().__init__()
        self.left, self.right, self.merge = left, right, merge

    def forward(self, x):
        a, b = self.left(x), self.right(x)
        size = [min(p, q) for p, q in zip(a.shape[2:], b.shape[2:], strict=True)]
        crop = (slice(None), slice(None), *(slice(0, n) for n in size))
        a, b = a[crop], b[crop]
        return a + b[:, : a.shape[1]] if self.merge == "add" else torch.cat([a, b], 1)


class Excite(nn.Module):
    """Squeeze-and-excite: every value depends on the whole map."""

    def forward(self, x):
        return x * x.mean(tuple(range(2, x.ndim)), keepdim=True)


def layer(rng, dims, channels):
    """A random layer and the channels it gives; None where the draw does not fit."""
    each = lambda low, high: tuple(rng.randint(low, high) for _ in range(dims))  # noqa: E731
    kind = rng.choice(
        ["conv", "conv", "conv", "depthwise", "transposed", "max", "average", "nearest", "linear",
         "corners", "pad", "slice", "shuffle", "halves", "permute", "norm"]
    )  # fmt: skip
    if kind in ("conv", "depthwise"):
        groups = channels if kind == "depthwise" else rng.choice([1, 1, 2])
        out = channels if kind == "depthwise" else 2 * rng.randint(1, 2)
        if channels % groups:
            return None
        mode = rng.choice(["zeros", "zeros", "zeros", "reflect", "replicate", "circular"])
        made = CONV[dims](channels, out, each(1, 3), each(1, 2), each(0, 2), each(1, 3), groups,
                          padding_mode=mode)  # fmt: skip
        return made, out
    if kind == "transposed":
        stride = each(1, 3)
        extra = tuple(rng.randint(0, s - 1) for s in stride)
        made = UP[dims](channels, 2, each(1, 4), stride, each(0, 1), extra, dilation=each(1, 2)
                        if max(extra) == 0 else 1)  # fmt: skip
        return made, 2
    if kind == "max":
        kernel = each(1, 3)
        padding = tuple(rng.randint(0, k // 2) for k in kernel)
        options = (kernel, each(1, 3), padding, each(1, 2), rng.random() < 0.5)
        return MaxPool(dims, *options), channels
    if kind == "average":
        kernel = each(1, 3)
        padding = tuple(rng.randint(0, k // 2) for k in kernel)
        options = (kernel, each(1, 3), padding, rng.random() < 0.5, rng.random() < 0.5)
        return Step(kind, lambda x: AVERAGE[dims](x, *options)), channels
    if kind in ("nearest", "linear", "corners"):
        size = {"scale_factor": rng.choice([2, 3, 1.5])}
        if rng.random() < 0.4:
            size = {"size": each(3, 11)}
        mode = "nearest" if kind == "nearest" else LINEAR[dims]
        align = None if kind == "nearest" else kind == "corners"
        call = lambda x: F.interpolate(x, **size, mode=mode, align_corners=align)  # noqa: E731
        return Step(kind, call), channels
    if kind == "pad":
        sides = [rng.randint(0, 2) for _ in range(2 * dims)]
        mode = rng.choice(["constant", "reflect", "replicate", "circular"])
        return Step(f"{mode} {sides}", lambda x: F.pad(x, sides, mode=mode)), channels
    if kind == "slice":
        start, step = each(0, 2), each(1, 2)
        cut = (..., *(slice(a, None, b) for a, b in zip(start, step, strict=True)))
        return Step(str(cut), lambda x: x[cut]), channels
    if kind == "shuffle" and dims == 2 and channels % 4 == 0:
        return nn.PixelShuffle(2), channels // 4
    if kind == "halves" and channels % 2 == 0:
        return Step(kind, lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)), channels
    if kind == "permute" and dims > 1:
        return Step(kind, lambda x: x.transpose(-1, -2).contiguous()), channels
    return CONV[dims](channels, channels, 1), channels


def network(rng, dims, size, depth=None):
    """A random network on maps of `size` with two channels, and one that gives values there."""
    layers, channels = [], 2
    image = torch.ones(1, 2, *size, dtype=torch.float64)
    depth = depth or rng.randint(1, 5)
    while len(layers) < depth:
        if rng.random() < 0.25:
            left, right = (layer(rng, dims, channels) for _ in range(2))
            if left is None or right is None:
                continue
            merge = "add" if left[1] == right[1] and rng.random() < 0.6 else "concat"
            made = Branches(left[0], right[0], merge)
            out = left[1] if merge == "add" else left[1] + right[1]
        elif rng.random() < 0.05:
            made, out = Excite(), channels
        elif (drawn := layer(rng, dims, channels)) is not None:
            made, out = drawn
        else:
            continue
        trial = nn.Sequential(*layers, made).double().eval()
        try:
            with torch.no_grad():
                result = trial(image)
        except (RuntimeError, ValueError):
            continue  # no output for this size
        if 0 in result.shape or max(result.shape[2:]) > 30 or result.shape[1] > 12:
            continue
        layers, channels = [*layers, made], out
    with torch.no_grad():
        for parameter in (model := nn.Sequential(*layers).double().eval()).parameters():
            parameter.copy_(torch.rand(parameter.shape) + 0.5)
    return model


def seen(model, image, position):
    """The pixels that a position of the output depends on, as an array of booleans."""
    for module in model.modules():
        if isinstance(module, MaxPool):
            module.probed = True
    image = image.clone().requires_grad_()
    value = model(image)[(0, slice(None), *position)].sum()
    (gradient,) = torch.autograd.grad(value, image)
    for module in model.modules():
        if isinstance(module, MaxPool):
            module.probed = False
    gradient = gradient[0].abs().sum(0)
    # An interpolation weight that is zero may come out as a rounding error.
    return (gradient > 1e-12 * gradient.max()).numpy()
