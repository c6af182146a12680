"""Published architectures whose every layer shows in the output, without what anybody trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from convsmith.cli.models import load_model

__all__ = ["calibrated"]


def calibrated(spec: str, images: Tensor) -> nn.Module:
    """The architecture in evaluation mode, with values from which a wrong layer cannot hide.

    Builders leave many factors of a branch at 0 or 1e-6 and all shifts at 0: they become random.
    The statistics of batch norms are those of some images, so that values neither vanish nor grow
    from layer to layer.
    """
    torch.manual_seed(0)
    model = load_model(spec).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            _scatter(parameter)
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        model(images)
        for norm in norms:
            norm.eval()
            norm.momentum = 0.1
            if norm.running_var is not None:
                # Few images may agree in a channel by chance, others then would not.
                norm.running_var.clamp_(min=1e-2)
    return model


def _scatter(parameter: Tensor) -> None:
    """Draw a parameter anew that has one value everywhere: around that, and away from 0."""
    if parameter.numel() == 0 or parameter.min() != parameter.max():
        return
    value = float(parameter.flatten()[0])
    if abs(value) < 1e-3:
        parameter.uniform_(-0.2, 0.2)
    else:
        parameter.uniform_(0.5 * value, 1.5 * value)
