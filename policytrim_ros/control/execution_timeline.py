"""What the controller is executing: the commanded motion, the grid of control steps, and which steps ran a chunk."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from policytrim_ros.control.cubic_segments import sample
from policytrim_ros.control.motion_state import MotionState, Waypoints
from policytrim_ros.control.trajectory import Trajectory

MIN_GAP_S = 1e-4
"""Waypoints are never nearer to each other [s]: messages hold nanoseconds, and a rounded time is an acceleration."""
STAMP_STEP_S = 1e-6
"""Stamps identify trajectories, so two of one instant differ by this [s]."""
REMEMBERED_WINDOWS = 64


class ExecutionTimeline:
    """Joins new motion to the present one so that a controller notices no boundary.

    A published trajectory repeats the present motion from its stamp until the new one takes over, and its first waypoint is where the
    controller is at the stamp. Stamped now, it meets a joint_trajectory_controller that replaces the old trajectory at once (Humble,
    Jazzy) between two waypoints of the curve that it is on, so that it does not matter whether that controller starts from its desired
    state or, as by default, from the measured one. Stamped a little ahead, it does the same to one that splices at the stamp.

    Control steps lie on a grid that begins when the arm leaves rest. Inside, times count from there: seconds since 1970 have a
    resolution of 0.2 microseconds, which is too coarse to divide positions by twice.

    Args:
        state: of the joints at `now_s`, at rest unless motion is joined to it at once, (n,) each.
        now_s: present time [s].
        control_dt_s: length of a control step [s].

    >>> timeline = ExecutionTimeline(MotionState(np.zeros(1), np.zeros(1)), now_s=5.0, control_dt_s=0.05)
    >>> timeline.reference(9.0).positions, timeline.at_rest(9.0)
    (array([0.]), True)
    """

    def __init__(self, state: MotionState, now_s: float, control_dt_s: float) -> None:
        self._dt_s = control_dt_s
        self._last_stamp_s = -math.inf
        self._windows: deque[tuple[float, float]] = deque(maxlen=REMEMBERED_WINDOWS)  # steps that ran a chunk, begin and end [s]
        self._origin_s = now_s
        self._waypoints = Waypoints(np.zeros(1), state.positions[None], state.velocities[None])
        self._before = self._origin_s, self._waypoints  # the motion that the newest one took over from, and the origin of its times

    def rest(self, positions: NDArray[np.float64], now_s: float) -> None:
        """Says that the joints rest at `positions` (n,) from now on."""
        self._origin_s = now_s
        self._waypoints = Waypoints(np.zeros(1), np.array(positions, dtype=np.float64)[None], np.zeros((1, len(positions))))

    @property
    def end_s(self) -> float:
        """When the present motion comes to rest [s]."""
        return self._origin_s + float(self._waypoints.times_s[-1])

    def at_rest(self, now_s: float) -> bool:
        """Returns whether the commanded motion has come to its end."""
        return bool(now_s - self._origin_s >= self._waypoints.times_s[-1])

    def reference(self, at_s: float) -> MotionState:
        """Returns where the joints are commanded to be at a time, (n,) each."""
        return sample(self._waypoints, at_s - self._origin_s)

    def soon(self, now_s: float, lead_s: float) -> float:
        """Returns the time on the grid at which a message can have reached the controller [s since the grid began]."""
        return now_s + lead_s - self._origin_s

    def next_join(self, now_s: float, lead_s: float, not_before_s: float = -math.inf) -> float:
        """Returns when a chunk can take over: at the end of a control step, `lead_s` or more from now [s since the grid began].

        Args:
            now_s: present time [s].
            lead_s: what a message needs to reach the controller [s].
            not_before_s: end of the step up to which the present chunk shall run [s].
        """
        soon = self.soon(now_s, lead_s)
        if soon >= self._waypoints.times_s[-1]:
            # At rest until then: a new grid begins, no step is waited for. The motion until then stays what the controller plays.
            self._origin_s = now_s + lead_s
            self._waypoints = self._waypoints._replace(times_s=self._waypoints.times_s - soon)
            return 0.0
        earliest = math.ceil(soon / self._dt_s - 1e-6)
        wanted = round((not_before_s - self._origin_s) / self._dt_s) if math.isfinite(not_before_s) else earliest
        return max(earliest, wanted) * self._dt_s

    def clock_s(self, join: float) -> float:
        """Returns a time on the grid as one on the clock [s]."""
        return self._origin_s + join

    def drop_waiting(self, now_s: float) -> None:
        """Forgets what was published last where its stamp is still to come, for controllers that splice at the stamp.

        They put a newer trajectory in its place, and go on until that one's stamp with what they had before.
        """
        if now_s < self._last_stamp_s:
            origin_s, waypoints = self._before
            self._waypoints = waypoints._replace(times_s=waypoints.times_s + (origin_s - self._origin_s))

    def joining(self, join: float) -> MotionState:
        """Returns where the joints are commanded to be at a time on the grid, (n,) each."""
        return sample(self._waypoints, join)

    def executed_steps(self, since_s: float, until_s: float) -> int:
        """Returns how many control steps of chunks are run between two times.

        Steps in which the arm waits for a chunk do not count: what a policy planned for them was done by nobody.
        """
        run_s = sum(max(0.0, min(end, until_s) - max(begin, since_s)) for begin, end in self._windows)
        return math.floor(run_s / self._dt_s + 0.5)

    def splice(self, join: float, motion: Waypoints, begin_s: float) -> tuple[Waypoints, float]:
        """Returns the present motion from `begin_s` until `join` with the new one behind it, and the stamp that its times count from.

        Args:
            join: when the new motion takes over [s since the grid began].
            motion: after the state `joining(join)`.
            begin_s: stamp of what is sent, later where another one has it [s].
        """
        stamp_s = max(begin_s, self._last_stamp_s + STAMP_STEP_S)
        begin = stamp_s - self._origin_s
        join = max(join, begin)
        old = self._waypoints
        kept = (old.times_s > begin) & (old.times_s < join - MIN_GAP_S)
        first = old.times_s[kept][0] if kept.any() else join
        # A waypoint just ahead stands for the present: so near to each other, two would show rounding as acceleration.
        now = [begin] if first - begin > MIN_GAP_S else []
        ends = [sample(old, at) for at in (*now, join)]
        times = np.concatenate([now, old.times_s[kept], [join], join + motion.times_s]) - begin
        positions, velocities = (
            np.concatenate([here[: len(now)], ours[kept], here[len(now) :], theirs])
            for here, ours, theirs in zip((np.array(part) for part in zip(*ends)), old[1:], motion[1:])
        )
        return Waypoints(times, positions, velocities), stamp_s

    def published(self, trajectory: Trajectory, join: float, num_steps: int) -> None:
        """Takes over a trajectory that `splice` gave and that was published; it runs a chunk for `num_steps` steps from `join` on."""
        assert trajectory.velocities is not None
        self._before = self._origin_s, self._waypoints
        times = trajectory.times_s + (trajectory.stamp_s - self._origin_s)
        self._waypoints = Waypoints(times, trajectory.positions, trajectory.velocities)
        self._last_stamp_s = trajectory.stamp_s
        join_s = self.clock_s(join)
        if self._windows:
            begin, end = self._windows.pop()
            self._windows.append((begin, min(end, join_s)))
        if num_steps > 0:
            self._windows.append((join_s, join_s + num_steps * self._dt_s))
