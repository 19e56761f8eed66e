"""How long a policy server takes to answer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

WINDOW = 10_000


@dataclass(frozen=True)
class LatencyStatistics:
    """Quantiles over the newest calls; None where nothing was measured.

    Args:
        num_calls: answers so far, the older than the window too.
        p50_s, p99_s: of the round trip, from the observation to the checked chunk.
        server_p50_s, server_p99_s: of the inference alone, as the server measured it.

    >>> LatencyStatistics(num_calls=1, p50_s=0.05, p99_s=0.05).p50_s
    0.05
    """

    num_calls: int = 0
    p50_s: float | None = None
    p99_s: float | None = None
    server_p50_s: float | None = None
    server_p99_s: float | None = None


class LatencyRecorder:
    """Keeps the newest measurements.

    >>> recorder = LatencyRecorder()
    >>> for milliseconds in (10, 20, 30):
    ...     recorder.record(milliseconds / 1000)
    >>> recorder.statistics().p50_s
    0.02
    """

    def __init__(self) -> None:
        self._num_calls = 0
        self._round_trips_s: deque[float] = deque(maxlen=WINDOW)
        self._servers_s: deque[float] = deque(maxlen=WINDOW)

    def record(self, round_trip_s: float, server_s: float | None = None) -> None:
        """Adds one answer; `server_s` is None when the server sent no timing."""
        self._num_calls += 1
        self._round_trips_s.append(round_trip_s)
        if server_s is not None:
            self._servers_s.append(server_s)

    def statistics(self) -> LatencyStatistics:
        """Returns the quantiles so far."""
        return LatencyStatistics(self._num_calls, *_quantiles(self._round_trips_s), *_quantiles(self._servers_s))


def _quantiles(durations_s: deque[float]) -> tuple[float | None, float | None]:
    if not durations_s:
        return None, None
    p50, p99 = np.quantile(durations_s, (0.5, 0.99)).tolist()
    return p50, p99
