"""The live stage in Python: what it is made from, what it refuses, how large its page is."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

import convsmith as cs
from convsmith.arithmetic import evaluate
from convsmith.cli import main
from convsmith.draw.live.page import _OWN, _words, page
from tests.draw.stages import generator, maps, random_stage, ways

STACK = [cs.Conv(1, 1, 3), cs.Conv(1, 1, 3)]


def test_the_page_is_small_and_asks_no_one_for_anything():
    stage = cs.draw.stage(STACK, 6)
    html = page(stage.to_dict())
    data = len(json.dumps(stage.to_dict(), separators=(",", ":")))
    assert len(html.encode()) - data <= 60_000
    assert "default-src 'none'" in html
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)
    assert not re.search(r"https?://(?!www\.w3\.org)", html)
    assert html == cs.draw.stage(STACK, 6).html()
    # Three layers of 16×16 fit with their data.
    three = cs.draw.stage([cs.Conv(1, 1, 3, padding=1)] * 3, 16)
    assert len(three.html().encode()) <= 60_000


def test_what_the_page_shortens_is_no_name_of_the_data():
    rng = generator(4)
    for stage in (random_stage(rng) for _ in range(30)):
        assert not set(_OWN) & set(re.findall(r'"(\w+)":', json.dumps(stage.to_dict())))
    assert not set(_OWN) & set(re.findall(r"{(\w+)}", json.dumps(_words(True))))


def test_what_the_page_is_made_from_is_plain_and_whole():
    rng = generator(1)
    for _ in range(30):
        stage = random_stage(rng)
        plain = json.loads(json.dumps(stage.to_dict(), allow_nan=False))
        assert plain == stage.to_dict()
        for layer, each in zip(stage.layers, plain["layers"]):
            kind = {"conv": cs.Conv, "transposed": cs.ConvTranspose}.get(each["kind"], cs.Pool)
            words = {k: v for k, v in each.items() if k not in ("name", "kind", "activation")}
            if kind is cs.Pool:
                words["kind"] = each["kind"]
            words["padding"] = tuple(map(tuple, words["padding"]))
            assert kind(**words, dims=layer.dims) == layer


def test_maps_are_torchs():
    rng = generator(2)
    for _ in range(30):
        stage = random_stage(rng)
        for ours, theirs in zip(stage.maps(), maps(stage), strict=True):
            np.testing.assert_allclose(np.array(ours, float), theirs.numpy(), rtol=1e-12, atol=1e-9)


def test_numbers_of_ones_own_and_the_usual_ones():
    image = np.arange(16).reshape(4, 4)
    stage = cs.draw.stage(STACK[0], 4, values=image, weights=[np.eye(3)], biases=[[5]])
    assert stage.maps()[1] == evaluate(STACK[0], [image.tolist()], [[np.eye(3).tolist()]], [5])
    assert cs.draw.stage(cs.Pool(2), 4, values=np.ones((3, 4, 4))).to_dict()["channels"] == 3
    assert cs.draw.stage(cs.Pool(2), 4, values=image).to_dict()["channels"] == 1
    # One layer shows the numbers that `animate` shows.
    scene = cs.draw.animate(STACK[0], 5)
    alone = cs.draw.stage(STACK[0], 5).maps()[1][0]
    assert [alone[r][c] for r in range(3) for c in range(3)] == list(
        scene.values("output0").values()
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cs.draw.stage([], 6), "a chain needs layers"),
        (lambda: cs.draw.stage(["3"], 6), "a stage shows Conv, ConvTranspose and Pool, not '3'"),
        (lambda: cs.draw.stage([cs.Conv(1, 2, 3), cs.Conv(3, 1, 3)], 6), "channels that match"),
        (lambda: cs.draw.stage(STACK, 4), "no output: 3 taps"),
        (lambda: cs.draw.stage(STACK, 6, values=[[1]]), "values must be shaped 1×6×6, not 1×1"),
        (lambda: cs.draw.stage(STACK, 6, weights=[None]), "one entry for each of 2 layers, not 1"),
        (lambda: cs.draw.stage(STACK, 6, weights=[[[1]], None]), r"weights\[0\] must be shaped"),
        (lambda: cs.draw.stage(cs.Pool(2), 4, weights=[[[1]]]), r"weights\[0\] must be None"),
        (lambda: cs.draw.stage(STACK, 6, biases=[[1, 2], None]), r"biases\[0\] must have 1 value"),
        (lambda: cs.draw.stage(STACK, 6, values=[[float("nan")] * 6] * 6), "must hold numbers"),
        (lambda: cs.draw.stage(cs.Conv(1, 17, 3), 6), "at most 16 channels, not 17"),
        (lambda: cs.draw.stage(STACK, 2000), "are too many for a stage"),
        (lambda: cs.draw.stage(STACK), "needs the spatial size of its input"),
        (lambda: cs.draw.stage(torch.nn.Conv2d(1, 1, 3), 6), r"stage\(cs.inspect\(model"),
        (lambda: cs.draw.stage(STACK, 6, values=[[1]], image="a.png"), "either values or an image"),
        (
            lambda: cs.draw.stage(cs.Conv(1, 1, 3, dims=1), 6, image="a.png"),
            "an image has two axes",
        ),
        (lambda: cs.draw.stage(STACK, 6, language="de"), "language must be one of"),
        (lambda: cs.draw.stage(STACK, 6).save("stage.tif"), "printed as .svg.* not as 'stage.tif'"),
        (lambda: cs.draw.stage(STACK, 6).save("a.html", strip=True), "a strip is a picture"),
        (lambda: cs.draw.stage(STACK, 99).scene(), "at most 2,500 are printed"),
        (lambda: cs.draw.stage(cs.Conv(1, 1, 2, dims=3), 4).scene(), "this one has three axes"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(make, said):
    with pytest.raises(cs.ArgumentError, match=said) as raised:
        make()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("channels", "pixels"), [(3, (200, 100, 50)), (2, (124, 124))])
def test_a_photograph_is_the_input_and_lies_under_it(tmp_path, channels, pixels):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (24, 24), (200, 100, 50)).save(tmp_path / "a.png")
    stage = cs.draw.stage(cs.Conv(channels, 1, 3), 6, image=str(tmp_path / "a.png"))
    assert stage.values == [[[pixel] * 6] * 6 for pixel in pixels]
    assert stage.photo.startswith("data:image/png;base64,") and stage.photo in stage.html()


def test_a_title_cannot_end_the_script():
    stage = cs.draw.stage(STACK, 6, title="</script><script>alert(1)</script>")
    html = stage.html()
    assert html.count("<script>") == html.count("</script>") == 1
    assert "<title>&lt;/script&gt;" in html


def test_in_a_notebook_it_stands_in_a_frame():
    shown = cs.draw.stage(STACK, 6)._repr_html_()
    assert shown.startswith('<iframe sandbox="allow-scripts"') and "<script>" not in shown


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        ("3 3 --in 6x6", "1×6×6 1×4×4 1×2×2"),
        ("dw3 1c4 --in 5x5 --channels 3", "3×5×5 3×3×3 4×3×3"),
        ("3g2p1 --in 4x4 --channels 4", "4×4×4 4×4×4"),
        ("2d1p1:0 2d2p2:0 --in 16 --dims 1", "1×16 1×16 1×16"),
        ("3,max2,t2s2 --in 6x6 --language zh", "1×6×6 1×4×4 1×2×2 1×4×4"),
        ("2x1 --in 3x4x4", None),
    ],
)
def test_the_command(tmp_path, capsys, words, sizes):
    path = tmp_path / "page.html"
    status = main(["draw", "stage", *words.split(), "-o", str(path)])
    told = capsys.readouterr().err
    if sizes is None:
        assert status == 2 and told.count("\n") == 1 and not path.exists()
        return
    assert status == 0, told
    data = json.loads(re.search(r"const STAGE=(\{.*?\}),\s*WORDS=", path.read_text("utf-8"))[1])
    stack = [len(data["values"]), *data["size"]]
    assert "×".join(map(str, stack)) == sizes.split()[0]
    assert len(data["layers"]) == len(sizes.split()) - 1


def test_a_print_shows_the_values_and_fields_of_the_stage():
    rng = generator(4)
    printed = 0
    while printed < 25:
        stage = random_stage(rng)
        sizes = [len(np.ravel(values)) for values in stage.maps()]
        if len(stage.size) == 3 or sum(sizes) > 2500:
            continue
        printed += 1
        scene = stage.scene()
        tensors = maps(stage)
        shapes = [tuple(each.shape) for each in tensors]
        for at, tensor in enumerate(tensors):
            for channel in range(tensor.shape[0]):
                cells = scene.panel(f"map{at}.{channel}").cells
                real = [cell.value for cell in cells if cell.role != "padding"]
                np.testing.assert_allclose(np.array(real, float), tensor[channel].ravel().numpy())
        # The last step is the last value of the first channel.
        last = tensors[-1][0].numel() - 1
        back, _ = ways(stage, shapes, len(shapes) - 1, last)
        for at, field in enumerate(back):
            counts = field.reshape(field.shape[0], -1)
            for channel in range(field.shape[0]):
                panel = scene.panel(f"map{at}.{channel}")
                places = [cell.at for cell in panel.cells if cell.role != "padding"]
                lit = {
                    cell for mark in scene.steps[-1].marks if mark.panel == panel.name
                    for cell in mark.cells
                }  # fmt: skip
                read = counts[channel].nonzero().ravel().tolist()
                assert lit == {places[index] for index in read}, stage


@pytest.mark.parametrize("suffix", ["svg", "png", "gif"])
def test_the_command_prints(tmp_path, suffix):
    if suffix != "svg":
        pytest.importorskip("PIL")
    path = tmp_path / f"a.{suffix}"
    words = ["draw", "stage", "3", "max2", "--in", "6x6", "--language", "zh", "-o", str(path)]
    assert main(words) == 0
    again = path.read_bytes()
    assert main([*words, "--force"]) == 0 and path.read_bytes() == again
    if suffix == "svg":
        assert "6×6 输入中的 4×4".encode() in again


def test_the_command_refuses_other_formats_and_writes_to_a_pipe(capsys, tmp_path):
    assert main(["draw", "stage", "3", "-o", str(tmp_path / "a.tif")]) == 2
    assert "a stage is saved as .html" in capsys.readouterr().err
    # An option is called by its own name.
    assert main(["draw", "stage", "3", "--in", "6", "--weights", "w.txt", "-o", "-"]) == 2
    assert "--weights is read from .csv or .json" in capsys.readouterr().err
    assert main(["draw", "stage", "3", "-o", "-"]) == 0
    assert capsys.readouterr().out.startswith("<!doctype html>")
