"""Images in any form: a tensor, an array, or batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from convsmith.errors import ArgumentError

__all__ = ["image_batches", "image_key"]

_KEYS = (
    "image", "images", "pixel_values", "x", "input", "inputs", "img", "data", "jpg", "png", "webp",
)  # fmt: skip


def image_batches(images: Any, *, batch_size: int = 64, limit: int = 1024) -> list[Tensor]:
    """Return unlabelled images as a list of batches.

    Args:
        images: a tensor or array (images, channels, *size), or an iterable of such batches; of a
            batch that is a tuple or list, the first entry counts, and of a mapping the one that is
            called `image`, `pixel_values` or the like (labels are not read).
        batch_size: images per batch, if one tensor or array is given.
        limit: how many images are used at most; the first ones.

    Raises:
        ArgumentError: if there are no images, or anything but floating-point images.

    >>> [len(batch) for batch in image_batches(torch.zeros(100, 1, 8, 8))]
    [64, 36]
    """
    if isinstance(images, Tensor) or hasattr(images, "__array__"):
        whole = _tensor(images)[:limit]
        batches = list(torch.split(whole, batch_size)) if len(whole) else []
    elif isinstance(images, Iterable) and not isinstance(images, (str, bytes)):
        batches, left = [], limit
        for item in images:
            batches.append(_tensor(_first(item))[:left])
            left -= len(batches[-1])
            if left <= 0:
                break
    else:
        raise ArgumentError(
            f"images must be a tensor, an array or batches of them, not {type(images).__name__}"
        )
    if not sum(map(len, batches)):
        raise ArgumentError("there are no images")
    sizes = {tuple(batch.shape[1:]) for batch in batches}
    if len(sizes) > 1:
        raise ArgumentError(f"images must have one shape, not {sorted(sizes)}")
    return batches


def image_key(batch: Mapping[str, Any]) -> str:
    """Under which key a batch has its images.

    Raises:
        ArgumentError: if that cannot be told.

    >>> image_key({"label": 3, "pixel_values": "a cat"})
    'pixel_values'
    """
    found = next((key for key in _KEYS if key in batch), None)
    if found is None and len(batch) == 1:
        found = next(iter(batch))
    if found is None:
        raise ArgumentError(
            f"a batch has the keys {', '.join(map(repr, batch))}: its images must be called "
            f"{', '.join(map(repr, _KEYS[:3]))} or the like"
        )
    return found


def _first(item: Any) -> Any:
    if isinstance(item, Mapping):
        return item[image_key(item)]
    return item[0] if isinstance(item, (tuple, list)) else item


def _tensor(values: Any) -> Tensor:
    if not (isinstance(values, Tensor) or hasattr(values, "__array__")):
        raise ArgumentError(f"a batch of images is a tensor or array, not {type(values).__name__}")
    tensor = values.detach() if isinstance(values, Tensor) else torch.as_tensor(values)
    if tensor.ndim < 3 or not tensor.is_floating_point() or 0 in tensor.shape[1:]:
        raise ArgumentError(
            "images must be floating-point values shaped (images, channels, *size), "
            f"not {tensor.dtype} shaped {tuple(tensor.shape)}"
        )
    if not bool(torch.isfinite(tensor).all()):
        raise ArgumentError("images must be finite: there are NaN or infinite values in them")
    return tensor
