"""What of a user's loader has a state: its own random numbers, and the epoch that it is told of."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["begin_epoch", "generators"]


def generators(loader: Any) -> list[torch.Generator]:
    """Those of a `DataLoader`, which orders images by one of its own where it was given one."""
    found = [getattr(part, "generator", None) for part in _parts(loader)]
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())


def begin_epoch(loader: Any, epoch: int) -> None:
    """Tell a loader, its samplers and its data set which epoch begins, if they want to know."""
    for part in _parts(loader):
        tell = getattr(part, "set_epoch", None)
        if callable(tell):
            tell(epoch)


def _parts(loader: Any) -> list[Any]:
    batches = getattr(loader, "batch_sampler", None)
    return [
        loader,
        getattr(loader, "dataset", None),
        getattr(loader, "sampler", None),
        batches,
        getattr(batches, "sampler", None),
    ]
