"""Laws of what was commanded at a time."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_ros.control.commands import ChunkRecord
from policytrim_ros.control.published_chunks import PublishedChunks

DT_S = 0.05


def record(join_s, first_step, size=8):
    return ChunkRecord(join_s, join_s - first_step * DT_S, 4, size, first_step, join_s, 0.1, 0.1, "published")


def numbered(start, size=8):
    return np.stack([start + np.arange(size), np.linspace(0.0, 1.0, size)], axis=1)


def test_the_last_target_is_the_one_of_the_step_that_just_ended_as_in_the_environment():
    """Steps 0, 1 and 2 of the first chunk run, then the second takes over at its step 2: its observation was at the end of step 0."""
    chunks = PublishedChunks(DT_S)
    chunks.published(record(1_795_739_590.0, 0), numbered(0.0), last_step=8)
    chunks.published(record(1_795_739_590.15, 2), numbered(100.0), last_step=8)
    ends = 1_795_739_590.0 + DT_S * np.arange(1, 7)
    assert [chunks.last_targets(end, np.zeros(2))[0] for end in ends] == [0.0, 1.0, 2.0, 102.0, 103.0, 104.0]
    assert chunks.last_targets(1_795_739_590.0, np.array([7.0, 8.0])).tolist() == [7.0, 8.0]
    assert chunks.last_targets(1_795_739_600.0, np.zeros(2))[0] == 107.0


@pytest.mark.parametrize("steps", range(9))
def test_consumed_steps_put_the_rest_of_a_chunk_where_the_next_one_begins(steps):
    chunks = PublishedChunks(DT_S)
    assert chunks.consumed_steps(3.0) == 0
    chunks.published(record(3.0, 2), numbered(0.0), last_step=8)
    observed_s = 3.0 + (steps - 2) * DT_S  # steps after the observation of this chunk
    assert chunks.consumed_steps(observed_s) == steps
    assert chunks.consumed_steps(100.0) == 8 and chunks.newest_observation_s == pytest.approx(3.0 - 2 * DT_S)


def test_after_a_stop_joints_are_where_they_are_measured_and_the_gripper_keeps_its_target():
    chunks = PublishedChunks(DT_S)
    chunks.published(record(3.0, 0), numbered(0.0), last_step=8)
    told = chunks.last_targets(3.12, np.zeros(2))
    chunks.stopped(3.12, has_gripper=True)
    assert chunks.newest_observation_s is None and chunks.consumed_steps(4.0) == 0
    assert chunks.last_targets(4.0, np.array([0.5, 0.9])).tolist() == [0.5, told[-1]]
    without = PublishedChunks(DT_S)
    without.published(record(3.0, 0), numbered(0.0), last_step=8)
    without.stopped(3.12, has_gripper=False)
    assert without.last_targets(4.0, np.array([0.5, 0.9])).tolist() == [0.5, 0.9]
