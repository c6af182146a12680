"""axe-core finds nothing serious on the explorer, the lessons and the stages.

Live lessons take half a minute to open; they are looked at where they are opened anyway.
"""

from __future__ import annotations

import pytest

from convsmith.draw.scenes.stages import STAGES, ready_stage
from convsmith.explore.lessons import LESSONS
from convsmith.explore.lessons.static import static_lessons
from tests.accessibility import check_accessible
from tests.thoroughness import NIGHTLY

pytestmark = pytest.mark.slow

LANGUAGES = ("en", "zh")
NAMES = {"en": "index.html", "zh": "zh.html"}
# An address of the explorer, and what stands on it when all of it is there.
VIEWS = {
    "": ".cs-code",
    "live=1": "iframe.cs-live",
    "kind=transposed&size=2": ".cs-code",
    "kernel=3&size=2": ".cs-problem",
    "predict=1": ".cs-buttons",
    "view=stack": "iframe.cs-live",
    "view=model": ".cs-facts",
    "view=code": ".cs-figures",
    "view=code&code=nn.Conv2d(3)": ".cs-problem",
}


def in_turn(places):
    """Each in one language, after the one before in the other; in a nightly run in both."""
    return [
        (place, language)
        for number, place in enumerate(places)
        for language in (LANGUAGES if NIGHTLY else [LANGUAGES[number % 2]])
    ]


@pytest.mark.parametrize(("address", "language"), in_turn(VIEWS))
def test_the_explorer(explorer, open_page, address, language):
    page = open_page(f"{explorer}?lang={language}&{address}", 400 if language == "zh" else 1280)
    check_accessible(page, ready=VIEWS[address])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("marimo")
    return static_lessons(tmp_path_factory.mktemp("lessons") / "site")


@pytest.mark.parametrize(
    ("number", "language"), in_turn([None, *(each.number for each in LESSONS if not each.torch)])
)
def test_a_plain_lesson(site, open_page, number, language):
    folder, name = site / str(number) if number else site, NAMES[language]
    page = open_page((folder / name).as_uri(), 400 if language == "zh" else 1280)
    check_accessible(page)
    fields = page.locator(".cs-task input")
    for at in range(fields.count()):  # what is said to an answer, too
        fields.nth(at).fill("1")
    check_accessible(page)


@pytest.mark.parametrize(("name", "language"), in_turn(STAGES))
def test_a_stage(open_page, tmp_path, name, language):
    path = ready_stage(name, language=language).save(tmp_path / "stage.html")
    page = open_page(path.as_uri(), 400 if language == "zh" else 1280)
    page.locator(".result:not(:empty)").wait_for()
    check_accessible(page)
    page.locator(".frame .picture").focus()
    page.keyboard.press("PageUp")
    page.keyboard.type("7")
    check_accessible(page, "light")
