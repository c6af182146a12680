# ruff: noqa: RUF001
"""Every word of the explorer, English and Chinese beside each other.

A text is looked up by its key; what stands in braces is filled in by the caller. The terms of the
field are those of the pictures, so that a page and what is drawn on it speak alike.
"""

from __future__ import annotations

from typing import Literal, cast

from convsmith.draw.words import WORDS as TERMS
from convsmith.errors import ArgumentError, nearest

__all__ = ["LANGUAGE_NAMES", "PHRASES", "Language", "as_language", "phrase"]

Language = Literal["en", "zh"]

LANGUAGE_NAMES: dict[str, Language] = {"English": "en", "中文": "zh"}

PHRASES: dict[str, tuple[str, str]] = {
    # The page
    "view layer": ("One layer", "单层"),
    "view stack": ("Receptive field", "感受野"),
    "view model": ("A network", "整个网络"),
    # Controls
    "start from": ("Start from", "从示例开始"),
    "kind": ("Kind of layer", "层的类型"),
    "kind conv": TERMS["title.standard"],
    "kind transposed": TERMS["title.transposed"],
    "kind max": TERMS["title.max"],
    "kind average": TERMS["title.average"],
    "group map": ("Map", "特征图"),
    "group kernel": ("Kernel", "卷积核"),
    "group edges": ("Edges", "边界"),
    "group channels": ("Channels", "通道"),
    "in": ("Input channels, m", "输入通道数 m"),
    "out": ("Output channels, n", "输出通道数 n"),
    "channels": ("Channels", "通道数"),
    "size": ("Input size", "输入尺寸"),
    "kernel": ("Kernel size, k", "卷积核大小 k"),
    "stride": ("Stride, s", "步幅 s"),
    "padding": ("Padding, p", "填充 p"),
    "pad": ("How to pad", "填充方式"),
    "padding number": ("by a number", "指定数值"),
    "padding same": ("'same'", "'same'（尺寸不变）"),
    "padding valid": ("'valid'", "'valid'（不填充）"),
    "padding sides": ("each side", "四边分别设定"),
    "top": ("Padding, top", "上填充"),
    "bottom": ("Padding, bottom", "下填充"),
    "left": ("Padding, left", "左填充"),
    "right": ("Padding, right", "右填充"),
    "mode": ("What the padding holds", "填充内容"),
    "mode zeros": ("zeros", "补零 zeros"),
    "mode reflect": ("reflect", "镜像 reflect"),
    "mode replicate": ("replicate", "复制边缘 replicate"),
    "mode circular": ("circular", "循环 circular"),
    "dilation": ("Dilation, d", "空洞率 d"),
    "groups": ("Groups, g", "分组数 g"),
    "bias": ("Bias", "偏置"),
    "output_padding": ("Output padding, o", "输出填充 o"),
    "ceil": ("Round the size up (ceil_mode)", "尺寸向上取整（ceil_mode）"),
    "apart": ("Rows and columns apart", "行、列分别设定"),
    "rows of": ("{name}: rows", "{name}：行"),
    "columns of": ("{name}: columns", "{name}：列"),
    "predict": ("Predict first, then reveal", "先猜，再看答案"),
    "live": ("Live: touch the cells, step by hand", "互动：点格子，逐步播放"),
    # Examples
    "example standard": ("Standard convolution", "标准卷积"),
    "example hand": ("By hand: 4×4, kernel 2×2", "手算：4×4 输入，2×2 核"),
    "example exercise": ("The exercise: 3×128×128 → 10", "练习：3×128×128 → 10 通道"),
    "example grouped": TERMS["title.grouped"],
    "example depthwise": TERMS["title.depthwise"],
    "example pointwise": TERMS["title.pointwise"],
    "example dilated": TERMS["title.dilated"],
    "example dilated depthwise": TERMS["title.dilated_depthwise"],
    "example strided": ("Stride 2, one row dropped", "步幅 2，丢弃一行"),
    "example asymmetric": ("Asymmetric: 1×3", "非对称卷积：1×3"),
    "example transposed": ("Transposed: 2×2 → 4×4", "转置卷积：2×2 → 4×4"),
    "example upsample": ("Transposed, stride 2", "转置卷积，步幅 2"),
    "example pool": ("Max pooling 2×2", "最大池化 2×2"),
    # Results
    "input": ("input", "输入"),
    "output": ("output", "输出"),
    "output size": ("Output size", "输出尺寸"),
    "both axes": ("The same for rows and columns.", "行与列相同。"),
    "rows": ("rows", "行"),
    "columns": ("columns", "列"),
    "dropped": (
        "Rounding down leaves {rows} rows at the bottom and {columns} columns at the right unread.",
        "向下取整后，底部有 {rows} 行、右侧有 {columns} 列未被任何窗口读取。",
    ),
    "same uneven": (
        "'same' needs {rows} more rows and {columns} more columns; "
        "an odd one goes to the bottom or the right.",
        "'same' 共需补 {rows} 行、{columns} 列；为奇数时，多出的一行（列）补在下边（右边）。",
    ),
    "cost": ("Parameters and multiply-adds", "参数量与乘加次数"),
    "params": ("Parameters", "参数量"),
    "macs": ("Multiply-adds", "乘加次数"),
    "this layer": ("this layer", "本层"),
    "standard": ("standard convolution", "标准卷积"),
    "separable": ("depthwise separable", "深度可分离卷积"),
    "ratio standard": (
        "{part} of the standard convolution's multiply-adds: 1 / g.",
        "乘加次数是标准卷积的 {part}，即 1 / g。",
    ),
    "ratio separable": (
        "Depthwise separable: 1/n + 1/k² = {sum} = {share} of the multiply-adds, "
        "{times} times fewer.",
        "改为深度可分离卷积：1/n + 1/k² = {sum} = {share}；标准卷积的乘加次数是它的 {times} 倍。",
    ),
    "ratio separable groups": (
        "Depthwise separable: g/n + 1/k² = {sum} = {share} of this layer's multiply-adds.",
        "改为深度可分离卷积：g/n + 1/k² = {sum} = {share}（与本层的乘加次数相比）。",
    ),
    "ratio more": (
        "Here a depthwise separable form would cost more: {sum} = {share}.",
        "此处改为深度可分离卷积反而更贵：{sum} = {share}。",
    ),
    "ratio is depthwise": (
        "This layer is depthwise already: no channel is mixed with another.",
        "本层已经是深度卷积：各通道互不混合。",
    ),
    "ratio is pointwise": (
        "This layer is pointwise: it mixes channels and looks at one position only.",
        "本层是逐点卷积：只混合通道，每次只看一个位置。",
    ),
    "on padding": (
        "{share} of the multiply-adds fall on padding.",
        "其中 {share} 的乘加落在填充上。",
    ),
    "on cut": (
        "{share} of the multiply-adds are cut off by the padding.",
        "其中 {share} 的乘加结果被填充裁去。",
    ),
    "pool cost": (
        "Pooling has no parameters and multiplies nothing by a weight.",
        "池化没有参数，也不做与权重的乘法。",
    ),
    "code": ("In PyTorch", "PyTorch 代码"),
    "export": ("Export", "导出"),
    "save svg": ("Animation (SVG)", "动画（SVG）"),
    "save gif": ("Animation (GIF)", "动画（GIF）"),
    "save html": ("With buttons (HTML)", "带按钮的网页（HTML）"),
    "no picture": ("This cannot be drawn: {reason}", "无法绘制：{reason}"),
    "view stamp": ("Stamps that add up", "逐值盖印，重叠相加"),
    "view zeros": ("Zeros between", "插零后再卷积"),
    "view matrix": ("The matrix, transposed", "矩阵的转置"),
    "stamp text": (
        "Each input value puts its multiple of the kernel on the output; overlaps add up.",
        "每个输入值把自己那一倍的卷积核印到输出上；重叠处相加。",
    ),
    "zeros text": (
        "The same result: put zeros between the inputs ({between} at each gap) and around them "
        "({around} on each side), then slide the kernel, turned by 180°, with stride 1.",
        "结果相同：输入之间插 {between} 个零，四周补 {around} 圈零，"
        "再让旋转 180° 的卷积核以步幅 1 滑过。",
    ),
    "matrix text": (
        "The convolution from {output} to {input} is a matrix of {rows}×{columns}; transposed it "
        "is {columns}×{rows} and leads from {input} to {output}. It restores the size, not the "
        "values.",
        "从 {output} 到 {input} 的卷积是一个 {rows}×{columns} 的矩阵；转置后为 "
        "{columns}×{rows}，把 {input} 变回 {output}。恢复的是尺寸，不是数值。",
    ),
    "matrix large": (
        "The matrix is drawn up to {most} rows and columns; this one is larger.",
        "矩阵最多绘到 {most} 行、{most} 列；这一个更大。",
    ),
    "several sizes": (
        "A convolution with this stride makes {output} rows of {sizes}; output padding chooses "
        "among them.",
        "按此步幅卷积，{sizes} 行都会变成 {output} 行；输出填充用来指明要还原成哪一个。",
    ),
    # Problems
    "problem groups": (
        "No such layer: groups must divide both channel counts, and {groups} does not divide "
        "{channels}.",
        "没有这样的层：分组数必须同时整除输入和输出通道数，而 {groups} 不能整除 {channels}。",
    ),
    "problem same": (
        "No such layer: 'same' keeps the size, so the stride must be 1, not {stride}.",
        "没有这样的层：'same' 要求尺寸不变，步幅只能为 1，不能为 {stride}。",
    ),
    "problem output padding": (
        "No such layer: output padding must be below the stride or the dilation, "
        "and {extra} is not below {limit}.",
        "没有这样的层：输出填充必须小于步幅或空洞率，而 {extra} 不小于 {limit}。",
    ),
    "problem pool padding": (
        "No such layer: a pool is padded by at most half its kernel, {limit}, not {padding}.",
        "没有这样的层：池化的填充最多为窗口的一半，即 {limit}，不能为 {padding}。",
    ),
    "problem pool start": (
        "No such layer: PyTorch dilates max pools only.",
        "没有这样的层：PyTorch 只有最大池化支持空洞。",
    ),
    "problem mode": (
        "No output: {mode} padding of {padding} takes its values from the map, which has only "
        "{length} {axis}: at most {limit}.",
        "没有输出：{mode} 填充的值取自特征图，而{axis}长度只有 {length}，"
        "最多填充 {limit}，不能为 {padding}。",
    ),
    "problem size": (
        "No output: along the {axis} the kernel spans {span} = {dilation}·({kernel} − 1) + 1, "
        "but there are only {room} = {length} + {low} + {high} positions.",
        "没有输出：沿{axis}方向，卷积核跨度为 {dilation}·({kernel} − 1) + 1 = {span}，"
        "而填充后只有 {length} + {low} + {high} = {room} 个位置。",
    ),
    "problem transposed": (
        "No output: along the {axis} it would have ({length} − 1)·{stride} − {low} − {high} + "
        "{span} + {extra} = {room} positions.",
        "没有输出：沿{axis}方向的长度将是 ({length} − 1)·{stride} − {low} − {high} + "
        "{span} + {extra} = {room}。",
    ),
    "problem url": (
        "The address says {name}={value}, expected {expected}; the usual value is taken instead.",
        "网址中的 {name}={value} 无法使用，应为{expected}；已改用默认值。",
    ),
    "expected int": ("a whole number from {low} to {high}", "{low} 到 {high} 的整数"),
    "expected pair": (
        "a number or a pair such as 3x2, each from {low} to {high}",
        "一个数或 3x2 这样的一对数，各在 {low} 到 {high} 之间",
    ),
    "expected choice": ("one of {choices}", "以下之一：{choices}"),
    "expected padding": (
        "a number, same, valid, or four numbers such as 0,1,0,1 (top, bottom, left, right)",
        "数字、same、valid，或 0,1,0,1 这样的四个数（上、下、左、右）",
    ),
    "expected stack": (
        "layers such as 3d2p2-3s2-p2-t3s2, at most {most}",
        "3d2p2-3s2-p2-t3s2 这样的层序列，最多 {most} 层",
    ),
    # Predicting
    "guess lead": (
        "What comes out? Write down your guess, then reveal.",
        "会得到什么？先写下你的猜测，再揭晓答案。",
    ),
    "guess rows": ("Rows of the output", "输出的行数"),
    "guess columns": ("Columns of the output", "输出的列数"),
    "guess params": ("Parameters", "参数量"),
    "reveal": ("Reveal", "揭晓"),
    "guess right": ("right", "正确"),
    "guess wrong": ("it is {answer}", "应为 {answer}"),
    "guess all": ("All correct. Change something and guess again.", "全对！换个参数再猜一次。"),
    "guess some": (
        "Not yet: the formula below shows where it differs. Change something and guess again.",
        "还差一点：看看下面的公式差在哪里，换个参数再猜一次。",
    ),
    # The stack
    "stack lead": (
        "Build a stack, first layer on top, and see which positions of the input one output value "
        "is computed from.",
        "自上而下搭建若干层，看看一个输出值究竟由输入的哪些位置算出。",
    ),
    "stack example": ("Start from", "从示例开始"),
    "stack field": (
        "One output value is computed from a field of {size}.",
        "一个输出值的感受野为 {size}。",
    ),
    "stack full": (
        "Every position in it is read.",
        "其中每个位置都被读取，没有漏读。",
    ),
    "stack holes": (
        "Only {read} of its {every} positions are read ({share}): the others are holes, up to "
        "{gap} wide.",
        "但只读取了其中 {every} 个位置里的 {read} 个（{share}），其余都被漏读，间隔最宽 {gap}。",
    ),
    "stack repair": (
        "The rates {rates} see as far and leave no hole.",
        "空洞率改为 {rates}，感受野同样大，却没有漏读。",
    ),
    "add layer": ("Add a layer", "添加一层"),
    "remove layer": ("Remove the last", "删除最后一层"),
    "stack kernel": ("kernel", "核大小"),
    "stack stride": ("stride", "步幅"),
    "stack dilation": ("dilation", "空洞率"),
    "stack padding": ("padding", "填充"),
    "stack extent": ("Size of the input (empty: one that fits)", "输入大小（留空则自动）"),
    "stack live": ("Map by map: touch a cell", "逐张特征图：点一个格子"),
    "stack layer": ("layer", "层"),
    "stack number": ("layer {number}", "第 {number} 层"),
    "stack seen": ("field", "感受野"),
    "stack step": ("jump", "步距"),
    "stack read": ("read", "实际读取"),
    "stack steps": ("Layer by layer", "逐层变化"),
    "stack line": ("Along one line", "沿一行看"),
    "stack plane": ("In the plane", "在平面上看"),
    "stack gridding": ("Gridding: 2, 2, 2", "网格效应：2, 2, 2"),
    "stack repaired": ("Repaired: 1, 2, 3", "修复：1, 2, 3"),
    "stack wide": ("Repaired: 1, 2, 5", "修复：1, 2, 5"),
    "stack double": ("Doubling: 1, 2, 4", "逐层翻倍：1, 2, 4"),
    "stack plain": ("Three of 3×3", "三层 3×3"),
    "stack pool": ("With pooling between", "中间有池化"),
    "stack two": ("Two of 3×3: 6×6 → 4×4 → 2×2", "两层 3×3：6×6 → 4×4 → 2×2"),
    "stack kept": ("Padding = dilation: the size stays", "填充等于空洞率：尺寸不变"),
    "stack wavenet": ("WaveNet: 30 layers", "WaveNet：30 层"),
    "stack large": ("{size} positions are too many to draw.", "{size} 个位置太多，不再绘出。"),
    # The network
    "model lead": (
        "Read a network and walk through its layers.",
        "读入一个网络，逐层查看。",
    ),
    "model name": ("Network", "网络"),
    "model hint": (
        "torchvision:NAME, timm:NAME, file.py:callable, package.module:callable, or a .pt2",
        "torchvision:名称、timm:名称、file.py:函数、package.module:函数，或 .pt2 文件",
    ),
    "model shape": ("Input shape", "输入形状"),
    "model read": ("Read it", "读入"),
    "model none": (
        "No network yet: name one above. A small one comes with convsmith.",
        "尚未读入网络：请在上方填写。convsmith 自带一个小网络。",
    ),
    "model layer": ("Layer {index} of {count}", "第 {index} 层，共 {count} 层"),
    "model operation": ("Operation", "操作"),
    "model output": ("Output", "输出"),
    "model share": ("Share of the network's MACs", "占全网乘加的比例"),
    "model field": ("Receptive field", "感受野"),
    "model shapes": ("Shapes, line by line", "形状，一行一行看"),
    "model line": ("Layer", "层"),
    "model weight": ("Weight (out, in / groups, …)", "权重（输出，输入 / 组数，…）"),
    "model batch": ("Output (N, C, H, W)", "输出 (N, C, H, W)"),
    "model of": ("{model} on {shape}", "{model}，输入 {shape}"),
    "model open": ("See this layer under “{view}”.", "在“{view}”中查看这一层。"),
    "model walk": ("Walk through the layers", "逐层浏览"),
    # Lines of code
    "view code": ("Your code", "你的代码"),
    "code lead": (
        "Type lines of PyTorch and see the shape that each gives. Nothing is run: the lines are "
        "read.",
        "输入几行 PyTorch 代码，看每一行得到什么形状。代码只读不运行。",
    ),
    "code label": ("Lines of PyTorch", "PyTorch 代码"),
    "code line": ("line", "代码"),
    "code weight": ("weight (out, in / groups, …)", "权重（输出，输入 / 组数，…）"),
    "code shape": ("shape (N, C, H, W)", "形状 (N, C, H, W)"),
    "code empty": ("Nothing here has a shape yet.", "这里还没有任何形状。"),
    "code at": ("Line {number}, {line}: {reason}", "第 {number} 行 {line}：{reason}"),
    "code syntax": ("this is not Python.", "这一行不是合法的 Python。"),
    "code wide": (
        "“{mark}” is a full-width character; Python needs “{plain}”.",
        "“{mark}”是全角字符，Python 只认半角的“{plain}”。",
    ),
    "code long": ("only {most} characters are read.", "最多读取 {most} 个字符。"),
    "code deep": ("this takes too many steps to read.", "步骤太多，无法读完。"),
    "code unread": ("{what} is not read here.", "这里不读 {what}。"),
    "code name": ("nothing is called {name} yet.", "还没有叫 {name} 的东西。"),
    "code attribute": ("{of} has no {name} that is known here.", "{of} 没有这里认识的 {name}。"),
    "code near": (
        "{of} has no {name} that is known here; did you mean {near}?",
        "{of} 没有这里认识的 {name}；是不是 {near}？",
    ),
    "code uncallable": ("{value} cannot be called.", "{value} 不能调用。"),
    "code unpack": (
        "{values} values do not fit {names} names.", "{values} 个值放不进 {names} 个名字。",
    ),
    "code whole": (
        "{name} must be a whole number of at least {least}, not {value}.",
        "{name} 必须是不小于 {least} 的整数，不能是 {value}。",
    ),
    "code large": (
        "{value} is more than PyTorch can count.", "{value} 超出了 PyTorch 的计数范围。",
    ),
    "code types": (
        "something here is not of the type that is needed.", "这里有一个值的类型不对。",
    ),
    "code zero": ("this number cannot be computed.", "这个数算不出来。"),
    "code tensor": ("{name} needs a tensor.", "{name} 需要一个张量。"),
    "code channels": (
        "{name} expects {expected} channels (axis 1); the input {shape} has {found}.",
        "{name} 要求 {expected} 个通道（第 1 轴）；输入 {shape} 有 {found} 个。",
    ),
    "code axes": (
        "{name} takes a tensor of {counts} axes; the input is {shape}.",
        "{name} 要求 {counts} 个轴；输入是 {shape}。",
    ),
    "code axes of": ("{name} needs {count} numbers.", "{name} 需要 {count} 个数。"),
    "code features": (
        "{name} expects {expected} on the last axis; the input is {shape}.",
        "{name} 要求最后一轴为 {expected}；输入是 {shape}。",
    ),
    "code weight axes": (
        "the weight of {name} has {count} axes, not {shape}.",
        "{name} 的权重有 {count} 个轴，不是 {shape}。",
    ),
    "code bias": (
        "the bias of {name} has {count} numbers, not {shape}.",
        "{name} 的偏置有 {count} 个数，不是 {shape}。",
    ),
    "code zeros alone": ("{name} pads with zeros alone.", "{name} 只能补零。"),
    "code option": ("{name} is not read with {option}.", "这里不读带 {option} 的 {name}。"),
    "code pad": (
        "{name}: {padding} values around an axis of {length} are too many.",
        "{name}：长 {length} 的轴补 {padding} 个值太多。",
    ),
    "code resize": (
        "{name} needs a batch of maps, and either a size or a scale factor.",
        "{name} 需要一批特征图，并且只给尺寸或倍率中的一个。",
    ),
    "code pool small": (
        "{name} takes no map smaller than its window; the input is {shape}.",
        "{name} 的输入不能小于窗口；输入是 {shape}。",
    ),
    "code one value": (
        "{name} needs more than one value in each group; the input is {shape}.",
        "{name} 的每一组要有不止一个值；输入是 {shape}。",
    ),
    "code shuffle": (
        "{name} needs channels that {square} divides; the input is {shape}.",
        "{name} 要求通道数能被 {square} 整除；输入是 {shape}。",
    ),
    "code no axis": (
        "{name}: there is no {axis} among {count}.", "{name}：共 {count} 个，没有 {axis}。",
    ),
    "code index": (
        "{count} are too many for {shape}.", "{count} 个对 {shape} 来说太多。",
    ),
    "code view": (
        "{shape} holds {count} values; they cannot be {wanted}.",
        "{shape} 有 {count} 个值，变不成 {wanted}。",
    ),
    "code permute": (
        "no axis of {shape} is named twice, and permute names all {count}.",
        "{shape} 的轴不能重复；permute 要写全 {count} 个轴。",
    ),
    "code broadcast": (
        "{name}: {shapes} do not fit together.", "{name}：{shapes} 对不上。",
    ),
    "code product": (
        "{left} @ {right}: the columns of the left must be as many as the rows of the right.",
        "{left} @ {right}：左边的列数必须等于右边的行数。",
    ),
    "code cat": (
        "{shapes} differ in more than axis {axis}.", "{shapes} 在第 {axis} 轴以外也不相同。",
    ),
    "code ragged": ("the rows are not equally long.", "各行长短不一。"),
    "code missing": ("{name} lacks {word}.", "{name} 缺少 {word}。"),
    "code unexpected": (
        "{name} does not take {word}; it takes {words}.",
        "{name} 没有参数 {word}；它的参数是 {words}。",
    ),
    "code many": (
        "{name} takes at most {most} arguments, not {given}.",
        "{name} 最多 {most} 个参数，给了 {given} 个。",
    ),
    "code wrong": ("{reason}", "{reason}"),
    "model no field": ("This layer has no map.", "这一层没有特征图。"),
}  # fmt: skip


def phrase(key: str, language: Language, **values: object) -> str:
    """The text of a key, its braces filled in.

    Raises:
        ArgumentError: an unknown key or language.

    >>> phrase("kind transposed", "zh")
    '转置卷积'
    >>> phrase("guess wrong", "en", answer=280)
    'it is 280'
    """
    if key not in PHRASES:
        raise ArgumentError(f"no text {key!r}{nearest(key, PHRASES)}")
    text = PHRASES[key][("en", "zh").index(as_language(language))]
    return text.format_map(values) if values else text


def as_language(name: str | None) -> Language:
    """The language of that code: `en` or `zh`, with or without a region.

    >>> as_language("zh-CN"), as_language("en")
    ('zh', 'en')
    """
    code = (name or "").lower().replace("_", "-").partition("-")[0]
    if code not in ("en", "zh"):
        raise ArgumentError(f"language must be 'en' or 'zh', not {name!r}")
    return cast(Language, code)
