"""What a student learns from: the original's outputs and layer responses, and the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convsmith.network import submodule
from convsmith.rewrite.lightening.outputs import compared
from convsmith.rewrite.lightening.packed import packed_names
from convsmith.rewrite.lightening.tune.batches import parts
from convsmith.rewrite.lightening.tune.loss import difference, distance
from convsmith.rewrite.lightening.tune.modes import Examiner
from convsmith.rewrite.lightening.tune.schedule import Schedule
from convsmith.rewrite.surgery import watching

__all__ = ["Loss", "Teacher"]

Loss = Callable[[Tensor, Any], Tensor]
"""From outputs and labels to a loss."""


class Teacher:
    """The original network, which is only asked, beside the student that learns from it.

    With two axes (images, classes) the outputs are logits: the loss is `soft`·T²·KL(teacher ‖
    student at temperature T) + (1 − `soft`)·cross-entropy (Hinton et al. 2015, arXiv:1503.02531);
    other outputs with an axis of classes in front of space are compared class by class over all
    places if there is a label per place (Shu et al. 2021, arXiv:2011.13256), and else matched in
    mean square, relative to the teacher's; the schedule's `kind` says so where it is otherwise. To
    this comes
    `features` times the mean square difference of the responses at `paths`, relative to the
    teacher's (Romero et al. 2015, arXiv:1412.6550); layers are paired by their names.
    """

    def __init__(
        self,
        original: nn.Module,
        student: nn.Module,
        schedule: Schedule,
        loss: Loss | None = None,
        paths: Sequence[str] = (),
    ) -> None:
        self.original, self.student, self.schedule, self.loss = original, student, schedule, loss
        self.paths = list(paths) if schedule.features else []
        self._examiner: Examiner | None = None

    def grade(
        self, model: Callable[[Tensor], Tensor], batch: Any, step: Callable[[], Tensor] | None
    ) -> Tensor:
        """The loss on one batch: (images, labels), or images alone.

        Args:
            model: the student, or what wraps it.
            batch: what it learns from.
            step: the student's own loss on the batch, in place of that of the labels.
        """
        images, labels = parts(batch, packed_names(self.student))
        examiner = self._examiner = self._examiner or Examiner(self.original, images)
        with examiner.asking() as original, self._responses(original) as targets:
            expected = original(images)
        with self._responses(self.student) as responses:
            outputs = model(images)
        value = self._answers(outputs, expected, labels, step)
        if self.paths:
            pairs = zip(responses, targets, strict=True)
            apart = torch.stack([difference(ours, theirs) for ours, theirs in pairs])
            value = value + self.schedule.features * apart.mean()
        return value

    @contextmanager
    def _responses(self, model: nn.Module) -> Iterator[list[Tensor]]:
        """What each of the layers returns, in order of execution."""
        results: list[Tensor] = []
        with ExitStack() as stack:
            for path in self.paths:
                layer = submodule(model, path)
                stack.enter_context(watching(layer, lambda _, result: results.append(result)))
            yield results

    def _answers(
        self, outputs: Any, expected: Any, labels: Any, step: Callable[[], Tensor] | None
    ) -> Tensor:
        soft = self.schedule.soft
        apart = self._distance(outputs, expected, labels)
        if soft == 1 or (labels is None and step is None):
            return apart
        if step is not None:
            return soft * apart + (1 - soft) * step()
        main = self._main(outputs)
        known = isinstance(main, Tensor) and (main.ndim == 2 or _one_per_place(main, labels))
        if self.loss is not None:
            return soft * apart + (1 - soft) * self.loss(outputs, labels)
        if not known:
            return apart  # what labels mean for such an output only the user's own loss knows
        return soft * apart + (1 - soft) * F.cross_entropy(main, labels)

    def _main(self, outputs: Any) -> Any:
        """What labels are for: of an output with auxiliary heads in training, the first tensor."""
        if isinstance(outputs, Tensor) or self._examiner is None or not self._examiner.differs:
            return outputs
        return next(iter(compared(outputs)), outputs)

    def _distance(self, outputs: Any, expected: Any, labels: Any) -> Tensor:
        """How far the student's answers are from the teacher's."""
        if isinstance(outputs, Tensor):
            return self._apart(outputs, expected, labels)
        ours, theirs = compared(outputs), compared(expected)
        alike = self.schedule.kind is not None  # what all of them are
        heads = alike or (self._examiner is not None and self._examiner.differs)
        return torch.stack(
            [
                self._apart(a, b, labels) if heads else difference(a, b)
                for a, b in zip(ours, theirs, strict=True)
            ]
        ).mean()

    def _apart(self, outputs: Tensor, expected: Tensor, labels: Any) -> Tensor:
        kind = self.schedule.kind
        if kind is None and outputs.ndim != 2 and not _one_per_place(outputs, labels):
            kind = "values"  # maps of anything
        return distance(expected, outputs, self.schedule.temperature, kind)


def _one_per_place(outputs: Tensor, labels: Any) -> bool:
    return isinstance(labels, Tensor) and outputs.shape[:1] + outputs.shape[2:] == labels.shape
