"""Refuses a trajectory that a joint could not follow within its limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.robot.robot_model import MotionLimits
from policytrim_ros.control.chunk_gate import ROUNDING, Refusal, RefusalReason
from policytrim_ros.control.cubic_segments import extreme_positions, peak_velocities, segment_accelerations
from policytrim_ros.control.motion_state import MotionState
from policytrim_ros.control.trajectory import Trajectory

SHARE = 1e-3
"""A limit may be passed by this share: what times in nanoseconds and sums of floats round."""
FLOAT32 = 2.5e-7
"""Positions may be rounded by this [rad]: float32 of up to 4 rad. Between waypoints T apart it looks like a velocity of 4 FLOAT32 / T
and an acceleration of 12 FLOAT32 / T^2."""

Array = NDArray[np.float64]


class TrajectoryGate:
    """Checks trajectories as a joint_trajectory_controller plays them: the chunks that became motion, and those of users.

    With velocities the cubics between waypoints are checked, at their ends and where position and velocity are largest between them;
    without, the straight lines, whose velocity jumps at a waypoint: a jump counts as the acceleration that makes it in the mean of both
    segments. The motion begins at the commanded state and must end so that the controller can hold.

    Args:
        joint_names: that a trajectory must have, in this order, (n,).
        limits: of these joints, (n,) each.
        control_dt_s: what the acceleration limit allows in this time, a velocity may jump where nothing else can be asked for [s].

    >>> limits = MotionLimits(*(np.array([value]) for value in (-1.0, 1.0, 2.0, 8.0, 60.0)))
    >>> gate = TrajectoryGate(("elbow",), limits, control_dt_s=0.05)
    >>> still = MotionState(np.zeros(1), np.zeros(1))
    >>> gate.check(Trajectory(("elbow",), np.array([[0.01], [0.02]]), np.array([[0.4], [0.0]]), np.array([0.05, 0.1]), 0.0), still) is None
    True
    >>> gate.check(Trajectory(("elbow",), np.array([[0.3]]), None, np.array([0.1]), 0.0), still).message
    'elbow must move at 2 rad/s or m/s at most, got 3 between waypoints -1 and 0'
    """

    def __init__(self, joint_names: tuple[str, ...], limits: MotionLimits, control_dt_s: float) -> None:
        self._names, self._limits = joint_names, limits
        self._dt_s = control_dt_s
        self._velocity_jump = limits.acceleration * control_dt_s
        self._position_jump = 0.5 * limits.acceleration * control_dt_s**2

    def check(self, trajectory: Trajectory, commanded: MotionState) -> Refusal | None:
        """Returns what is wrong first, or None.

        Args:
            trajectory: to be published; its clock does not matter here.
            commanded: where the joints are commanded to be at its stamp, (n,) each; waypoint -1 in messages.
        """
        if trajectory.joint_names != self._names:
            return Refusal(
                RefusalReason.WRONG_JOINTS, f"a trajectory's joints must be {self._names}, got {trajectory.joint_names}, in this order"
            )
        if trajectory.times_s[0] == 0.0:
            times, positions, velocities, first = trajectory.times_s, trajectory.positions, trajectory.velocities, 0
            refusal = self._check_first(positions[0], None if velocities is None else velocities[0], commanded)
        else:
            times = np.concatenate([[0.0], trajectory.times_s])
            positions = np.concatenate([commanded.positions[None], trajectory.positions])
            given = trajectory.velocities
            velocities = None if given is None else np.concatenate([commanded.velocities[None], given])
            first, refusal = -1, None
        refusal = refusal or self._check_positions(positions, commanded, first)
        if refusal is not None:
            return refusal
        if velocities is None:
            return self._check_lines(times, positions, commanded, first)
        return self._check_cubics(times, positions, velocities, commanded, first)

    def _check_first(self, position: Array, velocity: Array | None, commanded: MotionState) -> Refusal | None:
        """A waypoint at the stamp itself takes over at once."""
        jump = np.abs(position - commanded.positions)
        if (jump > self._position_jump + ROUNDING).any():
            column = int(np.argmax(jump / self._position_jump))
            limit = self._position_jump[column]
            words = f"{self._names[column]} must begin within {limit:.3g} of where it is commanded to be, got {jump[column]:.3g}"
            return Refusal(RefusalReason.START_JUMP, words)
        if velocity is not None:
            change, limit = np.abs(velocity - commanded.velocities)[None], self._velocity_jump * (1 + SHARE)
            return self._over(change, limit, RefusalReason.ACCELERATION_LIMIT, "change its velocity by", -1)
        return None

    def _check_positions(self, positions: Array, commanded: MotionState, first: int) -> Refusal | None:
        """Positions of waypoints, or at several instants behind each, (..., N, n)."""
        # An arm that rests beyond a limit, as measured joints may, must be able to come back.
        lower = np.minimum(self._limits.lower, commanded.positions) - ROUNDING
        upper = np.maximum(self._limits.upper, commanded.positions) + ROUNDING
        outside = (positions < lower) | (positions > upper)
        if not outside.any():
            return None
        *instant, row, column = np.argwhere(outside)[0]
        low, high = self._limits.lower[column], self._limits.upper[column]
        place = f"{self._names[column]} at or after waypoint {row + first}"
        return Refusal(
            RefusalReason.POSITION_LIMIT, f"{place} must be in {low:.4g}..{high:.4g}, got {positions[(*instant, row, column)]:.4g}"
        )

    def _check_cubics(self, times: Array, positions: Array, velocities: Array, commanded: MotionState, first: int) -> Refusal | None:
        limits, duration = self._limits, (times[1:] - times[:-1])[:, None]
        start, end = segment_accelerations(times, positions, velocities)
        fastest = np.maximum(np.abs(velocities[1:]), np.abs(peak_velocities(times, velocities, start, end)))
        hardest = np.maximum(np.abs(start), np.abs(end))
        speed_limit = limits.velocity * (1 + SHARE) + 4 * FLOAT32 / duration
        push_limit = limits.acceleration * (1 + SHARE) + 12 * FLOAT32 / duration**2
        extremes = extreme_positions(times, positions, velocities, start, end)
        return (
            self._check_positions(extremes, commanded, first)
            or self._over(fastest, speed_limit, RefusalReason.VELOCITY_LIMIT, "move at", first, "rad/s or m/s")
            or self._over(hardest, push_limit, RefusalReason.ACCELERATION_LIMIT, "accelerate by", first, "rad/s^2 or m/s^2")
            or self._check_end(velocities[-1], len(times) - 2 + first)
        )

    def _check_lines(self, times: Array, positions: Array, commanded: MotionState, first: int) -> Refusal | None:
        limits, duration = self._limits, np.diff(times)[:, None]
        speeds = np.diff(positions, axis=0) / duration
        speed_limit = limits.velocity * (1 + SHARE) + 4 * FLOAT32 / duration
        refusal = self._over(np.abs(speeds), speed_limit, RefusalReason.VELOCITY_LIMIT, "move at", first, "rad/s or m/s")
        if refusal is not None or len(speeds) == 0:
            return refusal
        changes = np.diff(np.concatenate([commanded.velocities[None], speeds]), axis=0)
        shared = np.concatenate([duration[:1], (duration[1:] + duration[:-1]) / 2.0])
        push_limit = limits.acceleration * (1 + SHARE) + 12 * FLOAT32 / shared**2
        refusal = self._over(
            np.abs(changes / shared), push_limit, RefusalReason.ACCELERATION_LIMIT, "accelerate by", first, "rad/s^2 or m/s^2"
        )
        return refusal or self._check_end(speeds[-1], len(times) - 2 + first)

    def _check_end(self, velocity: Array, row: int) -> Refusal | None:
        """The controller holds at the last waypoint: what velocity is left there is stopped at once."""
        return self._over(
            np.abs(velocity)[None], self._velocity_jump * (1 + SHARE), RefusalReason.ACCELERATION_LIMIT, "arrive at", row, "rad/s or m/s"
        )

    def _over(
        self, values: Array, limit: Array, reason: RefusalReason, does: str, first: int, unit: str = "rad/s or m/s"
    ) -> Refusal | None:
        """Returns a refusal of the value that is most above its limit, or None.

        Args:
            values: of segments, (N, n), at least 0.
            limit: (n,) or (N, n).
        """
        over = values > limit
        if not over.any():
            return None
        row, column = np.unravel_index(int(np.argmax(values / limit)), values.shape)
        allowed = np.broadcast_to(limit, values.shape)[row, column]
        place = f"between waypoints {row + first} and {row + first + 1}"
        return Refusal(reason, f"{self._names[column]} must {does} {allowed:.3g} {unit} at most, got {values[row, column]:.3g} {place}")
