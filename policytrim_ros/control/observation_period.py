"""How soon after an observation the next one can be made."""

from __future__ import annotations

from collections import deque

REMEMBERED = 8
"""Times between observations that count."""


class ObservationPeriod:
    """Keeps the newest times between the stamps of observations; a quarter of them is at most as long as the period.

    Observations of several cameras come in bursts, one with each image: the next one may be made at once, and so the short times count.
    A single short one, as after a message that was late, does not.

    >>> period = ObservationPeriod()
    >>> for stamp_s in (1.0, 1.01, 1.02, 1.03, 1.04):
    ...     period.arrived(stamp_s)
    >>> round(period.shortest_s, 6)
    0.01
    """

    def __init__(self) -> None:
        self._newest_s: float | None = None
        self._times_s: deque[float] = deque(maxlen=REMEMBERED)

    def arrived(self, stamp_s: float) -> None:
        """Notes an observation [s]; one that is not newer than the one before, as after a clock that went back, says nothing."""
        if self._newest_s is not None and stamp_s > self._newest_s:
            self._times_s.append(stamp_s - self._newest_s)
        self._newest_s = stamp_s

    @property
    def shortest_s(self) -> float:
        """The time after which the next observation may be made [s]; 0 while too little is known."""
        if len(self._times_s) < REMEMBERED // 2:
            return 0.0
        return sorted(self._times_s)[len(self._times_s) // 4]
