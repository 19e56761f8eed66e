"""What a joint trajectory controller does with the trajectories that it gets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.errors import InvalidChunk, InvalidSpec
from policytrim_gym.robot.motion_limiter import Reference
from policytrim_ros.control.trajectory import Trajectory

Replacement = Literal["hard", "stamp"]

END_VELOCITY = float(np.finfo(np.float32).eps)
"""What counts as standing at the end of a trajectory, as in the controller [rad/s], [m/s]."""

_SAME_TIME_S = 1e-9


class TrajectoryPlayer:
    """Plays trajectories as ros2_controllers' joint_trajectory_controller does, on a clock that is passed in.

    With "hard" replacement (released Humble, Jazzy and Kilted) a new trajectory takes the place of the old one the moment that it
    arrives, even when its stamp lies in the future: then the joints go from where they are told to be at once towards its first waypoint.
    With "stamp" (releases 6.8 and 6.9, `allow_trajectory_replacement`) one that is stamped in the future waits and the old one goes on
    until then; a newer arrival takes the place of one that waits. In both:

    - Stamp 0 means now.
    - Waypoints before now are skipped, and the joints are told to be at once where the rest of the trajectory has them.
    - Before the first waypoint they move from the desired state of the moment of replacement. A real controller starts from the desired
      state only with its parameter `interpolate_from_desired_state: true`; by default it starts from the measured one.
    - Between waypoints that both have velocities the positions are cubic in time, else linear, with jumps in velocity.
    - After the last waypoint its positions are held.
    - Refused are: other joints than the controller's (in any order), a last waypoint that still moves, an end before now.

    Unlike the controller it checks no tolerances between desired and measured state (off there by default too), and `Trajectory` has
    refused numbers that are not finite. In the development branch after 6.9 a trajectory stamped in the past is not cut but played later.

    Source: joint_trajectory_controller/src/joint_trajectory_controller.cpp (`update`, `validate_trajectory_msg`) and src/trajectory.cpp
    (`sample`, `interpolate_between_points`) of github.com/ros-controls/ros2_controllers, branch jazzy (4.42.1) and tag 6.9.0.

    Args:
        joint_names: of the controller, (n,).
        positions: where the joints are held until a trajectory comes [rad], [m], (n,).
        now_s: the present time [s].
        replacement: "hard" or "stamp".
        allow_nonzero_velocity_at_trajectory_end: accepts a last waypoint that still moves; parameter of the controller, off by default.

    Raises:
        InvalidSpec: another replacement.

    >>> player = TrajectoryPlayer(("elbow",), np.zeros(1), now_s=0.0)
    >>> player.accept(Trajectory(("elbow",), np.array([[0.2]]), None, np.array([1.0]), stamp_s=0.0), now_s=5.0)
    >>> player.sample([5.5, 6.0, 9.0]).positions[:, 0].tolist()
    [0.1, 0.2, 0.2]
    """

    def __init__(
        self,
        joint_names: tuple[str, ...],
        positions: NDArray[np.float64],
        now_s: float,
        replacement: Replacement = "hard",
        allow_nonzero_velocity_at_trajectory_end: bool = False,
    ) -> None:
        if replacement not in get_args(Replacement):
            raise InvalidSpec(f"controller must be one of {get_args(Replacement)}, got {replacement!r}")
        self.joint_names = joint_names
        self._replacement = replacement
        self._may_end_moving = allow_nonzero_velocity_at_trajectory_end
        self.hold(positions, now_s)

    def hold(self, positions: NDArray[np.float64], now_s: float) -> None:
        """Forgets all trajectories and holds `positions` (n,) from now on."""
        self._path = _Path(np.array([now_s]), np.array([positions], dtype=np.float64), np.zeros((1, len(positions))), np.array([True]))
        self._waiting: Trajectory | None = None

    def accept(self, trajectory: Trajectory, now_s: float) -> None:
        """Takes a trajectory that has just arrived.

        Args:
            trajectory: its joints may stand in any order.
            now_s: the present time, not before that of the last call [s].

        Raises:
            InvalidChunk: refused; what was played before goes on.
        """
        self._check(trajectory, now_s)
        self._start_waiting(now_s)
        if self._replacement == "stamp" and trajectory.stamp_s > now_s:
            self._waiting = trajectory
        else:
            self._waiting = None
            self._start(trajectory, now_s)

    def sample(self, times_s: ArrayLike) -> Reference:
        """Returns where the joints are told to be, (T, n) each, and goes on to the last of these times.

        Args:
            times_s: (T,) increasing, not before that of the last call [s].
        """
        times = np.asarray(times_s, dtype=np.float64)
        before = times
        parts = []
        if self._waiting is not None and times[-1] >= self._waiting.stamp_s:
            first_after = int(np.searchsorted(times, self._waiting.stamp_s))
            parts.append(self._path.at(times[:first_after]))
            before = times[first_after:]
            self._start_waiting(times[-1])
        parts.append(self._path.at(before))
        return Reference(*(np.concatenate(arrays) for arrays in zip(*parts)))

    def _check(self, trajectory: Trajectory, now_s: float) -> None:
        if set(trajectory.joint_names) != set(self.joint_names):
            raise InvalidChunk(f"a trajectory for this controller must have its joints {self.joint_names}, got {trajectory.joint_names}")
        if trajectory.stamp_s != 0.0 and trajectory.end_s < now_s:
            raise InvalidChunk(f"a trajectory must not end before now, {now_s:.3f} s; got one that ends at {trajectory.end_s:.3f} s")
        if trajectory.velocities is not None and not self._may_end_moving:
            fastest = int(np.argmax(np.abs(trajectory.velocities[-1])))
            velocity = trajectory.velocities[-1, fastest]
            if abs(velocity) > END_VELOCITY:
                name = trajectory.joint_names[fastest]
                raise InvalidChunk(f"the last waypoint of a trajectory must stand still, got velocity {velocity:g} for joint {name!r}")

    def _start_waiting(self, now_s: float) -> None:
        """Starts the trajectory that waits when its time has come."""
        if self._waiting is not None and now_s >= self._waiting.stamp_s:
            trajectory, self._waiting = self._waiting, None
            self._start(trajectory, trajectory.stamp_s)

    def _start(self, trajectory: Trajectory, at_s: float) -> None:
        """Replaces what is played by `trajectory`, from the desired state at `at_s` on."""
        columns = [trajectory.joint_names.index(name) for name in self.joint_names]
        start = trajectory.stamp_s if trajectory.stamp_s != 0.0 else at_s
        moves = trajectory.velocities is not None
        positions = trajectory.positions[:, columns]
        velocities = trajectory.velocities[:, columns] if trajectory.velocities is not None else np.zeros_like(positions)
        path = _Path(start + trajectory.times_s, positions, velocities, np.full(len(positions), moves))
        self._path = path if path.times[0] <= at_s else path.after(at_s, self._path.at(np.array([at_s])))


@dataclass(frozen=True, eq=False)
class _Path:
    """Waypoints on the clock: times (N,) [s], positions and velocities (N, n), and which waypoints gave velocities (N,)."""

    times: NDArray[np.float64]
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    has_velocity: NDArray[np.bool_]

    def after(self, time: float, state: Reference) -> _Path:
        """Returns the path that comes from `state` (1, n) at `time`."""
        return replace(
            self,
            times=np.append(time, self.times),
            positions=np.concatenate([state.positions, self.positions]),
            velocities=np.concatenate([state.velocities, self.velocities]),
            has_velocity=np.append(True, self.has_velocity),
        )

    def at(self, times: NDArray[np.float64]) -> Reference:
        """Returns positions and velocities (T, n) at times [s] (T,) from the first waypoint on; held and at rest after the last one."""
        right = np.clip(np.searchsorted(self.times, times, side="right"), min(1, len(self.times) - 1), len(self.times) - 1)
        left = np.maximum(right - 1, 0)
        duration = np.where(right > left, self.times[right] - self.times[left], 1.0)[:, None]
        since = np.clip(times - self.times[left], 0.0, duration[:, 0])[:, None]
        slope = (self.positions[right] - self.positions[left]) / duration
        first, last = self.velocities[left], self.velocities[right]
        square, cube = (3 * slope - 2 * first - last) / duration, (first + last - 2 * slope) / duration**2
        cubic = (self.has_velocity[left] & self.has_velocity[right])[:, None]
        positions = self.positions[left] + since * np.where(cubic, first + since * (square + since * cube), slope)
        velocities = np.where(cubic, first + since * (2 * square + 3 * since * cube), slope)
        # A last waypoint that moves still does so at its own time, where the next trajectory may take over.
        moving = (times <= self.times[-1] + _SAME_TIME_S)[:, None]
        return Reference(positions, np.where(moving, velocities, 0.0))
