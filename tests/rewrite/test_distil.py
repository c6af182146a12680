"""Fine-tuning: its schedule, the user's own loop and optimizer, what stops it, what resumes it."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from convsmith.errors import ArgumentError, ModelError
from convsmith.rewrite.lightening.tune.checkpoint import Checkpoint
from convsmith.rewrite.lightening.tune.distil import Diverged, _share, by_first, distil
from convsmith.rewrite.lightening.tune.schedule import Schedule
from tests.rewrite.fakes import same

IMAGES = torch.linspace(-1, 1, 24 * 2 * 4 * 4).reshape(24, 2, 4, 4).sin()


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip


class Shuffled:
    """Batches in an order that depends on torch's random numbers."""

    def __len__(self):
        return 3

    def __iter__(self):
        labels = torch.arange(24) % 3
        for part in torch.randperm(24).split(8):
            yield IMAGES[part], labels[part]


def rates(schedule, steps):
    return [schedule.rate(step, steps) for step in range(steps)]


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 133])
def test_a_rate_rises_for_a_tenth_and_falls_by_half_a_cosine(steps):
    found = rates(Schedule(), steps)
    ramp = max(1, round(steps / 10))
    assert found[:ramp] == pytest.approx([(i + 1) / ramp for i in range(ramp)])
    tail = [0.5 + 0.5 * math.cos(math.pi * i / (steps - ramp)) for i in range(steps - ramp)]
    assert found[ramp:] == pytest.approx(tail)
    assert Schedule().rate(steps, steps) == pytest.approx(1.0 if steps == 1 else 0.0)


def test_only_weights_decay():
    net = network()
    net[5].bias.requires_grad_(False)
    weights, rest = Schedule(weight_decay=0.3).make_optimizer(net).param_groups
    assert (weights["weight_decay"], rest["weight_decay"]) == (0.3, 0.0)
    assert {id(p) for p in weights["params"]} == {id(net[0].weight), id(net[5].weight)}
    assert {id(p) for p in rest["params"]} == {id(p) for p in (net[0].bias, *net[1].parameters())}
    assert type(Schedule(optimizer="adamw").make_optimizer(net)) is torch.optim.AdamW


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": -1}, "epochs is at least 0, not -1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, not 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be positive, not nan"),
        ({"precision": "16"}, "precision is '32' or 'bf16', not '16'"),
    ],
)
def test_a_schedule_that_makes_no_sense(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Schedule(**arguments)


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_student_comes_nearer(precision, optimizer):
    teacher, student = network(0).eval(), network(1)
    held = copy.deepcopy(teacher)
    schedule = Schedule(20, 0.02, optimizer=optimizer, precision=precision, features=0.1)
    losses = distil(student, teacher, Shuffled(), schedule, paths=["0"])
    assert len(losses) == 20 and losses[-1] < 0.6 * losses[0]
    assert same(teacher, held) and all(p.grad is None for p in teacher.parameters())
    assert {p.dtype for p in student.parameters()} == {torch.float32}


def test_flags_come_back_and_every_batch_is_told():
    student = network(1).train()
    student[1].eval()
    told = []
    distil(student, network(0), Shuffled(), Schedule(2), advance=lambda: told.append(1))
    assert len(told) == 6
    assert [m.training for m in student] == [True, False, True, True, True, True]


@pytest.mark.parametrize(("train", "epochs"), [([], 3), (iter(()), 3), ([IMAGES], 0)])
def test_nothing_to_train_on(train, epochs):
    with pytest.raises(ArgumentError, match="nothing to train on"):
        distil(network(1), network(0), train, Schedule(epochs))


def test_an_iterator_is_gone_through_once_an_epoch():
    losses = distil(network(1), network(0), iter([IMAGES, IMAGES]), Schedule(3))
    assert len(losses) == 3


class Lit(nn.Module):
    """What a `LightningModule` has that is asked for."""

    def __init__(self, answer=None):
        super().__init__()
        self.body, self.answer, self.steps, self.made = network(1), answer, [], []

    def forward(self, x):
        return self.body(x)

    def training_step(self, batch, number):
        self.steps.append(number)
        images, labels = batch
        loss = nn.functional.cross_entropy(self(images), labels)
        return {"loss": loss} if self.answer == "dict" else loss

    def configure_optimizers(self):
        self.made.append(torch.optim.Adam(self.parameters(), lr=1e-3))
        optimizer = self.made[-1]
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
        return {
            None: optimizer,
            "dict": {"optimizer": optimizer, "lr_scheduler": schedule},
            "lists": ([optimizer], [schedule]),
            "list": [optimizer],
            "nothing": None,
        }[self.answer]


@pytest.mark.parametrize("answer", [None, "dict", "lists", "list", "nothing"])
def test_a_lightning_module_is_asked_for_its_loss_and_its_optimizer(answer):
    student, teacher = Lit(answer), Lit()
    distil(student, teacher, Shuffled(), Schedule(2, soft=0.5))
    assert student.steps == [0, 1, 2] * 2 and not teacher.steps
    if answer != "nothing":
        assert student.made[0].state, "the module's own optimizer went the steps"


def test_without_a_weight_for_labels_a_step_of_its_own_is_not_asked():
    student = Lit()
    distil(student, Lit(), Shuffled(), Schedule(1, soft=1.0))
    assert not student.steps


@pytest.mark.parametrize("kind", ["plain", "lit"])
def test_one_process_of_fabric_does_the_same(kind):
    make = (lambda: Lit()) if kind == "lit" else (lambda: network(1))
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    nets, teacher, losses = [make(), make()], network(0), []
    for net, fleet in zip(nets, (None, fabric)):
        torch.manual_seed(3)
        losses.append(distil(net, teacher, Shuffled(), Schedule(2), fabric=fleet))
    assert losses[0] == losses[1] and same(*nets)


def test_a_loss_that_is_no_number_keeps_the_last_good_epoch(tmp_path):
    """The third batch of the second epoch: what the first two did is undone."""
    epochs = []

    class Breaking(Shuffled):
        def __iter__(self):
            epochs.append(1)
            for number, (images, labels) in enumerate(super().__iter__()):
                bad = len(epochs) == 2 and number == 2
                yield (images * math.nan if bad else images), labels

    student, good = network(1), network(1)
    teacher = network(0)
    torch.manual_seed(3)
    reason = r"the loss is nan in epoch 2; try a learning rate below 0\.02"
    with pytest.raises(Diverged, match=reason) as told:
        distil(student, teacher, Breaking(), Schedule(2), stage="tuning")
    assert str(told.value).startswith("tuning stopped") and len(told.value.losses) == 1
    # The first epoch of two, by itself.
    checkpoint = Checkpoint(tmp_path, {})

    def interrupt():
        count.append(1)
        if len(count) == 4:
            raise KeyboardInterrupt

    count = []
    torch.manual_seed(3)
    with pytest.raises(KeyboardInterrupt):
        distil(good, teacher, Shuffled(), Schedule(2), checkpoint=checkpoint, advance=interrupt)
    good.load_state_dict(checkpoint.load("fine-tuning.pt")["student"])
    assert same(student, good) and not same(student, network(1))
    assert student.training


@pytest.mark.parametrize("epochs", [1, 2])
def test_weights_that_are_no_numbers_are_not_kept_though_the_loss_was_one(epochs):
    """A root of zero is a number, and its slope is none."""

    def loss(outputs, labels):
        return (outputs * 0).sum().sqrt()

    student = network(1)
    with pytest.raises(Diverged, match="has values that are not numbers in epoch 1"):
        distil(student, network(0), [next(iter(Shuffled()))], Schedule(epochs), loss=loss)
    assert all(bool(p.isfinite().all()) for p in student.parameters())
    assert same(student, network(1))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("batch", [1, 4, 5, 9])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, optimizer, batch):
    """Dropout, order, momentum, rate and running statistics included; epochs have 3 batches."""
    schedule = Schedule(3, optimizer=optimizer)
    teacher, whole = network(0).eval(), network(1)
    torch.manual_seed(5)
    losses = distil(whole, teacher, Shuffled(), schedule)

    count = []

    def interrupt():
        count.append(1)
        if len(count) == batch:
            raise KeyboardInterrupt

    checkpoint, begun = Checkpoint(tmp_path, {}), network(1)
    torch.manual_seed(5)
    with pytest.raises(KeyboardInterrupt):
        distil(begun, teacher, Shuffled(), schedule, checkpoint=checkpoint, advance=interrupt)
    resumed, told = network(1), []
    torch.manual_seed(5)
    again = distil(
        resumed, teacher, Shuffled(), schedule, checkpoint=checkpoint,
        advance=lambda: told.append(1),
    )  # fmt: skip
    assert again == losses and len(told) == 9
    assert same(resumed, whole)


def test_what_has_ended_is_not_done_again(tmp_path):
    checkpoint = Checkpoint(tmp_path, {})
    first, second = network(1), network(2)
    losses = distil(first, network(0), Shuffled(), Schedule(2), checkpoint=checkpoint)

    class Forbidden(Shuffled):
        def __iter__(self):
            raise AssertionError("nothing is left to do")

    assert distil(second, network(0), Forbidden(), Schedule(2), checkpoint=checkpoint) == losses
    assert same(first, second)


@pytest.mark.parametrize("state", [{}, {"student": {}}, {"student": {"0.weight": torch.zeros(3)}}])
def test_a_checkpoint_of_something_else(tmp_path, state):
    checkpoint = Checkpoint(tmp_path, {})
    checkpoint.save("tuning.pt", state)
    with pytest.raises(ModelError, match=r"checkpoint tuning\.pt does not fit this network"):
        distil(
            network(1), network(0), Shuffled(), Schedule(2), checkpoint=checkpoint, stage="tuning"
        )


class Part:
    """One of several processes."""

    def __init__(self, rank, size, heard=None):
        self.global_rank, self.world_size, self.heard = rank, size, heard

    def broadcast(self, found):
        if self.global_rank == 0:
            self.heard = found
        return self.heard


@pytest.mark.parametrize(("count", "size"), [(8, 2), (9, 2), (7, 3), (3, 3)])
def test_shares_are_equal_and_of_different_images(count, size):
    images = torch.arange(count)
    shares = [_share((images, images, None), Part(rank, size)) for rank in range(size)]
    assert {len(share[0]) for share in shares} == {count // size}
    taken = [int(i) for share in shares for i in share[0]]
    assert len(set(taken)) == len(taken) == count // size * size
    for mine, told, nothing in shares:
        assert mine.tolist() == told.tolist() and nothing is None


def test_too_few_to_share_are_everybodys():
    assert _share(torch.arange(2), Part(1, 3)).tolist() == [0, 1]
    assert _share(torch.arange(2), None).tolist() == [0, 1]


def test_what_the_first_finds_or_raises_all_do():
    lead = Part(0, 2)
    assert by_first(lead, lambda: 7) == 7

    def forbidden():
        raise AssertionError("only the first is asked")

    assert by_first(Part(1, 2, lead.heard), forbidden) == 7

    def refuse():
        raise ArgumentError("no")

    for part in (None, lead):
        with pytest.raises(ArgumentError, match="no"):
            by_first(part, refuse)
    with pytest.raises(ArgumentError, match="no"):
        by_first(Part(1, 2, lead.heard), forbidden)


META = torch.device("meta")


class Elsewhere:
    """As much of a Fabric as is asked for, with a device that is not the processor."""

    world_size, global_rank, device = 1, 0, META

    def setup(self, module, *optimizers):
        return (module, *optimizers)

    def backward(self, tensor):
        assert tensor.device == META
        tensor.backward()

    def all_reduce(self, data):
        assert data.device == META
        return torch.tensor(1.0)  # tensors on that device have no values

    def broadcast(self, found):
        return found


@pytest.mark.parametrize("structure", ["pair", "list", "dict", "alone"])
def test_batches_and_the_original_go_where_fabric_trains(structure, monkeypatch):
    module = "convsmith.rewrite.lightening.tune.distil"
    monkeypatch.setattr(f"{module}.not_finite", lambda model: "")
    monkeypatch.setattr(f"{module}._precision", lambda *args: nullcontext())  # it has no autocast
    there = nn.Module.to

    def to(model, device):
        """`nn.Module.to`, which would copy values that are not there."""
        return there(model, device) if device == META else model.to_empty(device=device)

    monkeypatch.setattr(nn.Module, "to", to)
    student, teacher, seen = network(1), network(0), []

    def note(model, given):
        seen.append((len(list(model.children())), given[0].device))

    images, labels = IMAGES[:8], torch.arange(8) % 3
    batch = {
        "pair": (images, labels), "list": [images, labels], "alone": images,
        "dict": {"image": images, "label": labels},
    }[structure]  # fmt: skip
    handle = register_module_forward_pre_hook(note)
    try:
        losses = distil(student, teacher, [batch], Schedule(2), fabric=Elsewhere())
    finally:
        handle.remove()
    assert losses == [1.0, 1.0] and {device for _, device in seen} == {META}
    assert sum(parts > 0 for parts, _ in seen) >= 4, "student and teacher, once in each epoch"
    for model in (student, teacher):
        assert {value.device.type for value in model.state_dict().values()} == {"cpu"}
