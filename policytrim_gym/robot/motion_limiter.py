"""Joint targets become motion within velocity and acceleration limits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.robot.robot_model import MotionLimits


class Reference(NamedTuple):
    """Where the joints shall be at some instants."""

    positions: NDArray[np.float64]  # (n, dof)
    velocities: NDArray[np.float64]  # (n, dof)


class MotionLimiter:
    """Moves a reference towards the latest target, never faster than the joints can.

    In each control step the acceleration is constant and chosen so that at its end, with e the way that is left,

        v = e / dt    or, where that is slower,    v^2 / (2 a_max) + v dt / 2 = e

    and |v| <= v_max, |dv| <= a_max dt; the second leaves room to brake in whole steps, so that a joint never leaves its range. A target
    that moves steadily is followed one control step behind, one faster than a_max dt by the way that braking takes; one that stays is
    approached without overshoot, and what the limits rule out comes later. Position and velocity are continuous whatever the targets
    are; this holds for both physics engines, so that a policy cannot win steps by asking for motion that no arm can make.

    Unlike a time-optimal generator (ruckig), which knows either that a target is the last one or how fast to pass it, it does not
    accelerate and brake within each step: with a target every 50 ms that shook the arm at 20 Hz.

    Args:
        limits: of the joints, (dof,) each.
        control_dt_s: between two targets [s].
        instants_s: when the reference is read within a control step [s], (n,), the last one at its end.

    >>> one_joint = MotionLimits(*(np.array([value]) for value in (-1.0, 1.0, 2.0, 8.0, 60.0)))
    >>> limiter = MotionLimiter(one_joint, control_dt_s=0.05, instants_s=np.array([0.025, 0.05]))
    >>> limiter.reset(np.zeros(1))
    >>> limiter.advance(np.array([0.5])).velocities[:, 0]  # accelerates at 8 rad/s^2
    array([0.2, 0.4])
    """

    def __init__(self, limits: MotionLimits, control_dt_s: float, instants_s: ArrayLike) -> None:
        self._dt = control_dt_s
        self._velocity_limit = limits.velocity
        self._twice_acceleration = 2.0 * limits.acceleration
        self._velocity_change = limits.acceleration * control_dt_s
        self._velocity_change_squared = self._velocity_change**2
        self._instants = np.asarray(instants_s, dtype=np.float64)[:, None]
        self._half_squares = 0.5 * self._instants**2
        self.position = np.zeros(len(limits.velocity))
        self.velocity = np.zeros(len(limits.velocity))

    def reset(self, position: NDArray[np.float64], velocity: NDArray[np.float64] | None = None) -> None:
        """Starts at `position` (dof,), with `velocity` (dof,) or at rest."""
        self.position = np.array(position, dtype=np.float64)
        self.velocity = np.zeros_like(self.position) if velocity is None else np.array(velocity, dtype=np.float64)

    def advance(self, target: NDArray[np.float64]) -> Reference:
        """Returns the reference of the next control step, at the instants, and moves on to its end.

        Args:
            target: where the joints shall go, within the position limits, (dof,).
        """
        # Signs are taken out: `way` is what would be left if the joint stopped evenly within the step, along `side`.
        way = target - self.position - 0.5 * self._dt * self.velocity
        side = np.sign(way)
        way = np.abs(way)
        stopping = np.sqrt(self._velocity_change_squared + self._twice_acceleration * way) - self._velocity_change
        speed = np.minimum(np.minimum(way / (1.5 * self._dt), stopping), self._velocity_limit)
        # Twice as fast as np.clip on so few numbers; this runs for every step of every chunk that an arm is sent.
        change = np.maximum(np.minimum(side * speed - self.velocity, self._velocity_change), -self._velocity_change)
        acceleration = change / self._dt
        positions = self.position + self._instants * self.velocity + self._half_squares * acceleration
        velocities = self.velocity + self._instants * acceleration
        self.position, self.velocity = positions[-1], velocities[-1]
        return Reference(positions, velocities)
