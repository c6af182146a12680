"""The lessons: numbered marimo notebooks, in both languages from one table of texts each."""

from convsmith.explore.lessons.lesson import (
    LESSONS,
    Lesson,
    Page,
    ask,
    index_page,
    language_switch,
    lesson,
    remember,
    texts_of,
)

__all__ = [
    "LESSONS",
    "Lesson",
    "Page",
    "ask",
    "index_page",
    "language_switch",
    "lesson",
    "remember",
    "texts_of",
]
