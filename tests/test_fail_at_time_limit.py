"""Laws of a time limit that is a failure."""

from __future__ import annotations

import numpy as np
import pytest
from scripted_envs import CountingEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
from policytrim_gym.wrappers.fail_at_time_limit import FailAtTimeLimit
from policytrim_gym.wrappers.trim_reward import ApplyTrimReward, TrimReward


@pytest.mark.parametrize("ends", [{"terminate_at": 2}, {"truncate_at": 2}, {"terminate_at": 2, "truncate_at": 2}])
def test_an_episode_ends_at_the_same_step_and_terminates(ends: dict) -> None:
    env = FailAtTimeLimit(CountingEnv(**ends))
    env.reset()
    assert env.step(np.zeros(2))[1:4] == (1.0, False, False)
    assert env.step(np.zeros(2))[1:4] == (2.0, True, False)


def test_sb3_adds_no_value_to_an_episode_that_ran_out_of_time() -> None:
    """SB3 bootstraps where `info["TimeLimit.truncated"]` is set, which its vector does from the two flags."""

    def last_info(fails: bool) -> dict:
        def make():
            env = ApplyTrimReward(ExecuteChunk(CountingEnv(truncate_at=2), 4), TrimReward())
            return FailAtTimeLimit(env) if fails else env

        vector = DummyVecEnv([make])
        vector.reset()
        return vector.step(np.zeros((1, 4, 2)))[3][0]

    assert last_info(fails=False)["TimeLimit.truncated"]
    assert not last_info(fails=True)["TimeLimit.truncated"]
