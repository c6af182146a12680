# ruff: noqa: E501, RUF001
"""Lesson 4: every text, English and Chinese beside each other."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS: dict[str, tuple[str, str]] = {
    "intro": (
        "A convolution of 3×3 makes 2×2 out of 4×4. A **transposed convolution** leads back, from "
        "2×2 to 4×4. It restores the size, not the values: it is not an inverse. Networks that have to "
        "give back as many pixels as they took, for super-resolution or segmentation, grow their "
        "maps with it.",
        "3×3 的卷积把 4×4 变成 2×2。**转置卷积**走相反的路，从 2×2 回到 4×4。"
        "它恢复的是尺寸，不是数值：它不是逆运算。超分辨率和分割网络要输出与输入同样多的像素，"
        "就用它来放大特征图。",
    ),
    "stamp": (
        "## First view: stamps\n\nEvery input value takes the whole kernel, multiplies it by "
        "itself, and stamps it onto the output; where stamps overlap they add up.",
        "## 第一种看法：盖印\n\n每个输入值乘上整个卷积核，像印章一样印到输出上；"
        "重叠的地方相加。",
    ),
    "one": (
        "A single 55 with the kernel `1 2 1 / 2 1 2 / 1 1 2` stamps",
        "一个 55，用卷积核 `1 2 1 / 2 1 2 / 1 1 2`，印出",
    ),
    "value": ("The value", "输入值"),
    "reached": (
        "Seen from an output: which inputs reach it? Touch one. In the corner it is a single stamp, "
        "in the middle all four overlap.",
        "从输出这边看：哪些输入会影响它？点一个试试。角上只有一个印章，中间则是四个重叠。",
    ),
    "q1": (
        "Two ones lie side by side, the kernel is 3×3 and all ones, the stride 1. The output is "
        "3×4: what is the largest number in it?",
        "两个 1 左右相邻，卷积核是全 1 的 3×3，步幅为 1。输出为 3×4，其中最大的数是多少？",
    ),
    "q1 why": (
        "The stamps overlap in two columns, and there 1 + 1 = 2.",
        "两个印章在两列上重叠，那里 1 + 1 = 2。",
    ),
    "q1 hint": ("Where two stamps overlap, they add up.", "两个印章重叠的地方要相加。"),
    "zeros": (
        "## The same with zeros between\n\nPut s − 1 zeros between the input values, k − 1 − p "
        "around them, turn the kernel by 180°, and an ordinary convolution gives the same numbers.",
        "## 换个做法：插零\n\n在输入值之间插 s − 1 个零，四周补 k − 1 − p 圈零，"
        "把卷积核旋转 180°，再做普通卷积，得到的数完全相同。",
    ),
    "matrix": (
        "## Second view: the matrix\n\nUnroll the 4×4 map into 16 numbers. Each of the 4 output "
        "values is a sum of some of them with weights, so the convolution is a matrix of 4×16, "
        "mostly zeros. Its transpose, 16×4, leads from 4 numbers to 16: that is the transposed "
        "convolution, and the reason for its name.",
        "## 第二种看法：矩阵\n\n把 4×4 的图展开成 16 个数。4 个输出值各是其中一些数的加权和，"
        "所以卷积就是一个 4×16 的矩阵，其中大多是零。它的转置是 16×4，把 4 个数变成 16 个："
        "这就是转置卷积，名字也由此而来。",
    ),
    "both": (
        "Touch an entry: its input, its weight and its output light up. Touch an output: its row "
        "does; an input: its column. Turned round, the matrix is 16×4, with the numbers of the "
        "stamps: each column holds one stamp, each row those that reach one output.",
        "点一个元素，对应的输入、权重和输出就会亮起；点一个输出，亮起的是它那一行，点一个输入则是那一列。"
        "转置之后，矩阵是 16×4，还是盖印时的那些数：一列就是一个印章，一行就是盖到同一个输出上的各个印章。",
    ),
    "q2": (
        "How many of the 4·16 = 64 entries are not zero?",
        "4·16 = 64 个元素中，有多少个不为零？",
    ),
    "q2 why": (
        "Each of the 4 rows holds the 9 weights of the kernel once: 36.",
        "4 行中每行都含卷积核的 9 个权重各一次，共 36 个。",
    ),
    "q2 hint": ("A row is one position of the kernel.", "一行就是卷积核的一个位置。"),
    "im2col": (
        "## im2col\n\nMost libraries compute a convolution as a product of matrices the other way "
        "round: they copy the patch under each position of the kernel into a column. Then one row "
        "of weights a kernel, times the patches, is the output. On 4×4 with 3×3 that is 1×9 times "
        "9×4. Touch an input: it stands in several columns, once for each window that reads it.",
        "## im2col\n\n多数库把卷积算成另一种矩阵乘法：把卷积核每个位置下面的那一小块抄成一列。"
        "每个卷积核排成一行权重，乘以这些列，就是输出。"
        "4×4 的图配 3×3 的核，就是 1×9 乘以 9×4。"
        "点一个输入看看：它出现在好几列里，有几个窗口读它，就出现几次。",
    ),
    "agree": (
        "All four ways on the same numbers, sliding window, matrix, im2col, and the stamps of the "
        "transposed one against its matrix: {verdict}.",
        "同样的数，滑动窗口、矩阵、im2col 三种算法，再加转置卷积的印章与矩阵：{verdict}。",
    ),
    "equal": ("equal", "结果全部相等"),
    "different": ("different", "结果不同"),
    "values": (
        "## Not an inverse\n\nA map, convolved, and transposed back: the size returns, the values "
        "do not.",
        "## 不是逆运算\n\n一张图先做卷积，再用转置卷积变回来：尺寸回来了，数值没有。",
    ),
    "before": ("before", "原来"),
    "after": ("after", "之后"),
    "output padding": (
        "## Output padding\n\nWith stride 2, inputs of 5 and of 6 rows both shrink to 3. On the "
        "way back it must be said which of them is meant: **output padding** adds that one row at "
        "the far end. It adds size, no values.",
        "## 输出填充\n\n步幅为 2 时，5 行和 6 行的输入都缩成 3 行。反过来时必须说明要还原成哪一个："
        "**输出填充**就在末端补上这一行。它只增加尺寸，不增加数值。",
    ),
    "size": ("Input rows, h", "输入行数 h"),
    "kernel": ("Kernel size, k", "卷积核大小 k"),
    "stride": ("Stride, s", "步幅 s"),
    "pad": ("Padding, p", "填充 p"),
    "extra": ("Output padding, o", "输出填充 o"),
    "checkerboard": (
        "## The checkerboard\n\nHere all inputs and all weights are 1, so each output shows how many "
        "stamps cover it. With kernel 3 and stride 2 it is 1, 2 or 4 by turns: a pattern that "
        "generated images show, too. Which kernels and strides show none?",
        "## 棋盘格\n\n这里输入和权重全是 1，所以每个输出就是它被盖到的次数。卷积核 3、步幅 2 时，"
        "次数在 1、2、4 之间交替，生成的图像里也会出现这种花纹。哪些卷积核和步幅没有花纹？",
    ),
    "even": (
        "{k} is divisible by {s}: away from the border every output is covered equally often.",
        "{k} 能被 {s} 整除：离开边缘，每个输出被盖到的次数都一样。",
    ),
    "uneven": (
        "{k} is not divisible by {s}: some outputs are covered more often than others.",
        "{k} 不能被 {s} 整除：有的输出被盖到的次数比别的多。",
    ),
    "q3": (
        "3 rows, a kernel of 3, stride 2, padding 1, output padding 1: how many rows come out?",
        "3 行输入，卷积核 3，步幅 2，填充 1，输出填充 1：输出多少行？",
    ),
    "q3 why": ("(3 − 1)·2 − 1 − 1 + 2 + 1 + 1 = 6.", "(3 − 1)·2 − 1 − 1 + 2 + 1 + 1 = 6。"),
    "q3 hint": (
        "(h − 1)·s − 2·p + (k − 1) + 1 + o.",
        "(h − 1)·s − 2·p + (k − 1) + 1 + o。",
    ),
    "end": (
        "Uneven overlaps of the stamps show as a checkerboard. A kernel whose size the stride "
        "divides, such as 4 with stride 2, overlaps evenly.",
        "印章重叠得不均匀，图上就会出现棋盘格。卷积核大小能被步幅整除时（如 4 和 2），重叠就均匀了。",
    ),
}  # fmt: skip
