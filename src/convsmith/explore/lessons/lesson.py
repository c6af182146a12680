# ruff: noqa: RUF001
"""What every lesson is made of: its texts in two languages, its pictures, its exercises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

from convsmith.errors import ArgumentError, nearest
from convsmith.explore.illustrations import figure, image_of, localised
from convsmith.explore.live import frame, overlap_stage, ready_frame
from convsmith.explore.panels import table
from convsmith.explore.phrases import LANGUAGE_NAMES, Language, as_language
from convsmith.explore.script import script_panel
from convsmith.explore.walk import operation
from convsmith.report import count

__all__ = ["LESSONS", "Lesson", "LessonPage", "index_page", "lesson", "texts_of"]


@dataclass(frozen=True)
class Lesson:
    """One lesson: its number, its file, its title in both languages, and whether it needs torch."""

    number: int
    name: str
    titles: tuple[str, str]
    torch: bool = False

    @property
    def path(self) -> Path:
        """The notebook."""
        return Path(__file__).with_name(f"{self.number:02}_{self.name}.py")

    def title(self, language: Language) -> str:
        """The title."""
        return self.titles[("en", "zh").index(language)]


LESSONS = (
    Lesson(1, "by_hand", ("A convolution by hand, and padding", "手算卷积与填充")),
    Lesson(2, "separable", ("Groups, depthwise, pointwise: what they cost",
                            "分组、深度、逐点：各要多少计算")),
    Lesson(3, "dilated", ("Dilation and the receptive field", "空洞卷积与感受野")),
    Lesson(4, "transposed", ("Transposed convolution and the matrix", "转置卷积与矩阵")),
    Lesson(5, "lighten", ("Lighten a trained network and watch the clock",
                          "给训练好的网络减重，并看着时钟"), torch=True),
    Lesson(6, "dilate", ("Dilate a segmentation network and prove it",
                         "给分割网络加空洞，并加以证明"), torch=True),
)  # fmt: skip

_SAID = {
    "of": ("Lesson {number} of {count}", "第 {number} 课，共 {count} 课"),
    "right": ("Right.", "正确。"),
    "not yet": ("Not yet.", "还不对。"),
    "answer": ("Answer", "答案"),
    "next": ("Next: {title}", "下一课：{title}"),
    "previous": ("Before: {title}", "上一课：{title}"),
    "lessons": ("Lessons", "课程"),
    "exercise": ("Exercise", "练习"),
    "needs torch": ("needs PyTorch", "需要 PyTorch"),
}  # fmt: skip

Texts = Mapping[str, tuple[str, str]]


def lesson(number: int) -> Lesson:
    """The lesson of that number.

    >>> lesson(2).path.name
    '02_separable.py'
    """
    if not 1 <= number <= len(LESSONS):
        raise ArgumentError(f"there is no lesson {number}: choose 1 to {len(LESSONS)}")
    return LESSONS[number - 1]


def texts_of(number: int) -> Texts:
    """Every text of a lesson, English and Chinese beside each other, in Markdown."""
    module = import_module(f"convsmith.explore.lessons.texts_{number:02}")
    texts: Texts = module.TEXTS
    return texts


class LessonPage:
    """A lesson in one language, as the notebook shows it.

    >>> from convsmith.explore.lessons.lesson import LessonPage
    >>> LessonPage(None, 1, "zh").phrase("right")
    '正确。'
    """

    def __init__(self, mo: Any, number: int, language: Language) -> None:
        self._mo = mo
        self.lesson = lesson(number)
        self.language = language
        self._texts = dict(_SAID) | dict(texts_of(number))

    def phrase(self, key: str, **values: object) -> str:
        """A text of this lesson with its braces filled in."""
        if key not in self._texts:
            raise ArgumentError(f"no text {key!r}{nearest(key, self._texts)}")
        text = self._texts[key][("en", "zh").index(self.language)]
        return text.format_map(values) if values else text

    def md(self, key: str, **values: object) -> Any:
        """A text as Markdown."""
        return self._mo.Html(self.markdown(self.phrase(key, **values)))

    def markdown(self, text: str) -> str:
        """Markdown as HTML; code that is wider than the page scrolls by the keys, too."""
        written: str = self._mo.md(text).text
        return written.replace("<pre>", '<pre tabindex="0">')

    def head(self, switch: Any) -> Any:
        """The top of the page: which lesson, its title, the switch of the language."""
        of = self.phrase("of", number=self.lesson.number, count=len(LESSONS))
        return self._mo.Html(
            f'<div class="cs-head"><a href="../?lang={self.language}">{escape(of)}</a>{switch}'
            f'</div><h1 class="cs-title">{escape(self.lesson.title(self.language))}</h1>'
        )

    def foot(self) -> Any:
        """The way to the lessons before and after."""
        links = []
        for key, number in (("previous", self.lesson.number - 1), ("next", self.lesson.number + 1)):
            if 1 <= number <= len(LESSONS):
                text = self.phrase(key, title=lesson(number).title(self.language))
                links.append(f'<a href="../{number}/?lang={self.language}">{escape(text)}</a>')
        return self._mo.Html(f'<nav class="cs-foot">{"".join(links)}</nav>')

    def scene(self, scene: Any) -> Any:
        """An animation of `convsmith.draw`."""
        drawn = scene.svg(language=self.language)
        return self._mo.Html(figure(image_of(drawn)))

    def stage(self, name: str) -> Any:
        """A ready-made live stage."""
        shown = ready_frame(name, self.language)
        return self._mo.Html(f'<figure class="cs-figure">{shown}</figure>')

    def overlaps(self, kernel: int, stride: int) -> Any:
        """The live stage of how often a transposed convolution's stamps cover each output."""
        shown = frame(overlap_stage(kernel, stride), self.language)
        return self._mo.Html(f'<figure class="cs-figure">{shown}</figure>')

    def figure(self, drawn: str) -> Any:
        """A picture of a report."""
        return self._mo.Html(figure(localised(drawn, self.language)))

    def table(
        self, heads: Sequence[str], rows: Sequence[Sequence[object]], *, texts: int = 1
    ) -> Any:
        """A table under headings that are keys of the lesson; its cells are shown as they are.

        A cell is never looked up: a parameter may have the name of a section. What a cell says in
        the lesson's language, the notebook asks `phrase` for.
        """
        shown = [[_cell(value) for value in row] for row in rows]
        return self._mo.Html(table([self.phrase(key) for key in heads], shown, texts=texts))

    def operation(self, report: Any, layer: Any) -> str:
        """What a layer of a report does, in the lesson's language."""
        return operation(report, layer, self.language)

    def script(self, code: str) -> Any:
        """What each line of PyTorch gives."""
        return self._mo.Html(f'<div role="status">{script_panel(code, self.language)}</div>')

    def task(self, key: str, given: Any, answer: object, **values: object) -> Any:
        """An exercise: the question, the field for the answer, and what becomes of it.

        Args:
            key: of the question; `key why` is said to the right answer, `key hint` to a wrong one.
            given: the element that the answer is written into.
            answer: what is right, computed.
            values: for the braces of the texts.
        """
        value = given.value
        verdict = ""
        if value is not None:
            right = value == answer
            text = self.phrase(f"{key} {'why' if right else 'hint'}", **values)
            mark, word = ("✓", "right") if right else ("✗", "not yet")
            verdict = (
                f'<div class="cs-verdict {word.partition(" ")[0]}" role="status">'
                f"{mark} {escape(self.phrase(word))} {self.markdown(text)}</div>"
            )
        return self._mo.Html(
            f'<section class="cs-task"><h3>{escape(self.phrase("exercise"))}</h3>'
            f"{self.markdown(self.phrase(key, **values))}<div>{given}</div>{verdict}</section>"
        )


def _cell(value: object) -> str:
    return count(value) if isinstance(value, int) else str(value)


def language_switch(mo: Any) -> Any:
    """The switch between the languages, as the address has it to begin with."""
    asked = mo.query_params().get("lang") or mo.cli_args().get("lang") or "en"
    try:
        code = as_language(str(asked))
    except ArgumentError:
        code = "en"
    return mo.ui.radio(
        LANGUAGE_NAMES, value=next(k for k, v in LANGUAGE_NAMES.items() if v == code), inline=True
    )


def remember(mo: Any, language: Language) -> None:
    """Write the language into the address."""
    query = mo.query_params()
    if (query.get("lang") or "en") != language:
        query.set("lang", language)


def ask(mo: Any) -> Any:
    """A field for a number; it is in no language, so an answer outlives the switch."""
    return mo.ui.number(step=1, label="")


def index_page(language: Language, lessons: Sequence[Lesson] = LESSONS) -> str:
    """The list of lessons, as a page of its own."""
    other: Language = "zh" if language == "en" else "en"
    at = ("en", "zh").index(language)
    name = next(key for key, code in LANGUAGE_NAMES.items() if code == other)
    items = "".join(
        f'<li><a href="{each.number}/?lang={language}">{escape(each.title(language))}</a>'
        + (f" <small>{escape(_SAID['needs torch'][at])}</small>" if each.torch else "")
        + "</li>"
        for each in lessons
    )
    title = f"convsmith · {_SAID['lessons'][at]}"
    return (
        f'<!doctype html><html lang="{"zh-CN" if language == "zh" else "en"}">'
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>'
        f"<style>{_INDEX_CSS}</style>"
        f'<main><header><h1>{escape(title)}</h1><a href="?lang={other}">{name}</a></header>'
        f"<ol>{items}</ol></main></html>"
    )


_INDEX_CSS = (
    ":root{color-scheme:light dark;--accent:#0072b2}"
    "@media(prefers-color-scheme:dark){:root{--accent:#56b4e9}}"
    "html{background:Canvas;color:CanvasText}body{font:1.05rem/1.6 system-ui,sans-serif;margin:0}"
    "main{max-width:40rem;margin:0 auto;padding:clamp(1.5rem,6vw,4rem) 1.2rem}"
    "header{display:flex;justify-content:space-between;align-items:baseline}"
    "h1{font-size:1.5rem}li{margin:.5rem 0;padding-left:.3rem}a{color:var(--accent)}"
    "small{opacity:.7}"
)
