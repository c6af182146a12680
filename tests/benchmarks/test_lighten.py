"""The benchmarks of `lighten`: goals by the mean over the seeds, and runs of the same call."""

from __future__ import annotations

from argparse import ArgumentParser

import pytest
import torch
from torch import nn

from benchmarks import lighten, lighten_tables, repeat
from benchmarks.garments import Data
from benchmarks.learning import accuracy
from benchmarks.lighten_cases import NARROW, TRAINED, UNTRAINED, Case, Goal
from convsmith.measure import latency
from convsmith.rewrite.lightening import fidelity

GOALS = {"net": Goal(0.003, 0.005, 0.001)}


def row(what, seed, drop, speedup):
    return {
        "network": "net", "what": what, "seed": seed, "batch": 1, "params": 1000, "score": 0.9,
        "drop": drop, "ms": 1.0, "speedup": speedup, "from_eager": 3.0,
    }  # fmt: skip


def promise(ms, predicted=1.0):
    return {
        "network": "net", "seed": 1, "target": "2×", "predicted": predicted, "ms": ms,
        "speedup": 2.0, "forms": "",
    }  # fmt: skip


def test_goals_are_of_the_mean_over_the_seeds():
    good = [row(UNTRAINED.name, seed, 0.001 * seed, 1.95) for seed in range(5)]
    assert lighten_tables.missed(good, [promise(1.09)], GOALS) == []
    bad = [row(UNTRAINED.name, 0, 0.01, 2.0), row(UNTRAINED.name, 1, 0.0, 1.6)]
    assert lighten_tables.missed(bad, [promise(1.2)], GOALS) == [
        f"net, {UNTRAINED.name}: 1.80× instead of 2×; 0.50 points lost instead of 0.3",
        "net, seed 1, 2×: 1.000 ms predicted, 1.200 measured",
    ]


@pytest.mark.parametrize(("way", "goal"), [(UNTRAINED, 0.3), (TRAINED, 0.5), (NARROW, 0.1)])
def test_each_way_has_a_goal_of_its_own(way, goal):
    found = lighten_tables.missed([row(way.name, 0, 0.1, 9.0)], [], GOALS)
    assert found == [f"net, {way.name}: 10.00 points lost instead of {goal}"]


def test_the_table_has_a_row_for_each_way_with_mean_and_spread():
    rows = [row(TRAINED.name, seed, 0.002 * seed, 4.0) for seed in range(3)]
    facts = {"threads": 1, "seeds": [0, 1, 2], "epochs": 3, "images": 8000}
    networks, _ = lighten.tables({"rows": rows, "promised": [promise(1.0)], **facts})
    (line,) = networks.rows
    cells = dict(zip((column.key for column in networks.columns), line))
    assert cells["drop"] == "0.20 (0.00 – 0.40)" and cells["speedup"] == "4.00×"


def repeated(speedup, ms=1.0, score=0.9):
    return {
        "network": "net", "predicted": 1.0, "ms": ms, "speedup": speedup, "score": score, "run": 1,
        "forms": [],
    }  # fmt: skip


def test_nine_of_ten_runs_have_to_be_near():
    assert repeat.missed([repeated(2.09)] * 9 + [repeated(4.0)], 2.0) == []
    assert repeat.missed([repeated(1.91, ms=1.2)] * 8 + [repeated(1.8)] * 2, 2.0) == [
        "net: 8 of 10 runs within 5% of 2×",
        "net: 2 of 10 runs within 10% of what was predicted",
    ]
    apart = [repeated(2.0), repeated(2.0, score=0.897)]
    assert repeat.missed(apart, 2.0) == ["net: accuracies 0.30 points apart instead of 0.2"]


def small(options):
    """A network and images that take no time."""
    torch.manual_seed(0)
    images, labels = torch.rand(64, 3, 12, 12), torch.arange(64) % 4
    data = Data(images, labels, images, labels)

    def make():
        return nn.Sequential(
            nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4),
        )  # fmt: skip

    return [
        Case(
            "net", make, data, accuracy(data), lambda model, seed: model.eval(), None, 16, 4, 32,
            32, GOALS["net"],
        )
    ]  # fmt: skip


@pytest.mark.slow
def test_both_run_through(monkeypatch, tmp_path, counted):
    monkeypatch.setattr(fidelity, "latency", lambda calls, seconds: latency(calls, seconds=0))
    for module in (lighten, repeat):
        monkeypatch.setattr(module, "cases", small)
    ways = [way._replace(speedup=1.5) for way in (UNTRAINED, TRAINED, NARROW)]
    monkeypatch.setattr(lighten, "WAYS", ways)
    monkeypatch.setattr(lighten, "TARGETS", ())
    parser = ArgumentParser()
    lighten.options(parser)
    words = ["--folder", str(tmp_path), "--epochs", "1", "--seeds", "1", "--no-rivals"]
    result = lighten.run(parser.parse_args(words))
    names = {row["what"] for row in result["rows"]}
    assert {"original", UNTRAINED.name, TRAINED.name, "control"} <= names
    assert {row["seed"] for row in result["rows"]} == {1} and lighten.tables(result)
    parser = ArgumentParser()
    repeat.options(parser)
    words = ["--folder", str(tmp_path), "--runs", "1", "--speedup", "1.5"]
    result = repeat.run(parser.parse_args(words))
    assert [row["run"] for row in result["rows"]] == [1] and repeat.tables(result)[0].rows
