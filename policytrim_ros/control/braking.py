"""How a moving arm comes to rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidChunk
from policytrim_ros.control.motion_state import MotionState, Waypoints
from policytrim_ros.control.trajectory import Trajectory

TICK_S = 1e-3
"""Stopping times are whole ticks [s]: waypoints a rounding error apart would turn it into acceleration."""
HOLD_S = 0.1
"""After which an arm that already rests gets its only waypoint [s]."""
HOLD_TAIL_S = 1.0
"""A hold says for so long that the arm rests [s]: a controller refuses a trajectory that ends before it arrives, and braking is short."""


def braking_waypoints(state: MotionState, acceleration_limits: NDArray[np.float64]) -> Waypoints:
    """Brakes each joint evenly, as hard as it may, and holds where it comes to rest.

    Joint j stops after |v_j| / a_j, rounded up to a tick, and needs half of that time's way. There is a waypoint wherever a joint
    stops, so that the cubics between waypoints are this very motion. The end is always what the state leads to: there is no path on
    which a position becomes 0 because something was missing.

    Args:
        state: to brake from, (n,) each.
        acceleration_limits: (n,) [rad/s^2], [m/s^2].

    Returns:
        At least one waypoint after the state; the last one has velocity 0.

    Raises:
        InvalidChunk: a state that is not finite.

    >>> braking_waypoints(MotionState(np.array([1.0, 5.0]), np.array([2.0, 0.0])), np.array([10.0, 10.0]))
    Waypoints(times_s=array([0.2]), positions=array([[1.2, 5. ]]), velocities=array([[0., 0.]]))
    """
    positions, velocities = state
    values = np.concatenate([positions, velocities])
    if not np.isfinite(values).all():
        raise InvalidChunk(f"the state to brake from must be finite, got {values[~np.isfinite(values)][0]}")
    # The tiny part keeps a stop that takes whole ticks from taking one more by rounding.
    stops = np.ceil(np.abs(velocities) / acceleration_limits / TICK_S - 1e-9) * TICK_S
    times = np.array(sorted(set(stops[stops > 0.0].tolist())))
    if len(times) == 0:
        return Waypoints(np.array([HOLD_S]), positions[None].copy(), np.zeros((1, len(positions))))
    passed = np.minimum(times[:, None], stops)
    left = np.where(stops > 0.0, 1.0 - passed / np.where(stops > 0.0, stops, 1.0), 0.0)
    return Waypoints(times, positions + velocities * passed * (1.0 + left) / 2.0, velocities * left)


def held_longer(trajectory: Trajectory) -> Trajectory:
    """Returns a trajectory that ends at rest with its last waypoint said once more, `HOLD_TAIL_S` later.

    >>> held_longer(Trajectory(("elbow",), np.array([[0.3]]), np.array([[0.0]]), np.array([0.1]), stamp_s=5.0)).times_s
    array([0.1, 1.1])
    """
    assert trajectory.velocities is not None
    return replace(
        trajectory,
        positions=np.concatenate([trajectory.positions, trajectory.positions[-1:]]),
        velocities=np.concatenate([trajectory.velocities, np.zeros_like(trajectory.velocities[-1:])]),
        times_s=np.append(trajectory.times_s, trajectory.times_s[-1] + HOLD_TAIL_S),
    )
