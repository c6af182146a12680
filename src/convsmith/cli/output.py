"""What verbs print and write: data to standard output, messages to standard error, whole files.

rich is imported only when something is drawn, so that errors and `--help` stay quick.
"""

from __future__ import annotations

import json as json_format
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from convsmith._version import __version__
from convsmith.errors import ArgumentError
from convsmith.report.plain import plain
from convsmith.report.progress import Lines
from convsmith.report.saving import as_path, encodable, save_text
from convsmith.report.text import clean

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, TaskID

    from convsmith.report.result import Result

__all__ = [
    "Advance",
    "Csv",
    "Force",
    "Html",
    "Json",
    "Original",
    "check_targets",
    "console",
    "emit",
    "progress",
    "steps",
    "talk",
    "write",
]

Json = Annotated[
    str | None,
    typer.Option("--json", metavar="[FILE.json]", help="Write JSON, to a file or standard output."),
]
Csv = Annotated[
    str | None,
    typer.Option("--csv", metavar="[FILE.csv]", help="Write CSV, to a file or standard output."),
]
Html = Annotated[
    str | None,
    typer.Option("--html", metavar="[FILE.html]", help="Write an HTML page, to a file or standard "
                 "output."),
]  # fmt: skip
Original = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="MODEL",
        help="For a saved folder: the model it was made from, if that is your own code.",
    ),
]  # fmt: skip
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]

# A report that goes to a pipe or file is not cut to the width of a screen.
_UNBOUNDED = 10_000


class Advance(Protocol):
    """The callable that a progress bar hands out: call it when `n` more steps are done."""

    def __call__(self, n: int = 1) -> None:
        """Move the bar on by `n` steps."""


def console(*, stderr: bool = False) -> Console:
    """Return rich's console for data (standard output) or messages (standard error).

    rich handles `NO_COLOR`, `TERM=dumb` and pipes; markup is off, since a shape such as `[1, 3]`
    is not markup.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        width=None if stream.isatty() else _UNBOUNDED,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
    )


def talk(message: str) -> None:
    """Print a message for the person at the terminal, on standard error."""
    print(clean(message), file=sys.stderr, flush=True)


def check_targets(*targets: str | None, force: bool = False) -> None:
    """Refuse files that `emit` or `write` could not write, before any work is done.

    Args:
        targets: paths; None and `-` (standard output) may be among them.
        force: whether files that exist may be overwritten.

    Raises:
        ArgumentError: naming the file that exists, the folder that does not, or two reports that
            would both go to standard output or to one file.
    """
    named = [target for target in targets if target is not None]
    if named.count("-") > 1:
        raise ArgumentError("only one report can go to standard output: give the others a file")
    taken: set[str] = set()
    for target in named:
        if target == "-":
            continue
        path = os.path.realpath(as_path(target))
        if os.path.isdir(path):
            raise ArgumentError(f"cannot write to {target!r}: it is not a file")
        if not os.path.isdir(os.path.dirname(path)):
            raise ArgumentError(f"cannot write {target!r}: no folder {os.path.dirname(target)!r}")
        if os.path.exists(path) and not force:
            raise ArgumentError(f"{target!r} exists; pass --force to replace it")
        if path in taken:
            raise ArgumentError(f"{target!r} would hold two reports: give each its own file")
        taken.add(path)


def emit(
    result: Result | Mapping[str, Any],
    *,
    table: RenderableType | None = None,
    page: Callable[[], str] | None = None,
    json: str | None = None,
    csv: str | None = None,
    html: str | None = None,
    force: bool = False,
) -> None:
    """Print a result as a table, or write it in the requested formats.

    Args:
        result: plain data, or a `Result`; `to_html()` is needed for a page.
        table: what is printed when no other format is requested, instead of `result.table()`.
        page: makes the HTML, instead of `result.to_html()`.
        json: a file, or `-` for standard output; likewise `csv` and `html`.
        csv: see `json`.
        html: see `json`.
        force: whether files that exist may be overwritten.

    Raises:
        ArgumentError: for a file that must not be written (`check_targets`), before anything is.
    """
    check_targets(json, csv, html, force=force)
    source: Any = result
    # All are made before the first is written, so that a report that fails leaves no file.
    texts = []
    if json is not None:
        texts.append((json, as_json(result if isinstance(result, Mapping) else result.to_dict())))
    if csv is not None:
        texts.append((csv, source.to_csv()))
    if html is not None:
        texts.append((html, source.to_html() if page is None else page()))
    for target, text in texts:
        write(target, text, force=force)
    if not texts:
        console().print(source.table() if table is None else table)


def write(target: str, text: str, *, force: bool = False) -> None:
    """Write text to standard output (`-`), or to a file that appears whole or not at all.

    Raises:
        ArgumentError: for a file that exists, without `force`, or a folder that does not.
    """
    if target == "-":
        sys.stdout.write(encodable(text))
        return
    save_text(target, text, force)
    talk(f"wrote {target}")


def as_json(data: Mapping[str, Any]) -> str:
    """Return plain data as JSON, with the version that wrote it; NaN and infinity become null.

    >>> print(as_json({"report": "training", "version": 1, "loss": float("nan")}).strip())
    {
      "convsmith": "...",
      "report": "training",
      "version": 1,
      "loss": null
    }
    """
    document = plain({"convsmith": __version__, **data})
    return json_format.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Advance]:
    """Show a progress bar on standard error while the block runs; nothing off a terminal.

    Args:
        description: what is happening, such as `reading images`.
        total: how many steps there are; without it the bar only pulses.

    >>> with progress("counting", 3) as advance:
    ...     advance()
    """
    if not _on_terminal():
        yield _ignore
        return
    with _bar() as bar:
        task = bar.add_task(description, total=total)

        def advance(n: int = 1) -> None:
            bar.advance(task, n)

        yield advance


@contextmanager
def steps() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar after another: the block calls what it gets as `(what, done, of)`.

    >>> with steps() as step:
    ...     step("fine-tuning", 1, 20)
    """
    if not _on_terminal():
        yield Lines()
        return
    with _bar() as bar:
        tasks: dict[str, TaskID] = {}

        def step(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=of or None)
            bar.update(tasks[what], completed=done, total=of or None)  # 0: nobody knows

        yield step


def _on_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _bar() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
    )


def _ignore(n: int = 1) -> None:
    pass
