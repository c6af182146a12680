"""`convsmith draw matrix, separable, mixing, cone, gridding, layer, field, gallery` as users do."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

import convsmith as cs
from convsmith.cli import main
from convsmith.draw import (
    animate,
    cone,
    cost_areas,
    effective_over,
    field_over,
    im2col,
    matrix,
    mixing,
    paths,
    separable,
)
from convsmith.draw.stacks import parse_stack

NET = """\
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4), nn.AvgPool2d(2),
        nn.ConvTranspose2d(4, 2, 2, stride=2),
    )
"""


def drawn(capfd, *words):
    """What is written to standard output."""
    status = main(["draw", *words])
    out, err = capfd.readouterr()
    assert status == 0 and err == "", err
    return out


@pytest.mark.parametrize(
    ("words", "make"),
    [
        ("matrix", lambda: matrix(cs.Conv(1, 1, 3), 4)),
        (
            "matrix --in 4x5 --kernel 2 --stride 2 --padding 1 --padding-mode reflect",
            lambda: matrix(cs.Conv(1, 1, 2, 2, 1, padding_mode="reflect"), (4, 5)),
        ),
        (
            "matrix --in 2 --transposed --stride 2 --language zh --theme dark",
            lambda: matrix(cs.ConvTranspose(1, 1, 3, 2), 2, language="zh", theme="dark"),
        ),
        ("matrix --in 3 --kernel 2 --groups 2", lambda: matrix(cs.Conv(2, 2, 2, groups=2), 3)),
        ("matrix --in 7 --dims 1", lambda: matrix(cs.Conv(1, 1, 3, dims=1), 7)),
        (
            "matrix --im2col --in 4 --channels 2:3 --dilation 2 --kernel 2",
            lambda: im2col(cs.Conv(2, 3, 2, dilation=2), 4),
        ),
        (
            "conv --in 2 --transposed --view matrix",
            lambda: matrix(cs.ConvTranspose(1, 1, 3), 2),
        ),
        ("separable", lambda: separable(cs.Conv(3, 4, 3), 5)),
        (
            "separable --in 128 --channels 3:10 --stride 2",
            lambda: separable(cs.Conv(3, 10, 3, 2), 128),
        ),
        ("separable --areas --channels 64:128", lambda: cost_areas(cs.Conv(64, 128, 3))),
        ("mixing --channels 6 --groups 3", lambda: mixing(6, 3)),
        ("cone 3 3 3", lambda: cone([cs.Conv(1, 1, 3)] * 3)),
        (
            "cone 3,max2 3d2 avg3s2",
            lambda: cone([cs.Conv(1, 1, 3), cs.Pool(2), cs.Conv(1, 1, 3, dilation=2),
                          cs.Pool(3, 2, kind="average")]),
        ),
        ("gridding 2,2,2", lambda: paths([2, 2, 2])),
        ("gridding 2,2,2 --repair", lambda: paths([2, 2, 2], repair=[1, 2, 3])),
        ("gridding 1,2 --repair", lambda: paths([1, 2])),
        ("gridding 2,2 --kernel 5 --beside 1,3", lambda: paths([2, 2], 5, repair=[1, 3])),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_drawn(capfd, words, make):
    assert drawn(capfd, *words.split()) == make().svg() + "\n"


def test_the_readers_own_numbers(here, capfd):
    (here / "a.json").write_text(json.dumps([[1, 2, 3], [4, 5, 6], [7, 8, 9]]))
    (here / "k.csv").write_text("1,0\n2,1\n")
    words = ["matrix", "--in", "3", "--kernel", "2", "--values", "a.json", "--weight", "k.csv"]
    scene = matrix(
        cs.Conv(1, 1, 2), 3, values=[[1, 2, 3], [4, 5, 6], [7, 8, 9]], weight=[[1, 0], [2, 1]]
    )
    assert drawn(capfd, *words) == scene.svg() + "\n"


def test_a_layer_of_a_network_with_its_own_weights(here, capfd):
    (here / "net.py").write_text(NET)
    space = {}
    exec(NET, space)
    model = space["net"]().double()
    first = model[0]
    scene = animate(
        cs.Conv(3, 4, 3, padding=1), 3, weight=first.weight.tolist(), bias=first.bias.tolist()
    )
    assert drawn(capfd, "layer", "net.py:net", "0") == scene.svg() + "\n"
    image = torch.tensor(
        [[[scene.values(f"input{c}")[r + 1, k + 1] for k in range(3)] for r in range(3)]
         for c in range(3)], dtype=torch.float64,
    )  # fmt: skip
    wanted = first(image[None])[0]
    for panel in scene.panels:
        if panel.name.startswith("output"):
            channel = int(panel.name.removeprefix("output"))
            for at, value in scene.values(panel.name).items():
                assert value == pytest.approx(wanted[channel][at].item(), abs=1e-6)
    pool = animate(cs.Pool(2), 6)
    assert drawn(capfd, "layer", "net.py:net", "2", "--in", "6") == pool.svg() + "\n"
    back = cs.ConvTranspose(4, 2, 2, 2)
    turned = matrix(back, (2, 3), weight=model[5].weight.tolist())
    words = ["layer", "net.py:net", "5", "--in", "2x3", "--matrix"]
    assert drawn(capfd, *words) == turned.svg() + "\n"
    assert drawn(capfd, "layer", "net.py:net", "4").count("<svg") == 1


def test_the_fields_of_a_network_over_an_image(here, capfd):
    (here / "net.py").write_text(NET)
    image = Image.new("RGB", (24, 16))
    for x in range(24):
        for y in range(16):
            image.putpixel((x, y), (x * 9, y * 13, 40))
    image.save(here / "a.png")
    pixels = [[list(image.getpixel((x, y))) for x in range(24)] for y in range(16)]
    words = ["field", "net.py:net", "--input", "1,3,16,24", "--image", "a.png"]
    out = drawn(capfd, *words, "--layer", "0", "--layer", "3")
    # A position in the middle, computed by hand: 3×3, then a pool of 2 and taps 2 apart.
    from convsmith.measure.receptive import true_field
    from convsmith.network import trace

    space = {}
    exec(NET, space)
    network = trace(space["net"](), (1, 3, 16, 24))
    names = [each.name for each in network if each.path in ("0", "3")]
    fields = {name: true_field(network, name).region for name in names}
    assert [tuple(b - a for a, b in region.hull) for region in fields.values()] == [
        (3, 3), (12, 12)
    ]  # fmt: skip
    assert out == field_over(pixels, fields).svg() + "\n"
    heat = drawn(capfd, *words, "--layer", "3", "--effective")
    from convsmith.measure.effective import effective_field

    tensor = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None] / 255
    found = effective_field(space["net"](), tensor, "3")
    assert heat == effective_over(pixels, found.map, name="3").svg() + "\n"
    plain = drawn(capfd, "field", "net.py:net", "--input", "1,3,16,24", "--language", "zh")
    assert plain.count("<image") == 1 and "感受野" in plain


@pytest.mark.parametrize("suffix", ["svg", "gif", "png", "html"])
def test_formats_follow_the_suffix(here, capfd, suffix):
    words = ["draw", "cone", "3", "3", "-o", f"a.{suffix}"]
    assert main(words) == 0
    assert capfd.readouterr() == ("", f"wrote a.{suffix}\n")
    first = (here / f"a.{suffix}").read_bytes()
    assert main(words) == 2
    assert "pass --force" in capfd.readouterr().err
    assert main([*words, "--force"]) == 0
    assert (here / f"a.{suffix}").read_bytes() == first


def test_the_gallery(here, capfd):
    assert main(["draw", "gallery", "pictures", "--language", "zh"]) == 0
    out, err = capfd.readouterr()
    assert out == "" and "pictures" in err
    assert len(list((here / "pictures").glob("*.svg"))) >= 60
    assert (here / "pictures" / "index.html").is_file()
    assert main(["draw", "gallery", "pictures"]) == 2
    assert "is not empty" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("matrix --in 2 --kernel 5", "no output: 5 taps"),
        ("matrix --in 2x2x2", "has 3 axes, and one or two can be drawn"),
        ("matrix --transposed --im2col --in 2", "im2col is drawn for a Conv of one group"),
        ("matrix --values no.json", "there is no file 'no.json'"),
        ("separable --channels a", "--channels 'a': expected IN:OUT"),
        ("mixing --channels 12", "2 to 8 channels can be drawn, not 12"),
        ("cone 3x", "'3x' is not a layer: expected 3 (a convolution)"),
        ("cone 3s2 3s2 3s2 3s2 3s2 3s2 3s2", "too wide for a cone"),
        ("cone 0", "kernel_size must be an integer of at least 1"),
        ("gridding 2,a", "RATES '2,a': expected rates such as 2,2,2"),
        ("gridding 4 --repair", "no 1 rates of this width leave no hole: 4"),
        ("gridding 2,2 --beside 1.5", "--beside '1.5': expected rates"),
        ("layer net.py:net 9", "net.py:net has no layer '9'"),
        ("layer net.py:net 1", "1 is a ReLU: a convolution, transposed convolution or pool"),
        ("layer net.py:nett 0", "nett"),
        ("field net.py:net --input 1,3,16", "as 1,3,224,224"),
        ("field net.py:net --input 1,3,16,24 --effective", "pass --image and one --layer"),
        ("field net.py:net --input 1,3,16,24 --layer conv", "net.py:net has no layer 'conv'"),
        ("field net.py:net --input 1,3,16,24 --image no.png", "there is no file 'no.png'"),
        ("cone 3 -o a.pdf", "a scene is saved as .svg"),
        ("cone 3 --language fr", "language must be one of 'en', 'zh', not 'fr'"),
        ("gallery net.py", "'net.py' is a file, and the gallery is a folder"),
        ("gallery new --theme blue", "theme must be one of"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(here, capfd, words, said):
    (here / "net.py").write_text(NET)
    before = sorted(path.name for path in here.iterdir() if path.name != "__pycache__")
    assert main(["draw", *words.split()]) in (1, 2)
    out, err = capfd.readouterr()
    assert out == "" and said in err and err.count("\n") == 1 and err.startswith("convsmith: ")
    assert "defect" not in err
    assert sorted(p.name for p in here.iterdir() if p.name != "__pycache__") == before


def test_layers_as_people_write_them():
    stack = parse_stack(["3s2d3p1", "max2", "avg3s2p1"])
    assert stack == [
        cs.Conv(1, 1, 3, 2, 1, 3), cs.Pool(2), cs.Pool(3, 2, 1, kind="average")
    ]  # fmt: skip


@pytest.mark.parametrize("words", [["matrix"], ["cone", "3", "3"], ["gridding", "2,2,2"]])
def test_drawing_needs_no_torch(run, words):
    code = (
        "import sys; sys.modules.update(torch=None, numpy=None)\n"
        "from convsmith.cli import main\n"
        f"sys.exit(main(['draw', *{words}, '-o', 'a.svg']))"
    )
    done = run(code=code)
    assert done.returncode == 0, done.stderr
