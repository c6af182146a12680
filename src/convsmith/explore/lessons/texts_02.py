# ruff: noqa: E501, RUF001
"""Lesson 2: every text, English and Chinese beside each other."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS: dict[str, tuple[str, str]] = {
    "intro": (
        "A standard convolution connects every input map with every output map: k·k·m·n weights. "
        "Most of the cost of a network lies in that product. This lesson takes it apart.",
        "标准卷积把每张输入图和每张输出图都连起来，要用 k·k·m·n 个权重。"
        "网络的计算量大多花在这个乘积上。这一课就来拆开它。",
    ),
    "grouped": (
        "## Groups\n\n`groups=g` splits the channels into g parts that never mix: each part of the "
        "input has kernels of its own, and the outputs are concatenated by channel, not added. A "
        "kernel then has m/g slices instead of m, so weights and multiplications fall to 1/g. It began with AlexNet in 2012, "
        "which had to be spread over two GPUs.",
        "## 分组卷积\n\n`groups=g` 把通道分成互不混合的 g 组：输入的每一组有自己的卷积核，"
        "各组结果按通道拼接，不相加。每个卷积核只有 m/g 层切片，权重和乘法都降到 1/g。"
        "它始于 2012 年的 AlexNet，当时网络要分放在两块 GPU 上。",
    ),
    "groups": ("Groups, g", "分组数 g"),
    "divide": (
        "With 6 channels in and 4 out, g must divide both. Try 3: it divides 6, but not 4.",
        "输入 6 通道、输出 4 通道时，g 必须同时整除两者。试试 3：它整除 6，却不能整除 4。",
    ),
    "groups apart": (
        "Are the results of the groups added? Touch an output: it reads the channels of its own "
        "group, and no other. The groups' outputs are **stacked** as channels, not added.",
        "各组的结果会相加吗？点一个输出看看：它只读本组的通道，不读别组。"
        "各组的输出是**按通道拼接**，不相加。",
    ),
    "q1": (
        "A layer takes 64 channels to 128 with a kernel of 3×3 and no bias: 73,728 weights. How "
        "many are left with `groups=4`?",
        "一层用 3×3 卷积核把 64 通道变为 128 通道，无偏置，共 73,728 个权重。"
        "设 `groups=4` 后还剩多少？",
    ),
    "q1 why": ("A quarter: 3·3·(64/4)·128 = 18,432.", "四分之一：3·3·(64/4)·128 = 18,432。"),
    "q1 hint": ("Each kernel now has 64/4 = 16 slices.", "现在每个卷积核只有 64/4 = 16 层切片。"),
    "depthwise": (
        "## Depthwise: as many groups as channels\n\nTaken to the end, every channel is a group of "
        "its own: one k×k kernel for each, m maps in, m maps out. The cost is k·k·m·h′·w′, without "
        "the factor n. But no channel ever learns of another.",
        "## 深度卷积：有多少通道就分多少组\n\n分到极致，每个通道自成一组：各有一个 k×k 的卷积核，"
        "输入 m 张图，输出 m 张图。计算量为 k·k·m·h′·w′，少了因子 n。"
        "只是，通道之间再也不通音信。",
    ),
    "pointwise": (
        "## Pointwise: one position, all channels\n\nA kernel of 1×1 does the opposite: it looks "
        "at a single position and mixes its channels. It raises or lowers their number, and with "
        "an activation after it adds a non-linearity, at no cost in space. From 224×224×100 to "
        "224×224×50 it takes {macs} multiply-adds.",
        "## 逐点卷积：一个位置，所有通道\n\n1×1 的卷积核正好相反：只看一个位置，混合那里的所有通道。"
        "它可以增加或减少通道数，后面接上激活函数便多一层非线性，而不涉及空间。"
        "从 224×224×100 到 224×224×50，需要 {macs} 次乘加。",
    ),
    "separable": (
        "## Depthwise separable: one after the other\n\nDepthwise first, for space; pointwise "
        "second, for the channels. Together they replace a standard convolution of the same size, "
        "and the cost is\n\n`(k·k·m + m·n) / (k·k·m·n) = 1/n + 1/k²`\n\nof it: for 3×3 and many "
        "channels, 8 to 9 times less. MobileNet is built from it.",
        "## 深度可分离卷积：两步连做\n\n先用深度卷积处理空间，再用逐点卷积混合通道。"
        "两步合起来替代一个输出尺寸相同的标准卷积，计算量之比为\n\n"
        "`(k·k·m + m·n) / (k·k·m·n) = 1/n + 1/k²`\n\n"
        "对于 3×3 和较多的通道，少到八九分之一。MobileNet 就是由它搭成的。",
    ),
    "n": ("Output channels, n", "输出通道数 n"),
    "k": ("Kernel size, k", "卷积核大小 k"),
    "example": (
        "From 3×5×5 the depthwise half makes 3×3×3, the pointwise half 4×3×3:",
        "从 3×5×5 出发，深度卷积得到 3×3×3，逐点卷积得到 4×3×3：",
    ),
    "channels meet": (
        "Where do the channels meet? A value after the depthwise layer reads one channel; a value "
        "after the pointwise layer reads them all, at one position.",
        "通道在哪一步相遇？深度卷积之后的值只读一个通道；逐点卷积之后的值在同一位置读所有通道。",
    ),
    "q2": (
        "A random picture of 3×128×128 goes through a depthwise separable convolution with 10 "
        "kernels of 3×3, without padding. How many rows does each of the 10 output maps have?",
        "一张 3×128×128 的随机图片经过深度可分离卷积：10 个卷积核，大小 3×3，不填充。"
        "10 张输出图各有多少行？",
    ),
    "q2 why": (
        "128 − 3 + 1 = 126: the output is 1×10×126×126, as with the standard convolution.",
        "128 − 3 + 1 = 126，输出为 1×10×126×126，与标准卷积相同。",
    ),
    "q2 hint": (
        "Only the depthwise half looks beyond one position, and so only it loses rows.",
        "只有深度卷积会看到一个位置以外，因此只有它会减少行数。",
    ),
    "q3": (
        "How many parameters does it have, with a bias in both halves?",
        "两步都带偏置，它共有多少个参数？",
    ),
    "q3 why": (
        "Depthwise 3·3·3 + 3 = 30, pointwise 3·10 + 10 = 40: 70 together, where the standard "
        "convolution has 280.",
        "深度卷积 3·3·3 + 3 = 30，逐点卷积 3·10 + 10 = 40，共 70；标准卷积则有 280。",
    ),
    "q3 hint": (
        "Count the halves apart: three kernels of 3×3, then ten of 1×1×3; and a bias for each.",
        "分开数：先是三个 3×3 的核，再是十个 1×1×3 的核，每个核再加一个偏置。",
    ),
    "shapes": (
        "## Shapes, line by line\n\nA layer of PyTorch reads a **batch**: N images of C channels, H "
        "rows and W columns, in this order, (N, C, H, W). A single image has no N: `unsqueeze(0)` "
        "puts a 1 in front. Counted from 0, `x.shape[1]` is then C, the channels. Change a line, or "
        "type lines of your own: the shape that each gives is read from it, and nothing is run.",
        "## 形状，一行一行看\n\nPyTorch 的层读取一个**批次**：N 张图，每张 C 个通道、H 行、W 列，"
        "顺序就是 (N, C, H, W)。单独一张图没有 N：`unsqueeze(0)` 在最前面补一个 1。"
        "从 0 数起，`x.shape[1]` 便是通道数 C。改动其中一行，或写上你自己的代码："
        "每一行得到的形状都会列出来，代码只读不运行。",
    ),
    "lines": ("Lines of PyTorch", "PyTorch 代码"),
    "order": (
        "A weight is ordered (out, in / groups, rows, columns): kernel by kernel, and within a "
        "kernel slice by slice. The depthwise one is 3×1×3×3, three kernels of a single slice each; "
        "the pointwise one is 10×3×1×1, ten kernels of three slices. A transposed convolution keeps "
        "its weight as (in, out / groups, rows, columns).",
        "权重的顺序是（输出通道，输入通道 / 组数，行，列）：先按卷积核排，核内再按切片排。"
        "深度卷积是 3×1×3×3，三个卷积核，每个只有一片；逐点卷积是 10×3×1×1，十个卷积核，每个三片。"
        "转置卷积的权重则按（输入通道，输出通道 / 组数，行，列）存放。",
    ),
    "table": (
        "## Six ways from 3 channels to 30\n\nA kernel of 10×10, with bias, on a map of 32×32 "
        "(fully connected: on 10×10):",
        "## 从 3 通道到 30 通道的六种做法\n\n卷积核 10×10，带偏置，特征图 32×32"
        "（全连接层则为 10×10）：",
    ),
    "backwards": (
        "Why k·k·m·n·h′·w′? Look back from one output value: it reads k·k positions of each of m "
        "maps, k·k·m products. There are n·h′·w′ such values. Touch one and count its products:",
        "为什么是 k·k·m·n·h′·w′？从一个输出值往回看：它在 m 张图上各读 k·k 个位置，共 k·k·m 个乘积；"
        "这样的输出值有 n·h′·w′ 个。点一个，数一数它的乘积：",
    ),
    "sizes": (
        "So the size of the kernel counts twice. From 64 channels to 64, a 1×1 kernel takes {one} "
        "weights, 3×3 takes {three}, 5×5 takes {five}.",
        "所以卷积核的大小要算两次。从 64 通道到 64 通道，1×1 需要 {one} 个权重，3×3 需要 {three} 个，"
        "5×5 需要 {five} 个。",
    ),
    "layer": ("layer", "层"),
    "params": ("parameters", "参数量"),
    "macs": ("multiply-adds", "乘加次数"),
    "fully connected": ("fully connected", "全连接"),
    "standard": ("standard", "标准卷积"),
    "dilated": ("dilated, d = 2", "空洞卷积，d = 2"),
    "three groups": ("3 groups", "分组卷积，3 组"),
    "one by one": ("pointwise", "逐点卷积"),
    "in two": ("depthwise separable", "深度可分离卷积"),
    "q4": (
        "By how many parameters does the standard one of these exceed the depthwise separable one?",
        "其中标准卷积比深度可分离卷积多多少个参数？",
    ),
    "q4 why": ("9,030 − 423 = 8,607.", "9,030 − 423 = 8,607。"),
    "q4 hint": (
        "The depthwise half has 303 parameters, the pointwise half 120.",
        "深度卷积有 303 个参数，逐点卷积有 120 个。",
    ),
    "faults": (
        "## Find the fault\n\nFour pieces of code as beginners write them. Each has one fault; some "
        "of them run all the same.",
        "## 找错\n\n下面四段代码都像初学者写的，每段有一处错；有的照样能运行。",
    ),
    "q5": (
        "This was meant to be depthwise separable:\n\n```python\nx = torch.rand(1, 3, 128, 128)\n"
        "dw = nn.Conv2d(3, 3, kernel_size=3, groups=3)\nkernel_size_pw = 3\n"
        "pw = nn.Conv2d(3, 10, kernel_size_pw)\ny = pw(dw(x))\n```\n\nIt runs. How many rows does "
        "each map of `y` have?",
        "这本来应该是深度可分离卷积：\n\n```python\nx = torch.rand(1, 3, 128, 128)\n"
        "dw = nn.Conv2d(3, 3, kernel_size=3, groups=3)\nkernel_size_pw = 3\n"
        "pw = nn.Conv2d(3, 10, kernel_size_pw)\ny = pw(dw(x))\n```\n\n它能运行。`y` 的每张图有多少行？",
    ),
    "q5 why": (
        "128 − 2 − 2 = 124 instead of 126. A pointwise kernel is 1×1: with `kernel_size_pw = 3` the "
        "second layer is a standard convolution of 280 parameters, where 40 would do.",
        "128 − 2 − 2 = 124，而不是 126。逐点卷积的核是 1×1：写成 `kernel_size_pw = 3`，"
        "第二层就成了标准卷积，要 280 个参数，本来 40 个就够。",
    ),
    "q5 hint": (
        "Both layers have a kernel of 3 here, and each loses 2 rows.",
        "这里两层的核都是 3，每层都少 2 行。",
    ),
    "q6": (
        "Python does not even begin with this. In which line is the fault?\n\n```python\n"
        "x = torch.rand(1, 3, 128, 128)\ndw = nn.Conv2d(3, 3, 3, groups=x,shape[1])\n"
        "y = dw(x)\n```",
        "这段代码 Python 根本不肯开始运行。错在第几行？\n\n```python\n"
        "x = torch.rand(1, 3, 128, 128)\ndw = nn.Conv2d(3, 3, 3, groups=x,shape[1])\n"
        "y = dw(x)\n```",
    ),
    "q6 why": (
        "Line 2: a comma stands where a dot belongs, `groups=x.shape[1]`. Python reads `groups=x` and "
        "then `shape[1]` as one more argument.",
        "第 2 行：该写点的地方写成了逗号，应为 `groups=x.shape[1]`。"
        "Python 把它读成 `groups=x`，后面 `shape[1]` 又是一个参数。",
    ),
    "q6 hint": (
        "Look at the signs between the names, one by one.",
        "逐个检查名字之间的符号。",
    ),
    "q7": (
        "For 3 channels in and 10 out, somebody makes the weights by hand:\n\n```python\n"
        "x = torch.rand(1, 3, 128, 128)\nweight = torch.rand(3, 10, 3, 3)\n"
        "y = F.conv2d(x, weight)\n```\n\nPyTorch refuses. How many channels does it ask of `x`?",
        "要从 3 个通道得到 10 个，有人自己写权重：\n\n```python\n"
        "x = torch.rand(1, 3, 128, 128)\nweight = torch.rand(3, 10, 3, 3)\n"
        "y = F.conv2d(x, weight)\n```\n\nPyTorch 报错。它要求 `x` 有多少个通道？",
    ),
    "q7 why": (
        "10: the order is (out, in / groups, rows, columns). As written, these are 3 kernels of 10 "
        "slices; `torch.rand(10, 3, 3, 3)` is what was meant.",
        "10。权重的顺序是（输出通道，输入通道 / 组数，行，列）。这样写成了 3 个卷积核、每个 10 片；"
        "应写 `torch.rand(10, 3, 3, 3)`。",
    ),
    "q7 hint": (
        "The second length of a weight is the number of slices of a kernel, one per input channel.",
        "权重形状的第二个数是一个卷积核的片数，每个输入通道一片。",
    ),
    "q8": (
        "This was meant to halve 224 rows to 112; 224 come out:\n\n```python\n"
        "nn.Conv2d(3, 8, kernel_size=3, padding=1)\n```\n\nWhich stride is missing?",
        "本想把 224 行减半成 112 行，出来的还是 224 行：\n\n```python\n"
        "nn.Conv2d(3, 8, kernel_size=3, padding=1)\n```\n\n漏写的步幅应是多少？",
    ),
    "q8 why": (
        "⌊(224 + 1 + 1 − 2 − 1) / 2⌋ + 1 = 112. Without `stride=2` the kernel stops at every row.",
        "⌊(224 + 1 + 1 − 2 − 1) / 2⌋ + 1 = 112。不写 `stride=2`，卷积核每一行都会停。",
    ),
    "q8 hint": (
        "With stride 1 and padding 1, a kernel of 3 keeps the size.",
        "步幅 1、填充 1 时，宽为 3 的卷积核不改变尺寸。",
    ),
    "end": (
        "So far this is a count on paper. Whether a machine is 8 times faster as well, lesson 5 "
        "will tell with a clock.",
        "到这里都只是纸上的数。机器是不是也快八倍，第 5 课会拿时钟来量。",
    ),
}  # fmt: skip
