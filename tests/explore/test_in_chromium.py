"""The explorer and every lesson, driven in a browser: no error in the console, nothing fetched."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from convsmith.explore.lessons import LESSONS
from tests.accessibility import check_accessible
from tests.explore.test_learner_rows import ROWS, Line
from tests.thoroughness import NIGHTLY

pytestmark = pytest.mark.slow


def slider(page, name):
    return page.locator("marimo-slider", has_text=re.compile(name)).get_by_role("slider").first


def press(page, name, key, times=1):
    slider(page, name).focus()
    for _ in range(times):
        page.keyboard.press(key)


def query(page):
    return {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}


def says(page, selector, text):
    page.locator(selector).filter(has_text=text).first.wait_for()


@pytest.mark.parametrize("width", [400, 1100])
def test_a_control_changes_the_figures_the_picture_and_the_address(explorer, open_page, width):
    page = open_page(explorer, width)
    says(page, ".cs-summary", "1×3×3")
    before = page.locator("img.cs-animation").get_attribute("alt")
    press(page, "Input size", "ArrowRight", 2)
    says(page, ".cs-summary", "1×5×5")
    page.wait_for_function(
        "old => document.querySelector('img.cs-animation')?.alt !== old", arg=before
    )
    press(page, "Dilation", "ArrowRight")
    says(page, ".cs-summary", "1×3×3")
    says(page, ".cs-formula", "2·(3 − 1) − 1")
    page.wait_for_url("**dilation=2**")
    assert query(page) == {"size": "7", "dilation": "2"}
    wide = page.evaluate("document.querySelector('#App').scrollWidth")
    assert wide <= width, "the page is wider than the window"


def test_where_there_is_no_output_one_line_says_why(explorer, open_page):
    page = open_page(explorer + "?size=4")
    says(page, ".cs-summary", "1×2×2")
    press(page, "Kernel size", "ArrowRight", 2)
    says(page, ".cs-problem", "kernel spans 5 = 1·(5 − 1) + 1")
    assert page.locator("img.cs-animation").count() == 0
    press(page, "Kernel size", "ArrowLeft", 2)
    says(page, ".cs-summary", "1×2×2")


def test_an_address_opens_what_it_says_and_the_language_switches(explorer, open_page):
    page = open_page(explorer + "?in=3&out=10&size=128")
    says(page, ".cs-summary", "10×126×126")
    says(page, ".cs-code", "nn.Conv2d(3, 10, 3)")
    figures = page.locator(".cs-figures").inner_text()
    page.get_by_text("中文").click()
    says(page, ".cs-section", "输出尺寸")
    says(page, ".cs-summary", "10×126×126")
    assert query(page) == {"lang": "zh", "in": "3", "out": "10", "size": "128"}
    numbers = re.compile(r"\d[\d,]*")
    assert numbers.findall(page.locator(".cs-figures").inner_text()) == numbers.findall(figures)


def test_the_kind_of_layer_brings_its_own_controls(explorer, open_page):
    page = open_page(explorer)
    says(page, ".cs-summary", "1×3×3")
    page.get_by_label("Kind of layer").select_option("Transposed convolution")
    says(page, ".cs-summary", "1×7×7")
    page.locator("img.cs-animation").nth(1).wait_for()
    says(page, ".cs-section h2", "Stamps that add up")
    says(page, ".cs-section h2", "Zeros between")
    says(page, ".cs-section h2", "The matrix, transposed")
    page.get_by_label("Kind of layer").select_option("Max pooling")
    says(page, ".cs-note", "Pooling has no parameters")
    page.get_by_label("Start from").select_option("Depthwise convolution")
    says(page, ".cs-code", "groups=3")
    assert page.get_by_label("Kind of layer").input_value() != ""


def test_predict_then_reveal(explorer, open_page):
    page = open_page(explorer + "?in=3&out=10&size=128&predict=1")
    says(page, ".cs-note", "Write down your guess")
    assert page.locator(".cs-formula").count() == 0 and page.locator("img").count() == 0
    for label, value in (("Rows", "126"), ("Columns", "126"), ("Parameters", "270")):
        field = page.locator("marimo-number", has_text=label).locator("input").first
        field.fill(value)
        field.press("Enter")
    page.get_by_role("button", name="Reveal").click()
    says(page, ".cs-guess .wrong", "it is 280")
    page.locator(".cs-guess .right").nth(1).wait_for()
    press(page, "Kernel size", "ArrowRight")
    says(page, ".cs-note", "Write down your guess")


def test_a_stack_grows_and_its_holes_show(explorer, open_page):
    page = open_page(explorer + "?view=stack")
    says(page, ".cs-lead", "Only 49 of its 169 positions")
    says(page, ".cs-lead", "1, 2, 3")
    page.get_by_label("Start from").select_option("Doubling: 1, 2, 4")
    says(page, ".cs-lead", "15×15")
    page.get_by_role("button", name="Add a layer").click()
    says(page, ".cs-lead", "23×23")
    page.wait_for_url("**stack=3-3d2-3d4-3d4**")
    page.get_by_role("button", name="Remove the last").click()
    says(page, ".cs-lead", "15×15")


@pytest.mark.parametrize("width", [400, 1100])
def test_the_maps_of_a_stack_answer(explorer, open_page, width):
    page = open_page(explorer + "?view=stack&stack=3-3", width)
    stage = page.frame_locator("iframe.cs-live")
    stage.locator(".facts").filter(has_text="1×6×6 → 1×4×4 → 1×2×2").wait_for()
    assert "5×5 of the 6×6 input" in stage.locator(".note").inner_text()
    stage.locator(".picture").focus()
    page.keyboard.press("PageUp")
    stage.locator(".result").filter(has_text=re.compile(r"^(map 1|weight)\[")).wait_for()
    field = page.locator("marimo-number", has_text="Size of the input").locator("input").first
    field.fill("9")
    field.press("Enter")
    stage.locator(".facts").filter(has_text="1×9×9 → 1×7×7 → 1×5×5").wait_for()
    page.wait_for_url("**extent=9**")
    assert page.evaluate("document.querySelector('#App').scrollWidth") <= width


def test_a_layer_can_be_touched(explorer, open_page):
    page = open_page(explorer + "?live=1&size=7&dilation=2&lang=zh")
    stage = page.frame_locator("iframe.cs-live")
    stage.locator(".result").filter(has_text="输出[1, 1]").wait_for()
    assert "读 9/25 个位置" in stage.locator(".note").inner_text()
    page.get_by_text("点格子").click()
    page.locator("img.cs-animation").wait_for()


def test_a_network_is_walked(explorer, open_page):
    page = open_page(explorer + "?view=model")
    says(page, ".cs-lead", "Layer 1 of 11")
    press(page, "Walk", "ArrowRight", 3)
    says(page, ".cs-lead", "Layer 4 of 11")
    says(page, ".cs-facts", "relu")
    box = page.get_by_role("textbox", name="Network")
    box.fill("nothing:here")
    box.press("Tab")
    page.get_by_role("button", name="Read it").click()
    says(page, ".cs-problem", "nothing")


@pytest.mark.parametrize("width", [400, 1100])
def test_lines_that_are_typed_have_shapes(explorer, open_page, width):
    page = open_page(explorer + "?view=code", width)
    says(page, ".cs-figures", "(1, 10, 126, 126)")
    shown = page.locator(".cs-wide")
    assert shown.evaluate("each => each.scrollWidth <= each.clientWidth"), (
        "a column is out of sight"
    )
    box = page.get_by_label("Lines of PyTorch")
    box.fill("x = torch.rand(1, 3, 32, 32)\ny = nn.Conv2d(3, 8, 3, stride=2)(x)")
    says(page, ".cs-figures", "(1, 8, 15, 15)")
    page.wait_for_url("**code=**")
    box.fill("x = torch.rand(1, 3, 32, 32)\ny = nn.Conv2d(4, 8, 3)(x)")
    says(page, ".cs-problem", "Line 2, y = nn.Conv2d(4, 8, 3)(x): nn.Conv2d expects 4 channels")
    page.get_by_text("中文").first.click()
    says(page, ".cs-problem", "要求 4 个通道")
    assert box.count() == 0 or box.input_value().startswith("x = ")
    assert page.evaluate("document.querySelector('#App').scrollWidth") <= width


def test_what_is_seen_can_be_taken_along(explorer, open_page):
    page = open_page(explorer)
    says(page, ".cs-summary", "1×3×3")
    for name, start in (("Animation (SVG)", b"<svg"), ("Animation (GIF)", b"GIF89a")):
        with page.expect_download() as taken:
            page.get_by_text(name).click()
        with open(taken.value.path(), "rb") as file:
            assert file.read(6).startswith(start)


@pytest.mark.parametrize("number", [each.number for each in LESSONS])
def test_a_lesson_opens_answers_and_switches(lessons, open_page, number):
    page = open_page(f"{lessons}{number}/", 400 if number % 2 else 1100)
    page.locator(".cs-foot").wait_for(timeout=180_000)
    says(page, ".cs-title", LESSONS[number - 1].title("en"))
    # A network that is being trained on a busy machine takes its time.
    page.set_default_timeout(180_000)
    answer = {1: 20, 2: 18432, 3: 21, 4: 2, 5: 8768, 6: 4}[number]
    field = page.locator(".cs-task marimo-number input").first
    for value, said in ((answer + 1, ".cs-verdict.not"), (answer, ".cs-verdict.right")):
        field.fill(str(value))
        field.press("Enter")
        page.locator(said).first.wait_for()
    if number < 5:  # every live stage of the lesson answers
        stages = page.locator("iframe.cs-live")
        for at in range(stages.count()):
            result = stages.nth(at).content_frame.locator(".result")
            result.filter(has_text=re.compile(r"^output\[.*\] = ")).wait_for()
        assert stages.count() == {1: 1, 2: 3, 3: 5, 4: 5}[number]
    lines = [row for row in ROWS.values() if isinstance(row, Line) and row.lesson == number]
    # What is said to an answer, and to other positions of the sliders, is not on the page yet.
    lines = [row for row in lines if not row.key.endswith(" why") and row.key != "even"]
    for row in lines:
        assert row.english in page.locator("#App").inner_text(), row
    if number % 2:
        check_accessible(page, "light")
    page.get_by_text("中文").first.click()
    says(page, ".cs-title", LESSONS[number - 1].title("zh"))
    says(page, ".cs-verdict.right", "正确")
    for row in lines:
        page.get_by_text(row.chinese).first.wait_for()
    if number == 6:
        says(page, ".cs-figures", "0.9")
    assert page.locator(".marimo-error").count() == 0
    assert page.evaluate("document.querySelector('#App').scrollWidth") <= (
        400 if number % 2 else 1100
    )
    if number % 2 == 0:
        check_accessible(page, "light")
    if NIGHTLY:  # each theme opens the lesson again
        check_accessible(page, ready=".cs-foot")


def test_the_list_of_lessons_leads_to_them(lessons, open_page):
    page = open_page(f"{lessons}?lang=zh")
    page.get_by_text(LESSONS[2].title("zh")).click()
    says(page, ".cs-title", LESSONS[2].title("zh"))
    page.locator(".cs-foot a").last.click()
    says(page, ".cs-title", LESSONS[3].title("zh"))
