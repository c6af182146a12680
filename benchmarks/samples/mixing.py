"""Networks in which a value depends on the whole image, and some without a map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.samples.sample import Sample, Wired, conv_bn

__all__ = ["MIXING"]


def _excite() -> nn.Module:
    gate = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1), nn.Sigmoid()
    )
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Wired(lambda m, x: x * m.gate(x), gate=gate),
        nn.Conv2d(8, 8, 3, padding=1),
    )  # fmt: skip


def _classifier() -> nn.Module:
    return nn.Sequential(
        conv_bn(3, 8, 3, 2), nn.ReLU(), conv_bn(8, 16, 3, 2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 10),
    )  # fmt: skip


def _non_local() -> nn.Module:
    """Attention among the positions of a map, two heads of four channels."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        x = m.get_submodule("stem")(x)
        heads = m.get_submodule("qkv")(x).flatten(2).unflatten(1, (3, 2, 4)).transpose(-1, -2)
        mixed = F.scaled_dot_product_attention(*heads.unbind(1))
        return x + mixed.transpose(-1, -2).reshape(x.shape)

    return Wired(wire, stem=nn.Conv2d(3, 8, 3, 2, 1), qkv=nn.Conv2d(8, 24, 1, bias=False))


def _multi_head() -> nn.Module:
    """Patches, and `nn.MultiheadAttention` among them."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        maps = m.get_submodule("patches")(x)
        tokens = maps.flatten(2).transpose(1, 2)
        mixed = m.get_submodule("attention")(tokens, tokens, tokens, need_weights=False)[0]
        found: Tensor = mixed.transpose(1, 2).reshape(maps.shape)
        return found

    return Wired(
        wire,
        patches=nn.Conv2d(3, 16, 4, 4),
        attention=nn.MultiheadAttention(16, 4, batch_first=True),
    )


def _linear() -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 5)
    )


def _products() -> nn.Module:
    """Attention written out: three matrices, two products, a softmax."""

    def wire(m: Wired, x: Tensor) -> Tensor:
        query, key, value = (x @ matrix for matrix in m.parameters())
        return torch.softmax(query @ key.transpose(1, 2), -1) @ value

    return Wired(wire, **{name: nn.Parameter(torch.rand(24, 24)) for name in ("q", "k", "v")})


MIXING = (
    Sample("squeeze and excite", (1, 3, 16, 14),
           (27 * 8 + 8) + (8 * 2 + 2) + (2 * 8 + 8) + (9 * 8 * 8 + 8),
           (27 * 8 + 9 * 8 * 8) * 16 * 14 + 8 * 2 + 2 * 8, _excite),
    Sample("classifier after global pooling", (1, 3, 33, 31),
           (27 * 8 + 16) + (9 * 8 * 16 + 32) + (16 * 10 + 10),
           27 * 8 * 17 * 16 + 9 * 8 * 16 * 9 * 8 + 16 * 10, _classifier, last="3"),
    # 56 positions: every pair of them, once for the weights and once for the values.
    Sample("scaled_dot_product_attention", (1, 3, 16, 14), (27 * 8 + 8) + 8 * 24,
           (27 * 8 + 8 * 24) * 8 * 7 + 2 * 56 * 56 * 8, _non_local),
    # 20 patches. ptflops also counts the scaling of the queries, the biases of the four
    # projections and the softmax of the four heads.
    Sample("nn.MultiheadAttention", (1, 3, 20, 16),
           (16 * 3 * 16 + 16) + (3 * 16 * 16 + 3 * 16) + (16 * 16 + 16),
           16 * 3 * 16 * 5 * 4 + 4 * 20 * 16 * 16 + 2 * 20 * 20 * 16, _multi_head,
           aside={"ptflops": 20 * 16 + 4 * 20 * 16 + 4 * 20 * 20}),
    Sample("linear layers", (1, 20), (20 * 64 + 64) + (64 * 32 + 32) + (32 * 5 + 5),
           20 * 64 + 64 * 32 + 32 * 5, _linear, has_map=False),
    Sample("matrix products", (1, 50, 24), 3 * 24 * 24, 3 * 50 * 24 * 24 + 2 * 50 * 50 * 24,
           _products, has_map=False),
)  # fmt: skip
