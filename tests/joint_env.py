"""An environment with joints whose motion is known, for the tests of what is measured of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray


class Limits(NamedTuple):
    velocity: NDArray[np.float64]
    acceleration: NDArray[np.float64]


class JointEnv(gym.Env[np.ndarray, np.ndarray]):
    """Two joints that accelerate from rest by the action [rad/s^2] and succeed when the first has gone 1 rad; refuses what is no action.

    Args:
        acceleration_limit: that it claims; it moves as told.
    """

    control_dt_s = 0.1

    def __init__(self, acceleration_limit: float = 2.0, max_episode_steps: int = 40) -> None:
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = Box(-2.0, 2.0, (2,), np.float32)
        self.motion_limits = Limits(np.full(2, 5.0), np.full(2, acceleration_limit))
        self.max_episode_steps = max_episode_steps

    @property
    def joint_path(self) -> NDArray[np.float64]:
        return np.array(self._path)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._path, self._velocity = [np.zeros(2)], np.zeros(2)
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in self.action_space or not np.isfinite(action).all()
        if not np.isfinite(action).all():
            raise ValueError(f"an action must be finite, got {action}")
        dt = self.control_dt_s
        self._path.append(self._path[-1] + dt * self._velocity + 0.5 * dt**2 * np.asarray(action, float))
        self._velocity = self._velocity + dt * np.asarray(action, float)
        state = self._path[-1]
        success = bool(state[0] >= 1.0)
        return state.astype(np.float32), 0.0, success, len(self._path) > self.max_episode_steps, {"is_success": success}
