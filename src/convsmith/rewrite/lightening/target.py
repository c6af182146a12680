"""What `lighten` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, isfinite
from numbers import Real
from typing import Literal

from convsmith.errors import ArgumentError

__all__ = ["Target"]

Name = Literal["speedup", "latency_ms", "macs", "multiplier", "max_drop"]


@dataclass(frozen=True, slots=True)
class Target:
    """One aim.

    Attributes:
        name: `speedup`, `latency_ms` and `macs` are budgets, `multiplier` is a form, and
            `max_drop` is a share of images that may be lost.
        value: how much of it.
    """

    name: Name
    value: float

    @classmethod
    def of(cls, **asked: float | None) -> Target:
        """The target that was asked for; `speedup=2` if none was.

        Raises:
            ArgumentError: for several targets, or a value out of range.

        >>> Target.of(speedup=None, macs=0.5)
        Target(name='macs', value=0.5)
        """
        targets = {name: value for name, value in asked.items() if value is not None}
        if len(targets) > 1:
            raise ArgumentError(f"pass only one target, not {len(targets)}: {', '.join(targets)}")
        name, value = next(iter(targets.items())) if targets else ("speedup", 2.0)
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ArgumentError(f"{name} must be a number, not {value!r}")
        if not isfinite(value) or value < 0 or (value == 0 and name != "max_drop"):
            raise ArgumentError(f"{name} must be positive, not {float(value):g}")
        if name == "multiplier" and value != int(value):
            raise ArgumentError(f"multiplier must be a whole number, not {value!r}")
        if name == "max_drop" and value >= 1:
            raise ArgumentError(
                f"max_drop must be below 1 (0.01 is one percentage point), not {value:g}"
            )
        return cls(name, value)

    @property
    def timed(self) -> bool:
        """Whether milliseconds decide."""
        return self.name in ("speedup", "latency_ms", "max_drop")

    def budget(self, total: float) -> float:
        """What the network may cost that costs `total` now.

        >>> Target("speedup", 4).budget(10.0), Target("macs", 0.5).budget(10.0)
        (2.5, 5.0)
        """
        if self.name == "speedup":
            return total / self.value
        if self.name == "macs" and self.value < 1:
            return total * self.value
        return self.value

    def of_cost(self, cost: float, total: float) -> str:
        """This target with the value that a cost would meet, as it was asked for, rounded to it.

        >>> Target("macs", 0.05).of_cost(4.201, 10.0), Target("speedup", 9).of_cost(4.201, 10.0)
        ('macs=0.421', 'speedup=2.38')
        """
        if self.name == "speedup":
            return f"speedup={floor(100 * total / cost) / 100:.2f}"
        if self.name == "macs" and self.value < 1:
            return f"macs={ceil(1000 * cost / total) / 1000:g}"
        if self.name == "macs":
            return f"macs={ceil(cost)}"
        return f"{self.name}={cost * 1.005:.3g}"

    def best(self, cost: float, total: float) -> str:
        """Say what can be met, the best of all costs being this one.

        >>> Target("macs", 100).best(252_544, 1e6)
        'the lowest achievable is 252,544 MACs'
        """
        if self.name != "macs":
            return f"the best here is {self.of_cost(cost, total)}"
        told = self.of_cost(cost, total) if self.value < 1 else f"{ceil(cost):,} MACs"
        return f"the lowest achievable is {told}"

    def __str__(self) -> str:
        value = self.value
        if self.name == "speedup":
            return f"{value:g}× faster"
        if self.name == "latency_ms":
            return f"at most {value:g} ms"
        if self.name == "max_drop":
            return f"at most {100 * value:g} points lost"
        if self.name == "macs":
            return f"{value:.0%} of the MACs" if value < 1 else f"at most {value:,.0f} MACs"
        return f"{value:g} depthwise kernel{'s' * (value != 1)} per channel"
