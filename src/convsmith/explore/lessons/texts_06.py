# ruff: noqa: E501, RUF001
"""Lesson 6: every text, English and Chinese beside each other."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS: dict[str, tuple[str, str]] = {
    "intro": (
        "*“For segmentation, replace the late layers by dilated ones and see whether it improves.”* "
        "On a trained network one can do better than see: the new network gives exactly the old "
        "answers where the old one had any, and new ones in between. This lesson does it, proves "
        "it, and measures what it brings.",
        "*“做分割时，把后面的层换成空洞卷积，看看效果会不会变好。”* "
        "对训练好的网络，可以做得比“看看”更好：凡是旧网络给过答案的位置，"
        "新网络的答案与之完全相同；中间的位置则多出了新的答案。这一课来做、来证明，并量一量收获。",
    ),
    "network": (
        "## The task\n\nSheets of 40×40 with up to four digits. Each pixel is paper, part of an "
        "even digit, or part of an odd one. The network has two strides of 2, so it answers only "
        "at every 4th row and column: 10×10 answers for 40×40 pixels. This page has just trained "
        "it.",
        "## 任务\n\n40×40 的纸面上最多有四个数字。每个像素属于纸面、偶数或奇数。"
        "网络中有两处步幅为 2，所以只在每隔 4 行、4 列的位置作答：40×40 个像素只有 10×10 个答案。"
        "网络就是这一页刚刚训练的。",
    ),
    "sheet": ("the sheet", "纸面"),
    "truth": ("the truth", "标准答案"),
    "old": ("stride 4, drawn out", "步幅 4，再放大"),
    "new": ("dilated to stride {stride}", "加空洞后，步幅 {stride}"),
    "legend": (
        "Dark is paper; light blue an even digit, orange an odd one.",
        "深色为纸面，浅蓝为偶数，橙色为奇数。",
    ),
    "rule": (
        "## The rule\n\nTake the stride away, and the map after it has twice as many rows and "
        "columns. Every later layer must then look twice as far for the same values: its dilation "
        "and its padding are multiplied by 2. The weights stay as they are.\n\n"
        "```python\ndilated = cs.dilate(model, example, output_stride=1)\n"
        "dilated.model, dilated.certificate\n```",
        "## 规则\n\n去掉一处步幅，它后面的特征图行列都加倍。"
        "之后每一层要取到原来的值，就得看两倍远：空洞率和填充都乘以 2。权重一个不改。\n\n"
        "```python\ndilated = cs.dilate(model, example, output_stride=1)\n"
        "dilated.model, dilated.certificate\n```",
    ),
    "q1": (
        "Both strides of 2 are taken away. What dilation does a 3×3 layer after both of them get?",
        "两处步幅 2 都去掉。在它们之后的 3×3 卷积，空洞率变成多少？",
    ),
    "q1 why": ("2·2 = 4; and its padding becomes 4.", "2·2 = 4，填充也变成 4。"),
    "q1 hint": ("Each stride that is taken away doubles it.", "每去掉一处步幅，空洞率就加倍。"),
    "stride": ("Output stride", "输出步幅"),
    "layers": (
        "What became of the layers:",
        "各层的变化：",
    ),
    "layer": ("layer", "层"),
    "before": ("before", "原来"),
    "after": ("after", "之后"),
    "steps": ("stride {stride}, dilation {dilation}, padding {padding}",
              "步幅 {stride}，空洞率 {dilation}，填充 {padding}"),
    "proof": (
        "## The proof\n\nOn the old grid the new network must say what the old one said: "
        "`new(x)[..., ::r, ::r] == old(x)`. The certificate measured it on random inputs in "
        "float64, also on sizes the plan was not made for: the largest relative error is "
        "**{error}**. On the {count} sheets held out, in float32, the largest difference of any "
        "score is **{difference}**.",
        "## 证明\n\n在旧网格上，新网络必须说出旧网络说过的话：`new(x)[..., ::r, ::r] == old(x)`。"
        "证书用 float64 的随机输入测过，也测了方案以外的尺寸：最大相对误差 **{error}**。"
        "在留出的 {count} 张纸面上，用 float32，所有得分的最大差别是 **{difference}**。",
    ),
    "q2": (
        "With output stride {stride} the new network answers at how many rows of the 40?",
        "输出步幅为 {stride} 时，新网络在 40 行中的多少行上作答？",
    ),
    "q2 why": (
        "40 / {stride} = {rows}; {rows}×{rows} answers where there were 10×10.",
        "40 / {stride} = {rows}；原来 10×10 个答案，现在 {rows}×{rows} 个。",
    ),
    "q2 hint": ("It answers at every {stride}-th row.", "每隔 {stride} 行作答一次。"),
    "gain": (
        "## What it brings\n\nMean intersection over union on the sheets held out, every answer "
        "drawn out to all pixels. The parameters are the same; no step of training was made.",
        "## 收获\n\n在留出的纸面上，把答案放大到全部像素后的平均交并比。参数完全相同，没有再训练一步。",
    ),
    "how": ("network", "网络"),
    "iou": ("mean IoU", "平均交并比"),
    "params": ("parameters", "参数量"),
    "macs": ("multiply-adds", "乘加次数"),
    "price": (
        "And the price: {times} times as many multiply-adds, because there are more positions to "
        "answer at. The receptive field is as large as before, {field}.",
        "代价是：乘加次数变为 {times} 倍，因为要作答的位置多了。感受野和原来一样大：{field}。",
    ),
    "end": (
        "That was the last lesson. `convsmith explore` has every control at once; "
        "`convsmith dilate` and `convsmith lighten` do all this to a network of yours.",
        "课程到此结束。`convsmith explore` 把所有参数放在一处任你调节；"
        "`convsmith dilate` 和 `convsmith lighten` 可以对你自己的网络做这一切。",
    ),
}  # fmt: skip
