"""How fine-tuning goes: its length, its learning rate, and what the loss is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from convsmith.arithmetic.normalise import choice
from convsmith.errors import ArgumentError
from convsmith.rewrite.lightening.tune.loss import Kind

__all__ = ["CURVES", "Curve", "Pace", "Schedule"]

Curve = Literal["cosine", "wsd"]
"""How the learning rate goes down."""
CURVES = get_args(Curve)

_WARM = 50
"""Steps of warm-up where the number of batches is unknown, and the most of `wsd`."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How fine-tuning goes.

    Attributes:
        epochs: passes over the training data.
        learning_rate: its peak, after a linear warm-up.
        temperature: what softens the logits of both networks.
        soft: the weight of the teacher's answer; the rest is that of the labels.
        features: the weight of the responses of the rewritten layers beside the teacher's.
        weight_decay: for weights with more than one axis; norms and biases have none.
        optimizer: `sgd` (Nesterov momentum 0.9), gentle with trained weights, or `adamw`, which
            brings random ones further in a few epochs.
        precision: `32`, or `bf16` for mixed precision, quicker where the processor has it.
        curve: `cosine`, a warm-up over the first tenth and then a half cosine; or `wsd` (warm-up,
            stable, decay), where the peak is held until the last third of the epochs and the rate
            then falls in a straight line.
        kind: what the outputs are, as for `distil_loss`; by their shape and labels unless given.

    Raises:
        ArgumentError: for a value that makes no sense.
    """

    epochs: int = 1
    learning_rate: float = 0.02
    temperature: float = 4.0
    soft: float = 0.9
    features: float = 0.0
    weight_decay: float = 1e-4
    optimizer: Literal["sgd", "adamw"] = "sgd"
    precision: Literal["32", "bf16"] = "32"
    curve: Curve = "cosine"
    kind: Kind | None = None

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ArgumentError(f"epochs is at least 0, not {self.epochs}")
        if not 0 < self.learning_rate < math.inf:
            raise ArgumentError(f"learning_rate must be positive, not {self.learning_rate}")
        if self.precision not in ("32", "bf16"):
            raise ArgumentError(f"precision is '32' or 'bf16', not {self.precision!r}")
        choice("schedule", self.curve, CURVES)

    @property
    def shared(self) -> int:
        """Epochs from the first whose rates do not depend on how many there are in all.

        A longer run goes through the same ones, so it can take them over from a shorter one.

        >>> [Schedule(n, curve="wsd").shared for n in (1, 2, 3, 6, 100)], Schedule(6).shared
        ([0, 1, 2, 4, 66], 0)
        """
        return self.epochs - -(-self.epochs // 3) if self.curve == "wsd" else 0

    def rate(self, step: int, batches: int) -> float:
        """The share of the peak learning rate at `step`, where an epoch has so many batches.

        >>> [round(Schedule().rate(step, 20), 2) for step in (0, 1, 2, 11, 20)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
        >>> [round(Schedule(3, curve="wsd").rate(step, 6), 2) for step in (0, 1, 2, 12, 15, 18)]
        [0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
        """
        steps = self.epochs * batches
        # The warm-up must not depend on the number of epochs where epochs can be shared.
        ramp = min(_WARM, batches // 3) if self.curve == "wsd" else round(0.1 * steps)
        ramp = max(1, ramp)
        if step < ramp:
            return (step + 1) / ramp
        start = max(ramp, self.shared * batches)
        share = min(1.0, max(0, step - start) / max(1, steps - start))
        return 1 - share if self.curve == "wsd" else 0.5 * (1 + math.cos(math.pi * share))

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of all parameters of a model that are trained."""
        weights = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
        if self.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=self.learning_rate)
        return torch.optim.SGD(groups, lr=self.learning_rate, momentum=0.9, nesterov=True)


@dataclass
class Pace:
    """The learning rate of an optimizer, step by step.

    A step is known by its epoch and its number within that, so that epochs of a stream, which
    need not have equally many batches, begin where the schedule says they do.

    Attributes:
        schedule: the rates.
        optimizer: what they are set for, as shares of the rates that it has now.
        batches: of the last epoch; None if the number is unknown until one has been gone through.
        epoch: how many have ended.
        step: within the present epoch.
    """

    schedule: Schedule
    optimizer: torch.optim.Optimizer
    batches: int | None
    epoch: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        # A scheduler of the user's own may have lowered them, and then left a note of the peak.
        groups = self.optimizer.param_groups
        self._peaks = [group.get("initial_lr", group["lr"]) for group in groups]
        self.set()

    @property
    def share(self) -> float:
        """The share of the peak at the present step: warm, then full, until the end is in sight."""
        if self.batches is None:
            return min(1.0, (self.step + 1) / _WARM)
        # However long this epoch is, it does not reach into what is the next one's.
        step = min(self.step, self.batches - 1)
        return self.schedule.rate(self.epoch * self.batches + step, self.batches)

    @property
    def rate(self) -> float:
        """The rate of the optimizer's first group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def set(self) -> None:
        """Give the optimizer the rate of the present step."""
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self.share

    def advance(self) -> None:
        """Go on by a step."""
        self.step += 1
        self.set()

    def end_epoch(self) -> None:
        """Go on to the next epoch."""
        self.epoch, self.step, self.batches = self.epoch + 1, 0, self.step
        self.set()
