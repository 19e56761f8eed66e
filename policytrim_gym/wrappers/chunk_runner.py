"""Runs the actions of a chunk in an environment: the one loop behind `ExecuteChunk` and `ControlHorizon`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidConfig, InvalidSpec
from policytrim_gym.metrics import is_success
from policytrim_gym.wrappers.lazy_step import lazy_step

FALLBACK_TIME_LIMIT_STEPS = 1000

SuccessFunction = Callable[[Mapping[str, Any]], bool]
"""Says from an environment's info whether the task is done."""


class PaddedRewards(np.ndarray[Any, np.dtype[np.float64]]):
    """Rewards padded with NaN, in which padding equals padding.

    Gymnasium's `check_env` compares the infos of two equal steps by `np.allclose` and `==`, for which NaN differs from itself, and would
    call every environment that stops before the end of a chunk non-deterministic.

    >>> rewards = np.array([1.0, np.nan]).view(PaddedRewards)
    >>> bool((rewards == rewards).all()), np.isnan(rewards).tolist()
    (True, [False, True])
    """

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.allclose:
            kwargs = {"equal_nan": True, **kwargs}
        return super().__array_function__(func, types, args, kwargs)

    def __eq__(self, other: object) -> Any:
        mine, theirs = np.asarray(self), np.asarray(other)
        return (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))


class ChunkRunner:
    """Runs actions one by one until a number of them is done or the episode ends.

    Args:
        env: environment with a one-dimensional Box action space; it takes one action a step.
        chunk_size: H, length of the padded record of rewards [steps].
        gamma: discount of each physical step, in [0, 1].
        stop_on_success: end the episode (terminated) at the first success, for environments that go on after it.
        success: tells success from an info; None takes `is_success`, else `success`.

    Raises:
        InvalidSpec: another action space.
        InvalidConfig: `chunk_size` or `gamma` out of range.
    """

    def __init__(
        self, env: gym.Env[Any, Any], chunk_size: int, gamma: float, stop_on_success: bool, success: SuccessFunction | None
    ) -> None:
        space = env.action_space
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise InvalidSpec(f"the environment must take a Box action of shape (action_dim,), got {space}")
        if isinstance(chunk_size, bool) or not isinstance(chunk_size, (int, np.integer)) or chunk_size < 1:
            raise InvalidConfig(f"chunk_size must be an integer of at least 1, got {chunk_size!r}")
        if not 0 <= gamma <= 1:
            raise InvalidConfig(f"gamma must be in [0, 1], got {gamma}")
        self._env = env
        self._chunk_size = int(chunk_size)
        self._gamma = float(gamma)
        self._stop_on_success = stop_on_success
        self._is_success = success or is_success
        self._tells_success = success is not None
        self.start_episode()

    def start_episode(self) -> None:
        """Forgets the past episode."""
        self.steps = 0
        self.steps_to_success = 0  # 0: not yet

    def run(self, actions: NDArray[Any], execute_horizon: int, playback_rate: float = 1.0) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Runs the first actions of a chunk, up to `execute_horizon` and exactly to the end of the episode.

        Only the last one is looked at: see `lazy_step`.

        Args:
            actions: checked actions in the environment's dtype, (n, action_dim).
            execute_horizon: most actions to run; of a window that was resampled, how many actions of the chunk it plays [steps].
            playback_rate: of the window, for the record.

        Returns:
            As `Env.step`: the last observation, the sum of gamma^k r_k, and the last info with what `ExecuteChunk` documents.
        """
        succeeded = self._is_success
        rewards = np.full(self._chunk_size, np.nan)
        total, discount, executed = 0.0, 1.0, 0
        window = actions[:execute_horizon]
        for action in window:
            observation, reward, terminated, truncated, info = lazy_step(self._env, action, look=executed == len(window) - 1)
            rewards[executed] = reward = float(reward)
            total += discount * reward
            discount *= self._gamma
            executed += 1
            if not self.steps_to_success and succeeded(info):
                self.steps_to_success = self.steps + executed
                terminated = terminated or self._stop_on_success
            if terminated or truncated:
                break
        self.steps += executed
        info = dict(info)  # the environment may keep its own
        if self._tells_success or "is_success" in info or "success" in info or self.steps_to_success:
            info["is_success"] = self.steps_to_success > 0
        info["chunk"] = {
            "executed_steps": executed,
            "execute_horizon": execute_horizon,
            "playback_rate": playback_rate,
            "chunk_size": self._chunk_size,
            "rewards": rewards.view(PaddedRewards),
            "steps_to_success": self.steps_to_success,
        }
        return observation, total, bool(terminated), bool(truncated), info


def require_chunks(wrapper: gym.Wrapper[Any, Any, Any, Any]) -> int:
    """Returns the chunk size of the chunk wrapper inside, or raises InvalidConfig."""
    if not wrapper.env.has_wrapper_attr("chunk_size"):
        raise InvalidConfig(f"{type(wrapper).__name__} must go around ExecuteChunk or ControlHorizon, got {wrapper.env}")
    return int(wrapper.env.get_wrapper_attr("chunk_size"))


def check_time_limit(max_episode_steps: int | None) -> int | None:
    """Returns the time limit, or raises InvalidConfig when it is below 1 [steps]."""
    if max_episode_steps is not None and max_episode_steps < 1:
        raise InvalidConfig(f"max_episode_steps must be at least 1 or None, got {max_episode_steps}")
    return max_episode_steps


def time_limit(env: gym.Env[Any, Any], max_episode_steps: int | None) -> int:
    """Returns the time limit that progress refers to: the given one, the environment's, else 1000 [steps]."""
    limit = (
        check_time_limit(max_episode_steps)
        or (env.spec and env.spec.max_episode_steps)
        or getattr(env.unwrapped, "max_episode_steps", None)
    )
    return limit or FALLBACK_TIME_LIMIT_STEPS
