"""Text to a file: the whole of it or nothing, and never over another file unasked."""

from __future__ import annotations

import os
from pathlib import Path

from convsmith.errors import ArgumentError

__all__ = ["save_text"]


def save_text(path: str | os.PathLike[str], text: str, force: bool = False) -> Path:
    """Write `text` as UTF-8 at `path`; whoever reads meanwhile sees the old file or the new one.

    Raises:
        ArgumentError: `path` exists and `force` was not given, is no ordinary file, lies in a
            folder that does not exist, or cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_text(Path(folder, "page.html"), "<!doctype html>").name
    'page.html'
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        raise ArgumentError(f"cannot write to {str(target)!r}: it is not a file")
    if target.exists() and not force:
        raise ArgumentError(f"{str(target)!r} exists; pass force=True (--force) to replace it")
    if not target.parent.is_dir():
        raise ArgumentError(f"cannot write {target.name!r}: no folder {str(target.parent)!r}")
    # Beside the target, because a file can only be moved in one step within a file system.
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        # Line ends stay as they are: CSV has its own.
        draft.write_text(text, encoding="utf-8", newline="")
        draft.replace(target)
    except OSError as error:
        raise ArgumentError(f"cannot write to {str(target)!r}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return target
