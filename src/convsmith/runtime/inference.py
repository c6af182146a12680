"""What all compiled networks have in common: they are for inference."""

from __future__ import annotations

from typing import Self

from torch import nn

from convsmith.errors import ArgumentError

__all__ = ["ForInference"]


class ForInference(nn.Module):
    """A module that is and stays in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        super().train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode.

        Raises:
            ArgumentError: for training mode.
        """
        if mode:
            raise ArgumentError("a compiled network is for inference: train the model it is from")
        return self
