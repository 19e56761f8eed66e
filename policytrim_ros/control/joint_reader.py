"""Joint states by name become the measured arm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import MissingObservation
from policytrim_ros.control.action_joints import ActionJoints
from policytrim_ros.control.motion_state import MeasuredState


class JointReader:
    """Picks the arm's joints out of messages that may hold others, in any order, and the gripper as the mean of its fingers.

    Fingers may come in messages of their own, as from a gripper's driver; then their newest positions count. The arm's joints must come
    together: of two messages nobody knows where the arm was at either time.

    Args:
        joints: what to measure.

    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> robot = load_robot("policytrim_arm")
    >>> reader = JointReader(ActionJoints(robot))
    >>> reader.read({"finger_left_joint": 0.03, "finger_right_joint": 0.01}, {}, 1.0) is None
    True
    >>> reader.read(dict(zip(robot.config.joints, robot.home)), {}, 1.01).positions[-1:]
    array([0.02])
    """

    def __init__(self, joints: ActionJoints) -> None:
        self._arm = joints.robot.config.joints
        self._fingers = joints.robot.config.gripper.joints if joints.has_gripper else ()
        self._positions: dict[str, float] = {}
        self._velocities: dict[str, float] = {}
        self._last: MeasuredState | None = None

    def read(self, positions: Mapping[str, float], velocities: Mapping[str, float], stamp_s: float) -> MeasuredState | None:
        """Returns the measured arm, or None when this message says nothing of it or a finger was never heard of.

        Args:
            positions: by joint [rad], [m].
            velocities: by joint [rad/s], [m/s]; where they are missing, the difference to the reading before stands for them.
            stamp_s: when it was measured [s].

        Raises:
            MissingObservation: some of the arm's joints without the others, or a number that is not finite.
        """
        missing = [name for name in self._arm if name not in positions]
        if missing and len(missing) < len(self._arm):
            raise MissingObservation(f"joint states must hold all joints of the arm, {missing[0]} is missing beside {sorted(positions)}")
        self._positions |= positions
        for name in positions:
            self._velocities.pop(name, None)  # of an earlier moment
        self._velocities |= velocities
        if missing or self.silent:
            return None
        measured = self._columns(self._positions)
        if all(name in self._velocities for name in (*self._arm, *self._fingers)):
            speed = self._columns(self._velocities)
        else:
            speed = self._difference(measured, stamp_s)
        self._last = MeasuredState(measured, speed, stamp_s)
        return self._last

    @property
    def silent(self) -> tuple[str, ...]:
        """Joints of arm and gripper that no message has held so far; none where there was no message at all."""
        return tuple(name for name in (*self._arm, *self._fingers) if self._positions and name not in self._positions)

    def _columns(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        gripper = [np.mean([values[name] for name in self._fingers])] if self._fingers else []
        return np.array([*(values[name] for name in self._arm), *gripper], dtype=np.float64)

    def _difference(self, measured: NDArray[np.float64], stamp_s: float) -> NDArray[np.float64]:
        last = self._last
        if last is None or not stamp_s > last.stamp_s:
            return np.zeros_like(measured)
        return (measured - last.positions) / (stamp_s - last.stamp_s)
