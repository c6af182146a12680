"""The loss of distillation, against the formula written out in float64."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convsmith.errors import ArgumentError
from convsmith.rewrite.lightening.tune.loss import distil_loss
from convsmith.rewrite.lightening.tune.schedule import Schedule
from convsmith.rewrite.lightening.tune.teacher import Teacher

SCHEDULES = [
    Schedule(),
    Schedule(temperature=1.0, soft=0.5),
    Schedule(temperature=2.5, soft=0.0),
    Schedule(soft=1.0),
]


class Fixed(nn.Module):
    """A network that answers the same whatever comes."""

    def __init__(self, *shape):
        super().__init__()
        self.answer = nn.Parameter(torch.randn(shape, dtype=torch.float64))

    def forward(self, x):
        return 1 * self.answer


def soft_cross_entropy(mine, theirs, t):
    """KL(theirs ‖ mine) at a temperature, one row of logits each, by the definition."""

    def shares(row):
        powers = [math.exp(v / t) for v in row]
        return [p / sum(powers) for p in powers]

    return sum(q * math.log(q / p) for q, p in zip(shares(theirs), shares(mine)))


def cross_entropy(row, label):
    return math.log(sum(math.exp(v) for v in row)) - row[label]


def expected(ours, theirs, labels, schedule):
    t = schedule.temperature
    rows = list(zip(ours.tolist(), theirs.tolist()))
    told = t * t * sum(soft_cross_entropy(a, b, t) for a, b in rows) / len(rows)
    if labels is None:
        return told
    hard = sum(cross_entropy(a, y) for (a, _), y in zip(rows, labels.tolist())) / len(rows)
    return schedule.soft * told + (1 - schedule.soft) * hard


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("with_labels", [True, False])
def test_logits(schedule, with_labels):
    original, student = Fixed(5, 3), Fixed(5, 3)
    labels = torch.tensor([0, 2, 1, 1, 0]) if with_labels else None
    images = torch.zeros(5, 1)
    batch = (images, labels) if with_labels else images
    value = Teacher(original, student, schedule).grade(student, batch, None)
    wanted = expected(student.answer.detach(), original.answer.detach(), labels, schedule)
    assert float(value.detach()) == pytest.approx(wanted, rel=1e-5)
    value.backward()
    assert student.answer.grad is not None and original.answer.grad is None


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kind", [None, "maps", "classes"])
@pytest.mark.parametrize("shape", [(2, 4, 3, 5), (1, 2, 7), (2, 3, 2, 3, 2)])
def test_a_map_is_as_many_rows_as_classes_or_as_places(schedule, kind, shape):
    """The labels' part is that of so many images; the teacher's is a softmax over places."""
    original, student = Fixed(*shape), Fixed(*shape)
    classes = shape[1]
    labels = torch.randint(0, classes, (shape[0], *shape[2:]))
    grader = Teacher(original, student, replace(schedule, kind=kind))
    value = grader.grade(student, (torch.zeros(2, 1), labels), None)
    maps = [m.answer.detach() for m in (student, original)]
    places = [x.movedim(1, -1).reshape(-1, classes) for x in maps]
    by_class = [x.reshape(shape[0] * classes, -1) for x in maps]
    t, rows = schedule.temperature, places if kind == "classes" else by_class
    pairs = list(zip(*(x.tolist() for x in rows)))
    told = t * t * sum(soft_cross_entropy(*pair, t) for pair in pairs) / len(pairs)
    hard = [cross_entropy(*pair) for pair in zip(places[0].tolist(), labels.flatten().tolist())]
    wanted = schedule.soft * told + (1 - schedule.soft) * sum(hard) / len(hard)
    assert float(value.detach()) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("kind", ["maps", "classes", "values"])
def test_without_labels_a_map_is_what_it_is_said_to_be(kind):
    original, student = Fixed(2, 4, 3, 5), Fixed(2, 4, 3, 5)
    grader = Teacher(original, student, Schedule(kind=kind))
    value = grader.grade(student, torch.zeros(2, 1), None)
    expected = distil_loss(original.answer, student.answer, kind=kind)
    assert torch.equal(value, expected)


@pytest.mark.parametrize("shape", [(2, 4, 3, 5), (5, 1), (2, 1, 3, 5)])
def test_what_is_no_choice_among_classes_is_matched_in_mean_square(shape):
    """One column has a softmax of 1 wherever it is: it would teach nothing."""
    original, student = Fixed(*shape), Fixed(*shape)
    value = Teacher(original, student, Schedule()).grade(student, torch.zeros(2, 1), None)
    apart = (student.answer - original.answer).square().mean() / original.answer.square().mean()
    assert float(value.detach()) == pytest.approx(float(apart.detach()), rel=1e-6)
    assert float(value.detach()) > 0.1


def test_a_loss_of_ones_own_takes_the_place_of_cross_entropy():
    original, student = Fixed(5, 1), Fixed(5, 1)
    labels = torch.randn(5)
    schedule = Schedule(soft=0.25)

    def loss(outputs, wanted):
        return (outputs[:, 0] - wanted).abs().sum()

    grade = Teacher(original, student, schedule, loss).grade(
        student, (torch.zeros(5, 1), labels), None
    )
    apart = (student.answer - original.answer).square().mean() / original.answer.square().mean()
    wanted = 0.25 * apart + 0.75 * (student.answer[:, 0] - labels).abs().sum()
    assert float(grade.detach()) == pytest.approx(float(wanted.detach()), rel=1e-6)


def test_a_step_of_the_students_own_takes_the_place_of_the_labels():
    original, student = Fixed(5, 3), Fixed(5, 3)
    schedule, batch = Schedule(soft=0.7), (torch.zeros(5, 1), torch.zeros(5, dtype=torch.long))
    value = Teacher(original, student, schedule).grade(student, batch, lambda: torch.tensor(11.0))
    told = expected(student.answer.detach(), original.answer.detach(), None, schedule)
    assert float(value.detach()) == pytest.approx(0.7 * told + 0.3 * 11, rel=1e-6)


def test_responses_count_by_their_weight_relative_to_the_originals():
    torch.manual_seed(7)
    nets = [nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(),
                          nn.Linear(16, 3)).double() for _ in range(2)]  # fmt: skip
    original, student = nets
    images = torch.randn(6, 2, 6, 6).double()
    plain = Teacher(original, student, Schedule(), paths=["0", "2"]).grade(student, images, None)
    full = Teacher(original, student, Schedule(features=0.3), paths=["0", "2"])
    value = full.grade(student, images, None)
    apart = []
    with torch.no_grad():
        for end in (1, 3):
            mine, theirs = student[:end](images), original[:end](images)
            apart.append(float((mine - theirs).square().mean() / theirs.square().mean()))
    assert float((value - plain).detach()) == pytest.approx(0.3 * sum(apart) / 2, rel=1e-5)
    assert not any(m._forward_hooks for net in nets for m in net.modules())


def test_the_original_answers_in_evaluation_and_keeps_its_flags():
    torch.manual_seed(8)
    original = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.9)).train()
    student = nn.Linear(4, 3)
    before = {name: value.clone() for name, value in original.state_dict().items()}
    images = torch.randn(6, 4)
    teacher = Teacher(original, student, Schedule())
    values = {float(teacher.grade(student, images, None).detach()) for _ in range(3)}
    assert len(values) == 1
    assert all(module.training for module in original.modules())
    for name, value in original.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_batch_of_one_part_is_images_and_of_three_is_refused():
    original, student = Fixed(5, 3), Fixed(5, 3)
    teacher, images = Teacher(original, student, Schedule()), torch.zeros(5, 1)
    alone = teacher.grade(student, images, None)
    assert torch.equal(teacher.grade(student, [images], None), alone)
    assert torch.equal(teacher.grade(student, (images, None), None), alone)
    with pytest.raises(ArgumentError, match=r"\(images, labels\), or images alone, not 3 parts"):
        teacher.grade(student, (images, images, images), None)


def test_several_outputs_are_matched_in_mean_square():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x):
            return {"out": self.layer(x), "aux": 2 * self.layer(x)}

    torch.manual_seed(0)
    teacher, student = Two(), Two()
    images, labels = torch.rand(5, 3), torch.arange(5) % 4
    grader = Teacher(teacher, student, Schedule())
    given, wanted = student(images), teacher(images)
    apart = [(given[k] - wanted[k]).square().mean() / wanted[k].square().mean() for k in given]
    assert torch.allclose(grader.grade(student, (images, labels), None), sum(apart) / 2)
    own = Teacher(teacher, student, Schedule(), lambda out, y: F.cross_entropy(out["out"], y))
    hard = F.cross_entropy(given["out"], labels)
    expected = 0.9 * sum(apart) / 2 + 0.1 * hard
    assert torch.allclose(own.grade(student, (images, labels), None), expected)
