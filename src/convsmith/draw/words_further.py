# ruff: noqa: RUF001 (Chinese stops are meant)
"""Words of the scenes that show more than one layer at work: matrices, costs, fields, tiles."""

from __future__ import annotations

__all__ = ["FURTHER"]

FURTHER: dict[str, tuple[str, str]] = {
    # A convolution as a matrix
    "title.matrix": ("{layer} as a matrix", "{layer}的矩阵"),
    "title.im2col": ("{layer} by im2col", "{layer}：im2col"),
    "panel.vector": ("x: the input, flattened", "x：展平的输入"),
    "panel.matrix": ("matrix {size}", "矩阵 {size}"),
    "panel.result": ("y", "y"),
    "panel.patches": ("patches {size}", "图块矩阵 {size}"),
    "panel.weights": ("kernels {size}", "卷积核矩阵 {size}"),
    "panel.product": ("product {size}", "乘积 {size}"),
    "fact.matrix": ("a {rows}×{columns} matrix", "{rows}×{columns} 矩阵"),
    "fact.matrix_sparse": (
        "a {rows}×{columns} matrix; {held} of {every} entries hold a weight",
        "{rows}×{columns} 矩阵；{every} 个元素中有 {held} 个是权重",
    ),
    "fact.matrix_transposed": (
        "the {rows}×{columns} matrix of the convolution, transposed to {turned}",
        "卷积的 {rows}×{columns} 矩阵，转置为 {turned}",
    ),
    "fact.im2col": (
        "each patch under the window becomes a column: kernels {left} times patches {right}",
        "窗口下的每个图块成为一列：卷积核 {left} 乘以图块 {right}",
    ),
    "caption.row": ("row {row}: {said}", "第 {row} 行：{said}"),
    "caption.column": ("column {column}: {said}", "第 {column} 列：{said}"),
    "describe.matrix": (
        "{title}: {layer} on {size} gives {out}; the matrix has a row for each output value and a "
        "column for each input value, and {rows} rows and {columns} columns of it are drawn",
        "{title}：{layer} 作用于 {size}，得到 {out}；每个输出值对应一行，每个输入值对应一列，"
        "图中画出 {rows} 行 {columns} 列",
    ),
    "describe.im2col": (
        "{title}: {layer} on {size} gives {out}; each patch under the window becomes a column, and "
        "one matrix product gives all output values",
        "{title}：{layer} 作用于 {size}，得到 {out}；窗口下的每个图块成为一列，"
        "一次矩阵乘法给出所有输出值",
    ),
    # Separable convolutions and groups
    "panel.middle": ("depthwise output", "深度卷积输出"),
    "panel.middle_channel": ("middle {number}", "中间 {number}"),
    "panel.depthwise": ("depthwise {size}", "深度卷积核 {size}"),
    "panel.pointwise": ("pointwise {size}", "逐点卷积核 {size}"),
    "panel.ins": ("in", "输入"),
    "panel.outs": ("out", "输出"),
    "panel.count": ("{count} weights", "{count} 个权重"),
    "kind.standard": ("dense", "标准"),
    "kind.grouped": ("grouped", "分组"),
    "kind.depthwise": ("depthwise", "深度"),
    "title.mixing": (
        "Dense, grouped, depthwise: which channels mix",
        "标准、分组、深度卷积：哪些通道混合",
    ),
    "fact.mixing": (
        "{ins} → {outs} channels, kernel {size}; a cell of the grid is a kernel slice of {taps} "
        "weights",
        "{ins} → {outs} 通道，卷积核 {size}；网格中一格是含 {taps} 个权重的卷积核切片",
    ),
    "fact.separable": (
        "multiplications a position: {each} + {mix} = {sum}, standard {whole}",
        "每个位置的乘法次数：{each} + {mix} = {sum}，标准卷积 {whole}",
    ),
    "fact.ratio": (
        "1/n + 1/k² = 1/{outs} + 1/{taps} = {ratio}: {times} times fewer",
        "1/n + 1/k² = 1/{outs} + 1/{taps} = {ratio}：减少到 1/{times}",
    ),
    "caption.depthwise": ("depthwise: {values}", "深度卷积：{values}"),
    "caption.pointwise": ("pointwise: {values}", "逐点卷积：{values}"),
    "caption.mixing": (
        "output {number} reads: all {dense} inputs · {grouped} of its group · its own",
        "输出 {number} 读取：全部 {dense} 个输入 · 本组的 {grouped} 个 · 仅自己的 1 个",
    ),
    "caption.mixing_all": (
        "weights: dense {dense}, grouped {grouped}, depthwise {depthwise}",
        "权重数：标准 {dense}，分组 {grouped}，深度 {depthwise}",
    ),
    "describe.separable": (
        "{title}: {layer} on {size} gives {out}; a depthwise convolution treats each channel for "
        "itself, then a pointwise one mixes the channels at each position",
        "{title}：{layer} 作用于 {size}，得到 {out}；深度卷积逐通道处理，"
        "再由逐点卷积在每个位置混合通道",
    ),
    "describe.mixing": (
        "{title}: a dense convolution joins every input channel to every output channel, a "
        "grouped one joins them within {groups} groups, a depthwise one joins each to one",
        "{title}：标准卷积连接所有输入与输出通道，分组卷积只在 {groups} 个组内连接，"
        "深度卷积一一对应",
    ),
    # Receptive fields
    "title.cone": ("What one output value reads", "一个输出值读取什么"),
    "title.paths": ("Ways from one output value to each pixel", "从一个输出值到每个像素的路径数"),
    "panel.the_input": ("input", "输入"),
    "panel.the_output": ("output", "输出"),
    "panel.after": ("after layer {number}", "第 {number} 层之后"),
    "panel.rates": ("rates {rates}", "空洞率 {rates}"),
    "layer.conv": (
        "convolution of {kernel} taps, stride {stride}, dilation {dilation}",
        "卷积核 {kernel}、步幅 {stride}、空洞率 {dilation}",
    ),
    "layer.max": (
        "max pool of {kernel}, stride {stride}, dilation {dilation}",
        "最大池化 {kernel}、步幅 {stride}、空洞率 {dilation}",
    ),
    "layer.average": (
        "average pool of {kernel}, stride {stride}, dilation {dilation}",
        "平均池化 {kernel}、步幅 {stride}、空洞率 {dilation}",
    ),
    "fact.stack": (
        "kernels {kernels} · strides {strides} · dilations {rates}",
        "卷积核 {kernels} · 步幅 {strides} · 空洞率 {rates}",
    ),
    "fact.field": (
        "receptive field {span}, of which {seen} positions are read",
        "感受野 {span}，其中读取 {seen} 个位置",
    ),
    "fact.holes": (
        "positions never read: {count} (gridding)",
        "{count} 个位置从未读取：网格效应",
    ),
    "fact.covered": (
        "rates {rates}: {seen} of {every} pixels read ({share})",
        "空洞率 {rates}：{every} 个像素中读取 {seen} 个（{share}）",
    ),
    "caption.cone_start": ("One output value", "一个输出值"),
    "caption.cone": (
        "layer {number}, a {what}: reads {seen} of {span} positions",
        "第 {number} 层，{what}：读取 {span} 个位置中的 {seen} 个",
    ),
    "caption.cone_done": (
        "{seen} of {span} input positions, reached in {ways} ways",
        "{span} 个输入位置中的 {seen} 个，共 {ways} 条路径",
    ),
    "caption.paths": (
        "layers back: {count}; the number of ways to each pixel",
        "向前追溯 {count} 层：到每个像素的路径数",
    ),
    "describe.cone": (
        "{title}: through {count} layers one output value reads {seen} of the {span} positions of "
        "its receptive field; each shows in how many ways it is reached",
        "{title}：经过 {count} 层，一个输出值读取感受野 {span} 个位置中的 {seen} 个；"
        "每个位置标出到达它的路径数",
    ),
    "describe.paths": (
        "{title}: convolutions of rates {rates} in series; each pixel shows in how many ways it is "
        "reached, and pixels that are never read are hatched",
        "{title}：空洞率 {rates} 的卷积串联；每个像素标出到达它的路径数，从未读取的像素用斜线标出",
    ),
    # Costs, images, tiles, bands, rewrites
    "value.text": ("{text}", "{text}"),
    "value.before": ("before {value}", "之前 {value}"),
    "value.after": ("after {value}", "之后 {value}"),
    "value.less": ("{times} times less", "减少到 1/{times}"),
    "value.more": ("{times} times more", "增加到 {times} 倍"),
    "value.same": ("the same", "不变"),
    "value.none": ("no factor", "无倍数"),
    "value.points": ("{points} points", "{points} 个百分点"),
    "metric.params": ("parameters", "参数"),
    "metric.macs": ("MACs", "乘加次数"),
    "metric.flops": ("FLOPs", "浮点运算"),
    "metric.bytes": ("bytes", "字节"),
    "metric.memory": ("peak memory", "峰值内存"),
    "metric.milliseconds": ("time", "时间"),
    "metric.latency": ("latency", "延迟"),
    "metric.accuracy": ("accuracy", "准确率"),
    "metric.miou": ("mean IoU", "平均交并比"),
    "metric.agreement": ("agreement", "一致率"),
    "title.card": ("Before and after: {name}", "改写前后：{name}"),
    "title.card_plain": ("Before and after", "改写前后"),
    "title.cost_areas": (
        "Standard against separable: the multiplications",
        "标准卷积与可分离卷积的乘法次数",
    ),
    "title.field_over": ("Receptive fields over the image", "图像上的感受野"),
    "title.effective_over": ("Effective receptive field", "有效感受野"),
    "title.halo": ("A tile and its halo", "图块与它的重叠边缘"),
    "title.bands": ("Fused layers, band by band", "逐带计算的融合层"),
    "panel.area": ("standard: {rows} × {columns}", "标准：{rows} × {columns}"),
    "panel.both": ("separable: {rows} + {columns}", "可分离：{rows} + {columns}"),
    "panel.with_halo": ("output, with halo", "输出（带重叠边缘）"),
    "panel.error": ("error without halo", "无重叠边缘时的误差"),
    "panel.map": ("map {number}", "特征图 {number}"),
    "panel.ring": ("buffer of {count}", "{count} 行缓冲"),
    "fact.cost": (
        "kernel {size}, m = {ins} → n = {outs} channels; areas per input channel and position",
        "卷积核 {size}，m = {ins} → n = {outs} 通道；面积对应每个输入通道和位置",
    ),
    "fact.cost_ratio": ("{times} times fewer: a share of {ratio}", "减少到 1/{times}，占 {ratio}"),
    "fact.image": ("image {size}", "图像 {size}"),
    "fact.tiles": ("tiles of {tile}: {count} · output {out}", "{count} 个 {tile} 图块，输出 {out}"),
    "fact.kernels": ("kernels {kernels}", "卷积核 {kernels}"),
    "fact.bands": (
        "layers: {count} · output rows at a time: {band} · in all: {rows}",
        "{count} 层，每次输出 {band} 行，共 {rows} 行",
    ),
    "fact.rings": (
        "held between the layers: {slots} rows instead of {rows}",
        "层间保存：{slots} 行，而不是 {rows} 行",
    ),
    "caption.cost_standard": (
        "standard: k²·m·n = {taps}·{ins}·{outs} = {value} at each position",
        "标准：每个位置 k²·m·n = {taps}·{ins}·{outs} = {value}",
    ),
    "caption.cost_depthwise": (
        "depthwise: k²·m = {taps}·{ins} = {value}",
        "深度：k²·m = {taps}·{ins} = {value}",
    ),
    "caption.cost_pointwise": (
        "pointwise: m·n = {ins}·{outs} = {value}",
        "逐点：m·n = {ins}·{outs} = {value}",
    ),
    "caption.cost_ratio": (
        "{sum} of {whole}: 1/n + 1/k² = 1/{outs} + 1/{taps} = {ratio}, {times} times fewer",
        "{whole} 中的 {sum}：1/n + 1/k² = 1/{outs} + 1/{taps} = {ratio}，减少到 1/{times}",
    ),
    "caption.layer": ("{name}: {said}", "{name}：{said}"),
    "caption.field": (
        "field {size}, {seen} of {every} positions read ({share})",
        "感受野 {size}，读取 {every} 个位置中的 {seen} 个（{share}）",
    ),
    "caption.effective": (
        "{share} of the weight lies in {area} of the image",
        "{share} 的权重位于图像的 {area} 中",
    ),
    "caption.tile": (
        "rows {rows}, columns {columns} of the output need rows {need_rows}, columns "
        "{need_columns} of the input",
        "输出的行 {rows}、列 {columns} 需要输入的行 {need_rows}、列 {need_columns}",
    ),
    "caption.seam": (
        "without the halo {wrong} of {every} values are wrong, by up to {worst}",
        "没有重叠边缘时，{every} 个值中有 {wrong} 个出错，误差最大 {worst}",
    ),
    "caption.band": ("output rows {rows}", "输出行 {rows}"),
    "caption.held": (
        "map {number} holds rows {rows}, {fresh} new",
        "特征图 {number} 保存行 {rows}，新增 {fresh}",
    ),
    "caption.card": ("{count} figures, before and after", "{count} 项指标，改写前后"),
    "describe.cost_areas": (
        "{title}: {layer}; {whole} multiplications at each position against {sum}",
        "{title}：{layer}；每个位置 {whole} 次乘法，可分离形式 {sum} 次",
    ),
    "describe.field_over": (
        "{title}: an image of {size}, and over it receptive fields to scale, one by one: {count}",
        "{title}：{size} 的图像，按比例画出 {count} 层的感受野",
    ),
    "describe.effective_over": (
        "{title}: an image of {size}, and over it how much each block of pixels counts",
        "{title}：{size} 的图像，标出每块像素的权重",
    ),
    "describe.halo": (
        "{title}: each tile of {tile} needs a rim of the input around it; without the rim {wrong} "
        "of {every} values are wrong",
        "{title}：每个 {tile} 图块需要周围的一圈输入；没有它，{every} 个值中有 {wrong} 个出错",
    ),
    "describe.bands": (
        "{title}: {count} layers make {band} output rows at a time; between them {slots} rows are "
        "held in ring buffers",
        "{title}：{count} 层每次输出 {band} 行；层间的环形缓冲区保存 {slots} 行",
    ),
    "describe.card": ("{title}: {told}", "{title}：{told}"),
    # The gallery
    "gallery.title": ("{count} pictures of convolutions", "{count} 幅卷积图"),
    "gallery.about": (
        "Every number is computed by the arithmetic that the package is tested with. A click opens "
        "a picture alone.",
        "每个数字都由软件包经过测试的算术计算得出。点击可单独打开一幅图。",
    ),
}
