"""Steps that move values without changing them."""

from __future__ import annotations

from tests.grammar.draft import step


@step
def transpose_space(d):
    d.need(d.dims > 1)
    i, j = d.rng.sample(range(d.dims), 2)
    d.axes[i], d.axes[j] = d.axes[j], d.axes[i]
    call = d.pick("transpose", "swapaxes")
    d.run(f"x = x.{call}({i + 2}, {j + 2}){d.pick('', '.contiguous()')}")


@step
def permute_and_back(d):
    order = list(range(d.x.ndim))
    d.rng.shuffle(order)
    back = [order.index(i) for i in range(d.x.ndim)]
    d.run(f"x = x.permute({order})", "x = x * 1.5", f"x = x.permute({back})")


@step
def flatten_and_back(d):
    d.run(
        d.pick(
            "x = x.flatten(1).sigmoid().reshape(x.shape)",
            "x = (x.flatten(2) * 2).view(x.shape)",
            "x = x.reshape(-1).tanh().reshape(x.shape)",
            f"x = (x.flatten(2) + 1).unflatten(2, {d.space})",
            "x = (x.flatten(2) + 1).reshape_as(x)",
            "x = (x.reshape(-1) * 3).view_as(x)",
        )
    )


@step
def bytes_of_values(d):
    """Each value as two of half its bytes, or as a whole number of as many."""
    d.blocked()
    half = "x = x.contiguous().view(torch.float32).view(torch.float64)"
    d.run(d.pick(half, "x = x.view(torch.int64).view(torch.float64)"))


@step
def flatten_space(d):
    """Space is merged into one axis for good."""
    d.need(d.dims > 1)
    d.run("x = x.flatten(2)")
    d.axes[:] = [None]


@step
def squeeze(d):
    dim = d.pick(0, 1, 2, -1, d.x.ndim)
    d.run(
        d.pick(f"x = x.unsqueeze({dim}).exp().squeeze({dim}) / 3", "x = x[..., None].sin()[..., 0]")
    )


@step
def unbatched(d):
    """The batch axis is put away meanwhile."""
    d.need(d.x.shape[0] == 1)
    conv = d.module(f"nn.Conv{d.dims}d({d.channels}, 2, 3, padding=1)")
    d.run(f"x = {conv}(x.squeeze(0)).unsqueeze(0)")


@step
def batch_of_channels(d):
    """Each channel as an image of its own."""
    conv = d.module(f"nn.Conv{d.dims}d(1, 1, 3, padding=1)")
    d.run(f"x = {conv}(x.reshape(-1, 1, *{d.space})).reshape(x.shape)")


@step
def batch_of_rows(d):
    """Each row as a sequence of its own."""
    d.need(d.dims == 2)
    conv = d.module(f"nn.Conv1d({d.channels}, {d.channels}, 3, padding=1)")
    h, w = d.space
    d.run(
        f"x = {conv}(x.transpose(1, 2).reshape(-1, {d.channels}, {w}))",
        f"x = x.reshape(-1, {h}, {d.channels}, {w}).transpose(1, 2)",
    )


@step
def expand(d):
    d.need(d.channels <= 3)
    d.run(
        d.pick(
            f"x = x[:, :1].expand(-1, 3, {', '.join(['-1'] * d.dims)})",
            "x = x[:, :1].expand_as(x)",
            f"x = x.repeat(1, 2, {', '.join(['1'] * d.dims)})",
            f"x = torch.broadcast_to(x[:, :1], (x.shape[0], 2, *{d.space}))",
        )
    )


@step
def tile(d):
    """The map beside itself."""
    times = [1, 1] + [1] * d.dims
    times[d.place()] = 2
    d.run(f"x = {d.pick('x.repeat', 'x.tile')}({', '.join(map(str, times))})")


@step
def repeat_interleave(d):
    d.run(f"x = x.repeat_interleave(2, {d.pick(1, d.place())})")


@step
def expanded_upsampling(d):
    """Nearest neighbours by expand and reshape."""
    d.need(d.dims == 2)
    h, w = d.space
    d.run(
        f"x = x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2)"
        f".reshape(x.shape[0], x.shape[1], {2 * h}, {2 * w})"
    )


@step
def space_to_depth(d):
    d.need(d.dims == 2)
    h, w = (n // 2 for n in d.space)
    d.run(
        f"x = x[..., :{2 * h}, :{2 * w}]",
        f"x = x.reshape(x.shape[0], x.shape[1], {h}, 2, {w}, 2).permute(0, 1, 3, 5, 2, 4)",
        f"x = x.reshape(x.shape[0], -1, {h}, {w})",
    )


@step
def depth_to_space(d):
    d.need(d.dims == 2 and d.channels % 4 == 0)
    h, w = d.space
    c = d.channels // 4
    d.run(
        f"x = x.reshape(-1, 2, 2, {c}, {h}, {w}).permute(0, 3, 4, 1, 5, 2)",
        f"x = x.reshape(-1, {c}, {2 * h}, {2 * w})",
    )


@step
def patches_of_one_axis(d):
    """Pairs of neighbours become channels."""
    d.need(d.dims == 1)
    n = d.space[0] // 2
    d.run(f"x = x[..., :{2 * n}].reshape(x.shape[0], -1, {n}, 2).mean(-1)")


@step
def focus(d):
    """YOLO's: the four phases of the map beside each other."""
    d.need(d.dims == 2)
    h, w = (n // 2 * 2 for n in d.space)
    d.run(
        f"x = x[..., :{h}, :{w}]",
        "x = torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)",
    )


@step
def strided_slice(d):
    cuts = [d.pick(":", ":", "::2", "1::2", "::3", "1:", ":-1", "-3:") for _ in range(d.dims)]
    d.run(f"x = x[..., {', '.join(cuts)}]")


@step
def narrow(d):
    dim = d.place()
    n = d.x.shape[dim]
    d.need(n > 2)
    d.run(d.pick(f"x = x.narrow({dim}, 1, {n - 2})", f"x = torch.narrow(x, {dim}, -2, 2)"))


@step
def list_of_channels(d):
    order = [d.rng.randrange(d.channels) for _ in range(3)]
    d.run(
        d.pick(
            f"x = x[:, {order}]", f"x = torch.index_select(x, 1, torch.tensor({order}))",
            f"x = x[:, torch.tensor({order})]", f"x = x.take_along_dim(torch.tensor({order})"
            f".reshape(1, 3, {', '.join(['1'] * d.dims)}).expand(x.shape[0], 3, *{d.space}), 1)",
        )
    )  # fmt: skip


@step
def list_of_rows(d):
    n = d.space[0]
    order = [d.rng.randrange(n) for _ in range(3)]
    d.run(d.pick(f"x = x[:, :, {order}]", f"x = x.index_select(2, torch.tensor({order}))"))


@step
def gather_rows(d):
    dim = d.place()
    n = d.x.shape[dim]
    d.run(f"x = x.gather({dim}, torch.arange({n}).flip(0).reshape("
          f"{[n if i == dim else 1 for i in range(d.x.ndim)]}).expand(x.shape))")  # fmt: skip


@step
def select(d):
    """One row of the map: an axis less."""
    d.need(d.dims > 1)
    dim = d.place()
    at = d.rng.randrange(d.x.shape[dim])
    d.run(d.pick(f"x = x.select({dim}, {at})", f"x = x.unbind({dim})[{at}]"))
    d.axes.pop(dim - 2)


@step
def chunks(d):
    d.need(d.channels > 1)
    v, w = d.name(), d.name()
    call = d.pick("chunk(2, 1)", "tensor_split(2, 1)", f"split([1, {d.channels - 1}], 1)")
    d.run(f"{v}, {w} = x.{call}", f"x = torch.cat([{w} * 2, {v}], 1)")


@step
def chunks_of_space(d):
    dim = d.place()
    d.need(d.x.shape[dim] > 1)
    v, w = d.name(), d.name()
    d.run(f"{v}, {w} = x.{d.pick('chunk', 'tensor_split')}(2, {dim})",
          f"x = torch.cat([{w}, {v}], {dim})")  # fmt: skip


@step
def take(d):
    """Values by their number in the flattened map."""
    n = d.x.numel()
    order = f"torch.arange({n}).flip(0).reshape(x.shape)"
    d.run(d.pick(f"x = torch.take(x, {order})", f"x = x.flatten()[{order}]"))


@step
def vertical_stack(d):
    """The images twice, then one half of them."""
    d.run("x = torch.vstack([x * 2, x])", "x = x[: x.shape[0] // 2] + x[x.shape[0] // 2 :]")


@step
def unbind_channels(d):
    d.run("x = torch.stack(x.unbind(1)[::-1], 1)")


@step
def flip(d):
    dims = d.pick([-1], [2], [1], [-1, 2])
    d.run(f"x = x.flip({dims})")


@step
def roll(d):
    dim = d.pick(1, d.place())
    d.run(f"x = torch.roll(x, {d.pick(1, 2, -1)}, {dim})")


@step
def roll_of_all(d):
    d.run("x = torch.roll(x, 1)")


@step
def roll_of_the_batch(d):
    d.run("x = x + torch.roll(x, 1, 0)")


@step
def shift_of_channels(d):
    """TSM: a part of the channels moved by one position."""
    d.need(d.channels > 1)
    dim = d.place()
    d.run(f"x = torch.cat([x[:, :1].roll(1, {dim}), x[:, 1:]], 1)")


@step
def rot90(d):
    d.need(d.dims == 2)
    d.run("x = torch.rot90(x, 1, (2, 3))")
    d.axes.reverse()


@step
def channels_last(d):
    conv = d.module(f"nn.Conv{d.dims}d({d.channels}, 2, 3, padding=1)")
    d.need(d.dims > 1)
    form = "channels_last" if d.dims == 2 else "channels_last_3d"
    d.run(f"x = {conv}(x.contiguous(memory_format=torch.{form}))")
