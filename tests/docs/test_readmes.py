# ruff: noqa: RUF001
"""The README in both languages: one structure, the same figures, commands and pictures."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from convsmith.draw.words import WORDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ENGLISH = ROOT / "README.md"
CHINESE = ROOT / "README.zh-CN.md"
PAIRS = [
    (ENGLISH, CHINESE),
    *((DOCS / page.name, page) for page in sorted((DOCS / "zh").glob("*.md"))),
]
LIMIT = 60_000
"""Bytes of a picture that is kept in the repository."""

CODE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) ", re.MULTILINE)
# What is written in one language on purpose.
OTHER_NAMES = {
    "空洞卷积": ("膨胀卷积", "扩张卷积", "扩展卷积", "带孔卷积"),
    "转置卷积": ("反卷积", "逆卷积", "解卷积"),
    "深度卷积": ("逐深度卷积", "逐通道卷积", "深度方向卷积"),
    "深度可分离卷积": ("深度分离卷积", "深度可分卷积"),
    "逐点卷积": ("点卷积", "点态卷积"),
    "分组卷积": ("组卷积", "群卷积"),
    "空洞率": ("膨胀率", "扩张率", "膨胀系数"),
    "步幅": ("步长",),
    "填充": ("补边", "衬垫", "补零填充"),
    "卷积核": ("卷积内核", "过滤器", "滤波器"),
    "最大池化": ("最大值池化", "极大池化"),
    "输出填充": ("输出补齐",),
}

GLOSSED = ("空洞率", "转置卷积", "步幅", "深度卷积")
GLOSS = re.compile(r"（\w+(?: \w+)*，又称([^（）]+)）")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(text: str) -> str:
    return CODE.sub("", text)


def blocks(text: str) -> list[tuple[str, str]]:
    """The code of a page without what differs between languages: comments, names, the option."""
    found = []
    for language, code in CODE.findall(text):
        code = re.sub(r"\s+#.*$", "", code, flags=re.MULTILINE)
        code = re.sub(r" --language zh|, language=\"zh\"|, title=\"[^\"]*\"", "", code)
        found.append((language, code.strip()))
    return found


def headings(text: str) -> list[int]:
    return [len(marks) for marks in HEADING.findall(prose(text))]


def test_both_readmes_link_to_each_other_at_the_top() -> None:
    assert "(README.zh-CN.md)" in "\n".join(text_of(ENGLISH).splitlines()[:5])
    assert "(README.md)" in "\n".join(text_of(CHINESE).splitlines()[:5])


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda page: page.name)
def test_both_languages_have_the_same_headings(english: Path, chinese: Path) -> None:
    assert headings(text_of(english)) == headings(text_of(chinese))


def test_both_readmes_have_the_same_code() -> None:
    assert blocks(text_of(ENGLISH)) == blocks(text_of(CHINESE))


def test_both_readmes_have_the_same_figures() -> None:
    """Every number of two digits or more, and every decimal, stands in both."""

    def figures(page: Path) -> set[str]:
        kept = re.sub(r"\]\([^)]*\)", "]", prose(text_of(page)))
        return set(re.findall(r"\d[\d,.]*\d", kept))

    assert figures(ENGLISH) == figures(CHINESE)


def test_both_readmes_link_to_the_same_pages() -> None:
    def targets(page: Path) -> set[str]:
        found = re.findall(r"\]\(([^)]+)\)", prose(text_of(page)))
        return {each.replace("docs/zh/", "docs/") for each in found if "README" not in each}

    assert targets(ENGLISH) == targets(CHINESE)


def test_both_readmes_have_tables_of_the_same_shape() -> None:
    def shape(page: Path) -> list[int]:
        return [row.count("|") for row in text_of(page).splitlines() if row.startswith("|")]

    assert shape(ENGLISH) == shape(CHINESE)


@pytest.mark.parametrize("page", [chinese for _, chinese in PAIRS], ids=lambda page: page.name)
def test_chinese_pages_give_other_names_at_the_first_mention(page: Path) -> None:
    """Readers know these terms by several names: each page gives them once, and then uses one."""
    text = re.sub(r"^(#|!|\|).*$", "", prose(text_of(page)), flags=re.MULTILINE)
    for term in GLOSSED:
        if term in text:
            gloss = GLOSS.match(text, text.index(term) + len(term))
            assert gloss, f"{term}: its other names are missing at its first mention"
            assert set(gloss[1].split("、")) <= set(OTHER_NAMES[term]), term
    assert len(GLOSS.findall(text)) == sum(term in text for term in GLOSSED)


@pytest.mark.parametrize("page", [chinese for _, chinese in PAIRS], ids=lambda page: page.name)
def test_chinese_pages_use_the_words_of_the_pictures(page: Path) -> None:
    said = GLOSS.sub("", text_of(page))
    glossary = "".join(chinese for _, chinese in WORDS.values())
    for term, others in OTHER_NAMES.items():
        assert term in glossary
        # A name may be the end of the term: 点卷积 of 逐点卷积.
        rest = said.replace(term, "").replace("逐点卷积", "").replace("分组卷积", "")
        assert [other for other in others if other in rest] == [], term


@pytest.mark.parametrize("page", [chinese for _, chinese in PAIRS], ids=lambda page: page.name)
def test_chinese_prose_has_chinese_stops(page: Path) -> None:
    said = re.sub(r"`[^`]*`", "", prose(text_of(page)))
    assert re.findall(r"[一-鿿][,;:?!]", said) == []


@pytest.mark.parametrize("page", [chinese for _, chinese in PAIRS], ids=lambda page: page.name)
def test_chinese_paragraphs_are_one_line(page: Path) -> None:
    """Where a line ends a reader sees a space, and Chinese has none."""
    lines = prose(text_of(page)).splitlines()
    broken = [
        line
        for line, following in pairwise(lines)
        if re.search(r"[一-鿿，。；：、）]$", line) and re.match(r"\s*[一-鿿`（\w]", following)
    ]
    assert broken == []


def test_the_pictures_are_what_the_commands_draw(tmp_path: Path) -> None:
    command = [sys.executable, str(DOCS / "_site" / "examples.py"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    drawn = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*.svg")}
    kept = {path.relative_to(DOCS): path for path in DOCS.rglob("*.svg")}
    assert drawn and drawn.keys() == kept.keys()
    for name, path in kept.items():
        assert path.read_bytes() == drawn[name].read_bytes(), f"{name}: run `make pictures`"
        assert path.stat().st_size <= LIMIT
        assert b"<animate" in path.read_bytes() or b"@keyframes" in path.read_bytes()


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda page: page.name)
def test_what_a_readme_names_is_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", prose(text_of(page)))
    missing = [each for each in targets if "://" not in each and not (ROOT / each).exists()]
    assert targets and missing == []
