"""The distance of a student's outputs from the teacher's, as a loss for any training loop."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from convsmith.arithmetic.normalise import choice
from convsmith.errors import ArgumentError
from convsmith.rewrite.lightening.outputs import compared

__all__ = ["KINDS", "Kind", "difference", "distance", "distil_loss"]

Kind = Literal["classes", "maps", "values"]
"""What outputs are."""
KINDS = get_args(Kind)


def distil_loss(
    teacher: Any,
    student: Any,
    *,
    temperature: float = 4.0,
    kind: Kind | None = None,
) -> Tensor:
    """How far the outputs of a student are from those of its teacher, to be added to your loss.

    What is compared follows from the shape of the outputs:

    - `classes`, (images, classes): logits. T²·KL(teacher ‖ student) at temperature T (Hinton et
      al. 2015, arXiv:1503.02531), the mean over images.
    - `maps`, (images, classes, *size): logits of each place. For each class a softmax over all
      places, so that a rare class counts as much as the background, and T²·KL of these, the mean
      over images and classes (Shu et al. 2021, arXiv:2011.13256).
    - `values`, anything else: the square difference, as a share of the teacher's mean square.

    Outputs may also be tuples, lists or dicts of tensors: the mean over those of floating-point
    values, such as the maps of a detector.

    Args:
        teacher: outputs of the original, which are detached: no gradient reaches it.
        student: outputs of the lightened network for the same images.
        temperature: softens both, for classes and maps.
        kind: one of the three, where the shape does not tell: `values` for a regression of
            several numbers.

    Returns:
        A number that can be differentiated; 0 where both are the same.

    Raises:
        ArgumentError: for outputs that do not match, or a kind that does not fit them.

    >>> logits = torch.tensor([[2.0, 0.0, -1.0]])
    >>> distil_loss(logits, logits).item(), distil_loss(logits, logits.flip(1)).item() > 0
    (0.0, True)
    """
    if not isinstance(temperature, (int, float)) or not 0 < temperature < float("inf"):
        raise ArgumentError(f"temperature must be positive, not {temperature!r}")
    if kind is not None:
        choice("kind", kind, KINDS)
    theirs, ours = compared(teacher), compared(student)
    if [x.shape for x in theirs] != [x.shape for x in ours] or not ours:
        shapes = " and ".join(
            ", ".join(str(tuple(x.shape)) for x in found) or "no tensor" for found in (theirs, ours)
        )
        raise ArgumentError(f"teacher and student must give the same shapes, not {shapes}")
    parts = [distance(a.detach(), b, temperature, kind) for a, b in zip(theirs, ours, strict=True)]
    return torch.stack(parts).mean()


def distance(teacher: Tensor, student: Tensor, t: float, kind: Kind | None = None) -> Tensor:
    """How far one output is from the teacher's, by its shape unless a kind is given."""
    classes = teacher.ndim > 1 and teacher.shape[1] > 1
    kind = kind or ("values" if not classes else "classes" if teacher.ndim == 2 else "maps")
    if kind == "values":
        return difference(student, teacher)
    if teacher.ndim < (2 if kind == "classes" else 3):
        raise ArgumentError(f"outputs of shape {tuple(teacher.shape)} cannot be {kind}")
    ours, theirs = map(_by_class if kind == "maps" else _by_place, (student, teacher))
    return _divergence(ours, theirs, t)


def _by_class(maps: Tensor) -> Tensor:
    """(N, classes, *size) as (N · classes, places)."""
    return maps.flatten(2).flatten(0, 1)


def _by_place(maps: Tensor) -> Tensor:
    """Classes last: (N, classes) or (N, classes, *size) as (places, classes)."""
    return maps if maps.ndim == 2 else maps.movedim(1, -1).flatten(0, -2)


def _divergence(student: Tensor, teacher: Tensor, t: float) -> Tensor:
    """T²·KL(teacher ‖ student) of rows of logits at temperature T, the mean over rows."""
    ours, theirs = (F.log_softmax(logits.float() / t, 1) for logits in (student, teacher))
    return t * t * F.kl_div(ours, theirs, log_target=True, reduction="batchmean")


def difference(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean square difference, as a share of the teacher's mean square."""
    apart = (student - teacher).float().square().mean()
    return apart / teacher.float().square().mean().clamp_min(1e-12)
