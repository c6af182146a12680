"""`convsmith draw conv` as a user runs it: sizes, files, formats, one line for what is wrong."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

import convsmith as cs
from convsmith.cli import main
from convsmith.draw import animate
from convsmith.draw.options import parse_size
from convsmith.draw.reading import read_values
from convsmith.errors import ArgumentError

IMAGE = [[4, 1, 7, 5], [4, 4, 2, 5], [7, 7, 2, 4], [1, 0, 2, 4]]


def drawn(capfd, *words):
    """What is written to standard output."""
    assert main(["draw", "conv", *words]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def svg(scene, **options):
    return scene.svg(**options) + "\n"


@pytest.mark.parametrize(
    ("words", "layer", "size", "options"),
    [
        ("--in 7x7 --kernel 3 --dilation 2", cs.Conv(1, 1, 3, dilation=2), 7, {}),
        ("--in 7", cs.Conv(1, 1, 3), 7, {}),
        ("", cs.Conv(1, 1, 3), 7, {}),
        (
            "--in 5x6 --kernel 3x2 --stride 1x2 --padding 1x0 --dilation 1×2",
            cs.Conv(1, 1, (3, 2), (1, 2), (1, 0), (1, 2)),
            (5, 6),
            {},
        ),
        ("--in 5 --padding same --kernel 2", cs.Conv(1, 1, 2, padding="same"), 5, {}),
        ("--in 5 --padding valid", cs.Conv(1, 1, 3), 5, {}),
        ("--in 5 --padding 0:1x2:0", cs.Conv(1, 1, 3, padding=((0, 1), (2, 0))), 5, {}),
        (
            "--in 9 --dims 1 --padding 4:0 --dilation 2",
            cs.Conv(1, 1, 3, padding=((4, 0),), dilation=2, dims=1),
            9,
            {},
        ),
        ("--in 3x4x4 --kernel 2", cs.Conv(1, 1, 2, dims=3), (3, 4, 4), {}),
        ("--in 5 --channels 3:2", cs.Conv(3, 2, 3), 5, {}),
        ("--in 5 --channels 3,2 --bias 1,-2", cs.Conv(3, 2, 3), 5, {"bias": [1, -2]}),
        ("--in 5 --groups 3", cs.Conv(3, 3, 3, groups=3), 5, {}),
        ("--in 5 --groups 2 --channels 4", cs.Conv(4, 4, 3, groups=2), 5, {}),
        (
            "--in 4 --padding 1 --padding-mode reflect",
            cs.Conv(1, 1, 3, padding=1, padding_mode="reflect"),
            4,
            {},
        ),
        (
            "--in 3 --transposed --stride 2 --padding 1 --output-padding 1",
            cs.ConvTranspose(1, 1, 3, 2, 1, 1),
            3,
            {},
        ),
        (
            "--in 2x3 --transposed --stride 2 --view zeros --groups 2 --dilation 2",
            cs.ConvTranspose(2, 2, 3, 2, groups=2, dilation=2),
            (2, 3),
            {"view": "zeros"},
        ),
        ("--in 6 --pool max --kernel 2", cs.Pool(2), 6, {}),
        (
            "--in 6 --pool average --kernel 3 --stride 2 --padding 1 --ceil",
            cs.Pool(3, 2, 1, ceil_mode=True, kind="average"),
            6,
            {},
        ),
        ("--in 5 --language zh --theme dark", cs.Conv(1, 1, 3), 5,
         {"language": "zh", "theme": "dark"}),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_drawn(capfd, words, layer, size, options):
    assert drawn(capfd, *words.split()) == svg(animate(layer, size, **options))


def test_the_readers_own_numbers(here, capfd):
    (here / "a.json").write_text(json.dumps(IMAGE))
    (here / "a.csv").write_text("\ufeff4,1,7,5\n4,4,2,5\n\n7,7,2,4\n1,0,2,4,\n", encoding="utf-8")
    (here / "k.csv").write_text("1,0\n2,1\n")
    scene = animate(cs.Conv(1, 1, 2, padding="same"), 4, values=IMAGE, weight=[[1, 0], [2, 1]])
    words = ["--kernel", "2", "--padding", "same", "--weight", "k.csv"]
    for name in ("a.json", "a.csv"):
        assert drawn(capfd, "--values", name, *words) == svg(scene)
    (here / "line.json").write_text("[1, 2.5, 3, 4, 5]")
    line = animate(cs.Conv(1, 1, 3, dims=1), 5, values=[1, 2.5, 3, 4, 5])
    assert drawn(capfd, "--values", "line.json") == svg(line)
    (here / "rgb.json").write_text(json.dumps([IMAGE, IMAGE, IMAGE]))
    pool = animate(cs.Pool(2), 4, values=[IMAGE] * 3)
    assert drawn(capfd, "--values", "rgb.json", "--pool", "max", "--kernel", "2") == svg(pool)


def test_pixels_of_an_image(here, capfd):
    image = Image.new("RGB", (6, 4))
    pixels = {(x, y): (x * 40, y * 60, 7) for x in range(6) for y in range(4)}
    for at, colour in pixels.items():
        image.putpixel(at, colour)
    image.save(here / "a.png")
    planes = read_values("a.png", None, 3)
    assert planes == [[[pixels[x, y][c] for x in range(6)] for y in range(4)] for c in range(3)]
    grey = read_values("a.png", None, 1)
    assert grey == [[image.convert("L").getpixel((x, y)) for x in range(6)] for y in range(4)]
    assert drawn(capfd, "--values", "a.png") == svg(animate(cs.Conv(1, 1, 3), (4, 6), values=grey))
    small = read_values("a.png", (2, 3), 1)
    assert [len(small), len(small[0])] == [2, 3]
    out = drawn(capfd, "--values", "a.png", "--in", "3x3", "--channels", "3:1")
    assert out == svg(animate(cs.Conv(3, 1, 3), 3, values=read_values("a.png", (3, 3), 3)))


@pytest.mark.parametrize("suffix", ["svg", "gif", "png", "html"])
def test_files(here, capfd, suffix):
    words = ["draw", "conv", "--in", "4", "-o", f"a.{suffix}"]
    assert main(words) == 0
    assert capfd.readouterr() == ("", f"wrote a.{suffix}\n")
    first = (here / f"a.{suffix}").read_bytes()
    assert main(words) == 2
    assert f"'a.{suffix}' exists; pass --force" in capfd.readouterr().err
    assert main([*words, "--force"]) == 0
    assert (here / f"a.{suffix}").read_bytes() == first


def test_a_strip(here):
    assert main(["draw", "conv", "--in", "4", "--strip", "-o", "a.svg"]) == 0
    assert (here / "a.svg").read_text("utf-8") == svg(animate(cs.Conv(1, 1, 3), 4), strip=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--in 2 --kernel 5", "no output: 5 taps with dilation 1 span 5, but 2 input positions"),
        ("--in a", "--in 'a' is not a size: expected, say, 3 or 3x2"),
        ("--in 5 --kernel 3x", "--kernel '3x' is not a size"),
        ("--in 5 --kernel 0", "kernel_size must be an integer of at least 1"),
        ("--in 5 --padding sam", "--padding 'sam' is not a size: expected same, valid, or a size"),
        ("--in 5 --padding 1:2:3", "invalid --padding '1:2:3'"),
        ("--in 5 --channels 1:2:3", "--channels '1:2:3': expected IN:OUT"),
        ("--in 5 --channels 3:2 --groups 2", "groups must divide in_channels"),
        ("--in 5 --bias a", "--bias: 'a' is not a number"),
        ("--in 5 --output-padding 1", "--output-padding is for --transposed"),
        ("--in 5 --ceil", "--ceil is for --pool"),
        ("--in 5 --view zeros", "--view needs --transposed"),
        ("--in 5 --transposed --padding same", "a transposed convolution's padding is a number"),
        (
            "--in 5 --transposed --pool max",
            "--pool cannot be combined with --transposed or --groups",
        ),
        ("--in 5 --pool max --padding same", "a pool's padding is a number"),
        ("--in 5 --pool min", "kind must be one of 'max', 'average'"),
        ("--in 5 --language fr", "language must be one of 'en', 'zh', not 'fr'"),
        ("--in 5 --values oddd.json", "there is no file 'oddd.json'; did you mean 'odd.json'?"),
        ("--in 5 --values my.json", "values must be shaped 1×5×5, not 2×2"),
        ("--values odd.json", "ragged"),
        ("--values bad.json", "bad.json is not JSON"),
        ("--values bad.csv", "--values bad.csv: 'x' is not a number"),
        ("--values empty.csv", "empty.csv holds no numbers"),
        ("--values bad.png", "bad.png cannot be read as an image"),
        ("--values no.png", "there is no file 'no.png'"),
        ("--values my.txt", "--values is read from .csv or .json or an image, not from 'my.txt'"),
        ("--in 5 --weight a.png", "--weight is read from .csv or .json, not from 'a.png'"),
        ("--in 5 -o a.pdf", "a scene is saved as .svg, .gif, .png, .mp4, .html, not as 'a.pdf'"),
        ("--in 5 -o a.gif --strip", "a strip is still"),
        ("--in 5 -o no/a.svg", "no folder 'no'"),
        ("--in 5 --kernell 3", "--kernell"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(here, capfd, words, said):
    (here / "my.json").write_text("[[1, 2], [3, 4]]")
    (here / "odd.json").write_text("[[1, 2], [3]]")
    (here / "bad.json").write_text("[[1, 2")
    (here / "bad.csv").write_text("1,x\n")
    (here / "empty.csv").write_text("\n")
    (here / "bad.png").write_text("no image")
    before = sorted(p.name for p in here.iterdir())
    assert main(["draw", "conv", *words.split()]) in (1, 2)
    out, err = capfd.readouterr()
    assert out == "" and said in err and err.count("\n") == 1 and err.startswith("convsmith: ")
    assert "defect" not in err
    assert sorted(p.name for p in here.iterdir()) == before


def test_help_and_kinds(capfd):
    assert main(["draw", "--help"]) == 0
    assert re.search(r"^\s+conv\s", capfd.readouterr().out, re.MULTILINE)
    assert main(["draw", "conv", "--help"]) == 0
    assert "--padding-mode" in capfd.readouterr().out
    assert main(["draw"]) == 2
    assert main(["draw", "cnv"]) == 2
    assert "conv" in capfd.readouterr().err


def test_a_terminal_is_told_to_name_a_file(capfd, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["draw", "conv", "--in", "5"]) == 2
    assert "pass -o FILE" in capfd.readouterr().err


def test_sizes_are_read_in_one_way():
    assert parse_size("--in", "7") == 7
    assert parse_size("--in", "3x2") == parse_size("--in", "3X2") == parse_size("--in", "3,2")
    for text in ("", "x", "3x", "3.5", "a"):
        with pytest.raises(ArgumentError, match="--in"):
            parse_size("--in", text)


def test_drawing_needs_no_torch(run):
    code = (
        "import sys; sys.modules.update(torch=None, numpy=None)\n"
        "from convsmith.cli import main\n"
        "sys.exit(main(['draw', 'conv', '--in', '5', '-o', 'a.gif']))"
    )
    done = run(code=code)
    assert done.returncode == 0, done.stderr
    loaded = run(
        code="import sys, io; from convsmith.cli import main; sys.stdout = io.StringIO()\n"
        "main(['draw', 'conv', '--in', '5']); sys.stdout = sys.__stdout__\n"
        "print([m for m in ('torch', 'numpy', 'PIL', 'rich') if m in sys.modules])"
    )
    assert loaded.stdout.strip() == "[]"


ROW = [3, 1, 4, 1, 5, 9, 2, 6]
ONE = {"dims": 1}


@pytest.mark.parametrize(
    ("words", "layer", "size", "options"),
    [
        # The causal one of the documentation: a padding of one low:high is that of one axis.
        (
            "conv --in 8 --kernel 3 --dilation 2 --padding 4:0",
            cs.Conv(1, 1, 3, padding=((4, 0),), dilation=2), 8, {},
        ),
        ("conv --padding 1:2", cs.Conv(1, 1, 3, padding=((1, 2),)), 7, {}),
        ("conv --in 8 --padding 4:0 --dims 2", cs.Conv(1, 1, 3, padding=((4, 0),) * 2), 8, {}),
        ("conv --in 8x8 --padding 4:0", cs.Conv(1, 1, 3, padding=((4, 0),) * 2), 8, {}),
        (
            "conv --in 8 --padding 1:0 --pool max --kernel 2",
            cs.Pool(2, padding=((1, 0),)), 8, {},
        ),
        (
            "conv --in 4 --padding 1:0 --transposed --stride 2",
            cs.ConvTranspose(1, 1, 3, 2, ((1, 0),)), 4, {},
        ),
        ("conv --in 5 --kernel 2x2x2", cs.Conv(1, 1, (2, 2, 2)), 5, {}),
        ("conv --values row.csv", cs.Conv(1, 1, 3, **ONE), 8, {"values": ROW}),
        ("conv --values row.csv --in 8", cs.Conv(1, 1, 3, **ONE), 8, {"values": ROW}),
        ("conv --values row.json --in 8", cs.Conv(1, 1, 3, **ONE), 8, {"values": ROW}),
        (
            "conv --values row.csv --pool average --kernel 2",
            cs.Pool(2, kind="average", **ONE), 8, {"values": ROW},
        ),
        ("conv --values row.csv --kernel 1x3", cs.Conv(1, 1, (1, 3)), (1, 8), {"values": [ROW]}),
        (
            "conv --in 6 --weight taps.csv --kernel 2",
            cs.Conv(1, 1, 2, **ONE), 6, {"weight": [2, 5]},
        ),
    ],
)  # fmt: skip
def test_one_length_is_one_axis(here, capfd, words, layer, size, options):
    (here / "row.csv").write_text(",".join(map(str, ROW)))
    (here / "row.json").write_text(json.dumps(ROW))
    (here / "taps.csv").write_text("2,5")
    assert main(["draw", *words.split()]) == 0
    assert capfd.readouterr() == (svg(animate(layer, size, **options)), "")


@pytest.mark.parametrize(
    ("words", "make"),
    [
        (
            "matrix --in 6 --padding 2:0",
            lambda: cs.draw.matrix(cs.Conv(1, 1, 3, padding=((2, 0),)), 6),
        ),
        (
            "matrix --in 6 --padding 2:0 --im2col",
            lambda: cs.draw.im2col(cs.Conv(1, 1, 3, padding=((2, 0),)), 6),
        ),
        (
            "separable --in 6 --padding 2:0",
            lambda: cs.draw.separable(cs.Conv(3, 4, 3, padding=((2, 0),)), 6),
        ),
        (
            "separable --areas --in 6 --padding 2:0",
            lambda: cs.draw.cost_areas(cs.Conv(3, 4, 3, padding=((2, 0),))),
        ),
    ],
)
def test_so_it_is_in_every_drawing_of_a_layer(capfd, words, make):
    assert main(["draw", *words.split()]) == 0
    assert capfd.readouterr() == (svg(make()), "")
