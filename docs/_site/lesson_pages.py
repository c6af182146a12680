"""The lessons that need no PyTorch as plain pages of this site."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from convsmith.explore.lessons.static import static_lessons


def lesson_pages() -> dict[str, str]:
    """Files by their paths below the pages'."""
    with TemporaryDirectory() as scratch:
        folder = static_lessons(Path(scratch, "lesson"))
        return {
            f"lesson/{path.relative_to(folder).as_posix()}": path.read_text("utf-8")
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
