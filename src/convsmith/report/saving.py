"""Files: the whole of them or nothing, and never over another one unasked."""

from __future__ import annotations

import os
from pathlib import Path

from convsmith.errors import ArgumentError

__all__ = ["check_target", "save_bytes", "save_text"]


def check_target(target: Path, force: bool) -> None:
    """Refuse a file that must not be written, before the work that makes it.

    Raises:
        ArgumentError: if the file exists without `force`, is not an ordinary file, or lies
            in a folder that does not exist.
    """
    if target.exists() and not target.is_file():
        raise ArgumentError(f"cannot write to {str(target)!r}: it is not a file")
    if target.exists() and not force:
        raise ArgumentError(f"{str(target)!r} exists; pass force=True (--force) to replace it")
    if not target.parent.is_dir():
        raise ArgumentError(f"cannot write {target.name!r}: no folder {str(target.parent)!r}")


def save_bytes(path: str | os.PathLike[str], data: bytes, force: bool = False) -> Path:
    """Write `data` at `path`; a reader sees either the old file or the new one.

    Raises:
        ArgumentError: as `check_target`, or the file cannot be written.
    """
    target = Path(path)
    check_target(target, force)
    # Beside the target, because a file can only be moved in one step within a file system.
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(data)
        draft.replace(target)
    except OSError as error:
        raise ArgumentError(f"cannot write to {str(target)!r}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return target


def save_text(path: str | os.PathLike[str], text: str, force: bool = False) -> Path:
    """Write `text` as UTF-8, its line ends as they are: CSV has its own. Raises as `save_bytes`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_text(Path(folder, "page.html"), "<!doctype html>").name
    'page.html'
    """
    return save_bytes(path, text.encode(), force)
