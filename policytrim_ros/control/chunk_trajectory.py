"""Targets of a chunk become motion within the limits, the same that the arm environment would make of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.robot.motion_limiter import MotionLimiter
from policytrim_gym.robot.robot_model import MotionLimits
from policytrim_ros.control.braking import braking_waypoints
from policytrim_ros.control.motion_state import MotionState, Waypoints

SETTLED = 1e-4
"""So near to the last target the approach ends [rad], [m]."""


class ChunkPlanner:
    """Plans from the state in which a chunk takes over, so that position and velocity are continuous there.

    Each target is what `MotionLimiter` moves towards for one control step, as in `policytrim_gym.envs.arm`: the motion sent to a
    controller is the one that the policy was trained and evaluated with. Targets may lead far ahead of what a joint does in a step;
    what is sent never leaves the limits. The limiter's state at a step's end is its position and velocity alone, so the same targets
    give the same motion wherever they are cut into chunks.

    A controller must be left with an end at rest. Behind the chunk's last target the limiter goes on towards it, until it is reached or
    for `settle_s`, and brakes. A chunk that comes in time replaces this end.

    Args:
        limits: of the columns, (n,) each.
        control_dt_s: between two targets [s].
        points_per_step: waypoints in a control step; above 1 for controllers that join waypoints by straight lines. The motion is the same.
        settle_s: longest approach to the last target [s].

    Raises:
        InvalidConfig: a value out of range.

    >>> limits = MotionLimits(*(np.array([value]) for value in (-1.0, 1.0, 2.0, 8.0, 60.0)))
    >>> still = MotionState(np.zeros(1), np.zeros(1))
    >>> motion = ChunkPlanner(limits, control_dt_s=0.05).plan(np.full((3, 1), 0.5), still)
    >>> motion.velocities[[0, 1, 2, -1], 0]
    array([0.4, 0.8, 1.2, 0. ])
    """

    def __init__(self, limits: MotionLimits, control_dt_s: float, points_per_step: int = 1, settle_s: float = 0.5) -> None:
        if not (np.isfinite(control_dt_s) and control_dt_s > 0):
            raise InvalidConfig(f"control_dt_s must be a finite number above 0, got {control_dt_s}")
        if isinstance(points_per_step, bool) or not isinstance(points_per_step, int) or points_per_step < 1:
            raise InvalidConfig(f"points_per_step must be an integer of at least 1, got {points_per_step!r}")
        if not (np.isfinite(settle_s) and settle_s >= 0):
            raise InvalidConfig(f"settle_s must be a finite number of at least 0, got {settle_s}")
        self._limits, self._dt_s = limits, control_dt_s
        # The last one is the step's length itself, without a rounding error.
        self._instants_s = np.append(np.arange(1, points_per_step) * control_dt_s / points_per_step, control_dt_s)
        self._limiter = MotionLimiter(limits, control_dt_s, self._instants_s)
        self._settle_steps = round(settle_s / control_dt_s)

    def plan(self, targets: NDArray[np.float64], start: MotionState) -> Waypoints:
        """Returns the motion after `start`, at rest at its end.

        Args:
            targets: within the position limits, one a control step, (steps, n) [rad], [m].
            start: where the joints are commanded to be when the first target takes over, (n,) each.
        """
        limiter = self._limiter
        limiter.reset(start.positions, start.velocities)
        references = [limiter.advance(target) for target in targets]
        last, slow = targets[-1], self._limits.acceleration * self._dt_s
        for _ in range(self._settle_steps):
            if (np.abs(last - limiter.position) <= SETTLED).all() and (np.abs(limiter.velocity) <= slow).all():
                break
            references.append(limiter.advance(last))
        steps = np.arange(len(references)) * self._dt_s
        times = (steps[:, None] + self._instants_s).ravel()
        positions = np.concatenate([reference.positions for reference in references])
        velocities = np.concatenate([reference.velocities for reference in references])
        if not limiter.velocity.any():
            return Waypoints(times, positions, velocities)
        stop = braking_waypoints(MotionState(limiter.position, limiter.velocity), self._limits.acceleration)
        return Waypoints(
            np.concatenate([times, times[-1] + stop.times_s]),
            np.concatenate([positions, stop.positions]),
            np.concatenate([velocities, stop.velocities]),
        )
