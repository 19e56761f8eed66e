"""Laws of evaluating a policy at a horizon, a delay and a playback rate, and of the sweep."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.wrappers import TransformAction
from scripted_envs import CountingEnv, numbered_policy
from small_policies import metaworld_policy

from policytrim_gym.chunk import resample_actions
from policytrim_gym.envs.metaworld import MetaWorldEnv
from policytrim_gym.errors import InitialStateOutOfRange, InvalidConfig, InvalidHorizon, InvalidSpec, UnknownSplit
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.ensembling_controller import EnsemblingController
from policytrim_gym.evaluation.evaluate import Evaluator, evaluate_policy
from policytrim_gym.evaluation.playback import PlaybackController
from policytrim_gym.evaluation.sweep import sweep_horizons
from policytrim_gym.policy import CallablePolicy, Observation
from policytrim_gym.rollouts.collector import Rollout, RolloutCollector
from policytrim_gym.rollouts.controller import Controller
from policytrim_gym.rollouts.episode import EpisodeRequest
from policytrim_gym.spec import PolicySpec

H = 6


def pendulum_policy(chunk_size: int = H) -> CallablePolicy:
    """Pushes against the present speed, less and less along the chunk, so that every choice of actions leaves its own trace."""
    weights = np.linspace(1.0, 0.1, chunk_size)[:, None]
    spec = PolicySpec(chunk_size, 1, execute_horizon=3, observation_shapes={"state": (3,)}, action_kinds=("delta",))
    return CallablePolicy(lambda observation: -weights * observation["state"][2], spec)


def make_pendulum() -> gym.Env:
    return gym.make("Pendulum-v1", max_episode_steps=20)


def make_cart_pole() -> gym.Env:
    """CartPole with one number for its action."""
    return TransformAction(gym.make("CartPole-v1"), lambda action: int(action[0] > 0), Box(-1.0, 1.0, (1,), np.float32))


def rollout_with(controller: Controller, env: Any = make_pendulum, horizon: int = 3) -> Rollout:
    with RolloutCollector(env, num_workers=0) as collector:
        return collector.collect([EpisodeRequest(horizon, seed=4)], controller)[0]


def timeless(arm: EfficiencyReport) -> list[Any]:
    return [replace(record, wall_clock_s=0.0, inference_s=0.0) for record in arm.episodes]


def delayed_actions(policy: CallablePolicy, horizon: int, delay: int) -> np.ndarray:
    """Runs asynchronous execution step by step: a chunk asked for at step t is there from step t + delay on."""
    env = make_pendulum()
    state, _ = env.reset(seed=4)
    actions: list[np.ndarray] = []
    asked: list[tuple[int, np.ndarray]] = []  # (step at which it was asked for, chunk)
    truncated = False
    while not truncated:
        step = len(actions)
        if step % horizon == 0:
            asked.append((step, policy.predict_action_chunk({"state": state}).actions))
        arrived = [pair for pair in asked if pair[0] + delay <= step]
        asked_at, chunk = (arrived or asked)[-1]  # the first chunk is waited for at rest
        actions.append(chunk[step - asked_at])
        state, _, _, truncated, _ = env.step(actions[-1])
    return np.array(actions)


@pytest.mark.parametrize(("horizon", "delay"), [(3, 0), (3, 1), (3, 3), (4, 2), (5, 1), (1, 1)])
def test_a_delay_is_that_of_a_step_by_step_loop(horizon: int, delay: int) -> None:
    policy = pendulum_policy()
    rollout = rollout_with(PlaybackController(policy, inference_delay_steps=delay), horizon=horizon)
    np.testing.assert_array_equal(rollout.actions(), delayed_actions(policy, horizon, delay))


def test_without_delay_and_at_rate_one_the_chunk_runs_as_it_is() -> None:
    policy, env = pendulum_policy(), make_pendulum()
    rollout = rollout_with(PlaybackController(policy), horizon=4)
    state, _ = env.reset(seed=4)
    for window, count in zip(rollout.windows, rollout.executed_steps):
        np.testing.assert_array_equal(window.actions, policy.predict_action_chunk({"state": state}).actions[:4])
        for action in window.actions[:count]:
            state, *_ = env.step(action)
    assert rollout.executed_steps == [4] * 5


def test_a_delay_bridges_within_an_episode_only() -> None:
    """The first window of each episode is the new chunk's own."""
    with RolloutCollector(partial(CountingEnv, truncate_at=5), num_workers=0) as collector:
        episodes = collector.collect([EpisodeRequest(4)] * 3, PlaybackController(numbered_policy(), inference_delay_steps=2))
    expected = 0.01 * np.array([(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)])  # step 4 still runs the first chunk
    for episode in episodes:
        np.testing.assert_allclose(episode.actions(), expected, atol=1e-7)


@pytest.mark.parametrize("rate", [0.5, 1.5, 2.0, 3.0])
def test_playback_runs_the_resampled_window(rate: float) -> None:
    policy = pendulum_policy()
    limits = np.array([-2.0], np.float32), np.array([2.0], np.float32)
    rollout = rollout_with(PlaybackController(policy, rate, action_low=limits[0], action_high=limits[1]), horizon=6)
    env = make_pendulum()
    state, _ = env.reset(seed=4)
    for window, count in zip(rollout.windows, rollout.executed_steps):
        chunk = policy.predict_action_chunk({"state": state}).actions
        np.testing.assert_array_equal(window.actions, resample_actions(chunk, rate, ("delta",), *limits))
        assert len(window.actions) == round(6 / rate) and np.abs(window.actions).max() <= 2
        for action in window.actions[:count]:
            state, *_ = env.step(action)


def test_ensembling_of_chunks_that_do_not_overlap_is_plain_execution() -> None:
    policy = pendulum_policy()
    ensembled, plain = rollout_with(EnsemblingController(policy), horizon=H), rollout_with(PlaybackController(policy), horizon=H)
    np.testing.assert_allclose(ensembled.actions(), plain.actions(), rtol=0, atol=1e-6)


def test_ensembling_forgets_the_episode_before() -> None:
    policy = pendulum_policy()
    with RolloutCollector(make_pendulum, num_workers=0) as collector:
        controller = EnsemblingController(policy, decay=0.1)
        first, again = collector.collect([EpisodeRequest(2, seed=4)] * 2, controller)
    np.testing.assert_array_equal(first.actions(), again.actions())
    assert (first.actions() != rollout_with(PlaybackController(policy), horizon=2).actions()).any()


def test_evaluating_twice_gives_the_same_records() -> None:
    arms = [evaluate_policy(pendulum_policy(), make_pendulum, 4, num_episodes=3, seed=9, num_workers=0) for _ in range(2)]
    assert timeless(arms[0]) == timeless(arms[1])
    other = evaluate_policy(pendulum_policy(), make_pendulum, 4, num_episodes=3, seed=10, num_workers=0)
    assert other.success_rate == 0 and other.steps_restricted_mean == 20


class NoisyPolicy(CallablePolicy):
    """Draws its chunks; `reset(seed)` makes them repeatable, as the contract says."""

    def __init__(self) -> None:
        super().__init__(self.draw, PolicySpec(H, 1))
        self.reset(seed=0)

    def reset(self, seed: int | None = None) -> None:
        self.random = np.random.default_rng(seed)

    def draw(self, observation: Observation) -> np.ndarray:
        return self.random.uniform(-1, 1, (H, 1))


def test_a_stochastic_policy_is_reseeded_by_each_evaluation() -> None:
    policy = NoisyPolicy()
    arms = [evaluate_policy(policy, make_cart_pole, 3, num_episodes=4, seed=seed, num_workers=0) for seed in (1, 1, 2)]
    assert timeless(arms[0]) == timeless(arms[1]) != timeless(arms[2])


def test_a_plain_environment_is_evaluated_by_seeds() -> None:
    balance = CallablePolicy(lambda observation: np.full((2, 1), observation["state"][2] + observation["state"][3]), PolicySpec(2, 1))
    arm = evaluate_policy(balance, make_cart_pole, 1, num_episodes=2, num_workers=0)
    assert arm.steps_restricted_mean > 100
    assert [(record.task, record.initial_state) for record in arm.episodes] == [(None, None)] * 2
    assert arm.num_replans_mean == arm.steps_restricted_mean and arm.chunk_utilization == 0.5


def test_the_policys_own_horizon_is_the_default() -> None:
    arm = evaluate_policy(pendulum_policy(), make_pendulum, num_episodes=1, num_workers=0)
    assert (arm.execute_horizon, arm.chunk_size, arm.name) == (3, H, "h=3")


def test_metaworld_is_evaluated_on_each_tasks_first_states() -> None:
    tasks = ("reach-v3", "push-v3")
    policy = metaworld_policy()
    with Evaluator(lambda: MetaWorldEnv(tasks, max_episode_steps=5), num_workers=0) as evaluator:
        arm = evaluate_policy(policy, evaluator, 4, num_episodes=6, split="validation")
        assert [(record.task, record.initial_state) for record in arm.episodes] == [(task, k) for k in range(3) for task in tasks]
        plain = evaluator.evaluate(policy, 6, 1)
        ensembled = evaluator.evaluate(policy, 6, 1, ensemble=True)
        assert timeless(plain) == timeless(ensembled) and ensembled.name == "h=6 ensemble"
        for states, error, words in ((0, InitialStateOutOfRange, "got 0"), (251, InitialStateOutOfRange, "250 .* got 251")):
            with pytest.raises(error, match=words):
                evaluator.evaluate(policy, 4, states)
        with pytest.raises(UnknownSplit, match="'evaluation'"):
            evaluator.evaluate(policy, 4, 1, split="evaluation")
        with pytest.raises(InvalidConfig, match="multiple of the 2 tasks, got 3"):
            evaluate_policy(policy, evaluator, 4, num_episodes=3)


def refuse_to_make_episodes() -> gym.Env:
    """An environment that can be looked at, and must not be reset."""
    env = gym.make("Pendulum-v1").unwrapped

    def reset(**_: Any) -> None:
        raise AssertionError("an episode was started")

    env.reset = reset
    return env


@pytest.mark.parametrize(
    ("setting", "error", "words"),
    [
        ({"execute_horizon": 5, "inference_delay_steps": 2}, InvalidHorizon, r"2\.\.4.*got 5"),
        ({"execute_horizon": 1, "inference_delay_steps": 2}, InvalidHorizon, r"2\.\.4.*got 1"),
        ({"inference_delay_steps": -1}, InvalidHorizon, "got -1"),
        ({"execute_horizon": 7}, InvalidHorizon, r"1\.\.6.*got 7"),
        ({"execute_horizon": 0}, InvalidHorizon, "got 0"),
        ({"playback_rate": 0.0}, InvalidSpec, "above 0, got 0"),
        ({"playback_rate": float("nan")}, InvalidSpec, "above 0, got nan"),
        ({"playback_rate": 2.0, "inference_delay_steps": 1}, InvalidSpec, "choose one"),
        ({"num_episodes": 0}, InvalidConfig, "got 0"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_run_is_refused_before_anything_runs(setting: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        evaluate_policy(pendulum_policy(), refuse_to_make_episodes, **{"num_episodes": 1, "num_workers": 0, **setting})


def test_a_policy_that_does_not_fit_is_refused_before_anything_runs() -> None:
    flat = CallablePolicy(lambda observation: np.zeros((2, 3)), PolicySpec(2, 3))
    with pytest.raises(InvalidSpec, match=r"action_dim is 3, the environment's actions have shape \(1,\)"):
        evaluate_policy(flat, refuse_to_make_episodes, num_episodes=1, num_workers=0)
    unknown = CallablePolicy(lambda observation: np.zeros((2, 1)), PolicySpec(2, 1))
    with pytest.raises(InvalidSpec, match="needs action_kinds"):
        evaluate_policy(unknown, refuse_to_make_episodes, num_episodes=1, num_workers=0, playback_rate=2.0)
    with pytest.raises(InvalidSpec, match="needs action_kinds"):
        sweep_horizons(unknown, refuse_to_make_episodes, [1, 2], num_episodes=1, num_workers=0, playback_rates=[2.0])


def test_ensembling_goes_with_nothing_else() -> None:
    with Evaluator(make_pendulum, num_workers=0) as evaluator:
        for more in ({"playback_rate": 2.0}, {"inference_delay_steps": 1}):
            with pytest.raises(InvalidConfig, match="ensembling"):
                evaluator.evaluate(pendulum_policy(), 3, 1, ensemble=True, **more)


def test_the_sweep_holds_every_pair_and_always_stock() -> None:
    told: list[str] = []
    sweep = sweep_horizons(
        pendulum_policy(),
        make_pendulum,
        [6, 2],
        num_episodes=2,
        playback_rates=[2.0],
        num_workers=0,
        on_arm=lambda arm: told.append(arm.name),
    )
    pairs = [(arm.execute_horizon, arm.playback_rate) for arm in sweep.arms]
    assert pairs == [(2, 1.0), (3, 1.0), (6, 1.0), (2, 2.0), (3, 2.0), (6, 2.0)]
    assert told == [arm.name for arm in sweep.arms]
    assert (sweep.stock.execute_horizon, sweep.stock.playback_rate) == (3, 1.0)
    assert sweep.largest_not_inferior.execute_horizon == 6, "nothing succeeds here, so nothing is worse than stock"
    assert sweep.front and all(arm in sweep.arms for arm in sweep.front)
    alone = evaluate_policy(pendulum_policy(), make_pendulum, 6, num_episodes=2, num_workers=0)
    assert timeless(sweep.arms[2]) == timeless(alone)


def test_the_longest_horizon_that_is_not_inferior_leaves_out_what_fails() -> None:
    """Success needs a small action in step 6, which index 5 of a chunk is not: only h = 6 fails."""

    class PickyEnv(CountingEnv):
        def step(self, action: np.ndarray) -> Any:
            observation, reward, terminated, truncated, _ = super().step(action)
            return observation, reward, terminated, truncated, {"success": self.steps == 6 and action[1] < 0.045}

    stock_6 = numbered_policy()
    policy = CallablePolicy(lambda observation: stock_6.predict_action_chunk(observation).actions, stock_6.spec.with_horizon(2))
    sweep = sweep_horizons(policy, partial(PickyEnv, truncate_at=12), [1, 3, 4, 5, 6], num_episodes=2, num_workers=0)
    assert {arm.execute_horizon: arm.success_rate for arm in sweep.arms} == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 0}
    assert sweep.stock.execute_horizon == 2 and sweep.largest_not_inferior.execute_horizon == 5
    lenient = sweep_horizons(policy, partial(PickyEnv, truncate_at=12), [6], num_episodes=2, num_workers=0, margin=1.0)
    assert lenient.largest_not_inferior.execute_horizon == 6


@pytest.mark.slow
def test_workers_give_the_records_of_this_process() -> None:
    arms = [evaluate_policy(pendulum_policy(), make_pendulum, 4, num_episodes=5, num_workers=workers) for workers in (0, 2)]
    assert timeless(arms[0]) == timeless(arms[1])
