"""Laws of the gate of trajectories: exactly the limits, for cubics and for straight lines."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.robot.robot_model import MotionLimits
from policytrim_ros.control.chunk_gate import RefusalReason
from policytrim_ros.control.motion_state import MotionState
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.control.trajectory_gate import TrajectoryGate

LIMITS = MotionLimits(*(np.array([value]) for value in (-1.0, 1.0, 2.0, 8.0, 60.0)))
DT_S = 0.05
GATE = TrajectoryGate(("elbow",), LIMITS, DT_S)
STILL = MotionState(np.zeros(1), np.zeros(1))


def reason_of(times: list[float], positions: list[float], velocities: list[float] | None, start: MotionState = STILL) -> str | None:
    column = None if velocities is None else np.array(velocities)[:, None]
    trajectory = Trajectory(("elbow",), np.array(positions)[:, None], column, np.array(times), stamp_s=7.0)
    refusal = GATE.check(trajectory, start)
    return None if refusal is None else refusal.reason.value


def triangle(acceleration: float, duration_s: float = 0.2) -> tuple[list[float], list[float], list[float]]:
    """Waypoints of even acceleration and even braking, from rest to rest."""
    half = duration_s / 2
    way = acceleration * half**2
    return [half, duration_s], [way / 2, way], [acceleration * half, 0.0]


@pytest.mark.parametrize("share, expected", [(1.0, None), (1.005, "acceleration_limit"), (-1.0, None), (-1.005, "acceleration_limit")])
def test_acceleration_is_judged_at_the_limit(share: float, expected: str | None) -> None:
    assert reason_of(*triangle(share * 8.0)) == expected


@pytest.mark.parametrize("speed, expected", [(2.0, None), (2.01, "velocity_limit")])
def test_velocity_is_judged_at_the_limit(speed: float, expected: str | None) -> None:
    ramp_s = speed / 7.9
    times = [ramp_s, ramp_s + 0.1, 2 * ramp_s + 0.1]
    way = speed * ramp_s / 2
    assert reason_of(times, [way, way + 0.1 * speed, 2 * way + 0.1 * speed], [speed, speed, 0.0]) == expected


def test_a_velocity_between_waypoints_counts() -> None:
    # Rest to rest over 0.5 rad in 0.36 s: no waypoint moves, the middle does at 1.5 times the mean.
    assert reason_of([0.36], [0.5], [0.0]) == "velocity_limit"


def test_a_position_between_waypoints_counts() -> None:
    start = MotionState(np.array([0.95]), np.array([1.5]))
    assert reason_of([0.4], [0.95], [-1.5], start) == "position_limit"


def test_beyond_a_limit_an_arm_may_come_back_but_not_go_on() -> None:
    outside = MotionState(np.array([1.02]), np.zeros(1))
    assert reason_of([0.2], [1.0], [0.0], outside) is None
    assert reason_of([0.2], [1.03], [0.0], outside) == "position_limit"


@pytest.mark.parametrize("jump, expected", [(0.009, None), (0.011, "start_jump")])
def test_a_first_waypoint_at_once_may_jump_by_what_one_step_allows(jump: float, expected: str | None) -> None:
    assert reason_of([0.0, 1.0], [jump, jump], [0.0, 0.0]) == expected  # 8 rad/s^2 over 0.05 s: 0.01 rad


def test_what_still_moves_at_the_end_is_stopped_at_once() -> None:
    assert reason_of([0.1], [0.02], [0.39]) is None
    assert reason_of([0.1], [0.03], [0.5]) == "acceleration_limit"


def test_straight_lines_are_judged_by_their_kinks() -> None:
    soft = [0.1, 0.2, 0.3, 0.4], [0.03, 0.09, 0.15, 0.18]
    assert reason_of(*soft, None) is None
    assert reason_of([0.1, 0.2], [0.09, 0.12], None) == "acceleration_limit"  # 0.9 rad/s at once
    assert reason_of([0.1], [0.21], None) == "velocity_limit"


@pytest.mark.parametrize("points_per_s", [20, 100, 500])
@pytest.mark.parametrize("seed", range(3))
def test_positions_in_float32_within_the_limits_pass_however_dense_they_are(points_per_s: int, seed: int) -> None:
    frequency = np.random.default_rng(seed).uniform(1.0, 6.0)
    size = min(0.9 / 1.0, 1.99 / frequency, 7.99 / frequency**2, 0.9)
    ramp = np.arange(1, 2 * points_per_s) / points_per_s
    angle = frequency * ramp
    start = MotionState(np.array([-size]), np.zeros(1))
    positions = (-size * np.cos(angle)).astype(np.float32).astype(float)
    velocities = (size * frequency * np.sin(angle)).astype(np.float32).astype(float)
    rest = int(np.argmin(np.abs(velocities[points_per_s // 2 :]))) + points_per_s // 2 + 1
    # A cubic through exact points of a sine is within its limits up to 1 % at 20 points a second.
    scaled = positions * 0.98 - 0.02 * size
    assert reason_of(ramp[:rest].tolist(), scaled[:rest].tolist(), (velocities * 0.98)[:rest].tolist(), start) is None


def test_other_names_are_refused() -> None:
    trajectory = Trajectory(("wrist",), np.zeros((1, 1)), None, np.array([0.1]), 0.0)
    assert GATE.check(trajectory, STILL).reason is RefusalReason.WRONG_JOINTS
