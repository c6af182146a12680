"""`convsmith params conv`: its figures are torch's, its table is whole in both languages."""

from __future__ import annotations

import json
from unicodedata import east_asian_width

import pytest
import torch
from torch import nn

from convsmith.cli import main

CASES = [
    ("--in 128x128 --channels 3:10", nn.Conv2d(3, 10, 3), (3, 128, 128)),
    ("--in 9x7 --channels 4:6 --groups 2 --kernel 3x2 --stride 2 --padding 1 --no-bias",
     nn.Conv2d(4, 6, (3, 2), 2, 1, groups=2, bias=False), (4, 9, 7)),
    ("--in 16 --dims 1 --dilation 2 --padding same", nn.Conv1d(1, 1, 3, 1, "same", 2), (1, 16)),
    ("--in 3x3 --channels 2:3 --transposed --stride 2 --output-padding 1",
     nn.ConvTranspose2d(2, 3, 3, 2, output_padding=1), (2, 3, 3)),
    ("--in 4x5x6 --kernel 2", nn.Conv3d(1, 1, 2), (1, 4, 5, 6)),
]  # fmt: skip


@pytest.mark.parametrize(("words", "module", "shape"), CASES)
def test_the_figures_are_torchs(capsys, words, module, shape):
    assert main(["params", "conv", *words.split(), "--batch", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["report"], found["version"]) == ("params", 1)
    assert found["params"] == sum(p.numel() for p in module.parameters())
    assert found["weight"] == list(module.weight.shape)
    assert found["input"] == [2, *shape]
    assert found["output"] == list(module(torch.zeros(2, *shape)).shape)
    kernels = module.weight.numel()
    at = shape[1:] if found["layer"].startswith("ConvTranspose") else found["output"][2:]
    assert found["macs"] == 2 * kernels * torch.Size(at).numel()
    assert main(["params", "conv", *words.split(), "--batch", "2"]) == 0
    text = capsys.readouterr().out
    assert f"{found['params']:,}" in text and f"{found['flops']:,}" in text


@pytest.mark.parametrize(("language", "head"), [("en", "parameter"), ("zh", "参数")])
def test_the_table_has_every_parameter_in_straight_columns(capsys, language, head):
    assert main(["params", "conv", "--in", "8x8", "--language", language]) == 0
    told, _, table = capsys.readouterr().out.partition("\n\n")
    first, *rows = table.splitlines()
    assert first.startswith(head + " ")
    names = [row.split()[0] for row in rows]
    assert names == [
        "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups",
        "bias", "padding_mode", "output_padding",
    ]  # fmt: skip
    column = "what it does" if language == "en" else "作用"

    def wide(text):
        return sum(1 + (east_asian_width(letter) in "WF") for letter in text)

    start = wide(first[: first.index(column)])
    for row in rows:
        before = [at for at in range(len(row)) if wide(row[:at]) == start]
        assert before and row[before[0] - 1] == " " and row[before[0]] != " ", row
    assert ("参数量" in told) == (language == "zh")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--in 4x4 --kernel 5", "no output: 5 taps"),
        ("--channels 4:4 --groups 3", "groups must divide in_channels"),
        ("--in x", "--in 'x' is not a size"),
        ("--batch 0", "--batch must be at least 1"),
        ("--language de", "language must be one of"),
        ("--output-padding 1", "--output-padding is for --transposed"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(capsys, words, said):
    assert main(["params", "conv", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1
