"""Files of PyTorch's are told apart by what they hold, whatever they are called."""

from __future__ import annotations

import shutil
from itertools import product

import pytest
import torch
from torch import nn

from convsmith.cli.archives import content_of
from convsmith.cli.main import main
from convsmith.cli.models import load_model
from convsmith.cli.weights import read_weights
from convsmith.errors import ConvsmithError, ModelError

pytestmark = pytest.mark.filterwarnings("ignore")
SUFFIXES = (".pt", ".pth", ".pt2", ".ts", ".ptl", ".bin", ".ckpt", ".torchscript")


def model():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())


def traced():
    return torch.jit.trace(model(), torch.zeros(1, 3, 8, 8))


WRITERS = {
    "scripted": ("TorchScript", lambda path: torch.jit.save(torch.jit.script(model()), path)),
    "traced": ("TorchScript", lambda path: torch.jit.save(traced(), path)),
    "for mobiles": ("TorchScript", lambda path: traced()._save_for_lite_interpreter(path)),
    "program": (
        "program",
        lambda path: torch.export.save(
            torch.export.export(model(), (torch.zeros(1, 3, 8, 8),)), path
        ),
    ),
    "weights": ("pickle", lambda path: torch.save(model().state_dict(), path)),
    "module": ("pickle", lambda path: torch.save(model(), path)),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One file of each sort."""
    folder = tmp_path_factory.mktemp("files")
    written = {}
    for name, (_, write) in WRITERS.items():
        written[name] = folder / f"{name.replace(' ', '_')}.pt2"
        write(str(written[name]))
    return written


def test_each_sort_is_told_by_its_archive(files, tmp_path):
    assert {name: content_of(path) for name, path in files.items()} == {
        name: content for name, (content, _) in WRITERS.items()
    }
    (tmp_path / "no.pt").write_bytes(b"no archive")
    assert content_of(tmp_path / "no.pt") == content_of(tmp_path / "none.pt") == ""


@pytest.mark.parametrize(("name", "suffix"), product(WRITERS, SUFFIXES))
def test_a_model_is_a_program_and_all_else_says_what_it_is(files, tmp_path, name, suffix):
    content, path = WRITERS[name][0], tmp_path / f"net{suffix}"
    shutil.copy(files[name], path)
    if content == "program" and suffix == ".pt2":
        assert load_model(str(path)).example_inputs is not None
        return
    with pytest.raises(ConvsmithError) as caught:
        load_model(str(path))
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    expected = {"TorchScript": "is a TorchScript program", "program": "name it net.pt2"}
    if content in expected:
        assert expected[content] in message
    elif suffix not in (".ts", ".ptl", ".torchscript"):
        assert "holds weights, and weights alone are not a model" in message


@pytest.mark.parametrize(("name", "suffix"), product(WRITERS, (".pt", ".pth", ".bin", ".ckpt")))
def test_weights_are_weights_and_all_else_says_what_it_is(files, tmp_path, name, suffix):
    content, path = WRITERS[name][0], tmp_path / f"net{suffix}"
    shutil.copy(files[name], path)
    if name == "weights":
        assert set(read_weights(path)) == {"0.weight", "0.bias"}
        return
    with pytest.raises(ModelError) as caught:
        read_weights(path)
    expected = {
        "TorchScript": "is a TorchScript program, not weights",
        "program": "is a program of torch.export.save, not weights",
        "pickle": "holds code besides tensors",
    }
    assert expected[content] in str(caught.value)


def test_the_command_line_says_it_in_one_line(files, capfd):
    assert main(["inspect", str(files["scripted"]), "--input", "1,3,8,8"]) == 1
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and "torch.export.save" in err
