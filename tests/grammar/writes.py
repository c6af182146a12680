"""Steps that write into a tensor, through views of it too."""

from __future__ import annotations

from tests.grammar.draft import step


def conv(d, kernel=3):
    source = f"nn.Conv{d.dims}d({d.channels}, {d.channels}, {kernel}, padding={kernel // 2})"
    return d.module(source)


def at(d, dim, cut):
    """An index that cuts one dimension."""
    return "[" + ", ".join([":"] * dim + [cut]) + "]"


@step
def shifted_write(d):
    dim, v = d.place(), d.name()
    d.run(
        f"{v} = torch.{d.pick('zeros_like', 'ones_like', 'empty_like')}(x)",
        f"{v}.fill_(0.5)",
        f"{v}{at(d, dim, '1:')} = {conv(d)}(x){at(d, dim, ':-1')}",
        f"x = {v}",
    )


@step
def write_then_read(d):
    """The view is made first and written later."""
    v, w = d.name(), d.name()
    d.run(
        f"{v} = x.clone()",
        f"{w} = {v}{at(d, 1, ':1')}",
        f"{v}.mul_(2)",
        f"{w}.add_({conv(d, 5)}(x){at(d, 1, ':1')})",
        f"x = {v}",
    )


@step
def add_into_channels(d):
    v = d.name()
    d.run(f"{v} = x * 1", f"{v}[:, :1] += {conv(d)}(x)[:, :1]", f"x = {v}")


@step
def multiply_into_rows(d):
    dim, v = d.place(), d.name()
    cut = at(d, dim, d.pick("::2", "1:", ":-1", "0"))
    d.run(f"{v} = x + 0", f"{v}{cut} *= {conv(d)}(x){cut}", f"x = {v}")


@step
def copy_into(d):
    v = d.name()
    view = d.pick(f"{v}[:, :1]", f"{v}.narrow(1, 0, 1)", f"{v}.split(1, 1)[0]")
    d.blocked()  # as torch refuses gradients through the views that a split gives
    d.run(
        f"{v} = x.clone()",
        "with torch.no_grad():",
        f"    {view}.copy_({conv(d)}(x)[:, :1])",
        f"x = {v}",
    )


@step
def write_through_transpose(d):
    d.need(d.dims > 1)
    v, w = d.name(), d.name()
    d.run(
        f"{v} = x.clone()",
        f"{w} = {v}.transpose(-1, -2)",
        f"{w}[..., 1:] += {conv(d)}(x).transpose(-1, -2)[..., :-1]",
        f"x = {v}",
    )


@step
def write_through_reshape(d):
    v, w = d.name(), d.name()
    d.run(
        f"{v} = x.clone().contiguous()",
        f"{w} = {v}.view({v}.shape[0], -1)",
        f"{w}.add_({conv(d)}(x).flatten(1))",
        f"x = {v}",
    )


@step
def write_through_what_is_passed_on(d):
    """Operations that give the very tensor that they take, though their schemas do not say so."""
    v, w = d.name(), d.name()
    letters = "bcxyz"[: d.x.ndim]
    same = d.pick(
        f"F.dropout({v}, 0.5, False)", f"F.alpha_dropout({v}, 0.5)", f"{v}.type_as(x)",
        f"torch.atleast_2d({v})", f"torch.einsum('{letters}->{letters}', {v})",
        f"{v}.sum_to_size(x.shape)", f"torch.broadcast_tensors({v}, x)[0]", f"{v}.contiguous()",
        f"torch.conj_physical({v})", f"{v}.type_as(x.float()).type_as(x)",
    )  # fmt: skip
    d.run(f"{v} = x.clone()", f"{w} = {same}", f"{w}.add_({conv(d)}(x))", f"x = {v}")


@step
def fill_a_slice(d):
    v, dim = d.name(), d.place()
    fill = d.pick("fill_(0.3)", "zero_()", "mul_(0.5)")
    if fill == "zero_()":
        d.rough()  # what is multiplied by zeros afterwards is read in vain
    d.run(f"{v} = x.clone()", f"{v}{at(d, dim, ':2')}.{fill}", f"x = {v}")


@step
def masked_fill_of_a_slice(d):
    d.rough()
    v, w = d.name(), d.name()
    d.run(
        f"{v} = x.clone()",
        f"{w} = {v}[..., 1:]",
        f"{w}.masked_fill_({conv(d)}(x)[..., :-1] > 0.9, 0.1)",
        f"x = {v}",
    )


@step
def masked_write(d):
    d.rough()
    v = d.name()
    d.run(f"{v} = x.clone()", f"{v}[{conv(d)}(x) > 1] = 0.2", f"x = {v}")


@step
def chain_of_writes(d):
    v = d.name()
    other = conv(d)
    d.run(f"{v} = x.clone()", f"{v}.add_({other}(x)).mul_(0.7).sigmoid_()", f"x = {v}")


@step
def written_source(d):
    """What was read before a write keeps the old values."""
    v, w = d.name(), d.name()
    d.run(
        f"{v} = x.clone()",
        f"{w} = {v} * 2",
        f"{v}.copy_({conv(d)}(x))",
        f"x = {w} * {v}.mean(1, keepdim=True)",
    )


@step
def rows_in_a_loop(d):
    """SCNN: each row adds what the one before it has become."""
    d.need(d.space[0] <= 6)
    v = d.name()
    d.run(
        f"{v} = x.clone()",
        f"for i in range(1, {d.space[0]}):",
        f"    {v}[:, :, i] += 0.5 * {v}[:, :, i - 1]",
        f"x = {v}",
    )


@step
def index_put(d):
    v = d.name()
    rows = [0, d.space[0] - 1]
    d.run(
        f"{v} = x.clone()",
        f"{v}[:, :, {rows}] = {conv(d)}(x)[:, :, {rows[::-1]}]",
        f"x = {v}",
    )


@step
def scatter(d):
    v = d.name()
    index = f"torch.zeros(1, dtype=torch.long).expand(x.shape[0], 1, *{d.space})"
    d.run(
        f"{v} = {conv(d)}(x)[:, :1]", f"x = {d.pick('x.scatter', 'x.scatter_add')}(1, {index}, {v})"
    )


@step
def slice_scatter(d):
    d.run(f"x = torch.slice_scatter(x, {conv(d)}(x)[:, :1], 1, 0, 1)")


@step
def select_scatter(d):
    d.run(f"x = torch.select_scatter(x, {conv(d)}(x)[:, :, 0], 2, {d.space[0] - 1})")


@step
def list_assignment(d):
    """Rows collected one by one, each written in its place."""
    v = d.name()
    d.run(
        f"{v} = x.new_zeros(x.shape)",
        f"{v}[..., :-1] = x[..., 1:]",
        f"{v}[..., -1:] = x[..., :1] * 2",
        f"x = {v} + x",
    )
