"""What is told of each epoch: to a function of the user's, and to loggers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from convsmith.errors import MissingExtra

__all__ = ["Epoch", "Logger", "OnEpoch", "loggers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """An epoch of fine-tuning that has ended.

    Attributes:
        stage: `fine-tuning` or `control`.
        number: counted from 1.
        of: how many there will be.
        loss: its mean.
        learning_rate: with which it ended, of the optimizer's first group.
        model: the network that is trained, in training mode.
    """

    stage: str
    number: int
    of: int
    loss: float
    learning_rate: float
    model: nn.Module

    @property
    def metrics(self) -> dict[str, float]:
        """What loggers are told.

        >>> Epoch(
        ...     stage="control", number=1, of=3, loss=0.5, learning_rate=0.02, model=nn.Identity()
        ... ).metrics
        {'control/loss': 0.5, 'control/learning_rate': 0.02}
        """
        return {
            f"{self.stage}/loss": self.loss,
            f"{self.stage}/learning_rate": self.learning_rate,
        }


OnEpoch = Callable[[Epoch], object]
"""Called after each epoch."""


class Logger(Protocol):
    """What is used of the loggers of Fabric and of Lightning."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Take down values of a step."""


def loggers(log: str | Path | Sequence[Logger], fabric: Any = None) -> list[Logger]:
    """The loggers that were asked for, and those of a Fabric.

    Args:
        log: a folder, for Fabric's own `CSVLogger`, each run of which has a version of its own
            there; or loggers.
        fabric: a launched Fabric, or None.

    Raises:
        MissingExtra: for a folder without Lightning Fabric, with the line that installs it.
    """
    own: Sequence[Logger] = list(getattr(fabric, "loggers", None) or ())
    if not isinstance(log, (str, Path)):
        return [*log, *own]
    try:
        from lightning_fabric.loggers import CSVLogger
    except ImportError:
        raise MissingExtra("a log of epochs", extra="train", package="lightning-fabric") from None
    return [CSVLogger(log, flush_logs_every_n_steps=1), *own]
