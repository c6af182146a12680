"""The loss for people's own loops: what it is, by NumPy, and that training by it helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

import convsmith as cs
from convsmith.errors import ArgumentError


def kl(teacher, student, t, axes):
    """By NumPy, in float64: T² times the mean over all axes but these."""
    a, b = (log_softmax(np.asarray(x, np.float64) / t, axes) for x in (teacher, student))
    return t * t * (np.exp(a) * (a - b)).sum(axes).mean()


@given(
    st.integers(0, 9999), st.lists(st.integers(1, 5), min_size=0, max_size=3),
    st.integers(1, 4), st.integers(2, 6), st.floats(0.5, 10),
)  # fmt: skip
def test_it_is_what_the_shape_says(seed, size, images, classes, t):
    torch.manual_seed(seed)
    a, b = (3 * torch.randn(images, classes, *size) for _ in "ab")
    axes = tuple(range(2, 2 + len(size))) if size else (1,)
    expected = kl(a.numpy(), b.numpy(), t, axes)
    found = cs.distil_loss(a, b, temperature=t).item()
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    if size:  # place by place where that is asked for
        by_place = cs.distil_loss(a, b, temperature=t, kind="classes").item()
        assert by_place == pytest.approx(kl(a.numpy(), b.numpy(), t, (1,)), rel=1e-3, abs=1e-4)


def test_other_outputs_are_compared_by_their_squares():
    a, b = torch.tensor([[2.0], [4.0]]), torch.tensor([[1.0], [4.0]])
    assert cs.distil_loss(a, b).item() == pytest.approx(0.5 / 10)
    wide = cs.distil_loss(a.T, b.T, kind="values").item()
    assert wide == pytest.approx(0.5 / 10)
    both = cs.distil_loss({"one": a, "two": (a,)}, {"one": b, "two": (a,)}).item()
    assert both == pytest.approx(0.5 / 20)


def test_a_rare_class_counts_as_much_as_the_background():
    """The same mistake in a class of few places and in one of many."""
    teacher = torch.zeros(1, 2, 10, 10)
    teacher[0, 0] = 5.0
    teacher[0, :, 0, 0] = torch.tensor([0.0, 5.0])
    found = []
    for number in range(2):
        student = teacher.clone()
        student[0, number, 0, 0] = 2.5
        found.append([cs.distil_loss(teacher, student, kind=kind).item()
                      for kind in ("maps", "classes")])  # fmt: skip
    assert found[1][0] > 5 * found[1][1]


def test_gradients_reach_the_student_alone():
    for shape in ((3, 4), (2, 3, 5, 5), (6,)):
        a, b = (torch.randn(shape, requires_grad=True) for _ in "ab")
        cs.distil_loss(a, b).backward()
        assert a.grad is None and torch.isfinite(b.grad).all() and b.grad.abs().sum() > 0
        assert cs.distil_loss(b, b).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_in_other_precisions(dtype):
    a, b = torch.randn(4, 5).to(dtype), torch.randn(4, 5).to(dtype)
    expected = kl(a.double().numpy(), b.double().numpy(), 4.0, (1,))
    assert cs.distil_loss(a, b).item() == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, 4)), {}, r"same shapes, not \(2, 3\) and \(2, 4\)"),
        ((torch.zeros(2), ()), {}, r"same shapes, not \(2,\) and no tensor"),
        (("a", "b"), {}, "same shapes, not no tensor and no tensor"),
        ((torch.zeros(2, 3),) * 2, {"temperature": 0}, "temperature must be positive, not 0"),
        (
            (torch.zeros(2, 3),) * 2,
            {"kind": "logits"},
            "kind must be one of 'classes', 'maps', 'values', not 'logits'",
        ),
        ((torch.zeros(2, 3),) * 2, {"kind": "maps"}, r"shape \(2, 3\) cannot be maps"),
        ((torch.zeros(2),) * 2, {"kind": "classes"}, r"shape \(2,\) cannot be classes"),
    ],
)
def test_what_makes_no_sense_is_one_line(arguments, options, message):
    with pytest.raises(ArgumentError, match=message) as told:
        cs.distil_loss(*arguments, **options)
    assert "\n" not in str(told.value)
