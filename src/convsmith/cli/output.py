"""What verbs print and write: data on standard output, talk on standard error, files whole or not.

rich is imported when something is drawn, so that errors and `--help` stay quick.
"""

from __future__ import annotations

import csv as csv_format
import json as json_format
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from html import escape
from io import StringIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Protocol

import typer

from convsmith._version import __version__
from convsmith.errors import ArgumentError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = [
    "Advance",
    "Csv",
    "Force",
    "Html",
    "Json",
    "check_targets",
    "console",
    "emit",
    "progress",
    "talk",
    "writing",
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
    typer.Option("--html", metavar="[FILE.html]", help="Write a page, to a file or to standard "
                 "output."),
]  # fmt: skip
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]

# A report in a pipe or file is not cut to a screen that it never sees.
_UNBOUNDED = 10_000


class Advance(Protocol):
    """What a progress bar hands out: call it when `n` more steps are done."""

    def __call__(self, n: int = 1) -> None:
        """Move the bar on by `n` steps."""


class Result(Protocol):
    """What verbs report: a frozen dataclass that gives itself as plain data."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as dicts, lists, strings and numbers."""


def console(*, stderr: bool = False) -> Console:
    """Return rich's console for data (standard output) or for talk (standard error).

    `NO_COLOR`, `TERM=dumb` and pipes are rich's business; markup is off, for a shape such as
    `[1, 3]` is none.
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
    """Say something to the person at the terminal, on standard error."""
    print(message, file=sys.stderr, flush=True)


def check_targets(*targets: str | None, force: bool = False) -> None:
    """Refuse, before any work is done, files that `emit` or `writing` could not write.

    Args:
        targets: paths; `None` and `-` (standard output) need no check but may be given.
        force: whether files that exist may be overwritten.

    Raises:
        ArgumentError: naming the file that exists, the folder that does not, or two reports that
            would both go to standard output or to one file.
    """
    named = [target for target in targets if target is not None]
    if named.count("-") > 1:
        raise ArgumentError("only one report fits on standard output: give the others a file")
    taken: set[str] = set()
    for target in named:
        if target == "-" or _is_device(target):
            continue
        if not target:
            raise ArgumentError("a file to write has an empty name")
        path = os.path.realpath(target)
        if os.path.isdir(path):
            raise ArgumentError(f"{target} is a folder, expected a file")
        if not os.path.isdir(os.path.dirname(path)):
            raise ArgumentError(f"{target}: there is no folder {os.path.dirname(target)!r}")
        if os.path.exists(path) and not force:
            raise ArgumentError(f"{target} exists: pass --force to overwrite it")
        if path in taken:
            raise ArgumentError(f"{target} is to hold two reports: give each its own file")
        taken.add(path)


@contextmanager
def writing(target: str, *, force: bool = False) -> Iterator[IO[str]]:
    """Open a text file (UTF-8) that appears complete when the block ends well, else not at all.

    Args:
        target: a path, or `-` for standard output.
        force: whether a file that exists may be overwritten.

    Raises:
        ArgumentError: see `check_targets`.
    """
    check_targets(target, force=force)
    if target == "-":
        yield sys.stdout
        return
    # Replacing a pipe or /dev/null would put a file in its place.
    if _is_device(target):
        with open(target, "w", encoding="utf-8", newline="") as stream:
            yield stream
        return
    path = os.path.realpath(target)
    aside = f"{path}.{os.getpid()}.part"
    try:
        # Not tempfile's own: its files are for their owner alone, and a report is for colleagues.
        with open(aside, "x", encoding="utf-8", newline="") as stream:
            yield stream
        os.replace(aside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise


def emit(
    result: Result | Mapping[str, Any],
    *,
    report: str,
    table: RenderableType | Callable[[], RenderableType],
    rows: Callable[[], Sequence[Mapping[str, Any]]] | None = None,
    page: Callable[[], str] | None = None,
    json: str | None = None,
    csv: str | None = None,
    html: str | None = None,
    force: bool = False,
) -> None:
    """Print a result as a table, or write it in the formats that were asked for.

    Args:
        result: plain data, or what has `to_dict()`.
        report: the kind of report, such as `inspection`: a key of the JSON and the page's title.
        table: what rich prints when no other format is asked for, or what makes it.
        rows: what makes the rows of the CSV, all with the keys of the first.
        page: what makes the HTML: a fragment, which is wrapped into a page, or a whole page.
        json: a file, or `-` for standard output; likewise `csv` and `html`.
        csv: see `json`.
        html: see `json`.
        force: whether files that exist may be overwritten.

    Raises:
        ArgumentError: before anything is written, for a file that must not be (`check_targets`).
    """
    check_targets(json, csv, html, force=force)
    texts: list[tuple[str, str]] = []
    if json is not None:
        data = result if isinstance(result, Mapping) else result.to_dict()
        texts.append((json, as_json(report, data)))
    if csv is not None:
        if rows is None:
            raise ArgumentError(f"--csv: the {report} has no rows")
        texts.append((csv, as_csv(rows())))
    if html is not None:
        if page is None:
            raise ArgumentError(f"--html: the {report} has no page")
        texts.append((html, as_page(f"convsmith {report}", page())))
    for target, text in texts:
        with writing(target, force=force) as stream:
            stream.write(text)
        if target != "-" and sys.stderr.isatty():
            talk(f"wrote {target}")
    if not texts:
        console().print(table() if callable(table) else table)


def as_json(report: str, data: Mapping[str, Any]) -> str:
    """Return a report as JSON that says who wrote it, what it is, and its format's version.

    >>> print(as_json("count", {"macs": 9, "loss": float("nan")}))
    {
      "convsmith": "...",
      "report": "count",
      "version": 1,
      "macs": 9,
      "loss": null
    }
    <BLANKLINE>
    """
    head = {"convsmith": __version__, "report": report, "version": 1}
    document = _plain({**head, **data})
    return json_format.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV (RFC 4180, but with plain line ends), the first row's keys on top.

    >>> print(as_csv([{"layer": "conv, first", "macs": 9}]), end="")
    layer,macs
    "conv, first",9
    """
    text = StringIO()
    if rows:
        writer = csv_format.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def as_page(title: str, body: str) -> str:
    """Wrap a fragment of HTML into a self-contained page; a whole page stays as it is."""
    if body.lstrip().lower().startswith(("<!doctype", "<html")):
        return body
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>'
        f"\n<style>body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; }}</style>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Advance]:
    """Show a bar on standard error while the block runs; off a terminal, nothing.

    Args:
        description: what is going on, such as `reading images`.
        total: how many steps there are; without it the bar only moves.

    >>> with progress("counting", 3) as advance:
    ...     advance()
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield _ignore
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)

        def advance(n: int = 1) -> None:
            bar.advance(task, n)

        yield advance


def _is_device(target: str) -> bool:
    exists = os.path.exists(target) and not os.path.isdir(target)
    return target.startswith("/dev/") or (exists and not os.path.isfile(target))


def _ignore(n: int = 1) -> None:
    pass


def _plain(value: Any) -> Any:
    """Turn mappings, sequences and numbers of any library into JSON's own; no number is null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict())
    if hasattr(value, "tolist"):  # a number or array of numpy or torch
        return _plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no place in a JSON report")
