"""The lessons: numbered marimo notebooks, in both languages from one table of texts each."""

from convsmith.explore.alone import alone
from convsmith.explore.lessons.lesson import (
    LESSONS,
    Lesson,
    LessonPage,
    ask,
    index_page,
    language_switch,
    lesson,
    remember,
    texts_of,
)
from convsmith.explore.lessons.sheets import sheets
from convsmith.explore.script import EXAMPLE

__all__ = [
    "EXAMPLE",
    "LESSONS",
    "Lesson",
    "LessonPage",
    "alone",
    "ask",
    "index_page",
    "language_switch",
    "lesson",
    "remember",
    "sheets",
    "texts_of",
]
