# ruff: noqa: E501, RUF001
"""Lesson 1: every text, English and Chinese beside each other."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS: dict[str, tuple[str, str]] = {
    "intro": (
        "A convolution asks the same small question everywhere in a picture. The question is the "
        "**kernel**, a small table of weights. Lay it on the map, multiply every weight by the "
        "value beneath it, add the products up: that is one number of the output. Move on by one "
        "position and ask again.",
        "卷积就是在图上每个位置问同一个小问题。这个问题写在**卷积核**里：一张小小的权重表。"
        "把它盖在特征图上，每个权重乘以它下面的值，再把乘积加起来，就得到输出的一个数。"
        "移动一个位置，再问一次。",
    ),
    "hand": (
        "## One position at a time\n\nHere are a map of 4×4 and a kernel of 2×2. Choose where the "
        "kernel lies; rows and columns count from 0.",
        "## 一次看一个位置\n\n这是一张 4×4 的特征图和一个 2×2 的卷积核。"
        "选择卷积核放在哪里；行和列都从 0 数起。",
    ),
    "row": ("Row", "行"),
    "column": ("Column", "列"),
    "q1": (
        "Now without help: which number stands in row 1, column 1 of the output?",
        "现在自己算一算：输出第 1 行、第 1 列的数是多少？",
    ),
    "q1 why": ("4·1 + 2·0 + 7·2 + 2·1 = 20.", "4·1 + 2·0 + 7·2 + 2·1 = 20。"),
    "q1 hint": (
        "The kernel's upper left corner lies on the 4 in row 1, column 1 of the map; the other "
        "weights lie to the right of it and below.",
        "卷积核的左上角压在特征图第 1 行、第 1 列的 4 上，其余权重在它的右边和下边。",
    ),
    "padding": (
        "## Padding\n\nAlong 4 positions a kernel of 2 fits 3 times, so the output would be 3×3. "
        "To keep 4×4, values are put around the map: **padding**, usually zeros. "
        "`padding='same'` puts on as many as keep the size. An even kernel needs an odd number of "
        "them; the odd one goes to the bottom and to the right only. `padding='valid'` means none.",
        "## 填充\n\n4 个位置上，宽为 2 的卷积核只放得下 3 次，输出会变成 3×3。"
        "若想仍得到 4×4，就要在图的四周补上一些值，这叫**填充**，通常补零。"
        "`padding='same'` 补得恰好让尺寸不变。偶数大小的卷积核需要补奇数个，"
        "多出的一个只补在下边和右边。`padding='valid'` 表示不补。",
    ),
    "q2": (
        "With `padding='same'`, what stands in the lower right corner of the output?",
        "用 `padding='same'` 时，输出右下角的数是多少？",
    ),
    "q2 why": (
        "Three of the four weights lie on zeros; 4·1 is left.",
        "四个权重中有三个落在补的零上，只剩 4·1。",
    ),
    "q2 hint": (
        "Only one weight still lies on the map there, the upper left one.",
        "那里只有左上角的权重还落在图上。",
    ),
    "same": (
        "The whole output, with the padding in it:",
        "加上填充后的完整过程：",
    ),
    "touch": (
        "Now touch it: point at any output, or move with the arrow keys, and its sum is written "
        "out. Type a number over an input or a weight, and see which outputs change.",
        "现在亲手试一试：指向任意一个输出，或用方向键移动，它的算式就写在下面。"
        "把一个输入或权重改成别的数，看看哪些输出跟着变。",
    ),
    "size": (
        "## How large is the output?\n\nThe **stride** s is the step from one position to the "
        "next. The kernel's first weight can lie anywhere as long as its last one still finds a "
        "value, so the padded length, less the kernel's span, is how far it can travel; divide by "
        "the step, round down, and count the first position too.",
        "## 输出有多大？\n\n**步幅** s 是卷积核每次移动的距离。只要最后一个权重仍落在图上，"
        "卷积核就可以放；所以填充后的长度减去卷积核的跨度，就是它能走的路程。"
        "除以步幅，向下取整，再把起点算上。",
    ),
    "length": ("Input length, h", "输入长度 h"),
    "kernel": ("Kernel size, k", "卷积核大小 k"),
    "stride": ("Stride, s", "步幅 s"),
    "pad": ("Padding, p", "填充 p"),
    "q3": (
        "A map has 224 rows. The kernel has 7, the stride is 2, the padding 3. How many rows come "
        "out?",
        "特征图有 224 行，卷积核为 7，步幅为 2，填充为 3。输出有多少行？",
    ),
    "q3 why": (
        "⌊(224 + 3 + 3 − 6 − 1) / 2⌋ + 1 = ⌊111.5⌋ + 1 = 112. It is the first layer of a ResNet.",
        "⌊(224 + 3 + 3 − 6 − 1) / 2⌋ + 1 = ⌊111.5⌋ + 1 = 112。这正是 ResNet 的第一层。",
    ),
    "q3 hint": (
        "Padded, there are 230 rows; the kernel spans 7 of them.",
        "填充后共有 230 行，卷积核占其中 7 行。",
    ),
    "modes": (
        "## What the padding holds\n\nZeros darken the border. Instead, the map can be mirrored, "
        "its border repeated, or its far side brought round. The size is the same each time.",
        "## 填充里放什么\n\n补零会让边缘变暗。也可以把图镜像过去、重复边缘的值，"
        "或把另一侧的值绕过来。无论哪种，输出尺寸都相同。",
    ),
    "mode": ("Padding mode", "填充内容"),
    "channels": (
        "## Many maps\n\nA colour picture has three maps, a layer inside a network hundreds: its "
        "**channels**. For m maps in, a kernel has m slices, one for each; the m partial results "
        "are summed. Each of the n output maps has a kernel of its own. So a layer holds "
        "k·k·m·n weights and n biases, and multiplies k·k·m·n·h′·w′ times.",
        "## 多个特征图\n\n彩色图片有三张特征图，网络内部的一层则有几百张，这就是**通道**。"
        "输入 m 张图，卷积核就有 m 层切片，每张图一层；m 个部分和再相加。"
        "n 张输出图各有自己的卷积核。因此一层共有 k·k·m·n 个权重和 n 个偏置，"
        "要做 k·k·m·n·h′·w′ 次乘法。",
    ),
    "q4": (
        "A random picture of 3×128×128 goes through 10 kernels of 3×3, without padding. How many "
        "rows does each output map have?",
        "一张 3×128×128 的随机图片经过 10 个 3×3 的卷积核，不填充。每张输出图有多少行？",
    ),
    "q4 why": ("128 − 3 + 1 = 126; the output is 10×126×126.", "128 − 3 + 1 = 126，输出为 10×126×126。"),
    "q4 hint": ("Without padding a kernel of 3 loses 2 rows.", "不填充时，宽为 3 的卷积核会少 2 行。"),
    "q5": (
        "And how many parameters does this layer have, biases included?",
        "这一层连同偏置共有多少个参数？",
    ),
    "q5 why": ("3·3·3·10 + 10 = 280.", "3·3·3·10 + 10 = 280。"),
    "q5 hint": (
        "Ten kernels, each of three slices of 3×3, and one bias per kernel.",
        "十个卷积核，每个有三层 3×3 的切片，再加每个核一个偏置。",
    ),
    "count": (
        "## Counting for any batch\n\nMultiply-adds (MACs) count one multiplication and its "
        "addition together; floating-point operations (FLOPs) count both, and the bias too. "
        "For a batch they grow with it:\n\n```python\nimport convsmith as cs\n\n"
        "conv = cs.Conv(3, 10, kernel_size=3)\nconv.macs((128, 128), batch=4)   # {macs}\n"
        "conv.flops((128, 128), batch=4)  # {flops}\n```",
        "## 任意批量的计算量\n\n乘加次数（MACs）把一次乘法和随后的加法算作一次；"
        "浮点运算次数（FLOPs）把两者分开算，偏置也计入。批量增大，它们成比例增加：\n\n"
        "```python\nimport convsmith as cs\n\nconv = cs.Conv(3, 10, kernel_size=3)\n"
        "conv.macs((128, 128), batch=4)   # {macs}\n"
        "conv.flops((128, 128), batch=4)  # {flops}\n```",
    ),
    "all": (
        "## Every parameter\n\nEvery size may be one number, or one for rows and one for columns.",
        "## 全部参数\n\n每个尺寸都可以是一个数，也可以对行和列各给一个数。",
    ),
    "parameter": ("parameter", "参数"),
    "does": ("what it does", "作用"),
    "weights": ("weights", "权重数"),
    "output": ("output", "输出"),
    "does in": ("maps that come in, m", "输入的特征图数 m"),
    "does out": ("maps that come out, n; one kernel each", "输出的特征图数 n，每张一个卷积核"),
    "does kernel": ("rows and columns of the kernel, k", "卷积核的行数和列数 k"),
    "does stride": ("step of the kernel, s", "卷积核的步幅 s"),
    "does padding": ("values added around the map, p", "在图四周补的值 p"),
    "does dilation": ("distance between the weights, d", "权重之间的间隔，即空洞率 d"),
    "does groups": ("parts of the channels that never mix, g", "互不混合的通道组数 g"),
    "does bias": ("one number added to each output map", "给每张输出图加一个数"),
    "does mode": ("what the padding holds", "填充里放什么"),
    "n maps": ("n maps", "n 张图"),
    "names": (
        "## Other names\n\nBooks and papers call the same things differently:\n\n"
        "- **dilation**: dilation rate, atrous rate\n"
        "- **dilated convolution**: atrous convolution, convolution à trous\n"
        "- **stride**: step, subsampling factor\n"
        "- **transposed convolution**: deconvolution (though it does not invert), fractionally "
        "strided convolution\n"
        "- **depthwise convolution**: channel-wise convolution\n"
        "- **pointwise convolution**: 1×1 convolution",
        "## 同一个词的不同叫法\n\n书和论文里的叫法不一，这几课用冒号前面的词：\n\n"
        "- **空洞率**（dilation）：扩张率、膨胀率\n"
        "- **空洞卷积**（dilated / atrous convolution）：扩张卷积、膨胀卷积\n"
        "- **步幅**（stride）：步长\n"
        "- **转置卷积**（transposed convolution）：反卷积（其实并不求逆）、分数步长卷积\n"
        "- **深度卷积**（depthwise convolution）：逐通道卷积\n"
        "- **逐点卷积**（pointwise convolution）：1×1 卷积",
    ),
    "end": (
        "You can now follow any convolution by hand. The next lesson makes it cheaper.",
        "现在，任何卷积你都能手算了。下一课让它更省。",
    ),
}  # fmt: skip
