"""Ways of changing a model: each is taken over by what was made from it, at the next call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from convsmith.nn import DepthwiseSeparableConv2d

__all__ = ["CHANGES", "Layer", "Net"]


class Net(nn.Module):
    """A convolution, batch norm, a list of layers, and numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        _furnish(self)

    def forward(self, x: Tensor) -> Tensor:
        return _rest(self, x)


class Layer(DepthwiseSeparableConv2d):
    """The same as a part of a layer that `use_fused_` can be asked for."""

    def __init__(self) -> None:
        super().__init__(4, 4, 3, padding=1, norm=nn.BatchNorm2d)
        _furnish(self)

    def _mix(self, maps: Tensor) -> Tensor:
        return _rest(self, self.pointwise(maps))


def _furnish(net: Any) -> None:
    net.conv = nn.Conv2d(4, 4, 3, padding=1)
    net.stages = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1) for _ in range(2)])
    net.register_buffer("offset", torch.zeros(1, 4, 1, 1))
    net.scale = 1.0
    net.settings = {"repeat": [1, 1]}
    nn.init.normal_(net.norm.running_mean, std=0.1)


def _rest(net: Any, x: Tensor) -> Tensor:
    x = torch.relu(net.norm(net.conv(x)) * net.scale + net.offset)
    for stage, times in zip(net.stages, net.settings["repeat"], strict=True):
        for _ in range(times):
            x = stage(x)
    return x


def _new(tensor: Tensor) -> Tensor:
    return torch.randn_like(tensor) / 2


def _optimizer(net: Net) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    with torch.enable_grad():
        net(torch.ones(1, 4, 8, 8)).square().mean().backward()
    optimizer.step()


def _average(net: Net) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.lerp_(_new(parameter), 0.5)


def _foreach(net: Net) -> None:
    with torch.no_grad():
        torch._foreach_mul_(list(net.parameters()), 1.5)


def _train(net: Net) -> None:
    net.train()
    with torch.no_grad():
        net(torch.randn(4, 4, 8, 8) + 3)
    net.eval()


def _swap(net: Net) -> None:
    net.conv.weight.data, net.stages[0].weight.data = (
        net.stages[0].weight.data,
        net.conv.weight.data,
    )


def _permute(net: Net) -> None:
    net.conv.weight.data = net.conv.weight.data.flip(0).contiguous()


def _transpose(net: Net) -> None:
    net.conv.weight.data = net.conv.weight.data.transpose(0, 1)


def _transpose_in_place(net: Net) -> None:
    with torch.no_grad():
        net.conv.weight.transpose_(0, 1)


def _shrink(net: Net) -> None:
    net.stages[1].weight.data = net.stages[1].weight.data[:2]
    net.stages[1].bias.data = net.stages[1].bias.data[:2]


def _repeat(net: Net) -> None:
    net.conv.weight.data = net.conv.weight.data[:, :1].expand(4, 4, 3, 3)


def _numpy(net: Net) -> None:
    net.conv.weight.detach().numpy()[...] *= -1


def _numpy_memory(net: Net) -> None:
    array = net.conv.weight.detach().numpy().copy()
    net.conv.weight.data = torch.from_numpy(array)
    array *= 2


def _resize(net: Net) -> None:
    weight = net.conv.weight.data
    weight.resize_(0).resize_(4, 4, 3, 3).copy_(_new(weight))


def _set(net: Net) -> None:
    with torch.no_grad():
        net.conv.weight.set_(_new(net.conv.weight))


def _half(net: Net) -> None:
    net.half().float()


def _tie(net: Net) -> None:
    net.stages[1].weight = net.stages[0].weight


def _hook(net: Net) -> None:
    net.conv.register_forward_hook(lambda module, inputs, output: output * 2)


def _pre_hook(net: Net) -> None:
    net.conv.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))


def _parametrize(net: Net) -> None:
    class Double(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * 2

    parametrize.register_parametrization(net.conv, "weight", Double())


def _weight_norm(net: Net) -> None:
    nn.utils.parametrizations.weight_norm(net.conv)
    net.conv.parametrizations.weight.original0.data.mul_(2)


def _fuse(net: Net) -> None:
    net.conv = nn.utils.fuse_conv_bn_eval(net.conv, net.norm)
    net.norm = nn.Identity()
    net.scale = 1.5


def _vector(net: Net) -> None:
    flat = nn.utils.parameters_to_vector(net.parameters())
    nn.utils.vector_to_parameters(flat * 1.25, net.parameters())


def _set_scale(net: Net) -> None:
    net.scale = 2.5


def _twice(net: Net) -> None:
    net.settings["repeat"][1] = 2


def _channels_last(net: Net) -> None:
    net.to(memory_format=torch.channels_last)
    net.conv.weight.data.mul_(2)


def _through_storage(net: Net) -> None:
    net.conv.weight.untyped_storage().copy_(_new(net.conv.weight).untyped_storage())


CHANGES: dict[str, Callable[[Net], Any]] = {
    "load_state_dict": lambda net: net.load_state_dict(type(net)().state_dict()),
    "load_state_dict(assign=True)": lambda net: net.load_state_dict(
        type(net)().state_dict(), assign=True
    ),
    "a new parameter": lambda net: setattr(
        net.conv, "weight", nn.Parameter(_new(net.conv.weight.detach()))
    ),
    "nn.init": lambda net: nn.init.normal_(net.conv.weight),
    ".data.copy_": lambda net: net.conv.weight.data.copy_(_new(net.conv.weight)),
    ".data.mul_": lambda net: net.conv.weight.data.mul_(1.5),
    ".data = ": lambda net: setattr(net.conv.weight, "data", _new(net.conv.weight)),
    ".data of two weights swapped": _swap,
    ".data with the same values in another order": _permute,
    ".data as another view of its memory": _transpose,
    ".data as a part of its memory": _shrink,
    ".data as a part of its memory, repeated": _repeat,
    "another view, in place": _transpose_in_place,
    "an optimizer's step": _optimizer,
    "a moving average": _average,
    "torch._foreach": _foreach,
    "pruning": lambda net: prune.l1_unstructured(net.conv, "weight", amount=0.5),
    "a write through NumPy": _numpy,
    "memory of an array": _numpy_memory,
    "a parametrization": _parametrize,
    "weight norm": _weight_norm,
    "a new layer": lambda net: setattr(net, "conv", nn.Conv2d(4, 4, 3, padding=1)),
    "a new layer in a list": lambda net: net.stages.__setitem__(0, nn.Conv2d(4, 4, 1)),
    "eps": lambda net: setattr(net.norm, "eps", 0.5),
    "padding, dilation": lambda net: (
        setattr(net.conv, "padding", (2, 2)),
        setattr(net.conv, "dilation", (2, 2)),
    ),
    "stride": lambda net: setattr(net.stages[0], "stride", (2, 2)),
    "groups": lambda net: (
        setattr(net.conv, "groups", 2),
        setattr(net.conv, "weight", nn.Parameter(net.conv.weight[:, :2].detach().clone())),
    ),
    "statistics moved in training": _train,
    "a layer fused": _fuse,
    "half and back": _half,
    "set_": _set,
    "resize_": _resize,
    "a new buffer": lambda net: net.register_buffer("offset", torch.ones(1, 4, 1, 1)),
    "a write to a buffer": lambda net: net.offset.fill_(2),
    "tied weights": _tie,
    "a hook": _hook,
    "a hook before": _pre_hook,
    "parameters from a vector": _vector,
    "a number of the model": _set_scale,
    "an item of a list in a dictionary": _twice,
    "another memory format": _channels_last,
    "a write to the storage": _through_storage,
    "the bias removed": lambda net: setattr(net.conv, "bias", None),
}
"""By name; each changes what the model computes, the model staying one that can be called."""
