"""How fine-tuning goes: its length, its learning rate, and what the loss is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from convsmith.errors import ArgumentError

__all__ = ["Schedule"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How fine-tuning goes.

    Attributes:
        epochs: passes over the training data.
        learning_rate: its peak, after a linear warm-up over the first tenth; then a half cosine.
        temperature: what softens the logits of both networks.
        soft: the weight of the teacher's answer; the rest is that of the labels.
        features: the weight of the responses of the rewritten layers beside the teacher's.
        weight_decay: for weights with more than one axis; norms and biases have none.
        optimizer: `sgd` (Nesterov momentum 0.9), gentle with trained weights, or `adamw`, which
            brings random ones further in a few epochs.
        precision: `32`, or `bf16` for mixed precision, quicker where the processor has it.

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

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ArgumentError(f"epochs is at least 0, not {self.epochs}")
        if not 0 < self.learning_rate < math.inf:
            raise ArgumentError(f"learning_rate must be positive, not {self.learning_rate}")
        if self.precision not in ("32", "bf16"):
            raise ArgumentError(f"precision is '32' or 'bf16', not {self.precision!r}")

    def rate(self, step: int, steps: int) -> float:
        """The share of the peak learning rate at `step` of `steps`.

        >>> [round(Schedule().rate(step, 20), 2) for step in (0, 1, 2, 11, 20)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
        """
        ramp = max(1, round(0.1 * steps))
        if step < ramp:
            return (step + 1) / ramp
        return 0.5 * (1 + math.cos(math.pi * (step - ramp) / max(1, steps - ramp)))

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
