"""A policy for benchmarks that waits for images as a real one does: the circle of `ros_scripted_policies`, beside a camera."""

from __future__ import annotations

from typing import Any

import numpy as np
from ros_scripted_policies import CHUNK_SIZE, DT_S, HORIZON, ROBOT, circle_chunk

from policytrim_gym.policy import CallablePolicy
from policytrim_gym.spec import PolicySpec

IMAGE_SIZE = 96


def seeing_circle_policy() -> CallablePolicy:
    """Moves two joints on a circle; it wants the front camera's image and does not look at it."""

    def chunk(observation: Any) -> np.ndarray:
        return circle_chunk(observation["state"])

    shapes = {"state": (ROBOT.dof,), "image_front": (IMAGE_SIZE, IMAGE_SIZE, 3)}
    return CallablePolicy(chunk, PolicySpec(CHUNK_SIZE, ROBOT.dof, HORIZON, DT_S, shapes, False, ("position",) * ROBOT.dof))
