"""A model as it is written on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from convsmith.cli import models
from convsmith.cli.models import load_model
from convsmith.errors import ArgumentError, ModelError
from convsmith.rewrite import dilate, lighten, save

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.next = nn.Conv2d(8, 8, 3)

    def forward(self, x):
        return self.next(self.conv(x).relu())

def build():
    return Net()

def needy(channels):
    return Net()

def wrong():
    return {"model": Net()}

ready = Net()
number = 3
"""


@pytest.fixture
def net(here: Path) -> Path:
    (here / "net.py").write_text(NET)
    return here


@pytest.mark.parametrize("name", ["Net", "build", "ready"])
def test_a_class_a_function_and_a_module_are_models(net: Path, name: str) -> None:
    for spec in (f"net.py:{name}", f"net:{name}"):
        model = load_model(spec)
        assert isinstance(model, nn.Module) and model(torch.zeros(1, 3, 9, 9)).shape == (1, 8, 5, 5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("net.py:number", "net.py:number is of type int, not a torch.nn.Module"),
        ("net.py:wrong", "net.py:wrong returned an object of type dict, not a torch.nn.Module"),
        ("net.py:needy", "net.py:needy must be callable without arguments: .*'channels'"),
        ("net.py:biuld", "did you mean 'build'"),
        ("net.pth", "net.pth holds weights, .*: pass file.py:callable --weights net.pth"),
        ("net.safetensors", "weights alone are not a model"),
        ("none.pt2", "there is no file 'none.pt2'"),
        ("none/", "there is no folder 'none'"),
        (".", "was not written by `convsmith lighten`: it has no recipe.json"),
    ],
)
def test_what_is_no_model(net: Path, spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(spec)


@pytest.mark.parametrize("spec", ["resnet50", "", "net.tflite"])
def test_what_names_no_kind_of_model(here: Path, spec: str) -> None:
    with pytest.raises(ArgumentError, match="is not a model: expected torchvision:NAME, timm:NAME"):
        load_model(spec)


def test_a_missing_onnx_file_is_a_missing_file(here: Path) -> None:
    with pytest.raises(ModelError, match=r"no file 'net\.onnx'"):
        load_model("net.onnx")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_missing_library_comes_with_its_install_line(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=f"resnet18 needs {library}: pip install {library}$"):
        load_model(f"{library}:resnet18")


def test_weights_are_loaded(net: Path) -> None:
    from safetensors.torch import save_file

    wanted = load_model("net.py:build").state_dict()  # type: ignore[union-attr]
    save_file(wanted, "w.safetensors")
    torch.save(wanted, "w.pth")
    for file in ("w.safetensors", "w.pth", Path("w.pth")):
        model = load_model("net.py:build", file)
        assert all(torch.equal(v, wanted[k]) for k, v in model.state_dict().items())


def test_a_program_is_a_model_that_brings_its_weights(net: Path) -> None:
    model = load_model("net.py:build")
    assert isinstance(model, nn.Module)
    example = torch.randn(1, 3, 9, 9)
    torch.export.save(torch.export.export(model, (example,)), "net.pt2")
    program = load_model("net.pt2")
    assert torch.equal(program.module(check_guards=False)(example), model(example))  # type: ignore[operator]
    with pytest.raises(ArgumentError, match=r"net.pt2 brings its own weights: leave out 'w.pth'"):
        load_model("net.pt2", "w.pth")


def test_a_function_may_return_a_program(here: Path) -> None:
    (here / "made.py").write_text(
        "import torch\n"
        "def build():\n"
        "    return torch.export.export(torch.nn.Conv2d(1, 1, 3), (torch.zeros(1, 1, 5, 5),))\n"
    )
    assert isinstance(load_model("made.py:build"), torch.export.ExportedProgram)
    with pytest.raises(ArgumentError, match="brings its own weights"):
        load_model("made.py:build", "w.pth")


@pytest.fixture
def light(net: Path) -> Path:
    """A folder as `convsmith lighten net.py:build -o light` writes it."""
    model = load_model("net.py:build")
    assert isinstance(model, nn.Module)
    result = lighten(model, torch.rand(16, 3, 9, 9), multiplier=1)
    result.save(net / "light", origin="net.py:build")
    return net / "light"


def test_a_lightened_folder_is_a_model(light: Path) -> None:
    model = load_model("light/", original="net.py:build")
    assert isinstance(model, nn.Module)
    kinds = {type(module).__name__ for module in model.modules()}
    assert "DepthwiseSeparableConv2d" in kinds and type(model).__name__ == "Net"
    with pytest.raises(ArgumentError, match="brings its own weights"):
        load_model("light", "w.pth")


@pytest.fixture
def plain(net: Path) -> Path:
    """A folder with a recipe that changes nothing, which is quicker to make."""
    model = load_model("net.py:build")
    assert isinstance(model, nn.Module)
    return save(model, net / "light", [], origin="net.py:build")


def test_a_folder_does_not_decide_what_code_runs(light: Path) -> None:
    with pytest.raises(ModelError, match=r"made from 'net.py:build', and a folder does not decide"):
        load_model("light")
    with pytest.raises(ArgumentError, match=r"'net\.py:build' is no folder"):
        load_model("net.py:build", original="net.py:build")


@pytest.mark.parametrize(
    "origin",
    ["http.server:test", "os:abort", "faulthandler:_sigsegv", "light/evil.py:build", "evil:build",
     "../evil.py:build", "evil.pt2", "timm", "torchvision", "\0", "\ud800", "x" * 10_000,
     "light:x"],
)  # fmt: skip
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_origin_at_any_depth_runs_code(plain: Path, origin: str, depth: int) -> None:
    (plain / "evil.py").write_text("open('ran', 'w')\ndef build(): ...")
    shutil.copy(plain / "evil.py", "evil.py")
    innermost = plain
    for level in range(1, depth):
        inner = innermost / f"inner{level}"
        inner.mkdir()
        for name in ("recipe.json", "model.safetensors"):
            shutil.copy(plain / name, inner)
        _set_origin(innermost, str(inner))
        innermost = inner
    _set_origin(innermost, origin)
    with pytest.raises(ModelError) as caught:
        load_model("light")
    assert "\n" not in str(caught.value) and not Path("ran").exists()


def test_a_folder_made_from_a_folder_needs_the_model_once(light: Path) -> None:
    twice = load_model("light", original="net.py:build")
    assert isinstance(twice, nn.Module)
    wide = dilate(twice, (1, 3, 9, 9), output_stride=1)
    wide.save("wide", origin="light/")
    with pytest.raises(ModelError, match="does not decide what code runs"):
        load_model("wide")
    assert isinstance(load_model("wide", original="net.py:build"), nn.Module)


def test_an_endless_chain_of_folders_ends(plain: Path) -> None:
    previous = plain
    for level in range(20):
        inner = Path(f"chain{level}")
        inner.mkdir()
        shutil.copy(plain / "recipe.json", inner)
        _set_origin(previous, str(inner))
        previous = inner
    with pytest.raises(ModelError, match="and so on for more than 16"):
        load_model("light")


def _set_origin(folder: Path, origin: object) -> None:
    recipe = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps({**recipe, "origin": origin}))


@pytest.mark.parametrize("origin", ["", None, 3])
def test_a_folder_that_does_not_say_what_it_was_made_from(light: Path, origin: object) -> None:
    _set_origin(light, origin)
    with pytest.raises(ModelError, match=r"load it in Python with convsmith\.load"):
        load_model("light")


@pytest.mark.parametrize("origin", ["light/evil.py:build", "light.evil:build"])
def test_code_that_came_with_a_folder_is_not_run(light: Path, origin: str) -> None:
    (light / "evil.py").write_text("open('ran', 'w')\ndef build(): ...")
    _set_origin(light, origin)
    with pytest.raises(
        ModelError, match=r"names code inside the folder itself, .*: such code is not run"
    ):
        load_model("light")
    assert not Path("ran").exists()


def test_code_in_a_folder_is_not_run_from_inside_it_either(
    light: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (light / "evil.py").write_text("open('ran', 'w')\ndef build(): ...")
    _set_origin(light, "evil:build")
    monkeypatch.chdir(light)
    with pytest.raises(ModelError, match="such code is not run"):
        load_model(".")
    assert not Path("ran").exists()


def test_folders_made_from_each_other(light: Path) -> None:
    _set_origin(light, "light/")
    with pytest.raises(ModelError, match="names itself as its own origin in its recipe"):
        load_model("light")
