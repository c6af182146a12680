"""What a user's loader returns, brought to one tensor of images and one of labels."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from convsmith.cli import usercode
from convsmith.errors import DataError
from convsmith.text import times

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["read_loader", "spread"]

# A label beyond this is not a class but, say, an identifier.
_MOST_CLASSES = 1_000_000


def read_loader(
    spec: str, limit: int | None, split: str | None
) -> tuple[Tensor, Tensor | None, bool]:
    """Call a loader in the user's code and read what it returns.

    Args:
        spec: `file.py:loader` or `module:loader`: a tensor, a pair of images and labels, an
            iterable of either (a DataLoader, a Dataset), or a callable that returns one.
        limit: at most this many images.
        split: passed to a loader that has a parameter of this name.

    Returns:
        Images (float32, N × C × H × W; uint8 is scaled to [0, 1], floats stay as they are),
        labels (int64) or None, and whether the loader knows splits.

    Raises:
        DataError: for anything else, naming what the loader returned.
    """
    import torch

    source = usercode.find(spec, DataError)
    knows_splits = False
    if callable(source):
        knows_splits = _has_parameter(source, "split")
        source = usercode.call(spec, source, DataError, split=split or "train")
    images, labels = _collect(spec, source, limit)
    if not torch.isfinite(images).all():
        raise DataError(f"{spec}: some pixels are not finite")
    if labels is not None and (highest := int(labels.max())) > _MOST_CLASSES:
        raise DataError(f"{spec} gave the label {highest}, expected a class number")
    return images, labels, knows_splits


def spread(count: int, limit: int | None) -> list[int]:
    """Choose positions spread evenly over all: sorted folders begin with a single class.

    >>> spread(10, 4)
    [0, 2, 5, 7]
    """
    kept = count if limit is None else min(limit, count)
    return [i * count // kept for i in range(kept)]


def _has_parameter(function: Any, name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some functions written in C have no signature
        return False


def _collect(spec: str, source: Any, limit: int | None) -> tuple[Tensor, Tensor | None]:
    """Join what a loader returned: a tensor, a pair, or an iterable of either."""
    import torch

    if _is_array(source) or _is_pair(source):
        images, labels = _batch(spec, source)
        # What is in memory as a whole can be thinned out as a whole.
        chosen = torch.tensor(spread(len(images), limit))
        return images[chosen], None if labels is None else labels[chosen]
    indexed = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    if isinstance(source, (str, bytes, Mapping)) or not (indexed or hasattr(source, "__iter__")):
        raise DataError(
            f"{spec} gave a {type(source).__name__}, expected a tensor, a pair of images and "
            "labels, or an iterable of either"
        )
    # Iterating over a Dataset need not end by itself.
    if not hasattr(source, "__iter__"):
        source = _samples(source)
    batches: list[tuple[Tensor, Tensor | None]] = []
    count = 0
    iterator = usercode.call(spec, lambda: iter(source), DataError)
    end = object()
    while limit is None or count < limit:
        item = usercode.call(spec, lambda: next(iterator, end), DataError)
        if item is end:
            break
        batches.append(_batch(spec, item))
        count += len(batches[-1][0])
    if not batches:
        raise DataError(f"{spec} gave no images")
    shapes = {tuple(images.shape[1:]) for images, _ in batches}
    if len(shapes) > 1:
        examples = " and ".join(times(shape) for shape in sorted(shapes)[:2])
        raise DataError(f"{spec} gave images of different shapes: {examples}")
    images = torch.cat([images for images, _ in batches])[:limit]
    labelled = [labels for _, labels in batches if labels is not None]
    if labelled and len(labelled) != len(batches):
        raise DataError(f"{spec} gave labels for some of its batches only")
    return images, torch.cat(labelled)[:limit] if labelled else None


def _samples(dataset: Any) -> Iterator[Any]:
    return (dataset[i] for i in range(len(dataset)))


def _batch(spec: str, item: Any) -> tuple[Tensor, Tensor | None]:
    """Read one batch (N × C × H × W) or one image (C × H × W), with labels or without."""
    import torch

    values, numbers = (item[0], item[1]) if _is_pair(item) else (item, None)
    if isinstance(item, (tuple, list)) and len(item) == 1:
        values = item[0]
    if not _is_array(values):
        raise DataError(f"{spec} gave a {type(values).__name__} as images, expected a tensor")
    images = torch.as_tensor(values)
    labels = None if numbers is None else torch.as_tensor(numbers)
    if images.ndim == 3 and (labels is None or labels.ndim == 0):
        images, labels = images[None], None if labels is None else labels[None]
    if images.ndim != 4 or 0 in images.shape:
        shape = times(images.shape)
        raise DataError(f"{spec} gave images of shape {shape}, expected N × C × H × W")
    if images.dtype == torch.uint8:
        images = images.float().div_(255)
    if not images.is_floating_point():
        raise DataError(f"{spec} gave images of {images.dtype}, expected uint8 or floating point")
    if labels is not None:
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise DataError(f"{spec} gave labels of {labels.dtype}, expected integers")
        if labels.shape != images.shape[:1]:
            shape = times(labels.shape) or "one number"
            raise DataError(f"{spec} gave labels of shape {shape} for {len(images)} images")
        if int(labels.min()) < 0:
            raise DataError(f"{spec} gave the label {int(labels.min())}, expected 0 or more")
        labels = labels.detach().long().cpu()
    return images.detach().float().cpu(), labels


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__getitem__")


def _is_pair(value: Any) -> bool:
    """Tell images with labels apart from two batches: labels have one axis or none."""
    if not (isinstance(value, (tuple, list)) and len(value) == 2 and _is_array(value[0])):
        return False
    second = value[1]
    if _is_array(second):
        return len(second.shape) < 2
    return isinstance(second, int) or (
        isinstance(second, (tuple, list)) and all(isinstance(n, int) for n in second)
    )
