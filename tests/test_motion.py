"""Laws of measuring the motion of an episode, and of the actions that reach an environment."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from joint_env import JointEnv
from scripted_envs import CountingEnv, numbered_policy

from policytrim_gym.envs.metaworld import MetaWorldEnv
from policytrim_gym.evaluation.evaluate import Evaluator
from policytrim_gym.evaluation.playback import PlaybackController
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.rollouts.collector import Rollout, RolloutCollector
from policytrim_gym.rollouts.episode import EpisodeRequest
from policytrim_gym.rollouts.worker import EnvSlot
from policytrim_gym.spec import PolicySpec


def steady_policy(*action: float) -> CallablePolicy:
    return CallablePolicy(lambda observation: np.tile(action, (4, 1)), PolicySpec(4, 2))


def collect(env: object, policy: CallablePolicy, num_workers: int = 0, **request: object) -> Rollout:
    with RolloutCollector(env, num_workers, slots_per_worker=1) as collector:  # type: ignore[arg-type]
        return collector.collect([EpisodeRequest(4, measure_motion=True, **request)], PlaybackController(policy))[0]  # type: ignore[arg-type]


def test_full_acceleration_is_the_shortest_time_and_a_quarter_of_it_takes_twice_as_long() -> None:
    fast, slow = (collect(JointEnv, steady_policy(level, 0.0)).record(4) for level in (2.0, 0.5))
    assert fast.success and fast.motion_s == pytest.approx(0.1 * fast.steps)
    assert fast.motion_headroom == pytest.approx(1.0, abs=0.02)
    assert slow.motion_headroom == pytest.approx(2.0, abs=0.06)


@pytest.mark.slow
def test_a_worker_measures_the_same() -> None:
    here, there = (collect(JointEnv, steady_policy(1.0, 0.0), workers).record(4) for workers in (0, 1))
    assert here.shortest_s == there.shortest_s is not None


@pytest.mark.parametrize("env", [partial(CountingEnv, truncate_at=6), "Pendulum-v1"], ids=["counting", "pendulum"])
def test_an_environment_without_joints_has_no_motion(env: object) -> None:
    policy = numbered_policy() if callable(env) else CallablePolicy(lambda observation: np.zeros((4, 1)), PolicySpec(4, 1))
    record = collect(env, policy).record(6)
    assert record.shortest_s is record.motion_s is record.motion_headroom is None
    assert "shortest_s" not in record.to_json()


def test_motion_is_measured_when_asked_for_and_by_an_evaluation() -> None:
    with Evaluator(JointEnv, num_workers=0) as evaluator:
        assert evaluator.requests(4, 1, "test", 0)[0].measure_motion is False
        assert evaluator.evaluate(steady_policy(1.0, 0.0), 4, 2).motion_headroom == pytest.approx(2**0.5, abs=0.05)


def test_actions_reach_the_environment_within_its_bounds() -> None:
    wild, clipped = (collect(JointEnv, steady_policy(*action)) for action in ((7.0, -9.0), (2.0, -2.0)))
    assert wild.record(4).shortest_s == clipped.record(4).shortest_s
    np.testing.assert_array_equal(wild.actions()[0], [7.0, -9.0])  # the rollout keeps what the policy said


def test_an_environment_that_clips_by_itself_does_the_same_as_before() -> None:
    actions = np.random.default_rng(0).normal(0.0, 2.0, (8, 4)).astype(np.float32)
    slot, env = EnvSlot(lambda: MetaWorldEnv(["push-v3"])), MetaWorldEnv(["push-v3"])  # type: ignore[arg-type]
    slot.reset(0, {"initial_state": 3})
    env.reset(seed=0, options={"initial_state": 3})
    for action in actions:
        observation = env.step(action)[0]
    np.testing.assert_array_equal(slot.run(actions).observation["state"], observation["state"])


def test_nan_reaches_the_environment_as_it_is() -> None:
    slot = EnvSlot(JointEnv)  # type: ignore[arg-type]
    slot.reset(0, None)
    with pytest.raises(ValueError, match="must be finite, got .*nan"):
        slot.run(np.array([[np.nan, 0.0]], np.float32))
