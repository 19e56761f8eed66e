"""Small tiny VLAs with random weights for the tests, and the scene with two goals in which one is cloned."""

from __future__ import annotations

from typing import Any

import numpy as np

from policytrim_gym.policies.tiny_vla.building import random_tiny_vla
from policytrim_gym.policies.tiny_vla.policy import TinyVLAPolicy

SIZE = 32
INSTRUCTIONS = ("open the door", "push the puck")
CAMERAS = ("front", "wrist")


def small_tiny_vla(head: str, seed: int = 0, **config: Any) -> TinyVLAPolicy:
    """Returns a policy of chunk size 6 with two cameras: state (3,), actions (2,), the first of which continues state 1."""
    settings = {
        "cameras": CAMERAS,
        "image_size": SIZE,
        "state_size": 3,
        "action_dim": 2,
        "chunk_size": 6,
        "execute_horizon": 4,
        "action_kinds": ("position", "position"),
        "action_origins": (1, None),
        "head": head,
        "image_channels": 4,
        "hidden_size": 32,
        "instruction_size": 8,
        "prompt_length": 4,
    }
    policy = random_tiny_vla(INSTRUCTIONS, seed, **{**settings, **config})
    policy.set_action_scale([0.5, 1.0])
    policy.set_normalisation([0.1, 0.2, 0.3], [1.0, 2.0, 0.5])
    return policy


def tiny_vla_observation(index: int) -> dict[str, Any]:
    """Returns an observation that `small_tiny_vla` accepts, another one for each index."""
    random = np.random.default_rng(index)
    images = {f"image_{camera}": random.integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8) for camera in CAMERAS}
    return {**images, "state": random.normal(size=3).astype(np.float32), "instruction": INSTRUCTIONS[index % 2]}


class TwoGoalsScene:
    """A point on a table with a red and a blue goal; the instruction says which one is meant, and only the image shows where they are.

    An action moves the point by 0.1 of it in each direction, within [-1, 1]; a goal is reached within 0.15.
    """

    colours = {"go to the red goal": (255, 0, 0), "go to the blue goal": (0, 0, 255)}

    def __init__(self, seed: int, instruction: str) -> None:
        random = np.random.default_rng(seed)
        while True:
            places = random.uniform(-0.8, 0.8, (2, 2))
            if np.linalg.norm(places[0] - places[1]) > 0.5 and np.linalg.norm(places, axis=1).min() > 0.3:
                break
        self.goals = dict(zip(self.colours, places))
        self.instruction = instruction
        self.point = np.zeros(2)

    def observe(self) -> dict[str, Any]:
        image = np.full((SIZE, SIZE, 3), 60, np.uint8)
        cells = np.stack(np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 2, indexing="ij"), axis=-1)
        for instruction, colour in self.colours.items():
            image[np.linalg.norm(cells - self.goals[instruction], axis=-1) < 0.15] = colour
        return {"image_front": image, "state": self.point.astype(np.float32), "instruction": self.instruction}

    def wanted(self, chunk_size: int) -> np.ndarray:
        """Returns the chunk of an expert, (chunk_size, 2)."""
        point, actions = self.point.copy(), []
        for _ in range(chunk_size):
            actions.append(np.clip((self.goals[self.instruction] - point) / 0.1, -1.0, 1.0))
            point = point + 0.1 * actions[-1]
        return np.array(actions, np.float32)

    def step(self, action: np.ndarray) -> None:
        self.point = np.clip(self.point + 0.1 * np.clip(action, -1.0, 1.0), -1.0, 1.0)

    def reached(self) -> str | None:
        """Returns the instruction whose goal the point is at."""
        for instruction, place in self.goals.items():
            if np.linalg.norm(self.point - place) < 0.15:
                return instruction
        return None
