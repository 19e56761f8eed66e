"""Policies for an arm on ROS topics, as `python:` URIs name them."""

from __future__ import annotations

import numpy as np

from policytrim_gym.envs.arm.observer import state_size
from policytrim_gym.envs.arm.tasks import GOALS
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.robot.kinematics import Kinematics
from policytrim_gym.robot.robot_model import load_robot
from policytrim_gym.spec import PolicySpec

ROBOT = load_robot("policytrim_arm")
STATE = state_size(ROBOT.dof, with_bodies=True)
POSITIONS = ("position",) * (ROBOT.dof + 1)
SPEED = 0.2  # [m/s]
DT_S = 0.05


def reach_policy() -> CallablePolicy:
    """Brings the tool along a line to the ball that the instruction names, from the state of `PolicyTrim/Arm-v0`."""
    kinematics = Kinematics(ROBOT)

    def chunk(observation):
        state = observation["state"].astype(np.float64)
        goal = state[ROBOT.dof + 13 :].reshape(len(GOALS), 2, 3)[[goal in observation["instruction"] for goal in GOALS].index(True), 0]
        joints, rows = state[: ROBOT.dof], []
        pose = kinematics.tool_pose(joints)
        for _ in range(16):
            way = goal - pose.position
            step = way * min(1.0, SPEED * DT_S / max(np.linalg.norm(way), 1e-9))
            pose = pose.moved(step, np.zeros(3))
            joints = kinematics.joints_for(pose, joints, num_iterations=3)
            rows.append(np.append(joints, 1.0))
        return rows

    return CallablePolicy(chunk, PolicySpec(16, ROBOT.dof + 1, 8, DT_S, {"state": (STATE,)}, True, POSITIONS))


def swing_policy() -> CallablePolicy:
    """Swings the first joint slowly, whatever is seen; needs neither kinematics nor bodies."""

    def chunk(observation):
        start = observation["state"]
        ahead = np.zeros((16, ROBOT.dof + 1))
        ahead[:, 0] = 0.01 * np.arange(1, 17)
        targets = start + ahead
        targets[:, -1] = 1.0
        return targets

    return CallablePolicy(chunk, PolicySpec(16, ROBOT.dof + 1, 8, DT_S, {"state": (ROBOT.dof + 1,)}, False, POSITIONS))


def timeless_policy() -> CallablePolicy:
    """Does not say for which time between two actions it is."""
    return CallablePolicy(lambda observation: [], PolicySpec(16, ROBOT.dof + 1, action_kinds=POSITIONS))
