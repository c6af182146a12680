"""The error of a region that is called with tensors it was not made for."""

from __future__ import annotations

from convsmith.errors import ConvsmithError

__all__ = ["UnfitError"]


class UnfitError(ConvsmithError):
    """A region was called with tensors that it was not made for; nothing was computed."""
