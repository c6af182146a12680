"""Every operator of this torch is allowed or refused with its reason, by rules on its schema."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from convsmith.network.families import FAMILY_OF
from convsmith.network.stored.operators import refusal

SCHEMAS = torch._C._jit_get_all_schemas()


def target(schema: Any) -> str:
    return f"torch.ops.{schema.name.replace('::', '.')}.{schema.overload_name or 'default'}"


ALLOWED = [schema for schema in SCHEMAS if not refusal(target(schema))]


def test_every_operator_is_allowed_or_refused_with_its_reason() -> None:
    assert len(SCHEMAS) > 4000 and 1000 < len(ALLOWED) < len(SCHEMAS) // 2
    for schema in SCHEMAS:
        reason = refusal(target(schema))
        assert not reason or re.fullmatch(r"[a-z].*[^.]", reason), target(schema)


def test_what_is_allowed_takes_tensors_numbers_and_words_only() -> None:
    texts = set()
    for schema in ALLOWED:
        assert schema.name.startswith("aten::"), schema
        for argument in schema.arguments:
            kind = str(argument.type)
            assert not re.search(r"Storage|Stream|Dict|Any|Future|RRef|classes|Enum", kind), schema
            if "str" in kind:
                texts.add(argument.name)
            if argument.alias_info is not None and argument.alias_info.is_write:
                assert not argument.kwarg_only and "Tensor" in kind, schema
    assert not {word for word in texts if re.search(r"file|path|name|code|url|lib", word)}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("aten.from_file.default", "opens a file"),
        ("aten.from_file.out", "opens a file"),
        ("aten.save.default", "could run code"),
        ("aten.set_.source_Storage", "Storage"),
        ("aten.set_.source_Tensor", "memory behind a tensor"),
        ("aten.resize_.default", "memory behind a tensor"),
        ("aten.as_strided_.default", "memory behind a tensor"),
        ("aten._resize_output_.default", "private to torch"),
        ("aten._index_put_impl_.default", "can skip the check"),
        ("aten._sparse_coo_tensor_unsafe.default", "backend|private"),
        ("aten._nested_view_from_buffer.default", "private to torch"),
        ("aten.max_pool2d_with_indices_backward.default", "computes gradients"),
        ("aten.linalg_lu_solve.default", "trusts positions"),
        ("aten.pin_memory.default", "moves tensors between devices"),
        ("aten.record_stream.default", "Stream"),
        ("aten.add.out", "out="),
        ("aten._print.default", "takes a text"),
        ("quantized.linear.default", "belongs to the library 'quantized'"),
        ("prim.rpc_sync.default", "belongs to the library 'prim'"),
        ("c10d.send.default", "belongs to the library 'c10d'"),
        ("evil.run.default", "belongs to the library 'evil'"),
        ("higher_order.triton_kernel_wrapper_mutation", "control structures"),
        ("higher_order.call_torchbind", "control structures"),
        ("higher_order.cond.default", "control structures"),
        ("aten.relu.__class__", "could run code"),
        ("aten.relu", "could run code"),
    ],
)
def test_what_does_more_than_compute_is_refused(name: str, reason: str) -> None:
    assert re.search(reason, refusal(f"torch.ops.{name}"))


@pytest.mark.parametrize(
    "name",
    ["_operator.call", "_operator.attrgetter", "_operator.methodcaller", "_operator.setitem",
     "_operator.__call__", "math.factorial", "torch.load", "torch.hub.load", "torch.os.system",
     "builtins.eval", "os.system", "#evil", "", "torch.ops", "torch.ops.aten",
     "torch.ops.aten.from_file.default\n", "torch.ops.aten.rélu.default"],
)  # fmt: skip
def test_functions_that_are_no_operators_are_refused(name: str) -> None:
    assert refusal(name).startswith("could run code")


@pytest.mark.parametrize(
    "name",
    ["aten.conv2d.default", "aten.relu_.default", "aten.to.dtype", "aten.add_.Tensor",
     "aten.__and__.Tensor", "aten.batch_norm.default", "aten._unsafe_view.default",
     "aten._assert_tensor_metadata.default", "aten.sym_size.int", "aten.conv2d.padding",
     "aten._native_batch_norm_legit_no_training.default", "aten.einsum.default",
     "aten.scaled_dot_product_attention.default", "higher_order.wrap_with_set_grad_enabled"],
)  # fmt: skip
def test_what_networks_export_is_allowed(name: str) -> None:
    assert refusal(f"torch.ops.{name}") == ""


def test_every_operation_that_the_product_knows_is_allowed() -> None:
    names = {schema.name.removeprefix("aten::") for schema in ALLOWED}
    known = {name.partition(".")[0] for name in FAMILY_OF} - {"getitem"}  # Python's own
    # Those of the runtime's own graphs, which are never stored.
    known -= {
        "adaptive_maxima_pool2d", "channel_argmax", "channel_convolution", "channel_norm",
        "channel_response_norm", "channel_rms_norm",
    }  # fmt: skip
    assert known <= names, known - names


class Zoo(nn.Module):
    """As many kinds of layers as one forward has room for."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding="same"), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
            nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=8), nn.GroupNorm(2, 8), nn.SiLU(),
            nn.Dropout(0.1), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Hardswish(),
            nn.InstanceNorm2d(8), nn.AdaptiveAvgPool2d(4), nn.ConvTranspose2d(8, 8, 2), nn.PReLU(),
            nn.PixelShuffle(2), nn.Flatten(2),
        )  # fmt: skip
        self.attention = nn.MultiheadAttention(100, 4, batch_first=True)
        self.lstm = nn.LSTM(100, 10, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        y = y + self.attention(y, y, y)[0]
        z, _ = self.lstm(y)
        return torch.where(z > 0, z, torch.zeros_like(z)).softmax(-1)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("decomposed", [False, True])
def test_an_honest_network_has_no_operator_that_is_refused(train: bool, decomposed: bool) -> None:
    program = torch.export.export(Zoo().train(train), (torch.randn(2, 3, 16, 16),))
    program = program.run_decompositions() if decomposed else program
    called = {node.target for node in program.graph.nodes if node.op == "call_function"}
    names = {
        f"torch.ops.{target}" for target in called if isinstance(target, torch._ops.OpOverload)
    }
    assert len(names) > 10
    assert {name: reason for name in names if (reason := refusal(name))} == {}
