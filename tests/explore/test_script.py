"""Lines of PyTorch that are read, not run: what they give is what torch gives."""

from __future__ import annotations

import inspect
import re
from time import process_time

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convsmith.explore.lessons import LESSONS, texts_of
from convsmith.explore.script import EXAMPLE, MOST_CODE, read_script, script_panel
from convsmith.explore.script.layers import ACTIVATIONS, FUNCTIONS, LAYERS
from tests.thoroughness import examples

LANGUAGES = ("en", "zh")


def words(function):
    kinds = inspect.signature(function).parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in kinds):
        return None
    return {each.name: each.default for each in kinds if each.name != "self"}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_pytorchs_parameters(name):
    ours, torchs = words(LAYERS[name]), words(getattr(nn, name).__init__)
    if ours is None:  # any number of parts, or what changes no shape
        assert name in ("Sequential", "Identity", *ACTIVATIONS)
        return
    torchs = {word: usual for word, usual in torchs.items() if word not in ("device", "dtype")}
    if "Norm" in name:  # newer versions have it
        torchs.setdefault("bias", True)
    assert list(ours) == list(torchs), name
    for word, usual in ours.items():
        assert usual == torchs[word] or torchs[word] is inspect.Parameter.empty, (name, word)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_of_that_name_in_pytorch(name):
    assert hasattr(F, name)
    if name in ("interpolate", "pad"):
        assert list(words(FUNCTIONS[name])) == list(words(getattr(F, name)))


def gives(value):
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    return str(tuple(value)) if isinstance(value, tuple) else str(value)


def ran(lines):
    """What torch gives line by line, until it refuses one, or gives a map without values."""
    names = {"torch": torch, "nn": nn, "F": F}
    found = []
    for line in lines:
        target, _, expression = line.partition(" = ")
        try:
            names[target] = eval(expression, names)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError):
            return found, True
        if not names[target].numel():
            return found, None
        found.append(names[target])
    return found, False


small = st.integers(1, 4)
axis = st.integers(-5, 5)
_POOL = "{name}({k}, stride={s}, padding={p}, ceil_mode={c})"


@st.composite
def steps(draw):
    """A line from `x` to `x`."""
    dims = draw(st.integers(1, 3))
    n = {name: draw(small) for name in ("a", "b", "k", "s", "d", "g")}
    n |= {"p": draw(st.integers(0, 2)), "o": draw(st.integers(0, 2)), "c": draw(st.booleans())}
    n |= {"i": draw(axis), "j": draw(axis), "dims": dims, "flag": draw(st.booleans())}
    n["pad"] = draw(st.sampled_from([n["p"], "'same'", "'valid'", (n["p"],) * dims]))
    n["mode"] = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    n["sides"] = tuple(draw(st.integers(0, 2)) for _ in range(2 * draw(st.integers(1, 3))))
    line = draw(st.sampled_from(LINES))
    return line.format(**n, pool=_POOL.format(name="{name}", **n))


LINES = [
    "nn.Conv{dims}d({a}, {b}, {k}, {s}, {pad}, {d}, {g}, padding_mode='{mode}')(x)",
    "nn.Conv2d(x.shape[1], {b}, {k}, padding={p}, dilation={d})(x)",
    "nn.Conv2d(x.shape[1], x.shape[1], {k}, groups=x.shape[1], padding='same')(x)",
    "nn.ConvTranspose{dims}d({a}, {b}, {k}, {s}, {p}, {o}, {g})(x)",
    "nn.ConvTranspose2d(x.shape[1], {b}, {k}, {s}, {p}, dilation={d})(x)",
    "nn.MaxPool{dims}d({k}, {s}, {p}, ceil_mode={c})(x)",
    "nn.AvgPool{dims}d({k}, {s}, {p}, {c})(x)",
    "F.max_pool2d(x, {k}, padding={p})",
    "F.avg_pool2d(x, ({k}, {a}))",
    "nn.AdaptiveAvgPool{dims}d({k})(x)",
    "F.adaptive_max_pool2d(x, ({k}, None))",
    "F.conv2d(x, torch.rand({a}, x.shape[1], {k}, {s}))",
    "F.conv2d(x, torch.rand({a}, {b}, {k}, {s}), torch.rand({a}), padding={p}, groups={g})",
    "F.conv_transpose2d(x, torch.rand(x.shape[1], {b}, {k}, {k}), stride={s}, output_padding={o})",
    "F.pad(x, {sides})",
    "F.pad(x, {sides}, mode='replicate')",
    "nn.ZeroPad2d({p})(x)",
    "nn.ReflectionPad2d({p})(x)",
    "F.interpolate(x, scale_factor={s})",
    "nn.Upsample(size={a})(x)",
    "nn.PixelShuffle({s})(x)",
    "nn.Linear({a}, {b})(x)",
    "nn.Linear(x.shape[-1], {b})(x)",
    "nn.BatchNorm2d({a}).eval()(x)",
    "nn.BatchNorm1d(x.shape[1]).eval()(x)",
    "nn.GroupNorm({g}, x.shape[1])(x)",
    "nn.LayerNorm(x.shape[-1])(x)",
    "nn.Flatten()(x)",
    "nn.Sequential(nn.Conv2d(x.shape[1], {b}, {k}), nn.ReLU(), nn.MaxPool2d({s}))(x)",
    "x.unsqueeze({i})",
    "x.squeeze({i})",
    "x.squeeze()",
    "x.flatten({i}, {j})",
    "x.transpose({i}, {j})",
    "x.permute(0, 2, 3, 1)",
    "x.permute({i}, {j}, 0)",
    "x.reshape({a}, -1, {b})",
    "x.reshape(x.shape[0], -1)",
    "x.expand(-1, {a}, -1, -1)",
    "x.repeat({a}, 1, {b}, 1)",
    "x.mean(dim={i}, keepdim={flag})",
    "x.sum(({i}, {j}))",
    "x[{i}]",
    "x[:, {a}]",
    "x[..., None]",
    "x[{p}:, ::{s}]",
    "x[:, :{k}, None, ..., {o}]",
    "torch.cat([x, x], {i})",
    "torch.cat([x, torch.rand({a}, {b}, 4, 4)], dim=1)",
    "torch.stack([x, x], {i})",
    "x + torch.rand({a}, 1, {b})",
    "x * x.mean(1, keepdim=True)",
    "x @ x.transpose(-1, -2)",
    "x @ torch.rand({a}, {b})",
    "torch.rand({a}, {b}) @ x",
    "torch.relu(x) - 1",
    "torch.zeros_like(x) / {a}",
    "F.relu(x)",
    "F.softmax(x, dim=1)",
    "torch.tensor([[1., 2.], [3., 4.]]) * {a}",
    "1.5 * torch.arange({k}, {k} + {a}).reshape(1, -1)",
]


@examples(1000, 150)
@given(st.lists(small, min_size=1, max_size=5), st.lists(steps(), min_size=1, max_size=6))
def test_random_lines_have_torchs_shapes_and_refusals(shape, lines):
    code = [f"x = torch.rand({', '.join(map(str, shape))})", *(f"x = {each}" for each in lines)]
    expected, refused = ran(code)
    if refused is None:  # here such a map is refused
        code, refused = code[: len(expected)], False
    rows = [row for row in read_script("\n".join(code)) if row.number]
    found = [row.shape for row in rows if not row.refusal]
    assert found == [gives(value) for value in expected], code
    assert bool(rows[-1].refusal) is refused, (code, rows[-1])
    if refused:
        assert rows[-1].number == len(found) + 1
        for language in LANGUAGES:
            assert "{" not in rows[-1].refusal.said(language)


@pytest.mark.parametrize("line", LINES)
def test_every_kind_of_line_is_one_that_torch_takes(line):
    """What torch always refuses would test no shape."""
    numbers = {"a": 2, "b": 2, "k": 2, "s": 1, "d": 1, "g": 1, "p": 0, "o": 0, "c": False, "i": 1,
               "j": 2, "dims": 2, "flag": True, "pad": 0, "mode": "zeros", "sides": (1, 1),
               "pool": ""}  # fmt: skip
    shapes = [(2, 2, 4, 4), (2, 2, 2, 2), (2, 2, 4), (2, 2), (1, 2, 2, 2), (2,), (2, 3, 4, 4)]
    good = [shape for shape in shapes
            if not ran([f"x = torch.rand{shape}", "x = " + line.format(**numbers)])[1]]  # fmt: skip
    assert good, line


MINE = '''
import torch
import torch.nn as nn
import torch.nn.functional as F


class Separable(nn.Module):
    """Depthwise, then pointwise."""

    def __init__(self, ins, outs, kernel_size=3, *, bias=True):
        super().__init__()
        self.dw = nn.Conv2d(ins, ins, kernel_size, groups=ins, padding=kernel_size // 2)
        self.pw = nn.Conv2d(ins, outs, kernel_size=1, bias=bias)

    def forward(self, x):
        x = F.relu(self.dw(x))
        return self.pw(x)


net = Separable(3, 10)
x = torch.rand(2, 3, 16, 16)
with torch.no_grad():
    y = net(x)
n, c, h, w = y.shape
y = y.view(n, -1)
for _ in range(2):
    y = nn.Linear(y.shape[1], y.shape[1] // 2)(y)
print(y.shape)
'''


def test_a_class_of_ones_own_is_read():
    names = {}
    exec(MINE, names)
    rows = read_script(MINE)
    assert not any(row.refusal for row in rows)
    by_line = {row.line: row for row in rows}
    assert by_line["x = F.relu(self.dw(x))"].shape == (2, 3, 16, 16)
    assert by_line["return self.pw(x)"].shape == (2, 10, 16, 16)
    assert by_line["y = y.view(n, -1)"].shape == (2, 2560)
    dw = by_line["self.dw = nn.Conv2d(ins, ins, kernel_size, groups=ins, padding=kernel_size // 2)"]
    assert dw.weight == tuple(names["net"].dw.weight.shape)
    assert rows[-1].value == str(tuple(names["y"].shape))
    assert by_line["n, c, h, w = y.shape"].value == "(2, 10, 16, 16)"


def test_the_example_is_the_exercise():
    shapes = [row.shape for row in read_script(EXAMPLE)]
    assert (1, 10, 126, 126) in shapes
    for language in LANGUAGES:
        assert "(1, 10, 126, 126)" in script_panel(EXAMPLE, language)


# What is refused, and what is said of it.
REFUSED = [
    (
        "nn.Conv2d(3, 8, kernel_size_pw=3)",
        "does not take kernel_size_pw",
        "没有参数 kernel_size_pw",
    ),
    ("nn.Conv2d(3, 8)", "lacks kernel_size", "缺少 kernel_size"),
    ("nn.Conv2d(3, 4, 3, groups=2)", "2 does not divide 3", "2 不能整除 3"),
    ("nn.Conv2d(3, 4, 3, stride=2, padding='same')", "the stride must be 1", "步幅只能为 1"),
    ("nn.Conv2d(3, 8, 3)(torch.rand(1, 1, 8, 8))", "expects 3 channels", "要求 3 个通道"),
    ("nn.Conv2d(1, 1, 5)(torch.rand(1, 1, 4, 4))", "the kernel spans 5", "卷积核跨度为"),
    ("F.conv2d(torch.rand(1, 3, 9, 9), torch.rand(3, 10, 3, 3))", "expects 10", "要求 10 个通道"),
    ("nn.Conv2d(1, 1, 3)(torch.rand(8, 8))", "of 3 / 4 axes", "要求 3 / 4 个轴"),
    ("nn.Linear(10, 2)(torch.rand(1, 3, 8))", "expects 10 on the last axis", "要求最后一轴为 10"),
    ("torch.rand(2, 3).view(4)", "holds 6 values", "有 6 个值"),
    ("torch.rand(2, 3) + torch.rand(4)", "2×3 · 4 do not fit", "2×3 · 4 对不上"),
    ("y(1)", "nothing is called y", "还没有叫 y 的东西"),
    ("import os\nos.system('true')", "nothing is called os", "还没有叫 os 的东西"),
    ("nn.Conv2D(3, 8, 3)", "did you mean Conv2d?", "是不是 Conv2d"),
    ("torch.rand(2, 3).veiw(6)", "did you mean view?", "是不是 view"),
    ("x = ", "not Python", "不是合法的 Python"),
    ("torch.rand(1\uff0c3)", "\uff0c” is a full-width character; Python needs “,”.", "是全角字符"),
    ("nn.Conv2d(3, 8, 3, padding=-1)", "padding must be a whole number", "padding 必须是不小于 0"),
    ("nn.Conv2d(3, 8, 3, stride=(1, 0))", "at least 1, not 0", "stride 必须是不小于 1"),
    ("nn.Conv2d(3, 8, 2.5)", "kernel_size must be a whole", "kernel_size 必须是"),
    (
        "F.max_pool2d(torch.rand(1, 8, 8), (4, 2), padding=(2, 2))",
        "its kernel, 1, not 2",
        "最多为窗口的一半",
    ),
    ("nn.Conv2d(3,. 8)", "not Python", "不是合法的 Python"),
    ("torch.load('x.pt')", "torch has no load", "torch 没有这里认识的 load"),
    ("().__class__", "has no __class__", "没有这里认识的 __class__"),
    ("lambda: 1", "is not read here", "这里不读"),
    ("torch.rand(10**6, 10**6)", "not read", "这里不读"),
    ("torch.rand(99999999999, 99999999999)", "more than PyTorch", "超出"),
    ("x" * (MOST_CODE + 1), "8,000 characters", "8,000 个字符"),
]


@pytest.mark.parametrize(("code", "english", "chinese"), REFUSED)
def test_a_refused_line_is_told_in_both_languages(code, english, chinese):
    last = read_script(code)[-1]
    assert english in last.refusal.said("en") and chinese in last.refusal.said("zh")
    assert english in re.sub("&#x27;", "'", script_panel(code, "en"))


HOSTILE = [
    "a = [1, 2]\n"
    + "\n".join(f"a = [a, a, {n}]" for n in range(200))
    + "\ntorch.tensor(a)\na == a",
    "a = [1]\n" + "a = [*a, *a]\n" * 300,
    "a = (1,)\n" + "a = a + a\n" * 300,
    "a = 2\n" + "a = a * a\n" * 300,
    "for a in range(100):\n for b in range(100):\n  for c in range(100):\n   pass",
    "def f(x):\n    return f(x)\nf(1)",
    "class A:\n    def forward(self, x):\n        return self(x)\nA()(1)",
    "(" * 3000,
    "-" * 7000 + "1",
    "x" + ".x" * 3500,
    "f" + "()" * 3500,
    "[" * 90 + "1" + "]" * 90,
    "torch.rand(1)" + ".unsqueeze(0)" * 600,
    "1" + " + 1" * 1900,
    "range(10 ** 9)",
    "torch.arange(0, 9223372036854775807)",
    "torch.rand(1).expand(" + "9223372036854775807, " * 3 + ")",
    "int('9' )\nint(1e308)\nprint(int(1e308))",
    "x: int",
    "\x00",
    "\ud800",
    "nn.Conv2d(9223372036854775807, 9223372036854775807, 9223372036854775807)",
    "nn.Sequential()(1, 2)",
    "nn.Sequential(1)(torch.rand(1))",
    "nn.Upsample(scale_factor=1e308)(torch.rand(1, 1, 9, 9))",
    "nn.Upsample(scale_factor=float)(torch.rand(1, 1, 9, 9))",
    "F.pad(torch.rand(1, 1), ('a', 'b'))",
    "nn.Conv2d('a', None, [])",
    "nn.Conv2d(1, 1, 3, padding=[[1]])",
    "torch.rand([[1]])",
    "torch.zeros(())[0]",
    "torch.rand(2)[1.5]",
    "torch.rand(2)[1:'a']",
    "torch.cat(1)",
    "torch.cat([torch.rand(2), torch.rand(())])",
    "len(torch.tensor(1))\nlen(nn)",
]


@pytest.mark.parametrize("code", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_lines_are_read_in_a_moment(code):
    start = process_time()
    rows = read_script(code)
    for language in LANGUAGES:
        script_panel(code, language)
    assert process_time() - start < 5 and len(rows) <= 201


TOKENS = ["x", "=", "torch.rand", "nn.Conv2d", "(", ")", "1", ",", "3", ".", "shape", "[", "]", ":",
          "-", "\n", "    ", "for", "in", "range", "def", "f", "return", "class", "self", "forward",
          "+", "*", "@", "F.pad", "F.conv2d", "nn.Sequential", "nn.MaxPool2d", "None", "'a'",
          "1.5", "unsqueeze", "lambda", "if", "else", "==", "import", "as", "**"]  # fmt: skip


@examples(800, 200)
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map(" ".join) | st.text(max_size=40))
def test_anything_typed_has_an_answer(code):
    for language in LANGUAGES:
        script_panel(code, language)


def test_the_code_of_the_lessons_is_read():
    blocks = 0
    for lesson in LESSONS:
        for key, (english, _) in texts_of(lesson.number).items():
            for block in re.findall(r"```python\n(.*?)```", english, re.DOTALL):
                if "import convsmith" in block:
                    continue
                blocks += 1
                for row in read_script(block):
                    said = row.refusal.said("en") if row.refusal else ""
                    assert "is not read" not in said, (lesson.number, key, row.line, said)
    assert blocks >= 3
