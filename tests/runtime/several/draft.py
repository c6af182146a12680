"""A network under construction: its source grows line by line, and each line runs as it is written.

It runs for several sets of inputs at once, which differ in size and in batch: a line that is
written serves them all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SCOPE", "STEPS", "Draft", "Unfit", "fill", "step"]

SCOPE = {"torch": torch, "nn": nn, "F": F}
MOST_VALUES, MOST_CHANNELS, LARGEST = 12000, 48, 300.0

STEPS: dict[str, Callable[[Draft], None]] = {}
"""Every step by name."""


class Unfit(Exception):
    """Raised for a step that does not fit what is there."""


def step(function: Callable[[Draft], None]) -> Callable[[Draft], None]:
    """Add a step to those that networks are made of."""
    assert function.__name__ not in STEPS, function.__name__
    STEPS[function.__name__] = function
    return function


def fill(name: str, part: nn.Module | nn.Parameter) -> None:
    """Give a part of a network its values, which depend on its name alone."""
    seeds = torch.Generator().manual_seed(crc32(name.encode()))
    named = [("", part)] if isinstance(part, nn.Parameter) else list(part.named_parameters())
    with torch.no_grad():
        for _, parameter in named:
            fan = parameter[0].numel() if parameter.ndim > 1 else 2
            parameter.copy_(torch.randn(parameter.shape, generator=seeds) * fan**-0.5)
        for module in part.modules() if isinstance(part, nn.Module) else ():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.copy_(torch.randn(module.num_features, generator=seeds) / 2)
                module.running_var.copy_(torch.rand(module.num_features, generator=seeds) + 0.5)


class Draft:
    """Source lines, modules, and the tensors that they compute for each set of inputs.

    Attributes:
        rng: what steps draw from.
        modules: the source of each module.
        lines: of the forward pass.
        values: the names of what later lines may read, the inputs first.
        scopes: for each set of inputs, everything by name.
        largest: the largest value on the way.
    """

    def __init__(self, rng: random.Random, sets: Sequence[dict[str, Any]]) -> None:
        self.rng = rng
        self.modules: dict[str, str] = {}
        self.lines: list[str] = []
        self.values = [name for name, value in sets[0].items() if isinstance(value, Tensor)]
        self.holder = nn.Module()
        # A network may write into its inputs.
        self.scopes = [{**SCOPE, "s": self.holder, **_cloned(inputs)} for inputs in sets]
        self.largest = 1.0
        self._names = 0

    def __getitem__(self, name: str) -> Tensor:
        """A value, for the first set of inputs."""
        value: Tensor = self.scopes[0][name]
        return value

    def name(self, letter: str = "v") -> str:
        """A name that nothing else has."""
        self._names += 1
        return f"{letter}{self._names}"

    def module(self, source: str) -> str:
        """Add a module or a parameter; the expression that refers to it."""
        name = self.name("m")
        made = eval(source, SCOPE)
        fill(name, made)
        setattr(self.holder, name, made.eval() if isinstance(made, nn.Module) else made)
        self.modules[name] = source
        return f"s.{name}"

    def let(self, expression: str) -> str:
        """Write a line that names a new value; the name."""
        name = self.name()
        self.run(f"{name} = {expression}")
        self.values.append(name)
        return name

    def run(self, line: str) -> None:
        """Write a line and run it."""
        with torch.no_grad():
            for scope in self.scopes:
                exec(line, scope)
        self.lines.append(line)

    def pick(self, *choices: Any) -> Any:
        """One of some choices."""
        return self.rng.choice(choices)

    def need(self, condition: object) -> None:
        """Give the step up unless something holds."""
        if not condition:
            raise Unfit

    def value(self, dims: int) -> str:
        """A value of so many dimensions, rather a late one."""
        fitting = [name for name in self.values if self[name].ndim == dims]
        self.need(fitting)
        weights = [1 + place for place in range(len(fitting))]
        return self.rng.choices(fitting, weights)[0]

    def map(self) -> str:
        """A value (N, C, H, W)."""
        return self.value(4)

    def vector(self) -> str:
        """A value (N, C)."""
        return self.value(2)

    def like(self, name: str, *alike: int) -> str:
        """Another value of as many dimensions, some of which agree."""
        fitting = [
            other
            for other in self.values
            if other != name
            and self[other].ndim == self[name].ndim
            and all(scope[other].shape[d] == scope[name].shape[d]
                    for scope in self.scopes for d in alike)
        ]  # fmt: skip
        self.need(fitting)
        return self.pick(*fitting)

    def check(self) -> None:
        """Refuse values that are too many, too large or without a place for the next step."""
        for scope in self.scopes:
            for value in (scope[name] for name in self.values):
                self.need(value.dtype == torch.float32 and value.numel() <= MOST_VALUES)
                self.need(value.ndim != 4 or value.shape[1] <= MOST_CHANNELS)
                self.need(0 not in value.shape[1:])
                if value.numel() and not value.isnan().any():
                    self.need(value.abs().max() < LARGEST)
                    self.largest = max(self.largest, float(value.abs().max()))


def _cloned(inputs: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.clone() if isinstance(value, Tensor) else value
        for name, value in inputs.items()
    }
