"""`convsmith lighten`: every target and format, going on, several processes, errors of one line."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors.torch import load_file

from convsmith.cli import main
from tests.draw.markup import parse
from tests.rewrite.fakes import counted, hasty

__all__ = ["counted", "hasty"]

MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, 4),
    )
"""
WORDS = ["lighten", "my.py:build", "--data", "data", "--no-compiled"]


@pytest.fixture
def place(here):
    """A folder with the user's model and 96 images in 4 classes."""
    (here / "my.py").write_text(MODEL)
    files(here / "data")
    return here


def files(folder, images=96, size=8, classes=4):
    """Random images and labels in the format of MNIST."""
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (images, size, size), dtype=torch.uint8)
    folder.mkdir()
    head = struct.pack(">BBBBIII", 0, 0, 8, 3, images, size, size)
    (folder / "train-images-idx3-ubyte").write_bytes(head + pixels.numpy().tobytes())
    head = struct.pack(">BBBBI", 0, 0, 8, 1, images)
    (folder / "train-labels-idx1-ubyte").write_bytes(
        head + bytes(i % classes for i in range(images))
    )


def report(capfd, *words):
    assert main([*WORDS, *words, "--json"]) == 0, capfd.readouterr().err
    return json.loads(capfd.readouterr().out)


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ([], "2× faster"),
        (["--speedup", "1.5"], "1.5× faster"),
        (["--latency-ms", "4"], "at most 4 ms"),
        (["--macs", "0.6"], "60% of the MACs"),
        (["--max-drop", "0.5"], "at most 50 points lost"),
        (["--multiplier", "1"], "1 depthwise kernel per channel"),
    ],
)
def test_every_target(place, counted, capfd, words, target):
    found = report(capfd, *words)
    assert found["report"] == "lighten" and found["target"] == target
    assert any(layer["form"] for layer in found["layers"])
    assert found["lightened"]["macs"] < found["original"]["macs"]
    assert 0 <= found["lightened"]["accuracy"] <= 1
    assert (found["predicted_ms"] is None) == (words[:1] in (["--macs"], ["--multiplier"]))
    assert "control" not in found and found["curve"] == []
    if words[:1] == ["--latency-ms"]:
        assert found["predicted_ms"] <= 4
    if words[:1] == ["--macs"]:
        assert found["lightened"]["macs"] <= 0.6 * found["original"]["macs"]


def test_forms_layers_images_and_batch(place, counted, capfd):
    words = ["--macs", "0.9", "--form", "spatial", "--form", "tucker", "--layer", "3"]
    found = report(capfd, *words, "--images", "40", "--batch", "5", "--seed", "7")
    kinds = {layer["path"]: layer["form"] for layer in found["layers"]}
    assert kinds["0"] == "" and kinds["3"] in ("spatial", "tucker")
    assert (found["images"], found["batch"], found["seed"]) == (40, 5, 7)


@pytest.mark.slow
def test_a_page_with_the_curve(place, counted, capfd):
    assert main([*WORDS, "--speedup", "1.5", "--sweep", "--html", "a.html"]) == 0
    page = (place / "a.html").read_text()
    headings = [heading.text for heading in parse(page).find("h2")]
    assert headings[:4] == ["Before and after", "Side by side", "The whole range", "Step by step"]
    assert page.count('class="line"') == 1 and "http" not in page.replace("http-equiv", "")
    capfd.readouterr()
    assert main([*WORDS, "--speedup", "1.5", "--sweep", "--html", "a.html"]) == 2
    assert "a.html" in capfd.readouterr().err
    found = report(capfd, "--speedup", "1.5", "--sweep")
    assert len(found["curve"]) >= 3 and found["curve"][0]["speedup"] == 1


@pytest.mark.slow
def test_tables_on_a_terminal(place, counted, capfd):
    words = ["--speedup", "1.5", "--sweep", "--no-reconstruct"]  # that takes long enough for lines
    assert main([*WORDS, *words]) == 0
    out, err = capfd.readouterr()
    # An untrained network guesses, which is worth a line; nothing else is.
    assert all("no more than chance" in line for line in err.splitlines()), err
    for words in ("convolution", "decomposed", "refitted", "asked for", "lightened, 1.5× faster"):
        assert words in out


def test_training_with_a_control_and_in_mixed_precision(place, counted, capfd):
    words = ["--speedup", "1.5", "--epochs", "2", "--tuning-precision", "bf16"]
    found = report(capfd, *words)
    assert len(found["losses"]) == 2 and 0 <= found["control"]["accuracy"] <= 1
    assert found["steps"][-1]["name"] == "fine-tuned"
    assert "control" not in report(capfd, *words, "--no-control")


def test_an_interrupted_run_goes_on(place, counted, capfd, monkeypatch):
    from convsmith.rewrite.lightening import attempts

    words = [*WORDS, "--speedup", "1.5", "--epochs", "3"]
    assert main([*words, "-o", "whole"]) == 0
    distil = attempts.distil

    def interrupted(*arguments, advance, **options):
        count = []

        def told():
            count.append(1)
            if len(count) == 3:
                raise KeyboardInterrupt
            advance()

        return distil(*arguments, advance=told, **options)

    monkeypatch.setattr(attempts, "distil", interrupted)
    capfd.readouterr()
    assert main([*words, "-o", "light", "--checkpoint", "kept"]) == 130
    out, err = capfd.readouterr()
    assert out == "" and err == "convsmith: interrupted\n" and not (place / "light").exists()
    monkeypatch.setattr(attempts, "distil", distil)
    assert main([*words, "-o", "light", "--checkpoint", "kept"]) == 0
    one, two = (load_file(place / name / "model.safetensors") for name in ("whole", "light"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_too_few_images_are_counted_as_they_were_passed(place, capfd):
    files(place / "few", images=8, classes=1)
    words = ["lighten", "my.py:build", "--data", "few", "--multiplier", "1"]
    assert main(words) == 1
    told = capfd.readouterr().err
    assert "few: of 8 images 2 are held out" in told and "6 are left" in told
    assert "at least 8 are needed" in told and len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--speedup", "2", "--macs", "0.5"], "pass only one target, not 2: speedup, macs"),
        (["--speedup", "900"], "speedup=900 cannot be met: the best here is speedup="),
        (["--latency-ms", "1e-6"], "cannot be met: the best here is latency_ms="),
        (["--macs", "1"], "cannot be met: the lowest achievable is "),
        (["--max-drop", "1"], "max_drop must be below 1 (0.01 is one percentage point), not 1"),
        (["--form", "spatail"], "did you mean 'spatial'"),
        (["--layer", "9"], "Sequential has no convolution '9'"),
        (["--batch", "0"], "--batch must be from 1 to 1,048,576, not 0"),
        (["--precision", "32"], "--precision must be one of 'float32', 'bf16', not '32'"),
        (["--epochs", "-1"], "--epochs must be from 0 to 1,048,576, not -1"),
        (["--images", "4"], "4 images: at least 8 are needed"),
        (
            ["--multiplier", "1", "--form", "tucker"],
            "multiplier needs the form 'depthwise_pointwise', which forms excludes",
        ),
        (["--devices", "0"], "at least 1 device"),
        (["--devices", "2", "--num-nodes", "0"], "at least 1 device and 1 node, not 2 and 0"),
        (
            ["--checkpoint", "taken", "--speedup", "1.5"],
            "is of another run: its network is '', not ",
        ),
    ],
)
def test_what_is_wrong_is_one_line(place, counted, capfd, words, message):
    (place / "taken").mkdir()
    (place / "taken" / "run.json").write_text(json.dumps({"network": ""}))
    assert main([*WORDS, *words]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("convsmith: ") and err.count("\n") == 1, err
    assert message in err and "Traceback" not in err


@pytest.mark.slow
def test_two_processes_do_what_one_does(run, tmp_path):
    """Each has half of every batch; batch norm sees less, so the weights are only nearly alike."""
    (tmp_path / "my.py").write_text(MODEL)
    files(tmp_path / "data")
    words = [*WORDS, "--multiplier", "2", "--epochs", "3", "--learning-rate", "0.01"]
    env = {"OMP_NUM_THREADS": "1"}
    weights = {}
    for count in (1, 2):
        more = ["-o", f"light{count}", "--devices", str(count), "--checkpoint", f"kept{count}"]
        done = run(*words, *more, "--json", f"report{count}.json", env=env)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert done.stderr.count("wrote light") == 1, "only one writes"
        weights[count] = load_file(tmp_path / f"light{count}" / "model.safetensors")
    names = {path.name for path in (tmp_path / "kept2").iterdir()}
    assert {"run.json", "choices.json"} <= names
    assert not list((tmp_path / "kept2").rglob("*.part"))
    for name, one in weights[1].items():
        apart = (weights[2][name].double() - one.double()).norm()
        assert apart <= 1e-2 * one.double().norm().clamp_min(1e-3), name
    losses = [json.loads((tmp_path / f"report{n}.json").read_text())["losses"] for n in (1, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
