"""Examples: tensors, shapes, types, and lists and dicts of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import ArgumentError
from convsmith.network.example import example_inputs

MODEL = nn.Linear(2, 2).double()
X = torch.ones(2, 3)


def read(example):
    def plain(value):
        if isinstance(value, torch.Tensor):
            return (tuple(value.shape), str(value.dtype).removeprefix("torch."))
        if isinstance(value, (list, tuple)):
            return type(value)(map(plain, value))
        return {key: plain(item) for key, item in value.items()} if type(value) is dict else value

    args, kwargs = example_inputs(MODEL, example)
    return plain(args) if args else plain(kwargs)


D = "float64"
READ = [
    ((1, 3), (((1, 3), D),)),
    ([(1, 3), (2,)], (((1, 3), D), ((2,), D))),
    (X, (((2, 3), "float32"),)),
    (((1, 16), torch.int64), (((1, 16), "int64"),)),
    (((1, 16), "int64"), (((1, 16), "int64"),)),
    ([((1, 16), "int64"), (4, 4)], (((1, 16), "int64"), ((4, 4), D))),
    ({"x": (1, 3), "ids": ((2,), "bool")}, {"x": ((1, 3), D), "ids": ((2,), "bool")}),
    ([[(3, 8), (3, 9)]], ([((3, 8), D), ((3, 9), D)],)),
    ([{"a": (1, 2), "b": [X, (4,)]}], ({"a": ((1, 2), D), "b": [((2, 3), "float32"), ((4,), D)]},)),
    ({"x": (1, 3), "flag": None, "mode": "fast"}, {"x": ((1, 3), D), "flag": None, "mode": "fast"}),
    ([(1, 3), None], (((1, 3), D), None)),
    ([(1, 3), True, 0.5], (((1, 3), D), True, 0.5)),
]


@pytest.mark.parametrize(("example", "expected"), READ, ids=range(len(READ)))
def test_what_a_model_is_called_with(example, expected):
    assert read(example) == expected


@pytest.mark.parametrize(("example", "message"), [
    ("1,3,8,8", "an example is"), (7, "an example is"), ([], "an example is"),
    ((1, -3), "no negative lengths"), ([[(3, None)]], "none left free"),
    (((1, 2), "int46"), "did you mean 'int"), ({1: (2, 3)}, "inputs by name have names, not 1"),
])  # fmt: skip
def test_what_is_no_example(example, message):
    with pytest.raises(ArgumentError, match=message):
        example_inputs(MODEL, example)


class Batch(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.conv = nn.Embedding(10, 4), nn.Conv2d(3, 4, 3)

    def forward(self, batch):
        maps = [self.conv(image[None]) for image in batch["images"]]
        return maps, self.table(batch["ids"])


@pytest.mark.parametrize("run", [None, True])
def test_nested_inputs_are_counted_traced_or_run(run):
    example = [{"images": [(3, 8, 8), (3, 5, 6)], "ids": ((1, 7), "int64")}]
    report = cs.inspect(Batch(), example, run=run)
    assert report.macs == (36 + 12) * 4 * 27
    assert set(report.inputs) == {(3, 8, 8), (3, 5, 6), (1, 7)}


class Sides(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, left, right):
        return self.conv(left) - right


@pytest.mark.parametrize("nested", [False, True])
def test_one_tensor_for_two_inputs_stays_two_inputs(nested, tmp_path):
    """`torch.export` takes them for one: calls with two would read the second alone."""
    model, (left, right) = Sides().eval(), torch.randn(2, 1, 3, 5, 4)
    example = {"left": left, "right": left} if nested else [left, left]
    layer = next(each for each in cs.trace(model, example) if each.kind == "convolution")
    assert layer.inputs == ("left",)
    with torch.no_grad():
        expected = model(left, right)
        for compiled in (
            cs.compile(model, example, threads=1),
            torch.compile(model, backend="convsmith"),
        ):
            compiled(left, left)
            assert torch.allclose(compiled(left, right), expected, atol=1e-6)
    written = cs.export(model, example, tmp_path / "net.onnx")
    assert [value.name for value in written.values[:2]] == ["left", "right"]
