"""`convsmith tile` as a user runs it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import convsmith as cs
from convsmith.cli import main
from convsmith.cli.models import load_model
from tests.tiling.nets import needs_bf16

zarr = pytest.importorskip("zarr")

MODEL = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2, 2)).eval()

def normed():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.InstanceNorm2d(4))

def vectors():
    return nn.Linear(3, 3)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "model.py").write_text(MODEL)
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    np.save(tmp_path / "in.npy", image)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expected(folder):
    image = torch.from_numpy(np.load(folder / "in.npy")).permute(2, 0, 1).float() / 255
    with torch.no_grad():
        return load_model("model.py:net")(image[None])[0].numpy()


def test_a_run(folder, capsys):
    words = ["tile", "model.py:net", "in.npy", "out.zarr", "--tile", "32", "--reduce", "argmax"]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["complete"] and report["units"] == 6 and report["plan"]["verdict"] == "exact"
    assert (zarr.open_array("out.zarr")[...] == expected(folder).argmax(0)).all()
    assert main(words) == 2
    assert "exists: pass resume" in capsys.readouterr().err
    assert main([*words, "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["computed"] == 0


def test_options_reach_the_run(folder, capsys):
    np.save("mask.npy", np.ones((2, 2), np.uint8))
    words = ["tile", "model.py:net", "in.npy", "out.npy", "--tile", "16,32", "--scale", "0.01"]
    words += ["--mean", "0.1,0.2,0.3", "--std", "2", "--where", "mask.npy", "--layout", "YXC"]
    assert main([*words, "--workers", "2"]) == 0
    image = torch.from_numpy(np.load("in.npy")).permute(2, 0, 1) * 0.01
    image = (image - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / 2
    with torch.no_grad():
        whole = load_model("model.py:net")(image[None].float())[0]
    assert abs(np.load("out.npy") - whole.permute(1, 2, 0).numpy()).max() < 1e-5


@needs_bf16
def test_compiled_in_bf16(folder, capsys):
    pytest.importorskip("halide")
    words = ["tile", "model.py:net", "in.npy", "out.npy", "--tile", "24", "--backend", "compiled"]
    assert main([*words, "--precision", "bf16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["precision"] == "bf16"
    image = torch.from_numpy(np.load("in.npy")).permute(2, 0, 1)[None].float() / 255
    whole = cs.compile(load_model("model.py:net"), image, precision="bf16")(image)[0]
    assert np.array_equal(np.load("out.npy"), whole.permute(1, 2, 0).numpy())
    assert main([*words, "--resume"]) == 2
    assert 'settings changed (precision "bf16", now "float32")' in capsys.readouterr().err


def test_parts(folder, capsys):
    for i in range(2):
        words = ["tile", "model.py:net", "in.npy", "out.zarr", "--tile", "32", "--part", f"{i}/2"]
        assert main([*words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["complete"] == bool(i)


def test_a_plan_writes_nothing(folder, capsys):
    assert main(["tile", "model.py:net", "in.npy", "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["report"] == "tile plan" and plan["seconds"] > 0 and len(plan["halo"]) == 2
    assert sorted(p.name for p in folder.iterdir()) == ["in.npy", "model.py"]
    assert main(["tile", "model.py:normed", "in.npy", "--plan"]) == 0
    assert "impossible" in capsys.readouterr().out


def test_the_seam_meter(folder, capsys):
    words = ["tile", "model.py:net", "in.npy", "--compare", "overlap=0.25,window=32"]
    assert main([*words, "--picture", "seams.svg", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["window"] == [32, 32]
    assert (folder / "seams.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.py:net", "in.npy"], "no target: pass one"),
        (["model.py:net", "gone.npy", "o.zarr"], "there is no file"),
        (["model.py:net", "in.npy", "o.xyz"], "expected a name that ends in"),
        (["model.py:normed", "in.npy", "o.zarr"], "passes=True"),
        (["model.py:vectors", "in.npy", "o.zarr"], "no convolution that says how many channels"),
        (["model.py:net", "in.npy", "o.zarr", "--part", "4/4"], "--part '4/4' is not I/N"),
        (["model.py:net", "in.npy", "o.zarr", "--tile", "0"], "every length must be at least 1"),
        (["model.py:net", "in.npy", "o.zarr", "--memory", "x"], "memory must be bytes"),
        (["model.py:net", "in.npy", "o.zarr", "--mean", "a"], "is not a list of numbers"),
        (["model.py:net", "in.npy", "o.zarr", "--reduce", "best"], "unknown reducer"),
        (["model.py:net", "in.npy", "o.zarr", "--scheduler", "host"], "is not a scheduler"),
        (["model.py:net", "in.npy", "--compare", "seams"], "expected overlap=0.25"),
        (["model.py:net", "in.npy", "o.zarr", "--picture", "a.svg"], "--picture is for --compare"),
        (["model.py:net", "in.npy", "o.zarr", "--precision", "bf16"], "is for backend='compiled'"),
        (["model.py:net", "in.npy", "o.zarr", "--precision", "16"], "precision must be one of"),
        (["model.py:net", "in.npy", "o.zarr", "--part", "²/3"], "is not I/N"),
        (["model.py:net", "in.npy", "o.zarr", "--part", "0/" + "9" * 5000], "is not I/N"),
        (["model.py:net", "in.npy", "o.zarr", "--device", "banana"], "device must be one such as"),
        (["model.py:net", "in.npy", "o.zarr", "--device", "meta"], "'meta' holds no values"),
        (["model.py:net", "in.npy", "o.zarr", "--device", "cuda:77"], "'cuda:77' cannot be used"),
        (["model.py:net", "in.npy", "o.zarr", "--scale", "nan"], "scale takes finite numbers"),
        (["model.py:net", "in.npy", "o.zarr", "--scale", "0"], "scale must not be 0"),
        (["model.py:net", "in.npy", "o.zarr", "--std", "inf"], "std takes finite numbers"),
        (["model.py:net", "in.npy", "o.zarr", "--level", "1"], "in.npy has one level"),
        (["model.py:net", "in.npy", "o.zarr", "--reduce", "threshold:nan"], "unknown reducer"),
        (["model.py:net", "in.npy", "--plan", "--compare", "window=8"], "pass one of them"),
        (["model.py:net", "model.py", "o.zarr"], "expected a file that ends in"),
        (["model.py:net", "text.npy", "o.zarr"], "it does not begin as a .npy does"),
        (["model.py:net", "in.npy", "foo://a/o.zarr"], "foo://a/o.zarr cannot be written"),
        (
            ["model.py:net", "in.npy", "o.zarr", "--scheduler", "local", "--workers", "0"],
            "workers must be an integer of at least 1",
        ),
    ],
)
def test_one_line_for_what_cannot_be(folder, capsys, words, message):
    (folder / "text.npy").write_text("no array")
    before = sorted(folder.rglob("*"))
    assert main(["tile", *words]) in (1, 2)
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "a bug in" not in error
    left = [path for path in folder.rglob("*") if "__pycache__" not in str(path)]
    assert sorted(left) == before  # nothing is left of a target
