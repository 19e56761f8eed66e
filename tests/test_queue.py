"""Laws of asynchronous execution: which chunk's action runs at which step."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidChunk, InvalidHorizon
from policytrim_gym.queue import ChunkQueue


def tagged(number: int, chunk_size: int = 10) -> ActionChunk:
    """Action i of chunk c reads (c, i)."""
    return ActionChunk(np.stack([np.full(chunk_size, number), np.arange(chunk_size)], axis=1))


def test_without_delay_every_window_is_the_new_chunk() -> None:
    queue = ChunkQueue()
    for number in range(4):
        np.testing.assert_array_equal(queue.window(tagged(number), 6, 0), tagged(number).actions[:6])


@pytest.mark.parametrize(("horizon", "delay"), [(1, 1), (4, 1), (4, 4), (6, 3), (7, 3), (5, 5)])
def test_the_delay_is_bridged_by_the_previous_chunk(horizon: int, delay: int) -> None:
    queue = ChunkQueue()
    np.testing.assert_array_equal(queue.window(tagged(0), horizon, delay), tagged(0).actions[:horizon])
    for number in range(1, 5):
        window = queue.window(tagged(number), horizon, delay)
        expected = [(number - 1, horizon + i) for i in range(delay)] + [(number, i) for i in range(delay, horizon)]
        np.testing.assert_array_equal(window, expected)


@pytest.mark.parametrize("delay", range(5))
def test_a_policy_that_plans_consistently_is_not_changed_by_delay(delay: int) -> None:
    """When each chunk continues the last one's plan, any delay runs the plan itself: nothing lost, nothing twice."""
    queue, horizon, plan = ChunkQueue(), 5, np.arange(100.0)[:, None]
    run = [queue.window(ActionChunk(plan[start : start + 10]), horizon, delay) for start in range(0, 50, horizon)]
    np.testing.assert_array_equal(np.concatenate(run), plan[:50])


def test_reset_forgets_the_tail() -> None:
    queue = ChunkQueue()
    queue.window(tagged(0), 6, 3)
    queue.reset()
    np.testing.assert_array_equal(queue.window(tagged(1), 6, 3), tagged(1).actions[:6])


def test_a_varying_horizon_continues_at_its_own_end() -> None:
    queue = ChunkQueue()
    queue.window(tagged(0), 3, 2)
    np.testing.assert_array_equal(queue.window(tagged(1), 7, 2)[:2], [(0, 3), (0, 4)])
    np.testing.assert_array_equal(queue.window(tagged(2), 4, 2)[:2], [(1, 7), (1, 8)])


@pytest.mark.parametrize(
    ("horizon", "delay", "message"),
    [
        (8, 3, r"execute_horizon must be in 3\.\.7 .* got 8"),
        (2, 3, r"must be in 3\.\.7 .* got 2"),
        (10, 6, "inference_delay_steps must be at most 5, half of chunk_size 10, .* got 6"),
        (0, 0, r"1\.\.10.*got 0"),
        (11, 0, r"1\.\.10.*got 11"),
        (5, -1, "inference_delay_steps .* got -1"),
        (5, 1.0, "inference_delay_steps .* got 1.0"),
    ],
)
def test_horizons_without_room_are_refused_and_change_nothing(horizon: int, delay: int, message: str) -> None:
    queue = ChunkQueue()
    queue.window(tagged(0), 6, 3)
    with pytest.raises(InvalidHorizon, match=message):
        queue.window(tagged(1), horizon, delay)
    np.testing.assert_array_equal(queue.window(tagged(2), 6, 3)[:3], [(0, 6), (0, 7), (0, 8)])


def test_a_previous_chunk_that_cannot_bridge_is_refused() -> None:
    queue = ChunkQueue()
    queue.window(tagged(0), 10, 0)
    with pytest.raises(InvalidHorizon, match="0 actions of the previous chunk are left"):
        queue.window(tagged(1), 5, 2)
    queue.reset()
    queue.window(tagged(0), 5, 2)
    with pytest.raises(InvalidChunk, match="action_dim 2 .* got 1"):
        queue.window(ActionChunk(np.zeros((10, 1))), 5, 2)
