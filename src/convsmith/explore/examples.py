"""Layers and stacks to begin with."""

from __future__ import annotations

from convsmith.explore.state import LayerState

__all__ = ["LAYERS", "STACKS"]

_TWO = ((2, 2), (2, 2))

LAYERS: dict[str, LayerState] = {
    "standard": LayerState(in_channels=3, out_channels=2),
    "hand": LayerState(size=(4, 4), kernel=(2, 2), padding="same", bias=False),
    "exercise": LayerState(in_channels=3, out_channels=10, size=(128, 128)),
    "grouped": LayerState(in_channels=4, out_channels=4, groups=2, bias=False),
    "depthwise": LayerState(in_channels=3, out_channels=3, groups=3, bias=False),
    "pointwise": LayerState(in_channels=3, out_channels=2, kernel=(1, 1), bias=False),
    "dilated": LayerState(size=(7, 7), dilation=(2, 2), padding=_TWO),
    "dilated depthwise": LayerState(
        in_channels=3, out_channels=3, groups=3, dilation=(2, 2), padding=_TWO, bias=False
    ),
    "strided": LayerState(size=(6, 6), stride=(2, 2)),
    "asymmetric": LayerState(kernel=(1, 3), padding="same"),
    "transposed": LayerState(kind="transposed", size=(2, 2), bias=False),
    "upsample": LayerState(
        kind="transposed", size=(3, 3), stride=(2, 2), padding=((1, 1), (1, 1)),
        output_padding=(1, 1), bias=False,
    ),
    "pool": LayerState(kind="max", size=(4, 4), kernel=(2, 2), stride=(2, 2)),
}  # fmt: skip

STACKS: dict[str, str] = {
    "gridding": "3d2-3d2-3d2",
    "repaired": "3-3d2-3d3",
    "wide": "3-3d2-3d5",
    "double": "3-3d2-3d4",
    "plain": "3-3-3",
    "pool": "3-p2-3-3",
    "two": "3-3",
    "kept": "3d2p2-3d2p2",
    "wavenet": "-".join(f"2d{2 ** (index % 10)}" if index % 10 else "2" for index in range(30)),
}
