"""Complete random networks: a layout of the image, some steps, and a form of the result."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.grammar import merges, pointwise, views, wholes, windows, writes  # noqa: F401
from tests.grammar.draft import STEPS, Draft, Unfit, build

__all__ = ["LAYOUTS", "Sample", "one_step", "sample", "write"]

LAYOUTS = ("NCL", "NCHW", "NCDHW", "NLC", "NHWC", "CHW", "CL", "NTCHW", "NT")
WEIGHTS = (20, 45, 12, 3, 8, 4, 2, 4, 2)
LENGTHS = {1: (9, 17), 2: (6, 10), 3: (3, 5)}
ENDS = ("plain",) * 8 + (
    "channels last", "argmax", "one channel", "pooled", "flat", "several", "named", "no batch",
)  # fmt: skip
Role = str | int | None


@dataclass(frozen=True)
class Sample:
    """A network of the grammar.

    Attributes:
        source: a class `Net`.
        shape: of its image, `layout` naming each dimension.
        roles: for each dimension of its (first) result "N", "C", the axis of the image that it runs
            along (numbered by their order in the image), or None.
        smooth: whether a gradient that is not zero shows all that is read.
        differentiable: whether gradients pass at all.
        steps: what it was written from: names with seeds.
    """

    source: str
    shape: tuple[int, ...]
    layout: str
    roles: tuple[Role, ...]
    smooth: bool
    differentiable: bool
    steps: tuple[tuple[str, int], ...]
    end: tuple[str, int]
    leaves_attributes: bool = False

    @property
    def space(self) -> list[int]:
        """The dimensions of the image that are space or time."""
        return [d for d, letter in enumerate(self.layout) if letter not in "NC"]

    def model(self) -> nn.Module:
        return build(self.source)

    def image(self, seed: int = 0) -> Tensor:
        return _image(self.shape, seed)

    def __str__(self) -> str:
        return f"{self.source}\n# {self.layout} {self.shape} -> {self.roles}"


def _image(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5


def sample(seed: int, most: int = 4) -> Sample:
    """Write the random network with this seed."""
    rng = random.Random(f"network {seed}")
    (layout,) = rng.choices(LAYOUTS, WEIGHTS)
    space = [letter for letter in layout if letter not in "NC"]
    lengths = iter(rng.randint(*LENGTHS[len(space)]) for _ in space)
    shape = tuple(
        rng.choice([1, 1, 2]) if c == "N" else rng.randint(1, 4) if c == "C" else next(lengths)
        for c in layout
    )
    only_smooth = rng.random() < 0.5
    steps: list[tuple[str, int]] = []
    depth, end = rng.randint(1, most), (rng.choice(ENDS), rng.randrange(10**6))
    for _ in range(12 * depth):
        if len(steps) == depth:
            break
        trial = [*steps, (rng.choice(list(STEPS)), rng.randrange(10**6))]
        try:
            network = write(layout, shape, trial, ("plain", 0))
        except Unfit:
            continue
        if network.smooth or not only_smooth:
            steps = trial
    try:
        return write(layout, shape, steps, end)
    except Unfit:
        return write(layout, shape, steps, ("plain", 0))


def one_step(name: str, seed: int = 0, layout: str | None = None) -> Sample:
    """The shortest network with one step of the grammar, on a map that it fits."""
    for turn in range(400):
        rng = random.Random(f"{name} {seed} {turn}")
        lay = layout or rng.choice(["NCHW", "NCHW", "NCL", "NCDHW"])
        # Of even length and with even channels, more of the steps fit.
        shape = tuple(
            1 if c == "N" else rng.choice([1, 2, 4]) if c == "C" else 2 * rng.randint(2, 4)
            for c in lay
        )
        try:
            return write(lay, shape, [(name, rng.randrange(10**6))], ("plain", 0))
        except Unfit:
            continue
    raise AssertionError(f"{name} fits no map")


def write(
    layout: str, shape: tuple[int, ...], steps: list[tuple[str, int]], end: tuple[str, int]
) -> Sample:
    """Write a network from its steps; `Unfit` where one does not fit."""
    rng = random.Random(f"{layout} {shape}")
    axes = list(range(sum(letter not in "NC" for letter in layout)))
    d = Draft(rng, _image(shape), axes)
    try:
        _enter(d, layout)
        for name, seed in steps:
            d.rng = random.Random(seed)
            with d.undone_if_unfit():
                STEPS[name](d)
        d.rng = random.Random(end[1])
        result, roles = _leave(d, end[0])
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise Unfit(str(error)) from error
    modules = [f"        s.{name} = {source}" for name, source in d.modules.items()]
    lines = [f"        {line}" for line in d.lines]
    source = "\n".join(
        ["class Net(nn.Module):", "    def __init__(s):", "        super().__init__()", *modules,
         "    def forward(s, x):", *lines, f"        return {result}", ""]
    )  # fmt: skip
    return Sample(
        source, shape, layout, tuple(roles), d.smooth, d.differentiable, tuple(steps), end,
        d.leaves_attributes,
    )  # fmt: skip


def _enter(d: Draft, layout: str) -> None:
    """Put the image into the order (batch, channels, *space)."""
    channels = d.x.shape[layout.index("C")] if "C" in layout else 1
    if layout in ("NHWC", "NLC"):
        if d.chance(0.4):
            d.run(f"x = {d.module(f'nn.Linear({channels}, 3)')}(x)")
        last = d.x.ndim - 1
        d.run(d.pick(f"x = x.permute(0, {last}, {', '.join(map(str, range(1, last)))})",
                     "x = x.movedim(-1, 1)"))  # fmt: skip
    elif layout in ("CHW", "CL"):
        if d.chance(0.5):
            dims = len(layout) - 1
            d.run(f"x = {d.module(f'nn.Conv{dims}d({channels}, 2, 3, padding=1)')}(x)")
        d.run(d.pick("x = x.unsqueeze(0)", "x = x[None]"))
    elif layout == "NTCHW":
        if d.chance(0.5):
            conv = d.module(f"nn.Conv2d({channels}, 2, 3, padding=1)")
            d.run(f"x = {conv}(x.flatten(0, 1)).unflatten(0, x.shape[:2])")
        d.run(d.pick("x = x.permute(0, 2, 1, 3, 4)", "x = x.transpose(1, 2)"))
    elif layout == "NT":
        d.run(d.pick("x = x.unsqueeze(1)", "x = x[:, None]"))


def _leave(d: Draft, end: str) -> tuple[str, list[Role]]:
    """Write what the network returns; gives the expression and the roles of its dimensions."""
    roles: list[Role] = ["N", "C", *d.axes]
    space = tuple(range(2, d.x.ndim))
    if end == "channels last":
        d.run("x = x.movedim(1, -1)")
        return "x", ["N", *d.axes, "C"]
    if end == "argmax":
        d.rough()
        d.blocked()
        d.run("x = x.argmax(1)")
        return "x", ["N", *d.axes]
    if end == "one channel":
        d.run(d.pick("x = x[:, 0]", "x = x.select(1, -1)", "x = x.mean(1)"))
        return "x", ["N", *d.axes]
    if end == "pooled":
        d.need(space)
        linear = d.module(f"nn.Linear({d.channels}, 3)")
        d.run(f"x = {linear}(x.mean({space}))")
        return "x", ["N", "C"]
    if end == "flat":
        lengths = list(d.x.shape[1:])
        (longer, *more) = [i for i, n in enumerate(lengths) if n != 1] or [0]
        # A map of one row and one channel stays what it is.
        role = d.axes[longer - 1] if longer and not more else None
        d.run("x = x.flatten(1)")
        return "x", ["N", role]
    if end == "several":
        return "x, x.mean()", roles
    if end == "named":
        return "{'out': x, 'mean': x.mean()}", roles
    if end == "no batch":
        d.need(d.x.shape[0] == 1)
        d.run(d.pick("x = x.squeeze(0)", "x = x[0]"))
        return "x", roles[1:]
    return "x", roles
