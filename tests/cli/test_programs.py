"""A `.pt2` that would run code is refused by us, and runs it in torch's own loader."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from convsmith.errors import ModelError
from convsmith.network.stored.expressions import is_arithmetic
from convsmith.network.stored.program import load_program

from .test_weights import Evil

Change = Callable[[str, bytes], bytes]


class Net(nn.Module):
    """A network with dynamic sizes, a buffer and a constant, and a check on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.scale = torch.tensor([2.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(x)).relu() * self.scale
        size = (y.shape[2] // 2, y.shape[3] * 2)
        return nn.functional.interpolate(y, size=size).mean((2, 3))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("programs") / "net.pt2"
    size = torch.export.Dim("size", min=8)
    program = torch.export.export(
        Net().eval(),
        (torch.randn(2, 3, 16, 16),),
        dynamic_shapes={"x": {0: torch.export.Dim("n"), 2: size, 3: size}},
    )
    torch.export.save(program, path)
    return path


def forge(whole: Path, target: Path, change: Change, **added: bytes) -> Path:
    """Copy an archive, its members changed; `added` members have `/` written as `__`."""
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for member in old.namelist():
            root, _, name = member.partition("/")
            new.writestr(member, change(name, old.read(member)))
        for name, content in added.items():
            new.writestr(f"{root}/{name.replace('__', '/')}", content)
    return target


def unchanged(name: str, content: bytes) -> bytes:
    return content


def in_json(prefix: str, edit: Callable[[Any], None]) -> Change:
    def change(name: str, content: bytes) -> bytes:
        if not (name.startswith(prefix) and name.endswith(".json")):
            return content
        document = json.loads(content)
        edit(document)
        return json.dumps(document).encode()

    return change


def every(document: Any, key: str, value: Any) -> None:
    """Give each entry of this name, at any depth, another value."""
    if isinstance(document, dict):
        for name in document:
            if name == key:
                document[name] = value
            else:
                every(document[name], key, value)
    elif isinstance(document, list):
        for item in document:
            every(item, key, value)


def pickled(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def evil_inputs(ran: Path) -> tuple[Change, dict[str, bytes]]:
    def change(name: str, content: bytes) -> bytes:
        inputs = ((Evil(ran),), {})
        return pickled(inputs) if name.startswith("data/sample_inputs") else content

    return change, {}


def evil_weight(ran: Path) -> tuple[Change, dict[str, bytes]]:
    def edit(document: Any) -> None:
        first = next(iter(document["config"].values()))
        first.update(use_pickle=True, path_name="weight_evil")

    return in_json("data/weights/", edit), {"data__weights__weight_evil": pickled(Evil(ran))}


def evil_constant(ran: Path) -> tuple[Change, dict[str, bytes]]:
    def edit(document: Any) -> None:
        document["config"]["evil"] = {
            "path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None
        }  # fmt: skip

    member = "data__constants__opaque_obj_0"
    return in_json("data/constants/", edit), {member: pickle.dumps(Evil(ran))}


def evil_size(ran: Path) -> tuple[Change, dict[str, bytes]]:
    code = f"__import__('os').mkdir({str(ran)!r})"
    return in_json("models/", lambda document: every(document, "expr_str", code)), {}


def evil_import(ran: Path) -> tuple[Change, dict[str, bytes]]:
    (ran.parent / "evil_enum.py").write_text(
        f"import enum, os\nos.mkdir({str(ran)!r})\nclass E(enum.Enum):\n    A = 1\n"
    )
    key = {"__enum__": True, "fqn": "evil_enum:E", "name": "A"}
    spec = {"type": "builtins.dict", "context": json.dumps([key]), "children_spec": []}
    text = json.dumps([1, spec])
    return in_json("models/", lambda document: every(document, "out_spec", text)), {}


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (evil_inputs, "holds pickled objects and is not opened"),
        (evil_weight, "holds pickled objects and is not opened"),
        (evil_constant, "holds a custom object, which is not unpickled"),
        (evil_size, r"is not opened: .*__import__.* could run code"),
        (evil_import, "is not opened: '__enum__' could run code"),
    ],
)
def test_what_would_run_code_is_refused_and_does_not(
    whole: Path, here: Path, monkeypatch: pytest.MonkeyPatch, attack: Any, message: str
) -> None:
    ran = here / "ran"
    change, added = attack(ran)
    path = forge(whole, here / "evil.pt2", change, **added)
    monkeypatch.syspath_prepend(str(here))
    with pytest.raises(ModelError, match=message) as caught:
        load_program(path)
    assert not ran.exists() and "\n" not in str(caught.value)
    # The attack is real: the loader that we do not call directly falls for it.
    with suppress(Exception):
        torch.export.load(path)
    assert ran.exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.mkdir",
        "torch.ops.load_library",
        "torch.ops.aten.relu.__class__",
        "torch.hub.load",
        "builtins.eval",
        "#evil",
    ],
)
def test_operators_from_elsewhere_are_refused(whole: Path, tmp_path: Path, target: str) -> None:
    def edit(document: Any) -> None:
        document["graph_module"]["graph"]["nodes"][0]["target"] = target

    path = forge(whole, tmp_path / "evil.pt2", in_json("models/", edit))
    with pytest.raises(ModelError, match="could run code"):
        load_program(path)


def call(target: str, name: str, **arguments: Any) -> dict[str, Any]:
    """A node of a graph that calls an operator, its dtype by name."""
    inputs = [
        {"name": key, "arg": value, "kind": 2 if key == "dtype" else 1}
        for key, value in arguments.items()
    ]
    return {
        "target": target, "inputs": inputs, "outputs": [{"as_tensor": {"name": name}}],
        "metadata": {}, "is_hop_single_tensor_return": None, "name": name,
    }  # fmt: skip


def test_a_program_that_opens_a_file_is_refused_and_leaves_it(whole: Path, here: Path) -> None:
    """`from_file` maps a file, so that an in-place operator writes into it."""
    (here / "precious").write_bytes(b"precious")

    def edit(document: Any) -> None:
        graph = document["graph_module"]["graph"]
        some = next(iter(graph["tensor_values"].values()))
        mapped = call(
            "torch.ops.aten.from_file.default", "evil",
            filename={"as_string": str(here / "precious")}, shared={"as_bool": True},
            size={"as_int": 8}, dtype={"as_scalar_type": 1},
        )  # fmt: skip
        wiped = call("torch.ops.aten.zero_.default", "wiped", self={"as_tensor": {"name": "evil"}})
        for name in ("evil", "wiped"):
            shape = {"sizes": [{"as_int": 8}], "strides": [{"as_int": 1}], "dtype": 1}
            graph["tensor_values"][name] = {**some, **shape, "requires_grad": False}
        graph["nodes"] += [mapped, wiped]

    path = forge(whole, here / "evil.pt2", in_json("models/", edit))
    with pytest.raises(ModelError, match=r"not opened: '.*from_file\.default' opens a file"):
        load_program(path)
    assert (here / "precious").read_bytes() == b"precious"
    # The attack is real: the loader that we do not call directly falls for it.
    torch.export.load(path).module(check_guards=False)(torch.randn(2, 3, 16, 16))
    assert (here / "precious").read_bytes() == bytes(8)


@pytest.mark.parametrize("target", ["_operator.call", "_operator.attrgetter"])
def test_functions_of_python_that_reach_others_are_refused(
    whole: Path, tmp_path: Path, target: str
) -> None:
    def edit(document: Any) -> None:
        node = call(target, "evil", a={"as_string": "__class__.__base__"})
        document["graph_module"]["graph"]["nodes"].insert(0, node)

    path = forge(whole, tmp_path / "evil.pt2", in_json("models/", edit))
    with pytest.raises(ModelError, match=f"'{target}' could run code"):
        load_program(path)


def test_an_operator_that_is_passed_to_another_is_judged_too(whole: Path, tmp_path: Path) -> None:
    def edit(document: Any) -> None:
        evil = {"as_operator": "torch.ops.aten.from_file.default"}
        document["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"] = evil

    path = forge(whole, tmp_path / "evil.pt2", in_json("models/", edit))
    with pytest.raises(ModelError, match="opens a file"):
        load_program(path)


@pytest.mark.parametrize("part", ["models/", "data/weights/"])
def test_sizes_are_looked_at_before_memory_is_asked_for(
    whole: Path, tmp_path: Path, part: str
) -> None:
    huge = [{"as_int": 1 << 20}] * 3
    path = forge(
        whole, tmp_path / "huge.pt2", in_json(part, lambda document: every(document, "sizes", huge))
    )
    with pytest.raises(ModelError, match="declares a tensor of 1048576×1048576×1048576 values"):
        load_program(path)


def test_a_weight_whose_bytes_are_missing_is_not_made_up(whole: Path, tmp_path: Path) -> None:
    """torch would make zeros of the size that the archive declares."""

    def change(name: str, content: bytes) -> bytes:
        return b"" if name == "data/weights/weight_0" else content

    path = forge(whole, tmp_path / "empty.pt2", change)
    with pytest.raises(ModelError, match=r"'weight_0' is empty"):
        load_program(path)


@pytest.mark.parametrize("inner", [False, True])
def test_what_unpacks_to_more_than_it_holds_is_refused(
    whole: Path, tmp_path: Path, inner: bool
) -> None:
    bomb, stream = tmp_path / "bomb.pt2", io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(1 << 22))
    if inner:
        forge(whole, bomb, unchanged, data__sample_inputs__other=b"")
        forge(whole, bomb, lambda n, c: stream.getvalue() if n.endswith(".pt") else c)
    else:
        with zipfile.ZipFile(whole) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
            for member in old.namelist():
                new.writestr(member, old.read(member))
            new.writestr(f"{member.partition('/')[0]}/extra/x", bytes(1 << 22))
    with pytest.raises(ModelError, match=r"would unpack to [\d,]+ bytes, more than"):
        load_program(bomb)


@pytest.mark.parametrize("device", ["meta", "cuda"])
def test_a_program_stays_on_one_device(whole: Path, tmp_path: Path, device: str) -> None:
    def edit(document: Any) -> None:
        first = next(iter(document["graph_module"]["graph"]["tensor_values"].values()))
        first["device"] = {"type": device, "index": None}

    path = forge(whole, tmp_path / "evil.pt2", in_json("models/", edit))
    with pytest.raises(ModelError, match="expected one device"):
        load_program(path)


def test_compiled_code_is_refused(whole: Path, tmp_path: Path) -> None:
    path = forge(whole, tmp_path / "net.pt2", unchanged, data__aotinductor__model__x=b"ELF")
    with pytest.raises(ModelError, match="holds compiled code, which is not loaded"):
        load_program(path)


def test_an_honest_program_computes_what_the_model_does(whole: Path) -> None:
    example = torch.randn(3, 3, 20, 20)
    program = load_program(whole)
    model = Net().eval()
    model.load_state_dict(program.state_dict)
    assert torch.equal(program.module(check_guards=False)(example), model(example))


def test_checks_in_python_are_left_out(whole: Path) -> None:
    assert torch.export.load(whole)._guards_code
    assert not load_program(whole)._guards_code


def test_a_copy_without_change_still_loads(whole: Path, tmp_path: Path) -> None:
    """The forged archives above fail for what was forged, not for being copies."""
    load_program(forge(whole, tmp_path / "copy.pt2", unchanged))


@pytest.mark.parametrize("variable", ["TORCH_FORCE_WEIGHTS_ONLY_LOAD", None])
def test_the_environment_is_as_before(
    whole: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    before = dict(os.environ)
    load_program(whole)
    assert dict(os.environ) == before


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt2").write_bytes(content)
    with pytest.raises(
        ModelError, match=r"x\.pt2 was not written by torch\.export\.save: "
    ) as caught:
        load_program(tmp_path / "x.pt2")
    assert "\n" not in str(caught.value)


def test_nothing_is_printed_for_a_file_that_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.pt2").write_bytes(b"no archive")
    with pytest.raises(ModelError):
        load_program(tmp_path / "x.pt2")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s0', positive=True, integer=True)",
        "Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(-4))",
        "Max(Integer(1), FloorDiv(Symbol('s53'), Integer(2)))",
        "2*s0 + s1//2",
        "s0 >= 1",
        "Float('1.5', precision=53)",
        "int_oo",
        "Pow(Symbol('s0', positive=True), Rational(-1, 2))",
        "PowByNatural(s0, 2) + s1**2",
    ],
)
def test_sizes_are_arithmetic(text: str) -> None:
    assert is_arithmetic(text)


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "exec(chr(49))",
        "().__class__",
        "s0.__class__",
        "s0.func(1)",
        "[x for x in (1,)]",
        "(lambda: 1)()",
        "f'{s0}'",
        "Symbol('__import__(\"os\")')",
        "Add('exec(1)', 1)",
        "Symbol(*s0)",
        "s0[0]",
        "Add(1, 1)(2)",
        "__import__",
        "x := 1",
        "1 if s0 else eval",
        "9**9**9",
        "Pow(Integer(10), Integer(1000000000))",
        "Pow(Pow(Symbol('s0'), Integer(64)), Integer(64))",
        "Pow(2, s0)",
        "1 << 10**9",
        "LShift(1, 1000000000)",
        "Float('1', precision=1000000000)",
        "Float('1e1000000000')",
        "9" * 100,
        "s0 + " * 2000 + "s0",
        "b'1'",
        "1j",
        "",
        "s0!",
        "(" * 10_000,
    ],
)
def test_what_is_no_arithmetic_is_refused(text: str) -> None:
    assert not is_arithmetic(text)
