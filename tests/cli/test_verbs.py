"""The reporting verbs as a user runs them: figures, formats, and one line for what is wrong."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from convsmith.cli import main
from convsmith.cli.models import load_model
from convsmith.errors import ArgumentError
from convsmith.text import read_shape
from tests.draw.markup import parse

TO_LIGHTEN = ["lighten", "my.py:build", "--data", "digits"]
MODEL = """
from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 10),
    )

class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x
"""


@pytest.fixture
def place(here):
    """A folder with the user's model, as the current one."""
    (here / "my.py").write_text(MODEL)
    return here


def idx(path, images=96, size=8, seed=0):
    """Random images and labels in the format of MNIST."""
    torch.manual_seed(seed)
    pixels = torch.randint(0, 256, (images, size, size), dtype=torch.uint8)
    path.mkdir()
    head = struct.pack(">BBBBIII", 0, 0, 8, 3, images, size, size)
    (path / "train-images-idx3-ubyte").write_bytes(head + pixels.numpy().tobytes())
    labels = bytes(i % 10 for i in range(images))
    (path / "train-labels-idx1-ubyte").write_bytes(
        struct.pack(">BBBBI", 0, 0, 8, 1, images) + labels
    )


def test_shapes():
    assert read_shape("1,3,224,224") == read_shape("1x3×224x224") == (1, 3, 224, 224)
    for text in ("1,3,", "a", "1,0,3", "1,-3"):
        with pytest.raises(ArgumentError, match="--input"):
            read_shape(text, "--input")


def test_inspect_prints_a_table_and_writes_every_format(place, capfd):
    assert main(["inspect", "my.py:build", "--input", "1,1,8,8"]) == 0
    out, err = capfd.readouterr()
    assert "Sequential on 1×1×8×8" in out and "152,384" in out and err == ""
    assert main(["inspect", "my.py:build", "--input", "1,1,8,8", "--json"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert data["report"] == "inspection" and data["total"]["macs"] == 152_384
    words = ["inspect", "my.py:build", "--input", "1,1,8,8", "--csv", "a.csv", "--html", "a.html"]
    assert main(words) == 0
    assert (place / "a.csv").read_text().startswith("name,operation,output,params,macs")
    assert "152,384" in (place / "a.html").read_text()
    capfd.readouterr()
    assert main(words) == 2
    assert "a.csv" in capfd.readouterr().err
    assert main([*words, "--force"]) == 0


def test_inspect_sorts_and_groups(place, capfd):
    words = ["inspect", "my.py:build", "--input", "2,1,8,8"]
    assert main([*words, "--by", "module", "--depth", "1", "--sort", "params"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[4].startswith("3 ") and "2,336" in lines[4]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["inspect", "my.py:build"], 2, "--input"),
        (["inspect", "my.py:build", "--input", "1,2,8,8"], 1, "expected input"),
        (["inspect", "my.py:build", "--input", "1,1,8,8", "--sort", "mac"], 2, "'macs'"),
        (["inspect", "my.py:biuld", "--input", "1,1,8,8"], 1, "build"),
        (["lighten", "my.py:build", "--data", "nowhere"], 1, "nowhere"),
        ([*TO_LIGHTEN, "--speedup", "2", "--macs", "9"], 2, "pass only one target"),
        pytest.param(  # all forms are timed and tried first
            [*TO_LIGHTEN, "--speedup", "1000"], 2, "cannot be met", marks=pytest.mark.slow
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(place, capfd, words, status, message):
    assert main(words) == status
    out, err = capfd.readouterr()
    *progress, line = err.splitlines()  # a slow machine is told how far it is
    assert out == "" and line.startswith("convsmith: ") and message in line
    assert not any("convsmith: " in each or "Traceback" in each for each in progress)


def test_what_cannot_be_traced_is_run_and_its_line_named(place, capfd):
    words = ["inspect", "my.py:Branching", "--input", "1,1,8,8"]
    assert main([*words, "--json"]) == 0
    total = json.loads(capfd.readouterr().out)["total"]
    assert (total["status"], total["macs"]) == ("measured", 0)
    assert "my.py:13" in total["reasons"][0]
    assert main(words) == 0
    assert "measured" in capfd.readouterr().out
    for view in ("--receptive-field", "--holes", "--latency", "--sizes"):
        assert main([*words, view]) == 2
        assert "was counted in one run" in capfd.readouterr().err


def test_a_run_can_be_asked_for(place, capfd):
    words = ["inspect", "my.py:build", "--input", "1,1,8,8", "--json"]
    assert main(words) == main([*words, "--run"]) == 0
    graph, run = (json.loads(x + "}") for x in capfd.readouterr().out.split("\n}\n")[:2])
    assert (graph["total"]["status"], run["total"]["status"]) == ("exact", "measured")
    assert graph["total"]["macs"] == run["total"]["macs"]


def test_lighten_from_weights_and_files_to_a_model_that_loads(place, capfd):
    torch.manual_seed(0)
    model = load_model("my.py:build")
    save_file(model.state_dict(), "w.safetensors")
    idx(place / "data")
    words = [
        "lighten", "my.py:build", "--weights", "w.safetensors", "--data", "data",
        "--multiplier", "1", "--epochs", "1", "-o", "light", "--json", "report.json",
    ]  # fmt: skip
    assert main(words) == 0, capfd.readouterr().err
    report = json.loads((place / "report.json").read_text())
    for name in ("original", "lightened", "control"):
        assert report[name].keys() >= {"params", "macs", "accuracy", "latency_ms"}
    assert report["original"]["params"] == sum(p.numel() for p in model.parameters())
    assert sorted(p.name for p in (place / "light").iterdir()) == [
        "model.safetensors", "recipe.json",
    ]  # fmt: skip
    capfd.readouterr()
    assert (
        main(["inspect", "light/", "--model", "my.py:build", "--input", "1,1,8,8", "--json"]) == 0
    )
    total = json.loads(capfd.readouterr().out)["total"]
    assert total["macs"] == report["lightened"]["macs"]
    assert total["params"] == report["lightened"]["params"]
    assert main(words) == 2
    assert "--force" in capfd.readouterr().err


def test_a_broken_image_is_named_and_skipped_when_asked(place, capfd):
    from PIL import Image

    for label in "ab":
        (place / "images" / label).mkdir(parents=True)
        for i in range(12):
            Image.new("L", (8, 8), 20 * i).save(place / "images" / label / f"{i}.png")
    (place / "images" / "a" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    words = ["lighten", "my.py:build", "--data", "images", "--multiplier", "1", "-o", "light"]
    assert main(words) == 1
    assert "3.png" in capfd.readouterr().err
    assert not (place / "light").exists()
    assert main([*words, "--skip-broken"]) == 0
    out, err = capfd.readouterr()
    assert "skipped" in err and "3.png" in err and "lightened" in out


def test_inspect_shows_fields_holes_and_memory(place, capfd):
    words = ["inspect", "my.py:build", "--input", "1,1,8,8"]
    views = ["--receptive-field", "--holes", "--memory"]
    assert main([*words, *views]) == 0
    out = capfd.readouterr().out
    assert "Receptive fields of Sequential" in out and "5×5" in out
    assert "No holes." in out and "Alive at the peak" in out
    assert main([*words, *views, "--json"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert [field["size"] for field in data["receptive_fields"]][:2] == [[3, 3], [5, 5]]
    assert data["total"]["local_receptive_field"]["size"] == [5, 5]
    assert data["holes"]["causes"] == [] and data["memory"]["activations"] > 0
    assert main([*words, *views, "--html", "all.html"]) == 0
    assert "Receptive fields of Sequential" in (place / "all.html").read_text()
    assert main([*words, "--holes", "--layer", "33"]) == 2
    assert "no layer '33'" in capfd.readouterr().err


def test_inspect_shows_sizes_latency_and_another_network(place, capfd):
    words = ["inspect", "my.py:build", "--input", "1,1,8,8", "--sizes", "--latency"]
    assert main([*words, "--compare", "my.py:build"]) == 0
    out = capfd.readouterr().out
    assert "Input sizes" in out and "the whole pass" in out
    assert "Sequential and Sequential" in out and "None." in out
    assert main([*words, "--compare", "my.py:build", "--json"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert data["sizes"]["smallest"] == [1, 1]
    assert data["other"]["total"] == data["total"]
    assert data["latency"].keys() >= {"layers", "whole"}


def test_inspect_says_what_another_counter_would(place, capfd):
    words = ["inspect", "my.py:build", "--input", "1,1,8,8", "--as"]
    assert main([*words, "thop"]) == 0
    out = capfd.readouterr().out
    assert "thop 0.1.1 says 156,512 MACs" in out and "why" in out
    assert main([*words, "fvcor"]) == 2
    assert "did you mean 'fvcore'" in capfd.readouterr().err


def pictures(page):
    """The titles of the drawings on a page."""
    return [svg.find("title")[0].text for svg in parse(page.read_text()).find("svg")
            if svg.find("title")]  # fmt: skip


@pytest.fixture
def dilated(here):
    """A folder with a network that has holes."""
    (here / "dilated.py").write_text(
        "from torch import nn\n"
        "def stack():\n"
        "    layers = [nn.Conv2d(1, 1, 3, dilation=2, padding=2) for _ in range(3)]\n"
        "    return nn.Sequential(*layers)\n"
    )
    return here


def test_the_page_has_pictures_of_cost_field_holes_and_memory(dilated, capfd):
    words = ["inspect", "dilated.py:stack", "--input", "1,1,32,32"]
    assert main([*words, "--html", "plain.html"]) == 0
    assert pictures(dilated / "plain.html") == ["By layer.", "Receptive field of 2"]
    views = ["--holes", "--memory", "--effective", "--receptive-field"]
    assert main([*words, *views, "--html", "all.html"]) == 0
    assert pictures(dilated / "all.html") == [
        "By layer.", "Receptive field of 2", "0 → 1 → 2", "Effective receptive field",
        "Memory while each layer runs",
    ]  # fmt: skip
    page = (dilated / "all.html").read_text()
    assert "49 of 169 positions read (29.0 %)" in page and "position 16, 16 of layer" in page
    assert "Repaired: rates 1, 2, 3: 13 of 13 positions" in page and "peak 8.00 KiB in " in page
    assert "http" not in page.replace("http-equiv", "")
    headings = [h.text for h in parse(page).find("h2")]
    assert headings == [
        "Where the multiply-adds are", "Receptive field", "Fields by layer", "Holes",
        "Effective receptive field", "Memory", "Modules", "Layers",
    ]  # fmt: skip
    assert main([*words, *views, "--html", "again.html"]) == 0
    assert (dilated / "again.html").read_text().count("<svg") == page.count("<svg")


def test_the_page_shows_the_field_of_a_layer_that_is_named(dilated, capfd):
    words = ["inspect", "dilated.py:stack", "--input", "1,1,32,32", "--layer", "0"]
    assert main([*words, "--holes", "--html", "layer.html"]) == 0
    assert "Receptive field of 0" in pictures(dilated / "layer.html")
    assert "9 of 25 positions read (36.0 %)" in (dilated / "layer.html").read_text()


def test_inspect_shows_the_effective_field(place, capfd):
    words = ["inspect", "my.py:build", "--input", "1,1,8,8", "--effective"]
    assert main(words) == 0
    out = capfd.readouterr().out
    assert "Effective receptive field" in out and "5×5" in out
    assert "Mean over 8 images (random, seed 0)" in out
    assert main([*words, "--data", "digits", "--layer", "0", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert "holes" not in found
    effective = found["effective"]
    assert effective["images"] == 8 and effective["source"] == "digits"
    assert effective["layer"] == "0" and effective["exact"]["size"] == [3, 3]
    assert 1 <= effective["width_50"] <= effective["width_95"] <= 4
    assert effective["image_size"] == [8, 8]


def test_the_effective_field_is_that_of_the_weights(dilated, capfd):
    (dilated / "one.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def conv():\n"
        "    conv = nn.Conv1d(1, 1, 5, padding=2)\n"
        "    nn.init.zeros_(conv.weight)\n"
        "    conv.weight.data[0, 0, 2] = 1.0\n"
        "    return conv\n"
    )
    assert main(["inspect", "one.py:conv", "--input", "3,1,20", "--effective", "--json"]) == 0
    effective = json.loads(capfd.readouterr().out)["effective"]
    # Whole batches of the input's size: three of 3.
    assert effective["images"] == 9 and effective["exact"]["size"] == [5]
    assert effective["width_50"] == effective["width_95"] == 1 and effective["centre"] == [10]


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        (["--data", "digits"], 2, "--data is used only with --effective"),
        (["--effective", "--data", "nowhere"], 1, "nowhere"),
        (["--effective", "--layer", "33"], 2, "no layer '33'"),
    ],
)
def test_what_is_wrong_with_the_effective_field_is_one_line(place, capfd, more, status, message):
    assert main(["inspect", "my.py:build", "--input", "1,1,8,8", *more]) == status
    out, err = capfd.readouterr()
    assert out == "" and message in err and err.count("\n") == 1


def test_an_exported_program_has_no_effective_field(place, capfd):
    program = torch.export.export(load_model("my.py:build").eval(), (torch.zeros(1, 1, 8, 8),))
    torch.export.save(program, "net.pt2")
    assert main(["inspect", "net.pt2", "--effective"]) == 2
    assert "torch.nn.Module" in capfd.readouterr().err


@pytest.mark.parametrize("words", ["inspect", "draw conv", "draw layer", "draw gallery"])
def test_the_help_that_is_named_is_that_of_the_command(place, capfd, words):
    assert main([*words.split(), "--bad"]) == 2
    assert capfd.readouterr().err.endswith(f"(see `convsmith {words} --help`)\n")


def test_what_was_written_is_said_off_a_terminal_as_well(place, capfd):
    words = ["inspect", "my.py:build", "--input", "1,1,8,8"]
    assert main([*words, "--json", "a.json", "--html", "a.html"]) == 0
    assert capfd.readouterr() == ("", "wrote a.json\nwrote a.html\n")
    assert main([*words, "--json"]) == 0
    assert "wrote" not in capfd.readouterr().err
    assert main(["draw", "conv", "--in", "4", "-o", "a.svg"]) == 0
    assert capfd.readouterr() == ("", "wrote a.svg\n")
    assert main(["draw", "conv", "--in", "4", "-o", "-"]) == 0
    assert "wrote" not in capfd.readouterr().err
    assert main(["draw", "conv", "--in", "4", "-o", "a.svg"]) == 2
    assert capfd.readouterr().err.endswith("pass --force to replace it\n")
