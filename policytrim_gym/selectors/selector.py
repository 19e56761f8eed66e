"""The interface of everything that chooses a horizon."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.replan import HorizonChoice, HorizonMenu, ReplanContext, require_action_kinds
from policytrim_gym.spec import PolicySpec


class HorizonSelector(ABC):
    """Chooses how much of each new chunk runs, and how fast.

    A selector is stateless: all that it may use of an episode's past is in the ReplanContext. So one selector serves many episodes at
    once, and the same object works in an evaluation and beside a robot.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """What tables call it, unique for its settings."""

    @property
    @abstractmethod
    def longest_horizon(self) -> int:
        """Upper bound of the horizons that it chooses [steps]."""

    @abstractmethod
    def select(self, contexts: Sequence[ReplanContext]) -> list[HorizonChoice]:
        """Returns one choice for each context, in order; every context holds a chunk."""

    def check_policy(self, spec: PolicySpec) -> None:
        """Raises InvalidHorizon or InvalidSpec when its choices cannot be made for chunks of such a policy."""
        HorizonMenu((self.longest_horizon,), (1.0,), spec)


class FixedSelector(HorizonSelector):
    """Always chooses the same horizon and playback rate.

    >>> selector = FixedSelector(8, playback_rate=2.0)
    >>> selector.name, selector.select([ReplanContext({}, None)])
    ('h=8 x2', [HorizonChoice(execute_horizon=8, playback_rate=2.0)])
    """

    def __init__(self, execute_horizon: int, playback_rate: float = 1.0) -> None:
        if not (np.isfinite(playback_rate) and playback_rate > 0):
            raise InvalidSpec(f"playback_rate must be a finite number above 0, got {playback_rate}")
        self._choice = HorizonChoice(execute_horizon, playback_rate)

    @property
    def name(self) -> str:
        rate = self._choice.playback_rate
        return f"h={self._choice.execute_horizon}" + (f" x{rate:g}" if rate != 1.0 else "")

    @property
    def longest_horizon(self) -> int:
        return self._choice.execute_horizon

    def select(self, contexts: Sequence[ReplanContext]) -> list[HorizonChoice]:
        return [self._choice] * len(contexts)

    def check_policy(self, spec: PolicySpec) -> None:
        super().check_policy(spec)
        if self._choice.playback_rate != 1.0:
            require_action_kinds(spec, self._choice.playback_rate)
