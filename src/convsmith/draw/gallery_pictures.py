# ruff: noqa: RUF001 (Chinese stops are meant)
"""The pictures of the gallery: what each shows, in both languages, and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import exp, hypot, sin

from convsmith.arithmetic import Chain, Conv, ConvTranspose, Pool, Region, Window
from convsmith.draw.animate import animate
from convsmith.draw.scene import Scene
from convsmith.draw.scenes.areas import cost_areas
from convsmith.draw.scenes.bands import bands
from convsmith.draw.scenes.card import card
from convsmith.draw.scenes.cone import cone
from convsmith.draw.scenes.halo import halo
from convsmith.draw.scenes.im2col import im2col
from convsmith.draw.scenes.matrix import matrix
from convsmith.draw.scenes.mixing import mixing
from convsmith.draw.scenes.over import effective_over, field_over
from convsmith.draw.scenes.paths import paths
from convsmith.draw.scenes.separable import separable
from convsmith.draw.scenes.ways import ways_back

__all__ = ["PICTURES", "SECTIONS", "Entry"]


@dataclass(frozen=True)
class Entry:
    """A picture: its file's name, its section, what it shows in English and Chinese."""

    name: str
    section: str
    english: str
    chinese: str
    make: Callable[[], Scene]
    suffix: str = ".svg"

    @property
    def file(self) -> str:
        """The name of its file."""
        return self.name + self.suffix


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

_IMAGE = [[4, 1, 7, 5], [4, 4, 2, 5], [7, 7, 2, 4], [1, 0, 2, 4]]
_STAMP = [[1, 2, 1], [2, 1, 2], [1, 1, 2]]
_PAPER = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
_KERNEL = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]
_SIDE, _ROW, _COLUMN = 96, 50, 60


def _both_ways(
    name: str, english: str, chinese: str, size: int, kernel: int, stride: int, padding: int
) -> list[Entry]:
    """A convolution, and the transposed one from its output's size back to its input's."""
    conv = Conv(1, 1, kernel, stride, padding)
    (small, _) = conv.output_size(size)
    back = conv.transpose((size + 2 * padding - kernel) % stride)
    return [
        Entry(name, "arithmetic", english, chinese, partial(animate, conv, size)),
        Entry(
            f"{name}_transposed",
            "arithmetic",
            f"{english}, transposed",
            f"{chinese}，转置",
            partial(animate, back, small, view="zeros"),
        ),
    ]


def _photo() -> list[list[list[int]]]:
    """Hills under a low sun, computed: no image has to be kept."""
    rows = []
    for r in range(_SIDE):
        row = []
        for c in range(_SIDE):
            y, x = r / _SIDE, c / _SIDE
            ridges = [
                0.55 + 0.06 * sin(9 * x),
                0.68 + 0.07 * sin(6 * x + 2),
                0.84 + 0.05 * sin(11 * x),
            ]
            hill = sum(y > ridge for ridge in ridges)
            glow = exp(-(hypot(x - 0.68, y - 0.34) ** 2) / 0.02)
            if hill:
                shade = (0.75, 0.5, 0.3)[hill - 1]
                colour = (70 * shade + 30, 120 * shade + 40, 110 * shade + 30)
            else:
                colour = (235 - 90 * (0.5 - y), 190 - 40 * y + 40 * glow, 150 + 90 * (0.5 - y))
            row.append(
                [max(0, min(255, round(level + 60 * glow * (not hill)))) for level in colour]
            )
        rows.append(row)
    return rows


def _fields() -> dict[str, Region]:
    """The fields of four dilated layers in series, around a place of the photo."""
    layers = _stack(2, 2, 4, 8)
    found = {}
    for depth in range(1, len(layers) + 1):
        along = Chain(*layers[:depth]).receptive_field()
        middle = (along.start + along.stop - 1) // 2
        name = f"conv{depth} ({', '.join(str(each.dilation[0]) for each in layers[:depth])})"
        found[name] = Region([(along.shift(_ROW - middle), along.shift(_COLUMN - middle))])
    return found


def _field_over() -> Scene:
    return field_over(_photo(), _fields())


def _effective_over() -> Scene:
    """Equal weights: a pixel counts as much as there are ways to it."""
    along = list(ways_back(_stack(1, 2, 3, 4, 5, 6, 7), 0)[-1].values())
    first = len(along) // 2

    def at(place: int, middle: int) -> int:
        index = place - middle + first
        return along[index] if 0 <= index < len(along) else 0

    heat = [[at(r, _ROW) * at(c, _COLUMN) for c in range(_SIDE)] for r in range(_SIDE)]
    return effective_over(_photo(), heat)


def _card() -> Scene:
    """The parameters and multiply-adds of the lesson's table: 3 → 30 channels, kernel 10."""
    layer = Conv(3, 30, 10)
    made = layer.separable()
    before, after = ({"params": each.params, "macs": each.macs(128)} for each in (layer, made))
    return card(before, after, name="3 → 30, 10×10")


def _stack(*rates: int) -> list[Conv]:
    return [Conv(1, 1, 3, dilation=rate) for rate in rates]


_ARITHMETIC = [
    *_both_ways("no_padding_no_strides", "No padding, no strides", "无填充，无步幅", 4, 3, 1, 0),
    *_both_ways("arbitrary_padding_no_strides", "Arbitrary padding, no strides",
                "任意填充，无步幅", 5, 4, 1, 2),
    *_both_ways("same_padding_no_strides", "Half (same) padding, no strides",
                "半填充（same），无步幅", 5, 3, 1, 1),
    *_both_ways("full_padding_no_strides", "Full padding, no strides",
                "全填充，无步幅", 5, 3, 1, 2),
    *_both_ways("no_padding_strides", "No padding, strides", "无填充，有步幅", 5, 3, 2, 0),
    *_both_ways("padding_strides", "Padding, strides", "有填充，有步幅", 5, 3, 2, 1),
    *_both_ways("padding_strides_odd", "Padding, strides, a row left over",
                "有填充，有步幅，余一行", 6, 3, 2, 1),
    Entry("dilation", "arithmetic", "Dilation 2", "空洞率 2",
          partial(animate, Conv(1, 1, 3, dilation=2), 7)),
    Entry("numerical_no_padding_no_strides", "arithmetic", "With numbers, no padding, no strides",
          "带数值，无填充，无步幅",
          partial(animate, Conv(1, 1, 3), 5, values=_PAPER, weight=_KERNEL)),
    Entry("numerical_padding_strides", "arithmetic", "With numbers, padding, strides",
          "带数值，有填充，有步幅",
          partial(animate, Conv(1, 1, 3, 2, 1), 5, values=_PAPER, weight=_KERNEL)),
    Entry("numerical_average_pooling", "arithmetic", "Average pooling with numbers",
          "带数值的平均池化", partial(animate, Pool(3, 1, kind="average"), 5, values=_PAPER)),
    Entry("numerical_max_pooling", "arithmetic", "Max pooling with numbers", "带数值的最大池化",
          partial(animate, Pool(3, 1), 5, values=_PAPER)),
]  # fmt: skip

_STANDARD = [
    Entry("by_hand", "standard", "A convolution by hand: an even kernel with 'same' pads below and "
          "at the right", "手算卷积：偶数核的 'same' 只在下方和右侧填充",
          partial(animate, Conv(1, 1, 2, padding="same", bias=False), 4, values=_IMAGE,
                  weight=[[1, 0], [2, 1]])),
    Entry("channels", "standard", "Three channels in, two out: partial sums are added",
          "三个输入通道，两个输出：各通道部分和相加", partial(animate, Conv(3, 2, 3), 5)),
    Entry("bias", "standard", "A bias is added to every value of its channel",
          "偏置加到其通道的每个值上", partial(animate, Conv(2, 2, 3), 4, bias=[10, -5])),
    Entry("large", "standard", "A large layer is drawn as a crop that says so",
          "大型层画出局部并注明", partial(animate, Conv(64, 128, 3, padding=1), 224)),
]  # fmt: skip

_CHANNELS = [
    Entry("grouped", "channels", "Two groups that never mix", "两组互不混合",
          partial(animate, Conv(4, 4, 3, groups=2), 5)),
    Entry("depthwise", "channels", "Depthwise: a kernel a channel", "深度卷积：每个通道一个核",
          partial(animate, Conv(3, 3, 3, groups=3), 5)),
    Entry("multiplier", "channels", "Depthwise with a channel multiplier of 2",
          "通道倍数为 2 的深度卷积", partial(animate, Conv(2, 4, 3, groups=2), 4)),
    Entry("pointwise", "channels", "Pointwise: 1×1 mixes the channels", "逐点卷积：1×1 混合通道",
          partial(animate, Conv(3, 4, 1), 4)),
    Entry("separable", "channels", "Depthwise, then pointwise: 3×5×5 to 4×3×3",
          "先深度后逐点：3×5×5 到 4×3×3", partial(separable, Conv(3, 4, 3), 5)),
    Entry("separable_exercise", "channels", "The exercise: 3×128×128 to 10×126×126",
          "练习：3×128×128 到 10×126×126", partial(separable, Conv(3, 10, 3), 128)),
    Entry("mixing", "channels", "Dense, grouped, depthwise in one row", "标准、分组、深度并排",
          partial(mixing, 4, 2)),
    Entry("mixing_three_groups", "channels", "Six channels, three groups", "六个通道，三个组",
          partial(mixing, 6, 3)),
    Entry("cost", "channels", "Standard against separable as areas, 64 to 128 channels",
          "标准与可分离的面积对比，64 到 128 通道", partial(cost_areas, Conv(64, 128, 3))),
    Entry("cost_small", "channels", "The same for 3 to 10 channels", "同上，3 到 10 通道",
          partial(cost_areas, Conv(3, 10, 3))),
]  # fmt: skip

_DILATED = [
    Entry("dilated_same", "dilated", "Padding equal to the dilation keeps the size",
          "填充等于空洞率时尺寸不变", partial(animate, Conv(1, 1, 3, padding=2, dilation=2), 6)),
    Entry("dilated_pair", "dilated", "Another dilation along each axis", "两个方向空洞率不同",
          partial(animate, Conv(1, 1, 3, dilation=(1, 3)), (5, 9))),
    Entry("dilated_depthwise", "dilated", "Dilated depthwise: 3×5×5 stays 3×5×5",
          "空洞深度卷积：3×5×5 保持 3×5×5",
          partial(animate, Conv(3, 3, 3, padding=2, dilation=2, groups=3), 5)),
]  # fmt: skip

_TRANSPOSED = [
    Entry("stamps", "transposed", "Each value stamps its multiple of the kernel",
          "每个值印上卷积核的倍数",
          partial(animate, ConvTranspose(1, 1, 3), 2, values=[[55, 1], [2, 3]], weight=_STAMP)),
    Entry("transposed_matrix", "transposed", "The same by the matrix: 4×16 transposed to 16×4",
          "同一运算的矩阵：4×16 转置为 16×4",
          partial(matrix, ConvTranspose(1, 1, 3), 2, values=[[55, 1], [2, 3]], weight=_STAMP)),
    Entry("stamps_stride", "transposed", "Stamps two apart, where stride is 2",
          "步幅 2 时印章相隔两格", partial(animate, ConvTranspose(1, 1, 3, 2), 3)),
    Entry("transposed_zeros", "transposed", "The same with zeros put between", "同上，插入零",
          partial(animate, ConvTranspose(1, 1, 3, 2), 3, view="zeros")),
    Entry("output_padding_0", "transposed", "Output padding 0: the smaller of two sizes",
          "输出填充 0：两种尺寸中较小者", partial(animate, ConvTranspose(1, 1, 3, 2, 1), 3)),
    Entry("output_padding_1", "transposed", "Output padding 1: the larger of two sizes",
          "输出填充 1：两种尺寸中较大者", partial(animate, ConvTranspose(1, 1, 3, 2, 1, 1), 3)),
    Entry("transposed_groups", "transposed", "Transposed in two groups", "分两组的转置卷积",
          partial(animate, ConvTranspose(4, 4, 2, stride=2, groups=2), 2)),
]  # fmt: skip

_MATRIX = [
    Entry("matrix", "matrix", "4×4 by 3×3: a 4×16 matrix", "4×4 与 3×3：4×16 矩阵",
          partial(matrix, Conv(1, 1, 3), 4, weight=_STAMP)),
    Entry("matrix_padding", "matrix", "Padding makes it square", "填充使矩阵成为方阵",
          partial(matrix, Conv(1, 1, 3, padding=1), 4, weight=_STAMP)),
    Entry("matrix_stride", "matrix", "A stride leaves rows out", "步幅使行数减少",
          partial(matrix, Conv(1, 1, 2, stride=2), 4)),
    Entry("matrix_dilated", "matrix", "A dilation spreads the weights", "空洞使权重散开",
          partial(matrix, Conv(1, 1, 2, dilation=2), 4, weight=[[1, 2], [3, 4]])),
    Entry("matrix_groups", "matrix", "Groups are blocks on the diagonal", "分组是对角线上的块",
          partial(matrix, Conv(2, 2, 2, groups=2), 3)),
    Entry("im2col", "matrix", "Patches as columns (im2col)", "图块成为列（im2col）",
          partial(im2col, Conv(1, 1, 3), 5, weight=_STAMP)),
    Entry("im2col_channels", "matrix", "im2col of two channels and three kernels",
          "两个通道、三个核的 im2col", partial(im2col, Conv(2, 3, 2), 3)),
]  # fmt: skip

_PADDING = [
    Entry("same_even", "padding", "'same' of an even kernel is lopsided", "偶数核的 'same' 不对称",
          partial(animate, Conv(1, 1, 4, padding="same"), 5)),
    Entry("dropped", "padding", "Pixels that flooring drops", "取整丢弃的像素",
          partial(animate, Conv(1, 1, 3, stride=2), 6)),
    Entry("stride_gaps", "padding", "A stride larger than the kernel skips pixels",
          "步幅大于核时跳过像素", partial(animate, Conv(1, 1, 2, stride=3), 8)),
    Entry("reflect", "padding", "A mirrored border", "镜像边界",
          partial(animate, Conv(1, 1, 3, padding=1, padding_mode="reflect"), 4)),
    Entry("replicate", "padding", "A repeated border", "复制边界",
          partial(animate, Conv(1, 1, 3, padding=1, padding_mode="replicate"), 4)),
    Entry("circular", "padding", "A border that wraps around", "循环边界",
          partial(animate, Conv(1, 1, 3, padding=1, padding_mode="circular"), 4)),
    Entry("asymmetric", "padding", "A kernel of 3×2 with stride 1×2", "3×2 的核，步幅 1×2",
          partial(animate, Conv(1, 1, (3, 2), stride=(1, 2)), (5, 6))),
    Entry("line", "padding", "One axis", "一维",
          partial(animate, Conv(1, 1, 3, padding=1, dims=1), 8)),
    Entry("causal", "padding", "Causal: nothing of the future is read", "因果：不读取未来",
          partial(animate, Conv(1, 1, 3, padding=((4, 0),), dilation=2, dims=1), 9)),
    Entry("volume", "padding", "Three axes, slice by slice", "三维，逐切片",
          partial(animate, Conv(1, 1, 2, dims=3), 3)),
]  # fmt: skip

_POOLING = [
    Entry("max_pool", "pooling", "Max pool of 2", "2 的最大池化", partial(animate, Pool(2), 6)),
    Entry("average_pool", "pooling", "Average pool with padding", "有填充的平均池化",
          partial(animate, Pool(3, 2, 1, kind="average"), 5)),
    Entry("ceil_pool", "pooling", "Rounded up, the last window runs over the edge",
          "向上取整时最后的窗口越过边缘", partial(animate, Pool(2, ceil_mode=True), 5)),
]  # fmt: skip

_FIELD = [
    Entry("cone", "field", "Three 3×3 layers read 7 positions", "三个 3×3 层读取 7 个位置",
          partial(cone, _stack(1, 1, 1))),
    Entry("cone_dilated", "field", "Dilations 1, 2, 4: 15 positions, no hole",
          "空洞率 1、2、4：15 个位置，无空洞", partial(cone, _stack(1, 2, 4))),
    Entry("cone_gridding", "field", "Dilations 2, 2, 2 leave holes: gridding",
          "空洞率 2、2、2 留下空洞：网格效应", partial(cone, _stack(2, 2, 2))),
    Entry("cone_pooling", "field", "A pool doubles what comes after", "池化使其后的步长加倍",
          partial(cone, [Conv(1, 1, 3), Pool(2), Conv(1, 1, 3), Conv(1, 1, 3)])),
    Entry("paths", "field", "Ways to each pixel: 2, 2, 2 and the repair 1, 2, 3",
          "到每个像素的路径数：2、2、2 与修复 1、2、3",
          partial(paths, [2, 2, 2], repair=[1, 2, 3])),
    Entry("paths_five", "field", "The same with 5 taps: 2, 2 and 1, 3", "五个权重时：2、2 与 1、3",
          partial(paths, [2, 2], 5, repair=[1, 3])),
    Entry("field_over", "field", "Fields of four dilated layers over an image",
          "图像上四个空洞卷积层的感受野",
          _field_over),
    Entry("effective_over", "field", "The effective field of seven layers of equal weights",
          "七个等权重层的有效感受野", _effective_over),
]  # fmt: skip

_RUNNING = [
    Entry("halo", "running", "What a tile needs, and the seam without it",
          "图块需要的输入，以及缺少它时的接缝",
          partial(halo, [Conv(1, 1, 3, padding=1)] * 2, 8, 4)),
    Entry("halo_pool", "running", "The same through a pool", "同上，经过池化",
          partial(halo, [Conv(1, 1, 3, padding=1), Pool(2), Conv(1, 1, 3, padding=1)], 12, 3)),
    Entry("bands", "running", "Two fused layers, band by band", "两个融合层，逐带计算",
          partial(bands, [Window(3, padding=(1, 1)), Window(3, padding=(1, 1))], 10)),
    Entry("bands_separable", "running", "A fused separable block: 1×1, 3×3, 1×1",
          "融合的可分离块：1×1、3×3、1×1",
          partial(bands, [Window(1), Window(3, padding=(1, 1)), Window(1)], 12, band=2)),
    Entry("card", "running", "Before and after a rewrite", "改写前后",
          _card),
]  # fmt: skip

# The same again in the formats of slides and print.
_FORMATS = [
    Entry("dilation", "dilated", "Dilation 2 as GIF", "空洞率 2（GIF）",
          partial(animate, Conv(1, 1, 3, dilation=2), 7), ".gif"),
    Entry("separable", "channels", "Separable, the last step as PNG", "可分离卷积最后一步（PNG）",
          partial(separable, Conv(3, 4, 3), 5), ".png"),
    Entry("stamps", "transposed", "The stamps as GIF", "印章（GIF）",
          partial(animate, ConvTranspose(1, 1, 3), 2, values=[[55, 1], [2, 3]], weight=_STAMP),
          ".gif"),
]  # fmt: skip

PICTURES: tuple[Entry, ...] = (
    *_ARITHMETIC, *_STANDARD, *_CHANNELS, *_DILATED, *_TRANSPOSED, *_MATRIX, *_PADDING, *_POOLING,
    *_FIELD, *_RUNNING, *_FORMATS,
)  # fmt: skip
