"""Which maps of a region are bf16, and which sums multiply bf16: the rest is float32.

A map is bf16 from the kernel that writes it, which rounds each value once, to all that read it.
Sums, biases, activations, residuals and means are float32 in every kernel.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import chain

from convsmith.runtime.lowering.block import Block, Input, Output
from convsmith.runtime.lowering.convolution import Convolution
from convsmith.runtime.lowering.maps import Map
from convsmith.runtime.lowering.mean import ChannelTotal, Mean
from convsmith.runtime.precision import Precision

__all__ = ["narrow"]

_IMAGE = 16
"""Channels below which a region's input is an image. A stem that depthwise layers read takes it in
float32, for it costs little time, and its rounding would be an error of all that follows."""


def narrow(blocks: Sequence[Block], precision: Precision) -> None:
    """Choose the numbers of a region's blocks.

    Args:
        blocks: all of them; their maps are changed in place.
        precision: what was asked for.
    """
    if precision.name == "float32":
        return
    wide: set[int] = set()
    for block in blocks:
        wide.update(id(some.root) for some in _wide(block, precision.keep, wide))
    readers = (block.sources for block in blocks if not isinstance(block, Output))
    read = {id(source.root) for source in chain.from_iterable(readers)}
    wide |= _stems(blocks, wide)
    wide -= _images(blocks, precision.keep, read - wide)
    for block in blocks:
        if block.target is not None:
            root = block.target.root
            # What goes outside alone is float32 as it is computed.
            if id(root) in read - wide:
                root.become_narrow()
    for block in blocks:
        if isinstance(block, Convolution) and not _kept(block, precision.keep):
            # Factors of a separable one are what its depthwise part gives.
            narrow = block.sources[0].root.narrow or block.depthwise is not None
            block.products = block.pairs and narrow


def _stems(blocks: Sequence[Block], wide: Set[int]) -> set[int]:
    """By id, the maps of stems that depthwise layers alone read, in float32 anyway.

    Rounded, they would be three quarters of the error of a MobileNet's outputs; as they are they
    take no time: what is saved in rounding them goes into more bytes.
    """
    found = set()
    for block in blocks:
        target = block.target
        if not isinstance(block, Convolution) or target is None or target.parent is not None:
            continue
        image = id(block.sources[0].root) in wide and block.sources[0].channels < _IMAGE
        readers = _readers(blocks, target)
        if image and all(isinstance(other, Convolution) and _spatial(other) for other in readers):
            found.add(id(target))
    return found


def _images(blocks: Sequence[Block], keep: Set[str], narrow: Set[int]) -> set[int]:
    """By id, the images that only full convolutions read whose results are bf16 anyway.

    A stem of 49 taps is four tenths of a residual network's time. To round the image is as an error
    what rounding any other map is, and of photographs less than their own 8 bits leave open.

    Args:
        blocks: all of them.
        keep: names of layers.
        narrow: by id, the maps that become bf16.
    """
    found = set()
    for block in blocks:
        image = block.target
        if not isinstance(block, Input) or image is None or not 1 < image.channels < _IMAGE:
            continue
        readers = _readers(blocks, image)
        if (image.few or image.even) and all(
            isinstance(other, Convolution)
            and other.kind == "dense"
            and not _kept(other, keep)
            and other.target is not None
            and id(other.target.root) in narrow
            for other in readers
        ):
            found.add(id(image))
    return found


def _readers(blocks: Sequence[Block], of: Map) -> list[Block]:
    """The blocks that read a map, or a part of it."""
    return [block for block in blocks if any(source.root is of for source in block.sources)]


def _spatial(block: Convolution) -> bool:
    return block.kind in ("depthwise", "separable")


def _wide(block: Block, keep: Set[str], wide: Set[int]) -> list[Map]:
    """Of the maps that a block reads or writes, those that are float32 for its sake.

    Args:
        block: any.
        keep: names of layers.
        wide: by id, the maps of earlier blocks that are float32.
    """
    target = [] if block.target is None else [block.target]
    if not block.narrows:
        return [*block.sources, *target]
    if isinstance(block, Input):
        return [some for some in target if some.channels < _IMAGE]
    gate = list(block.gates)  # numbers for each channel
    if isinstance(block, (ChannelTotal, Mean)) or _kept(block, keep):
        return [*gate, *target]
    # What is computed of means alone is a statistic, too: one pixel, which costs no time.
    statistic = all(id(source.root) in wide for source in block.sources)
    return [*gate, *(some for some in target if some.pixel and statistic)]


def _kept(block: Block, keep: Set[str]) -> bool:
    return not isinstance(block, (Input, Output)) and not keep.isdisjoint(block.layers)
