"""Laws of braking: within the acceleration limits, to rest, and never to zeros."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.errors import InvalidChunk
from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros.control.braking import HOLD_S, HOLD_TAIL_S, TICK_S, braking_waypoints, held_longer
from policytrim_ros.control.cubic_segments import sample, segment_accelerations
from policytrim_ros.control.motion_state import MotionState, Waypoints
from policytrim_ros.control.trajectory import Trajectory

LIMITS = load_robot("policytrim_arm").limits
DOF = len(LIMITS.velocity)


def moving(seed: int) -> MotionState:
    random = np.random.default_rng(seed)
    velocities = random.uniform(-LIMITS.velocity, LIMITS.velocity) * (random.random(DOF) < 0.8)
    return MotionState(random.uniform(LIMITS.lower, LIMITS.upper), velocities)


def with_start(state: MotionState, braking: Waypoints) -> Waypoints:
    return Waypoints(
        np.append(0.0, braking.times_s),
        np.concatenate([state.positions[None], braking.positions]),
        np.concatenate([state.velocities[None], braking.velocities]),
    )


@pytest.mark.parametrize("seed", range(50))
def test_it_brakes_within_the_acceleration_limits_to_rest(seed: int) -> None:
    state = moving(seed)
    motion = with_start(state, braking_waypoints(state, LIMITS.acceleration))
    for accelerations in segment_accelerations(*motion):
        assert (np.abs(accelerations) <= LIMITS.acceleration * (1 + 1e-9)).all()
    assert not motion.velocities[-1].any()


@pytest.mark.parametrize("seed", range(50))
def test_the_way_and_the_time_are_those_of_even_braking(seed: int) -> None:
    state = moving(seed)
    motion = braking_waypoints(state, LIMITS.acceleration)
    stop_s = np.abs(state.velocities) / LIMITS.acceleration
    way = np.abs(motion.positions[-1] - state.positions)
    shortest = state.velocities**2 / (2 * LIMITS.acceleration)
    assert (way >= shortest - 1e-12).all() and (way <= shortest + np.abs(state.velocities) * TICK_S / 2 + 1e-12).all()
    assert stop_s.max() <= motion.times_s[-1] <= stop_s.max() + TICK_S
    speeds = np.abs([sample(with_start(state, motion), at).velocities for at in np.linspace(0, motion.times_s[-1], 100)])
    assert (np.diff(speeds, axis=0) <= 1e-9).all()  # no joint ever gets faster


def test_an_arm_at_rest_holds_where_it_is() -> None:
    state = MotionState(LIMITS.upper, np.zeros(DOF))
    hold = braking_waypoints(state, LIMITS.acceleration)
    np.testing.assert_array_equal(hold.positions, LIMITS.upper[None])
    assert hold.times_s.tolist() == [HOLD_S] and not hold.velocities.any()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_state_that_is_not_known_is_refused_instead_of_zeroed(wrong: float) -> None:
    with pytest.raises(InvalidChunk, match="must be finite"):
        braking_waypoints(MotionState(np.array([0.0, wrong]), np.zeros(2)), np.ones(2))


def test_a_longer_hold_is_the_same_motion_with_a_rest_behind_it() -> None:
    names = tuple(f"joint_{index}" for index in range(DOF))
    braking = braking_waypoints(moving(1), LIMITS.acceleration)
    longer = held_longer(Trajectory(names, braking.positions, braking.velocities, braking.times_s, 7.0))
    motion = Waypoints(longer.times_s, longer.positions, longer.velocities)
    for at_s in np.linspace(braking.times_s[0], braking.times_s[-1] + HOLD_TAIL_S, 100):
        for wanted, found in zip(sample(braking, at_s), sample(motion, at_s)):
            np.testing.assert_array_equal(found, wanted)
    assert longer.end_s == 7.0 + braking.times_s[-1] + HOLD_TAIL_S
