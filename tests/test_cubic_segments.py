"""Laws of the cubics between waypoints, against polynomials."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_ros.control.cubic_segments import extreme_positions, peak_velocities, sample, segment_accelerations
from policytrim_ros.control.motion_state import Waypoints


def waypoints(seed: int, num: int = 6) -> Waypoints:
    random = np.random.default_rng(seed)
    return Waypoints(np.cumsum(random.uniform(0.01, 0.5, num)), random.normal(size=(num, 3)), random.normal(size=(num, 3)))


def fine(motion: Waypoints, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities at many instants of one segment, (n, 3)."""
    instants = np.linspace(motion.times_s[row], motion.times_s[row + 1], 401)
    states = [sample(motion, at) for at in instants]
    return np.array([state.positions for state in states]), np.array([state.velocities for state in states])


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_at_a_waypoint_is_the_waypoint(seed: int) -> None:
    motion = waypoints(seed)
    for row, at in enumerate(motion.times_s):
        np.testing.assert_allclose(sample(motion, at).positions, motion.positions[row], rtol=0, atol=1e-12)
        np.testing.assert_allclose(sample(motion, at).velocities, motion.velocities[row], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_velocities_and_accelerations_are_the_derivatives(seed: int) -> None:
    motion = waypoints(seed)
    start, end = segment_accelerations(*motion)
    for row in range(5):
        step_s = np.diff(motion.times_s)[row] / 400
        positions, velocities = fine(motion, row)
        np.testing.assert_allclose(np.diff(positions, axis=0) / step_s, (velocities[1:] + velocities[:-1]) / 2, rtol=0, atol=5e-3)
        np.testing.assert_allclose(np.diff(velocities, axis=0)[0] / step_s, start[row], rtol=0.02, atol=0.2)
        np.testing.assert_allclose(np.diff(velocities, axis=0)[-1] / step_s, end[row], rtol=0.02, atol=0.2)


@pytest.mark.parametrize("seed", range(8))
def test_peaks_and_extremes_are_what_fine_sampling_finds(seed: int) -> None:
    motion = waypoints(seed)
    start, end = segment_accelerations(*motion)
    peaks = peak_velocities(motion.times_s, motion.velocities, start, end)
    extremes = extreme_positions(*motion, start, end)
    for row in range(5):
        positions, velocities = fine(motion, row)
        ends = np.abs(motion.velocities[row : row + 2]).max(axis=0)
        np.testing.assert_allclose(np.maximum(ends, np.abs(peaks[row])), np.abs(velocities).max(axis=0), rtol=1e-3, atol=1e-3)
        known = np.concatenate([extremes[:, row], motion.positions[row : row + 2]])
        np.testing.assert_allclose(known.max(axis=0), positions.max(axis=0), rtol=0, atol=1e-4)
        np.testing.assert_allclose(known.min(axis=0), positions.min(axis=0), rtol=0, atol=1e-4)


def test_motion_of_constant_acceleration_has_no_extremes_of_its_own_where_it_does_not_turn() -> None:
    times = np.array([0.0, 0.1])
    positions, velocities = np.array([[0.0], [0.01 + 0.05]]), np.array([[0.1], [1.1]])
    start, end = segment_accelerations(times, positions, velocities)
    np.testing.assert_allclose([start, end], 10.0)
    np.testing.assert_array_equal(extreme_positions(times, positions, velocities, start, end), 0.0)


def test_before_the_first_and_after_the_last_waypoint_joints_rest() -> None:
    motion = waypoints(0)
    for at, row in ((motion.times_s[0] - 1e-3, 0), (motion.times_s[-1] + 1e-3, -1)):
        np.testing.assert_array_equal(sample(motion, at).positions, motion.positions[row])
        assert not sample(motion, at).velocities.any()
