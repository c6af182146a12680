"""The exported lessons from a disk: when a control answers, and when the first live stage does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convsmith.explore.lessons import LESSONS
from convsmith.explore.lessons.static import static_lessons

__all__ = ["lesson_pages", "readiness"]

# A reader who answers at once: the exercise's verdict is there, and it has been laid out.
_CONTROL = """() => new Promise((resolve, reject) => {
  const look = () => {
    const task = document.querySelector(".cs-task"), field = task?.querySelector("input");
    if (field) {
      field.value = task.dataset.answer;
      field.dispatchEvent(new Event("input", {bubbles: true}));
      if (task.querySelector(".cs-verdict.right").getBoundingClientRect().height)
        return resolve(performance.now());
    }
    if (performance.now() > 30000) reject(new Error("no control answers"));
    else setTimeout(look, 4);
  };
  look();
})"""
# The stage is a frame with a clock of its own: the time is that since 1970.
_STAGE = """() => new Promise((resolve, reject) => {
  const look = () => {
    if (document.querySelector(".result")?.textContent)
      resolve(performance.timeOrigin + performance.now());
    else if (performance.now() > 30000) reject(new Error("no sum is told"));
    else setTimeout(look, 4);
  };
  look();
})"""
_SCROLL = """() => {
  document.querySelector("iframe.cs-live").scrollIntoView();
  return performance.timeOrigin;
}"""


def lesson_pages(folder: Path) -> dict[str, Path]:
    """Every lesson that is exported, in both languages."""
    site = static_lessons(folder)
    return {
        f"lesson {lesson.number}, {language}": site / str(lesson.number) / name
        for lesson in LESSONS
        if not lesson.torch
        for language, name in (("English", "index.html"), ("Chinese", "zh.html"))
    }


def readiness(chromium: Any, path: Path) -> tuple[float, float]:
    """Milliseconds from the navigation until the first exercise answers, and until the first
    live stage, to which the page is scrolled then, has told its sum."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    try:
        page.goto(path.as_uri(), wait_until="commit")
        answered = page.evaluate(_CONTROL)
        start = page.evaluate(_SCROLL)
        frame = page.locator("iframe.cs-live").first.element_handle().content_frame()
        return answered, frame.evaluate(_STAGE) - start
    finally:
        page.close()
