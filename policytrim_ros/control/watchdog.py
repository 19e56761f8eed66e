"""Notices what has gone silent: joint states, an image, the policy, and a clock that jumps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from policytrim_gym.errors import InvalidConfig


class Expiry(NamedTuple):
    """What was silent for too long, or how the clock jumped.

    Args:
        name: of the input, or "clock".
        message: one sentence with the value and the limit.
        went_back: whether it is a clock that went back.
    """

    name: str
    message: str
    went_back: bool = False


class Watchdog:
    """Holds a timeout for each named input, and knows since when there is nothing new of it.

    New is what has a later stamp than all before: a camera driver that repeats its last image is as silent as one that sends nothing.
    Time counts from the arrival, on the clock that `now_s` comes from, so a sender's clock that is behind makes no input stale. Inputs
    come on their own; an answer is waited for from `expect` on only.

    Args:
        timeouts_s: of the inputs that come on their own, by name [s].
        answer_timeouts_s: of what is waited for only when it was asked for, by name [s].
        max_gap_s: between two calls of `check_clock`; a longer one is a clock that jumped forward, or a process that stood still [s].

    Raises:
        InvalidConfig: a timeout that is not above 0, or a name twice.

    >>> watchdog = Watchdog({"joint_states": 0.2}, {"policy": 2.0})
    >>> watchdog.missing
    ('joint_states',)
    >>> watchdog.arrived("joint_states", stamp_s=9.99, now_s=10.0)
    >>> watchdog.expired(10.1), watchdog.expired(10.25).message
    (None, 'nothing new of joint_states for 0.250 s, the limit is 0.200 s')
    """

    def __init__(self, timeouts_s: Mapping[str, float], answer_timeouts_s: Mapping[str, float], max_gap_s: float = 0.5) -> None:
        for name, value in (*timeouts_s.items(), *answer_timeouts_s.items(), ("max_gap_s", max_gap_s)):
            if not (math.isfinite(value) and value > 0.0):
                raise InvalidConfig(f"the timeout of {name} must be a finite number above 0, got {value}")
        twice = sorted(set(timeouts_s) & set(answer_timeouts_s))
        if twice:
            raise InvalidConfig(f"an input must have one timeout, got two of {twice[0]!r}")
        self._inputs, self._timeouts_s = tuple(timeouts_s), {**timeouts_s, **answer_timeouts_s}
        self._max_gap_s = max_gap_s
        self._last_now_s: float | None = None
        self.restart()

    def restart(self) -> None:
        """Forgets all arrivals, as after a clock jump: stamps of before say nothing any more."""
        self._since_s: dict[str, float] = {}
        self._stamps_s: dict[str, float] = {}

    def arrived(self, name: str, stamp_s: float, now_s: float) -> None:
        """Notes an input.

        Raises:
            InvalidConfig: no input of this name has a timeout.
        """
        if name not in self._inputs:
            raise InvalidConfig(f"an input must be one of {self._inputs}, got {name!r}")
        if stamp_s > self._stamps_s.get(name, -math.inf):
            self._stamps_s[name] = stamp_s
            self._since_s[name] = now_s

    def expect(self, name: str, now_s: float) -> None:
        """Begins to wait for an answer."""
        self._since_s[name] = now_s

    def answered(self, name: str) -> None:
        """Ends the wait for an answer."""
        self._since_s.pop(name, None)

    @property
    def missing(self) -> tuple[str, ...]:
        """Inputs that never came since the start or the last restart; they are no expiry, for nothing can have begun without them."""
        return tuple(name for name in self._inputs if name not in self._since_s)

    def expired(self, now_s: float) -> Expiry | None:
        """Returns the input that expired first, or None."""
        ends = {name: since_s + self._timeouts_s[name] for name, since_s in self._since_s.items()}
        name = min(ends, key=ends.__getitem__, default=None)
        if name is None or now_s <= ends[name]:
            return None
        silent_s = now_s - self._since_s[name]
        return Expiry(name, f"nothing new of {name} for {silent_s:.3f} s, the limit is {self._timeouts_s[name]:.3f} s")

    def check_clock(self, now_s: float) -> Expiry | None:
        """Returns how the clock jumped since the last call, or None; to be called with every tick, also while nothing moves."""
        last_s, self._last_now_s = self._last_now_s, now_s
        if last_s is None or 0.0 <= now_s - last_s <= self._max_gap_s:
            return None
        way, limit_s = ("back", 0.0) if now_s < last_s else ("forward", self._max_gap_s)
        words = f"the clock went {way} by {abs(now_s - last_s):.3f} s between two ticks, the limit is {limit_s:.3f} s"
        return Expiry("clock", words, went_back=now_s < last_s)
