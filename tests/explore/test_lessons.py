"""Each lesson runs, in both languages, and its computed answers are those of PyTorch."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convsmith.errors import ArgumentError
from convsmith.explore.lessons import LESSONS, index_page, lesson, texts_of
from convsmith.explore.lessons.export import browser_wheel, for_browser
from convsmith.explore.script import EXAMPLE, read_script
from convsmith.explore.serve import EXPLORER
from tests.draw.markup import parse
from tests.explore.test_phrases import CHINESE, SLIP, fields

FRAMED = re.compile(r' srcdoc="[^"]*"')
NUMBERS = [each.number for each in LESSONS]
SLOW = [pytest.param(n, marks=[pytest.mark.slow] if n > 4 else []) for n in NUMBERS]


def loaded(number):
    path = lesson(number).path
    spec = importlib.util.spec_from_file_location(f"lesson_{number}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def run_all(number, language, monkeypatch):
    pytest.importorskip("marimo")
    monkeypatch.setattr(sys, "argv", [str(lesson(number).path), "--lang", language])
    outputs, names = loaded(number).run()
    assert names["page"].language == language
    # A stage is a page of its own within the lesson's, in both languages.
    shown = [FRAMED.sub("", output.text) for output in outputs if hasattr(output, "text")]
    return shown, names


def run(number, language, monkeypatch):
    shown, names = run_all(number, language, monkeypatch)
    return shown, names["answers"]


def tables(shown):
    """The tables of a page that have headings, as lists of rows of cells."""
    for output in shown:
        for table in parse(output).find("table"):
            if table.find("th"):
                yield [
                    [cell.text for cell in row.all() if cell.tag in ("th", "td")]
                    for row in table.find("tr")
                ]


def test_marimo_finds_nothing_to_correct():
    notebooks = [str(EXPLORER), *(str(each.path) for each in LESSONS)]
    done = subprocess.run(
        [sys.executable, "-m", "marimo", "check", "--strict", *notebooks],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def params(module):
    return sum(p.numel() for p in module.parameters())


def lesson_1(answers):
    image = torch.tensor([[4, 1, 7, 5], [4, 4, 2, 5], [7, 7, 2, 4], [1, 0, 2, 4]])[None, None]
    kernel = torch.tensor([[[[1, 0], [2, 1]]]])
    valid = F.conv2d(image.float(), kernel.float())[0, 0]
    same = F.conv2d(image.float(), kernel.float(), padding="same")[0, 0]
    assert answers["same"] == same.int().tolist()
    assert answers["same"] == [[16, 11, 16, 15], [25, 20, 10, 13], [9, 9, 10, 12], [1, 0, 2, 4]]
    assert (answers["q1"], answers["q2"]) == (valid[1, 1], same[3, 3])
    with torch.device("meta"):
        assert answers["q3"] == nn.Conv2d(1, 1, 7, 2, 3)(torch.zeros(1, 1, 224, 224)).shape[2]
        exercise = nn.Conv2d(3, 10, 3)
        assert answers["q4"] == exercise(torch.zeros(1, 3, 128, 128)).shape[2]
        assert answers["q5"] == params(exercise)
    assert answers["macs"] == 4 * 27 * 10 * 126 * 126
    assert answers["flops"] == 2 * answers["macs"] + 4 * 10 * 126 * 126


def lesson_2(answers):
    with torch.device("meta"):
        assert answers["q1"] == params(nn.Conv2d(64, 128, 3, groups=4, bias=False))
        pair = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 10, 1))
        out = pair(torch.zeros(1, 3, 128, 128))
        assert tuple(out.shape) == (1, 10, 126, 126) and answers["q2"] == out.shape[2]
        assert answers["q3"] == params(pair)
        forms = {
            "fully connected": nn.Linear(300, 3000),
            "standard": nn.Conv2d(3, 30, 10),
            "dilated": nn.Conv2d(3, 30, 10, dilation=2),
            "three groups": nn.Conv2d(3, 30, 10, groups=3),
            "one by one": nn.Conv2d(3, 30, 1),
            "in two": nn.Sequential(nn.Conv2d(3, 3, 10, groups=3), nn.Conv2d(3, 30, 1)),
        }
        assert {name: row[0] for name, row in answers["table"].items()} == {
            name: params(form) for name, form in forms.items()
        }
    counted = [row[0] for row in answers["table"].values()]
    assert counted == [903_000, 9_030, 9_030, 3_030, 120, 423]
    assert answers["q4"] == 9_030 - 423
    assert answers["pointwise"] == 224 * 224 * 100 * 50
    find_the_faults(answers)
    names = {"torch": torch, "nn": nn}
    for row in read_script(EXAMPLE):
        name, _, value = row.line.rpartition(" = ")
        made = names[name] = eval(value, names)
        if isinstance(made, nn.Module):
            assert row.weight == tuple(made.weight.shape), row
        else:
            shown = tuple(made.shape) if isinstance(made, torch.Tensor) else str(made)
            assert (row.shape or row.value) == shown, row


def find_the_faults(answers):
    """The code of the exercises does in torch what their answers say."""
    names = {"torch": torch, "nn": nn, "F": F}
    codes = {
        key: re.search(r"```python\n(.*?)```", texts_of(2)[key][0], re.DOTALL)[1]
        for key in ("q5", "q6", "q7", "q8")
    }
    for key, code in codes.items():
        assert code in texts_of(2)[key][1], "the code is the same in Chinese"
    made = dict(names)
    exec(codes["q5"], made)
    assert made["y"].shape[2] == answers["q5"] == 124
    with pytest.raises(SyntaxError) as raised:
        compile(codes["q6"], "q6", "exec")
    assert raised.value.lineno == answers["q6"]
    compile(codes["q6"].replace("x,shape", "x.shape"), "q6", "exec")
    with pytest.raises(RuntimeError, match=f"to have {answers['q7']} channels"):
        exec(codes["q7"], dict(names))
    exec(codes["q7"].replace("(3, 10, 3, 3)", "(10, 3, 3, 3)"), dict(names))
    image = torch.zeros(1, 3, 224, 224)
    assert eval(codes["q8"], names)(image).shape[2] == 224
    mended = codes["q8"].strip().replace(")", f", stride={answers['q8']})")
    assert eval(mended, names)(image).shape[2] == 112


def read_by(*rates):
    """The positions that a stack of 3 taps reads, by the gradient."""
    image = torch.zeros(1, 1, 2 * sum(rates) + 1, requires_grad=True)
    value = image
    for rate in rates:
        value = F.conv1d(value, torch.ones(1, 1, 3), dilation=rate)
    value.sum().backward()
    return image.grad[0, 0].nonzero().ravel().tolist(), image.shape[2]


def lesson_3(answers):
    assert answers["q1"] == read_by(*[1] * 10)[1] == len(read_by(*[1] * 10)[0])
    assert answers["q2"] == read_by(4)[1]
    assert answers["q3"] == read_by(1, 2, 4, 8)[1]
    assert answers["q4"] == len(read_by(2, 2, 2)[0]) ** 2 == 49
    assert answers["fields"] == [3, 5, 7] and answers["double"] == [3, 7, 15]
    assert answers["no holes"] == [len(read_by(1, 2, 3)[0]), len(read_by(1, 2, 5)[0])] == [13, 17]
    dilated = nn.Conv2d(3, 3, 3, groups=3, dilation=2, padding=2)
    assert answers["depthwise"] == tuple(dilated(torch.zeros(1, 3, 5, 5)).shape[2:]) == (5, 5)


def lesson_4(answers):
    kernel = torch.tensor([[[[1.0, 2, 1], [2, 1, 2], [1, 1, 2]]]])
    assert answers["q1"] == F.conv_transpose2d(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 3, 3)).max()
    grad = torch.autograd.functional.jacobian(
        lambda x: F.conv2d(x, kernel).ravel(), torch.zeros(1, 1, 4, 4)
    ).reshape(4, 16)
    assert answers["q2"] == grad.count_nonzero() and answers["shape"] == tuple(grad.shape)
    three = nn.ConvTranspose2d(1, 1, 3, 2, 1, 1)(torch.zeros(1, 1, 3, 3))
    assert answers["q3"] == three.shape[2] == 6
    stamp = F.conv_transpose2d(torch.tensor([[[[55.0]]]]), kernel)[0, 0].int().tolist()
    assert answers["stamp"] == stamp == [[55, 110, 55], [110, 55, 110], [55, 55, 110]]
    assert answers["agree"] is True
    before = torch.tensor(answers["before"], dtype=torch.float32)[None, None]
    after = F.conv_transpose2d(F.conv2d(before, kernel), kernel)
    assert answers["after"] == after[0, 0].int().tolist() != answers["before"]


def lesson_5(answers):
    pair = nn.Sequential(
        nn.Conv2d(64, 64, 3, groups=64, bias=False), nn.Conv2d(64, 128, 1, bias=False)
    )
    assert answers["q1"] == params(pair)
    before, after = answers["params"]
    assert before / after > 7
    scores = answers["scores"]
    assert scores["original"] > 0.97 and scores["tuned"] > 0.95 and scores["light"] > 0.9


def lesson_6(answers):
    assert (answers["q1"], answers["rows"]) == (4, 40)
    assert answers["exact"] and answers["difference"] < 1e-4
    assert answers["ious"]["new"] > answers["ious"]["old"] + 0.1


CHECKS = [lesson_1, lesson_2, lesson_3, lesson_4, lesson_5, lesson_6]


@pytest.mark.parametrize("number", SLOW)
def test_a_lesson_runs_and_its_answers_are_those_of_torch(number, monkeypatch):
    """In both languages, with tables that hold words and numbers."""
    runs = []
    for language in ("en", "zh"):
        with monkeypatch.context() as patch:
            made = drawn_tables(patch)
            runs.append(run(number, language, patch))
        check_tables(number, language, made)
    (shown, answers), (other, said) = runs
    CHECKS[number - 1](answers)
    assert said == answers or number > 4, "an answer depends on the language"
    assert len(shown) == len(other)
    assert not CHINESE.search("".join(shown).replace("中文", ""))
    assert CHINESE.search("".join(other))
    assert not re.search(r"(convolution|pooling) \d|, stride", "".join(other))
    assert "0.0e+00" not in "".join(shown)


PARAMETERS = ["in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation",
              "groups", "bias", "padding_mode"]  # fmt: skip


def drawn_tables(patch):
    """The tables that lessons draw from now on."""
    from convsmith.explore.lessons import LessonPage

    made, draw = [], LessonPage.table
    patch.setattr(
        LessonPage, "table", lambda *args, **more: made.append(draw(*args, **more)) or made[-1]
    )
    return made


def check_tables(number, language, made):
    texts = texts_of(number).values()
    prose = {text[("en", "zh").index(language)] for text in texts if len(text[0]) > 60}
    found = list(tables(html.text for html in made))
    assert len(found) == {1: 1, 2: 1, 5: 3, 6: 2}.get(number, 0)
    for heads, *rows in found:
        assert rows and all(len(row) == len(heads) for row in rows)
        for cell in (cell for row in (heads, *rows) for cell in row):
            assert cell not in prose and len(cell) <= 60 and "##" not in cell, cell
            assert "\n" not in cell.strip()
    if number == 1:
        assert [row[0] for row in found[0][1:]] == PARAMETERS


@pytest.mark.parametrize("number", NUMBERS)
def test_the_texts_of_a_lesson_say_the_same_in_both_languages(number):
    source = lesson(number).path.read_text("utf-8")
    for key, (english, chinese) in texts_of(number).items():
        assert set(fields(english)) == set(fields(chinese)), key
        assert not CHINESE.search(english), key
        assert not SLIP.search(re.sub(r"`[^`]*`", "", chinese)), key
        if key.startswith("q") and key.endswith((" why", " hint")):
            question = key.split()[0]
            assert f'"{question}"' in source
        else:
            assert f'"{key}"' in source or f"'{key}'" in source, f"{key!r} is never shown"
    for key in texts_of(number):
        if re.fullmatch(r"q\d", key):
            assert {f"{key} why", f"{key} hint"} <= texts_of(number).keys()


@pytest.mark.parametrize("number", NUMBERS)
def test_the_lessons_use_the_words_of_the_glossary(number):
    # But for the list of the words that others use.
    told = "".join(chinese for key, (_, chinese) in texts_of(number).items() if key != "names")
    for other in ("膨胀", "反卷积", "步长", "扩张", "可分卷积", "感知野", "补零数"):
        # A step that several rates share is none of a kernel.
        assert other not in told.replace("公共步长", ""), f"{other}: the glossary has another word"


def test_an_answer_is_said_right_and_wrong():
    import marimo as mo

    from convsmith.explore.lessons import LessonPage

    for language, right, wrong in (("en", "Right.", "Not yet."), ("zh", "正确。", "还不对。")):
        page = LessonPage(mo, 2, language)
        for value, said, other in ((18432, right, wrong), (1, wrong, right)):
            html = page.task("q1", mo.ui.number(value=value), 18432).text
            assert said in html and other not in html
        html = page.task("q1", mo.ui.number(), 18432).text
        assert right not in html and wrong not in html
    with pytest.raises(ArgumentError, match="no text 'q9'"):
        page.phrase("q9")


def test_lessons_1_to_4_need_no_torch(tmp_path):
    # The rooms of the wheel alone, where neither torch nor halide can be found.
    wheel = browser_wheel(tmp_path / "convsmith-0-py3-none-any.whl")
    assert wheel.read_bytes() == browser_wheel(tmp_path / "again.whl").read_bytes()
    code = (
        "import sys, runpy\n"
        f"sys.path.insert(0, {str(wheel)!r})\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'halide', 'sklearn'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "import convsmith; assert '.whl' in convsmith.__file__, convsmith.__file__\n"
        f"for path in {[str(each.path) for each in LESSONS if not each.torch]!r}:\n"
        "    runpy.run_path(path, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_lesson_for_the_browser_asks_for_the_wheel():
    for each in LESSONS[:4]:
        made = for_browser(each.path.read_text("utf-8"))
        assert '"convsmith @ ./convsmith-' in made and '"../style.css"' not in made
        compile(made, each.path.name, "exec")


def test_the_list_of_lessons():
    for language in ("en", "zh"):
        page = index_page(language)
        for each in LESSONS:
            assert each.title(language) in page and f'href="{each.number}/' in page
    with pytest.raises(ArgumentError, match="no lesson 7: choose 1 to 6"):
        lesson(7)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_cell_is_never_looked_up(number):
    from types import SimpleNamespace

    from convsmith.explore.lessons import LessonPage

    for language in ("en", "zh"):
        page = LessonPage(
            SimpleNamespace(Html=lambda text: SimpleNamespace(text=text)), number, language
        )
        for key in texts_of(number):
            _, (cell,) = next(tables([page.table([key], [[key]]).text]))
            assert cell == key


def test_the_two_pictures_of_the_separable_example_are_one_computation(monkeypatch):
    for language in ("en", "zh"):
        _, names = run_all(2, language, monkeypatch)
        half, whole = names["half"], names["whole"]
        for channel in range(3):
            assert whole.values(f"input{channel}") == half.values(f"output{channel}")
        assert len({panel.name for panel in whole.panels if panel.name.startswith("output")}) == 4
