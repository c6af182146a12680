"""The theorem on random networks: old output equals every r-th position of the new one."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from torch import nn

from convsmith.rewrite import dilate
from tests.thoroughness import examples

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
LENGTHS = {1: 48, 2: 21, 3: 9}


class Sum(nn.Module):
    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return sum(branch(x) for branch in self.branches)


class Cat(Sum):
    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


class Functional(nn.Module):
    """A pool, a padding and a step that are no modules."""

    def __init__(self, dims, stride, pad):
        super().__init__()
        self.dims, self.stride, self.pad = dims, stride, pad

    def forward(self, x):
        x = F.pad(x, self.pad, value=0.5)
        x = x[..., :: self.stride]
        pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[self.dims]
        return pool(x, 2, stride=1)


class Network:
    """Draws layers, and knows the strides that it has drawn."""

    def __init__(self, draw, dims, strides):
        self.draw, self.dims = draw, dims
        self.strides = st.sampled_from(strides)
        self.total = [1] * dims

    def each(self, values):
        return tuple(self.draw(values) for _ in range(self.dims))

    def stride(self):
        strides = self.each(self.strides) if self.draw(st.booleans()) else (1,) * self.dims
        self.total = [a * b for a, b in zip(self.total, strides)]
        return strides

    def conv(self, m, stride=None, n=None, keep=False):
        groups = self.draw(st.sampled_from([g for g in (1, 2, 3, m) if m % g == 0]))
        n = n or groups * self.draw(st.integers(1, 3))
        groups = groups if n % groups == 0 else 1
        kernel = self.each(st.sampled_from((1, 3, 5) if keep else (1, 2, 3, 4, 5)))
        dilation = self.each(st.integers(1, 2))
        if keep:
            padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation))
        else:
            padding = self.each(st.integers(0, 3))
        stride = stride or self.stride()
        mode = self.draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate"]))
        if self.dims == 3:
            mode = "zeros"
        layer = CONV[self.dims](
            m, n, kernel, stride, padding, dilation, groups, self.draw(st.booleans()), mode
        )
        if set(stride) == {1} and not keep and self.draw(st.booleans()):
            layer = CONV[self.dims](m, n, kernel, 1, "same", dilation, groups)
        return layer, n

    def pool(self, stride=None, keep=False):
        kernel = self.each(st.integers(1, 4))
        padding = tuple(self.draw(st.integers(0, k // 2)) for k in kernel)
        ceil_mode = self.draw(st.booleans())
        if keep:
            kernel, padding, ceil_mode = stride, (0,) * self.dims, True
        stride = stride or self.stride()
        if self.draw(st.booleans()):
            dilation = (1,) * self.dims if keep else self.each(st.integers(1, 2))
            return MAX[self.dims](kernel, stride, padding, dilation, ceil_mode=ceil_mode)
        counted = self.draw(st.booleans())
        if self.dims == 1:
            return nn.AvgPool1d(kernel, stride, padding, ceil_mode, counted)
        divisor = self.draw(st.sampled_from([None, None, 3]))
        return AVG[self.dims](kernel, stride, padding, ceil_mode, counted, divisor)

    def block(self, m):
        """Branches that end on one grid, added or put side by side."""
        stride = self.stride()
        main, n = self.conv(m, stride, keep=True)
        body = nn.Sequential(main, NORM[self.dims](n), nn.ReLU())
        others = []
        for _ in range(self.draw(st.integers(1, 2))):
            kind = self.draw(st.sampled_from(["conv", "pool", "identity"]))
            if kind == "identity" and set(stride) == {1} and m == n:
                others.append(nn.Identity())
            elif kind == "pool":
                others.append(nn.Sequential(self.pool(stride, keep=True), CONV[self.dims](m, n, 1)))
            else:
                others.append(self.conv(m, stride, n, keep=True)[0])
        if self.draw(st.booleans()):
            return Sum(body, *others), n
        return Cat(body, *others), n * (1 + len(others))

    def layer(self, m):
        kind = self.draw(st.sampled_from(["conv", "conv", "pool", "block", "block", "else"]))
        if kind == "conv":
            return self.conv(m)
        if kind == "pool":
            return self.pool(), m
        if kind == "block":
            return self.block(m)
        plain = [NORM[self.dims](m), nn.ReLU(), nn.Hardswish(), nn.PReLU(m), nn.Dropout(0.5)]
        if self.dims < 3:
            pads = self.draw(st.tuples(*[st.integers(0, 2)] * (2 * self.dims)))
            kinds = ("ConstantPad", "ReflectionPad", "ReplicationPad")
            name = f"{self.draw(st.sampled_from(kinds))}{self.dims}d"
            padding = getattr(nn, name)
            plain.append(padding(pads, 0.3) if "Constant" in name else padding(pads))
            step = self.draw(self.strides)
            functional = Functional(self.dims, step, pads)
            if self.draw(st.integers(0, 3)) == 3:
                self.total[-1] *= step
                return functional, m
        return self.draw(st.sampled_from(plain)), m


@st.composite
def networks(draw, dims):
    """(model, input size, total stride an axis, output stride)."""
    strides, least = draw(st.sampled_from([((1, 2), 2), ((1, 2, 4), 2), ((1, 3), 3)]))
    network = Network(draw, dims, strides)
    channels = m = draw(st.integers(1, 4))
    layers = []
    for _ in range(draw(st.integers(1, 5))):
        layer, m = network.layer(m)
        layers.append(layer)
        if m > 12:
            break
    size = network.each(st.integers(1, LENGTHS[dims]))
    return (
        nn.Sequential(*layers),
        (channels, *size),
        network.total,
        least ** draw(st.integers(0, 2)),
    )


def check(drawn, seed):
    model, size, total, output_stride = drawn
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    x = torch.randn(2, *size, dtype=torch.float64)
    old = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        try:
            expected = old(x)
        except RuntimeError:
            reject()
    assume(expected.numel() > 0 and torch.isfinite(expected).all())
    kept = copy.deepcopy(model.state_dict())
    dilated = dilate(model, (2, *size), output_stride=output_stride)
    new = copy.deepcopy(dilated.model).double().eval()
    with torch.no_grad():
        found = new(x)
    steps = [max(1, t // output_stride) for t in total]
    on_grid = found[(..., *(slice(None, None, r) for r in steps))]
    assert on_grid.shape == expected.shape
    scale = expected.abs().max().clamp(min=1e-300)
    assert (on_grid - expected).abs().max() <= 1e-10 * scale
    assert dilated.certificate.exact
    assert dilated.model.state_dict().keys() == kept.keys()
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, kept[key]) and torch.equal(
            tensor, dilated.model.state_dict()[key]
        )


@examples(300, 25)
@given(networks(2), st.integers(0, 99))
def test_the_old_grid_is_kept_in_two_dimensions(drawn, seed):
    check(drawn, seed)


@examples(150, 15)
@given(networks(1), st.integers(0, 99))
def test_the_old_grid_is_kept_in_one_dimension(drawn, seed):
    check(drawn, seed)


@examples(50, 5)
@given(networks(3), st.integers(0, 99))
def test_the_old_grid_is_kept_in_three_dimensions(drawn, seed):
    check(drawn, seed)
