"""The joints that were measured of late, in the order of their stamps."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import MissingObservation

LONGEST_SILENCE_S = 0.1
"""Between two samples this far apart nobody knows where the joints were [s]."""


class JointHistory:
    """Keeps positions by stamp; one that comes late is put where it belongs, one that comes twice is kept once.

    Args:
        joints: names of those that are kept, (n,).

    >>> history = JointHistory(("elbow",))
    >>> for stamp_s in (1.0, 1.1, 1.05, 1.1):
    ...     history.add({"elbow": 2.0 * stamp_s, "wrist": 0.0}, stamp_s)
    >>> history.between(1.0, 1.06)[0].tolist(), history.at(np.array([1.02]))
    ([1.0, 1.05], array([[2.04]]))
    """

    def __init__(self, joints: tuple[str, ...]) -> None:
        self.joints = joints
        self._stamps: list[float] = []
        self._positions: list[tuple[float, ...]] = []

    def add(self, positions: Mapping[str, float], stamp_s: float) -> None:
        """Takes a joint state [rad], [m].

        Raises:
            MissingObservation: a joint is missing, or a number is not finite.
        """
        try:
            row = tuple(positions[name] for name in self.joints)
        except KeyError as error:
            raise MissingObservation(f"joint states must name {self.joints}, got {tuple(positions)}") from error
        if not math.isfinite(sum(row) + stamp_s):
            raise MissingObservation(f"measured joints and their stamp must be finite, got {row} at {stamp_s}")
        index = bisect_left(self._stamps, stamp_s)
        if index == len(self._stamps) or self._stamps[index] != stamp_s:
            self._stamps.insert(index, stamp_s)
            self._positions.insert(index, row)

    def between(self, begin_s: float, end_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns stamps (m,) and positions (m, n) of what was measured between two times, ends included."""
        part = slice(bisect_left(self._stamps, begin_s), bisect_right(self._stamps, end_s))
        return np.array(self._stamps[part]), np.array(self._positions[part]).reshape(-1, len(self.joints))

    def at(self, times_s: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Returns positions (m, n) at increasing times (m,), on the line between two samples; None where one is too far from any."""
        begin, end = times_s[0] - LONGEST_SILENCE_S, times_s[-1] + LONGEST_SILENCE_S
        stamps, positions = self.between(begin, end)
        edges = np.concatenate([[begin], stamps, [end]])
        # Below both ends of the times, and never longer than that within them.
        if len(stamps) == 0 or (np.diff(edges) > LONGEST_SILENCE_S + 1e-9).any():
            return None
        return np.stack([np.interp(times_s, stamps, column) for column in positions.T], axis=1)

    def forget(self, keep: Sequence[tuple[float, float]]) -> None:
        """Forgets all samples outside some intervals (begin, end) [s]."""
        kept = [index for index, stamp in enumerate(self._stamps) if any(begin <= stamp <= end for begin, end in keep)]
        self._stamps = [self._stamps[index] for index in kept]
        self._positions = [self._positions[index] for index in kept]

    def __len__(self) -> int:
        return len(self._stamps)
