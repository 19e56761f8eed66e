"""How long an arm stood still, from the positions that it was measured at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STILL_RAD_S = 0.02
"""Up to which a joint stands still; monitor_node's `still_velocity` [rad/s]."""


class Standstill(NamedTuple):
    """Times without motion."""

    duration_s: float  # of what was measured [s]
    still_s: float  # of which no joint moved [s]
    longest_s: float  # without motion in one piece [s]


def standstill(times_s: NDArray[np.float64], positions: NDArray[np.float64]) -> Standstill:
    """Returns how long no joint moved: an arm that moved, however late it is, has other positions in the next joint states.

    Args:
        times_s: stamps of joint states, ascending, (m,) [s].
        positions: at those times, (m, n) [rad].

    >>> standstill(np.array([0.0, 1.0, 2.0, 3.0]), np.array([[0.0], [0.5], [0.5], [1.0]]))
    Standstill(duration_s=3.0, still_s=1.0, longest_s=1.0)
    """
    lengths = np.diff(times_s)
    still = (np.abs(np.diff(positions, axis=0)) <= STILL_RAD_S * lengths[:, None]).all(axis=1)
    pieces = np.split(lengths * still, np.flatnonzero(np.diff(still)) + 1)
    return Standstill(float(lengths.sum()), float(lengths[still].sum()), max((float(piece.sum()) for piece in pieces), default=0.0))
