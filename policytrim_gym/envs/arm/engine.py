"""What the arm environment asks of a physics engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.envs.arm.scene import Physics, Pose
from policytrim_gym.robot.motion_limiter import Reference
from policytrim_gym.robot.robot_model import RobotModel


class JointState(NamedTuple):
    """Measured joints: the arm's, then the gripper's (mean of its fingers)."""

    positions: NDArray[np.float64]  # (dof + 1,) [rad], [m]
    velocities: NDArray[np.float64]  # (dof + 1,)


class PhysicsEngine(ABC):
    """One arm on a table with the bodies of a scene.

    The environment resets it, has it follow references and reads what came of them; it decides nothing itself. Each engine runs at its
    own step, of which a whole number makes a control step. Each finger has a motor and gets the gripper's command; the gripper is
    where its fingers are on average.

    Args:
        robot: the arm.
    """

    name: ClassVar[str]
    dt_s: ClassVar[float]  # physics step

    def __init__(self, robot: RobotModel) -> None:
        fingers = robot.config.gripper.joints
        self._motors = (*robot.config.joints, *fingers)
        self._columns = np.array([*range(robot.dof), *[robot.dof] * len(fingers)])  # of a command (dof + 1,) what each motor gets
        self._efforts = robot.limits.effort[self._columns]
        shares = np.eye(robot.dof + 1)[:, self._columns]
        self._average = shares / shares.sum(axis=1, keepdims=True)

    def instants_s(self, control_dt_s: float) -> NDArray[np.float64]:
        """Returns the ends of the physics steps within a control step [s]."""
        num_steps = round(control_dt_s / self.dt_s)
        return np.arange(1, num_steps + 1, dtype=np.float64) * self.dt_s

    @abstractmethod
    def reset(self, joints: NDArray[np.float64], poses: Mapping[str, Pose], physics: Physics) -> None:
        """Puts the arm at rest at `joints` (dof + 1,) and each body at its pose."""

    @abstractmethod
    def follow(self, reference: Reference) -> None:
        """Makes one physics step for each row of the reference, the joints' controllers following it."""

    @abstractmethod
    def joint_state(self) -> JointState:
        """Returns the measured joints."""

    @abstractmethod
    def tool_pose(self) -> Pose:
        """Returns where the tool link is."""

    @abstractmethod
    def body_pose(self, name: str) -> Pose:
        """Returns where a body is."""

    @abstractmethod
    def body_speed(self, name: str) -> float:
        """Returns how fast a body's centre moves [m/s]."""

    @abstractmethod
    def render(self, camera: str, width: int, height: int) -> NDArray[np.uint8]:
        """Returns the image of a camera of the scene, (height, width, 3) uint8."""

    def close(self) -> None:
        """Frees what the engine holds; again is fine."""
