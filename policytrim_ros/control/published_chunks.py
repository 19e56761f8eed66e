"""What of the published chunks was commanded at a time: the last targets, and how much of a chunk had run."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_ros.control.commands import ChunkRecord

REMEMBERED = 8
"""Chunks; an observation is seldom older than the present one."""
ROUNDING = 1e-3
"""At the very end of a step, less this share of it, the next one has not begun: a time since 1970 holds 0.2 microseconds."""


class _Window(NamedTuple):
    """A chunk from when it took over."""

    join_s: float
    first_step: int
    observation_stamp_s: float
    targets: NDArray[np.float64]  # (last, n): what may run of it

    def begun_steps(self, at_s: float, control_dt_s: float) -> int:
        """Returns the number of its steps that have begun before a time, those that were dropped included."""
        return self.first_step + math.ceil((at_s - self.join_s) / control_dt_s - ROUNDING)


class PublishedChunks:
    """Remembers the chunks that were published, as joint targets [rad] and gripper openings.

    A policy may be shown the gripper's last target, as in the arm environment, where a closed gripper that an object stops is told from
    one that was told to stop there; a policy of tool motions continues the joint targets that were asked for last; a selector compares a
    chunk with the rest of the one before. All of them ask about the moment of an observation, not about now.

    Args:
        control_dt_s: of a step [s].

    >>> chunks = PublishedChunks(control_dt_s=0.1)
    >>> record = ChunkRecord(5.0, 4.9, 3, 4, 1, 5.0, 0.05, 0.1, "published")
    >>> chunks.published(record, np.array([[0.0], [1.0], [2.0], [3.0]]), last_step=4)
    >>> [float(chunks.last_targets(at_s, np.array([9.0]))[0]) for at_s in (5.0, 5.05, 5.1, 5.15, 7.0)]
    [9.0, 1.0, 1.0, 2.0, 3.0]
    >>> chunks.consumed_steps(5.1), chunks.newest_observation_s
    (2, 4.9)
    """

    def __init__(self, control_dt_s: float) -> None:
        self._dt_s = control_dt_s
        self._windows: deque[_Window] = deque(maxlen=REMEMBERED)
        self._opening: float | None = None

    @property
    def newest_observation_s(self) -> float | None:
        """Stamp of the observation that the newest chunk came from [s]; None without one since the start or the last stop."""
        return self._windows[-1].observation_stamp_s if self._windows else None

    def published(self, record: ChunkRecord, targets: NDArray[np.float64], last_step: int) -> None:
        """Takes a chunk.

        Args:
            record: of the published chunk.
            targets: the whole chunk (chunk_size, n), in joints [rad] and, last, the gripper's opening.
            last_step: so many steps of it run at most.
        """
        assert record.join_s is not None and record.dropped_steps is not None
        self._windows.append(_Window(record.join_s, record.dropped_steps, record.observation_stamp_s, targets[:last_step]))

    def stopped(self, now_s: float, has_gripper: bool) -> None:
        """Forgets the chunks when the arm is braked: it goes on from where it is measured, but a gripper keeps what it was told."""
        if has_gripper and self._windows:
            self._opening = float(self.last_targets(now_s, self._windows[-1].targets[0])[-1])
        self._windows.clear()

    def last_targets(self, at_s: float, measured: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the targets of the control step that a time ends or interrupts, (n,).

        Args:
            at_s: the time [s].
            measured: joints and opening then, (n,): where the arm was told nothing since the start or the last stop, it stands there.
        """
        for window in reversed(self._windows):
            if at_s > window.join_s + ROUNDING * self._dt_s:
                return window.targets[min(window.begun_steps(at_s, self._dt_s), len(window.targets)) - 1]
        told = measured.copy()
        if self._opening is not None:
            told[-1] = self._opening
        return told

    def consumed_steps(self, at_s: float) -> int:
        """Returns how many steps of the newest chunk had run or passed at a time, at most those that may run [steps]."""
        if not self._windows:
            return 0
        window = self._windows[-1]
        passed = window.first_step + math.floor((at_s - window.join_s) / self._dt_s + 0.5)
        return min(max(passed, 0), len(window.targets))
