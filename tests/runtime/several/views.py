"""Steps that cut, move and write values: views share their memory with what they show."""

from __future__ import annotations

from tests.runtime.several.draft import Draft, step


@step
def part_of_batch(d: Draft) -> None:
    x = d.map()
    d.let(x + d.pick("[:1]", "[1:]", "[::2]", ".flip(0)", "[-1:]", "[:, :]"))


@step
def part_of_channels(d: Draft) -> None:
    x = d.map()
    d.need(d[x].shape[1] > 2)
    d.let(x + d.pick("[:, 1:]", "[:, :2]", "[:, ::2]", ".chunk(2, 1)[1]", ".narrow(1, 1, 2)",
                     "[:, -2:]", f".split([1, len({x}[0]) - 1], 1)[1]"))  # fmt: skip


@step
def parts_of_channels(d: Draft) -> None:
    """As in the blocks of CSP, YOLO and ShuffleNet: halves, one of which goes on, joined again."""
    x = d.map()
    half = d[x].shape[1] // 2
    d.need(half and d[x].shape[1] % 2 == 0)
    y = d.let(f"F.relu({d.module(f'nn.Conv2d({2 * half}, 32, 3, padding=1)')}({x}))")
    a, b = (d.let(f"{y}.chunk(2, dim=1)[{n}]") for n in range(2))
    conv = d.module("nn.Conv2d(16, 16, 3, padding=1, groups=16)")
    c = d.let(f"{conv}({b})" + d.pick("", f" + {a}", f" + {b}"))
    y = d.let(f"torch.cat({d.pick(f'[{a}, {c}]', f'[{c}, {a}, {b}]', f'[{b}, {x}, {c}]')}, 1)")
    d.let(f"{d.module(f'nn.Conv2d({d[y].shape[1]}, 8, 1)')}({y})")


@step
def part_of_space(d: Draft) -> None:
    x = d.map()
    cut = d.pick("[..., 1:]", "[..., 1:, :-1]", "[:, :, ::2]", "[..., ::2, ::2]", ".flip(3)")
    d.let(x + cut)


@step
def one_channel(d: Draft) -> None:
    x = d.map()
    d.let(x + d.pick("[:, :1]", "[:, -1:]", ".mean(1, keepdim=True)", ".amax(1, keepdim=True)"))


@step
def transpose_space(d: Draft) -> None:
    x = d.map()
    d.let(x + d.pick(".transpose(2, 3)", ".transpose(2, 3).contiguous()", ".mT"))


@step
def batch_as_channels(d: Draft) -> None:
    """Images and channels change places: the batch of what follows is another one."""
    x = d.map()
    y = d.let(f"{x}.reshape(-1, 1, *{x}.shape[2:])")
    conv = d.module("nn.Conv2d(1, 4, 3, padding=1)")
    d.let(f"{conv}({y})")


@step
def frames(d: Draft) -> None:
    """A batch of clips: each frame as an image, then the mean over time."""
    x = d.value(5)
    channels = d[x].shape[2]
    flat = d.let(f"{x}.flatten(0, 1)")
    y = d.let(f"F.relu({d.module(f'nn.Conv2d({channels}, 8, 3, padding=1)')}({flat}))")
    d.let(f"{y}.unflatten(0, {x}.shape[:2]).mean(1)")


@step
def mean_of_frames(d: Draft) -> None:
    d.let(f"{d.value(5)}.mean(1)")


@step
def one_frame(d: Draft) -> None:
    d.let(d.value(5) + d.pick("[:, 0]", "[:, -1]", ".select(1, 1)"))


@step
def shuffle(d: Draft) -> None:
    x = d.map()
    d.need(d[x].shape[1] % 4 == 0)
    apart = f"{x}.view(len({x}), 2, -1, *{x}.shape[2:])"
    d.let(d.pick(f"F.pixel_shuffle({x}, 2)", f"F.channel_shuffle({x}, 2)",
                 f"{apart}.transpose(1, 2).contiguous().view({x}.shape)",
                 f"{apart}.transpose(2, 1).reshape_as({x})"))  # fmt: skip


@step
def windows(d: Draft) -> None:
    """Pixels two by two as images of a larger batch, and back."""
    x = d.map()
    d.need(all(n % 2 == 0 for scope in d.scopes for n in scope[x].shape[2:]))
    channels = d[x].shape[1]
    parts = d.let(f"{x}.unfold(2, 2, 2).unfold(3, 2, 2)")
    flat = d.let(f"{parts}.permute(0, 2, 3, 1, 4, 5).reshape(-1, {channels}, 2, 2)")
    d.let(f"{d.module(f'nn.Conv2d({channels}, 8, 3, padding=1)')}({flat})")


@step
def repeated(d: Draft) -> None:
    x = d.map()
    d.let(x + d.pick(".repeat(2, 1, 1, 1)", ".repeat_interleave(2, 0)", ".tile(1, 2, 1, 1)"))


@step
def first_for_all(d: Draft) -> None:
    x = d.map()
    d.let(f"{x}[:1].expand({d.map()}.shape[0], -1, -1, -1)")


@step
def as_pixels(d: Draft) -> None:
    """Vectors as maps of one pixel."""
    x = d.vector()
    conv = d.module(f"nn.Conv2d({d[x].shape[1]}, 8, 1)")
    d.let(f"{conv}({x}[:, :, None, None])")


@step
def rows_as_batch(d: Draft) -> None:
    """Each row as a sequence of its own."""
    x = d.map()
    channels = d[x].shape[1]
    flat = d.let(f"{x}.transpose(1, 2).flatten(0, 1)")
    d.let(f"{d.module(f'nn.Conv1d({channels}, {channels}, 3, padding=1)')}({flat})")


@step
def write_in_place(d: Draft) -> None:
    x = d.map()
    y = d.let(f"{x} * 1")
    d.run(d.pick(f"{y}[:, :1] += 1", f"{y}[..., 1:] *= 2", f"F.relu({y}, inplace=True)",
                 f"{y}[:1] = 0", f"{y}.clamp_(-1, 1)"))  # fmt: skip


@step
def write_into_a_convolution(d: Draft) -> None:
    """What a layer gave is changed before others read it, and after."""
    x = d.map()
    y = d.let(f"{d.module(f'nn.Conv2d({d[x].shape[1]}, 8, 3, padding=1)')}({x})")
    d.let(f"{d.module('nn.Conv2d(8, 4, 1)')}({y})")
    d.run(d.pick(f"{y}.relu_()", f"{y}.mul_(2)", f"{y}[:, 1:] -= 1"))
    d.let(f"{d.module('nn.Conv2d(8, 4, 1)')}({y})")


@step
def write_into_an_input(d: Draft) -> None:
    d.need(d.rng.random() < 0.3)
    d.run(f"{d.pick(*(v for v in d.values if v.startswith('x')))}.mul_(0.5)")


@step
def detached(d: Draft) -> None:
    x = d.map()
    d.let(x + d.pick(".detach()", ".clone()", ".contiguous()", ".to(x0.dtype)",
                     ".contiguous(memory_format=torch.channels_last)"))  # fmt: skip
