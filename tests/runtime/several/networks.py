"""Complete random networks: their inputs at several sizes and batches, some steps, some outputs."""

from __future__ import annotations

import linecache
import random
import re
from dataclasses import dataclass
from itertools import count, product
from typing import Any

import torch
from torch import nn

from tests.runtime.several import joins, layers, views  # noqa: F401
from tests.runtime.several.draft import SCOPE, STEPS, Draft, Unfit, fill

__all__ = ["Sample", "sample", "shrunk"]

KINDS = ("same", "same", "half", "batch", "batch", "one", "size", "clip", "vector")
FORMS = ("one", "tuple", "tuple", "list", "dict", "nested")
Steps = tuple[tuple[str, int], ...]
LAYERS = ("convolution", "convolution_norm_activation", "separable", "grouped", "transposed")
_NUMBER = count()


@dataclass(frozen=True)
class Sample:
    """A random network.

    Attributes:
        seed: of its inputs.
        source: its class, `Net`.
        sets: its inputs by name, at two sizes with two batches each.
        largest: the largest value on the way.
        steps: what it was written from: names with seeds.
        form: of what it returns, with a seed.
    """

    seed: int
    source: str
    sets: list[dict[str, Any]]
    largest: float
    steps: Steps
    form: tuple[str, int]

    def model(self) -> nn.Module:
        """The network, in evaluation mode."""
        name = f"<network {next(_NUMBER)}>"
        # Lets messages quote the line, as they do for a file on disk.
        lines = self.source.splitlines(keepends=True)
        linecache.cache[name] = (len(self.source), None, lines, name)
        scope: dict[str, Any] = dict(SCOPE)
        exec(compile(self.source, name, "exec"), scope)
        model: nn.Module = scope["Net"]()
        for part, child in [*model.named_children(), *model.named_parameters(recurse=False)]:
            fill(part, child)
        return model.eval()

    def __str__(self) -> str:
        shapes = [
            {n: tuple(v.shape) if hasattr(v, "shape") else v for n, v in inputs.items()}
            for inputs in self.sets
        ]
        return f"{self.source}\n# {shapes}\n# seed {self.seed}, steps {self.steps}"


def sample(seed: int, most: int = 7) -> Sample:
    """Write the random network with this seed.

    >>> str(sample(0)) == str(sample(0))
    True
    """
    rng = random.Random(f"several {seed}")
    depth, form = rng.randint(2, most), (rng.choice(FORMS), rng.randrange(10**6))
    names = list(STEPS)
    # Each step has its turn: those that need much would be rare.
    steps: Steps = ()
    rare = names[seed % len(names)]
    for _ in range(8 * depth):
        if len(steps) == depth:
            break
        wanted = rare not in dict(steps) and rng.random() < 0.5
        name = rare if wanted else rng.choice(list(LAYERS) if not steps else names)
        trial = (*steps, (name, rng.randrange(10**6)))
        try:
            write(seed, trial, form)
        except Unfit:
            continue
        steps = trial
    return write(seed, steps, form)


def write(seed: int, steps: Steps, form: tuple[str, int]) -> Sample:
    """Write a network from its steps; `Unfit` where one does not fit."""
    sets = _inputs(random.Random(f"inputs {seed}"))
    d = Draft(random.Random(seed), sets)
    try:
        for name, own in steps:
            d.rng = random.Random(own)
            STEPS[name](d)
            d.check()
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise Unfit(str(error)) from error
    d.rng = random.Random(form[1])
    returned = _returned(d, form[0])
    arguments = ", ".join(sets[0])
    modules = [f"        s.{name} = {made}" for name, made in d.modules.items()]
    lines = [f"        {line}" for line in d.lines]
    source = "\n".join(
        ["class Net(nn.Module):", "    def __init__(s):", "        super().__init__()", *modules,
         f"    def forward(s, {arguments}):", *lines, f"        return {returned}", ""]
    )  # fmt: skip
    return Sample(seed, source, sets, d.largest, steps, form)


def _inputs(rng: random.Random) -> list[dict[str, Any]]:
    """One to three inputs by name, of which some have a batch or a size of their own."""
    kinds = ["same", *(rng.choice(KINDS) for _ in range(rng.choice([0, 1, 1, 2])))]
    channels = [rng.choice([3, 3, 4, 8]) for _ in kinds]
    sizes = [[(rng.randint(3, 13), rng.randint(3, 13)) for _ in range(2)] for _ in kinds]
    # An empty batch is never the first one: nothing is compiled for it.
    batches = [[rng.randint(1, 4), rng.choice([0, 1, 2, 3, 4, 5])] for _ in kinds]
    scales = [rng.choice([0.5, 2.0]) for _ in range(4)] if rng.random() < 0.1 else []
    draws = torch.Generator().manual_seed(rng.randrange(2**31))
    sets = []
    for which, (size, batch) in enumerate(product(range(2), range(2))):
        inputs: dict[str, Any] = {}
        for place, (kind, number) in enumerate(zip(kinds, channels, strict=True)):
            n = batches[place if kind in ("batch", "clip") else 0][batch]
            rows, pixels = sizes[place if kind in ("size", "clip") else 0][size]
            shape: tuple[int, ...] = (1 if kind == "one" else n, number, rows, pixels)
            if kind == "half":
                shape = (n, number, -(-rows // 2), -(-pixels // 2))
            elif kind == "clip":
                shape = (n, 2 + size, number, rows, pixels)
            elif kind == "vector":
                shape = (n, 11)
            inputs[f"x{place}"] = torch.randn(shape, generator=draws)
        if scales:
            inputs["scale"] = scales[which]
        sets.append(inputs)
    return sets


def _returned(d: Draft, form: str) -> str:
    """The expression that a network returns: what no line reads, and some of the others."""
    read = set(re.findall(r"\w+", " ".join(line.partition(" = ")[2] for line in d.lines)))
    last = [value for value in d.values if value not in read]
    d.rng.shuffle(last)
    names = [*last[:4], *d.rng.sample(d.values, min(len(d.values), d.rng.randint(0, 2)))]
    names = names or d.values[-1:]
    if d.pick(True, False, False):
        names.append(f"{d.pick(*names)}[:1]")
    if form == "one":
        return names[0]
    if form == "list":
        return f"[{', '.join(names)}]"
    if form == "dict":
        return "{" + ", ".join(f"'y{place}': {name}" for place, name in enumerate(names)) + "}"
    if form == "nested":
        return f"({names[0]}, [{', '.join(names)}])"
    return f"({', '.join(names)},)"


def shrunk(found: Sample, fails: Any) -> Sample:
    """Leave out steps and outputs as long as `fails(sample)` stays true."""
    going = True
    while going:
        going = False
        steps = found.steps
        smaller = [(steps[:i] + steps[i + 1 :], found.form) for i in range(len(steps))]
        if found.form[0] != "one":
            smaller.append((steps, ("one", found.form[1])))
        for candidate in smaller:
            try:
                made = write(found.seed, *candidate)
            except Unfit:
                continue
            if fails(made):
                found, going = made, True
                break
    return found
