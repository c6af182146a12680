# ruff: noqa: RUF001 (Chinese punctuation is intended)
"""`stage(layers, size)`: linked maps on a live page, and its words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Protocol

from convsmith.arithmetic import Chain, Conv, ConvTranspose, Pool
from convsmith.arithmetic.normalise import Size, choice
from convsmith.draw.live.photo import read_photo
from convsmith.draw.live.stage import Layer, Stage
from convsmith.draw.scenes.dressed import check_dress
from convsmith.draw.scenes.values import (
    default_image,
    drawn_size,
    kernels_of,
    nested,
    numbers,
    scattered,
)
from convsmith.draw.words import Words
from convsmith.errors import ArgumentError

__all__ = ["CHANNELS", "WORDS", "check_extent", "stage"]

WORDS: Words = {
    "stage.layers": ("{count} layers in series", "{count} 层串联"),
    "stage.map": ("map {number}", "特征图 {number}"),
    "stage.the_output": ("the output", "输出"),
    "stage.bias": ("bias {value}", "偏置 {value}"),
    "stage.weight": ("weight", "权重"),
    "stage.sum": ("The sum, written out", "写出的算式"),
    "stage.field": (
        "Receptive field: {box} of the {input} input, {read}/{every} positions read, along {paths} "
        "paths.",
        "感受野：{input} 输入中的 {box}，读 {read}/{every} 个位置，共 {paths} 条路径。",
    ),
    "stage.field_one": (
        "Receptive field: {box} of the {input} input, {read}/{every} positions read.",
        "感受野：{input} 输入中的 {box}，读 {read}/{every} 个位置。",
    ),
    "stage.field_none": ("It reads padding alone.", "它只读到填充。"),
    "stage.read_by": ("Read by {parts}.", "读取它的有：{parts}。"),
    "stage.read_part": ("{count} values of {map}", "{map}的 {count} 个值"),
    "stage.read_one": ("{count} value of {map}", "{map}的 {count} 个值"),
    "stage.and": (", ", "、"),
    "stage.unread": ("No value of the next layer reads it.", "下一层没有任何值读取它。"),
    "stage.padding_cell": ("{place}: padding, {value}.", "{place}：填充，值为 {value}。"),
    "stage.padding_copy": (
        "{place}: padding, a copy of {source}, {value}.",
        "{place}：填充，复制自 {source}，值为 {value}。",
    ),
    "stage.weight_cell": (
        "{place} = {value}. Every value of channel {channel} of {map} uses it.",
        "{place} = {value}。{map}通道 {channel} 的每个值都用到它。",
    ),
    "stage.terms": ("… ({count} products)", "……（共 {count} 个乘积）"),
    "stage.terms_pool": ("… ({count} values)", "……（共 {count} 个值）"),
    "stage.hint": (
        "Point at a cell, tap it, or move with the arrow keys (Page Up and Page Down change the "
        "map). Type a number to change an input or a weight.",
        "指向或点按任一格，也可用方向键移动（Page Up、Page Down 换图）。"
        "输入数字即可修改输入或权重。",
    ),
    "stage.legend_by": ("weight", "权重"),
    "stage.legend_ways": ("paths to it", "路径数"),
    "stage.legend_readers": ("reads it", "读取它的值"),
    "stage.legend_here": ("this value", "这个值"),
    "stage.reset": ("Reset", "还原"),
    "stage.edit": ("New value of {place}", "{place} 的新值"),
    "stage.no_number": ("'{text}' is not a number.", "“{text}”不是数字。"),
    "stage.no_image": ("{name} is not an image.", "{name} 不是图片。"),
    "stage.pasted": (
        "{count} of {all} numbers found a place.",
        "{all} 个数中有 {count} 个填了进去。",
    ),
    "stage.follows": (
        "This value is computed: change the input or a weight instead.",
        "这个值是算出来的：请修改输入或权重。",
    ),
    "stage.label": (
        "Stage: {sizes}. Arrow keys move within a map, Page Up and Page Down between maps and "
        "kernels.",
        "舞台：{sizes}。方向键在图内移动，Page Up、Page Down 在特征图和卷积核之间切换。",
    ),
    "matrix.name": ("matrix", "矩阵"),
    "matrix.label": (
        "{name}, {size}. Arrow keys move from entry to entry.",
        "{name}，{size}。用方向键逐个查看元素。",
    ),
    "stage.other": ("中文", "English"),
    # What is in no language, or in the reader's already
    "print.text": ("{text}", "{text}"),
}

CHANNELS, _CELLS, _WORK = 16, 120_000, 30_000_000
_MATRICES, _ENTRIES = ("matrix", "im2col"), 1_024


class _Staged(Protocol):
    """What knows how to put itself on a stage: an inspection of a network."""

    def stage(self, *, image: str | None, language: str, theme: str) -> Stage: ...


def stage(
    layers: Sequence[Layer] | Chain | Layer | _Staged,
    size: Size | None = None,
    *,
    values: Any = None,
    weights: Sequence[Any] | None = None,
    biases: Sequence[Any] | None = None,
    image: str | None = None,
    matrix: str | None = None,
    title: str | tuple[str, str] | None = None,
    language: str = "en",
    theme: str = "auto",
) -> Stage:
    """Put layers in series on a live page: touch a cell, and see what it reads and who reads it.

    The page is one file without a network: maps at their true sizes with their padding, the sum of
    every value written out, the receptive field through all layers with the number of paths, and
    inputs and weights that can be changed.

    Args:
        layers: `Conv`, `ConvTranspose` and `Pool` of 1, 2 or 3 axes, or one of them; or an
            inspection of your network (`cs.inspect`), whose layers, sizes and weights are shown.
        size: the spatial size of the input, an int, or one per axis; an inspection has its own.
        values: the input, shaped (channels, *size); (*size) is enough for one channel. By default
            small whole numbers, the same every time. If there are only pools, their channels come
            from it.
        weights: one for each layer, shaped as its `weight_shape`; (*kernel_size) is enough for one
            channel, None stands for small whole numbers (and for a pool).
        biases: one for each layer: a number per output channel, or None for none.
        image: a photograph whose pixels, 0 to 255 (for a network 0 to 1), are the input, and which
            lies under it.
        matrix: `matrix` shows one layer as a matrix below its maps, a row per output and a column
            per input; `im2col` as a row per weight and a column per output. Their entries and the
            cells of the maps show each other.
        title: of the page; a pair is English and Chinese.
        language: `en` or `zh`, the one the page opens in.
        theme: `auto` (the reader's), `light` or `dark`.

    Raises:
        ArgumentError: no layers, channels that do not match, a size without output (the formula
            with the numbers), arrays of another shape, or a stage too large to show.
        ModelError: a network that has no chain of convolutions and pools.

    >>> import convsmith as cs
    >>> cs.draw.stage([cs.Conv(1, 1, 3), cs.Conv(1, 1, 3)], (6, 6))
    Stage(6×6 → 4×4 → 2×2)
    """
    check_dress(language, theme)
    if hasattr(layers, "stage"):
        given = (size, values, weights, biases, matrix, title)
        if any(each is not None for each in given):
            raise ArgumentError("a network has its own size, numbers and title: leave them out")
        return layers.stage(image=image, language=language, theme=theme)
    if hasattr(layers, "state_dict"):
        raise ArgumentError(
            "a stage shows a network by its inspection: stage(cs.inspect(model, …))"
        )
    if size is None:
        raise ArgumentError("a stage needs the spatial size of its input, such as (6, 6)")
    single = isinstance(layers, (Conv, ConvTranspose, Pool))
    stack: tuple[Any, ...] = (layers,) if single else tuple(layers)  # type: ignore[arg-type]
    for layer in stack:
        if not isinstance(layer, (Conv, ConvTranspose, Pool)):
            raise ArgumentError(f"a stage shows Conv, ConvTranspose and Pool, not {layer!r}")
    chain = Chain(*stack)
    lengths, photo = drawn_size(size, chain.dims), None
    check_extent(chain, _channels(stack) or 1, lengths)
    if image is not None:
        if values is not None:
            raise ArgumentError("either values or an image is the input of a stage, not both")
        values, photo = read_photo(image, lengths, _channels(stack) or 3)
    pixels = _image(stack, lengths, values)
    if _channels(stack) is None:
        check_extent(chain, len(pixels), lengths)
    if matrix is not None:
        _check_matrix(matrix, stack, len(pixels), lengths)
    return Stage(
        stack,
        lengths,
        pixels,
        _each("weights", stack, weights, _weight(len(stack))),
        _each("biases", stack, biases, _bias),
        (title, title) if isinstance(title, str) else title,
        language,
        theme,
        photo=photo,
        matrix=matrix,
    )


def _check_matrix(
    matrix: str, stack: tuple[Layer, ...], channels: int, lengths: tuple[int, ...]
) -> None:
    """Refuse what is no matrix, or one that has no room."""
    choice("matrix", matrix, _MATRICES)
    layer = stack[0]
    if len(stack) != 1 or isinstance(layer, Pool):
        raise ArgumentError("a matrix shows one convolution, and nothing before or after it")
    outputs = prod(layer.output_size(lengths))
    rows, columns = layer.out_channels * outputs, channels * prod(lengths)
    if matrix == "im2col":
        if layer.transposed or layer.groups > 1 or layer.out_channels > 1:
            raise ArgumentError(f"im2col shows a convolution of one kernel, not {layer!r}")
        rows, columns = layer.in_channels * layer.taps, outputs
    if rows * columns > _ENTRIES:
        raise ArgumentError(
            f"a matrix of {rows}×{columns} is too large to show: at most {_ENTRIES:,} entries"
        )


def _channels(stack: Sequence[Layer]) -> int | None:
    """How many channels the input has; None where pools take any number."""
    return next((each.in_channels for each in stack if not isinstance(each, Pool)), None)


def _image(stack: Sequence[Layer], lengths: tuple[int, ...], values: Any) -> Any:
    channels = _channels(stack)
    if values is None:
        return default_image((channels or 1, *lengths))
    if channels is None:  # pools take any number
        plain = values.tolist() if hasattr(values, "tolist") else values
        axes, inner = 0, plain
        while isinstance(inner, Sequence) and len(inner):
            axes, inner = axes + 1, inner[0]
        channels = len(plain) if axes == len(lengths) + 1 else 1
    return numbers("values", values, (channels, *lengths), 1)


def check_extent(chain: Chain, channels: int, lengths: tuple[int, ...]) -> None:
    """Refuse what no page could show, or would compute for seconds."""
    cells, work, size = channels * prod(lengths), 0, lengths
    widest = channels
    for layer in chain:
        work += layer.macs(size)
        size = layer.output_size(size)
        channels = channels if isinstance(layer, Pool) else layer.out_channels
        if isinstance(layer, Pool):
            work += channels * layer.taps * prod(size)
        widest = max(widest, channels)
        cells += channels * prod(size)
    if widest > CHANNELS:
        raise ArgumentError(f"a stage shows at most {CHANNELS} channels, not {widest}")
    if cells > _CELLS or work > _WORK:
        raise ArgumentError(
            f"{cells:,} cells of {work:,} products are too many for a stage: at most {_CELLS:,} "
            f"of {_WORK:,}"
        )


def _each(
    name: str,
    stack: Sequence[Layer],
    arrays: Sequence[Any] | None,
    read: Callable[[int, Any, Any], Any],
) -> tuple[Any, ...]:
    if arrays is None:
        arrays = [None] * len(stack)
    if len(arrays) != len(stack):
        raise ArgumentError(
            f"{name} must have one entry for each of {len(stack)} layers, not {len(arrays)}"
        )
    found = []
    for index, (layer, array) in enumerate(zip(stack, arrays, strict=True)):
        if isinstance(layer, Pool) and array is not None:
            raise ArgumentError(f"{name}[{index}] must be None: {layer!r} takes none")
        found.append(None if isinstance(layer, Pool) else read(index, layer, array))
    return tuple(found)


def _weight(count: int) -> Callable[[int, Any, Any], Any]:
    """Reads a weight; without one, whole numbers small enough for the sums of `count` layers."""

    def read(index: int, layer: Conv | ConvTranspose, array: Any) -> Any:
        shape = layer.weight_shape
        if array is not None:
            return numbers(f"weights[{index}]", array, shape, 2)
        if count == 1:  # as `animate` draws it
            kernels = kernels_of(None, shape)
            return [
                [_lowered(kernels(o, i), layer.dims) for i in range(shape[1])]
                for o in range(shape[0])
            ]
        # Where there are few weights, a zero would leave little to see.
        zero = int(layer.taps <= 3)
        return nested(shape, lambda at: scattered(index, at) % 3 - 1 or zero)

    return read


def _lowered(kernel: Any, dims: int) -> Any:
    for _ in range(3 - dims):
        (kernel,) = kernel
    return kernel


def _bias(index: int, layer: Conv | ConvTranspose, array: Any) -> Any:
    return None if array is None else numbers(f"biases[{index}]", array, (layer.out_channels,), 0)
