"""The live stage in a browser: its numbers are torch's, and everything can be reached."""

from __future__ import annotations

import re
from math import isinf, prod

import pytest
import torch

import convsmith as cs
from convsmith.draw.live.activations import ACTIVATIONS
from convsmith.draw.scenes.stages import STAGES, ready_stage
from tests.draw.stages import generator, maps, random_stage, ways
from tests.thoroughness import THOROUGH

STACK = [cs.Conv(1, 1, 3), cs.Conv(1, 1, 3)]
# In one call, so that a browser is asked a few times only.
LOOK = """([stages, cells]) => stages.map((data, at) => {
  hand.load(data);
  const { stage } = hand;
  const said = (selected) => {
    const [result, sum, note] = hand.said(selected);
    return [result, sum.map((part) => part.textContent).join(""), note];
  };
  return {
    maps: stage.maps.map(({ channels, size, values }) => [[channels, ...size], [...values]]),
    cells: cells[at].map(([map, index]) => {
      const selected = { map, at: stage.place(map, index) };
      hand.choose(selected);
      const { field, readers } = hand.looked, texts = {};
      for (const language of ["en", "zh"]) {
        hand.language = language;
        texts[language] = said(selected);
      }
      hand.language = "en";
      return {
        field: field.slice(0, map).map((ways) => [...ways]),
        readers: readers.slice(map + 1).map((ways) => [...ways]), texts,
        shown: hand.result.textContent,
      };
    }),
  };
})"""


def answered(page):
    """The first paint comes before the numbers."""
    page.locator(".result:not(:empty)").wait_for()


@pytest.fixture
def opened(open_page, tmp_path):
    def open_stage(stage, width=1280, hash_="", **dress):
        path = stage.save(tmp_path / "stage.html", force=True, **dress)
        page = open_page(path.as_uri() + hash_, width)
        answered(page)
        return page

    return open_stage


def number(text):
    return float(text.replace("−", "-").replace(",", "").replace("∞", "inf"))


def computed(text):
    """What a written sum comes to."""
    text = re.sub(r"\b(bias|偏置) ", "", text.removeprefix("= "))
    text = text.replace("−∞", "-inf").replace("−", "-").replace("·", "*")
    names = {"__builtins__": {}, "inf": float("inf"), "max": lambda *n: max(n), **ACTIVATIONS}
    return float(eval(text, names))


def test_values_fields_readers_and_sums_are_torchs(opened):
    page = opened(cs.draw.stage(STACK, 6))
    rng = generator(20)
    count = 500 if THOROUGH else 50
    for start in range(0, count, 50):
        stages = [random_stage(rng) for _ in range(min(50, count - start))]
        expected = [maps(stage) for stage in stages]
        cells = [
            [(m, rng.randrange(values[m].numel())) for m in rng.choices(range(len(values)), k=4)]
            for values in expected
        ]
        for stage, values, asked, found in zip(
            stages,
            expected,
            cells,
            page.evaluate(LOOK, [[stage.to_dict() for stage in stages], cells]),
        ):
            _check(stage, values, asked, found)


def _check(stage, values, asked, found):
    for tensor, (shape, numbers) in zip(values, found["maps"], strict=True):
        lifted = [tensor.shape[0], *[1] * (3 - stage.layers[0].dims), *tensor.shape[1:]]
        assert shape == lifted, stage
        # The same products in another order.
        torch.testing.assert_close(
            torch.tensor(numbers, dtype=torch.float64), tensor.flatten(), rtol=1e-12, atol=1e-9
        )
    shapes = [tuple(tensor.shape) for tensor in values]
    for (m, index), cell in zip(asked, found["cells"], strict=True):
        back, forward = ways(stage, shapes, m, index)
        assert cell["field"] == [each.flatten().tolist() for each in back], stage
        assert cell["readers"] == [each.flatten().tolist() for each in forward], stage
        assert cell["shown"] == cell["texts"]["en"][0]
        for language, (result, written, note) in cell["texts"].items():
            _check_texts(stage, values, m, index, back, forward, result, written, note, language)


def _check_texts(stage, values, m, index, back, forward, result, written, note, language):
    value = float(values[m].flatten()[index])
    shown = number(result.partition(" = ")[2])
    # One below 0.001 is written with two digits.
    assert shown == value or abs(shown - value) <= 0.05 * abs(value) + 1e-12, result
    if abs(value) >= 0.001:
        assert abs(shown - value) <= 0.006 * abs(value), result
    whole = all(float(each).is_integer() for each in values[m - 1].flatten()[:2000])
    if m and whole and "…" not in written:
        # Whole numbers are written in full: the sum comes to the value.
        assert computed(written) == pytest.approx(value), (written, value)
    if m:
        field = back[0]
        if field.any():
            read = field.sum(0) > 0
            places = read.nonzero()
            span = (places.max(0).values - places.min(0).values + 1).tolist()
            box = "×".join(map(str, span))
            share = f"{int(read.sum())}/{prod(span)}"
            assert re.search(rf"(?<![\d×]){box}(?![\d×])", note) and share in note, (note, box)
            if m > 1:
                assert f"{int(field.sum()):,}" in note or field.sum() >= 1e9
        else:
            assert ("padding alone" if language == "en" else "只读到填充") in note
    counts = [int((each > 0).sum()) for each in forward]
    listed = [n for n in counts if n]
    if forward and not listed:
        assert ("No value" if language == "en" else "没有任何值") in note
    if listed:
        readers = note.split("Read by" if language == "en" else "读取它的有")[1]
        told = re.findall(r"(\d+) value" if language == "en" else r"的 (\d+) 个值", readers)
        assert [int(n) for n in told] == listed
    assert not isinf(value) or "∞" in result


def test_a_stage_opens_at_a_link_and_keeps_the_link_up_to_date(opened):
    page = opened(cs.draw.stage(STACK, 6), hash_="#map=1&at=0,2")
    assert page.locator(".result").inner_text().startswith("map 1[0, 2] = ")
    page.locator(".picture").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".result").inner_text().startswith("map 1[1, 2] = ")
    assert page.url.endswith("#map=1&at=1,2")
    page.locator(".other").click()
    assert page.locator(".result").inner_text().startswith("特征图 1[1, 2] = ")
    assert page.url.endswith("#map=1&at=1,2&language=zh")
    page.evaluate("location.hash = '#map=2&at=1,1'")
    page.wait_for_function("hand.result.textContent.startsWith('输出[1, 1]')")
    page.evaluate("location.hash = '#map=7&at=x'")  # what is not there changes nothing
    assert page.locator(".result").inner_text().startswith("输出[1, 1]")


def test_the_pointer_shows_and_leaves(opened):
    page = opened(cs.draw.stage(STACK, 6), hash_="#map=2&at=0,0")
    first = page.locator(".result").inner_text()
    corner = page.evaluate("hand.drawn.corner(0, [0, 0, 2, 2])")
    page.locator(".picture").hover(position={"x": corner[0] + 5, "y": corner[1] + 5})
    assert page.locator(".result").inner_text().startswith("input[2, 2]")
    assert page.locator(".note").inner_text() == (
        "Read by 9 values of map 1, 4 values of the output."
    )
    lit = page.evaluate(
        "[...document.querySelectorAll('path.reader')].map(p => p.getAttribute('d'))"
    )
    assert any(lit)
    page.mouse.move(2, 2)
    assert page.locator(".result").inner_text() == first


def test_keys_reach_every_map_and_kernel_and_are_told(opened):
    page = opened(cs.draw.stage([cs.Conv(2, 2, 3), cs.Pool(2)], 6), hash_="#map=0&at=0,0")
    page.locator(".picture").focus()
    heads = []
    for _ in range(4):
        heads.append(page.locator(".result").inner_text().partition(" =")[0])
        assert page.locator(".spoken").inner_text().startswith(heads[-1])
        page.keyboard.press("PageDown")
    assert heads == ["input[0, 0, 0]", "weight[0, 0, 0, 0]", "map 1[0, 0, 0]", "output[0, 0, 0]"]
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")  # past the last row lies the next channel
    assert page.locator(".result").inner_text().startswith("output[1, 0, 1] = ")


def test_a_number_typed_changes_all_that_follows(opened):
    page = opened(cs.draw.stage(STACK[0], 4, values=[[0] * 4] * 4, weights=[[[1] * 3] * 3]),
                  hash_="#map=0&at=1,1")  # fmt: skip
    page.locator(".picture").focus()
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    assert page.evaluate("[...hand.stage.maps[1].values]") == [7, 7, 7, 7]
    assert page.locator(".result").inner_text().startswith("input[1, 2] = 0")
    page.keyboard.press("PageDown")
    page.keyboard.type("-2")
    page.keyboard.press("Enter")
    assert page.evaluate("[...hand.stage.maps[1].values]") == [7, 7, 7, -14]
    page.keyboard.type("1x")
    page.keyboard.press("Enter")
    assert page.locator(".editor").get_attribute("aria-invalid") == "true"
    page.keyboard.press("Escape")
    page.evaluate("hand.choose({map: 0, at: [0, 0, 0, 0]}); hand.paste('1\\t2\\n3\\t4')")
    assert page.evaluate("[...hand.stage.maps[0].values].slice(0, 6)") == [1, 2, 0, 0, 3, 4]
    page.locator(".reset").click()
    assert not page.evaluate("[...hand.stage.maps[0].values].some(Boolean)")


# What is pasted, where, and what the input or the kernel holds then, and what is told.
PASTED = [
    ("1 2\n3 4", None, [1, 2, 0, 3, 4, 0, 0, 0, 0], ""),
    ("tensor([[1., 2.], [3., -4.]], dtype=torch.float64)", None, [1, 2, 0, 3, -4, 0, 0, 0, 0], ""),
    ("[[1 2]\n [3 4]]", None, [1, 2, 0, 3, 4, 0, 0, 0, 0], ""),
    ("\uff11;\u22122", None, [1, -2, 0, 0, 0, 0, 0, 0, 0], ""),
    ("1e9999 2", None, [0, 2, 0, 0, 0, 0, 0, 0, 0], "1 of 2 numbers found a place."),
    ("how are you?", None, [0] * 9, "'how are you?' is not a number."),
    ("", None, [0] * 9, "'' is not a number."),
    ("1 2 3 4\n5 6 7 8", None, [1, 2, 3, 5, 6, 7, 0, 0, 0], "6 of 8 numbers found a place."),
    ("1 2 3\n4 5 6", {"map": 0, "at": [0, 0, 2, 1]}, [0, 0, 0, 0, 0, 0, 0, 1, 2],
     "2 of 6 numbers found a place."),
    ("5 6\n7 8", {"kernel": 0, "slice": 0, "tap": [0, 0, 0]}, [5, 6, 7, 8], ""),
    ("[1 2; 3 4]", None, [1, 2, 0, 3, 4, 0, 0, 0, 0], ""),
    ("tensor([[5.]], device='cuda:0', grad_fn=<AddBackward0>)", None, [5] + [0] * 8, ""),
    # Spreadsheets: decimal commas, an empty cell, and what may be a thousand or a one.
    ("1,5\t0,125\r\n3,5\t4\r\n", None, [1.5, 0.125, 0, 3.5, 4, 0, 0, 0, 0], ""),
    ("1,5;2,5\n3,5;-4,5", None, [1.5, 2.5, 0, 3.5, -4.5, 0, 0, 0, 0], ""),
    ("1\t\t3", None, [1, 0, 3, 0, 0, 0, 0, 0, 0], ""),
    ("1,000\t2", None, [0, 2, 0, 0, 0, 0, 0, 0, 0], "1 of 2 numbers found a place."),
]  # fmt: skip


def test_what_learners_paste(opened):
    page = opened(cs.draw.stage(cs.Conv(1, 1, 2), 3, values=[[0] * 3] * 3, weights=[[[1] * 2] * 2]))
    for text, where, expected, told in PASTED:
        page.locator(".reset").click()
        values, note = page.evaluate(
            """([text, where]) => {
              hand.choose(where ?? {map: 1, at: [0, 0, 0, 0]});
              hand.paste(text);
              return [[...where?.tap ? hand.stage.layers[0].weight : hand.stage.maps[0].values],
                hand.note.textContent];
            }""",
            [text, where],
        )
        assert values == expected, text
        assert told in note and (told or "not a number" not in note), (text, note)


def test_all_channels_of_a_tensor_and_a_column_are_pasted(opened):
    page = opened(cs.draw.stage(cs.Conv(2, 1, 2), 2))
    image = torch.arange(8.0).reshape(2, 2, 2)
    page.evaluate("text => hand.paste(text)", str(image))
    assert page.evaluate("[...hand.stage.maps[0].values]") == image.flatten().tolist()
    page = opened(cs.draw.stage(cs.Conv(1, 1, 2, dims=1), 4))
    page.evaluate("hand.paste('4\\n3\\n2\\n1\\n')")
    assert page.evaluate("[...hand.stage.maps[0].values]") == [4, 3, 2, 1]


def test_what_cannot_be_done_is_told(opened):
    page = opened(cs.draw.stage(STACK, 6))
    picture = page.locator(".picture")
    picture.focus()
    page.keyboard.type("7")  # an output is chosen
    assert "computed" in page.locator(".note").inner_text()
    assert page.locator(".spoken").inner_text() == page.locator(".note").inner_text()
    page.evaluate("hand.choose({map: 0, at: [0, 0, 0, 0]})")
    page.keyboard.press("Enter")
    page.locator(".editor").fill("1,5")
    page.keyboard.press("Enter")
    assert page.evaluate("hand.stage.maps[0].values[0]") == 1.5
    dropped = """([content, name, type]) => {
      const data = new DataTransfer();
      if (name) data.items.add(new File([content], name, {type}));
      else data.setData("text", content);
      const drop = new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
      document.querySelector("h1").dispatchEvent(drop);
      return drop.defaultPrevented;
    }"""
    assert page.evaluate(dropped, ["%PDF-1.7", "homework.pdf", "application/pdf"])
    note = page.locator(".note")
    note.filter(has_text="homework.pdf is not an image.").wait_for()
    page.evaluate(dropped, ["GIF89a", "cat.gif", "image/gif"])  # cut off
    note.filter(has_text="cat.gif is not an image.").wait_for()
    page.evaluate(dropped, ["9,8\n7,6", "numbers.csv", "text/csv"])
    page.locator(".result").filter(has_text=" = 9").wait_for()
    page.evaluate(dropped, ["5 4", None, None])
    # After the comma the next cell was chosen.
    assert page.evaluate("[...hand.stage.maps[0].values.slice(0, 3)]") == [1.5, 5, 4]


@pytest.mark.parametrize(
    ("layers", "size", "value"),
    [
        ([cs.Conv(1, 1, 1)], 1, 1e300),
        ([cs.Conv(1, 1, 3, padding=1)], 1, -123456789),
        ([cs.Conv(1, 1, 5, padding=2)] * 2, 2, 1e-12),
        ([cs.ConvTranspose(1, 1, 4, 4), cs.Pool(4)], 1, 0),
        ([cs.Conv(1, 1, 1, dims=3)], 1, 1e308),
        ([cs.Pool(3, 1, 1)], 1, -5),
    ],
)
def test_the_smallest_maps_and_the_largest_numbers_are_drawn(opened, layers, size, value):
    page = opened(cs.draw.stage(layers, size), 400)
    page.evaluate("value => { hand.stage.maps[0].values.fill(value); hand.put(hand.slotted ??"
                  " {values: [], from: 0}, []); }", value)  # fmt: skip
    page.evaluate("for (let step = 0; step < hand.steps; step++) hand.goto(step)")
    assert not page.evaluate("/NaN|undefined|Infinity/.test(document.body.innerText)")
    wide = page.evaluate(
        "[...document.querySelectorAll('.values text')].every(t => "
        "t.getBBox().width <= hand.drawn.plan.side)"
    )
    assert wide and page.evaluate("document.documentElement.scrollWidth") <= 400


def test_the_maps_are_drawn_once_while_the_page_opens(chromium, tmp_path):
    path = cs.draw.stage([cs.Conv(1, 1, 3, padding=1)] * 3, 16).save(tmp_path / "stage.html")
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.add_init_script(
        """window.drawings = 0;
        new MutationObserver((changes) => changes.forEach(({ addedNodes }) => {
          for (const { classList } of addedNodes) drawings += classList?.contains("cone") ? 1 : 0;
        })).observe(document, { childList: true, subtree: true });"""
    )
    page.goto(path.as_uri())
    answered(page)
    page.evaluate("() => new Promise((done) => setTimeout(done, 100))")
    assert page.evaluate("drawings") == 1
    page.close()


@pytest.mark.parametrize("padding", [1, ((2, 0), (0, 3)), ((1, 2), (3, 1))])
def test_dashes_are_around_a_map_and_not_under_it(opened, padding):
    layer = cs.Conv(1, 1, 3, padding=padding)
    page = opened(cs.draw.stage([layer], (5, 4)))
    d = page.locator("path.pad").get_attribute("d")
    left, top, side = page.evaluate("[...hand.drawn.corner(0, [0, 0, 0, 0]), hand.drawn.plan.side]")
    edges = set()
    for x, y, way, far in re.findall(r"M([-.\d]+) ([-.\d]+)([hv])([-.\d]+)", d):
        start = [round((float(x) - left) / side), round((float(y) - top) / side)]
        for _ in range(round(float(far) / side)):
            edges.add((*start, way))
            start["hv".index(way)] += 1
    (above, below), (before, after) = layer.padding
    every = {
        (x, y, way)
        for x in range(-before, 4 + after + 1)
        for y in range(-above, 5 + below + 1)
        for way, inside in (("h", x < 4 + after), ("v", y < 5 + below))
        if inside
    }
    under = {(x, y, "h") for x in range(4) for y in range(6)}
    under |= {(x, y, "v") for x in range(5) for y in range(5)}
    assert edges == every - under


def test_it_walks_in_order(opened):
    page = opened(cs.draw.stage(STACK, 6))
    page.evaluate("hand.goto(0)")
    heads = []
    for _ in range(18):
        heads.append(page.locator(".result").inner_text().partition(" =")[0])
        page.locator(".next").click()
    assert heads[0] == "map 1[0, 0]" and heads[15] == "map 1[3, 3]"
    assert heads[16:] == ["output[0, 0]", "output[0, 1]"]
    page.locator(".play").click()
    page.wait_for_function("hand.timer")
    page.locator(".play").click()
    assert page.evaluate("hand.timer") == 0
    page.evaluate("hand.goto(3)")
    texts = "[...document.querySelectorAll('[data-rest=\"1\"] text.value')].map(t => t.textContent)"
    known = page.evaluate(texts)
    assert all(known[:4]) and not any(known[4:])
    page.locator(".picture").focus()
    page.keyboard.press("ArrowLeft")
    assert all(page.evaluate(texts))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("layers", "size"),
    [
        (STACK, 6),
        ([cs.Conv(3, 3, 3, groups=3), cs.Conv(3, 4, 1)], 5),
        ([cs.Conv(4, 4, 3, padding=1, groups=2)], 4),
        ([cs.Conv(1, 1, 2, padding=((2**i, 0),), dilation=2**i, dims=1) for i in range(4)], (16,)),
        ([cs.ConvTranspose(1, 1, 3, 2)], 3),
    ],
)
def test_at_400_pixels_nothing_is_out_of_sight(opened, layers, size, language):
    page = opened(cs.draw.stage(layers, size), 400, language=language)
    seen = page.evaluate(
        """() => ["picture", "result", "sum", "note", "play", "position", "reset"].map((name) => {
          const box = document.querySelector("." + name).getBoundingClientRect();
          return [name, box.left >= 0, box.top >= 0, box.right <= innerWidth + 0.5,
            box.bottom <= innerHeight + 0.5];
        })"""
    )
    assert all(all(rest) for _, *rest in seen), seen
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    # Numbers can be read: none of these is drawn in shades instead.
    assert page.evaluate("hand.drawn.plan.side") >= 15


def test_lines_pass_under_labels(opened):
    layers = [cs.Conv(1, 1, 3, padding=((2**i * 2, 0),), dilation=2**i, dims=1) for i in range(3)]
    page = opened(cs.draw.stage(layers, 16), 400)
    assert page.locator("path.links").get_attribute("d")
    under, halo = page.evaluate(
        """() => {
          const [links, fact] = ["path.links", ".fact"].map((each) => document.querySelector(each));
          return [links.compareDocumentPosition(fact), getComputedStyle(fact).strokeWidth];
        }"""
    )
    assert (under, halo) == (4, "4px")


def test_a_photograph_becomes_the_input(opened):
    page = opened(cs.draw.stage(cs.Conv(3, 1, 3), 8))
    page.evaluate(
        """async () => {
          const canvas = Object.assign(document.createElement("canvas"), {width: 8, height: 8});
          const context = canvas.getContext("2d");
          context.fillStyle = "rgb(200, 100, 50)";
          context.fillRect(0, 0, 8, 8);
          await hand.photograph(await new Promise((done) => canvas.toBlob(done)));
        }"""
    )
    values = page.evaluate("[...hand.stage.maps[0].values]")
    assert values == [200] * 64 + [100] * 64 + [50] * 64
    assert page.locator("image.photo").count() == 3  # it lies under each channel


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("zh", 400)])
def test_a_network_of_ones_own_has_torchs_maps_and_its_theoretical_field(opened, language, width):
    torch.manual_seed(5)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU6(),
        torch.nn.MaxPool2d(2), torch.nn.Conv2d(8, 8, 3, groups=8), torch.nn.Conv2d(8, 4, 1),
        torch.nn.SiLU(),
    ).eval()  # fmt: skip
    report = cs.inspect(model, (1, 3, 16, 16))
    stage = report.stage(language=language)
    page = opened(stage, width, "#map=4&at=3,3")
    value = torch.tensor(stage.values, dtype=torch.float64)[None]
    expected = [value]
    for module in model.double():
        value = module(value)
        expected.append(value)
    for map_, index in enumerate((0, 3, 4, 5, 7)):
        found = page.evaluate(f"[...hand.stage.maps[{map_}].values]")
        torch.testing.assert_close(
            torch.tensor(found, dtype=torch.float64), expected[index].detach().flatten(),
            rtol=1e-6, atol=1e-6,
        )  # fmt: skip
    box = "×".join(map(str, report.local_receptive_field.size))
    head = "theoretical receptive field " if language == "en" else "理论感受野 "
    assert head + box in page.locator(".facts").inner_text()
    assert box in page.locator(".note").inner_text()
    assert page.locator(".sum").inner_text().startswith("= silu(")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_can_be_fixed(opened, theme):
    page = opened(cs.draw.stage(STACK, 6), theme=theme)
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == theme


# What the documentation says of each: where to look, and what is read there in either language.
ANSWERS = {
    "hand": ("map=1&at=0,0", "= 16", ["4·1 + 1·0 + 4·2 + 4·1", "2×2"]),
    "field": ("map=2&at=0,0", "= ", ["5×5", "25/25", "81"]),
    "dilated": ("map=1&at=3,3", "= ", ["5×5", "9/25"]),
    "filled": ("map=1&at=3,3", "= ", ["5×5", "25/25", "·0 + "]),
    "cost": ("map=1&at=1,1", "= ", [") + (", "3×3", "9/9"]),
    "gridding": ("map=2&at=5,5", "= ", ["9×9", "25/81"]),
    "pooling": ("map=3&at=1,1", "= ", ["7×7", "49/49"]),
    "grouped": ("map=1&channel=3&at=0,0", "= ", ["3×3", "9/9"]),
    "separable": ("map=2&channel=1&at=1,1", "= ", ["3×3", "9/9", "27"]),
    "transposed": ("map=1&at=0,0", "= 55", ["55·1", "1/1"]),
    "matrix": ("map=1&at=0,0", "= 47", ["3×3", "9/9"]),
    "matrix_transposed": ("map=1&at=1,1", "= 64", ["2×2", "4/4"]),
    "im2col": ("map=1&at=1,1", "= 47", ["3×3", "9/9"]),
    "checkerboard": ("map=1&at=4,4", "= 4", ["1·1 + 1·1 + 1·1 + 1·1", "4/4"]),
    "causal": ("map=4&at=15", "= ", ["16/16"]),
    "wavenet": ("map=30&at=3071", "= ", ["3070/3070"]),
    "volume": ("map=1&at=0,1,1", "= ", ["2×2×2", "8/8"]),
}


def test_every_ready_stage_has_an_answer():
    assert ANSWERS.keys() == STAGES.keys()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_ready_stage_answers_its_question(opened, name, language):
    where, result, said = ANSWERS[name]
    stage = ready_stage(name, language=language)
    page = opened(stage, 400 if language == "zh" else 1280, "#" + where)
    ready = STAGES[name]
    assert page.locator("h1").inner_text() == (ready.chinese if language == "zh" else ready.english)
    told = [page.locator(f".{part}").inner_text() for part in ("result", "sum", "note")]
    assert result in told[0]
    for words in said:
        assert words in " ".join(told), told
    if name == "grouped":  # channel 3 reads its own group alone
        channels = page.evaluate("[...new Set(hand.stage.terms(1, 3 * 9).map(t => t.channel))]")
        assert channels == [2, 3]
    if name == "filled":  # the dilated kernel, with zeros between
        assert stage.maps()[1] == ready_stage("dilated").maps()[1]
    if name == "cost":  # k·k·m products
        assert page.evaluate("hand.stage.terms(1, 4).length") == 3 * 3 * 3
    if name == "checkerboard":
        assert set(page.evaluate("[...hand.stage.maps[1].values]")) == {1, 2, 4}
    if name == "field":  # together the four outputs read all of the input
        fields = page.evaluate("[0, 1, 2, 3].map((index) => [...hand.stage.field(2, index)[0]])")
        assert all(sum(map(bool, field)) == 25 for field in fields)
        assert all(any(counts) for counts in zip(*fields, strict=True))
