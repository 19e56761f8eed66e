"""Policies for the timing of nodes, as `python:` URIs name them: motion without end that needs no training and never stands still."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.policy import CallablePolicy
from policytrim_gym.robot.robot_model import load_robot
from policytrim_gym.spec import PolicySpec

ROBOT = load_robot("policytrim_arm")
DT_S, CHUNK_SIZE, HORIZON = 0.05, 32, 16
INFERENCE_S = 0.15
RADIUS, TURNS_RAD_S = 0.3, 2.0  # [rad], [rad/s]: one of the two joints always moves at 0.4 rad/s or more
PAIR = [0, ROBOT.dof - 1]  # base and hand: the table is never touched


def circle_chunk(joints: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Returns targets (CHUNK_SIZE, n) on a circle in the plane of the first and the last joint, which goes through the home position.

    Args:
        joints: measured positions, (n,) [rad]; only the angle that they stand at on the circle counts.
    """
    across, along = np.asarray(joints, dtype=np.float64)[PAIR] - ROBOT.home[PAIR]
    angle = math.atan2(across, along + RADIUS)
    angles = angle + TURNS_RAD_S * DT_S * np.arange(1, CHUNK_SIZE + 1)
    targets = np.tile(ROBOT.home, (CHUNK_SIZE, 1))
    targets[:, PAIR] += RADIUS * np.stack([np.sin(angles), np.cos(angles) - 1.0], axis=1)
    return targets


def circle_policy() -> CallablePolicy:
    """Moves two joints on a circle, and answers at once."""
    return _policy(0.0)


def slow_circle_policy() -> CallablePolicy:
    """The same, and takes INFERENCE_S for an answer."""
    return _policy(INFERENCE_S)


def _policy(inference_s: float) -> CallablePolicy:
    def chunk(observation: Any) -> NDArray[np.float64]:
        time.sleep(inference_s)
        return circle_chunk(observation["state"])

    spec = PolicySpec(CHUNK_SIZE, ROBOT.dof, HORIZON, DT_S, {"state": (ROBOT.dof,)}, False, ("position",) * ROBOT.dof)
    return CallablePolicy(chunk, spec)
