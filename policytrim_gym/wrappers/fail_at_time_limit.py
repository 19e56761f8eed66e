"""The wrapper that makes a time limit the end of an episode for good."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs


class FailAtTimeLimit(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Reports a truncation as a termination.

    A learner with a value function (PPO of Stable-Baselines3, for one) adds the value of the last observation to the reward of a
    truncated episode, since it might have gone on. Under the trim reward an episode that runs out of time has failed and is worth 0: with
    that addition it would earn what the critic hopes for, and the longest episodes would be the best paid. Unlike Gymnasium's
    `TimeLimit`, which ends an episode, this only says how an end is to be read; it goes outside `ApplyTrimReward`.

    Args:
        env: any environment.

    >>> env = FailAtTimeLimit(gym.make("Pendulum-v1", max_episode_steps=1))
    >>> _ = env.reset(seed=0)
    >>> env.step(env.action_space.sample())[2:4]
    (True, False)
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps; a time limit terminates."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated or truncated, False, info
