"""Fonts for images: found in the usual folders by name, and never downloaded."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from convsmith.errors import ConvsmithError

__all__ = ["font", "is_chinese", "split"]

_CHINESE = re.compile(r"[\u2e80-\u9fff\uff00-\uffef]")
# (file, index of the face within it), the first one found is taken.
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

    Latin text is set in DejaVu Sans (with matplotlib or from the system), else in Pillow's own.

    Raises:
        ConvsmithError: Chinese, and no font for it.
    """
    from PIL import ImageFont

    if chinese:
        path, index = _chinese(bold)
        return ImageFont.truetype(path, size, index=index)
    found = _latin(bold)
    return ImageFont.truetype(found, size) if found else ImageFont.load_default(size)


@cache
def _latin(bold: bool) -> str | None:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    # matplotlib brings the font; it is found without being imported.
    spec = find_spec("matplotlib")
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root, "mpl-data", "fonts", "ttf", name)
        if path.is_file():
            return str(path)
    return _files().get(name)


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
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        for root, folders, names in os.walk(Path(folder).expanduser()):
            folders.sort()
            for name in sorted(names):
                found.setdefault(name, os.path.join(root, name))
    return found
