"""A line with two tasks, an expert and a wind: the smallest environment that a whole experiment can be run on."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict

from policytrim_gym.envs.initial_states import InitialState, choose_initial_state
from policytrim_gym.errors import InvalidConfig

ID = "pacing_env:Pacing-v0"
SPEED = {"full-speed": 1.0, "slow-uneven": 0.4, "saturated": 1.0}
DISTANCE = {"near": 0.5, "far": 1.0}


class PacingEnv(gym.Env[dict[str, np.ndarray], np.ndarray]):
    """The hand moves by 0.1 * action less the wind; within 0.1 of the goal it has succeeded.

    Args:
        wind: stands for another physics [distance a step].
        experts: names that `make_expert` knows.
    """

    tasks = ("near", "far")
    action_kinds = ("delta",)
    control_dt_s = 0.05

    def __init__(self, wind: float = 0.0, experts: tuple[str, ...] = tuple(SPEED)) -> None:
        self.wind, self.experts = wind, experts
        self.observation_space = Dict({"state": Box(-np.inf, np.inf, (2,), np.float32)})
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self.initial_state: InitialState | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        self.initial_state = choose_initial_state(self.tasks, options, self.np_random)
        self._goal = DISTANCE[self.initial_state.task] + 0.2 * self.initial_state.generator().random()
        self._position, self._steps = 0.0, 0
        return self._observe(), self._info(False)

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        self._position += 0.1 * float(np.clip(action[0], -1.0, 1.0)) - self.wind
        self._steps += 1
        success = abs(self._goal - self._position) < 0.1
        return self._observe(), float(success), success, self._steps >= 60 and not success, self._info(success)

    def make_expert(self, demonstrator: str, seed: int = 0) -> PacingExpert:
        if demonstrator not in self.experts:
            raise InvalidConfig(f"demonstrator must be one of {self.experts}, got {demonstrator!r}")
        return PacingExpert(SPEED[demonstrator])

    def _observe(self) -> dict[str, np.ndarray]:
        return {"state": np.array([self._position, self._goal], np.float32)}

    def _info(self, success: bool) -> dict[str, Any]:
        assert self.initial_state is not None
        state = self.initial_state
        return {"instruction": f"go {state.task}", "task": state.task, "initial_state": state.index, "is_success": success}


class PacingExpert:
    """Goes to the goal at one speed."""

    def __init__(self, speed: float) -> None:
        self._speed = speed

    def action(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        position, goal = observation["state"]
        return np.array([np.clip((goal - position) / 0.1, -self._speed, self._speed)], np.float32)


gym.register("Pacing-v0", entry_point=PacingEnv)
