"""Fine-tuning with the original network as the teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sized
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convsmith.errors import ArgumentError, ConvsmithError
from convsmith.network import untouched

__all__ = ["Schedule", "distil"]

Loss = Callable[[Tensor, Any], Tensor]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How fine-tuning goes.

    Attributes:
        epochs: passes over the training data.
        learning_rate: its peak, after a linear warm-up over the first tenth; then a half cosine.
        temperature: what softens the logits of both networks.
        soft: the weight of the teacher's answer; the rest is that of the labels.
        weight_decay: of weights with more than one axis; norms and biases have none.
        optimizer: `sgd` (Nesterov momentum 0.9), gentle with trained weights, or `adamw`, which
            brings random ones further in a few epochs.
    """

    epochs: int = 1
    learning_rate: float = 0.02
    temperature: float = 4.0
    soft: float = 0.9
    weight_decay: float = 1e-4
    optimizer: Literal["sgd", "adamw"] = "sgd"

    def rate(self, step: int, steps: int) -> float:
        """The share of the peak learning rate at `step` of `steps`."""
        ramp = max(1, round(0.1 * steps))
        if step < ramp:
            return (step + 1) / ramp
        return 0.5 * (1 + math.cos(math.pi * (step - ramp) / max(1, steps - ramp)))


def distil(
    student: nn.Module,
    teacher: nn.Module,
    train: Iterable[Any],
    schedule: Schedule,
    *,
    loss: Loss | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[float]:
    """Train `student` in place on the teacher's softened answers and on the labels.

    With two axes (images, classes) the outputs are logits: the loss is `soft`·T²·KL(teacher ‖
    student at temperature T) + (1 - `soft`)·cross-entropy (Hinton et al. 2015, arXiv:1503.02531).
    Any other output is matched in mean square, relative to the teacher's.

    Args:
        student: what is trained; its train flags come back as they were.
        teacher: the original, which is only asked.
        train: batches, gone through once an epoch: (images, labels), or images alone.
        schedule: epochs, learning rate and weights.
        loss: the user's own, of outputs and labels, in place of the cross-entropy.
        advance: called after each batch.

    Returns:
        The mean loss of each epoch.

    Raises:
        ArgumentError: if there is nothing to train on.
        ConvsmithError: if the loss is no number; the student then has the weights of the last
            epoch that ended well.
    """
    batches = train if isinstance(train, Sized) else list(train)
    steps = schedule.epochs * len(batches)
    if not steps:
        raise ArgumentError(
            f"nothing to train on: {len(batches)} batches, {schedule.epochs} epochs"
        )
    optimizer = _optimizer(student, schedule)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: schedule.rate(s, steps))
    flags = [(module, module.training) for module in student.modules()]
    good = deepcopy(student.state_dict())
    history: list[float] = []
    try:
        for _ in range(schedule.epochs):
            student.train()
            total = 0.0
            for batch in batches:
                images, labels = batch if isinstance(batch, (tuple, list)) else (batch, None)
                with torch.no_grad(), untouched(teacher):
                    wanted = teacher(images)
                value = _loss(student(images), wanted, labels, schedule, loss)
                if not torch.isfinite(value):
                    student.load_state_dict(good)
                    raise ConvsmithError(
                        f"fine-tuning stopped: the loss is {value.item()} in epoch "
                        f"{len(history) + 1}; try a learning rate below {schedule.learning_rate:g}"
                    )
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                scheduler.step()
                total += value.item()
                advance()
            history.append(total / len(batches))
            good = deepcopy(student.state_dict())
    finally:
        for module, flag in flags:
            module.training = flag
    return history


def _optimizer(student: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    weights = [p for p in student.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=schedule.learning_rate)
    return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=0.9, nesterov=True)


def _loss(
    given: Tensor, wanted: Tensor, labels: Any, schedule: Schedule, loss: Loss | None
) -> Tensor:
    t = schedule.temperature
    if given.ndim == 2:
        soft = t * t * F.kl_div(
            F.log_softmax(given / t, 1), F.log_softmax(wanted / t, 1),
            log_target=True, reduction="batchmean",
        )  # fmt: skip
    else:
        soft = (given - wanted).square().mean() / wanted.square().mean().clamp_min(1e-12)
    if labels is None or schedule.soft == 1:
        return soft
    if loss is None and given.ndim != 2:
        return soft  # what labels mean for such an output only the user's own loss knows
    hard = (loss or F.cross_entropy)(given, labels)
    return schedule.soft * soft + (1 - schedule.soft) * hard
