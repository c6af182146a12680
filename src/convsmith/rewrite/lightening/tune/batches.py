"""Batches as users have them: of any structure, of unknown number, to be gone through once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from convsmith.errors import ArgumentError, DataError, first_line
from convsmith.measure.images import image_key
from convsmith.rewrite.lightening.tune.checkpoint import write_tensors
from convsmith.rewrite.lightening.tune.randomness import Stream

__all__ = ["Replayed", "number_of", "parts"]

_LABELS = (
    "label", "labels", "target", "targets", "y", "class", "cls", "mask", "masks", "labels_ids",
)  # fmt: skip


def parts(batch: Any, inputs: Sequence[str] = ()) -> tuple[Any, Any]:
    """Images, and labels or None: of a pair, of a mapping by its keys, or of images alone.

    Args:
        batch: what a loader gave.
        inputs: the names of a network's inputs, where it has several: its images are then a tuple
            or a mapping with one entry for each.

    Raises:
        ArgumentError: if it cannot be told which are the images.

    >>> parts({"label": 3, "image": "a cat"}), parts(["a cat"])
    (('a cat', 3), ('a cat', None))
    >>> parts({"left": 1, "right": 2, "y": 3}, ("left", "right"))
    ({'left': 1, 'right': 2}, 3)
    """
    if isinstance(batch, Mapping):
        keys = tuple(inputs) or (image_key(batch),)
        missing = [key for key in keys if key not in batch]
        if missing:
            raise ArgumentError(f"a batch has {', '.join(map(repr, batch))}, and no {missing[0]!r}")
        labels = next((key for key in _LABELS if key in batch and key not in keys), None)
        images = {key: batch[key] for key in keys} if inputs else batch[keys[0]]
        return images, None if labels is None else batch[labels]
    if not isinstance(batch, (tuple, list)):
        return batch, None
    if inputs and not isinstance(batch[0], (tuple, list, Mapping)):
        return _of_several(batch, len(inputs))
    if len(batch) not in (1, 2):
        raise ArgumentError(f"a batch is (images, labels), or images alone, not {len(batch)} parts")
    return batch[0], batch[1] if len(batch) == 2 else None


def _of_several(batch: Sequence[Any], count: int) -> tuple[Any, Any]:
    """Inputs side by side, and labels after them."""
    if len(batch) not in (count, count + 1):
        raise ArgumentError(
            f"a batch is {count} inputs, and labels if there are any, not {len(batch)} parts"
        )
    return tuple(batch[:count]), batch[count] if len(batch) > count else None


def number_of(batches: Iterable[Any]) -> int | None:
    """How many batches there are; None where they have to be gone through to know it."""
    try:
        return len(batches)  # type: ignore[arg-type]
    except TypeError:  # a loader of an iterable data set has a length that it does not know
        return None


class _OnDisk:
    """Marks a tensor of a batch that is kept on disk."""


class Replayed:
    """Batches of an iterator, which can be gone through again: kept on disk, one at a time.

    Random numbers that the iterator draws are a stream of their own, so that it gives the same
    batches, and training sees the same numbers, in a run that continues and goes through it anew.

    >>> batches = Replayed(iter([torch.zeros(2), torch.ones(2)]))
    >>> [len(list(batches)) for _ in range(3)]
    [2, 2, 2]
    """

    def __init__(self, batches: Iterator[Any]) -> None:
        self._source, self._random = batches, Stream()
        self._folder = TemporaryDirectory(prefix="convsmith-batches-", ignore_cleanup_errors=True)
        self._kept: list[tuple[list[Any], TreeSpec]] = []

    def __iter__(self) -> Iterator[Any]:
        number = 0
        while True:
            if number < len(self._kept):
                yield self._read(number)
            else:
                try:
                    with self._random.drawn():
                        batch = next(self._source)
                except StopIteration:
                    return
                self._keep(batch)
                yield batch
            number += 1

    def _path(self, number: int) -> Path:
        return Path(self._folder.name, f"{number}.pt")

    def _keep(self, batch: Any) -> None:
        leaves, structure = tree_flatten(batch)
        path = self._path(len(self._kept))
        try:
            with path.open("wb") as file:
                write_tensors([x for x in leaves if isinstance(x, Tensor)], file)
        except OSError as error:
            reason = error.strerror or first_line(error)
            raise DataError(
                f"batches that come once are kept in {path.parent} to be gone through again, and "
                f"it cannot be written: {reason}; set TMPDIR, or pass a loader"
            ) from error
        self._kept.append(([_OnDisk if isinstance(x, Tensor) else x for x in leaves], structure))

    def _read(self, number: int) -> Any:
        leaves, structure = self._kept[number]
        tensors = iter(torch.load(self._path(number), weights_only=True))
        return tree_unflatten([next(tensors) if x is _OnDisk else x for x in leaves], structure)
