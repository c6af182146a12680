"""The matrix of a stage: torch's entries, and the cells of the maps that they are linked to."""

from __future__ import annotations

import re

import pytest
import torch

import convsmith as cs
from convsmith.draw.scenes.stages import ready_stage
from tests.draw.stages import applied, generator, random_layer
from tests.thoroughness import THOROUGH

# In one call per stage. What is lit is read from the paths, as [row, column] of each square.
LOOK = """([data, entries]) => {
  hand.load(data);
  const { matrix, stage } = hand;
  const lit = (name) => [...matrix.svg.querySelector("." + name).getAttribute("d")
    .matchAll(/M([-\\d.]+) ([-\\d.]+)/g)]
    .map(([, x, y]) => [(y - 14) / matrix.side, (x - matrix.left) / matrix.side].map(Math.round));
  const texts = [...matrix.svg.querySelectorAll("text.value, text.zero")]
    .filter(t => t.getAttribute("y") > 7).map(t => t.textContent);
  const ends = [0, 1].map((map) => [...stage.maps[map].values.keys()].map((at) => {
    hand.choose({ map, at: stage.place(map, at) });
    return lit(map ? "way" : "reader");
  }));
  return {
    table: matrix.table.map((row) => row.map(({ value }) => value)), texts, ends,
    entries: entries.map(([row, column]) => {
      matrix.go(row, column);
      return [hand.result.textContent, lit("here"), hand.hovered.at];
    }),
  };
}"""


def number(text):
    return float(text.replace("−", "-"))


@pytest.fixture
def page(open_page, tmp_path):
    path = ready_stage("matrix").save(tmp_path / "stage.html")
    page = open_page(path.as_uri(), 1280)
    page.locator(".result:not(:empty)").wait_for()
    return page


def random_stage(rng, matrix):
    """One layer whose matrix has room."""
    while True:
        dims, channels = rng.choice([1, 2, 2]), rng.randint(1, 2)
        layer = random_layer(rng, channels, dims)
        unfit = matrix == "im2col" and (
            layer.transposed or getattr(layer, "groups", 2) > 1 or layer.out_channels > 1
        )
        if isinstance(layer, cs.Pool) or unfit:
            continue
        size = tuple(rng.randint(2, 8 if dims == 1 else 4) for _ in range(dims))
        torch.manual_seed(rng.randrange(2**31))
        try:
            return cs.draw.stage(
                layer, size, matrix=matrix,
                values=torch.randint(-9, 10, (channels, *size)).tolist(),
                weights=[torch.randint(-9, 10, layer.weight_shape).tolist()],
            )  # fmt: skip
        except cs.ArgumentError:
            continue


def double(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("matrix", ["matrix", "im2col"])
def test_entries_and_what_they_light_are_torchs(page, matrix):
    rng = generator(31)
    for _ in range(60 if THOROUGH else 12):
        stage = random_stage(rng, matrix)
        (layer,), image, weight = stage.layers, double(stage.values), double(stage.weights[0])
        reads = torch.autograd.functional.jacobian(
            lambda x: applied(layer, x[None], torch.ones_like(weight), None)[0], image  # noqa: B023
        ).reshape(-1, image.numel())  # fmt: skip
        if matrix == "matrix":
            expected = torch.autograd.functional.jacobian(
                lambda x: applied(layer, x[None], weight, None)[0], image  # noqa: B023
            ).reshape(reads.shape)  # fmt: skip
        else:  # a column is a window: weights that are one apart pick its values
            ones = torch.eye(weight.numel(), dtype=torch.float64).reshape(-1, *weight.shape[1:])
            wide = cs.Conv(layer.in_channels, weight.numel(), layer.kernel_size, layer.stride,
                           layer.padding, layer.dilation, 1, False, layer.padding_mode)  # fmt: skip
            expected = applied(wide, image[None], ones, None)[0].flatten(1)
        entries = [[r, c] for r in range(expected.shape[0]) for c in range(expected.shape[1])]
        asked = rng.sample(entries, min(6, len(entries)))
        found = page.evaluate(LOOK, [stage.to_dict(), asked])
        assert torch.equal(double(found["table"]), expected), stage
        assert [number(text) for text in found["texts"]] == expected.flatten().tolist()
        inputs, outputs = found["ends"]
        for at, lit in enumerate(outputs):
            line = 0 if matrix == "matrix" else 1
            assert lit == [entry for entry in entries if entry[line] == at]
        for at, lit in enumerate(inputs):
            if matrix == "matrix":
                assert lit == [[row, at] for row in reads[:, at].nonzero().flatten().tolist()]
            else:
                assert len(lit) == int(reads[:, at].sum())
        for (row, column), (said, lit, place) in zip(asked, found["entries"]):
            assert lit == [[row, column]]
            name = "matrix" if matrix == "matrix" else "im2col"
            assert said.startswith(f"{name}[{row}, {column}] = ")
            assert number(said.split(" = ")[1].split(" ")[0]) == expected[row, column]
            output = row if matrix == "matrix" else column
            shape = (*[1] * (3 - layer.dims), *layer.output_size(stage.size))
            lifted = (layer.out_channels, *shape)
            assert place == [int(n) for n in torch.unravel_index(torch.tensor(output), lifted)]


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", ["matrix", "matrix_transposed", "im2col"])
def test_an_entry_is_touched(open_page, tmp_path, name, language, width):
    path = ready_stage(name, language=language).save(tmp_path / "stage.html")
    page = open_page(path.as_uri(), width)
    page.locator(".result:not(:empty)").wait_for()
    left, side = page.evaluate("[hand.matrix.left, hand.matrix.side]")
    page.locator(".matrix").hover(position={"x": left + 1.5 * side, "y": 14 + 0.5 * side})
    result = page.locator(".result")
    head = "im2col" if name == "im2col" else "matrix" if language == "en" else "矩阵"
    assert result.inner_text().startswith(f"{head}[0, 1] = ")
    assert ("input[" if language == "en" else "输入[") in result.inner_text()
    page.mouse.move(2, 2)
    assert not result.inner_text().startswith(head)
    page.locator(".matrix").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.locator(".spoken").inner_text().startswith(f"{head}[1, 1] = ")
    page.locator(".matrix").click(position={"x": left + 0.5 * side, "y": 14 + 0.5 * side})
    page.mouse.move(2, 2)
    where = "output[0, 0]" if language == "en" else "输出[0, 0]"
    assert result.inner_text().startswith(where)
    # Numbers change with the input and the weights, and every label stands clear of its neighbour.
    page.evaluate("hand.choose({map: 0, at: [0, 0, 0, 0]}); hand.paste('-8')")
    text = page.locator(".matrix").text_content()
    assert ("−8" in text) is (name == "im2col")
    boxes = page.evaluate(
        "[...document.querySelectorAll('.matrix text')].map(t => t.getBBox())"
        ".map(b => [b.x, b.y, b.x + b.width, b.y + b.height])"
    )
    for at, (x, y, right, bottom) in enumerate(boxes):
        for x2, y2, right2, bottom2 in boxes[at + 1 :]:
            apart = right <= x2 or right2 <= x or bottom <= y2 + 4 or bottom2 <= y + 4
            assert apart, (x, y, x2, y2)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.evaluate(
        "['result', 'play', 'sheet'].every(name => { const b = document.querySelector('.' + name)"
        ".getBoundingClientRect(); return b.top >= 0 && b.bottom <= innerHeight + 0.5; })"
    )
    assert shown


REFUSED = [
    (([cs.Conv(1, 1, 3)] * 2, 6), "matrix", "shows one convolution"),
    ((cs.Pool(2), 4), "matrix", "shows one convolution"),
    ((cs.Conv(1, 1, 3), 4), "toeplitz", "matrix must be one of"),
    ((cs.ConvTranspose(1, 1, 3), 2), "im2col", "one kernel"),
    ((cs.Conv(1, 2, 3), 4), "im2col", "one kernel"),
    ((cs.Conv(1, 1, 3), 9), "matrix", r"49×81 is too large to show: at most 1,024 entries"),
]


@pytest.mark.parametrize(("args", "matrix", "message"), REFUSED)
def test_what_is_no_matrix_is_refused(args, matrix, message):
    with pytest.raises(cs.ArgumentError, match=message):
        cs.draw.stage(*args, matrix=matrix)
    model = cs.draw.stage(cs.Conv(1, 1, 3), 4).to_dict()
    assert "matrix" not in model


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", ["matrix", "matrix_transposed", "im2col"])
def test_the_numbers_of_a_matrix_can_be_read_and_stay_in_their_cells(
    open_page, tmp_path, name, width
):
    page = open_page(ready_stage(name).save(tmp_path / "stage.html").as_uri(), width)
    page.locator(".result:not(:empty)").wait_for()
    sizes, wide, side = page.evaluate(
        """() => {
          const texts = [...hand.matrix.svg.querySelectorAll("text.value, text.zero")];
          return [texts.map(t => Number(t.getAttribute("font-size"))),
            texts.map(t => t.getBBox().width), hand.matrix.side];
        }"""
    )
    assert max(wide) <= side
    if side >= 17:  # a matrix of 16 columns scrolls on a telephone rather than being smaller
        assert min(sizes) >= 8


def test_pages_with_a_matrix_are_small_too():
    for name in ("matrix", "matrix_transposed", "im2col"):
        html = ready_stage(name).html()
        assert len(html.encode()) <= 60_000
        assert re.search(r"default-src 'none'", html)
