"""Files that are almost right: bytes and JSON with a few wrong places, and what comes of them."""

from __future__ import annotations

import inspect
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import wraps
from random import Random
from typing import Any

from convsmith.errors import ConvsmithError
from tests.thoroughness import THOROUGH

# A nightly run asks for so many files of every kind, and from another seed on.
EVERY = int(os.environ.get("CONVSMITH_FUZZ", "0"))
FIRST = int(os.environ.get("CONVSMITH_FUZZ_SEED", "0"))
SECONDS, BYTES = 10.0, 1 << 30

STRANGE: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, -(10**30), 1.5, 1e308, float("inf"),
    float("nan"), "", "x", "../x", "/etc/passwd", "\0", "\ud800", "=1+1", "\x1b[31m", "<b>", "\n",
    "os:abort", "meta", "torch.ops.aten.from_file.default", "9**9**9", "x" * 1000, [], {}, [[]],
    [1, 2], {"x": 1}, {"as_int": 2**40}, {"form": "steps", "steps": []},
]  # fmt: skip


def fuzzed(quick: int, thorough: int = 20_000) -> Callable[[Any], Any]:
    """Run a test with the seeds of so many mutants, the same ones every time.

    A loop costs a tenth of what hypothesis does, whose shrinking of a seed means nothing.
    """
    count = EVERY or (thorough // 4 if THOROUGH else quick)  # all of them in a nightly run

    def wrap(test: Any) -> Any:
        @wraps(test)
        def loop(**fixtures: Any) -> None:
            for seed in range(FIRST, FIRST + count):
                try:
                    test(**fixtures, seed=seed)
                except BaseException as error:
                    error.add_note(f"{test.__name__}: the mutant of seed {seed}")
                    raise

        parameters = inspect.signature(test).parameters
        loop.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [each for name, each in parameters.items() if name != "seed"]
        )
        return loop

    return wrap


@contextmanager
def ends_well() -> Iterator[None]:
    """A reader that gives a result, or one line of our own, soon and without much memory."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        yield
    except ConvsmithError as error:
        message = str(error)
        assert message and "\n" not in message.strip(), message
        assert len(message) < 2000, message[:500]
    assert time.process_time() - start < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < BYTES


def mutant(data: bytes, random: Random) -> bytes:
    """Bytes with a few places changed, put in, left out, repeated or cut off."""
    content = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        at = random.randrange(len(content) + 1)
        kind = random.randrange(6)
        if kind == 0 and content:
            content[at % len(content)] ^= 1 << random.randrange(8)
        elif kind == 1 and content:
            content[at % len(content)] = random.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            content[at:at] = random.randbytes(random.randrange(1, 9))
        elif kind == 3:
            del content[at : at + random.randrange(1, 17)]
        elif kind == 4:
            content[at:at] = content[max(0, at - random.randrange(1, 65)) : at]
        else:
            del content[at:]
    return bytes(content)


def mutant_json(document: Any, random: Random) -> Any:
    """A document with a few values replaced, left out or put in, at any depth."""
    document = json.loads(json.dumps(document))
    for _ in range(random.choice((1, 1, 2, 3))):
        inner = document
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = random.choice(keys)
            value = inner[key]
            if isinstance(value, (dict, list)) and value and random.random() < 0.8:
                inner = value
                continue
            kind = random.randrange(4)
            if kind == 0:
                del inner[key]
            elif kind == 1 and isinstance(inner, dict):
                inner[str(random.choice(STRANGE))] = value
            else:
                inner[key] = deepcopy(random.choice(STRANGE))
            break
    return document


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode("utf-8", "surrogatepass")
