"""The state of a training at the end of an epoch: what is kept, and who may go on from it."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from convsmith.errors import ModelError, first_line
from convsmith.rewrite.lightening.tune.checkpoint import Checkpoint
from convsmith.rewrite.lightening.tune.loader import generators
from convsmith.rewrite.lightening.tune.randomness import random_state, restore
from convsmith.rewrite.lightening.tune.schedule import Pace, Schedule

__all__ = ["find", "keep", "resume"]


def keep(
    checkpoint: Checkpoint,
    stage: str,
    student: nn.Module,
    pace: Pace,
    train: Any,
    losses: list[float],
) -> None:
    """Keep the state of a training after an epoch.

    The last one that longer runs share is kept beside it under a name of its own.
    """
    schedule = pace.schedule
    state = {
        "student": student.state_dict(),
        "optimizer": pace.optimizer.state_dict(),
        "epochs": schedule.epochs,
        "batches": pace.batches,
        "random": random_state(),
        "loader": [generator.get_state() for generator in generators(train)],
        "losses": losses,
    }
    checkpoint.save(f"{stage}.pt", state)
    if len(losses) == schedule.shared:
        checkpoint.save(f"{stage}-shared.pt", state)


def find(checkpoint: Checkpoint, stage: str, schedule: Schedule) -> dict[str, Any] | None:
    """The furthest state from which a training with this schedule can go on, or None.

    It goes on from any epoch of a training of as many epochs, and from those that both share where
    the number differs. A warning says so if that is none.

    Raises:
        ModelError: for a damaged file.
    """
    kept = [checkpoint.load(f"{stage}{part}.pt") for part in ("", "-shared")]
    states = [state for state in kept if state is not None]
    try:
        usable = [state for state in states if _usable(state, schedule)]
        if usable:
            return max(usable, key=lambda state: len(state["losses"]))
        if states:
            reason = (
                "more epochs follow the same rates only up to the last third of the shorter run"
                if schedule.curve == "wsd"
                else "under a cosine, every learning rate depends on that number; "
                "Tuning(schedule='wsd') goes on where it can"
            )
            warnings.warn(
                f"{stage} begins again: {checkpoint.folder} holds a training of "
                f"{states[0]['epochs']} epochs, not {schedule.epochs}, and {reason}",
                stacklevel=2,
            )
    except (KeyError, TypeError) as error:
        raise _misfit(stage, error) from error
    return None


def _usable(state: dict[str, Any], schedule: Schedule) -> bool:
    epochs, done = state["epochs"], len(state["losses"])
    other = Schedule(epochs, curve=schedule.curve)
    return epochs == schedule.epochs or done <= min(other.shared, schedule.shared)


def resume(
    state: dict[str, Any] | None, stage: str, student: nn.Module, pace: Pace, train: Any
) -> list[float]:
    """Take over a state that was kept; the losses up to it.

    Raises:
        ModelError: for a state of something else.
    """
    if state is None:
        return []
    try:
        student.load_state_dict(state["student"])
        pace.optimizer.load_state_dict(state["optimizer"])
        losses: list[float] = state["losses"]
        pace.batches, pace.epoch = state["batches"], len(losses)
        pace.set()
        restore(state["random"])
        for generator, value in zip(generators(train), state["loader"], strict=True):
            generator.set_state(value)
    except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _misfit(stage, error) from error
    return losses


def _misfit(stage: str, error: Exception) -> ModelError:
    return ModelError(f"checkpoint {stage}.pt does not fit this network: {first_line(error)}")
