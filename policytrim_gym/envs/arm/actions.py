"""What an action of the arm means: joint position targets, or motion of the tool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidChunk, InvalidSpec
from policytrim_gym.robot.kinematics import Kinematics
from policytrim_gym.robot.robot_model import RobotModel

MOST_TRANSLATION = 0.03
MOST_ROTATION = 0.15
"""A tool action's range in one control step [m], [rad]: 0.6 m/s and 3 rad/s at 20 Hz."""

_ROUNDING = 1e-5  # an action may come from float32


class ActionMode(ABC):
    """Turns actions into targets of the joints.

    Args:
        robot: the arm.
        kinematics: of the same arm.
    """

    name: ClassVar[str]
    labels: tuple[str, ...]
    kinds: tuple[str, ...]  # as `PolicySpec.action_kinds`
    space: gym.spaces.Box

    def __init__(self, robot: RobotModel, kinematics: Kinematics) -> None:
        self._robot, self._kinematics = robot, kinematics

    @abstractmethod
    def joint_targets(self, action: NDArray[np.float64], command: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the arm's targets (dof,) that an action asks for, after the last targets `command` (dof,)."""

    @abstractmethod
    def towards(self, targets: NDArray[np.float64], command: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the action without its gripper, (n,), that asks for the targets; the inverse of `joint_targets`."""

    def checked(self, action: object) -> NDArray[np.float64]:
        """Returns an action as an array.

        Raises:
            InvalidChunk: of another shape, not finite, or outside the action space; the message names the number and its range.
        """
        array = np.asarray(action, dtype=np.float64)
        if array.shape != self.space.shape:
            raise InvalidChunk(f"an action of this arm must have shape {self.space.shape} ({', '.join(self.labels)}), got {array.shape}")
        # One comparison finds both: NaN is within no range.
        within = (array >= self.space.low - _ROUNDING) & (array <= self.space.high + _ROUNDING)
        if not within.all():
            index = int(np.argmin(within))
            low, high = self.space.low[index], self.space.high[index]
            raise InvalidChunk(f"{self.labels[index]} must be a number in {low:.4g}..{high:.4g}, got {array[index]}")
        return array


class JointTargets(ActionMode):
    """Absolute positions of the joints [rad] and the gripper's opening in [0, 1]: what ROS 2 publishes.

    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> robot = load_robot("policytrim_arm")
    >>> mode = JointTargets(robot, Kinematics(robot))
    >>> mode.joint_targets(np.array([0.1, 0.0, 1.7, 0.0, 1.4, 0.0, 1.0]), robot.home)
    array([0.1, 0. , 1.7, 0. , 1.4, 0. ])
    """

    name = "joint"

    def __init__(self, robot: RobotModel, kinematics: Kinematics) -> None:
        super().__init__(robot, kinematics)
        self.labels = (*robot.config.joints, "gripper opening")
        self.kinds = ("position",) * (robot.dof + 1)
        self._low, self._high = robot.arm_limits.lower, robot.arm_limits.upper
        self.space = gym.spaces.Box(
            np.append(self._low, 0.0).astype(np.float32), np.append(self._high, 1.0).astype(np.float32), dtype=np.float32
        )

    def joint_targets(self, action: NDArray[np.float64], command: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(action[:-1], self._low, self._high)

    def towards(self, targets: NDArray[np.float64], command: NDArray[np.float64]) -> NDArray[np.float64]:
        return targets


class ToolDeltas(ActionMode):
    """Translation [m] and rotation vector [rad] of the tool along the base's axes in one control step, and the gripper's opening.

    They are added to the pose that was asked for last, not to the measured one: a tool under load does not drift away.

    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> robot = load_robot("policytrim_arm")
    >>> kinematics = Kinematics(robot)
    >>> targets = ToolDeltas(robot, kinematics).joint_targets(np.array([0.0, 0.0, 0.01, 0.0, 0.0, 0.0, 1.0]), robot.home)
    >>> float((kinematics.tool_pose(targets).position - kinematics.tool_pose(robot.home).position)[2].round(4))
    0.01
    """

    name = "tool_delta"
    KINDS: ClassVar[tuple[str, ...]] = ("delta",) * 6 + ("position",)

    def __init__(self, robot: RobotModel, kinematics: Kinematics) -> None:
        super().__init__(robot, kinematics)
        self.labels = ("x", "y", "z", "rotation x", "rotation y", "rotation z", "gripper opening")
        self.kinds = self.KINDS
        high = np.array([MOST_TRANSLATION] * 3 + [MOST_ROTATION] * 3 + [1.0], dtype=np.float32)
        self.space = gym.spaces.Box(np.append(-high[:-1], np.float32(0.0)), high, dtype=np.float32)

    def joint_targets(self, action: NDArray[np.float64], command: NDArray[np.float64]) -> NDArray[np.float64]:
        pose = self._kinematics.tool_pose(command).moved(action[:3], action[3:6])
        return self._kinematics.joints_for(pose, command, num_iterations=2)

    def towards(self, targets: NDArray[np.float64], command: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._kinematics.tool_pose(targets).difference(self._kinematics.tool_pose(command))


_MODES: dict[str, type[ActionMode]] = {mode.name: mode for mode in (JointTargets, ToolDeltas)}


def make_action_mode(name: str, robot: RobotModel, kinematics: Kinematics) -> ActionMode:
    """Returns the mode of this name.

    Raises:
        InvalidSpec: there is none.
    """
    if name not in _MODES:
        raise InvalidSpec(f"action must be one of {tuple(_MODES)}, got {name!r}")
    return _MODES[name](robot, kinematics)
