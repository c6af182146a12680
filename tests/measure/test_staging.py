"""A network on a live stage: its maps are those that torch computes on the way."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.cli import main
from tests.networks import conv_bn, resnet


def maps(stage):
    return [torch.tensor(each, dtype=torch.float64) for each in stage.maps()]


def settled(model):
    """Statistics and parameters of a network that has seen something."""
    torch.manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    return model.eval()


CHAINS = {
    "separable": (
        lambda: [
            conv_bn(3, 8, 3, 1, 1), nn.MaxPool2d(2),
            conv_bn(8, 8, 3, 1, 1, groups=8, act=nn.ReLU6), conv_bn(8, 12, 1, act=nn.SiLU),
        ],
        (3, 12, 12), [0, 1, 2, 3],
    ),
    "decoder": (
        lambda: [
            nn.Conv2d(2, 4, 3, 2, 1), nn.Hardswish(),
            nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2, bias=False), nn.BatchNorm2d(6),
            nn.Sigmoid(),
        ],
        (2, 9, 8), [1, 4],
    ),
    "signal": (
        lambda: [
            nn.Conv1d(1, 4, 3, padding=2, dilation=2), nn.Tanh(), nn.Dropout(),
            nn.AvgPool1d(2), nn.Conv1d(4, 2, 3, groups=2),
        ],
        (1, 20), [1, 3, 4],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_every_map_is_the_networks(name):
    build, size, ends = CHAINS[name]
    torch.manual_seed(1)
    model = settled(nn.Sequential(*build()))
    report = cs.inspect(model, (1, *size))
    stage = cs.draw.stage(report)
    value = torch.tensor(stage.values, dtype=torch.float64)[None]
    expected = [value[0]]
    for index, module in enumerate(model.double()):
        value = module(value)
        if index in ends:
            expected.append(value[0])
    found = maps(stage)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-6, atol=1e-6)
    english, chinese = stage.note
    field = "×".join(map(str, report.local_receptive_field.size))
    assert english == f"theoretical receptive field {field}" and chinese == f"理论感受野 {field}"


def test_the_field_of_the_page_is_the_inspections():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3, dilation=2))
    report = cs.inspect(model, (1, 1, 24, 24))
    chain = cs.Chain(*report.stage().layers)
    reads = list(chain.receptive_field())
    assert report.field_of("2").size == (reads[-1] - reads[0] + 1,) * 2


def test_wide_maps_show_their_first_channels_and_say_so():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3, groups=32), nn.Conv2d(32, 64, 1)
    )
    stage = cs.inspect(model, (1, 3, 8, 8)).stage()
    assert [layer.out_channels for layer in stage.layers] == [16, 16, 16]
    assert "at most the first 16 channels" in stage.note[0] and "前 16 个通道" in stage.note[1]
    # Up to the first layer that mixes channels, the values are the network's all the same.
    value = torch.tensor(stage.values, dtype=torch.float64)[None]
    expected = model.double()[:2](value)[0, :16].detach()
    torch.testing.assert_close(maps(stage)[2], expected, rtol=1e-6, atol=1e-6)
    large = cs.inspect(model, (1, 3, 100, 100)).stage()
    assert large.layers[0].out_channels < 16 and "at most the first" in large.note[0]


def test_of_branches_the_longest_is_shown_and_what_it_leaves_out_is_named():
    stage = cs.inspect(settled(resnet((1, 1), 1, width=4)), (1, 3, 33, 33)).stage()
    assert len(stage.layers) == 6  # 7×7, the pool, twice two 3×3
    english, chinese = stage.note
    assert "the longest chain through the branches" in english and "without add" in english
    assert "up to 3.body.1.0" in english and "分支中最长的一条链" in chinese


@pytest.mark.parametrize(
    ("model", "shape", "error", "said"),
    [
        (nn.Linear(4, 4), (1, 4), cs.ArgumentError, "takes no maps"),
        (
            nn.Sequential(nn.Flatten(2), nn.Linear(16, 4)), (1, 1, 4, 4), cs.ModelError,
            "no convolution or pool that its image reaches",
        ),
        (nn.Conv2d(1, 1, 3), (1, 1, 500, 500), cs.ArgumentError, "too many for a stage"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused_in_one_line(model, shape, error, said):
    with pytest.raises(error, match=said) as raised:
        cs.inspect(model, shape).stage()
    assert "\n" not in str(raised.value)


MODEL = """
import torch
def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
"""


def test_the_command_puts_a_network_on_a_stage_over_a_photograph(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (20, 20), (255, 51, 0)).save(tmp_path / "a.png")
    (tmp_path / "my.py").write_text(MODEL)
    words = ["draw", "stage", "--model", f"{tmp_path / 'my.py'}:build", "--input", "1x3x10x10"]
    path = tmp_path / "page.html"
    assert main([*words, "--image", str(tmp_path / "a.png"), "-o", str(path)]) == 0
    html = path.read_text("utf-8")
    assert "data:image/png;base64," in html and '"activation":"relu"' in html
    capsys.readouterr()
    assert main([*words, "--in", "6x6", "-o", str(path), "--force"]) == 2
    assert "leave them out" in capsys.readouterr().err
    assert main(["draw", "stage", "-o", str(path), "--force"]) == 2
    assert "which layers?" in capsys.readouterr().err
