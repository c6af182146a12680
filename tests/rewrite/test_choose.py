"""The choice of forms against trying every combination."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.errors import ArgumentError
from convsmith.rewrite.lightening.knapsack import Option, choose, least_cost

costs = st.integers(1, 60).map(float)
errors = st.integers(0, 100).map(lambda n: n / 100)
layer = st.lists(st.builds(Option, st.just(0), costs, errors), min_size=1, max_size=4)


@given(st.lists(layer, min_size=1, max_size=5), st.integers(0, 200))
def test_no_combination_within_the_budget_is_better(layers, budget):
    if least_cost(layers) > budget:
        with pytest.raises(ArgumentError, match="cannot be met: the least possible is"):
            choose(layers, budget)
        return
    picks = choose(layers, budget)
    assert all(pick in options for pick, options in zip(picks, layers))
    assert sum(pick.cost for pick in picks) <= budget
    # Whole costs and fewer than 4096 of them: the steps are fine enough to be exact but for
    # rounding up, which five layers can do at most five times.
    spare = budget - 5 * (budget - least_cost(layers)) / 4096
    affordable = [
        combination for combination in product(*layers)
        if sum(option.cost for option in combination) <= spare
    ]  # fmt: skip
    best = min((sum(o.error for o in c) for c in affordable), default=float("inf"))
    assert sum(pick.error for pick in picks) <= best + 1e-9


def test_everything_is_kept_when_all_fits():
    layers = [[Option(0, 10, 0.0), Option(1, 1, 0.3)]] * 4
    assert [pick.choice for pick in choose(layers, 40)] == [0, 0, 0, 0]
    assert [pick.choice for pick in choose(layers, 4)] == [1, 1, 1, 1]


def test_a_slower_form_is_never_taken():
    slower = Option(1, 20, 0.1)
    assert choose([[Option(0, 10, 0.0), slower]], 15)[0].choice == 0
