"""Laws of the motion limiter: whatever is asked for, the joints keep their limits, and they get where they are told to."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from policytrim_gym.robot.motion_limiter import MotionLimiter
from policytrim_gym.robot.robot_model import MotionLimits, load_robot

DT_S = 0.05
SUBSTEPS = 20
LIMITS = load_robot("policytrim_arm").limits
DOF = len(LIMITS.velocity)


def limiter_at(position: NDArray[np.float64], num_instants: int = SUBSTEPS, limits: MotionLimits = LIMITS) -> MotionLimiter:
    limiter = MotionLimiter(limits, DT_S, np.arange(1, num_instants + 1) * DT_S / num_instants)
    limiter.reset(position)
    return limiter


def targets(kind: str, seed: int, num_steps: int = 300) -> NDArray[np.float64]:
    """Returns targets within the range (num_steps, dof)."""
    random = np.random.default_rng(seed)
    low, high = LIMITS.lower, LIMITS.upper
    if kind == "noise":
        return random.uniform(low, high, (num_steps, DOF))
    if kind == "jumps":  # each joint stays for a while and then jumps
        held = random.uniform(low, high, (num_steps, DOF))
        change = random.random((num_steps, DOF)) < 0.1
        return held[np.maximum.accumulate(np.where(change, np.arange(num_steps)[:, None], 0), axis=0), np.arange(DOF)]
    if kind == "range ends":
        return (
            np.where(random.random((num_steps, DOF)) < 0.1, low, high)
            if seed % 2
            else np.where(random.random((num_steps, DOF)) < 0.5, low, high)
        )
    assert kind == "reversals"  # to and fro, ever faster, so that it turns at every phase of braking
    phase = np.cumsum(np.linspace(0.02, 2.0, num_steps)) + seed
    return (low + high) / 2 + (high - low) / 2 * np.sign(np.sin(phase))[:, None]


KINDS = ("noise", "jumps", "range ends", "reversals")


def run(limiter: MotionLimiter, wanted: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns positions and velocities at every instant from the start on, (n + 1, dof)."""
    positions, velocities = [limiter.position[None]], [limiter.velocity[None]]
    for target in wanted:
        reference = limiter.advance(target)
        positions.append(reference.positions)
        velocities.append(reference.velocities)
    return np.concatenate(positions), np.concatenate(velocities)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_position_velocity_and_acceleration_stay_within_the_limits_at_all_instants(kind: str, seed: int) -> None:
    start = np.random.default_rng(seed + 100).uniform(LIMITS.lower, LIMITS.upper)
    positions, velocities = run(limiter_at(start), targets(kind, seed))
    assert (np.abs(velocities) <= LIMITS.velocity + 1e-9).all()
    assert (np.abs(np.diff(velocities, axis=0)) <= LIMITS.acceleration * DT_S / SUBSTEPS + 1e-9).all()
    assert (positions >= LIMITS.lower - 1e-9).all() and (positions <= LIMITS.upper + 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_positions_are_the_integral_of_the_velocities(kind: str) -> None:
    positions, velocities = run(limiter_at(LIMITS.lower), targets(kind, 1))
    # Velocity is linear between instants, across control steps too: a jump of either would break the trapezoidal rule.
    ways = 0.5 * (velocities[1:] + velocities[:-1]) * DT_S / SUBSTEPS
    np.testing.assert_allclose(np.diff(positions, axis=0), ways, rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_instants", [1, 3, 12])
def test_the_instants_it_is_read_at_do_not_change_where_it_goes(num_instants: int) -> None:
    wanted = targets("jumps", 2)
    fine, coarse = (run(limiter_at(LIMITS.upper, instants), wanted) for instants in (12, num_instants))
    for of_fine, of_coarse in zip(fine, coarse):
        np.testing.assert_allclose(of_fine[:: 12 // num_instants], of_coarse, rtol=0, atol=1e-12)


def test_what_it_is_told_to_be_is_where_it_stays() -> None:
    home = load_robot("policytrim_arm").home
    positions, velocities = run(limiter_at(np.append(home, 0.02)), np.tile(np.append(home, 0.02), (10, 1)))
    np.testing.assert_array_equal(positions, np.tile(np.append(home, 0.02), (len(positions), 1)))
    assert not velocities.any()


@pytest.mark.parametrize("share_of_range", [1e-6, 1e-3, 0.03, 0.3, 1.0])
def test_a_target_that_stays_is_approached_without_overshoot_and_reached(share_of_range: float) -> None:
    goal = LIMITS.lower + share_of_range * (LIMITS.upper - LIMITS.lower)
    positions, _ = run(limiter_at(LIMITS.lower), np.tile(goal, (150, 1)))
    assert (np.diff(positions, axis=0) >= -1e-12).all()
    assert (positions <= goal + 1e-12).all()
    np.testing.assert_allclose(positions[-1], goal, rtol=0, atol=1e-6)


def test_a_long_way_takes_little_more_than_the_limits_ask_for() -> None:
    goal = LIMITS.upper
    positions, _ = run(limiter_at(LIMITS.lower), np.tile(goal, (150, 1)))
    way = LIMITS.upper - LIMITS.lower
    ramp_s = LIMITS.velocity / LIMITS.acceleration
    least_s = np.where(way > LIMITS.velocity * ramp_s, way / LIMITS.velocity + ramp_s, 2 * np.sqrt(way / LIMITS.acceleration))
    near = (np.abs(positions - goal) < 0.01 * way).argmax(axis=0) * DT_S / SUBSTEPS
    assert (near <= least_s + 2 * DT_S).all()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.95])
def test_a_steady_ramp_is_followed_one_control_step_behind_or_by_the_way_to_brake(share: float) -> None:
    endless = LIMITS._replace(upper=LIMITS.lower + 100.0)
    speed = share * LIMITS.velocity
    ramp = LIMITS.lower + np.arange(1, 101)[:, None] * DT_S * speed
    positions, velocities = run(limiter_at(LIMITS.lower, limits=endless), ramp)
    lag = np.maximum(DT_S * speed, speed**2 / (2 * LIMITS.acceleration) + 0.5 * DT_S * speed)
    np.testing.assert_allclose(ramp[-1] - positions[-1], lag, rtol=1e-3)
    np.testing.assert_allclose(velocities[-1], speed, rtol=1e-3)


def test_reset_forgets_the_motion_before_it() -> None:
    used = limiter_at(LIMITS.lower)
    run(used, targets("noise", 3, 7))
    used.reset(LIMITS.upper)
    for ours, theirs in zip(run(used, targets("jumps", 4, 20)), run(limiter_at(LIMITS.upper), targets("jumps", 4, 20))):
        np.testing.assert_array_equal(ours, theirs)


def test_the_position_that_it_was_given_is_not_shared() -> None:
    start = LIMITS.lower.copy()
    limiter = limiter_at(start)
    limiter.advance(LIMITS.upper)
    np.testing.assert_array_equal(start, LIMITS.lower)


@pytest.mark.parametrize("range_share", [0.01, 0.05, 0.2])
def test_a_joint_with_hardly_any_range_keeps_it(range_share: float) -> None:
    narrow = LIMITS._replace(upper=LIMITS.lower + range_share * LIMITS.velocity * DT_S)
    random = np.random.default_rng(0)
    wanted = np.where(random.random((300, DOF)) < 0.5, narrow.lower, narrow.upper)
    positions, _ = run(limiter_at(narrow.lower, limits=narrow), wanted)
    assert (positions >= narrow.lower - 1e-12).all() and (positions <= narrow.upper + 1e-12).all()
