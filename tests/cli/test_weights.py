"""Weights into a model: whole or refused, and never by running what a file brings."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from convsmith.cli.weights import load_weights, read_weights
from convsmith.errors import ArgumentError, ModelError


class Evil:
    """What runs code when it is unpickled: here, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def same(model: nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin", ".ckpt"])
def test_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    weights = network().state_dict()
    path = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(weights, path)
    model = network()
    assert not same(model, weights)
    load_weights(model, path)
    assert same(model, weights)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {"state_dict": w, "epoch": 3},
        lambda w: {"model": w, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda w: {"model_state_dict": w},
        lambda w: {"model": {"state_dict": w, "name": "net"}},
        lambda w: {"params_of_mine": w, "epoch": 3},
        lambda w: {f"module.{k}": v for k, v in w.items()},
        lambda w: {f"_orig_mod.{k}": v for k, v in w.items()},
        lambda w: {"state_dict": {f"module._orig_mod.{k}": v for k, v in w.items()}},
        lambda w: {"state_dict": {f"_orig_mod.module.{k}": v for k, v in w.items()}},
    ],
)
def test_checkpoints_and_wrappers(tmp_path: Path, wrap: Any) -> None:
    weights = network().state_dict()
    torch.save(wrap(dict(weights)), tmp_path / "w.pth")
    model = network()
    load_weights(model, tmp_path / "w.pth")
    assert same(model, weights)


def test_a_model_that_has_a_child_called_module_keeps_its_names(tmp_path: Path) -> None:
    wrapped = nn.Module()
    wrapped.module = network()
    torch.save(wrapped.state_dict(), tmp_path / "w.pth")
    other = nn.Module()
    other.module = network()
    load_weights(other, tmp_path / "w.pth")
    assert same(other, wrapped.state_dict())


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight


def test_shared_weights_that_safetensors_wrote_once(tmp_path: Path) -> None:
    model = Tied()
    save_model(model, str(tmp_path / "w.safetensors"))
    other = Tied()
    load_weights(other, tmp_path / "w.safetensors")
    assert same(other, model.state_dict())


def test_without_counts_of_batches_as_old_checkpoints_are(tmp_path: Path) -> None:
    weights = {k: v for k, v in network().state_dict().items() if "num_batches" not in k}
    save_file(weights, tmp_path / "w.safetensors")
    load_weights(network(), tmp_path / "w.safetensors")


def _without(key: str) -> Any:
    return lambda w: {k: v for k, v in w.items() if not k.startswith(key)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("2.weight"), r"does not fit tiny: missing '2.weight'$"),
        (_without("2."), r"missing '2.weight' \(and 1 more\)$"),
        (lambda w: {**w, "x": w["0.bias"]}, "does not fit tiny: unexpected 'x'$"),
        (
            lambda w: {("9" + k[1:] if k[0] == "2" else k): v for k, v in w.items()},
            r"missing '2.weight' \(and 1 more\), unexpected '9.weight' \(and 1 more\)$",
        ),
        (
            lambda w: {**w, "0.weight": torch.zeros(4, 3, 5, 5)},
            r"'0.weight' is \(4, 3, 5, 5\) in the file and \(4, 3, 3, 3\) in the model$",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, change: Any, message: str) -> None:
    torch.save(change(dict(network().state_dict())), tmp_path / "w.pth")
    with pytest.raises(ModelError, match=message):
        load_weights(network(), tmp_path / "w.pth", "tiny")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no state_dict: it is empty"),
        ({"epoch": 3, "lr": 0.1}, r"holds no state_dict: its keys are 'epoch' \(and 1 more\)"),
        (
            {"a": {"x": torch.zeros(1)}, "b": {"x": torch.zeros(1)}},
            "holds no state_dict: its keys are 'a'",
        ),
        ([torch.zeros(1)], "holds a list, not a state_dict"),
        (torch.zeros(1), "holds a Tensor, not a state_dict"),
    ],
)
def test_files_without_a_state_dict(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=message):
        read_weights(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["state_dict", "legacy", 2, 4, 5])
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path, kind: str | int) -> None:
    path, ran = tmp_path / "w.pth", tmp_path / "ran"
    content = {"0.weight": torch.zeros(1), "evil": Evil(ran)}
    bare = isinstance(kind, int)
    if bare:
        path.write_bytes(pickle.dumps(Evil(ran), protocol=kind))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "state_dict")
    with pytest.raises(ModelError) as caught:
        read_weights(path)
    assert not ran.exists()
    assert "\n" not in str(caught.value)
    assert "holds code besides tensors" in str(caught.value)
    # The later protocols are refused before their names are read.
    assert kind in (4, 5) or "tensors (posix.mkdir) and" in str(caught.value)
    assert "torch.save(model.state_dict(), 'weights.pth')" in str(caught.value)
    # The file is a real attack: any loader that trusts it runs its code.
    with path.open("rb") as stream:
        pickle.load(stream) if bare else torch.load(stream, weights_only=False)
    assert ran.exists()


def test_a_pickled_model_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"\(torch\.nn\.modules\.[\w.]+\) and is not unpickled"):
        read_weights(tmp_path / "w.pth")


def test_a_checkpoint_with_other_objects_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"model": {}, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"\(argparse\.Namespace\)"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_program_is_told_apart(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="is a TorchScript program, not weights"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("damage", ["empty", "half", "text"])
def test_a_damaged_file_is_named(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(network().state_dict(), path)
    whole = path.read_bytes()
    parts = {"empty": b"", "half": whole[: len(whole) // 2], "text": b"no weights at all"}
    path.write_bytes(parts[damage])
    with pytest.raises(ModelError, match=rf"w\{suffix} cannot be read") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.npz", "w.h5", "w", "w.pkl"])
def test_other_kinds_of_file_are_refused_before_they_are_opened(name: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"weights are read from \.safetensors, \.pth, .*not fr"
    ):
        read_weights(name)


def test_a_missing_file_comes_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(ModelError, match=r"no file .*; did you mean 'weights\.pth'"):
        read_weights(tmp_path / "wieghts.pth")
