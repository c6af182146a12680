"""The lessons as pages that need no Python: marimo's WASM export, and what it has to be given.

Pyodide, which runs Python in the browser, has neither torch nor halide, and convsmith asks for
both; the rooms that these lessons use need neither. So a wheel of just those rooms, which asks for
nothing, goes into each page's own folder, and the notebook asks for that one.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from convsmith._version import __version__
from convsmith.errors import ArgumentError, ConvsmithError, MissingExtra, last_line
from convsmith.explore.lessons.lesson import LESSONS, index_page

__all__ = ["ROOMS", "browser_wheel", "export_lessons", "for_browser"]

ROOMS = ("arithmetic", "draw", "explore", "report")
"""What runs without torch."""

_PACKAGE = Path(__file__).parents[2]
_WHEEL = f"convsmith-{__version__}-py3-none-any.whl"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)

# marimo asks uv, which asks the network, for modules beside a notebook; ours has none beside it.
_EXPORT = """\
import sys
from marimo._cli.export import commands
commands.resolve_notebook_local_modules = lambda *_, **__: ()
from marimo._cli.cli import main
main(sys.argv[1:])
"""


def export_lessons(folder: str | Path, *, force: bool = False) -> Path:
    """Write the lessons that need no torch, each in a folder of its number, and a list of them.

    Nothing is fetched here. Who opens a page fetches Pyodide from marimo's host, unless the
    folder is put beside a copy of it (`marimo export html-wasm --offline`).

    Args:
        folder: made if need be.
        force: overwrite what is there.

    Raises:
        ArgumentError: the folder holds something and `force` is false.
        MissingExtra: without marimo.
    """
    if find_spec("marimo") is None:
        raise MissingExtra("exporting the lessons", extra="explore", package="marimo")
    target = Path(folder)
    if target.is_dir() and any(target.iterdir()) and not force:
        raise ArgumentError(f"{target} is not empty: choose another folder, or pass force=True")
    target.mkdir(parents=True, exist_ok=True)
    for lesson in LESSONS:
        if lesson.torch:
            continue
        with TemporaryDirectory() as scratch:
            source = Path(scratch, lesson.path.name)
            source.write_text(for_browser(lesson.path.read_text("utf-8")), encoding="utf-8")
            shutil.copy(lesson.path.parents[1] / "style.css", scratch)
            browser_wheel(Path(scratch, _WHEEL))
            place = target / str(lesson.number)
            done = subprocess.run(
                [
                    *(sys.executable, "-c", _EXPORT, "-q", "-y", "export", "html-wasm"),
                    *(str(source), "-o", str(place), "--mode", "run", "--no-sandbox", "--force"),
                ],
                capture_output=True,
                text=True,
            )
            if done.returncode:
                reason = last_line(done.stderr or done.stdout) or "marimo failed"
                raise ConvsmithError(f"lesson {lesson.number} cannot be exported: {reason}")
            (place / "CLAUDE.md").unlink(missing_ok=True)
    (target / "index.html").write_text(
        index_page("en", [lesson for lesson in LESSONS if not lesson.torch]), encoding="utf-8"
    )
    return target


def for_browser(notebook: str) -> str:
    r"""A lesson's notebook that asks for the wheel beside it, as marimo's export reads it.

    >>> print(for_browser("# /// script\n# ///").splitlines()[1][:43])
    # dependencies = ["numpy", "scipy", "convsm
    """
    head = "# /// script\n"
    if not notebook.startswith(head):
        raise ConvsmithError("a lesson begins with its script metadata")
    wants = f'# dependencies = ["numpy", "scipy", "convsmith @ ./{_WHEEL}"]\n'
    return (head + wants + notebook[len(head) :]).replace('"../style.css"', '"style.css"')


def browser_wheel(path: Path) -> Path:
    """A wheel of the rooms that need no torch; the same bytes every time."""
    # What stands beside the rooms is below all of them, and every room may ask for it.
    files = {f"convsmith/{path.name}": path for path in sorted(_PACKAGE.glob("*.py"))}
    files["convsmith/py.typed"] = _PACKAGE / "py.typed"
    for room in ROOMS:
        for source in sorted((_PACKAGE / room).rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                files[f"convsmith/{source.relative_to(_PACKAGE).as_posix()}"] = source
    contents = {name: source.read_bytes() for name, source in files.items()}
    info = f"convsmith-{__version__}.dist-info"
    contents[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: convsmith\nVersion: {__version__}\n".encode()
    )
    contents[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: convsmith\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in contents.items()]
    record = f"{info}/RECORD"
    contents[record] = ("\n".join([*lines, f"{record},,"]) + "\n").encode()
    with ZipFile(path, "w", ZIP_DEFLATED) as wheel:
        for name, data in contents.items():
            entry = ZipInfo(name, _LONG_AGO)
            entry.compress_type = ZIP_DEFLATED
            wheel.writestr(entry, data)
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
