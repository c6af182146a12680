"""Wild command lines and calls, made from the signatures: a right answer or a clean refusal."""

from __future__ import annotations

import inspect
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import click
import pytest
import torch
from torch import nn
from typer.main import get_command

import convsmith as cs
from convsmith.cli.main import VERBS, main
from convsmith.errors import ConvsmithError
from tests.thoroughness import THOROUGH, thinned

# A nightly run asks for other ones, by a seed, and for more of them.
SEED = int(os.environ.get("CONVSMITH_WILD", "0"))
LINES = 600 if SEED else 150 if THOROUGH else 40
CALLS = 6 if SEED else 3 if THOROUGH else 2  # of each function
SECONDS = 60.0

# Verbs that serve until they are stopped, train for minutes, or time every runtime.
LONG = {"gallery"}
ENDLESS = {"explore", "lessons", "demo"}
WORDS = [
    "", "0", "-1", "1", "2", "3", "1.5", "1e309", "nan", "inf", "9" * 30, "1000000000", "x", "-",
    "1,3,16,16", "1x3x8x8", "1,3,99999999,99999999", "1,,3", "0,0", "-1,3", "3x3", "2:1", "100000",
    "my.py:build", "my.py", "my.py:nothing", "os:getcwd", "torchvision:nothing", "missing.pt2",
    "digits", "out.json", "out.svg", "no/such/folder/x.json", "/", "/dev/null", "\x1b[31m", "\n",
    "卷积", "\udc80", "same", "valid", "layer", "all", "zh", "dark", "--", "--nothing", "=1",
]  # fmt: skip
MODEL = """import torch
def build():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU())
"""


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of every verb, with what its signature says it takes."""
    from importlib import import_module

    import typer

    for verb, entry in VERBS.items():
        if verb in ENDLESS:
            continue
        given = import_module(entry.module).command
        app = given
        if not isinstance(given, typer.Typer):
            app = typer.Typer(add_completion=False)
            app.command(verb)(given)
        command = get_command(app)
        inner = getattr(command, "commands", None)
        if inner is None:
            yield (verb,), command
        else:
            named = ((name, each) for name, each in inner.items() if name not in LONG)
            yield from (((verb, name), each) for name, each in named)


COMMANDS = list(commands())


def line(random: Random) -> list[str]:
    """A command line of known options with wild values; most arguments are there."""
    path, command = random.choice(COMMANDS)
    words = list(path)
    for parameter in command.params:
        is_argument = parameter.param_type_name == "argument"
        if not is_argument and random.random() > (0.9 if parameter.required else 0.2):
            continue
        value = random.choice(["my.py:build", random.choice(WORDS)])
        value = value if is_argument else random.choice([random.choice(WORDS), "1,3,16,16", "2"])
        if is_argument:
            words.append(value)
        elif getattr(parameter, "is_flag", False):
            words.append(random.choice(parameter.opts))
        else:
            words += [random.choice(parameter.opts), value]
    if random.random() < 0.1:
        words.insert(random.randrange(1, len(words) + 1), random.choice(WORDS))
    # Whoever asks for a day of measuring gets it.
    return [*words, "--seconds", "0.1"] if path == ("bench",) else words


def test_the_signatures_are_read() -> None:
    assert {path[0] for path, _ in COMMANDS} >= {"inspect", "lighten", "dilate", "tile", "draw"}
    assert len(COMMANDS) > 12
    assert sum(len(command.params) for _, command in COMMANDS) > 200
    assert isinstance(COMMANDS[0][1], click.Command) or COMMANDS[0][1].params


@pytest.mark.parametrize("part", thinned(range(10)))
def test_wild_command_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], part: int
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "my.py").write_text(MODEL)
    random, counted = Random(10 * SEED + part), Counter[int]()
    for _ in range(LINES // 10):
        words = line(random)
        start = time.process_time()
        status = main(words)
        out, err = capfd.readouterr()
        counted[status] += 1
        assert status in (0, 1, 2), (words, status, err)
        assert "a bug in convsmith" not in err and "Traceback" not in err, (words, err)
        assert status == 0 or err.strip(), (words, out)
        assert time.process_time() - start < SECONDS, words
    assert counted[2] > 0


THINGS: list[Any] = [
    None, True, 0, 1, -1, 2, 3, 1.5, float("nan"), float("inf"), 10**30, "", "x", "same", "\0",
    (), (1,), (1, 3, 16, 16), (1, 3, 10**9, 10**9), (0, 0), [1, 2], {}, {"x": 1}, object(), int,
    b"x", {1}, torch.zeros(1, 3, 16, 16), torch.zeros(0), nn.ReLU(),
    nn.Sequential(nn.Conv2d(3, 4, 3)), cs.Conv(1, 1, 3), range(3), 2j,
]  # fmt: skip
NET = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)).eval()
SIZE = (1, 3, 16, 16)


def made() -> dict[str, Any]:
    """One of each object that a user is given."""
    inspected = cs.inspect(NET, SIZE)
    return {
        "Inspection": inspected,
        "ReceptiveField": inspected.receptive_field,
        "Compiled": cs.compile(NET, SIZE, threads=1),
        "Tiled": cs.tile(NET, SIZE, tile=8),
        "Dilated": cs.dilate(NET, SIZE, output_stride=1),
        "Network": cs.trace(NET, SIZE),
        "Conv": cs.Conv(3, 4, 3),
        "Chain": cs.Chain(cs.Conv(3, 4, 3), cs.Pool(2)),
        "Scene": cs.draw.animate(cs.Conv(1, 1, 3), (5, 5)),
    }


def face() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function, class and method of the public face that a user calls."""
    for name in cs.__all__:
        given = getattr(cs, name)
        if inspect.isfunction(given) or given in (cs.Conv, cs.ConvTranspose, cs.Pool, cs.Chain):
            yield name, given
    for room in (cs.nn, cs.draw):
        for name in room.__all__:
            given = getattr(room, name)
            if inspect.isfunction(given) or (
                inspect.isclass(given) and issubclass(given, nn.Module)
            ):
                yield f"{room.__name__.rpartition('.')[2]}.{name}", given
    for name, thing in made().items():
        for method, given in inspect.getmembers(thing, inspect.ismethod):
            if method[0] != "_" and method in vars(type(thing)):
                yield f"{name}.{method}", given


# Bases of layers, which have no kernels to set up.
BASES = {"nn.ComposedConv", "nn.SeparablePair"}
API = {name: function for name, function in face() if name not in BASES}
GOOD = {
    "model": NET, "example": SIZE, "layer": cs.Conv(1, 1, 3), "layers": [cs.Conv(1, 1, 3)],
    "images": torch.zeros(4, 3, 16, 16), "size": (5, 5), "image": [[0] * 8] * 8,
    "in_channels": 4, "out_channels": 4, "kernel_size": 3, "weight": torch.zeros(4, 4, 3, 3),
    "source": torch.zeros(1, 3, 16, 16).numpy(),
}  # fmt: skip
# What PyTorch itself says of a device or type of numbers that it has not got.
TORCHS = {"device", "dtype"}


def parameters(name: str) -> list[inspect.Parameter]:
    """What a function of the face takes."""
    return [
        each for each in inspect.signature(API[name]).parameters.values()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY) and each.name not in TORCHS
    ]  # fmt: skip


def call(name: str, words: dict[str, Any]) -> None:
    """A right answer, or a refusal in one line; or Python's word that no annotation allows it."""
    start, message = time.process_time(), ""
    try:
        API[name](**words)
    except ConvsmithError as error:
        message = str(error)
    except TypeError:
        pass
    except RuntimeError as error:  # a tensor where a word or a truth value belongs
        if "Boolean value of Tensor" not in str(error):
            raise AssertionError(words) from error
    except Exception as error:
        raise AssertionError(words) from error
    assert "\n" not in message.strip(), (words, message)
    assert time.process_time() - start < SECONDS, words


@pytest.mark.parametrize("name", API)
def test_one_wild_argument(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each argument by itself is each of the things, the others being as they should."""
    monkeypatch.chdir(tmp_path)
    given, random = parameters(name), Random(f"{name} {SEED}")
    needed = {each.name: GOOD.get(each.name, 3) for each in given if each.default is each.empty}
    for each in given:
        for thing in THINGS if SEED else random.sample(THINGS, 8 if THOROUGH else 5):
            call(name, {**needed, each.name: thing})


@pytest.mark.parametrize("name", thinned(API, 2))
def test_wild_calls(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = Random(f"{name} {SEED}")
    for _ in range(CALLS):
        words = {}
        for each in parameters(name):
            if each.default is each.empty or random.random() < 0.25:
                use_good = each.name in GOOD and random.random() < 0.6
                words[each.name] = GOOD[each.name] if use_good else random.choice(THINGS)
        call(name, words)
