"""Files: the whole of them or nothing, and never over another one unasked.

Everything that is written goes through `drafted`: a new file of an unpredictable name in the same
folder, which replaces the target in one step. A link that someone planted, at the target or at the
draft, is never followed, and writers in several threads or processes never share a draft.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO

from convsmith.errors import ArgumentError, first_line
from convsmith.report.alone import alone

__all__ = [
    "as_path",
    "check_folder",
    "check_target",
    "drafted",
    "encodable",
    "save_bytes",
    "save_folder",
    "save_text",
]

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def as_path(target: str | os.PathLike[str]) -> Path:
    """The path that a user named.

    Raises:
        ArgumentError: for an empty name, or one with a null byte.
    """
    name = os.fspath(target)
    if not name or "\0" in name:
        raise ArgumentError(f"cannot write to {name!r}: it is not a file's name")
    return Path(name)


def check_target(target: str | os.PathLike[str], force: bool) -> None:
    """Refuse a file that must not be written, before the work that makes it.

    Raises:
        ArgumentError: if the file exists without `force`, is not an ordinary file, or lies
            in a folder that does not exist.
    """
    target = as_path(target)
    try:
        if target.exists() and not target.is_file():
            raise ArgumentError(f"cannot write to {str(target)!r}: it is not a file")
        if target.exists() and not force:
            raise ArgumentError(f"{str(target)!r} exists; pass force=True to replace it")
        if not target.parent.is_dir():
            raise ArgumentError(f"cannot write {target.name!r}: no folder {str(target.parent)!r}")
    except OSError as error:  # a name that is too long, a folder that may not be searched
        raise _refusal(target, error) from error


def check_folder(folder: str | os.PathLike[str], needed: int = 0) -> None:
    """Refuse a folder that could not be made or filled, before the work whose result it holds.

    Args:
        folder: it need not exist.
        needed: bytes that will be written.

    Raises:
        ArgumentError: for a name of a file, a folder that may not be written, or a full disk.
    """
    target = as_path(folder)
    try:
        if target.exists() and not target.is_dir():
            raise ArgumentError(f"cannot write to {str(target)!r}: it is a file, not a folder")
        present = next(path for path in (target, *target.absolute().parents) if path.exists())
        if not present.is_dir() or not os.access(present, os.W_OK | os.X_OK):
            raise ArgumentError(f"cannot write to {str(target)!r}: {present} may not be written")
        free = shutil.disk_usage(present).free
    except OSError as error:
        raise _refusal(target, error) from error
    if free < needed:
        raise ArgumentError(
            f"cannot write to {str(target)!r}: it needs {needed:,} bytes, {free:,} are free"
        )


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o666)


@contextmanager
def drafted(target: Path) -> Iterator[IO[bytes]]:
    """Give a new binary file that replaces `target` once the block has ended without an error.

    Raises:
        OSError: if the file cannot be written; then `target` is as it was, and no draft is left.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with drafted(Path(folder, "model.bin")) as file:
    ...         _ = file.write(b"weights")
    ...     os.listdir(folder)
    ['model.bin']
    """
    # Beside the target, because a file can only be moved in one step within a file system.
    draft = target.with_name(f".{target.name[:50]}.{token_hex(8)}.part")
    try:  # around all of it: an interrupt may come as soon as the draft is there
        with open(draft, "x+b", opener=_opener) as file:
            yield file
        _sync(draft)  # some writers open it once more, by its name
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    with suppress(OSError):
        _sync(target.parent)


def save_bytes(path: str | os.PathLike[str], data: bytes, force: bool = False) -> Path:
    """Write `data` at `path`; a reader sees either the old file or the new one.

    Raises:
        ArgumentError: as `check_target`, or the file cannot be written: then the data is kept in a
            second place, which the message names.
    """
    target = as_path(path)
    check_target(target, force)
    try:
        with drafted(target) as file:
            file.write(data)
    except OSError as error:

        def write(folder: Path) -> None:
            with drafted(folder / target.name[-100:]) as file:
                file.write(data)

        raise _refusal(target, error, _elsewhere(write)) from error
    return target


def save_text(path: str | os.PathLike[str], text: str, force: bool = False) -> Path:
    """Write `text` as UTF-8, its line ends as they are: CSV has its own. Raises as `save_bytes`.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_text(Path(folder, "page.html"), "<!doctype html>").name
    'page.html'
    """
    return save_bytes(path, encodable(text).encode(), force)


def save_folder(
    folder: str | os.PathLike[str], writers: Mapping[str, Callable[[IO[bytes]], None]]
) -> Path:
    """Write several files of one folder, which is made if need be.

    Args:
        folder: where they go.
        writers: by the name of its file, what writes it. The files appear in this order, once all
            of them are written.

    Raises:
        ArgumentError: if they cannot be written: then they are kept in a second place, which the
            message names.
    """
    target = as_path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        _fill(target, writers)
    except OSError as error:
        raise _refusal(target, error, _elsewhere(lambda place: _fill(place, writers))) from error
    return target


def _fill(folder: Path, writers: Mapping[str, Callable[[IO[bytes]], None]]) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
        for name, write in writers.items():
            with drafted(Path(scratch, name)) as file:
                write(file)
        with alone(folder):
            for name in writers:
                os.replace(Path(scratch, name), folder / name)
        with suppress(OSError):
            _sync(folder)


def encodable(text: str) -> str:
    r"""A text that UTF-8 can hold: half a surrogate pair, which a file's name can have, is escaped.

    >>> encodable("conv"), encodable("\ud800")
    ('conv', '\\ud800')
    """
    return text.encode("utf-8", "backslashreplace").decode()


def _elsewhere(write: Callable[[Path], None]) -> str:
    """Keep a result that could not go where it should: the work behind it may have taken hours."""
    places = [tempfile.gettempdir(), os.getcwd(), os.path.expanduser("~")]
    for place in dict.fromkeys(places):
        try:
            folder = Path(tempfile.mkdtemp(prefix="convsmith-kept-", dir=place))
        except OSError:
            continue
        try:
            write(folder)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        return f"; the result is kept in {str(folder)!r}"
    return "; no other place could take the result either"


def _refusal(target: Path, error: OSError, kept: str = "") -> ArgumentError:
    return ArgumentError(
        f"cannot write to {str(target)!r}: {error.strerror or first_line(error)}{kept}"
    )


def _sync(path: Path) -> None:
    """Make what was written to a file, or renamed in a folder, outlast a power cut.

    Raises:
        OSError: for a file that the disk could not take after all.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    except OSError:  # a folder cannot be opened everywhere
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise
    finally:
        os.close(handle)
