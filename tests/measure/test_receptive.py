"""Receptive fields against the gradient probe, and published ones to the unit."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.measure.receptive import local_field, true_field
from tests import networks, probe

# 40 seeds of 3 networks of each dimension: 360.
CASES = [(dims, seed) for dims in (1, 2, 3) for seed in range(40)]
SIZES = {1: (5, 29), 2: (4, 13), 3: (3, 7)}


@pytest.mark.parametrize(("dims", "seed"), CASES)
def test_the_true_field_is_what_the_gradient_shows(dims, seed):
    rng = random.Random(1000 * dims + seed)
    torch.manual_seed(seed)
    for _ in range(3):
        size = tuple(rng.randint(*SIZES[dims]) for _ in range(dims))
        model = probe.network(rng, dims, size)
        image = torch.rand(1, 2, *size, dtype=torch.float64) + 0.5
        net = cs.trace(model, image)
        shape = net[net.outputs[0]].shape
        for _ in range(2):
            position = tuple(rng.randrange(n) for n in shape[2:])
            expected = probe.seen(model, image, position)
            found = true_field(net, net.outputs[0], position)
            ours = np.zeros(size, dtype=bool)
            for box in found.region:
                ours[np.ix_(*map(list, box))] = True
            assert np.array_equal(ours, expected), f"{model}\n{position}\n{ours}\n{expected}"
