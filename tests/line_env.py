"""A point on a line that must reach a goal: the smallest environment in which a slow clone can be trimmed."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict

from policytrim_gym.policies.state_policy import StatePolicy, StatePolicyConfig
from policytrim_gym.policies.word_tokenizer import WordTokenizer
from policytrim_gym.training.imitation import imitate

SPEED = 0.1
PACE = 0.3
CHUNK_SIZE = 8


class LineEnv(gym.Env[dict[str, np.ndarray], np.ndarray]):
    """The hand moves by 0.1 * action; the goal is 1.5 to 2.5 away; success within 0.06 at rest of at least one step ends the episode."""

    action_kinds = ("delta",)
    instruction = "go to the goal"

    def __init__(self, max_steps: int = 150) -> None:
        self.observation_space = Dict({"state": Box(-np.inf, np.inf, (2,), np.float32)})
        self.action_space = Box(-1.0, 1.0, (1,), np.float32)
        self._max_steps = max_steps

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        self._position, self._goal, self._steps = 0.0, float(self.np_random.uniform(1.5, 2.5)), 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        self._position += SPEED * float(np.clip(action[0], -1.0, 1.0))
        self._steps += 1
        success = abs(self._goal - self._position) < 0.06
        return self._observe(), float(success), success, self._steps >= self._max_steps and not success, {"is_success": success}

    def _observe(self) -> dict[str, np.ndarray]:
        return {"state": np.array([self._position, self._goal], np.float32)}


class SeenLineEnv(LineEnv):
    """A LineEnv with a picture of where it is, which it draws when somebody looks; `drawn` counts over all instances."""

    drawn = 0

    def __init__(self, max_steps: int = 150) -> None:
        super().__init__(max_steps)
        self.observation_space["image_front"] = Box(0, 255, (28, 28, 3), np.uint8)
        self.look = True

    def _observe(self) -> dict[str, np.ndarray]:
        if self.look:
            SeenLineEnv.drawn += 1
            self._image = np.full((28, 28, 3), abs(self._position) * 20 % 256, np.uint8)
        return {**super()._observe(), "image_front": self._image}


def slow_policy(seed: int = 0) -> StatePolicy:
    """Returns a clone of a demonstrator that moves at 30 % of the possible speed."""
    config = StatePolicyConfig(
        state_size=2, action_dim=1, chunk_size=CHUNK_SIZE, execute_horizon=2, action_kinds=("delta",), hidden_size=32, num_layers=2
    )
    policy = StatePolicy(config, WordTokenizer.from_texts([LineEnv.instruction]), seed=seed)
    random = np.random.default_rng(seed)
    goals = random.uniform(1.5, 2.5, 400)
    positions = random.uniform(0, 1, 400) * goals
    observations = [
        {"state": np.array(pair, np.float32), "instruction": LineEnv.instruction} for pair in zip(positions.tolist(), goals.tolist())
    ]
    future = positions[:, None] + PACE * SPEED * np.arange(CHUNK_SIZE)
    targets = (PACE * np.clip((goals[:, None] - future) / 0.1, 0.0, 1.0))[..., None].astype(np.float32)
    policy.set_normalisation(np.array([1.0, 2.0]), np.array([0.6, 0.3]))
    imitate(policy, observations, targets, gradient_steps=300, batch_size=64, learning_rate=3e-3, seed=seed)
    return policy
