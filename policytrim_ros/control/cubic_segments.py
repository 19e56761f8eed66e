"""The cubics between waypoints that have velocities, which a joint_trajectory_controller plays.

Between (p0, v0) and (p1, v1) over a time T there is one cubic; its acceleration goes linearly from

    a0 = (6 (p1 - p0) / T - 4 v0 - 2 v1) / T    to    a1 = (-6 (p1 - p0) / T + 2 v0 + 4 v1) / T

(ros2_controllers, joint_trajectory_controller/src/trajectory.cpp: Trajectory::interpolate_between_points). Motion of constant
acceleration, as MotionLimiter makes it, has a0 = a1: the cubic is that very motion, wherever it is cut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policytrim_ros.control.motion_state import MotionState, Waypoints

Array = NDArray[np.float64]


def segment_accelerations(times_s: Array, positions: Array, velocities: Array) -> tuple[Array, Array]:
    """Returns a0 and a1 of each segment, (N - 1, n) each, of N waypoints."""
    return _accelerations(_durations(times_s), positions[1:] - positions[:-1], velocities[:-1], velocities[1:])


def peak_velocities(times_s: Array, velocities: Array, start: Array, end: Array) -> Array:
    """Returns the velocity where each segment's acceleration passes 0, else the one at its end, (N - 1, n).

    Args:
        times_s, velocities: of the waypoints, (N,) and (N, n).
        start, end: accelerations of `segment_accelerations`.
    """
    duration = _durations(times_s)
    turns = start * end < 0.0
    span = np.where(turns, start - end, 1.0)
    return np.where(turns, velocities[:-1] + start**2 * duration / (2.0 * span), velocities[1:])


def extreme_positions(times_s: Array, positions: Array, velocities: Array, start: Array, end: Array) -> Array:
    """Returns the positions at both instants where velocities may pass 0 in a segment, (2, N - 1, n); its start where they do not.

    Args:
        times_s, positions, velocities: of the waypoints, (N,) and (N, n).
        start, end: accelerations of `segment_accelerations`.
    """
    duration = _durations(times_s)
    jerk = (end - start) / duration
    before = velocities[:-1]
    # v0 + a0 t + j t^2 / 2 = 0, in the form that stays exact when j is nearly 0.
    root = np.sqrt(np.maximum(start**2 - 2.0 * jerk * before, 0.0))
    half = -(start + np.copysign(root, start))
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.stack([half / jerk, 2.0 * before / half])
    at = np.where(np.isfinite(at) & (at > 0.0) & (at < duration), at, 0.0)
    return positions[:-1] + at * (before + at * (start / 2.0 + at * jerk / 6.0))


def sample(waypoints: Waypoints, at_s: float) -> MotionState:
    """Returns the state at a time: at rest at the first waypoint before it, at rest at the last one after it.

    Args:
        waypoints: at least one.
        at_s: on the clock of `waypoints.times_s` [s].

    >>> line = Waypoints(np.array([0.0, 2.0]), np.array([[0.0], [4.0]]), np.array([[2.0], [2.0]]))
    >>> sample(line, 0.5).positions, sample(line, 0.5).velocities, sample(line, 3.0).velocities
    (array([1.]), array([2.]), array([0.]))
    """
    times = waypoints.times_s
    if at_s < times[0] or at_s > times[-1]:
        end = waypoints.positions[0 if at_s < times[0] else -1]
        return MotionState(end.copy(), np.zeros_like(end))
    after = min(int(np.searchsorted(times, at_s, side="right")), len(times) - 1)
    if at_s == times[after] or after == 0:
        return MotionState(waypoints.positions[after].copy(), waypoints.velocities[after].copy())
    before, duration = after - 1, times[after] - times[after - 1]
    position, velocity = waypoints.positions[before], waypoints.velocities[before]
    start, end = _accelerations(duration, waypoints.positions[after] - position, velocity, waypoints.velocities[after])
    passed = at_s - times[before]
    jerk = (end - start) / duration
    return MotionState(
        position + passed * (velocity + passed * (start / 2.0 + passed * jerk / 6.0)),
        velocity + passed * (start + passed * jerk / 2.0),
    )


def _durations(times_s: Array) -> Array:
    """Returns how long each segment takes, (N - 1, 1)."""
    return (times_s[1:] - times_s[:-1])[:, None]


def _accelerations(duration: Array, way: Array, before: Array, after: Array) -> tuple[Array, Array]:
    """Returns a0 and a1 of segments, in the shape of `way`, from the velocities at both ends."""
    mean = way / duration
    return (6.0 * mean - 4.0 * before - 2.0 * after) / duration, (-6.0 * mean + 2.0 * before + 4.0 * after) / duration
