"""What is known when a policy has just been asked, and what may be decided then: how much of the chunk runs, and how fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.chunk import ActionChunk, check_horizon, resample_actions
from policytrim_gym.errors import InvalidHorizon, InvalidSpec
from policytrim_gym.policy import Observation
from policytrim_gym.spec import PolicySpec


class HorizonChoice(NamedTuple):
    """How a chunk is run: its first `execute_horizon` actions, at `playback_rate`.

    >>> HorizonChoice(8).name, HorizonChoice(16, 1.5).name
    ('h=8', 'h=16 x1.5')
    """

    execute_horizon: int
    playback_rate: float = 1.0

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"h={self.execute_horizon}" + (f" x{self.playback_rate:g}" if self.playback_rate != 1.0 else "")

    def check(self, spec: PolicySpec) -> None:
        """Raises InvalidHorizon or InvalidSpec when chunks of such a policy cannot be run so."""
        check_horizon(self.execute_horizon, spec.chunk_size)
        check_rate(self.playback_rate, spec)


@dataclass(frozen=True)
class ReplanContext:
    """Everything that a choice of the horizon may depend on.

    Args:
        observation: what the policy was asked with, its instruction included.
        chunk: what the policy answered; None after a terminal step, where nothing runs next.
        previous_chunk: the answer before, None in an episode's first window.
        consumed_steps: actions of `previous_chunk` that were played before this observation; its rest overlaps with `chunk` [steps].
        progress: share of the time limit that has passed, in [0, 1].

    >>> first = ReplanContext({"instruction": "reach"}, ActionChunk([[0.0], [1.0]]))
    >>> first.overlap_disagreement().shape
    (0, 1)
    """

    observation: Observation
    chunk: ActionChunk | None
    previous_chunk: ActionChunk | None = None
    consumed_steps: int = 0
    progress: float = 0.0

    def overlap_disagreement(self) -> NDArray[np.float32]:
        """Returns |new - old| where the previous chunk's unplayed rest covers the new one, (overlap, action_dim); (0, action_dim) without.

        >>> old, new = ActionChunk([[0.0], [1.0], [2.0]]), ActionChunk([[1.0], [2.5], [3.0]])
        >>> ReplanContext({}, new, old, consumed_steps=1).overlap_disagreement().ravel().tolist()
        [0.0, 0.5]
        """
        if self.chunk is None or self.previous_chunk is None:
            return np.zeros((0, 0 if self.chunk is None else self.chunk.action_dim), np.float32)
        rest = self.previous_chunk.tail(self.consumed_steps)
        return np.abs(self.chunk.actions[: len(rest)] - rest)


class HorizonMenu:
    """The choices of a controller: every horizon with every playback rate, numbered.

    Number i is horizon i // len(playback_rates) at rate i % len(playback_rates).

    Args:
        horizons: strictly increasing, each in 1..chunk_size [steps].
        playback_rates: strictly increasing, each at least 1; above 1 the actions are resampled into fewer steps, so that a frozen
            policy saves physical steps as well.
        spec: of the policy whose chunks are run.

    Raises:
        InvalidHorizon: horizons that are empty, unsorted, double or longer than a chunk.
        InvalidSpec: rates that are empty, unsorted, double or below 1, or above 1 for a policy whose action kinds are unknown.

    >>> menu = HorizonMenu((4, 8), (1.0, 2.0), PolicySpec(chunk_size=8, action_dim=1, action_kinds=("delta",)))
    >>> len(menu), menu.unpack(3)
    (4, HorizonChoice(execute_horizon=8, playback_rate=2.0))
    """

    def __init__(self, horizons: Sequence[int], playback_rates: Sequence[float], spec: PolicySpec) -> None:
        self.horizons = tuple(check_horizon(horizon, spec.chunk_size, "each of horizons") for horizon in horizons)
        self.playback_rates = tuple(float(rate) for rate in playback_rates)
        if not strictly_increasing(self.horizons):
            raise InvalidHorizon(f"horizons must be at least one number, strictly increasing, got {self.horizons}")
        if not strictly_increasing(self.playback_rates) or not (np.isfinite(self.playback_rates).all() and self.playback_rates[0] >= 1):
            raise InvalidSpec(f"playback_rates must be at least one number of at least 1, strictly increasing, got {self.playback_rates}")
        check_rate(self.playback_rates[-1], spec)

    def __len__(self) -> int:
        return len(self.horizons) * len(self.playback_rates)

    @property
    def choices(self) -> tuple[HorizonChoice, ...]:
        """All of them, in the order of their numbers."""
        return tuple(self.unpack(number) for number in range(len(self)))

    def unpack(self, action: int | np.integer) -> HorizonChoice:
        """Returns the horizon and the playback rate that an action stands for.

        Raises:
            InvalidHorizon: an action outside 0..len - 1.
        """
        number = np.asarray(action)
        if number.shape != () or not np.issubdtype(number.dtype, np.integer) or not 0 <= number < len(self):
            raise InvalidHorizon(f"action must be an integer in 0..{len(self) - 1}, an index of the choices, got {action!r}")
        horizon, rate = divmod(int(number), len(self.playback_rates))
        return HorizonChoice(self.horizons[horizon], self.playback_rates[rate])

    def index(self, choice: HorizonChoice) -> int:
        """Returns the number of a choice, the inverse of `unpack`."""
        return self.horizons.index(choice.execute_horizon) * len(self.playback_rates) + self.playback_rates.index(choice.playback_rate)


def play_at_rate(
    actions: NDArray[np.float32], playback_rate: float, spec: PolicySpec, low: ArrayLike | None = None, high: ArrayLike | None = None
) -> NDArray[np.float32]:
    """Returns a window's actions at a playback rate: as they are at 1, else resampled within the actuator's limits.

    Args:
        actions: (n, action_dim).
        playback_rate: see `resample_actions`.
        spec: whose action kinds say which numbers are deltas.
        low, high: actuator limits, (action_dim,).
    """
    if playback_rate == 1.0:
        return actions
    check_rate(playback_rate, spec)
    assert spec.action_kinds is not None
    return resample_actions(actions, playback_rate, spec.action_kinds, low, high)


def check_rate(playback_rate: float, spec: PolicySpec | None = None) -> float:
    """Returns the rate as a float, when chunks can be played at it.

    Args:
        playback_rate: finite, above 0.
        spec: of the policy; one whose action kinds are unknown can be played at rate 1 only.

    Raises:
        InvalidSpec: naming the rate and what is missing.
    """
    if not (np.isfinite(playback_rate) and playback_rate > 0):
        raise InvalidSpec(f"playback_rate must be a finite number above 0, got {playback_rate}")
    if playback_rate != 1.0 and spec is not None and spec.action_kinds is None:
        raise InvalidSpec(f"playback_rate {playback_rate:g} needs action_kinds in the policy's spec: which numbers are deltas?")
    return float(playback_rate)


def strictly_increasing(values: Sequence[float]) -> bool:
    """Returns whether there is at least one value, and each is larger than the one before."""
    return len(values) > 0 and all(before < after for before, after in zip(values, values[1:]))
