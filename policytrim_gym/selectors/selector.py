"""The interface of everything that chooses a horizon."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from policytrim_gym.replan import HorizonChoice, ReplanContext, check_rate
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
    def choices(self) -> tuple[HorizonChoice, ...]:
        """Everything that it may choose."""

    @abstractmethod
    def select(self, contexts: Sequence[ReplanContext]) -> list[HorizonChoice]:
        """Returns one of `choices` for each context, in order; every context holds a chunk."""

    @property
    def longest_horizon(self) -> int:
        """Upper bound of the horizons that it chooses [steps]."""
        return max(choice.execute_horizon for choice in self.choices)

    def check_policy(self, spec: PolicySpec) -> None:
        """Raises InvalidHorizon or InvalidSpec when one of its choices cannot be made for chunks of such a policy."""
        for choice in self.choices:
            choice.check(spec)


class FixedSelector(HorizonSelector):
    """Always chooses the same horizon and playback rate.

    >>> selector = FixedSelector(8, playback_rate=2.0)
    >>> selector.name, selector.select([ReplanContext({}, None)])
    ('h=8 x2', [HorizonChoice(execute_horizon=8, playback_rate=2.0)])
    """

    def __init__(self, execute_horizon: int, playback_rate: float = 1.0) -> None:
        self._choice = HorizonChoice(execute_horizon, check_rate(playback_rate))

    @property
    def name(self) -> str:
        return self._choice.name

    @property
    def choices(self) -> tuple[HorizonChoice, ...]:
        return (self._choice,)

    def select(self, contexts: Sequence[ReplanContext]) -> list[HorizonChoice]:
        return [self._choice] * len(contexts)
