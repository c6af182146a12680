"""Every number in every scene equals torch's, over random layers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import convsmith as cs
from convsmith.arithmetic.window import PADDING_MODES
from convsmith.draw import animate
from tests.arithmetic.test_against_torch import (
    AVERAGE,
    MAX,
    TRANSPOSED,
    integers,
    padded,
    torch_conv,
)
from tests.specifications import convolutions, pools, transposed
from tests.thoroughness import examples

DIMS = pytest.mark.parametrize("dims", [1, 2, 3])
seeds = st.integers(0, 2**31)


def shown(scene, kind):
    """Of every panel of a kind, by the numbers in its name, the values in the last step."""
    found = {}
    for panel in scene.panels:
        numbers = panel.name.removeprefix(kind)
        if numbers != panel.name:
            found[tuple(map(int, numbers.split(".")))] = scene.values(panel.name)
    return found


def lifted(tensor, dims):
    """(channels, depth, row, column)."""
    return tensor.reshape(tensor.shape[0], *[1] * (3 - dims), *tensor.shape[1:])


def check(panels, tensor, dims):
    """Each cell is the element at its place; tells how many cells there were."""
    tensor = lifted(tensor, dims)
    cells = 0
    for (channel, *depth), values in panels.items():
        for (row, column), value in values.items():
            assert value == tensor[channel, depth[0] if depth else 0, row, column]
            cells += 1
    return cells


@DIMS
@examples(150)
@given(data=st.data(), seed=seeds)
def test_convolution(dims, data, seed):
    layer, size = data.draw(convolutions(dims, PADDING_MODES))
    image = integers(seed, layer.in_channels, *size)
    weight = integers(seed + 1, *layer.weight_shape)
    bias = integers(seed + 2, layer.out_channels) if layer.bias else None
    expected = torch_conv(layer, image[None], weight, bias)[0]
    scene = animate(layer, size, values=image, weight=weight, bias=bias)

    assert check(shown(scene, "output"), expected, dims) > 0
    check(shown(scene, "input"), padded(layer, image[None])[0], dims)
    for (o, i, *depth), values in shown(scene, "kernel").items():
        kernel = lifted(weight[o], dims)[i % (layer.in_channels // layer.groups)]
        assert sorted(v for v in values.values() if v is not None) == sorted(
            kernel[depth[0] if depth else 0].ravel().tolist()
        )
        for (row, column), value in values.items():
            down, across = [1, *layer.dilation][-2:] if dims > 1 else (1, layer.dilation[0])
            if value is not None:
                assert value == kernel[depth[0] if depth else 0, row // down, column // across]


@examples(60)
@given(data=st.data(), seed=seeds)
def test_partial_sums_are_those_of_each_channel(data, seed):
    layer, size = data.draw(convolutions(2, PADDING_MODES))
    image, weight = integers(seed, layer.in_channels, *size), integers(seed, *layer.weight_shape)
    scene = animate(layer, size, values=image, weight=weight)
    each = layer.in_channels // layer.groups
    for index in range(len(scene.steps)):
        marks = {m.panel: m.cells[0] for m in scene.steps[index].marks if m.role == "current"}
        for name, (row, column) in marks.items():
            o = int(name.removeprefix("output"))
            first = o // (layer.out_channels // layer.groups) * each
            total = scene.values(name, index)[row, column]
            if each == 1:
                continue
            said = 0
            for c in range(first, first + each):
                panel = f"partial{c}"
                if panel not in {p.name for p in scene.panels}:
                    continue
                alone = cs.Conv(1, 1, layer.kernel_size, layer.stride, layer.padding,
                                layer.dilation, padding_mode=layer.padding_mode)  # fmt: skip
                expected = torch_conv(
                    alone, image[None, c : c + 1], weight[o : o + 1, c - first : c - first + 1]
                )
                value = scene.values(panel, index)[0, 0]
                assert value == expected[0, 0, row, column]
                said += value
            rest = f"rest{o // (layer.out_channels // layer.groups)}"
            if rest in {p.name for p in scene.panels}:
                said += scene.values(rest, index)[0, 0]
            assert said == total


@DIMS
@pytest.mark.parametrize("view", ["scatter", "zeros"])
@examples(100)
@given(data=st.data(), seed=seeds)
def test_transposed_convolution(dims, view, data, seed):
    layer, size = data.draw(transposed(dims))
    image = integers(seed, layer.in_channels, *size)
    weight = integers(seed + 1, *layer.weight_shape)
    bias = integers(seed + 2, layer.out_channels) if layer.bias else None
    low = [low for low, _ in layer.padding]
    expected = TRANSPOSED[dims](
        image[None], weight, bias, layer.stride, low, layer.output_padding, layer.groups,
        layer.dilation,
    )[0]  # fmt: skip
    scene = animate(layer, size, values=image, weight=weight, bias=bias, view=view)
    if view == "zeros":
        assert check(shown(scene, "output"), expected, dims) > 0
        return
    # The whole canvas is drawn: what padding cuts off is there, and marked.
    whole = TRANSPOSED[dims](image[None], weight, bias, layer.stride, 0, 0, layer.groups,
                             layer.dilation)[0]  # fmt: skip
    offset = [0] * (3 - dims) + low
    expected, whole = lifted(expected, dims), lifted(whole, dims)
    for panel in scene.panels:
        if not panel.name.startswith("output"):
            continue
        channel, *depth = map(int, panel.name.removeprefix("output").split("."))
        values = scene.values(panel.name)
        for cell in panel.cells:
            at = (depth[0] if depth else 0, *cell.at)
            inside = tuple(a - b for a, b in zip(at, offset))
            is_output = all(0 <= a < n for a, n in zip(inside, expected.shape[1:]))
            assert (cell.role == "cropped") == (not is_output)
            if is_output:
                assert values[cell.at] == expected[channel][inside]
            elif all(a < n for a, n in zip(at, whole.shape[1:])):
                assert values[cell.at] == whole[channel][at]


@DIMS
@examples(150)
@given(data=st.data(), seed=seeds)
def test_pool(dims, data, seed):
    layer, size, channels = data.draw(pools(dims))
    image = integers(seed, channels, *size)
    padding = tuple(low for low, _ in layer.padding)
    if layer.kind == "max":
        expected = MAX[dims](image[None], layer.kernel_size, layer.stride, padding,
                             layer.dilation, layer.ceil_mode)[0]  # fmt: skip
    else:
        expected = AVERAGE[dims](image[None], layer.kernel_size, layer.stride, padding,
                                 layer.ceil_mode, layer.count_include_pad)[0]  # fmt: skip
    scene = animate(layer, size, values=image)
    cells = {
        (c, *(d or [0]), *at): v
        for (c, *d), values in shown(scene, "output").items()
        for at, v in values.items()
    }
    got = torch.tensor(list(cells.values()), dtype=torch.float64)
    wanted = torch.stack([lifted(expected, dims)[at] for at in cells])
    assert torch.equal(got, wanted) or torch.allclose(got, wanted, rtol=1e-15, atol=1e-15)
