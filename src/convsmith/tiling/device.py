"""Where tiles are computed; checked before a target is made, so that a mistake leaves nothing."""

from __future__ import annotations

from typing import Any

import torch

from convsmith.errors import ArgumentError, first_line

__all__ = ["check_device", "device_name"]


def device_name(device: Any) -> str:
    """The name of a device, which another machine may have.

    >>> device_name(torch.device("cuda", 1))
    'cuda:1'

    Raises:
        ArgumentError: for what is not a device, or holds no values.
    """
    try:
        named = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(
            f"device must be one such as 'cpu' or 'cuda', not {device!r}"
        ) from error
    if named.type == "meta":
        raise ArgumentError("device='meta' holds no values: expected one such as 'cpu' or 'cuda'")
    return str(named)


def check_device(device: str) -> None:
    """Raise an `ArgumentError` for a device that this machine does not have."""
    try:
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # each kind of device has errors of its own
        raise ArgumentError(f"device={device!r} cannot be used: {first_line(error)}") from error
