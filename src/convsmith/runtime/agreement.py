"""How far a compiled network is from its model, which torch runs in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from convsmith.errors import ArgumentError
from convsmith.report import Column, Result, Table, count, percent
from convsmith.runtime.origins import Origin

__all__ = ["Agreement", "agreement"]

_BATCH = 64
"""Images of a tensor that are computed at once."""

_NAMED = 3
"""Blocks that are named where there is one line."""


@dataclass(frozen=True, repr=False)
class Agreement(Result):
    """A compiled network beside its model.

    Attributes:
        network: the name of the model.
        precision: what the kernels compute with.
        images: how many were compared.
        agreement: the share of the images, or of their pixels, for which both give the largest
            value to the same channel of the first output; None where it has no channels.
        error: of all outputs, the norm of the difference over the norm of the model's.
        largest: the largest difference over the largest value of the model's.
        origins: the blocks whose roundings the error comes from, most first; none in float32.
    """

    network: str
    precision: str
    images: int
    agreement: float | None
    error: float
    largest: float
    origins: tuple[Origin, ...] = ()

    def table(self) -> Table:
        """One row."""
        return Table(
            [
                Column("network", "network"),
                Column("precision", "precision"),
                Column("images", "images", align="right", format=count),
                Column("agreement", "agreement", align="right", share=True),
                Column("error", "error", align="right", format="{:.1e}".format),
                Column("largest", "largest error", align="right", format="{:.1e}".format),
            ],
            [
                (
                    self.network, self.precision, self.images, self.agreement, self.error,
                    self.largest,
                )
            ],
            note=self._note,
        )  # fmt: skip

    def origin_table(self) -> Table:
        """The blocks that the error comes from, one row each."""
        return Table(
            [
                Column("name", "block"),
                Column("error", "error for its sake", align="right", format="{:.1e}".format),
                Column("share", "of all", align="right", share=True),
            ],
            [(origin.name, origin.error, origin.share) for origin in self.origins],
        )

    @property
    def _note(self) -> str:
        most = [origin for origin in self.origins[:_NAMED] if origin.share]
        named = ", ".join(f"{origin.name} ({percent(origin.share)})" for origin in most)
        return f"the error arises in {named}" if named else ""

    def __repr__(self) -> str:
        same = "" if self.agreement is None else f"agreement {self.agreement:.4f}, "
        return (
            f"Agreement({self.network} in {self.precision}: {same}error {self.error:.1e}, "
            f"{self.images} images{'; ' if self._note else ''}{self._note})"
        )


def agreement(
    name: str,
    precision: str,
    images: Any,
    call: Callable[[Tensor], Any],
    reference: Callable[[Tensor], Any],
) -> Agreement:
    """Compare two networks.

    Args:
        name: of the network.
        precision: of the first one.
        images: a tensor, or batches of them; of a tuple or list the first entry counts.
        call: the one.
        reference: the other, which is taken to be right.

    Raises:
        ArgumentError: where there are no images.
    """
    total = same = places = 0
    difference = size = worst = most = 0.0
    for batch in _batches(images):
        found, right = (
            [leaf for leaf in tree_leaves(each(batch)) if isinstance(leaf, Tensor)]
            for each in (call, reference)
        )
        total += len(batch)
        for mine, wanted in zip(found, right, strict=True):
            mine, wanted = mine.double(), wanted.double()
            if wanted.numel():
                difference += float((mine - wanted).square().sum())
                size += float(wanted.square().sum())
                worst = max(worst, float((mine - wanted).abs().max()))
                most = max(most, float(wanted.abs().max()))
        if right and right[0].ndim > 1 and right[0].shape[1] > 1:
            equal = found[0].argmax(1) == right[0].argmax(1)
            same, places = same + int(equal.sum()), places + equal.numel()
    if not total:
        raise ArgumentError("there are no images to compare")
    return Agreement(
        name,
        precision,
        total,
        same / places if places else None,
        (difference / size) ** 0.5 if size else 0.0,
        worst / most if most else 0.0,
    )


def _batches(images: Any) -> Iterator[Tensor]:
    if isinstance(images, Tensor):
        for start in range(0, len(images), _BATCH):
            yield images[start : start + _BATCH]
        return
    if not isinstance(images, Iterable) or isinstance(images, (str, bytes)):
        raise ArgumentError(f"images are a tensor or batches of them, not {type(images).__name__}")
    for item in images:
        batch = item[0] if isinstance(item, (tuple, list)) and item else item
        if not isinstance(batch, Tensor):
            raise ArgumentError(f"a batch of images is a tensor, not {type(batch).__name__}")
        yield batch
