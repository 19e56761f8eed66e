"""A joint trajectory as arrays: what a chunk becomes before it is a message, and what an arm plays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidChunk


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Waypoints of several joints, as trajectory_msgs/JointTrajectory has them.

    Args:
        joint_names: (n,) names, each once.
        positions: (N, n) [rad], [m].
        velocities: (N, n) [rad/s], [m/s]; None leaves the interpolation to the controller.
        times_s: (N,) from `stamp_s`, above 0 or 0 and increasing [s].
        stamp_s: when it starts, on the node's clock [s]; it also identifies the chunk that it came from.

    Raises:
        InvalidChunk: shapes that do not fit, no waypoint, a name twice, times that do not increase, or a number that is not finite.

    >>> Trajectory(("elbow",), np.array([[0.1], [0.2]]), None, np.array([0.05, 0.1]), stamp_s=3.0).end_s
    3.1
    """

    joint_names: tuple[str, ...]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64] | None
    times_s: NDArray[np.float64]
    stamp_s: float

    def __post_init__(self) -> None:
        num_joints = len(self.joint_names)
        if num_joints == 0 or len(set(self.joint_names)) < num_joints:
            raise InvalidChunk(f"joint_names must be at least one name, each once, got {self.joint_names}")
        shape = (len(self.times_s), num_joints)
        if shape[0] == 0:
            raise InvalidChunk("a trajectory must have at least one waypoint, got none")
        for name, values in (("positions", self.positions), ("velocities", self.velocities)):
            if values is not None and values.shape != shape:
                raise InvalidChunk(f"{name} must have shape {shape} (waypoints, joints), got {values.shape}")
            if values is not None and not np.isfinite(values).all():
                raise InvalidChunk(f"{name} must be finite numbers, got {values[~np.isfinite(values)][0]}")
        increasing = np.isfinite(self.times_s).all() and self.times_s[0] >= 0 and (np.diff(self.times_s) > 0).all()
        if not (increasing and np.isfinite(self.stamp_s)):
            raise InvalidChunk(f"times_s must increase from at least 0 after a finite stamp_s, got {self.times_s[:5]} after {self.stamp_s}")

    @property
    def end_s(self) -> float:
        """When the last waypoint is reached, on the clock of `stamp_s` [s]."""
        return self.stamp_s + float(self.times_s[-1])
