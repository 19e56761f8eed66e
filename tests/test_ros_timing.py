"""What the timing of nodes rests on: standstill is counted from positions, and the scripted policy never stands still by itself."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ros_scripted_policies import CHUNK_SIZE, DT_S, PAIR, RADIUS, ROBOT, TURNS_RAD_S, circle_chunk
from benchmarks.ros_standstill import STILL_RAD_S, standstill


def stop_and_go(times_s):
    """Moves at 1 rad/s, but stands from 0.2 to 0.5 s and from 0.8 to 0.9 s."""
    moved = np.interp(times_s, [0.0, 0.2, 0.5, 0.8, 0.9, 1.0], [0.0, 0.2, 0.2, 0.5, 0.5, 0.6])
    return np.stack([moved, np.zeros(len(times_s))], axis=1)  # the second joint never moves


@pytest.mark.parametrize("start_s", [0.0, 1.7958e9])  # stamps are of this century
@pytest.mark.parametrize("rate_hz", [100, 500])
def test_standstill_is_the_time_in_which_no_joint_moved(rate_hz, start_s):
    times_s = np.linspace(0.0, 1.0, rate_hz + 1)
    found = standstill(start_s + times_s, stop_and_go(times_s))
    np.testing.assert_allclose(found, (1.0, 0.4, 0.3), atol=1e-6)


def test_standstill_weighs_samples_with_their_time_so_that_lost_joint_states_count_for_nothing_else():
    kept = np.setdiff1d(np.arange(101), [3, 30, 31, 32, 95])
    times_s = np.linspace(0.0, 1.0, 101)[kept]
    np.testing.assert_allclose(standstill(times_s, stop_and_go(times_s)), (1.0, 0.4, 0.3), atol=1e-9)


@pytest.mark.parametrize(("speed", "share"), [(0.9 * STILL_RAD_S, 1.0), (1.1 * STILL_RAD_S, 0.0), (-1.1 * STILL_RAD_S, 0.0)])
def test_standstill_begins_at_the_speed_that_the_monitor_calls_still(speed, share):
    times_s = np.linspace(0.0, 2.0, 201)
    found = standstill(times_s, np.stack([np.zeros(201), speed * times_s], axis=1))
    assert found.still_s == pytest.approx(2.0 * share) and found.longest_s == pytest.approx(2.0 * share)


def test_chunks_of_the_circle_continue_one_another_and_never_stand_still():
    chunk = circle_chunk(ROBOT.home)
    for seen in (0, 5, 15):
        np.testing.assert_allclose(circle_chunk(chunk[seen])[: CHUNK_SIZE - seen - 1], chunk[seen + 1 :], atol=1e-12)
    path = np.vstack([ROBOT.home, chunk])
    chord = 2 * RADIUS * np.sin(TURNS_RAD_S * DT_S / 2)
    np.testing.assert_allclose(np.linalg.norm(np.diff(path, axis=0), axis=1), chord)
    fastest = np.abs(np.diff(path, axis=0)).max(axis=1) / DT_S
    assert fastest.min() > 0.4 * 0.99 and (np.abs(np.diff(path, axis=0)) / DT_S < ROBOT.arm_limits.velocity).all()
    assert not np.delete(path - ROBOT.home, PAIR, axis=1).any()
