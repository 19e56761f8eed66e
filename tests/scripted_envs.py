"""Small environments whose every number is known, for the tests of the wrappers."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from policytrim_gym.policy import CallablePolicy
from policytrim_gym.spec import PolicySpec


class CountingEnv(gym.Env[np.ndarray, np.ndarray]):
    """Step k of an episode (1-based) earns k; logs every action; ends and succeeds where it is told.

    Args:
        terminate_at, truncate_at: step that ends the episode, or None.
        success_at: steps whose info says success (they do not end the episode).
        tell_success: key of the info that tells success, or None.
        observation: "box" or "dict" ({"state", "image_front"}).
    """

    metadata = {"render_modes": []}

    def __init__(
        self,
        terminate_at: int | None = None,
        truncate_at: int | None = None,
        success_at: tuple[int, ...] = (),
        tell_success: str | None = "success",
        observation: str = "box",
    ) -> None:
        self.terminate_at, self.truncate_at, self.success_at, self.tell_success = terminate_at, truncate_at, success_at, tell_success
        state = Box(-np.inf, np.inf, (2,), np.float32)
        self.is_dict = observation == "dict"
        self.observation_space = (
            gym.spaces.Dict({"state": state, "image_front": Box(0, 255, (4, 4, 3), np.uint8)}) if self.is_dict else state
        )
        self.action_space = Box(-2.0, 2.0, (2,), np.float64)
        self.instruction = "count"
        self.actions: list[np.ndarray] = []
        self.reset_options: list[dict[str, Any] | None] = []
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        self.reset_options.append(options)
        return self._observe(), {"task": "count", "initial_state": 0}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.actions.append(np.array(action))
        info = {} if self.tell_success is None else {self.tell_success: self.steps in self.success_at}
        return self._observe(), float(self.steps), self.steps == self.terminate_at, self.steps == self.truncate_at, info

    def _observe(self) -> Any:
        state = np.array([self.steps, 0.5], np.float32)
        return {"state": state, "image_front": np.full((4, 4, 3), self.steps % 256, np.uint8)} if self.is_dict else state


def register_counting_env() -> None:
    """Makes `CountingEnv-v0` known to `gym.make`, for spec round trips."""
    if "CountingEnv-v0" not in gym.registry:
        gym.register("CountingEnv-v0", entry_point="scripted_envs:CountingEnv")


def numbered_policy(chunk_size: int = 6) -> CallablePolicy:
    """Action i of the chunk asked for at step s reads (s, i), scaled into the action space by 0.01."""

    def chunk(observation: Any) -> np.ndarray:
        step = observation["state"][0]
        return 0.01 * np.stack([np.full(chunk_size, step), np.arange(chunk_size)], axis=1)

    return CallablePolicy(chunk, PolicySpec(chunk_size=chunk_size, action_dim=2, observation_shapes={"state": (2,)}))
