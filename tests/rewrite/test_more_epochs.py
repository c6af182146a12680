"""Checkpoints: interrupted anywhere, resumed, and resumed with more epochs, to the same bits."""

from __future__ import annotations

import random
import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from convsmith.errors import ArgumentError
from convsmith.rewrite import Run, Tuning, lighten
from convsmith.rewrite.lightening.tune.batches import Replayed
from convsmith.rewrite.lightening.tune.checkpoint import Checkpoint
from convsmith.rewrite.lightening.tune.distil import distil
from convsmith.rewrite.lightening.tune.schedule import Pace, Schedule
from tests.rewrite.fakes import chain, labelled, pictures, same

IMAGES = torch.linspace(-1, 1, 24 * 2 * 4 * 4).reshape(24, 2, 4, 4).sin()
LABELS = torch.arange(24) % 3


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip


class Noisy(Dataset):
    """Images with noise from each of the sources of random numbers that people use."""

    def __len__(self):
        return 24

    def __getitem__(self, i):
        noise = random.random() + float(np.random.rand()) + float(torch.rand(()))
        return IMAGES[i] + 0.1 * noise, LABELS[i]


class Stream(IterableDataset):
    """Epochs of different lengths, of which a loader does not know how long they are."""

    def __init__(self):
        self.epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        for i in torch.randperm(24)[: 24 - 7 * (self.epoch % 3)]:
            yield IMAGES[i], LABELS[i]


def generator():
    for part in torch.randperm(24).split(9):
        yield IMAGES[part] + 0.1 * torch.rand(()), LABELS[part]


DATA = {
    "loader": lambda: DataLoader(Noisy(), batch_size=7, shuffle=True),
    "own generator": lambda: DataLoader(
        Noisy(), batch_size=7, shuffle=True, generator=torch.Generator().manual_seed(4)
    ),
    "stream": lambda: DataLoader(Stream(), batch_size=5),
    "iterator": lambda: Replayed(generator()),
}


class Stop(Exception):
    pass


def run(make, schedule, checkpoint=None, stop=None):
    """Train from the same seeds, up to a number of batches if one is given."""
    random.seed(1)
    np.random.seed(2)
    student = network(1)
    torch.manual_seed(5)
    done = 0

    def advance():
        nonlocal done
        done += 1
        if done == stop:
            raise Stop

    data = make()
    try:
        losses = distil(
            student, network(0).eval(), data, schedule,
            checkpoint=checkpoint, advance=advance,
        )  # fmt: skip
    except Stop:
        return None
    return losses, student, float(torch.rand(())), random.random(), float(np.random.rand())


@pytest.fixture(autouse=True)
def _numbers_as_before():
    states = random.getstate(), np.random.get_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("curve", ["cosine", "wsd"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("trial", range(2))
def test_however_it_came_about_it_is_the_straight_run(tmp_path, data, curve, optimizer, trial):
    """Totals that only grow, each interrupted at random moments, several times."""
    chance = random.Random(f"{data} {curve} {optimizer} {trial}")
    totals = sorted(chance.sample(range(1, 9), 3))
    checkpoint = Checkpoint(tmp_path, {})
    last = None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* begins again")
        for total in totals:
            schedule = Schedule(total, optimizer=optimizer, curve=curve)
            for _ in range(chance.randrange(3)):
                run(DATA[data], schedule, checkpoint, chance.randrange(1, 4 * total + 1))
            last = run(DATA[data], schedule, checkpoint)
    straight = run(DATA[data], schedule)
    assert last[0] == straight[0] and len(last[0]) == totals[-1]
    assert same(last[1], straight[1])
    if data != "iterator":  # which is not gone through once more where nothing is left to do
        assert last[2:] == straight[2:]


def trained(checkpoint, schedule):
    """How many batches of four an epoch are gone through, of which the first were kept."""
    seen = []

    class Counted(Noisy):
        def __getitem__(self, i):
            seen.append(i)
            return super().__getitem__(i)

    run(lambda: DataLoader(Counted(), batch_size=6, shuffle=True), schedule, checkpoint)
    return len(seen) // 24


@pytest.mark.parametrize(
    ("totals", "epochs"),
    [
        ([3, 6], [3, 4]),
        ([3, 4, 9], [3, 2, 7]),
        ([6, 3], [6, 3]),
        ([2, 2], [2, 0]),
        ([1, 3], [1, 3]),
    ],
)  # fmt: skip
def test_epochs_that_both_share_are_not_gone_through_again(tmp_path, totals, epochs):
    checkpoint = Checkpoint(tmp_path, {})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* begins again")
        found = [trained(checkpoint, Schedule(total, curve="wsd")) for total in totals]
    assert found == epochs


def test_under_a_cosine_it_begins_again_and_says_why(tmp_path):
    checkpoint = Checkpoint(tmp_path, {})
    assert trained(checkpoint, Schedule(2)) == 2
    reason = r"begins again: .* of 2 epochs, not 3, and under a cosine.*Tuning\(schedule='wsd'\)"
    with pytest.warns(UserWarning, match=reason):
        assert trained(checkpoint, Schedule(3)) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trained(checkpoint, Schedule(3)) == 0


@pytest.mark.parametrize("batches", [1, 2, 5, 40, 700])
@pytest.mark.parametrize("total", [1, 2, 3, 7, 30])
def test_shared_epochs_have_the_same_rates_and_others_do_not(total, batches):
    short, long = (Schedule(n, curve="wsd") for n in (total, 2 * total + 1))
    steps = range(short.shared * batches + 1)
    rates = [[schedule.rate(step, batches) for step in steps] for schedule in (short, long)]
    assert short.shared == 0 or rates[0] == rates[1]
    if batches > 2:
        after = short.shared * batches + batches - 1
        assert short.rate(after, batches) < long.rate(after, batches)
    everything = [short.rate(step, batches) for step in range(total * batches + 3)]
    assert min(everything) >= 0 and max(everything) == 1 and everything[-1] == 0
    assert total == 1 or batches < 3 or sum(everything) > 0.6 * total * batches


def test_a_stream_that_is_longer_than_before_does_not_raise_the_rate_again():
    for curve in ("cosine", "wsd"):
        schedule = Schedule(2, curve=curve)
        pace = Pace(schedule, torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.5), 10)
        for count in (10, 25):
            rates = []
            for _ in range(count):
                rates.append(pace.optimizer.param_groups[0]["lr"])
                pace.advance()
            pace.end_epoch()
        assert rates[9:] == [rates[9]] * 16 and rates == sorted(rates, reverse=True)
        assert 0 < rates[9] < 0.06


@pytest.mark.slow
def test_a_call_with_more_epochs_chooses_nothing_anew(counted, tmp_path):
    """The whole call: choices are kept, and the end is that of one straight call."""
    images = pictures()
    options = {"speedup": 1.6, "train": labelled(images), "tuning": Tuning(schedule="wsd")}
    silent = Run(seed=4, progress=False)
    whole = lighten(chain(), images, **options, epochs=5, run=silent)
    run = Run(seed=4, progress=False, checkpoint=tmp_path)
    lighten(chain(), images, **options, epochs=3, run=run)
    calls = counted.calls["layer"]
    longer = lighten(chain(), images, **options, epochs=5, run=run)
    assert counted.calls["layer"] == calls
    assert same(longer.model, whole.model) and same(longer.control, whole.control)
    assert longer.report.losses == whole.report.losses and len(whole.report.losses) == 5


def test_a_schedule_is_one_of_two():
    message = "schedule must be one of 'cosine', 'wsd', not 'step'"
    with pytest.raises(ArgumentError, match=re.escape(message)):
        Tuning(schedule="step")
    with pytest.raises(ArgumentError, match=re.escape(message)):
        Schedule(curve="step")
