"""Where joints are and how fast they move: measured, or commanded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import MissingObservation


class MotionState(NamedTuple):
    """Positions and velocities of joints at one instant."""

    positions: NDArray[np.float64]  # (n,) [rad], [m]
    velocities: NDArray[np.float64]  # (n,) [rad/s], [m/s]


class Waypoints(NamedTuple):
    """Motion after an instant, which is not among them."""

    times_s: NDArray[np.float64]  # (N,) after that instant, increasing [s]
    positions: NDArray[np.float64]  # (N, n)
    velocities: NDArray[np.float64]  # (N, n)


@dataclass(frozen=True, eq=False)
class MeasuredState:
    """What the arm's joint states said.

    Args:
        positions: of the arm's joints and, where the policy moves one, of the gripper (the mean of its fingers), (n,) [rad], [m].
        velocities: (n,) [rad/s], [m/s].
        stamp_s: when it was measured [s].

    Raises:
        MissingObservation: shapes that differ, or a number that is not finite: nothing may be decided from such a message.

    >>> MeasuredState(np.zeros(2), np.zeros(2), stamp_s=3.0).motion.positions
    array([0., 0.])
    """

    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    stamp_s: float

    def __post_init__(self) -> None:
        if self.positions.ndim != 1 or self.positions.shape != self.velocities.shape:
            shapes = f"{self.positions.shape} and {self.velocities.shape}"
            raise MissingObservation(f"measured positions and velocities must have one shape (joints,), got {shapes}")
        values = np.concatenate([self.positions, self.velocities, [self.stamp_s]])
        if not np.isfinite(values).all():
            raise MissingObservation(f"measured joints and their stamp must be finite, got {values[~np.isfinite(values)][0]}")

    @property
    def motion(self) -> MotionState:
        """The state without its stamp."""
        return MotionState(self.positions, self.velocities)
