"""The distance of a student's outputs from the teacher's, as a loss for any training loop."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_leaves

from convsmith.errors import ArgumentError

__all__ = ["distil_loss"]

_KINDS = ("classes", "maps", "values")


def distil_loss(
    teacher: Any,
    student: Any,
    *,
    temperature: float = 4.0,
    kind: Literal["classes", "maps", "values"] | None = None,
) -> Tensor:
    """How far the outputs of a student are from those of its teacher, to be added to your loss.

    What is compared follows from the shape of the outputs:

    - `classes`, (images, classes): logits. T²·KL(teacher ‖ student) at temperature T (Hinton et
      al. 2015, arXiv:1503.02531), the mean over images.
    - `maps`, (images, classes, *size): logits of each place. For each class a softmax over all
      places, so that a rare class counts as much as the background, and T²·KL of these, the mean
      over images and classes (Shu et al. 2021, arXiv:2011.13256).
    - `values`, anything else: the square difference, as a share of the teacher's mean square.

    Outputs may also be tuples, lists or dicts of tensors: the mean over them.

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
    if kind is not None and kind not in _KINDS:
        raise ArgumentError(f"kind must be {', '.join(map(repr, _KINDS))}, not {kind!r}")
    theirs, ours = (
        [x for x in tree_leaves(given) if isinstance(x, Tensor)] for given in (teacher, student)
    )
    if [x.shape for x in theirs] != [x.shape for x in ours] or not ours:
        shapes = " and ".join(
            ", ".join(str(tuple(x.shape)) for x in found) or "no tensor" for found in (theirs, ours)
        )
        raise ArgumentError(f"teacher and student must give the same shapes, not {shapes}")
    parts = [_distance(a.detach(), b, temperature, kind) for a, b in zip(theirs, ours, strict=True)]
    return torch.stack(parts).mean()


def _distance(teacher: Tensor, student: Tensor, t: float, kind: str | None) -> Tensor:
    classes = teacher.ndim > 1 and teacher.shape[1] > 1
    found = "values" if not classes else "classes" if teacher.ndim == 2 else "maps"
    kind = kind or found
    if kind == "values":
        apart = (student - teacher).float().square().mean()
        return apart / teacher.float().square().mean().clamp_min(1e-12)
    if teacher.ndim < (2 if kind == "classes" else 3):
        raise ArgumentError(f"outputs of shape {tuple(teacher.shape)} cannot be {kind}")
    a, b = (x.float() / t for x in (teacher, student))
    if kind == "maps":
        a, b = (x.flatten(2).flatten(0, 1) for x in (a, b))  # each class of each image a row
    elif a.ndim > 2:
        a, b = (x.movedim(1, -1).flatten(0, -2) for x in (a, b))  # each place a row
    return t * t * F.kl_div(
        F.log_softmax(b, 1), F.log_softmax(a, 1), log_target=True, reduction="batchmean"
    )  # fmt: skip
