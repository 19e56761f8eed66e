"""Laws of grouped advantages, and the worked example of stage 1."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.advantages import group_advantages, window_advantages
from policytrim_gym.errors import InvalidConfig, InvalidRollout
from policytrim_gym.rewards import stage1_returns

HORIZONS = np.array([[5, 10, 15, 5, 10, 15, 5, 10]])


def test_worked_example_of_stage_1_all_succeed() -> None:
    advantages = group_advantages(stage1_returns(np.ones((1, 8), bool), HORIZONS, 15))
    np.testing.assert_allclose(advantages[0], [-1.05, 0.15, 1.35, -1.05, 0.15, 1.35, -1.05, 0.15], atol=6e-3)


def test_worked_example_of_stage_1_one_long_window_fails() -> None:
    success = np.ones((1, 8), bool)
    success[0, 2] = False
    advantages = group_advantages(stage1_returns(success, HORIZONS, 15))
    np.testing.assert_allclose(advantages[0], [-0.07, 0.48, -2.28, -0.07, 0.48, 1.04, -0.07, 0.48], atol=6e-3)


def test_rows_sum_to_zero_and_have_unit_spread() -> None:
    returns = np.random.default_rng(0).normal(size=(20, 8))
    advantages = group_advantages(returns)
    np.testing.assert_allclose(advantages.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(advantages.std(axis=1, ddof=1), 1, atol=1e-5)


def test_shift_and_positive_scale_change_nothing() -> None:
    returns = np.random.default_rng(1).normal(size=(5, 8))
    np.testing.assert_allclose(group_advantages(3 * returns + 7, eps=0.0), group_advantages(returns, eps=0.0))


@pytest.mark.parametrize("value", [0.0, 1.1, 1.0 + 1 / 3])
@pytest.mark.parametrize("group_size", [1, 2, 7])
def test_a_group_without_spread_gives_exact_zeros(value: float, group_size: int) -> None:
    returns = np.full((3, group_size), value)
    assert (group_advantages(returns, eps=0.0) == 0).all()
    assert (window_advantages(returns, np.full((3, group_size), 8), eps=0.0) == 0).all()


def test_one_window_equals_the_group_baseline() -> None:
    returns = np.random.default_rng(2).normal(size=(5, 8))
    np.testing.assert_allclose(window_advantages(returns, np.full((5, 8), 8)), group_advantages(returns))


def test_each_window_sums_to_zero() -> None:
    rng = np.random.default_rng(3)
    returns, windows = rng.normal(size=(20, 12)), rng.choice([5, 10, 15], (20, 12))
    advantages = window_advantages(returns, windows)
    for window in (5, 10, 15):
        np.testing.assert_allclose((advantages * (windows == window)).sum(axis=1), 0, atol=1e-12)


def test_short_windows_are_not_blamed_when_all_succeed() -> None:
    returns = stage1_returns(np.ones((1, 8), bool), HORIZONS, 15)
    np.testing.assert_allclose(window_advantages(returns, HORIZONS), 0, atol=1e-12)


def test_the_order_of_rollouts_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    returns, order = rng.normal(size=(1, 8)), rng.permutation(8)
    np.testing.assert_allclose(window_advantages(returns[:, order], HORIZONS[:, order]), window_advantages(returns, HORIZONS)[:, order])


def test_what_is_not_a_group_is_refused() -> None:
    with pytest.raises(InvalidRollout, match="finite, got nan"):
        group_advantages([[1.0, np.nan]])
    with pytest.raises(InvalidRollout, match="num_groups, group_size"):
        group_advantages(1.0)
    with pytest.raises(InvalidRollout, match=r"\(1, 2\), got \(2,\)"):
        window_advantages([[1.0, 2.0]], [8, 8])
    with pytest.raises(InvalidConfig, match="eps .* -1"):
        group_advantages([[1.0, 2.0]], eps=-1)
