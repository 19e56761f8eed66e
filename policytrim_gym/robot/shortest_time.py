"""The shortest time in which joints could have moved along the path that they took."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.errors import InvalidSpec

_STILL_S = 3e-3
"""Two points that the joints could pass between in this time are one: the arm waited, or closed its gripper."""
_MIN_INTERVALS = 60
"""Intervals of the discretisation, at least; two a control step in long paths, where a finer grid changes usual motion by less than 1 %."""
_MAX_SQUARED_SPEED = 1e8
"""Where the path itself stands still its parameter may run as fast as it likes."""


def shortest_duration_s(path: ArrayLike, velocity_limits: ArrayLike, acceleration_limits: ArrayLike) -> float:
    """Returns the time-optimal duration of a joint path from rest, under the limits of each joint [s].

    Only the timing is free: the joints pass through the same positions in the same order, without the pauses. The arm starts at rest,
    as an episode does; at success it may still move, so its last velocity is free.

    The points, evenly spaced in time, are the control points of a cubic B-spline whose parameter counts control steps. Its velocities
    are then averages of the points' first differences and its accelerations averages of their second differences, so that whatever
    motion within the limits went through the points, the spline at the same pace is within the limits as well. This makes the result a
    lower bound: motion within its limits is never faster. The spline leaves the points by a sixth of their second difference (2 mrad at
    5 rad/s^2 and 20 Hz). An interpolating spline or one over the length of the chords has no such guarantee: it overshoots where the
    acceleration switches and turns sharply where a joint reverses.

    Solved by reachability analysis (Pham and Pham, TOPP-RA, 2018), written out here because limits without gravity or torques make it a
    few lines that always have a solution; the general solver of toppra finds none for some jittery paths. With x the squared speed of
    the parameter s and u its acceleration,

        |q'(s)| sqrt(x) <= v,    |q'(s) u + q''(s) x| <= a,    x(s + ds) = x(s) + 2 ds u

    first backwards the largest x at each s from which the rest of the path can be driven, then forwards as fast as these allow.

    Args:
        path: commanded joint positions at the control steps, the first row where the episode started, (S + 1, dof) [rad].
        velocity_limits: v, (dof,) [rad/s].
        acceleration_limits: a, (dof,) [rad/s^2].

    Returns:
        The duration; 0.0 when nothing moved.

    Raises:
        InvalidSpec: shapes that do not fit, a position that is not finite, or a limit that is not positive.

    >>> round(shortest_duration_s([[0.0], [0.01], [0.04], [0.09]], [1.0], [2.0]), 2)  # q = t^2, sampled at 10 Hz
    0.29
    """
    points, velocity, acceleration = _checked(path, velocity_limits, acceleration_limits)
    points = _without_pauses(points, np.minimum(velocity * _STILL_S, acceleration * _STILL_S**2))
    if len(points) < 2:
        return 0.0
    # Mirrored, the spline starts with a velocity of 0; extended straight on, it ends with the last one.
    points = np.concatenate([points[1:2], points, 2.0 * points[-1:] - points[-2:-1]])
    first, second = np.diff(points, axis=0), np.diff(points, 2, axis=0)
    # In units of the time that one step takes at an even pace within the limits, x is around 1 whatever the limits are.
    unit_s = float(max((np.abs(first) / velocity).max(), np.sqrt((np.abs(second) / acceleration).max())))
    stages = _stages(first / (unit_s * velocity), first / (unit_s**2 * acceleration))
    speed = np.sqrt(_fastest(stages, _controllable(stages)))
    return unit_s * float(np.sum(2.0 * stages.length / (speed[1:] + speed[:-1])))


class _Stages(NamedTuple):
    """The limits at both ends of each interval of the parameter as |along u + across x| <= 1, and x <= squared_speed."""

    length: NDArray[np.float64]  # ds, (N,)
    along: NDArray[np.float64]  # (N, 2 dof)
    across: NDArray[np.float64]  # (N, 2 dof)
    squared_speed: NDArray[np.float64]  # (N + 1,)


def _checked(
    path: ArrayLike, velocity_limits: ArrayLike, acceleration_limits: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    points = np.asarray(path, dtype=np.float64)
    if points.ndim != 2 or 0 in points.shape or not np.isfinite(points).all():
        raise InvalidSpec(f"a joint path must be finite positions of shape (S + 1, dof), got shape {points.shape} or a value not finite")
    limits = []
    for name, values in (("velocity_limits", velocity_limits), ("acceleration_limits", acceleration_limits)):
        limit = np.asarray(values, dtype=np.float64)
        if limit.shape != points.shape[1:] or not (np.isfinite(limit).all() and (limit > 0).all()):
            raise InvalidSpec(f"{name} must be {points.shape[1]} finite numbers above 0, one a joint, got {limit.tolist()}")
        limits.append(limit)
    return points, limits[0], limits[1]


def _without_pauses(points: NDArray[np.float64], still: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the points of which each is further than `still` (dof,) from the one before it, in some joint."""
    scaled = points / still
    kept = [0]
    for index in range(1, len(points)):
        if np.abs(scaled[index] - scaled[kept[-1]]).max() > 1.0:
            kept.append(index)
    return points[kept]


def _stages(velocities: NDArray[np.float64], accelerations: NDArray[np.float64]) -> _Stages:
    """Evaluates the cubic B-spline on a grid over its M steps.

    Args:
        velocities, accelerations: first differences of the control points, (M + 2, dof), in units of the velocity limits and of the
            acceleration limits.
    """
    num_steps = len(velocities) - 2
    pieces = max(2, -(-_MIN_INTERVALS // num_steps))
    at = np.arange(num_steps * pieces + 1)
    step = np.minimum(at // pieces, num_steps - 1)
    part = ((at - step * pieces) / pieces)[:, None]

    def slope(first: NDArray[np.float64]) -> NDArray[np.float64]:
        before, here, after = first[step], first[step + 1], first[step + 2]
        return 0.5 * (1.0 - part) ** 2 * before + (0.5 + part - part**2) * here + 0.5 * part**2 * after

    second = np.diff(accelerations, axis=0)
    bend = (1.0 - part) * second[step] + part * second[step + 1]
    tangent = slope(accelerations)
    length = np.full(len(at) - 1, 1.0 / pieces)
    fastest = np.abs(slope(velocities)).max(axis=1)
    return _Stages(
        length=length,
        # u holds over the whole interval, at whose end x has become x + 2 ds u.
        along=np.concatenate([tangent[:-1], tangent[1:] + 2.0 / pieces * bend[1:]], axis=1),
        across=np.concatenate([bend[:-1], bend[1:]], axis=1),
        squared_speed=np.minimum(1.0 / np.maximum(fastest, 1e-9) ** 2, _MAX_SQUARED_SPEED),
    )


def _controllable(stages: _Stages) -> NDArray[np.float64]:
    """Returns the largest x at each point from which the end can be reached, (N + 1,); every smaller one is possible as well.

    u is eliminated: each lower bound on it (row p) must lie below each upper one (row q), which leaves
    x (across_q along_p - across_p along_q) <= along_p + along_q for rows turned so that along >= 0. The next x lies in 0..K, a row of
    the same form.
    """
    sign = np.where(stages.along < 0, -1.0, 1.0)
    along, across = sign * stages.along, sign * stages.across
    reach = 2.0 * stages.length
    bound = stages.squared_speed.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = across[:, None, :] * along[:, :, None] - across[:, :, None] * along[:, None, :]
        pairs = np.where(slopes > 1e-12, (along[:, None, :] + along[:, :, None]) / slopes, np.inf).min(axis=(1, 2))
        back = across * reach[:, None] - along  # the next x is at least 0
        pairs = np.minimum(pairs, np.where(back > 1e-12, reach[:, None] / back, np.inf).min(axis=1))
        bound[:-1] = np.minimum(bound[:-1], pairs)
    ahead = along - across * reach[:, None]  # the next x is at most K: x ahead <= K along + 2 ds
    for stage in range(len(reach) - 1, -1, -1):
        limiting = ahead[stage] > 1e-12
        if limiting.any():
            largest = (bound[stage + 1] * along[stage, limiting] + reach[stage]) / ahead[stage, limiting]
            bound[stage] = min(bound[stage], float(largest.min()))
    return bound


def _fastest(stages: _Stages, bound: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns x at each point, (N + 1,), when each stage accelerates as much as it may.

    The path begins with a velocity of 0 at any x, so the first is as large as it may be.
    """
    sign = np.where(stages.along < 0, -1.0, 1.0)
    along, across = np.maximum(sign * stages.along, 1e-12), sign * stages.across
    reach = 2.0 * stages.length
    squared = np.empty_like(bound)
    squared[0] = bound[0]
    for stage in range(len(reach)):
        push = float(((1.0 - across[stage] * squared[stage]) / along[stage]).min())
        squared[stage + 1] = min(bound[stage + 1], max(0.0, squared[stage] + reach[stage] * push))
    return squared
