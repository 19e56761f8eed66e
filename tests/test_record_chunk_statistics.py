"""Laws of the record at the end of an episode."""

from __future__ import annotations

import time

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from scripted_envs import CountingEnv, numbered_policy, register_counting_env

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.metrics import RolloutRecord
from policytrim_gym.wrappers.control_horizon import ControlHorizon
from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
from policytrim_gym.wrappers.record_chunk_statistics import RecordChunkStatistics

CHUNK = np.zeros((4, 2))


def make(**kwargs) -> RecordChunkStatistics:
    return RecordChunkStatistics(ExecuteChunk(CountingEnv(**kwargs), 4))


def play(env: gym.Env) -> dict:
    env.reset()
    while True:
        _, _, terminated, truncated, info = env.step(CHUNK)
        if terminated or truncated:
            return info["rollout"]
        assert "rollout" not in info


def test_a_failure_counts_every_step() -> None:
    rollout = play(make(truncate_at=10))
    wall_clock_s = rollout.pop("wall_clock_s")
    assert wall_clock_s > 0
    assert rollout == {
        "success": False,
        "steps": 10,
        "num_replans": 3,
        "executed_steps": (4, 4, 2),
        "chunk_utilization": 10 / 12,
        "task": "count",
        "initial_state": 0,
    }


@pytest.mark.parametrize("success_at", range(1, 13))
@pytest.mark.parametrize("stops", [True, False])
def test_nothing_after_the_first_success_counts(success_at: int, stops: bool) -> None:
    env = RecordChunkStatistics(ExecuteChunk(CountingEnv(success_at=(success_at,), truncate_at=20), 4, stop_on_success=stops))
    rollout = play(env)
    assert rollout["success"] and rollout["steps"] == success_at == sum(rollout["executed_steps"])
    assert rollout["num_replans"] == -(-success_at // 4) == len(rollout["executed_steps"])


def test_episodes_do_not_see_each_other() -> None:
    env = make(truncate_at=6)
    env.reset()
    env.step(CHUNK)
    first, second = play(env), play(env)
    assert first["steps"] == second["steps"] == 6


def test_the_record_is_a_rollout_record() -> None:
    rollout = play(make(truncate_at=5))
    assert RolloutRecord(**rollout).to_json()["executed_steps"] == [4, 1]


def test_wall_clock_holds_what_the_caller_does_between_calls() -> None:
    env = make(truncate_at=4)
    env.reset()
    time.sleep(0.02)
    assert env.step(CHUNK)[-1]["rollout"]["wall_clock_s"] >= 0.02


def test_inference_time_is_that_of_the_chunks_that_ran() -> None:
    inner = ControlHorizon(CountingEnv(truncate_at=8), numbered_policy(), (4,), reward=None)
    env = RecordChunkStatistics(inner)
    for _ in range(2):
        env.reset()
        rollout = [env.step(0)[-1] for _ in range(2)][-1]["rollout"]
        assert len(inner.inference_times_s) == 3  # the last one shows the value function where the time limit cut
        assert rollout["inference_s"] == sum(inner.inference_times_s[:2])
        assert 0 < rollout["inference_s"] < rollout["wall_clock_s"]


def test_it_needs_a_chunk_wrapper_inside() -> None:
    with pytest.raises(InvalidConfig, match="RecordChunkStatistics must go around ExecuteChunk"):
        RecordChunkStatistics(CountingEnv())


def test_statistics_change_nothing_else() -> None:
    plain, recorded = ExecuteChunk(CountingEnv(truncate_at=6), 4), make(truncate_at=6)
    plain.reset(), recorded.reset()
    for _ in range(2):
        ours, theirs = recorded.step(CHUNK), plain.step(CHUNK)
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]


def test_spec_round_trip_keeps_the_recorder() -> None:
    register_counting_env()
    env = RecordChunkStatistics(ExecuteChunk(gym.make("CountingEnv-v0", truncate_at=4), 4))
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert isinstance(again, RecordChunkStatistics) and again.spec == env.spec
    assert play(again)["steps"] == 4


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("vector", [SyncVectorEnv, AsyncVectorEnv])
def test_vector_envs_carry_records_of_different_length(vector, mode: AutoresetMode) -> None:
    envs = vector([lambda end=end: make(truncate_at=end) for end in (2, 6)], autoreset_mode=mode)
    envs.reset()
    steps: dict[int, list[int]] = {0: [], 1: []}
    for _ in range(6):
        infos = envs.step(np.zeros((2, 4, 2)))[-1]
        infos = infos.get("final_info", infos)
        for i in range(2):
            if "rollout" in infos and infos["_rollout"][i]:
                assert infos["rollout"]["steps"][i] == sum(infos["rollout"]["executed_steps"][i])
                steps[i].append(int(infos["rollout"]["steps"][i]))
    envs.close()
    expected = 6 if mode == AutoresetMode.SAME_STEP else 3
    assert steps[0] == [2] * expected and set(steps[1]) == {6}
