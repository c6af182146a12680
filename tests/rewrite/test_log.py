"""What is told of each epoch: to a function, to files, and to loggers of others."""

from __future__ import annotations

import csv
from functools import partial

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import CSVLogger

import convsmith as cs
from convsmith.errors import ArgumentError, MissingExtra
from convsmith.rewrite import Epoch, Run, Timing, Tuning
from tests.rewrite.fakes import chain, labelled, pictures, same

pytestmark = pytest.mark.usefixtures("counted")
IMAGES = pictures()
lighten = partial(
    cs.lighten, chain(), IMAGES, speedup=1.6, train=labelled(IMAGES), epochs=3,
    timing=Timing(compiled=False),
)  # fmt: skip


class Noted:
    """A logger."""

    def __init__(self):
        self.lines = []

    def log_metrics(self, metrics, step=None):
        self.lines.append((step, dict(metrics)))


def test_a_function_is_called_after_each_epoch():
    seen = []
    light = lighten(run=Run(progress=False, on_epoch=seen.append))
    assert all(isinstance(epoch, Epoch) and epoch.of == 3 for epoch in seen)
    found = [(epoch.stage, epoch.number) for epoch in seen]
    assert found == [(stage, n) for stage in ("fine-tuning", "control") for n in (1, 2, 3)]
    assert tuple(epoch.loss for epoch in seen[:3]) == light.report.losses
    assert seen[0].model is light.model and seen[3].model is light.control
    rates = [epoch.learning_rate for epoch in seen[:3]]
    assert rates == sorted(rates, reverse=True) and 0 < rates[-1] < 0.02


def test_what_it_draws_or_sets_changes_nothing(tmp_path):
    """Also for a run that goes on without those epochs for which it was called before."""

    def disturb(epoch):
        torch.rand(7)
        epoch.model.eval()
        if stop and epoch.number == 2:
            raise KeyboardInterrupt

    plain = lighten(run=Run(progress=False))
    stop = True
    run = Run(progress=False, on_epoch=disturb, checkpoint=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        lighten(run=run)
    stop = False
    light = lighten(run=run)
    assert same(light.model, plain.model) and same(light.control, plain.control)


def test_loggers_are_told_and_those_of_a_fabric_as_well():
    own, of_fabric = Noted(), Noted()
    fabric = Fabric(accelerator="cpu", devices=1, loggers=[of_fabric])
    fabric.launch()
    light = lighten(run=Run(progress=False, log=[own], fabric=fabric), tuning=Tuning(control=False))
    assert own.lines == of_fabric.lines and [step for step, _ in own.lines] == [1, 2, 3]
    losses = tuple(metrics["fine-tuning/loss"] for _, metrics in own.lines)
    assert losses == light.report.losses


@pytest.mark.parametrize("kind", ["folder", "logger"])
def test_a_folder_gets_a_table_of_all_epochs(tmp_path, kind):
    for number in range(2):  # each run has its own
        log = tmp_path if kind == "folder" else [CSVLogger(tmp_path, flush_logs_every_n_steps=1)]
        light = lighten(run=Run(progress=False, log=log), tuning=Tuning(control=False))
        (path,) = tmp_path.rglob(f"version_{number}/metrics.csv")
        rows = list(csv.DictReader(path.open()))
        assert [int(row["step"]) for row in rows] == [1, 2, 3]
        assert tuple(float(row["fine-tuning/loss"]) for row in rows) == light.report.losses


@pytest.mark.parametrize("log", [3, [print], "".join, {"a": 1}])
def test_what_is_no_log_is_refused(log):
    with pytest.raises(ArgumentError, match="log must be a folder or a list of loggers"):
        Run(log=log)


def test_without_fabric_a_folder_names_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "lightning_fabric.loggers", None)
    with pytest.raises(MissingExtra, match=r"a log of epochs needs lightning-fabric: .*\[train\]"):
        lighten(run=Run(progress=False, log=tmp_path))
