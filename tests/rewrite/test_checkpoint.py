"""A run on disk: of one run alone, read without running anything, whole or not at all."""

from __future__ import annotations

import copy
import os
import pickle

import pytest
import torch
from torch import nn

from convsmith.errors import ArgumentError, ModelError
from convsmith.rewrite.lightening.tune.checkpoint import Checkpoint, fingerprint

RUN = {"network": "abc", "seed": 0, "forms": ["tucker"], "rate": 0.1}


def test_values_and_tensors_come_back(tmp_path):
    checkpoint = Checkpoint(tmp_path / "new" / "deep", RUN)
    assert checkpoint.read("choices.json") is None and checkpoint.load("stage.pt") is None
    checkpoint.write("choices.json", {"a": [1, 2]})
    state = {"x": torch.randn(3, dtype=torch.bfloat16), "losses": [0.1, 0.2], "step": 3}
    checkpoint.save("stage.pt", state)
    again = Checkpoint(tmp_path / "new" / "deep", RUN)
    assert again.read("choices.json") == {"a": [1, 2]}
    loaded = again.load("stage.pt")
    assert torch.equal(loaded.pop("x"), state.pop("x")) and loaded == state
    assert sorted(path.name for path in (tmp_path / "new" / "deep").iterdir()) == [
        "choices.json", "run.json", "stage.pt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [("network", "abd"), ("seed", 1), ("forms", []), ("rate", 0.2), ("more", 1)]
)
def test_another_run_is_refused_and_what_differs_is_named(tmp_path, name, value):
    Checkpoint(tmp_path, RUN)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(
        ArgumentError,
        match=rf"is of another run: its {name} is .*, not {value!r}".replace("[", r"\["),
    ):
        Checkpoint(tmp_path, RUN | {name: value})
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize("content", ["{", "[]", "3", "\x00"])
def test_a_damaged_record(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ModelError, match=r"run\.json cannot be read"):
        Checkpoint(tmp_path, RUN)


@pytest.mark.parametrize("end", [0, 10, -100])
def test_damaged_tensors(tmp_path, end):
    checkpoint = Checkpoint(tmp_path, RUN)
    checkpoint.save("stage.pt", {"x": torch.randn(100)})
    path = tmp_path / "stage.pt"
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ModelError, match=r"checkpoint .*stage\.pt cannot be read: \S"):
        checkpoint.load("stage.pt")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_not_run(tmp_path):
    checkpoint, trace = Checkpoint(tmp_path, RUN), tmp_path / "it ran"
    torch.save({"student": Evil(trace)}, tmp_path / "stage.pt")
    with pytest.raises(ModelError, match="cannot be read"):
        checkpoint.load("stage.pt")
    raw = pickle.dumps(Evil(trace), protocol=2)
    (tmp_path / "stage.pt").write_bytes(raw)
    with pytest.raises(ModelError, match="cannot be read"):
        checkpoint.load("stage.pt")
    assert not trace.exists()
    pickle.loads(raw)
    assert trace.exists(), "or else the file would prove nothing"


def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path, RUN)
    checkpoint.save("stage.pt", {"step": 1})

    def interrupted(state, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save("stage.pt", {"step": 2})
    assert checkpoint.load("stage.pt") == {"step": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "stage.pt"]


def test_a_second_run_on_one_checkpoint_is_refused(tmp_path):
    checkpoint, again = Checkpoint(tmp_path, RUN), Checkpoint(tmp_path, RUN)
    refused = pytest.raises(ArgumentError, match="in use by another run")
    with checkpoint.alone(), refused, again.alone():
        pass
    with again.alone():
        pass


def test_a_full_disk_is_an_error_of_one_line(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path, RUN)

    def full(state, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ArgumentError, match=r"cannot be written: No space left on device"):
        checkpoint.save("stage.pt", {"step": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_part_is_apart(tmp_path):
    checkpoint = Checkpoint(tmp_path, RUN)
    checkpoint.save("stage.pt", {"step": 1})
    part = checkpoint.part("b")
    assert part.load("stage.pt") is None
    part.save("stage.pt", {"step": 2})
    assert checkpoint.load("stage.pt") == {"step": 1}
    assert (tmp_path / "b" / "stage.pt").exists()


def test_a_fingerprint_tells_networks_apart():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    same = copy.deepcopy(net)
    assert fingerprint(net) == fingerprint(same.eval())
    with torch.no_grad():
        same[0].bias[1] += 1e-6
    assert fingerprint(net) != fingerprint(same)
    for changed in (copy.deepcopy(net).double(), nn.Sequential(net[0])):
        assert fingerprint(net) != fingerprint(changed)
    norm = copy.deepcopy(net)
    norm[1].num_batches_tracked += 1
    assert fingerprint(net) != fingerprint(norm)
