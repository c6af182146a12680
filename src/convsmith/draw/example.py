"""An example of a scene: an entry of the gallery, with its caption in both languages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convsmith.draw.scene import Scene

__all__ = ["SECTIONS", "Example"]

SECTIONS = {
    "arithmetic": (
        "The nineteen of the guide to convolution arithmetic",
        "卷积算术指南的十九幅图",
    ),
    "standard": ("Standard convolution", "标准卷积"),
    "channels": ("Groups, depthwise, pointwise, separable", "分组、深度、逐点与可分离卷积"),
    "dilated": ("Dilation", "空洞卷积"),
    "transposed": ("Transposed convolution", "转置卷积"),
    "matrix": ("The convolution as a matrix", "卷积的矩阵形式"),
    "padding": ("Padding, flooring, axes", "填充、取整与维度"),
    "pooling": ("Pooling", "池化"),
    "field": ("Receptive fields", "感受野"),
    "running": ("How it is run", "如何运行"),
}
"""The sections of the gallery, in order: English, Chinese."""


@dataclass(frozen=True)
class Example:
    """One picture of the gallery.

    Attributes:
        name: of its file, without the suffix.
        section: a key of `SECTIONS`.
        english: its caption.
        chinese: the same in Chinese.
        make: builds the scene.
        suffix: the format it is saved in.
        order: its place within the section; equal ones follow the order of the scenes' files.
    """

    name: str
    section: str
    english: str
    chinese: str
    make: Callable[[], Scene]
    suffix: str = ".svg"
    order: int = 50

    @property
    def file(self) -> str:
        """The name of its file."""
        return self.name + self.suffix
