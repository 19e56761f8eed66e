"""How many steps ahead the next chunk must be asked for so that the arm does not wait for it."""

from __future__ import annotations

import math
from collections import deque

from policytrim_gym.errors import InvalidConfig

FEW = 5
"""Below this many measurements the largest counts, and the first value with them."""


class LatencyEstimator:
    """Keeps the newest times from asking to answer; the lead is a quantile of them and a margin, rounded up to whole steps.

    Until a few answers came, the first value stands beside the measured ones: one quick answer, or the slow one while a model warms up,
    decides nothing alone. Unlike `policytrim_gym.latency.LatencyRecorder`, which reports, it forgets what is older than its window, so
    that the lead follows a server that became slower.

    Args:
        control_dt_s: of a step [s].
        initial_s: what to expect before anything was measured [s].
        quantile: of the window, in (0, 1]; 0.95: one answer of twenty comes later than the margin covers.
        margin_s: added to it [s]: at least the executor's publish_lead_s and the time between two ticks.
        window: newest answers that count.

    Raises:
        InvalidConfig: a value out of range.

    >>> estimator = LatencyEstimator(control_dt_s=0.05, initial_s=0.3)
    >>> estimator.lead_steps
    7
    >>> for _ in range(50):
    ...     estimator.record(0.15)
    >>> estimator.lead_steps
    4
    """

    def __init__(
        self, control_dt_s: float, initial_s: float = 0.2, quantile: float = 0.95, margin_s: float = 0.03, window: int = 50
    ) -> None:
        for name, value, low, high in (
            ("control_dt_s", control_dt_s, 1e-4, math.inf),
            ("initial_s", initial_s, 0.0, math.inf),
            ("quantile", quantile, 1e-3, 1.0),
            ("margin_s", margin_s, 0.0, math.inf),
            ("window", window, 1, math.inf),
        ):
            if not (low <= value <= high and math.isfinite(value)):
                raise InvalidConfig(f"{name} must be a finite number in {low:g}..{high:g}, got {value}")
        self._dt_s, self._initial_s, self._quantile, self._margin_s = control_dt_s, initial_s, quantile, margin_s
        self._latencies_s: deque[float] = deque(maxlen=window)
        self._expected_s = initial_s + margin_s

    def record(self, latency_s: float) -> None:
        """Adds the time from asking to an answer [s]; what is no duration (a clock that jumped) is left out."""
        if math.isfinite(latency_s) and latency_s >= 0.0:
            self._latencies_s.append(latency_s)
            self._expected_s = self._upper_s() + self._margin_s

    @property
    def expected_s(self) -> float:
        """The latency to be ready for, with the margin [s]."""
        return self._expected_s

    def _upper_s(self) -> float:
        ordered = sorted(self._latencies_s)
        if len(ordered) < FEW:
            return max(self._initial_s, ordered[-1])
        # An answer that really took this long, not a mean of two.
        return ordered[math.ceil(self._quantile * (len(ordered) - 1))]

    @property
    def lead_steps(self) -> int:
        """Steps before the handover at which to ask, at least 1; exact multiples are not rounded up."""
        return max(1, math.ceil(self.expected_s / self._dt_s - 1e-9))
