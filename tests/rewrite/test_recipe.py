"""Every form goes to disk and comes back; what was written before still loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from convsmith.errors import ModelError
from convsmith.nn import DepthwiseSeparableConv2d
from convsmith.nn.factored import form_names, layers_of
from convsmith.rewrite.lightening.forms import Form, all_forms
from convsmith.rewrite.recipe import load, save

FIRST_EDITION = Path(__file__).parent / "first_edition"
FORM = pytest.mark.parametrize("form", all_forms(), ids=lambda form: form.name)
CONVS = {
    "plain": (lambda: nn.Conv2d(4, 6, (3, 5), (2, 1), (1, 2), groups=2), (9, 8)),
    "without bias": (lambda: nn.Conv2d(4, 6, 3, padding="same", dilation=2, bias=False), (9, 8)),
    "circular": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (9, 8)),
    "sequence": (lambda: nn.Conv1d(4, 6, 5, padding=2), (17,)),
    "volume": (lambda: nn.Conv3d(4, 6, (3, 1, 2)), (5, 6, 7)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, (3, 5), 2, 1, 1, groups=2), (9, 8)),
    "transposed sequence": (lambda: nn.ConvTranspose1d(4, 6, 4, 2, 1, bias=False), (9,)),
    "transposed volume": (lambda: nn.ConvTranspose3d(4, 6, 2, 2), (3, 4, 5)),
}


@FORM
@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_there_and_back(form, name, dtype, tmp_path):
    make, size = CONVS[name]
    conv = make().to(dtype)
    if form.reason(conv):
        return
    full = form.full_rank(conv)
    rank = tuple(-(-r // 2) for r in full) if isinstance(full, tuple) else -(-full // 2)
    model = nn.Sequential(form.make(conv, rank), nn.ReLU()).eval()
    folder = save(model, tmp_path / "light", ["0"])
    loaded = load(folder, nn.Sequential(make().to(dtype), nn.ReLU())).eval()
    image = torch.randn(2, conv.in_channels, *size, dtype=dtype)
    assert torch.equal(loaded(image), model(image))
    assert repr(loaded) == repr(model)
    assert loaded.state_dict().keys() == model.state_dict().keys()


def test_what_was_written_before_there_were_other_forms_still_loads(tmp_path):
    torch.manual_seed(0)
    layer = DepthwiseSeparableConv2d.from_conv(nn.Conv2d(3, 8, 3, padding=1), 2)
    tensors = {f"0.{name}": value for name, value in layer.state_dict().items()}
    save_file(tensors, str(tmp_path / "model.safetensors"))
    recipe = {
        "convsmith": "recipe",
        "version": 1,
        "origin": "",
        "model": "Sequential",
        "layers": {
            "0": {
                "form": "DepthwiseSeparableConv2d",
                "bias": [False, True],
                "dtype": "float32",
                "in_channels": 3,
                "out_channels": 8,
                "kernel_size": [3, 3],
                "stride": [1, 1],
                "padding": [1, 1],
                "dilation": [1, 1],
                "groups": 1,
                "padding_mode": "zeros",
                "multiplier": 2,
            }
        },
        "report": {},
    }
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    loaded = load(tmp_path, nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)))
    image = torch.randn(1, 3, 9, 9)
    assert torch.equal(loaded(image), layer(image))


def every_form():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(),
        nn.Conv2d(6, 8, (3, 5), padding="same", groups=2, bias=False), nn.ReLU(),
        nn.Conv2d(8, 6, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(6, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 4, 3, 2, 1, 1),
    )  # fmt: skip


def strided():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 3),
    )  # fmt: skip


@pytest.mark.parametrize(("name", "build"), [("lightened", every_form), ("dilated", strided)])
def test_what_the_first_edition_wrote_still_loads(name, build):
    """Both folders were written by the version before, with the results that it computed."""
    expected = load_file(str(FIRST_EDITION / "expected.safetensors"))
    model = load(FIRST_EDITION / name, build()).eval()
    with torch.no_grad():
        assert torch.allclose(model(expected["image"]), expected[name], atol=1e-5)
    recipe = json.loads((FIRST_EDITION / name / "recipe.json").read_text())
    layers = {model.get_submodule(path) for path in recipe["layers"]}
    forms = {form for form in form_names() if any(isinstance(x, layers_of(form)) for x in layers)}
    every = {"depthwise_pointwise", "pointwise_depthwise", "spatial", "tucker"}  # at that time
    assert forms == (every if name == "lightened" else {"depthwise_pointwise"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": [9, 9]}, "rank must be from 1 to"),
        ({"form": "ComposedConv"}, "no layer is called 'ComposedConv'"),
        ({"bias": [True]}, "zip"),
        ({"rank": [1, 1]}, " in the folder and ("),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(change, message, tmp_path):
    model = nn.Sequential(Form("tucker").make(nn.Conv2d(4, 6, 3), (2, 3)))
    folder = save(model, tmp_path, ["0"])
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["layers"]["0"] |= change
    (folder / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(ModelError, match="does not fit Sequential") as caught:
        load(folder, nn.Sequential(nn.Conv2d(4, 6, 3)))
    assert message in str(caught.value) or message in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        # What is left of the model has other shapes, or other keys.
        (lambda: [nn.Conv2d(4, 6, 3), nn.BatchNorm2d(7)], r"'1\.weight' is \(6,\) in the folder"),
        (lambda: [nn.Conv2d(4, 6, 3), nn.Conv2d(6, 6, 1)], r"'1\.weight' is \(6,\) in the folder"),
        (lambda: [nn.Conv2d(4, 6, 3), nn.ReLU()], r'Unexpected key.*"1\.bias"'),
        # Only what was replaced differs: no weights are left that could tell.
        (lambda: [nn.Conv2d(5, 6, 3), nn.BatchNorm2d(6)], "in_channels of '0' is 4 in the folder"),
        (lambda: [nn.Conv2d(4, 9, 3), nn.BatchNorm2d(6)], "out_channels of '0' is 6 in the folder"),
        (lambda: [nn.Conv2d(4, 6, 5), nn.BatchNorm2d(6)], r"kernel_size of '0' is \(3, 3\) in the"),
    ],
)
@FORM
def test_another_model_is_refused_by_name(form, other, message, tmp_path):
    conv = nn.Conv2d(4, 6, 3)
    rank = (2, 3) if isinstance(form.full_rank(conv), tuple) else 1
    folder = save(nn.Sequential(form.make(conv, rank), nn.BatchNorm2d(6)), tmp_path, ["0"])
    with pytest.raises(ModelError, match=f"made from Sequential: .*{message}"):
        load(folder, nn.Sequential(*other()))
