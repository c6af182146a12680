"""Small networks with what ONNX and its readers are known to stumble over."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Fixed", "Mixed", "Two", "settled"]


class Mixed(nn.Module):
    """Batch norm, a transposed convolution, a dilated pool, a depthwise one, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
            nn.Conv2d(8, 8, 3, 1, 2, dilation=2, groups=8), nn.Hardswish(), nn.Conv2d(8, 12, 1),
            nn.MaxPool2d(3, 2, 1, dilation=2), nn.ConvTranspose2d(12, 6, 4, 2, 1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        )  # fmt: skip
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, and a map."""
        x = self.body(x)
        return self.head(x), x


class Fixed(nn.Module):
    """Its code depends on the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 8 * 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        """For 8×8 alone."""
        return self.fc(self.conv(x).flatten(1))


class Two(nn.Module):
    """Two inputs by name, one of them indices; one parameter that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.table = nn.Conv2d(3, 4, 3, padding=1), nn.Embedding(9, 4)
        self.unread = nn.Parameter(torch.zeros(7))

    def forward(self, image: Tensor, kind: Tensor) -> Tensor:
        """A map, shifted by what the kind says."""
        return torch.relu(self.conv(image) + self.table(kind)[:, :, None, None])


def settled(model: nn.Module, seed: int = 0) -> nn.Module:
    """A model with statistics and biases that are not those of a fresh one."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
    return model
