# ruff: noqa: RUF001
"""Lesson 5: every text, English and Chinese beside each other."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS: dict[str, tuple[str, str]] = {
    "intro": (
        "*“To make a network smaller and faster, replace its convolutions by depthwise separable "
        "ones; accuracy may drop a little.”* So the advice goes. Here it is carried out on a "
        "network that has already learned something, and held against the clock.",
        "*“想让网络又小又快，就把卷积换成深度可分离卷积；准确率可能会降一点。”* 建议是这么说的。"
        "这一课就在一个已经学会本领的网络上照做，并用时钟来检验。",
    ),
    "data": (
        "## The network\n\nFour convolutions of 3×3 learn to name handwritten digits of 8×8. This "
        "page has just trained it, on {train} digits, in seconds; {test} others it has never seen.",
        "## 网络\n\n四层 3×3 卷积学习辨认 8×8 的手写数字。这一页刚刚用 {train} 个数字把它训练好，"
        "只花了几秒；另有 {test} 个它从未见过。",
    ),
    "layer": ("layer", "层"),
    "params": ("parameters", "参数量"),
    "macs": ("multiply-adds", "乘加次数"),
    "share": ("of them", "占比"),
    "all": ("together", "合计"),
    "where": (
        "Nearly all of the work lies in the last three convolutions.",
        "绝大部分计算都在后三个卷积里。",
    ),
    "q1": (
        "The last convolution takes 64 channels to 128 with 3×3 and no bias: 73,728 weights. How "
        "many has a depthwise 3×3 followed by a pointwise one, also without biases?",
        "最后一个卷积用 3×3 把 64 通道变为 128 通道，无偏置，共 73,728 个权重。"
        "换成 3×3 深度卷积加逐点卷积，同样无偏置，有多少个权重？",
    ),
    "q1 why": (
        "3·3·64 + 64·128 = 576 + 8,192 = 8,768: 8.4 times fewer.",
        "3·3·64 + 64·128 = 576 + 8,192 = 8,768，约为原来的 1/8.4。",
    ),
    "q1 hint": (
        "One 3×3 kernel for each of the 64 channels, then 64·128 weights of 1×1.",
        "64 个通道各一个 3×3 的核，再加 64·128 个 1×1 的权重。",
    ),
    "replace": (
        "## Replace, but do not forget\n\nPutting new layers in place of the old ones would throw "
        "away what they learned. `cs.lighten` finds, for every convolution, the depthwise and "
        "pointwise pair that comes nearest to its trained weights, and refits it to the original's "
        "answers on the images. No label is needed and nothing is trained. Afterwards a few epochs "
        "of fine-tuning, with the original as teacher, win back most of what was lost.\n\n"
        "```python\nlight = cs.lighten(model, images, multiplier=1)\n"
        "tuned = cs.lighten(model, images, multiplier=1, train=batches, epochs=3)\n```",
        "## 替换，但不要忘掉\n\n直接换上新的层，会把学到的东西全部丢掉。"
        "`cs.lighten` 为每个卷积找出最接近其已训练权重的一对深度卷积和逐点卷积，"
        "再用图片让它们贴近原网络的输出。不需要标签，也不做训练。"
        "之后以原网络为教师微调几个轮次，失去的大多能找回来。\n\n"
        "```python\nlight = cs.lighten(model, images, multiplier=1)\n"
        "tuned = cs.lighten(model, images, multiplier=1, train=batches, epochs=3)\n```",
    ),
    "network": ("network", "网络"),
    "accuracy": ("accuracy", "准确率"),
    "original": ("original", "原网络"),
    "lightened": ("lightened, nothing trained", "减重，不训练"),
    "tuned": ("lightened, fine-tuned", "减重并微调"),
    "control": ("the same shape from random weights", "同样结构，随机权重起步"),
    "result": (
        "{params} times fewer parameters, {macs} times fewer multiply-adds. The last row is the "
        "control: the same light network, trained just as long from random weights. What it falls "
        "short by is what keeping the weights was worth.",
        "参数量约为原来的 1/{params}，乘加次数约为 1/{macs}。最后一行是对照："
        "同样的轻网络，从随机权重起步，训练同样久。它差的那一截，就是保留权重的价值。",
    ),
    "clock": (
        "## The clock\n\nMultiply-adds are a promise. One digit, one thread, median of forty runs "
        "on the machine that runs this page:",
        "## 看时钟\n\n乘加次数只是一个承诺。单个数字、单线程、运行四十次取中位数，"
        "就在运行这一页的机器上：",
    ),
    "ms": ("ms in PyTorch", "PyTorch 毫秒"),
    "compiled": ("ms compiled", "编译后毫秒"),
    "slower": (
        "The light network is {times} times slower in PyTorch, in spite of its count.",
        "计算量明明少了，轻网络在 PyTorch 里反而慢到 {times} 倍。",
    ),
    "faster": (
        "The light network is {times} times faster in PyTorch: far less than its count promises.",
        "轻网络在 PyTorch 里快到 {times} 倍，远不及计算量所许诺的。",
    ),
    "why": (
        "A depthwise convolution computes little for every value it moves, and each layer is a "
        "call of its own that writes its whole map to memory and reads it back. On small maps the "
        "calls weigh most, on large ones the memory. `cs.compile` runs the depthwise and the "
        "pointwise half as one kernel, a few rows at a time, so that what lies between never "
        "leaves the cache.",
        "深度卷积每搬运一个值只做很少的计算；而且每一层都是一次单独的调用，"
        "要把整张图写进内存再读出来。图小时主要花在调用上，图大时主要花在内存上。"
        "`cs.compile` 把深度和逐点两步合成一个内核，每次只算几行，中间结果不离开缓存。",
    ),
    "compile": ("Compile both and time them again", "编译两个网络，再计时"),
    "no compile": ("Not on this machine: {reason}", "这台机器上不行：{reason}"),
    "end": (
        "So: count first, then measure; and never believe a count alone.",
        "所以：先计数，再测量；永远不要只相信计数。",
    ),
}  # fmt: skip
