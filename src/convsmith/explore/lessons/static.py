# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""The lessons as plain pages: no Python, no server, no network; what needs none of them works.

The notebook is run once per language. Its texts, tables and pictures are kept; live stages are
files that both languages share; exercises are checked by a few lines of script. What a slider would
move stands at its first setting, and the page says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from html import escape
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from convsmith.draw.scenes.stages import ready_stage
from convsmith.errors import ArgumentError, MissingExtra
from convsmith.explore.illustrations import figure
from convsmith.explore.lessons.lesson import LESSONS, Lesson, LessonPage, index_page
from convsmith.explore.live import overlap_stage
from convsmith.explore.phrases import LANGUAGE_NAMES, Language
from convsmith.report.saving import save_text

__all__ = ["static_lessons"]

_LANGUAGES: tuple[Language, Language] = ("en", "zh")
_FILES = {"en": "index.html", "zh": "zh.html"}
_ELEMENT = re.compile(r"<marimo-ui-element.*?</marimo-ui-element>", re.DOTALL)
_KNOBS = {
    "en": "Here the picture stays as it is; <code>convsmith lessons {number}</code> has controls.",
    "zh": "这里的图固定不动；<code>convsmith lessons {number}</code> 可以调节。",
}
_SCRIPT = (
    'for (const task of document.querySelectorAll(".cs-task")) {'
    'task.querySelector("input").addEventListener("input", ({target}) => {'
    'for (const each of task.querySelectorAll(".cs-verdict")) each.hidden = target.value === "" '
    '|| each.classList.contains("right") !== (Number(target.value) === '
    "Number(task.dataset.answer));"
    "});}"
)
_STYLE = (
    ":root{color-scheme:light dark}*{box-sizing:border-box}"
    "html{background:Canvas;color:CanvasText}"
    "body{font:1rem/1.65 system-ui,-apple-system,'Segoe UI','PingFang SC','Microsoft YaHei',"
    "'Noto Sans CJK SC',sans-serif;margin:0}"
    "main{max-width:46rem;margin:0 auto;padding:1.25rem clamp(1rem,4vw,3rem) 3rem}"
    ".cs-head{display:flex;justify-content:space-between}.paragraph{display:block;margin:.7rem 0}"
    "figure{margin:1rem 0}img{max-width:100%}code{font-size:.92em}"
    "pre{overflow-x:auto;padding:.7rem;background:var(--cs-soft);border-radius:.4rem}"
    "input{font:inherit;width:8rem;padding:.25rem .4rem}"
)


def static_lessons(folder: str | Path, *, force: bool = False) -> Path:
    """Write the lessons that need no PyTorch as plain pages, below 2 MB together.

    `index.html` and `zh.html` are the lists; each lesson has a folder of its number.

    Args:
        folder: made if need be.
        force: whether files that exist may be replaced.

    Raises:
        ArgumentError: the folder holds something and `force` is false.
        MissingExtra: without marimo, which runs the notebooks.
    """
    try:
        import marimo as mo
    except ImportError:
        raise MissingExtra("exporting the lessons", extra="explore", package="marimo") from None
    target = Path(folder)
    if target.is_dir() and any(target.iterdir()) and not force:
        raise ArgumentError(f"{target} is not empty: choose another folder, or pass force=True")
    written = _Written(target)
    shown = [each for each in LESSONS if not each.torch]
    style = Path(__file__).parents[1].joinpath("style.css").read_text("utf-8")
    written.file("style.css", _STYLE + style)
    written.file("lesson.js", _SCRIPT)
    for language in _LANGUAGES:
        written.file(_FILES[language], _linked(index_page(language, shown)))
        for each in shown:
            body = _body(mo, each, language, partial(_PlainPage, written, language))
            whole = written.without_charts(_page(each, language, body))
            written.file(f"{each.number}/{_FILES[language]}", whole)
    return target


class _Written:
    """The folder, and what is in it already: pictures and stages are written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: set[str] = set()

    def file(self, name: str, content: str) -> str:
        """Write a file; its path from a lesson's folder."""
        if name not in self._names:
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            save_text(path, content, force=True)
            self._names.add(name)
        return f"../{name}"

    def picture(self, drawn: str) -> str:
        """Write a picture, under a name of its content; its path from a lesson's folder."""
        return self.file(f"pictures/{sha256(drawn.encode()).hexdigest()[:12]}.svg", drawn)

    def without_charts(self, html: str) -> str:
        """Charts as pictures of their own: several lessons, or both languages, show the same."""

        def linked(chart: re.Match[str]) -> str:
            return (
                f'<img class="cs-chart" alt="{chart["label"]}" width="{chart["width"]}" '
                f'src="{self.picture(chart[0])}">'
            )

        return _CHART.sub(linked, html)


_CHART = re.compile(
    r'<svg [^>]*class="cs-chart"[^>]*aria-label="(?P<label>[^"]*)" '
    r'width="(?P<width>[^"]*)".*?</svg>',
    re.DOTALL,
)


class _PlainPage(LessonPage):
    """A lesson without a server behind it: its files are `written`, its language stays."""

    def __init__(
        self, written: _Written, language: Language, mo: Any, number: int, _: Language
    ) -> None:
        super().__init__(mo, number, language)
        self._written = written

    def head(self, switch: Any) -> Any:
        other: Language = "zh" if self.language == "en" else "en"
        name = next(key for key, code in LANGUAGE_NAMES.items() if code == other)
        link = f'<a href="{_FILES[other]}">{escape(name)}</a>'
        return self._mo.Html(_linked(super().head(link).text))

    def foot(self) -> Any:
        links = _linked(super().foot().text)
        for each in LESSONS:
            if each.torch:  # it is not here
                links = re.sub(rf'<a href="\.\./{each.number}/.*?</a>', "", links)
        return self._mo.Html(links)

    def scene(self, scene: Any) -> Any:
        drawn = scene.svg(language=self.language)
        source = self._written.picture(drawn)
        size = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)', drawn)
        wide, high = size.groups() if size else ("640", "480")
        told = re.search(r"<desc>(.*?)</desc>", drawn, re.DOTALL)
        return self._mo.Html(
            figure(
                # Its place is kept until a reader comes near: films that nobody sees cost the page
                # its first second.
                f'<img class="cs-animation" loading="lazy" width="{wide}" height="{high}" '
                f'style="--wide:{wide}px" '
                f'alt="{told[1] if told else ""}" src="{source}">'
            )
        )

    def stage(self, name: str) -> Any:
        return self._live(name, ready_stage(name))

    def overlaps(self, kernel: int, stride: int) -> Any:
        return self._live(f"overlaps-{kernel}-{stride}", overlap_stage(kernel, stride))

    def _live(self, name: str, stage: Any) -> Any:
        # One page has both languages: its address says which.
        source = self._written.file(f"stages/{name}.html", stage.html())
        title = stage.title[self.language == "zh"]
        hash_ = "#language=zh" if self.language == "zh" else ""
        return self._mo.Html(
            '<figure class="cs-figure"><iframe class="cs-live" loading="lazy" '
            f'sandbox="allow-scripts" title="{escape(title)}" src="{source}{hash_}">'
            "</iframe></figure>"
        )

    def task(self, key: str, given: Any, answer: object, **values: object) -> Any:
        def said(word: str, mark: str, text: str) -> str:
            kind = word.partition(" ")[0]
            shown = self.markdown(self.phrase(text, **values))
            return (
                f'<div class="cs-verdict {kind}" role="status" hidden>{mark} '
                f"{escape(self.phrase(word))} {shown}</div>"
            )

        label = escape(self.phrase("exercise"))
        return self._mo.Html(
            f'<section class="cs-task" data-answer="{answer}"><h3>{label}</h3>'
            f"{self.markdown(self.phrase(key, **values))}"
            f'<div><input type="number" step="1" aria-label="{label}"></div>'
            f"{said('right', '✓', f'{key} why')}{said('not yet', '✗', f'{key} hint')}</section>"
        )


def _body(mo: Any, lesson: Lesson, language: Language, page: Callable[..., LessonPage]) -> str:
    spec = spec_from_file_location(f"lesson_{lesson.number}", lesson.path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    outputs, _ = module.app.run(defs={"page_of": page})
    texts = [output.text for output in outputs if hasattr(output, "text")]
    note = f'<p class="cs-note">{_KNOBS[language].format(number=lesson.number)}</p>'
    return "\n".join(_without_controls(text, note) for text in texts)


def _without_controls(text: str, note: str) -> str:
    plain, count = _ELEMENT.subn("", text)
    return plain + note if count else plain


def _linked(html: str) -> str:
    """Links to the files of the folder in place of a server's addresses."""
    for language, name in _FILES.items():
        html = html.replace(f"/?lang={language}", f"/{name}").replace(f"?lang={language}", name)
    return html


def _page(lesson: Lesson, language: Language, body: str) -> str:
    title = f"convsmith · {lesson.title(language)}"
    return (
        f'<!doctype html><html lang="{"zh-CN" if language == "zh" else "en"}">'
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>'
        f'<link rel="stylesheet" href="../style.css"><main>{body}</main>'
        '<script src="../lesson.js"></script></html>'
    )
