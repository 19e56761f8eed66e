"""Policies of other kinds for an arm on ROS topics, as `python:` URIs name them: motions of the tool, and an abrupt action now and then."""

from __future__ import annotations

import itertools

import numpy as np

from policytrim_gym.envs.arm.actions import ToolDeltas
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.robot.kinematics import Kinematics
from policytrim_gym.spec import PolicySpec
from tests.small_arm_policies import DT_S, POSITIONS, ROBOT, STATE, reach_policy

FLIP_STEP = 6
"""Before which the gripper moves abruptly in every other chunk of `flipping_policy`."""


def tool_reach_policy() -> CallablePolicy:
    """Says what `reach_policy` does as motions of the tool."""
    reach, mode = reach_policy(), ToolDeltas(ROBOT, Kinematics(ROBOT))

    def chunk(observation):
        command, rows = observation["state"][: ROBOT.dof].astype(np.float64), []
        for target in reach.predict_action_chunk(observation).actions.astype(np.float64):
            rows.append(np.append(mode.towards(target[:-1], command), target[-1]))
            command = target[:-1]
        return rows

    return CallablePolicy(chunk, PolicySpec(16, 7, 8, DT_S, {"state": (STATE,)}, True, ToolDeltas.KINDS))


def flipping_policy() -> CallablePolicy:
    """Swings the first joint, and in its first chunk and every other one after it closes the gripper at FLIP_STEP."""
    number = itertools.count()

    def chunk(observation):
        targets = np.tile(observation["state"].astype(np.float64), (16, 1))
        targets[:, 0] += 0.01 * np.arange(1, 17)
        targets[:, -1] = 1.0
        if next(number) % 2 == 0:
            targets[FLIP_STEP:, -1] = 0.0
        return targets

    return CallablePolicy(chunk, PolicySpec(16, ROBOT.dof + 1, 8, DT_S, {"state": (ROBOT.dof + 1,)}, False, POSITIONS))
