"""How far a simulation has to be, given how far a clock is."""

from __future__ import annotations

MAX_TICKS = 10
"""Most ticks at once, so that whoever waits for the simulation is served between them."""


class Pacer:
    """Tells how many ticks of simulated time are due.

    Args:
        tick_s: simulated time of a tick [s].
        real_time_factor: simulated seconds in a second of the clock.
        keeps_up: whether ticks that were missed are made up for, as a clock that others read too demands; else time that was lost stays
            lost, and the simulation is slower than asked for on a machine that is too slow.

    >>> pacer = Pacer(0.01, real_time_factor=2.0, keeps_up=False)
    >>> pacer.due(100.0), pacer.due(100.02), pacer.due(100.021)
    (0, 4, 0)
    """

    def __init__(self, tick_s: float, real_time_factor: float, keeps_up: bool) -> None:
        self._ticks_a_second = real_time_factor / tick_s
        self._keeps_up = keeps_up
        self._start_s: float | None = None
        self._done = 0

    def due(self, now_s: float) -> int:
        """Returns how many ticks to make now, at most `MAX_TICKS`; the caller makes them.

        Args:
            now_s: of a clock that never goes back [s].
        """
        if self._start_s is None:
            self._start_s = now_s
        behind = int((now_s - self._start_s) * self._ticks_a_second + 1e-6) - self._done
        if behind > MAX_TICKS:
            if not self._keeps_up:
                self._start_s += (behind - MAX_TICKS) / self._ticks_a_second
            behind = MAX_TICKS
        self._done += behind
        return behind
