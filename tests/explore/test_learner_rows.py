# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""What a learner checks, row by row, and where each is answered; every answer is in both languages.

An answer is a live stage, a picture or a line of a lesson. Stages and pictures are opened in
Chromium here; the lessons' lines are looked for in the texts here, and on the page by
`test_static_lessons`.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

import convsmith as cs
from convsmith import draw
from convsmith.draw.picture import picture
from convsmith.draw.scenes.stages import ready_stage
from convsmith.explore.lessons import texts_of
from convsmith.explore.pages import walk_page
from convsmith.explore.script import script_panel
from convsmith.explore.walk import Walk


class Live(NamedTuple):
    """A stage, the cell that is looked at, and what its page says there in both languages."""

    make: object
    place: str
    said: tuple[str, ...]


class Drawn(NamedTuple):
    """A picture whose numbers are checked by a test of its own, named here."""

    test: str


class Line(NamedTuple):
    """A line of a lesson: its number, the key of the text, and words of it."""

    lesson: int
    key: str
    english: str
    chinese: str


ready = partial(partial, ready_stage)
WEIGHT = [[[[1, 2, 1], [2, 1, 2], [1, 1, 2]]]]
CONV, TRANSPOSED = cs.Conv(1, 1, 3, bias=False), cs.ConvTranspose(1, 1, 3, bias=False)

# The rows of the family, then what is counted, then fields, then what learners asked.
ROWS = {
    "1 a standard convolution sums its channels": Live(
        lambda: draw.stage(cs.Conv(3, 2, 3), 5), "map=1&at=0,0", (") + (", "3×5×5 → 2×3×3")),
    "1 every size is one number or a pair": Line(1, "all", "one for rows", "行和列各给一个数"),
    "1 cost k·k·m·n·h′·w′": Line(1, "channels", "k·k·m·n·h′·w′", "k·k·m·n·h′·w′"),
    "2 by hand": Live(ready("hand"), "map=1&at=0,0", ("= 16", "4·1 + 1·0 + 4·2 + 4·1")),
    "2 an even kernel pads at the right and bottom": Live(
        ready("hand"), "map=1&at=3,3", ("= 4", "0·")),
    "3 depthwise: one kernel per channel": Live(
        lambda: draw.stage(cs.Conv(3, 3, 3, groups=3), 5), "map=1&channel=1&at=1,1",
        ("3×5×5 → 3×3×3", "9/9")),
    "3 a channel multiplier": Live(
        lambda: draw.stage(cs.Conv(2, 4, 3, groups=2), 5), "map=1&channel=3&at=0,0",
        ("2×5×5 → 4×3×3",)),
    "4 pointwise mixes channels at one position": Live(
        lambda: draw.stage(cs.Conv(3, 2, 1), 4), "map=1&at=2,2", ("1×1", "1/1")),
    "4 224×224×100 to 224×224×50": Line(2, "pointwise", "224×224×50", "224×224×50"),
    "5 separable: 3×5×5 to 4×3×3": Live(
        ready("separable"), "map=2&at=1,1", ("3×5×5 → 3×3×3 → 4×3×3", "27")),
    "5 1/n + 1/k²": Line(2, "separable", "1/n + 1/k²", "1/n + 1/k²"),
    "6 the exercise: 1×10×126×126": Line(2, "q2 why", "1×10×126×126", "1×10×126×126"),
    "7 groups never mix": Live(ready("grouped"), "map=1&channel=3&at=0,0", ("3×3", "9/9")),
    "7 groups must divide both": Line(2, "divide", "it divides 6, but not 4", "却不能整除 4"),
    "7 AlexNet, 2012": Line(2, "grouped", "AlexNet in 2012", "2012 年的 AlexNet"),
    "8 dilated: zeros between the taps": Live(
        ready("dilated"), "map=1&at=3,3", ("5×5", "9/25")),
    "8 k taps cover d·(k − 1) + 1": Line(3, "dilation", "d·(k − 1) + 1", "d·(k − 1) + 1"),
    "8 padding = d keeps the size": Live(ready("dilated"), "map=1&at=0,0", ("1×7×7 → 1×7×7",)),
    "9 dilated depthwise: 3×5×5 stays": Live(
        lambda: draw.stage(cs.Conv(3, 3, 3, padding=2, dilation=2, groups=3), 5),
        "map=1&at=2,2", ("3×5×5 → 3×5×5", "5×5", "9/25")),
    "10 transposed: 55 stamps": Live(ready("transposed"), "map=1&at=0,0", ("= 55", "55·1")),
    "10 2×2 to 4×4": Live(ready("transposed"), "map=1&at=0,0", ("1×2×2 → 1×4×4",)),
    "10 the matrix, 4×16 and 16×4": Drawn("test_the_matrix_maps_what_is_drawn"),
    "10 it restores the size, not the values": Line(
        4, "values", "the size returns", "尺寸回来了"),
    "11 a convolution as a matrix": Drawn("test_the_matrix_maps_what_is_drawn"),
    "11 which entry of the matrix is which weight?": Live(
        ready("matrix"), "map=1&at=0,0", ("= 47", "1×4×4 → 1×2×2")),
    "11 the transposed matrix": Live(
        ready("matrix_transposed"), "map=1&at=1,1", ("= 64", "1×2×2 → 1×4×4")),
    "11 where a column of im2col comes from": Live(
        ready("im2col"), "map=1&at=1,1", ("= 47", "9/9")),
    "11 im2col": Drawn("test_im2col_holds_the_windows_that_are_drawn"),
    "11 all ways agree": Line(4, "agree", "sliding window, matrix, im2col", "矩阵、im2col"),
    "counting: fully connected, standard, dilated, groups": Line(
        2, "table", "Six ways from 3 channels to 30", "从 3 通道到 30 通道"),
    "counting: 9,030 − 423": Line(2, "q4 why", "9,030 − 423 = 8,607", "9,030 − 423 = 8,607"),
    "counting: operations for a batch": Line(1, "count", "MACs", "MACs"),
    "field: 3, 5, 7": Line(3, "depth", "two layers see 5, three see 7", "三层看到 7 个"),
    "field: 3, 7, 15": Line(3, "double", "3, 7, 15", "3, 7, 15"),
    "field: 5×5 or 6×6?": Live(ready("field"), "map=2&at=0,0", ("5×5", "25/25", "81")),
    "field: why not the white cells?": Live(ready("gridding"), "map=2&at=5,5", ("9×9", "25/81")),
    "field: pooling multiplies": Live(ready("pooling"), "map=3&at=1,1", ("7×7", "49/49")),
    "field: thirty layers": Live(ready("wavenet"), "map=30&at=3071", ("3070/3070",)),
    "asked: did the map not shrink?": Line(
        3, "kept", "7×7 stays 7×7", "7×7 仍是 7×7"),
    "asked: are the groups added?": Line(
        2, "groups apart", "not added", "按通道拼接"),
    "asked: (N, C, H, W), unsqueeze(0), x.shape[1]": Line(
        2, "shapes", "(N, C, H, W)", "(N, C, H, W)"),
    "asked: (N, C, H, W) through every line of one's own code": Drawn(
        "test_the_shapes_of_ones_own_network_are_torchs"),
    "asked: (N, C, H, W) through the lines that one types": Drawn(
        "test_the_shapes_of_ones_own_lines_are_torchs"),
    "asked: the order of weights": Line(
        2, "order", "(out, in / groups, rows, columns)", "（输出通道，输入通道 / 组数，行，列）"),
    "asked: a pointwise layer of kernel 3": Line(
        2, "q5 why", "A pointwise kernel is 1×1", "逐点卷积的核是 1×1"),
    "asked: is dilation a kernel filled with zeros?": Live(
        ready("filled"), "map=1&at=3,3", ("5×5", "·0 + ")),
    "asked: 1×1 against 3×3 and 5×5": Line(2, "sizes", "5×5 takes", "5×5 需要"),
    "asked: why the cost holds": Live(ready("cost"), "map=1&at=1,1", (") + (", "9/9")),
    "asked: output padding": Line(4, "output padding", "adds size, no values", "只增加尺寸"),
    "asked: the checkerboard": Live(
        ready("checkerboard"), "map=1&at=4,4", ("= 4", "1·1 + 1·1 + 1·1 + 1·1")),
    "asked: which k and s leave none?": Line(
        4, "even", "covered equally often", "被盖到的次数都一样"),
    "asked: is dilation the same as 扩张率?": Line(1, "names", "dilation rate", "扩张率"),
}  # fmt: skip


def test_every_row_of_the_family_has_an_answer():
    numbered = {name.split()[0] for name in ROWS}
    assert {str(number) for number in range(1, 12)} <= numbered
    assert len(ROWS) >= 43
    assert all(row.test in globals() for row in ROWS.values() if isinstance(row, Drawn))


@pytest.mark.parametrize("language", ["en", pytest.param("zh", marks=pytest.mark.slow)])
def test_stages_and_pictures_answer_in_chromium(open_page, tmp_path, language):
    path = tmp_path / "page.html"
    page = None
    for name, row in ROWS.items():
        if not isinstance(row, Live):
            continue
        made = row.make()
        made.save(path, language=language, force=True)
        address = path.as_uri()
        # The address alone would not load the page again.
        where = f"#{row.place}"
        if page is None:
            page = open_page(address + where, 400 if language == "zh" else 1280)
        else:
            page.goto("about:blank")
            page.goto(address + where)
        page.locator(".result:not(:empty)").wait_for()
        parts = [page.locator(f".{part}").inner_text() for part in
                 ("facts", "result", "sum", "note")]  # fmt: skip
        said = " ".join(parts).replace("…", "")
        head = "输出" if language == "zh" else "output"
        assert said and head in parts[1], (name, said)
        for words in row.said:
            assert words in said, (name, words, said)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if isinstance(row, Line)])
def test_lessons_answer_in_both_languages(name):
    row = ROWS[name]
    english, chinese = texts_of(row.lesson)[row.key]
    assert row.english in english and row.chinese in chinese


# The numbers that are seen in a page's drawing, with their places in its own units.
SEEN = """step => {
  const range = document.querySelector("input");
  range.value = step;
  range.dispatchEvent(new Event("input"));
  return [...document.querySelectorAll(".cs-scene text")]
    .filter(each => each.checkVisibility({opacityProperty: true, visibilityProperty: true}))
    .map(each => [each.textContent, +each.getAttribute("x"), +each.getAttribute("y")]);
}"""


@pytest.fixture
def drawn(open_page, tmp_path):
    """The numbers of each panel in the last step, in a browser; 0 where a cell is bare."""

    def read(scene, language):
        path = scene.save(tmp_path / "scene.html", language=language, force=True)
        page = open_page(path.as_uri(), 400 if language == "zh" else 1280)
        seen = page.evaluate(SEEN, len(scene.steps) - 1)
        first = scene.panels[0]
        box = next(
            shape for shape in picture(scene, language).layers[0].shapes if shape.kind == "rect"
        )
        left, top = box.place[0] - first.x - 1, box.place[1] - first.y - 1
        found = {}
        for panel in scene.panels:
            rows, columns = panel.size
            found[panel.name] = values = torch.zeros(rows, columns, dtype=torch.float64)
            for text, x, y in seen:
                row, column = (y - top - panel.y) // panel.side, (x - left - panel.x) // panel.side
                if 0 <= row < rows and 0 <= column < columns:
                    values[int(row), int(column)] = float(text.replace("−", "-"))
        return found

    return read


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("layer", "size"), [(CONV, 4), (TRANSPOSED, 2)])
def test_the_matrix_maps_what_is_drawn(drawn, layer, size, language):
    shown = drawn(draw.matrix(layer, size, weight=WEIGHT), language)
    image, kernel = shown["input0"][None, None], shown["kernel0.0"][None, None]
    apply = F.conv_transpose2d if layer.transposed else F.conv2d
    assert torch.equal(kernel, torch.tensor(WEIGHT, dtype=torch.float64))
    expected = torch.autograd.functional.jacobian(lambda x: apply(x, kernel), image)
    matrix = shown["matrix"]
    assert torch.equal(matrix, expected.reshape(matrix.shape))
    assert matrix.shape == ((16, 4) if layer.transposed else (4, 16))
    result = apply(image, kernel)
    assert torch.equal(shown["x"].flatten(), image.flatten())
    assert torch.equal(shown["output0"], result[0, 0])
    assert torch.equal(shown["y"].flatten(), result.flatten())
    assert torch.equal(matrix @ shown["x"].flatten(), shown["y"].flatten())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_im2col_holds_the_windows_that_are_drawn(drawn, language):
    shown = drawn(draw.im2col(CONV, 4, weight=WEIGHT), language)
    image = shown["input0"][None, None]
    assert torch.equal(shown["patches"], F.unfold(image, 3)[0])
    assert torch.equal(shown["weights"].flatten(), torch.tensor(WEIGHT).double().flatten())
    assert torch.equal(shown["weights"] @ shown["patches"], shown["product"])
    kernel = torch.tensor(WEIGHT, dtype=torch.float64)
    assert torch.equal(shown["product"].flatten(), F.conv2d(image, kernel).flatten())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_shapes_of_ones_own_network_are_torchs(open_page, tmp_path, language):
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, groups=3), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.ConvTranspose2d(6, 4, 2, 2), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 5),
    ).eval()  # fmt: skip
    batch = torch.rand(2, 3, 8, 8)
    html = walk_page(Walk("mine", cs.inspect(model, batch.shape), {}), 0, language)
    path = tmp_path / "walk.html"
    path.write_text(f'<!doctype html><meta charset="utf-8">{html}', encoding="utf-8")
    page = open_page(path.as_uri(), 400 if language == "zh" else 1280)
    head = "形状，一行一行看" if language == "zh" else "Shapes, line by line"
    section = page.locator("section", has=page.get_by_text(head, exact=True))
    rows = [row.locator("td").all_inner_texts() for row in section.locator("tbody tr").all()]
    assert rows[0][2] == "2×3×8×8"
    if language == "zh":
        assert rows[4][0] == "3：转置卷积 2×2，步幅 2"
    value = batch
    for module, (_, weight, output) in zip(model, rows[1:], strict=True):
        value = module(value)
        assert output == "×".join(map(str, value.shape)), module
        windowed = isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))
        assert weight == ("×".join(map(str, module.weight.shape)) if windowed else "–")
    assert [row[1] for row in rows if row[1] != "–"] == ["6×1×3×3", "6×4×2×2"]


LINES = """
image = torch.rand(3, 32, 32)
x = image.unsqueeze(0)
dw = nn.Conv2d(3, 3, 3, groups=x.shape[1])
y = F.relu(dw(x))
pw = nn.Conv2d(in_channels=3, out_channels=10, kernel_size=1)
z = pw(y)
up = nn.ConvTranspose2d(10, 4, 2, stride=2)
w = up(z)
v = w.permute(0, 2, 3, 1)
u = w.flatten(1)
last = nn.Linear(u.shape[1], 5)
t = last(u)
"""


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_shapes_of_ones_own_lines_are_torchs(open_page, tmp_path, language):
    wrong = f"{LINES}r = pw(w)"
    path = tmp_path / "lines.html"
    html = script_panel(wrong, language)
    path.write_text(f'<!doctype html><meta charset="utf-8">{html}', encoding="utf-8")
    page = open_page(path.as_uri(), 400 if language == "zh" else 1280)
    rows = [row.locator("td").all_inner_texts() for row in page.locator("tbody tr").all()]
    names = {"torch": torch, "nn": torch.nn, "F": F}
    lines = LINES.strip().splitlines()
    assert [row[0] for row in rows] == lines
    for line, weight, shape in rows:
        exec(line, names)
        made = names[line.partition(" = ")[0]]
        if isinstance(made, torch.nn.Module):
            assert (weight, shape) == (str(tuple(made.weight.shape)), "–")
        else:
            assert (weight, shape) == ("–", str(tuple(made.shape)))
    with pytest.raises(RuntimeError, match="to have 3 channels, but got 4"):
        exec("r = pw(w)", names)
    refused = page.locator(".cs-problem").inner_text()
    said = "有 4 个" if language == "zh" else "expects 3 channels"
    assert said in refused and "r = pw(w)" in refused
