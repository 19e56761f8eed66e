"""Which joints the columns of a chunk are, in which units, and how they are parted among controllers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.robot.robot_model import MotionLimits, RobotModel
from policytrim_ros.control.motion_state import MotionState, Waypoints
from policytrim_ros.control.trajectory import Trajectory

GRIPPER = "gripper opening"


@dataclass(frozen=True, eq=False)
class ActionJoints:
    """The columns of joint-target chunks: the arm's joints [rad], then the gripper's opening in [0, 1] where the policy moves one.

    Inside this room the gripper is one joint [m]; its fingers are told apart only in what is published.

    Args:
        robot: the arm.
        has_gripper: whether the last column is the gripper's opening.
        gripper_controller: whether the gripper has a controller of its own; else its fingers are joints of the arm's trajectory.

    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> joints = ActionJoints(load_robot("policytrim_arm"))
    >>> joints.labels[-2:]
    ('joint_6', 'gripper opening')
    >>> joints.targets(np.array([[0.0, 0.0, 1.7, 0.0, 1.4, 0.0, 0.5]]))[0, -1:]
    array([0.02])
    """

    robot: RobotModel
    has_gripper: bool = True
    gripper_controller: bool = True

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of a chunk's columns, (n,)."""
        return (*self.robot.config.joints, *((GRIPPER,) if self.has_gripper else ()))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns as joints, (n,); the gripper's is its first finger."""
        return (*self.robot.config.joints, *(self.robot.config.gripper.joints[:1] if self.has_gripper else ()))

    @property
    def limits(self) -> MotionLimits:
        """Of the columns as joints, (n,) each."""
        return self.robot.limits if self.has_gripper else self.robot.arm_limits

    @property
    def lower(self) -> NDArray[np.float64]:
        """Least values of the columns, (n,)."""
        return np.concatenate([self.robot.arm_limits.lower, np.zeros(int(self.has_gripper))])

    @property
    def upper(self) -> NDArray[np.float64]:
        """Largest values of the columns, (n,)."""
        return np.concatenate([self.robot.arm_limits.upper, np.ones(int(self.has_gripper))])

    def targets(self, actions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the joints' targets of a chunk that passed the gate, (steps, n) [rad], [m].

        What float32 rounded beyond a limit, which the gate lets pass, is put back onto it, as the arm environment does.
        """
        targets = np.clip(np.asarray(actions, dtype=np.float64), self.lower, self.upper)
        if self.has_gripper:
            targets[:, -1] = self.robot.finger_position(targets[:, -1])
        return targets

    def trajectory(self, waypoints: Waypoints, stamp_s: float) -> Trajectory:
        """Returns waypoints of all columns as a trajectory."""
        return Trajectory(self.names, waypoints.positions, waypoints.velocities, waypoints.times_s, stamp_s)

    def parted(self, trajectory: Trajectory) -> tuple[Trajectory, Trajectory | None]:
        """Returns what the arm's controller gets, and what the gripper's gets or None; each finger gets the gripper's motion."""
        dof, fingers = self.robot.dof, self.robot.config.gripper.joints
        if not self.has_gripper:
            return trajectory, None
        if not self.gripper_controller:
            columns = [*range(dof), *[dof] * len(fingers)]
            return _with_columns(trajectory, (*self.robot.config.joints, *fingers), columns), None
        return (
            _with_columns(trajectory, self.robot.config.joints, list(range(dof))),
            _with_columns(trajectory, fingers, [dof] * len(fingers)),
        )

    def moving(self, measured: MotionState, within_s: float) -> str:
        """Returns the joint that the acceleration limit cannot bring to rest within a time [s], in words; empty: none."""
        speed, limit = np.abs(measured.velocities), self.limits.acceleration * within_s
        if (speed <= limit).all():
            return ""
        column = int(np.argmax(speed / limit))
        unit = "m/s" if column == self.robot.dof else "rad/s"
        return f"{self.names[column]} moves at {speed[column]:.3g} {unit}, the limit is {limit[column]:.3g} {unit}"

    def measured_arm(self, measured: MotionState, commanded: MotionState) -> MotionState:
        """Returns the arm as it was measured, with the gripper at rest where it was commanded to be.

        A gripper that is measured where an object stopped it, and held there, would let the object go.
        """
        positions, velocities = measured.positions.copy(), measured.velocities.copy()
        if self.has_gripper:
            positions[-1], velocities[-1] = commanded.positions[-1], 0.0
        return MotionState(positions, velocities)


def _with_columns(trajectory: Trajectory, names: tuple[str, ...], columns: list[int]) -> Trajectory:
    velocities = None if trajectory.velocities is None else trajectory.velocities[:, columns]
    return Trajectory(names, trajectory.positions[:, columns], velocities, trajectory.times_s, trajectory.stamp_s)
