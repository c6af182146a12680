"""Where a network is trained, and how batches get there."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn

from convsmith.network.modules import copied

__all__ = ["brought", "device_of", "on_device"]


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's weights; the processor if it has none."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """The network itself if it is on the device, and a copy there otherwise."""
    return model if device_of(model) == device else copied(model).to(device)


def brought(batch: Any, device: torch.device) -> Any:
    """A batch of any structure with what can be moved on the device.

    >>> where = torch.device("meta")
    >>> moved = brought({"image": torch.zeros(2), "name": ["a", "b"]}, where)
    >>> moved["image"].device.type, moved["name"]
    ('meta', ['a', 'b'])
    """
    if callable(move := getattr(batch, "to", None)):  # also batches of other libraries
        return move(device)
    if isinstance(batch, Mapping):
        return {key: brought(part, device) for key, part in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(brought(part, device) for part in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(brought(part, device) for part in batch)
    return batch
