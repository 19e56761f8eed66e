"""How far an arm is from where its trajectory has it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_ros.control.cubic_segments import sample
from policytrim_ros.control.motion_state import Waypoints
from policytrim_ros.control.trajectory import Trajectory


class TrackingError(NamedTuple):
    """Distance between measured and commanded joints."""

    largest: float  # of any joint at any sample [rad]
    rms: float  # over all samples and joints [rad]
    joint: str  # that had the largest


def commanded_positions(trajectory: Trajectory, joints: tuple[str, ...], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns where a joint_trajectory_controller has the joints, (m, n): on cubics between waypoints with velocities, else on lines.

    Args:
        trajectory: has all of `joints`.
        joints: the columns of the result, (n,).
        times_s: (m,) on the clock of the trajectory's stamp [s]; before the first and after the last waypoint it is held.
    """
    columns = [trajectory.joint_names.index(name) for name in joints]
    positions = trajectory.positions[:, columns]
    since = times_s - trajectory.stamp_s
    if trajectory.velocities is None:
        return np.stack([np.interp(since, trajectory.times_s, column) for column in positions.T], axis=1)
    waypoints = Waypoints(trajectory.times_s, positions, trajectory.velocities[:, columns])
    return np.array([sample(waypoints, at).positions for at in since]).reshape(-1, len(joints))


def tracking_error(commanded: NDArray[np.float64], measured: NDArray[np.float64], joints: tuple[str, ...]) -> TrackingError:
    """Returns the error of m > 0 samples.

    Args:
        commanded, measured: positions, (m, n) [rad].
        joints: names of the columns, (n,).

    >>> tracking_error(np.zeros((2, 2)), np.array([[0.0, 0.3], [0.1, 0.0]]), ("elbow", "wrist"))._replace(rms=0.0)
    TrackingError(largest=0.3, rms=0.0, joint='wrist')
    """
    error = np.abs(measured - commanded)
    worst = np.unravel_index(int(np.argmax(error)), error.shape)
    return TrackingError(float(error[worst]), float(np.sqrt(np.mean(error**2))), joints[int(worst[1])])


def rest_s(trajectory: Trajectory, still_velocity: float) -> float:
    """Returns from when on a trajectory stands still, on the clock of its stamp [s].

    Args:
        trajectory: at rest at its end.
        still_velocity: up to which a joint stands still [rad/s].
    """
    if trajectory.velocities is None:
        return trajectory.end_s
    moving = np.flatnonzero((np.abs(trajectory.velocities) > still_velocity).any(axis=1))
    if len(moving) == 0:
        return trajectory.stamp_s
    return trajectory.stamp_s + float(trajectory.times_s[min(moving[-1] + 1, len(trajectory.times_s) - 1)])
