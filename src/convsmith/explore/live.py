# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""Live stages within a page: a layer, a stack of layers, or one that is ready-made."""

from __future__ import annotations

from functools import lru_cache
from html import escape

from convsmith import draw
from convsmith.arithmetic import Chain, Conv, ConvTranspose, Pool
from convsmith.draw import Stage
from convsmith.draw.scenes.stages import ready_stage
from convsmith.draw.scenes.values import default_image
from convsmith.errors import ArgumentError
from convsmith.explore.phrases import Language
from convsmith.explore.stack import StackLayer
from convsmith.explore.state import LayerState

__all__ = ["fitting_size", "frame", "layer_stage", "overlap_stage", "ready_frame", "stack_stage"]

# Along a side, the largest input that is shown in the plane, and the largest in one axis.
_PLANE, _LINE = 24, 4096


def frame(stage: Stage, language: Language) -> str:
    """A stage as a frame of its own, which the page's style and scripts do not reach."""
    title = stage.title[language == "zh"] if stage.title else repr(stage)
    page = stage.html(language=language)
    return (
        '<iframe class="cs-live" sandbox="allow-scripts" '
        f'title="{escape(title, quote=True)}" srcdoc="{escape(page, quote=True)}"></iframe>'
    )


@lru_cache(maxsize=32)
def ready_frame(name: str, language: Language) -> str:
    """A ready-made stage as a frame."""
    return frame(ready_stage(name, language=language), language)


@lru_cache(maxsize=32)
def overlap_stage(kernel: int, stride: int) -> Stage:
    """How many stamps of a transposed convolution cover each output: all of its numbers are 1.

    >>> overlap_stage(3, 2).maps()[1][0][2]
    [2, 2, 4, 2, 4, 2, 4, 2, 2]
    """
    return draw.stage(
        ConvTranspose(1, 1, kernel, stride),
        4,
        values=[[1] * 4] * 4,
        weights=[[[1] * kernel] * kernel],
        title=(
            f"Kernel {kernel}, stride {stride}: overlaps",
            f"卷积核 {kernel}、步幅 {stride}：重叠次数",
        ),
    )


@lru_cache(maxsize=16)
def layer_stage(state: LayerState) -> Stage:
    """One layer on its input.

    Raises:
        ArgumentError: parameters without output, or maps that are too large for a stage.

    >>> layer_stage(LayerState(size=(7, 7), dilation=(2, 2)))
    Stage(7×7 → 3×3)
    """
    values = default_image((state.in_channels, *state.size)) if state.is_pool else None
    return draw.stage(state.layer(), state.size, values=values)


@lru_cache(maxsize=16)
def stack_stage(stack: tuple[StackLayer, ...], size: int | None = None) -> Stage:
    """A stack on an input, in the plane where that is small enough, else along one axis.

    Args:
        stack: its layers, with their padding.
        size: along a side of the input; by default the least that shows two outputs.

    Raises:
        ArgumentError: a size without output, or one too large to show.

    >>> from convsmith.explore.stack import stack_of
    >>> stack_stage(stack_of("3-3"))
    Stage(6×6 → 4×4 → 2×2)
    """
    length = fitting_size(stack) if size is None else size
    dims = 2 if length <= _PLANE else 1
    if length > _LINE:
        raise ArgumentError(f"an input of {length} positions is too large to show")
    return draw.stage([part.layer(padded=True, dims=dims) for part in stack], (length,) * dims)


def fitting_size(stack: tuple[StackLayer, ...]) -> int:
    """The least size of an input from which a stack makes two values along a side.

    >>> from convsmith.explore.stack import stack_of
    >>> fitting_size(stack_of("3d2p2-3d2p2")), fitting_size(stack_of("3-p2-3"))
    (9, 10)
    """
    layers = [part.layer(padded=True, dims=1) for part in stack]
    # Enough for a whole field within the map, so that padding is not all that is read.
    span = Chain(*layers).receptive_field().span
    size = span
    while size <= _LINE:
        if _outputs(layers, size) >= 2:
            return size
        size += 1
    return _LINE + 1


def _outputs(layers: list[Conv | ConvTranspose | Pool], size: int) -> int:
    for layer in layers:
        try:
            (size,) = layer.output_size((size,))
        except ArgumentError:
            return 0
    return size
