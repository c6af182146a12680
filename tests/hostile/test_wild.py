"""Wild command lines and calls, made from the signatures: a right answer or a clean refusal."""

from __future__ import annotations

import inspect
import os
import time
from collections import Counter
from collections.abc import Iterator
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
from tests.hostile.mutation import THOROUGH

# A nightly run asks for other ones, by a seed, and for more of them.
SEED = int(os.environ.get("CONVSMITH_WILD", "0"))
LINES = 600 if SEED else 300 if THOROUGH else 100
CALLS = 400 if SEED or THOROUGH else 120
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


@pytest.mark.parametrize("part", range(10))
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
# These are calls of torch's kind, whose arguments are tensors and modules.
API = {
    "Conv": cs.Conv, "ConvTranspose": cs.ConvTranspose, "Pool": cs.Pool, "inspect": cs.inspect,
    "trace": cs.trace, "compile": cs.compile, "dilate": cs.dilate, "lighten": cs.lighten,
    "load": cs.load, "animate": cs.draw.animate,
}  # fmt: skip


@pytest.mark.parametrize("name", API)
def test_wild_calls(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random, function = Random(f"{name} {SEED}"), API[name]
    parameters = [
        each for each in inspect.signature(function).parameters.values()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]  # fmt: skip
    for _ in range(max(1, CALLS // len(API))):
        words = {}
        for each in parameters:
            required = each.default is each.empty
            if required or random.random() < 0.25:
                good = {"model": THINGS[-5], "example": (1, 3, 16, 16)}.get(each.name)
                use_good = good is not None and random.random() < 0.6
                words[each.name] = good if use_good else random.choice(THINGS)
        start = time.process_time()
        message = ""
        try:
            function(**words)
        except ConvsmithError as error:
            message = str(error)
        except TypeError:  # of a kind that no annotation allows
            pass
        assert "\n" not in message.strip(), (words, message)
        assert time.process_time() - start < SECONDS, words
