"""What Gymnasium and SB3 check of the arm, for each engine, task, observation and action."""

from __future__ import annotations

import warnings

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3_env

import policytrim_gym  # noqa: F401  # registers the environment
from policytrim_gym.envs.arm.tasks import TASKS

ADVICE = ("infinity", "symmetric and normalized")  # a state has no known bounds, and joint targets have those of the joints


@pytest.mark.parametrize("engine", ["mujoco", "pybullet"])
@pytest.mark.parametrize("observation", ["state", "pixels"])
@pytest.mark.parametrize("action", ["joint", "tool_delta"])
@pytest.mark.parametrize("task", TASKS)
def test_the_arm_passes_both_checks(engine: str, observation: str, action: str, task: str) -> None:
    kwargs = {"task": task, "engine": engine, "observation": observation, "action": action, "image_size": 48}
    env = gym.make("PolicyTrim/Arm-v0", **kwargs, render_mode="rgb_array").unwrapped
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env)  # makes others of its spec, also with render_mode None
        check_sb3_env(env)
    env.close()
    messages = [str(warning.message) for warning in caught]
    assert [message for message in messages if not any(words in message for words in ADVICE)] == []
