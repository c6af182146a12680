"""A network under construction: source grows line by line, and each line runs as it is written.

Between two steps of the grammar the map is laid out as (batch, channels, *space). `axes` holds, for
each dimension of space, the axis of the image it runs along, or None if several were merged.
"""

from __future__ import annotations

import contextlib
import copy
import linecache
import random
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["STEPS", "Draft", "Unfit", "build", "step"]

STEPS: dict[str, Callable[[Draft], None]] = {}
"""Every step of the grammar by name."""

MOST_VALUES, LONGEST, MOST_CHANNELS = 3000, 20, 12


class Unfit(Exception):
    """Raised for a step that does not fit the current map."""


def step(function: Callable[[Draft], None]) -> Callable[[Draft], None]:
    """Add a step to the grammar."""
    assert function.__name__ not in STEPS, function.__name__
    STEPS[function.__name__] = function
    return function


class Draft:
    """Source lines, modules, and the tensors they compute for one image."""

    def __init__(self, rng: random.Random, image: Tensor, axes: list[int | None]) -> None:
        self.rng, self.axes = rng, axes
        self.modules: dict[str, str] = {}
        self.lines: list[str] = []
        self.smooth = True  # gradients that are not zero show everything that is read
        self.differentiable = True  # gradients pass at all
        self.leaves_attributes = False
        self.names = 0
        self.holder = nn.Module()
        self.scope = _scope() | {"s": self.holder, "x": image}

    @property
    def x(self) -> Tensor:
        return self.scope["x"]

    @property
    def dims(self) -> int:
        return self.x.ndim - 2

    @property
    def channels(self) -> int:
        return self.x.shape[1]

    @property
    def space(self) -> tuple[int, ...]:
        return tuple(self.x.shape[2:])

    def module(self, source: str) -> str:
        """Add a module or a parameter; returns the expression that refers to it."""
        name = f"m{self._number()}"
        self.modules[name] = source
        torch.manual_seed(0)
        setattr(self.holder, name, eval(source, self.scope))
        positive(self.holder.double().eval())
        return f"s.{name}"

    def parameter(self, *shape: int) -> str:
        return self.module(f"nn.Parameter(torch.ones{shape})")

    def name(self) -> str:
        """Return a variable name that no other line uses."""
        return f"v{self._number()}"

    def _number(self) -> int:
        self.names += 1
        return self.names - 1

    def run(self, *lines: str) -> None:
        """Write lines and run them."""
        source = "\n".join(lines)
        with torch.no_grad():
            exec(source, self.scope)
        self.lines += source.split("\n")

    def rough(self) -> None:
        """Note that the result may depend on values through which no gradient passes."""
        self.smooth = False

    def blocked(self) -> None:
        """Note that gradients stop here, or that torch has none."""
        self.differentiable = False

    def each(self, low: int, high: int) -> tuple[int, ...]:
        return tuple(self.rng.randint(low, high) for _ in range(self.dims))

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def pick(self, *choices):
        return self.rng.choice(choices)

    def need(self, condition: object) -> None:
        if not condition:
            raise Unfit

    def place(self) -> int:
        """Pick a dimension of space."""
        return 2 + self.rng.randrange(self.dims)

    def fits(self) -> None:
        """Refuse a map that is empty, too large, or not finite."""
        x = self.x
        self.need(x.ndim == 2 + len(self.axes) and x.is_floating_point())
        self.need(0 < x.numel() <= MOST_VALUES and x.shape[1] <= MOST_CHANNELS)
        self.need(max(x.shape[2:], default=1) <= LONGEST)
        # Beyond this a sigmoid or an error function would round to a constant.
        self.need(x.isfinite().all() and x.abs().max() < 12)

    @contextlib.contextmanager
    def undone_if_unfit(self) -> Iterator[None]:
        """Undo everything written in this block if it turns out not to fit."""
        kept = copy.copy(self.__dict__)
        modules, lines, axes = dict(self.modules), list(self.lines), list(self.axes)
        scope, children = (
            dict(self.scope),
            (dict(self.holder._modules), dict(self.holder._parameters)),
        )
        values = self.x.clone()
        try:
            yield
            self.fits()
        except (Unfit, RuntimeError, ValueError, IndexError, NotImplementedError) as error:
            self.__dict__.update(kept)
            self.modules, self.lines, self.axes, self.scope = modules, lines, axes, scope
            self.holder._modules, self.holder._parameters = children
            self.scope["x"] = values
            raise Unfit(str(error)) from error


def _scope() -> dict[str, object]:
    return {"torch": torch, "nn": nn, "F": F, "checkpoint": checkpoint}


def positive(model: nn.Module) -> None:
    """Weights that add up without cancelling and keep values near one."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        fan = max(1, parameter[0].numel()) if parameter.ndim > 1 else 1
        values = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5
        with torch.no_grad():
            parameter.data = values / fan


_count = iter(range(10**9))


def build(source: str) -> nn.Module:
    """Build the network from the source of its class `Net`, in float64 and evaluation mode."""
    scope, name = _scope(), f"<grammar {next(_count)}>"
    # Lets messages quote the line, as they do for a file on disk.
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), scope)
    torch.manual_seed(0)
    model = scope["Net"]().double().eval()
    positive(model)
    return model
