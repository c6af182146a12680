# ruff: noqa: E501, RUF001
"""Lesson 3: every text, English and Chinese beside each other."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS: dict[str, tuple[str, str]] = {
    "intro": (
        "How much of the picture does one output value know about? That region is its **receptive "
        "field**. To tell a cat from its ear, a network needs a large one; this lesson shows three "
        "ways to get it, and what each of them gives up.",
        "输出的一个数，究竟“看到”了图片的多大一块？这一块就是它的**感受野**。"
        "要分清一只猫和它的一只耳朵，网络需要足够大的感受野。"
        "这一课介绍三种扩大感受野的办法，以及各自的代价。",
    ),
    "depth": (
        "## More layers\n\nOne layer of 3×3 sees 3 positions along a line. Each value it reads was "
        "itself computed from 3, so two layers see 5, three see 7: two more with every layer. That "
        "is slow.",
        "## 多叠几层\n\n一层 3×3 沿一行看到 3 个位置。它读的每个值又是由 3 个值算出的，"
        "所以两层看到 5 个，三层看到 7 个：每加一层只多 2 个。这样太慢。",
    ),
    "maps": (
        "In the plane, with its maps: a 6×6 input becomes 4×4, then 2×2. Is the receptive field "
        "5×5 or 6×6? Touch a value of the output: **5×5**, with the number of paths in each cell. "
        "The four outputs have four such fields, one step apart; together they read all of 6×6.",
        "在平面上，连同每一层的特征图来看：6×6 的输入变成 4×4，再变成 2×2。感受野是 5×5 还是 6×6？"
        "点输出中的一个值：是 **5×5**，格子里的数是路径数。"
        "四个输出各有一个这样的感受野，彼此错开一步，合起来读遍整个 6×6。",
    ),
    "q1": (
        "How many positions along a line do ten layers of 3×3 see?",
        "十层 3×3 沿一行能看到多少个位置？",
    ),
    "q1 why": ("1 + 10·2 = 21.", "1 + 10·2 = 21。"),
    "q1 hint": ("It begins with 1, and every layer adds 2.", "从 1 开始，每层加 2。"),
    "stride": (
        "## Stride and pooling\n\nA pooling or a stride of 2 makes neighbours lie two input "
        "positions apart, so everything after it counts double. The field grows fast, but the map "
        "shrinks: fine for naming a picture, bad for colouring in its pixels.",
        "## 步幅与池化\n\n步幅为 2 的卷积或池化之后，相邻的两个值在输入上相隔两个位置，"
        "于是后面每一层的作用都加倍。感受野长得快，特征图却缩小了："
        "给整张图命名时无妨，要给每个像素上色就不行了。",
    ),
    "dilation": (
        "## Dilation\n\nA **dilated** convolution spreads its weights out: d positions from one to "
        "the next, with nothing between them. k weights then cover d·(k − 1) + 1 positions. It "
        "has the same parameters and the same cost, and with 3×3 and `padding=d` the size stays.",
        "## 空洞卷积\n\n**空洞卷积**把权重拉开：相邻两个权重相隔 d 个位置，中间什么也不读。"
        "k 个权重便覆盖 d·(k − 1) + 1 个位置。参数量不变，计算量不变；"
        "对 3×3 设 `padding=d`，尺寸也不变。",
    ),
    "rate": ("Dilation, d", "空洞率 d"),
    "span": (
        "With d = {d} three weights span **{span}** positions; {params} parameters as ever.",
        "d = {d} 时，三个权重跨过 **{span}** 个位置；参数仍是 {params} 个。",
    ),
    "kept": (
        "The field grew; did the map not shrink? With `padding = d` a 3×3 kernel keeps the size: "
        "7×7 stays 7×7. The white cells between the weights are not read by this output, but by its "
        "neighbours.",
        "感受野变大了，特征图没有缩小吗？3×3 的卷积核只要 `padding = d`，尺寸就不变：7×7 仍是 7×7。"
        "权重之间的白格，这个输出不读，由它旁边的输出来读。",
    ),
    "filled": (
        "The same output comes from a 5×5 kernel whose weights have zeros between them; only it "
        "keeps 25 weights and makes 25 products where 9 would do. Compare the two outputs:",
        "把权重之间补上零，变成 5×5 的卷积核，输出完全相同；只是要存 25 个权重、做 25 次乘法，"
        "本来 9 个就够。比较这两个输出：",
    ),
    "q2": (
        "How many positions do 3 weights with d = 4 span?",
        "d = 4 时，3 个权重跨过多少个位置？",
    ),
    "q2 why": ("4·(3 − 1) + 1 = 9.", "4·(3 − 1) + 1 = 9。"),
    "q2 hint": ("d·(k − 1) + 1, with d = 4 and k = 3.", "d·(k − 1) + 1，其中 d = 4，k = 3。"),
    "double": (
        "Let the dilation double from layer to layer, 1, 2, 4, …, and the field grows "
        "exponentially: 3, 7, 15, …",
        "让空洞率逐层翻倍：1、2、4……，感受野便按指数增长：3, 7, 15, …",
    ),
    "wavenet": (
        "WaveNet does this with sound: three times ten layers of two weights, dilations 1 to 512, "
        "each padded on the left only. One output sees **3070** samples; 30 layers without "
        "dilation would see 31.",
        "WaveNet 就这样处理声音：每层两个权重，空洞率从 1 到 512，十层为一轮，共三轮，只在左边填充。"
        "一个采样点能看到连自己在内的 **3070** 个采样点；若没有空洞，30 层只能看到 31 个。",
    ),
    "q3": (
        "A fourth layer with d = 8 joins 1, 2, 4. How many positions does the stack see?",
        "在 1, 2, 4 之后再加一层 d = 8。这时能看到多少个位置？",
    ),
    "q3 why": ("15 + 2·8 = 31.", "15 + 2·8 = 31。"),
    "q3 hint": ("A layer with dilation d adds 2·d.", "空洞率为 d 的一层增加 2·d。"),
    "gridding": (
        "## Gridding\n\nBut a dilated layer leaves out what lies between its weights. Three layers "
        "with d = 2 in a row all leave out the same positions: of a field 13 wide they read only "
        "every other one, and neighbouring outputs do not share a single input. The picture of "
        "what is read looks like a grid, hence the name.",
        "## 网格效应\n\n可是空洞卷积会跳过权重之间的位置。连续三层都用 d = 2，"
        "跳过的就总是同一批位置：13 宽的感受野里只读了隔位的那些，"
        "相邻的输出甚至没有一个共同的输入。读到的位置像一张网格，因此得名。",
    ),
    "grid": (
        "Already two such layers show it: touch the output's middle, and the input lights up in a "
        "grid, 25 cells of 81.",
        "只要两层就能看出来：点输出正中的值，输入上亮起的是一张网格，81 格里只有 25 格。",
    ),
    "q4": (
        "Of the 13×13 positions of that field, how many are really read?",
        "在这 13×13 个位置中，真正读取的有多少个？",
    ),
    "q4 why": (
        "7 rows and 7 columns: 7·7 = 49, that is 29 %. The other 120 play no part.",
        "7 行乘 7 列：7·7 = 49，占 29 %。其余 120 个毫无作用。",
    ),
    "q4 hint": (
        "Along a line the positions 0, 2, 4, …, 12 are read. Count them, then square.",
        "沿一行读取的是 0, 2, 4, …, 12。数一数，再平方。",
    ),
    "repair": (
        "## The repair\n\nChoose rates that have no common step. Set the three rates yourself: find "
        "some that see 13 wide without a hole.",
        "## 修复\n\n选几个没有公共步长的空洞率即可。请自己设三个空洞率："
        "让感受野仍为 13 宽，而且没有漏读。",
    ),
    "layer": ("Layer {number}", "第 {number} 层"),
    "solved": (
        "Solved: the field is 13 wide and every position is read.",
        "做到了：感受野 13 宽，每个位置都被读取。",
    ),
    "unsolved": (
        "Not solved yet: {span} wide, {read} of {span} positions read.",
        "还没有做到：{span} 宽，{span} 个位置中读取 {read} 个。",
    ),
    "wide": (
        "Rates 1, 2, 5 have no hole either, and see 17.",
        "空洞率 1, 2, 5 同样没有漏读，能看到 17 个位置。",
    ),
    "depthwise": (
        "## Dilated and depthwise\n\nDilation goes with groups, too. With one group a channel, "
        "d = 2 and padding 2, a map of 3×5×5 stays 3×5×5.",
        "## 空洞深度卷积\n\n空洞与分组可以同时使用。每个通道一组、d = 2、填充 2 时，"
        "3×5×5 的输入仍输出 3×5×5。",
    ),
    "end": (
        "For segmentation this is the tool: a large field on a map that keeps its size. Lesson 6 "
        "does it to a trained network.",
        "这正是分割任务需要的：感受野大，特征图却不缩小。第 6 课会在一个训练好的网络上实际做一遍。",
    ),
}  # fmt: skip
