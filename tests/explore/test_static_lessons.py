"""The lessons as plain pages: small, whole, and answering without Python."""

from __future__ import annotations

import re

import pytest

from convsmith.cli import main
from convsmith.explore.lessons import LESSONS
from tests.explore.test_learner_rows import ROWS, Line

pytestmark = pytest.mark.slow
SHOWN = [each for each in LESSONS if not each.torch]
FILES = {"en": "index.html", "zh": "zh.html"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("marimo")
    folder = tmp_path_factory.mktemp("lessons") / "site"
    assert main(["lessons", "--export", str(folder)]) == 0
    return folder


def test_all_of_it_is_small_and_every_link_leads_somewhere(site):
    files = [path for path in site.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 2_000_000
    for path in files:
        text = path.read_text("utf-8")
        assert "marimo-" not in text or path.name == "style.css"
        if path.suffix != ".html" or path.parent.name == "stages":
            continue
        links = re.findall(r'(?:href|src)="(?!data:)([^"#]*)', text)
        assert links
        for link in links:
            target = (path.parent / link).resolve()
            assert target.is_file(), (path, link)


@pytest.mark.parametrize("language", FILES)
@pytest.mark.parametrize("lesson", SHOWN, ids=lambda each: str(each.number))
def test_a_lesson_opens_from_a_disk_and_answers(site, open_page, lesson, language):
    width = 400 if language == "zh" else 1100
    page = open_page((site / str(lesson.number) / FILES[language]).as_uri(), width)
    assert page.locator("h1").inner_text() == lesson.title(language)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Nor is a column of a table, or the end of a line of code, scrolled out of sight.
    hidden = """[...document.querySelectorAll(".cs-wide, pre, .cs-maps")]
      .filter(each => each.scrollWidth > each.clientWidth).map(each => each.textContent)"""
    assert page.evaluate(hidden) == []
    # Pictures come when one scrolls to them, and push nothing away. One of them is looked at: on
    # a slow machine all of them, moving at once, keep the page busy for a minute.
    films = page.locator("img.cs-animation")
    kept = "films => films.every(film => film.loading === 'lazy' && film.clientHeight > 50)"
    assert films.evaluate_all(kept)
    if films.count():
        high = films.first.evaluate("film => film.clientHeight")
        films.first.scroll_into_view_if_needed()
        films.first.evaluate("film => film.decode()")
        assert films.first.evaluate("film => film.clientHeight") == high
    text = page.locator("main").text_content()
    for row in ROWS.values():
        if isinstance(row, Line) and row.lesson == lesson.number and row.key != "even":
            assert (row.chinese if language == "zh" else row.english) in text, row
    tasks = page.locator(".cs-task")
    for at in range(tasks.count()):
        task = tasks.nth(at)
        answer = int(task.get_attribute("data-answer"))
        right, wrong = task.locator(".cs-verdict.right"), task.locator(".cs-verdict.not")
        assert not right.is_visible() and not wrong.is_visible()
        task.locator("input").fill(str(answer + 1))
        assert wrong.is_visible() and not right.is_visible()
        task.locator("input").fill(str(answer))
        assert right.is_visible() and not wrong.is_visible()
    stages = page.locator("iframe.cs-live")
    head = re.compile(r"^输出\[.*\] = " if language == "zh" else r"^output\[.*\] = ")
    for at in range(stages.count()):
        stages.nth(at).scroll_into_view_if_needed()
        stages.nth(at).content_frame.locator(".result").filter(has_text=head).wait_for()


@pytest.mark.parametrize("language", FILES)
def test_the_six_ways_from_3_channels_to_30_have_their_parameters(site, language):
    text = (site / "2" / FILES[language]).read_text("utf-8")
    params = re.findall(r"<td>([\d,]+)</td><td>[\d,]+</td></tr>", text)
    six = ["903,000", "9,030", "9,030", "3,030", "120", "423"]
    assert any(params[at : at + 6] == six for at in range(len(params)))
