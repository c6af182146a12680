"""`convsmith VERB …`: from the arguments to an exit code; only the requested verb is imported.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 broken pipe.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, cast

from convsmith._version import __version__
from convsmith.errors import ArgumentError, ConvsmithError, nearest
from convsmith.printing import prints_kept_back

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["VERBS", "Verb", "main"]


class Verb(NamedTuple):
    """A verb: the module whose `command` (a function or an app) it runs, and its line of help."""

    module: str
    help: str


VERBS = {
    "inspect": Verb(
        "convsmith.cli.inspect",
        "Count a network's parameters, MACs, FLOPs and bytes, layer by layer",
    ),
    "lighten": Verb(
        "convsmith.cli.lighten",
        "Rewrite a trained network with lighter convolutions",
    ),
    "dilate": Verb(
        "convsmith.cli.dilate",
        "Trade a trained network's strides for dilations, and verify the result",
    ),
    "bench": Verb(
        "convsmith.cli.bench",
        "Time a network in every installed runtime, and say which one to use",
    ),
    "tile": Verb(
        "convsmith.cli.tile",
        "Run a network on an image of any size, tile by tile, exactly",
    ),
    "export": Verb(
        "convsmith.cli.export",
        "Write a network as an ONNX file or a compiled one, and check it",
    ),
    "draw": Verb(
        "convsmith.cli.draw",
        "Draw a convolution step by step, as SVG, GIF, MP4, PNG or a page",
    ),
    "params": Verb(
        "convsmith.cli.params",
        "Show what one convolution costs, and what each of its parameters does",
    ),
    "demo": Verb(
        "convsmith.cli.demo",
        "Train, inspect, lighten and compare a small network on handwritten digits",
    ),
    "explore": Verb(
        "convsmith.cli.explore",
        "Try every parameter of a convolution in the browser",
    ),
    "lessons": Verb(
        "convsmith.cli.lessons",
        "Learn about convolutions in the browser: pictures, exercises, trained networks",
    ),
    "doctor": Verb(
        "convsmith.cli.doctor",
        "Show what is installed, and which instructions and threads would be used",
    ),
}

# Only what nobody has foreseen ends so; the input's fault has an error of its own.
_DEFECT = (
    " (a bug in convsmith; --debug shows where: please report it with that, and with what "
    "`convsmith doctor` prints)"
)
_OPTIONAL_FILE = {"--json": (".json",), "--csv": (".csv",), "--html": (".html", ".htm")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: what follows the program's name; by default, what this process was called with.

    >>> main(["--version"]) == 0
    convsmith ...
    True
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug, words = _take_debug(words)
    _open_streams()
    # A terminal or pipe that cannot show '×' shows '?', rather than losing the report.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        with _warnings(debug), _stoppable(), prints_kept_back():
            status = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_the_pipe()
        return 141
    except KeyboardInterrupt:
        return _fail("interrupted", 130, debug)
    except ArgumentError as error:
        # What the library calls its arguments, as it is typed here.
        return _fail(str(error).replace("pass force=True", "pass --force"), 2, debug)
    except ConvsmithError as error:
        return _fail(str(error), 1, debug)
    except ImportError as error:
        return _fail(f"{error} (`convsmith doctor` shows what is installed)", 1, debug)
    except MemoryError:
        return _fail("out of memory", 1, debug)
    except OSError as error:
        if error.errno == errno.ENOSPC:  # standard output, perhaps, and its next flush fails, too
            _leave_the_pipe()
        return _fail(str(error), 1, debug)
    except Exception as error:
        if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):
            return _fail("out of memory: it takes more than this machine has", 1, debug)
        hint = "" if debug else _DEFECT
        return _fail(f"{type(error).__name__}: {error}{hint}", 1, debug)
    return status


def _run(words: list[str]) -> int:
    if words and words[0] in ("-h", "--help"):
        print(_help())
        return 0
    if words and words[0] == "--version":
        print(f"convsmith {__version__}")
        return 0
    if not words:
        raise ArgumentError("no verb given: `convsmith --help` lists them")
    name, *rest = words
    verb = _verbs().get(name)
    if verb is None:
        kind = "option" if name.startswith("-") else "verb"
        hint = nearest(name, [*_verbs(), "--help", "--version", "--debug"])
        raise ArgumentError(f"no such {kind}: {name!r}{hint or '; `convsmith --help` lists them'}")
    return _run_verb(name, verb, _name_the_streams(rest))


def _run_verb(name: str, verb: Verb, words: list[str]) -> int:
    import typer
    from typer.main import get_command

    # typer keeps its copy of click to itself, or takes the installed one: both have this base.
    usage_error = cast("type[Exception]", typer.BadParameter.__mro__[2])
    given = import_module(verb.module).command
    # A verb with commands of its own is an app already.
    if isinstance(given, typer.Typer):
        app = given
    else:
        app = typer.Typer(
            add_completion=False,
            rich_markup_mode=None,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        app.command(name)(given)
    command = get_command(app)
    program = f"convsmith {name}"
    # Not `command.main`: it has its own mind about broken pipes and interrupts.
    try:
        with command.make_context(program, words) as context:
            command.invoke(context)
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except usage_error as error:
        said = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        inner = getattr(error, "ctx", None)
        place = program if inner is None else inner.command_path
        raise ArgumentError(f"{said} (see `{place} --help`)") from error
    return 0


def _verbs() -> dict[str, Verb]:
    return {name: verb for name, verb in VERBS.items() if find_spec(verb.module)}


def _help() -> str:
    verbs = _verbs()
    wide = max(map(len, verbs))
    return "\n".join(
        [
            "Usage: convsmith [--debug] VERB ...",
            "",
            "Inspect, lighten and run convolutional networks.",
            "",
            "Verbs (`convsmith VERB --help` shows what one takes):",
            *(f"  {name:{wide}}  {verb.help}" for name, verb in verbs.items()),
            "",
            "Options:",
            "  --debug     Show the traceback of an error",
            "  --version   Show the version",
            "  -h, --help  Show this message",
        ]
    )


def _take_debug(words: list[str]) -> tuple[bool, list[str]]:
    """Take `--debug` out, wherever it stands before a `--`."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    return len(kept) < end, kept + words[end:]


def _name_the_streams(words: list[str]) -> list[str]:
    """Give `--json`, `--csv` and `--html` the value `-` unless a file of that kind follows.

    So `--json MODEL` keeps its model; a file with another ending is written `--json=FILE`.

    >>> _name_the_streams(["--json", "net.pt2"])
    ['--json=-', 'net.pt2']
    >>> _name_the_streams(["net.pt2", "--json", "net.json"])
    ['net.pt2', '--json=net.json']
    """
    end = words.index("--") if "--" in words else len(words)
    named: list[str] = []
    rest = iter(words[:end])
    for word in rest:
        if word not in _OPTIONAL_FILE:
            named.append(word)
            continue
        following = next(rest, None)
        if following is None:
            named.append(f"{word}=-")
        elif following == "-" or following.lower().endswith(_OPTIONAL_FILE[word]):
            named.append(f"{word}={following}")
        else:
            named += _name_the_streams([word]) + _name_the_streams([following, *rest])
    return named + words[end:]


@contextmanager
def _warnings(debug: bool) -> Iterator[None]:
    """Keep libraries' warnings off the terminal, unless the user asked for them."""
    with warnings.catch_warnings():
        if not (debug or sys.warnoptions):
            warnings.simplefilter("ignore")
        yield


@contextmanager
def _stoppable() -> Iterator[None]:
    """End on Ctrl+C and on SIGTERM: drafts are removed, and what was kept stays whole.

    An interrupt may come anywhere. In a destructor or a callback Python drops it: it is sent again.
    Code that is left halfway may fail of that: the interrupt counts, and not what followed from it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True
        raise KeyboardInterrupt

    def dropped(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            before.setdefault(signal.SIGALRM, signal.signal(signal.SIGALRM, stop))
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        elif not stopped:
            hook(unraisable)

    hook, sys.unraisablehook = sys.unraisablehook, dropped
    # A shell's job in the background ignores SIGINT, and goes on doing so.
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except BaseException as error:
        if not stopped:
            raise
        each: BaseException | None = error
        while each is not None:
            traceback.clear_frames(each.__traceback__)
            each = each.__context__
        raise KeyboardInterrupt from error
    finally:
        if signal.SIGALRM in before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


def _fail(message: str, status: int, debug: bool) -> int:
    with suppress(BrokenPipeError):
        if debug:
            traceback.print_exc()
        print(f"convsmith: {_one_line(message)}", file=sys.stderr, flush=True)
    return status


def _one_line(message: str) -> str:
    """Join the lines of a message, and escape what could control a terminal.

    >>> _one_line(f"refused:{chr(10)}  a bell {chr(7)}").isprintable()
    True
    """
    joined = " ".join(line.strip() for line in message.splitlines() if line.strip())
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in joined
    )


class _Closed(io.TextIOBase):
    """Stands for a standard output that was closed: what is printed there would be lost."""

    def write(self, text: str) -> int:
        raise ArgumentError("standard output is closed: write the result to a file instead")


def _open_streams() -> None:
    """Give every standard stream that is closed something to stand for it.

    A file that is opened later would else get its number, and what C code prints to it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (as long as the process)


def _leave_the_pipe() -> None:
    """Send standard output nowhere, so that Python's final flush meets no broken pipe."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
