"""Fine-tuning with the original network as the teacher, on one process or on many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from convsmith.errors import ArgumentError, ConvsmithError, ModelError
from convsmith.rewrite.lightening.tune.batches import Replayed, number_of
from convsmith.rewrite.lightening.tune.checkpoint import Checkpoint
from convsmith.rewrite.lightening.tune.device import brought, device_of, on_device
from convsmith.rewrite.lightening.tune.loader import begin_epoch
from convsmith.rewrite.lightening.tune.log import Epoch, OnEpoch
from convsmith.rewrite.lightening.tune.randomness import random_state, restore
from convsmith.rewrite.lightening.tune.schedule import Pace, Schedule
from convsmith.rewrite.lightening.tune.state import find, keep, resume
from convsmith.rewrite.lightening.tune.teacher import Loss, Teacher

__all__ = ["Diverged", "Fleet", "by_first", "distil", "not_finite", "refuse_frozen"]


class Diverged(ConvsmithError):
    """The loss is not a number; the student has the weights of the last epoch that ended well.

    Attributes:
        losses: mean losses of the epochs that ended well.
    """

    def __init__(self, message: str, losses: list[float]) -> None:
        super().__init__(message)
        self.losses = losses


class Fleet(Protocol):
    """What is used of a launched `lightning.fabric.Fabric`."""

    world_size: int
    global_rank: int
    device: torch.device

    def setup(self, module: nn.Module, *optimizers: torch.optim.Optimizer) -> Any:
        """Both, so that their steps are those of all processes."""

    def backward(self, tensor: Tensor) -> None:
        """Find gradients, averaged over the processes."""

    def all_reduce(self, data: Any) -> Any:
        """The mean over the processes."""

    def broadcast(self, obj: Any) -> Any:
        """What the first process has."""


def by_first(fabric: Fleet | None, call: Callable[[], Any]) -> Any:
    """What `call` gives, or raises, in the first of the processes, for all of them.

    Processes may measure or read different values, but have to decide the same.
    """
    if fabric is None:
        return call()
    answer: Any = None
    if fabric.global_rank == 0:
        try:
            answer = call()
        except (ArgumentError, ModelError) as error:
            answer = error  # for the others, which wait for an answer
    answer = fabric.broadcast(answer)
    if isinstance(answer, ConvsmithError):
        raise answer
    return answer


def distil(
    student: nn.Module,
    teacher: nn.Module,
    train: Iterable[Any],
    schedule: Schedule,
    *,
    loss: Loss | None = None,
    paths: Sequence[str] = (),
    fabric: Fleet | None = None,
    checkpoint: Checkpoint | None = None,
    stage: str = "fine-tuning",
    advance: Callable[[], None] = lambda: None,
    ended: Sequence[OnEpoch] = (),
) -> list[float]:
    """Train `student` in place on the teacher's answers, its responses, and the labels.

    A student with a `training_step` (a `LightningModule`) is asked for its own loss on the labels,
    and one with `configure_optimizers` for its optimizer.

    Args:
        student: what is trained, on the device of `fabric` if there is one; its train flags and
            its device come back as they were.
        teacher: the original, which is only asked, and copied if it is on another device.
        train: batches, gone through once per epoch: (images, labels), or images alone.
        schedule: epochs, learning rate and weights.
        loss: the user's own, of outputs and labels, in place of the cross-entropy.
        paths: layers whose responses are to be the teacher's, if the schedule weighs them.
        fabric: says on which device, and shares every batch among its processes, which all go
            through the same batches.
        checkpoint: where each epoch is kept, and from where an interrupted run continues, or one
            of other length as far as both share their learning rates.
        stage: the name of this training in the checkpoint.
        advance: called after each batch.
        ended: called after each epoch, in the first of the processes.

    Returns:
        The mean loss of each epoch.

    Raises:
        ArgumentError: if there is nothing to train on.
        Diverged: if the loss is not a number.
    """
    repeated = isinstance(train, Iterator) and schedule.epochs > 1
    batches = Replayed(iter(train)) if repeated else train
    number = number_of(batches)
    if schedule.epochs <= 0 or number == 0:
        missing = "0 batches" if number == 0 else f"{schedule.epochs} epochs"
        raise ArgumentError(f"nothing to train on: {missing}")
    home = device_of(student)
    if fabric is not None:  # before there is an optimizer, whose state is where the weights are
        student.to(fabric.device)
    place = device_of(student)
    grader = Teacher(on_device(teacher, place), student, schedule, loss, paths)
    optimizer = _optimizer(student, schedule)
    pace = Pace(schedule, optimizer, number)
    model: Any = student
    flags = [(module, module.training) for module in student.modules()]
    state = by_first(fabric, lambda: checkpoint and find(checkpoint, stage, schedule))
    history = resume(state, stage, student, pace, train)
    for _ in range(len(history) * (pace.batches or 0)):
        advance()
    if fabric is not None:
        model, optimizer = fabric.setup(student, optimizer)
    good = deepcopy(student.state_dict())

    def diverged(what: str) -> Diverged:
        student.load_state_dict(good)
        return Diverged(
            f"{stage} stopped: {what} in epoch {len(history) + 1}; try a learning rate below "
            f"{schedule.learning_rate:g}",
            history,
        )

    try:
        while len(history) < schedule.epochs:
            student.train()
            begin_epoch(train, len(history))
            total, count = 0.0, 0
            for number, whole in enumerate(batches):
                batch = brought(_share(whole, fabric), place)
                with _precision(schedule, student):
                    value = grader.grade(model, batch, _own_step(student, model, batch, number))
                shared = value.detach() if fabric is None else fabric.all_reduce(value.detach())
                if not torch.isfinite(shared):
                    raise diverged(f"the loss is {shared.item()}")
                optimizer.zero_grad()
                if fabric is None:
                    value.backward()  # type: ignore[no-untyped-call]
                else:
                    fabric.backward(value)
                optimizer.step()
                rate = pace.rate
                pace.advance()
                total += shared.item()
                count += 1
                advance()
            if not count:
                raise ArgumentError("nothing to train on: 0 batches")
            pace.end_epoch()
            if fabric is not None:  # each process has its own statistics of batch norm
                student.load_state_dict(fabric.broadcast(student.state_dict()))
            if broken := not_finite(student):
                raise diverged(f"{broken} has values that are not numbers")
            history.append(total / count)
            good = deepcopy(student.state_dict())
            if fabric is None or fabric.global_rank == 0:
                if checkpoint is not None:
                    keep(checkpoint, stage, student, pace, train, history)
                _tell(ended, student, stage, pace, rate, history)
    finally:
        for module, flag in flags:
            module.training = flag
        student.to(home)
    return history


def _tell(
    ended: Sequence[OnEpoch],
    student: nn.Module,
    stage: str,
    pace: Pace,
    rate: float,
    losses: list[float],
) -> None:
    """Call what is to know of an epoch; random numbers go on as if it had drawn none."""
    state = random_state()
    for call in ended:
        call(
            Epoch(
                stage=stage, number=len(losses), of=pace.schedule.epochs, loss=losses[-1],
                learning_rate=rate, model=student,
            )
        )  # fmt: skip
    restore(state)


def refuse_frozen(model: nn.Module) -> None:
    """Raise if nothing in a network can learn: its lighter form is as frozen as it is."""
    if not any(p.requires_grad for p in model.parameters()):
        raise ArgumentError(
            f"nothing to train: all parameters of {type(model).__name__} are frozen "
            "(requires_grad=False); call requires_grad_() on it first"
        )


def not_finite(model: nn.Module) -> str:
    """The name of a tensor of a model with a value that is not finite; '' if all are finite."""
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            return name
    return ""


def _optimizer(student: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """The student's own, as a `LightningModule` has it, or the schedule's."""
    own = getattr(student, "configure_optimizers", None)
    optimizer = own() if callable(own) else None
    while isinstance(optimizer, (tuple, list)) and optimizer:
        optimizer = optimizer[0]
    if isinstance(optimizer, dict):
        optimizer = optimizer["optimizer"]
    if isinstance(optimizer, torch.optim.Optimizer):
        return optimizer
    return schedule.make_optimizer(student)


def _own_step(
    student: nn.Module, model: Any, batch: Any, number: int
) -> Callable[[], Tensor] | None:
    if not callable(getattr(student, "training_step", None)):
        return None

    def step() -> Tensor:
        result = model.training_step(batch, number)
        value: Tensor = result["loss"] if isinstance(result, dict) else result
        return value

    return step


def _share(batch: Any, fabric: Fleet | None) -> Any:
    """The part of a batch that is this process's: every so many-th image."""
    if fabric is None or fabric.world_size == 1:
        return batch
    if batch is None:
        return None
    if isinstance(batch, Mapping):
        return {key: _share(part, fabric) for key, part in batch.items()}
    if isinstance(batch, (tuple, list)):
        return tuple(_share(part, fabric) for part in batch)
    if len(batch) < fabric.world_size:
        return batch  # too few to share: all do the same
    most = len(batch) // fabric.world_size * fabric.world_size  # equal shares average rightly
    return batch[fabric.global_rank : most : fabric.world_size]


def _precision(schedule: Schedule, student: nn.Module) -> AbstractContextManager[Any]:
    device = next((p.device.type for p in student.parameters()), "cpu")
    return torch.autocast(device, torch.bfloat16, enabled=schedule.precision == "bf16")
