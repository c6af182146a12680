"""Fonts for images: Latin comes along, Chinese is looked for in the usual folders by name."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from convsmith.errors import ConvsmithError

__all__ = ["font", "is_chinese", "split"]

_CHINESE = re.compile(r"[\u2e80-\u9fff\uff00-\uffef]")
# (file, index of the face within it); the first that is there is taken.
_CJK = (
    ("NotoSansCJK-Regular.ttc", 2),
    ("NotoSansSC-Regular.otf", 0),
    ("SourceHanSansSC-Regular.otf", 0),
    ("wqy-zenhei.ttc", 0),
    ("wqy-microhei.ttc", 0),
    ("PingFang.ttc", 0),
    ("Hiragino Sans GB.ttc", 0),
    ("msyh.ttc", 0),
    ("simhei.ttf", 0),
)
_BOLD = (("NotoSansCJK-Bold.ttc", 2), ("SourceHanSansSC-Bold.otf", 0), ("msyhbd.ttc", 0))
# A subset of DejaVu Sans 2.37, hints and all: Latin, Greek, Cyrillic, and the signs of formulas.
_TYPEFACES = Path(__file__).with_name("typefaces")
_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
    "C:/Windows/Fonts",
)


def is_chinese(text: str) -> bool:
    """Whether a text has a Chinese letter or stop."""
    return bool(_CHINESE.search(text))


def split(text: str) -> list[str]:
    """A text in runs that are Chinese throughout or not at all.

    >>> split("输入 5×5")
    ['输入', ' 5×5']
    """
    return re.findall(f"{_CHINESE.pattern}+|[^{_CHINESE.pattern[1:-1]}]+", text)


@cache
def font(chinese: bool, size: int, bold: bool = False) -> Any:
    """The font for Chinese or for anything else, at a size in pixels.

    Latin text is set in DejaVu Sans, of which the letters and signs that pictures need come along.

    Raises:
        ConvsmithError: Chinese, and no font for it.
    """
    from PIL import ImageFont

    if chinese:
        path, index = _chinese(bold)
        return ImageFont.truetype(path, size, index=index)
    latin = _latin(bold)
    return ImageFont.truetype(latin, size) if latin else ImageFont.load_default(size)


@cache
def _latin(bold: bool) -> str | None:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = _TYPEFACES / name
    return str(path) if path.is_file() else _files().get(name)


@cache
def _chinese(bold: bool) -> tuple[str, int]:
    files = _files()
    for name, index in (*(_BOLD if bold else ()), *_CJK):
        if name in files:
            return files[name], index
    raise ConvsmithError(
        "no font with Chinese letters was found: install one (on Debian: apt-get install "
        "fonts-noto-cjk or fonts-wqy-zenhei), or draw an .svg or .html"
    )


@cache
def _files() -> dict[str, str]:
    """Every font file by name; of several with one name the first."""
    files: dict[str, str] = {}
    for folder in _FOLDERS:
        for root, folders, names in os.walk(Path(folder).expanduser()):
            folders.sort()
            for name in sorted(names):
                files.setdefault(name, os.path.join(root, name))
    return files
