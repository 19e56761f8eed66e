from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from policytrim_gym.errors import InvalidHorizon
from policytrim_gym.rollouts.collector import Rollout
from policytrim_gym.rollouts.episode import EpisodeRequest
from policytrim_gym.training.stages import group_requests, stage1_advantages, stage1_windows, stage2_advantages
from policytrim_gym.training.trim_config import TrimConfig

CONFIG = TrimConfig(group_size=8, lam=0.2, sigma_floor_fraction=5.0 / 100.0, groups_per_task=1)


def rollout(success: bool, steps: int, horizon: int = 15, task: str = "push") -> Rollout:
    return Rollout(EpisodeRequest(horizon, task=task), executed_steps=[steps], success=success)


def test_stage_1_gives_the_worked_example() -> None:
    horizons = [5, 10, 15, 5, 10, 15, 5, 10]
    rollouts = [rollout(True, 30, horizon) for horizon in horizons]
    expected = [-1.05, 0.15, 1.35, -1.05, 0.15, 1.35, -1.05, 0.15]
    np.testing.assert_allclose(stage1_advantages(rollouts, 15, CONFIG), expected, atol=0.005)
    rollouts[2] = rollout(False, 30, 15)
    expected = [-0.07, 0.48, -2.28, -0.07, 0.48, 1.04, -0.07, 0.48]
    np.testing.assert_allclose(stage1_advantages(rollouts, 15, CONFIG), expected, atol=0.005)


def test_stage_2_gives_the_worked_example() -> None:
    steps = [108, 95, 60, 120, 110, 105, 100, 300]
    rollouts = [rollout(index < 7, count) for index, count in enumerate(steps)]
    config = replace(CONFIG, base_steps_factor=1.4)  # S_base = 140, sigma_floor = 5
    expected = [0.25, 0.51, 0.65, -0.10, 0.18, 0.36, 0.56, -2.40]
    np.testing.assert_allclose(stage2_advantages(rollouts, {"push": 100.0}, config), expected, atol=0.005)


def test_each_task_is_measured_against_its_own_steps() -> None:
    fast = [rollout(True, 50 + index, task="push") for index in range(8)]
    slow = [rollout(True, 500 + 10 * index, task="peg") for index in range(8)]
    advantages = stage2_advantages([*fast, *slow], {"push": 60.0, "peg": 600.0}, CONFIG).reshape(2, 8)
    np.testing.assert_allclose(advantages[0], advantages[1], atol=1e-9)


def test_a_group_without_success_carries_no_signal() -> None:
    rollouts = [rollout(False, 300) for _ in range(8)]
    assert not stage2_advantages(rollouts, {"push": 100.0}, CONFIG).any()
    assert not stage1_advantages(rollouts, 15, CONFIG).any()


def test_a_group_shares_its_state_and_shows_every_window_for_the_same_number_of_rollouts() -> None:
    requests = group_requests(("push", "reach"), 1000, (8, 20, 32, 16), {"push": 100, "reach": 50}, CONFIG, key=(0, 2, 7))
    assert [request.task for request in requests] == ["push"] * 8 + ["reach"] * 8
    for group in (requests[:8], requests[8:]):
        assert len({(request.task, request.initial_state, request.group) for request in group}) == 1
        assert len({request.noise_seed for request in group}) == 8
        horizons = [request.execute_horizon for request in group]
        assert {horizons.count(window) for window in (8, 16, 20, 32)} == {2}
        assert {request.split for request in group} == {"train"}
    assert requests[0].max_steps == 100 and requests[8].max_steps == 50


def test_without_initial_states_a_group_shares_its_seed() -> None:
    requests = group_requests((None,), None, (4,), {None: 10}, CONFIG, key=(0, 2, 7))
    assert len({request.seed for request in requests}) == 1
    assert {request.initial_state for request in requests} == {None}


@pytest.mark.parametrize(("num_tasks", "expected"), [(1, 4), (2, 2), (3, 2), (4, 1), (6, 1)])
def test_few_tasks_get_more_groups_each(num_tasks: int, expected: int) -> None:
    tasks = tuple(f"task {index}" for index in range(num_tasks))
    requests = group_requests(tasks, 1000, (8,), dict.fromkeys(tasks, 100), TrimConfig(), key=(0, 2, 7))
    assert len({request.group for request in requests}) == expected * num_tasks


def test_the_draw_depends_on_the_key_alone() -> None:
    def draw(*key: int) -> list[EpisodeRequest]:
        return group_requests(("push",), 1000, (8, 32), {"push": 100}, CONFIG, key=key)

    assert draw(0, 2, 7) == draw(0, 2, 7)
    assert draw(0, 2, 7) != draw(0, 2, 8)
    assert draw(0, 2, 7) != draw(1, 2, 7)


def test_windows_are_stock_middle_and_chunk_size() -> None:
    assert stage1_windows(TrimConfig(), 8, 32) == (8, 20, 32)
    assert stage1_windows(TrimConfig(), 32, 32) == (32,)
    assert stage1_windows(TrimConfig(windows=(4, 16)), 8, 32) == (4, 16)
    with pytest.raises(InvalidHorizon, match=r"windows .null fits any chunk. must be in 1\.\.32 .*got 33"):
        stage1_windows(TrimConfig(windows=(33,)), 8, 32)
