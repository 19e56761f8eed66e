"""Which control steps brought the joints nowhere."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BACK_S = 0.25
"""A step that brings the joints back to where they were less than this ago is redundant [s]. A motion out and back that takes longer may
have moved something."""


class Progress(NamedTuple):
    """What came of the steps of one chunk."""

    still_steps: int  # in which no joint moved
    redundant_steps: int  # still ones, and those back to where the joints had just been
    still_s: float  # the longest time without motion that ended in these steps or lasts still; it may have begun before them [s]


class StepProgress:
    """Compares the joints at the end of each control step with where they were shortly before.

    A step is redundant when all joints, those of the gripper too, are back within the tolerance of where they were at the end of one of
    the steps of the last 0.25 s: still when it is the one before, else back and forth. Only the way back counts, not the way there.

    Args:
        control_dt_s: length of a step [s].
        still_velocity: up to which a joint stands still; times `control_dt_s` it is the tolerance [rad/s], [m/s].

    >>> progress = StepProgress(control_dt_s=0.05, still_velocity=0.02)
    >>> progress.follow(np.array([[0.0], [0.1], [0.0], [0.0], [0.2]]))
    Progress(still_steps=1, redundant_steps=2, still_s=0.05)
    """

    def __init__(self, control_dt_s: float, still_velocity: float) -> None:
        self.control_dt_s, self._tolerance = control_dt_s, still_velocity * control_dt_s
        self._recent: deque[NDArray[np.float64]] = deque(maxlen=max(1, round(BACK_S / control_dt_s)))
        self._num_still = 0

    def restart(self) -> None:
        """Forgets what was before: the arm waited, was stopped, or was moved by something else."""
        self._recent.clear()
        self._num_still = 0

    def follow(self, positions: NDArray[np.float64]) -> Progress:
        """Takes the steps of a chunk.

        Args:
            positions: measured, where the chunk took over and at the end of each of its steps, (steps + 1, n) [rad], [m].
        """
        still = redundant = longest = 0
        if not self._recent:
            self._recent.append(positions[0])
        for pose in positions[1:]:
            returned = [bool((np.abs(pose - earlier) <= self._tolerance).all()) for earlier in self._recent]
            stood = returned[-1]
            still += stood
            redundant += any(returned)
            self._num_still = self._num_still + 1 if stood else 0
            longest = max(longest, self._num_still)
            self._recent.append(pose)
        return Progress(still, redundant, longest * self.control_dt_s)
