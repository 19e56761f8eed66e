"""Laws of the trim reward of one episode and of the wrapper that pays it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from scripted_envs import CountingEnv, numbered_policy, register_counting_env

from policytrim_gym.config import from_mapping, to_mapping
from policytrim_gym.errors import InvalidConfig, InvalidHorizon
from policytrim_gym.rewards import stage1_returns, stage2_returns
from policytrim_gym.wrappers.control_horizon import ControlHorizon
from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
from policytrim_gym.wrappers.trim_reward import ApplyTrimReward, TrimReward, TrimRewardHistory, TrimRewardMeter

CHUNK = np.zeros((4, 2))


def play(env: gym.Env, horizon: int | None = None) -> list[float]:
    env.reset(options=None if horizon is None else {"execute_horizon": horizon})
    rewards: list[float] = []
    while True:
        _, reward, terminated, truncated, _ = env.step(CHUNK if env.action_space.shape else 0)
        rewards.append(reward)
        if terminated or truncated:
            return rewards


def test_without_base_steps_it_is_stage_1() -> None:
    reward = TrimReward(beta=0.7)
    for success, horizon in [(True, 5), (True, 15), (False, 15)]:
        assert reward.episode_return(success, 100, horizon, 15) == stage1_returns(success, horizon, 15, beta=0.7)


@pytest.mark.parametrize("mode", ["floor", "gate"])
@pytest.mark.parametrize("one_sided", [True, False])
def test_with_base_steps_and_no_beta_it_is_stage_2_of_the_same_group(mode: str, one_sided: bool) -> None:
    reward, group = TrimReward(beta=0.0, base_steps=140, mode=mode, one_sided=one_sided), [108, 95, 60, 120]
    expected = stage2_returns([True] * 4, group, 140, mode=mode, one_sided=one_sided)[-1]
    assert reward.episode_return(True, 120, 15, 15, recent_steps=group[:3]) == pytest.approx(expected)


def test_zero_weights_leave_the_plain_success() -> None:
    reward = TrimReward(beta=0.0, kappa=0.0, lam=0.0, base_steps=100)
    assert reward.episode_return(True, 10, 4, 4, [50]) == 1.0
    assert reward.episode_return(False, 10, 4, 4, [50]) == 0.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta": -1.0}, "beta .* -1"),
        ({"beta": "1"}, "beta must be a float, got '1'"),
        ({"kappa": float("nan")}, "kappa .* nan"),
        ({"base_steps": 0}, "base_steps .* 0"),
        ({"sigma_floor": 0.0}, "sigma_floor"),
        ({"mode": "gated"}, "mode must be one of 'floor', 'gate', got 'gated'"),
        ({"group_size": 0}, "group_size .* 0"),
        ({"group_size": 1.5}, "group_size must be an integer"),
    ],
)
def test_wrong_settings_are_refused_at_once(values: dict, message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        TrimReward(**values)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(TypeError, match="bta"):
        TrimReward(bta=1.0)  # type: ignore[call-arg]
    with pytest.raises(InvalidConfig, match='did you mean "beta"'):
        ApplyTrimReward(ExecuteChunk(CountingEnv(), 4), {"beat": 1.0})
    assert from_mapping(TrimReward, to_mapping(TrimReward(base_steps=3))) == TrimReward(base_steps=3)


@pytest.mark.parametrize("horizon", [1, 2, 3, 4])
@pytest.mark.parametrize("stops", [True, False])
def test_the_return_is_paid_once_at_the_end(horizon: int, stops: bool) -> None:
    inner = ExecuteChunk(CountingEnv(success_at=(6,), truncate_at=9), 4, stop_on_success=stops)
    rewards = play(ApplyTrimReward(inner, TrimReward()), horizon)
    assert rewards[:-1] == [0.0] * (len(rewards) - 1)
    assert rewards[-1] == 1 + horizon / 4


def test_a_failure_earns_nothing() -> None:
    assert play(ApplyTrimReward(ExecuteChunk(CountingEnv(truncate_at=9), 4), TrimReward(base_steps=100))) == [0.0] * 3


def test_the_penalty_compares_with_the_latest_successes_of_the_same_start() -> None:
    inner = CountingEnv()
    env = ApplyTrimReward(ExecuteChunk(inner, 4, stop_on_success=True), TrimReward(beta=0.0, base_steps=10, sigma_floor=1.0, group_size=3))
    history: list[int] = []
    for steps in (4, 8, 2, 6, 3):
        inner.success_at = (steps,)
        history.append(steps)
        group = history[-3:]
        expected = stage2_returns([True] * len(group), group, 10, sigma_floor=1.0)[-1]
        assert play(env)[-1] == pytest.approx(expected)


def test_other_tasks_and_failures_do_not_enter_the_group() -> None:
    class TwoTasks(CountingEnv):
        task = "a"

        def reset(self, **kwargs):
            observation, info = super().reset(**kwargs)
            return observation, {**info, "task": self.task}

    inner = TwoTasks(truncate_at=9)
    env = ApplyTrimReward(ExecuteChunk(inner, 4, stop_on_success=True), TrimReward(beta=0.0, kappa=0.0, base_steps=10, sigma_floor=1.0))
    inner.success_at = (8,)
    assert play(env)[-1] == 1.0  # alone: no penalty
    inner.task, inner.success_at = "b", (2,)
    assert play(env)[-1] == 1.0
    inner.task, inner.success_at = "a", ()
    assert play(env)[-1] == 0.0
    inner.success_at = (2,)
    assert play(env)[-1] == pytest.approx(1 - 0.2 * np.tanh(1))  # against 8 only: mu = 5, sigma = 3


def test_it_goes_around_control_horizon_as_well() -> None:
    inner = CountingEnv(success_at=(6,))
    outside = ApplyTrimReward(ControlHorizon(inner, numbered_policy(), (3,), reward=None, stop_on_success=True), TrimReward())
    inside = ControlHorizon(CountingEnv(success_at=(6,)), numbered_policy(), (3,), reward=TrimReward(), stop_on_success=True)
    assert play(outside) == play(inside) == [0.0, 1.5]
    with pytest.raises(InvalidConfig, match="ApplyTrimReward must go around"):
        ApplyTrimReward(CountingEnv(), TrimReward())


def test_a_varied_horizon_counts_with_its_mean() -> None:
    env = ControlHorizon(CountingEnv(success_at=(7,)), numbered_policy(6), (2, 6), stop_on_success=True)
    env.reset()
    env.step(1)
    assert env.step(0)[1] == 1 + (6 + 2) / 2 / 6


def test_spec_round_trip_keeps_the_reward() -> None:
    register_counting_env()
    env = ApplyTrimReward(ExecuteChunk(gym.make("CountingEnv-v0", success_at=(2,)), 4, stop_on_success=True), TrimReward(beta=0.5))
    for spec in (env.spec, gym.envs.registration.EnvSpec.from_json(env.spec.to_json())):
        again = gym.make(spec)
        assert isinstance(again, ApplyTrimReward)
        assert play(again) == [1.5]


def test_an_impossible_horizon_is_refused() -> None:
    with pytest.raises(InvalidHorizon):
        TrimReward().episode_return(True, 10, 5, 4)


def test_saved_calls_are_paid_beside_saved_steps() -> None:
    reward = TrimReward(beta=0.0, lam=0.0, base_calls=10.0, kappa_calls=0.5)
    assert reward.episode_return(True, 90, 8, 16, num_replans=4) == pytest.approx(1 + 0.5 * 0.6)
    assert reward.episode_return(True, 90, 8, 16, num_replans=30) == 1.0
    assert reward.episode_return(False, 90, 8, 16, num_replans=1) == 0.0


def test_each_task_has_its_own_base_and_an_unknown_task_is_named() -> None:
    history = TrimRewardHistory(TrimReward(base_steps={"reach": 100.0, "peg": 400.0}))
    meter = TrimRewardMeter(history)
    chunk = {"execute_horizon": 8, "steps_to_success": 50, "chunk_size": 8}
    for task, saved in {"reach": 0.5, "peg": 350 / 400}.items():
        meter.start_episode({"task": task})
        assert meter.step(chunk, ended=True) == pytest.approx(1 + 1 + 0.8 * saved)
    meter.start_episode({"task": "push"})
    with pytest.raises(InvalidConfig, match='no entry for the task "push"'):
        meter.step(chunk, ended=True)


def test_a_running_base_is_the_mean_of_what_came_before() -> None:
    """An initial state that was never solved leans on its task; an episode never enters its own base."""
    history = TrimRewardHistory(TrimReward(base_steps="running", base_calls="running"))
    assert history.base(("reach", 0), "steps") is None
    history.record(("reach", 0), 100, 4)
    history.record(("reach", 1), 50, 2)
    assert history.base(("reach", 0), "steps") == pytest.approx(130)
    assert history.base(("reach", 9), "calls") == pytest.approx(1.3 * 3)
    meter = TrimRewardMeter(TrimRewardHistory(TrimReward(beta=0.0, lam=0.0, base_steps="running")))
    returns = []
    for steps in (100, 65, 65):
        meter.start_episode({"task": "reach", "initial_state": 0})
        returns.append(meter.step({"execute_horizon": 8, "steps_to_success": steps, "chunk_size": 8}, ended=True))
    assert returns == pytest.approx([1.0, 1 + 0.8 * 0.5, 1 + 0.8 * (1 - 65 / (1.3 * 82.5))])
