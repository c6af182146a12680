"""What a network returns in training may be something else than in evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from convsmith.errors import ArgumentError, kind_and_line
from convsmith.network import untouched
from convsmith.network.modules import copied
from convsmith.rewrite.lightening.outputs import compared

__all__ = ["Examiner"]

_NOISY = (_NormBase, _DropoutNd, nn.RReLU)


class Examiner:
    """Asks the original for what can be compared with a student's answers in training.

    Most networks return the same in both modes, up to the noise of dropout and the statistics of
    batch norm. Others return logits in training and probabilities in evaluation, or have an
    auxiliary head in training alone: these are asked as in training, without the noise. The
    original itself stays in evaluation mode; it is copied for this.

    Args:
        original: the network.
        images: a few, to find out.

    Raises:
        ArgumentError: if the network cannot be run in training on images alone.
    """

    def __init__(self, original: nn.Module, images: Any) -> None:
        self.model, self.differs = original, False
        with untouched(original), torch.no_grad():
            expected = original(images)
        if not _depends_on_mode(original):
            return
        teacher = _without_noise(copied(original))
        answer = self._in_training(teacher, images)
        if not _same(answer, self._in_training(teacher, images)):
            _quieten_leaves(teacher)  # noise of a kind of its own
            answer = self._in_training(teacher, images)
        if not _same(answer, expected):
            self.model, self.differs = teacher, True

    @contextmanager
    def asking(self) -> Iterator[nn.Module]:
        """The network in the mode in which it is asked; random numbers are as before after it."""
        if not self.differs:
            with untouched(self.model), torch.no_grad():
                yield self.model
            return
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield self.model

    @staticmethod
    def _in_training(teacher: nn.Module, images: Any) -> Any:
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                return teacher(images)
        except Exception as error:
            raise ArgumentError(
                f"{type(teacher).__name__} cannot be trained on images alone: in training mode its "
                f"forward fails ({kind_and_line(error)}); pass a loop of your own as train"
            ) from error


def _depends_on_mode(model: nn.Module) -> bool:
    """Whether any module is the user's own, and so may ask in which mode it is."""
    return any(not _of_torch(module) for module in model.modules())


def _of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _without_noise(model: nn.Module) -> nn.Module:
    for module in model.modules():
        module.training = not (_of_torch(module) or isinstance(module, _NOISY))
    return model


def _quieten_leaves(model: nn.Module) -> None:
    """Put modules without parameters or parts into evaluation mode, as stochastic depth is."""
    for module in model.modules():
        if not any(True for _ in (*module.children(), *module.parameters())):
            module.training = False


def _same(answer: Any, other: Any) -> bool:
    ours, theirs = compared(answer), compared(other)
    return len(ours) == len(theirs) and all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True)
        for a, b in zip(ours, theirs, strict=True)
    )
