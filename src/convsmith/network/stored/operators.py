"""Which operators a stranger's program may call: those that only compute from their arguments.

The verdict follows from the operator's schema in this torch, so that an operator that a later
torch adds is judged by the same rules: it may take tensors, numbers and a few words that choose
an algorithm; it may write to tensors it was given, but never to a file, another device or a
tensor's storage. Operators whose name begins with an underscore are private to torch, and some
skip the checks that keep them within a tensor's memory: those are allowed by name only.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

__all__ = ["refusal"]

# What a schema may mention, bare or in Optional[...] and List[...].
_PLAIN = frozenset(["Tensor", "int", "float", "bool", "number", "complex", "str", "Device",
                    "Generator"])  # fmt: skip
# Arguments of text that choose how something is computed, or are shown when an assertion fails.
_WORDS = frozenset(["UPLO", "approximate", "assert_msg", "driver", "equation", "indexing",
                    "interpolation", "mode", "norm", "ord", "p", "pad_mode", "padding",
                    "padding_side", "reduce", "rounding_mode", "side"])  # fmt: skip
# Private names that torch.export and its decompositions write.
_PRIVATE = frozenset([
    "__and__", "__iand__", "__ilshift__", "__ior__", "__irshift__", "__ixor__", "__lshift__",
    "__or__", "__rshift__", "__xor__", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d",
    "_assert_async", "_assert_scalar", "_assert_tensor_metadata", "_batch_norm_no_update",
    "_batch_norm_with_update", "_batch_norm_with_update_functional", "_cdist_forward", "_conj",
    "_conj_physical", "_convolution", "_convolution_mode", "_embedding_bag", "_fft_c2c",
    "_fft_c2r", "_fft_r2c", "_functional_assert_async", "_functional_assert_scalar",
    "_fused_rms_norm", "_local_scalar_dense", "_log_softmax", "_native_batch_norm_legit",
    "_native_batch_norm_legit_functional", "_native_batch_norm_legit_no_training",
    "_native_multi_head_attention", "_neg_view", "_pdist_forward", "_prelu_kernel",
    "_reshape_alias", "_safe_softmax", "_scaled_dot_product_attention_math",
    "_scaled_dot_product_flash_attention_for_cpu", "_shape_as_tensor", "_softmax", "_stack",
    "_to_copy", "_trilinear", "_unique2", "_unsafe_index", "_unsafe_view",
    "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "_weight_norm",
    "_weight_norm_interface",
])  # fmt: skip
_MOVES = "moves tensors between devices"
_STORAGE = "changes the memory behind a tensor"
_HISTORY = "works on the record of gradients"
_TRUSTS = "trusts positions that a file could forge"
_REFUSED = {
    "cpu": _MOVES, "cuda": _MOVES, "pin_memory": _MOVES, "is_pinned": _MOVES,
    "record_stream": _MOVES,
    "set": _STORAGE, "set_": _STORAGE, "set_data": _STORAGE, "data": _STORAGE,
    "resize": _STORAGE, "resize_": _STORAGE, "resize_as": _STORAGE, "resize_as_": _STORAGE,
    "as_strided_": _STORAGE, "swap": _STORAGE,
    "requires_grad_": _HISTORY, "retain_grad": _HISTORY, "retains_grad": _HISTORY,
    "output_nr": _HISTORY, "is_leaf": _HISTORY, "embedding_renorm_": _HISTORY,
    "ctc_loss": _TRUSTS,
}  # fmt: skip
# Formats other than plain tensors, and kernels of one vendor, which check less.
_FORMATS = re.compile(
    r"(cudnn|miopen|mkldnn|mps|fbgemm|quantized|fused_moving|sparse|hspmm|sspaddmm"
    r"|nested|segment_reduce|ccol|crow|to_(sparse|mkldnn|padded)|q_|quantize|dequantize|int_repr"
    r"|coalesce|is_coalesced|copy_sparse|smm|chalf).*|.*(_sparse|_mkldnn|_sparse_backward"
    r"|_mps|_cudnn|quantized.*)_?|(col|row)_indices(_copy)?|(indices|values)(_copy)?|per_channel.*"
)
# LAPACK takes these as they are.
_POSITIONS = ("pivots", "LU_pivots")
_HIGHER_ORDER = frozenset(
    ["cond", "hints_wrapper", "invoke_subgraph", "map_impl", "scan", "wrap_with_autocast",
     "wrap_with_set_grad_enabled"]
)  # fmt: skip
# What a program computes sizes with; `_operator.call` and `attrgetter` would reach any function.
_SIZES = frozenset(
    [f"_operator.{name}" for name in (
        "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "le", "lshift", "lt", "mod", "mul",
        "ne", "neg", "or_", "pos", "pow", "rshift", "sub", "truediv",
    )]
    + [f"math.{name}" for name in ("ceil", "floor", "sqrt", "trunc")]
    + [f"torch.{name}" for name in (
        "sym_float", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sqrt", "sym_sum",
        "_sym_sqrt", "_C._set_grad_enabled",
        "amp.autocast_mode._enter_autocast", "amp.autocast_mode._exit_autocast",
    )]
)  # fmt: skip
# These take no tensors: they state what a size is.
_BOUNDS = frozenset(["_assert_scalar", "_functional_assert_scalar", "sym_constrain_range",
                     "sym_constrain_range_for_size"])  # fmt: skip
_NAME = re.compile(r"torch\.ops\.(\w+)\.(\w+)(?:\.(\w+))?", re.ASCII)


def refusal(target: str) -> str:
    """Say why a program may not call an operator; '' if it may.

    Args:
        target: the operator as an archive names it, such as `torch.ops.aten.relu.default`.

    >>> refusal("torch.ops.aten.conv2d.default"), refusal("torch.ops.aten.from_file.default")
    ('', 'opens a file')
    >>> refusal("os.system")
    'could run code: it is not an operator on tensors'
    """
    if target in _SIZES:
        return ""
    match = _NAME.fullmatch(target)
    if match is None:
        return "could run code: it is not an operator on tensors"
    library, name, overload = match.groups()
    if library == "higher_order":
        known = overload is None and name in _HIGHER_ORDER
        return "" if known else "is not one of the control structures that are allowed"
    if library != "aten":
        return f"belongs to the library {library!r}, not to PyTorch's own operators"
    schemas = _schemas(name)
    schema = schemas.get("" if overload == "default" else overload) if overload else None
    if schema is None:
        return "could run code: this torch has no such operator"
    return _refusal(name, schema)


@cache
def _schemas(name: str) -> dict[str, Any]:
    import torch

    # The builtins of TorchScript have schemas, too, but are not in the dispatcher.
    known = _dispatched()
    return {
        schema.overload_name: schema
        for schema in torch._C._jit_get_schemas_for_operator(f"aten::{name}")
        if f"aten::{name}.{schema.overload_name}".rstrip(".") in known
    }


@cache
def _dispatched() -> frozenset[str]:
    import torch

    return frozenset(torch._C._dispatch_get_all_op_names())


def _refusal(name: str, schema: Any) -> str:
    taken = list(schema.arguments)
    for argument in taken:
        if argument.name == "filename":
            return "opens a file"
        if "str" in str(argument.type) and argument.name not in _WORDS:
            return f"takes a text, {argument.name!r}"
        if argument.name == "unsafe":
            return "can skip the check that it stays within a tensor"
        if argument.kwarg_only and _writes(argument):
            return "writes into tensors passed as out=, which an exported program never does"
    for value in (*taken, *schema.returns):
        kind = re.sub(r"Optional|List|[\[\]]", "", str(value.type))
        if kind not in _PLAIN:
            return f"takes or returns a {kind}, which is neither a tensor nor a number"
    tensors = any("Tensor" in str(value.type) for value in (*taken, *schema.returns))
    if not tensors and name not in _BOUNDS:
        return "does not compute a tensor"
    if name in _REFUSED:
        return _REFUSED[name]
    if "_backward" in name:
        return "computes gradients, which no program needs"
    if any(argument.name in _POSITIONS for argument in taken):
        return _TRUSTS
    if _FORMATS.fullmatch(name):
        return "is for one backend or storage format, whose operators check less"
    if name.startswith("_") and name.rstrip("_") not in _PRIVATE and name not in _PRIVATE:
        return "is private to torch"
    return ""


def _writes(argument: Any) -> bool:
    return argument.alias_info is not None and bool(argument.alias_info.is_write)
