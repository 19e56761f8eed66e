"""Selectors that run a chunk as far as a rule trusts it."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidConfig, InvalidHorizon
from policytrim_gym.replan import HorizonChoice, ReplanContext, check_rate, strictly_increasing
from policytrim_gym.selectors.selector import HorizonSelector

DEFAULT_HORIZONS = (2, 4, 8, 16, 32)
_TEXT = re.compile(r"(?P<threshold>[^:x]+)(:(?P<horizons>\d+(,\d+)*))?(x(?P<rate>[^:x]+))?")

Rule = TypeVar("Rule", bound="PrefixSelector")


class PrefixSelector(HorizonSelector):
    """Chooses the longest of its horizons within the part of a chunk that a rule trusts, the first of them where it trusts less.

    A rule is a subclass that says how many steps it trusts. The playback rate is always the same.

    Args:
        horizons: to choose from, strictly increasing, each at least 1 [steps].
        threshold: of the rule, finite, at least 0.
        playback_rate: of every choice, above 0.

    Raises:
        InvalidHorizon: horizons that are empty, unsorted, double or below 1.
        InvalidConfig: a threshold that is negative or not finite.
        InvalidSpec: a rate that is not above 0.
    """

    rule: ClassVar[str]
    """What tables and the command line call the rule."""

    def __init__(self, horizons: Sequence[int], threshold: float, playback_rate: float = 1.0) -> None:
        self.horizons = tuple(horizons)
        numbers = all(isinstance(horizon, (int, np.integer)) and horizon >= 1 for horizon in self.horizons)
        if not numbers or not strictly_increasing(self.horizons):
            raise InvalidHorizon(f"horizons must be at least one integer of at least 1, strictly increasing, got {self.horizons}")
        if not (np.isfinite(threshold) and threshold >= 0):
            raise InvalidConfig(f"threshold must be a finite number of at least 0, got {threshold}")
        self.threshold = float(threshold)
        self.playback_rate = check_rate(playback_rate)

    @classmethod
    def parse(cls: type[Rule], text: str) -> Rule:
        """Makes the selector from `THRESHOLD[:HORIZON,HORIZON,...][xRATE]`, such as "0.5" or "0.5:8,16,32x2".

        Raises:
            InvalidConfig: another form.
        """
        match = _TEXT.fullmatch(text)
        try:
            if match is None:
                raise ValueError(text)
            horizons = [int(horizon) for horizon in match["horizons"].split(",")] if match["horizons"] else DEFAULT_HORIZONS
            threshold, rate = float(match["threshold"]), float(match["rate"] or 1.0)
        except ValueError:
            form = f"{cls.rule}:THRESHOLD[:HORIZON,HORIZON,...][xRATE]"
            raise InvalidConfig(f'a selector of this kind must have the form "{form}", got "{cls.rule}:{text}"') from None
        return cls(horizons, threshold, playback_rate=rate)

    @property
    def name(self) -> str:
        rate = f" x{self.playback_rate:g}" if self.playback_rate != 1.0 else ""
        return f"{self.rule} {self.threshold:g} h={'-'.join(map(str, self.horizons))}{rate}"

    @property
    def choices(self) -> tuple[HorizonChoice, ...]:
        return tuple(HorizonChoice(horizon, self.playback_rate) for horizon in self.horizons)

    def select(self, contexts: Sequence[ReplanContext]) -> list[HorizonChoice]:
        return [HorizonChoice(self._longest_within(self.trusted_steps(context)), self.playback_rate) for context in contexts]

    @abstractmethod
    def trusted_steps(self, context: ReplanContext) -> int:
        """Returns how many actions of the context's chunk may run by the rule, in 0..chunk_size [steps]."""

    def _longest_within(self, steps: int) -> int:
        return int(max((horizon for horizon in self.horizons if horizon <= steps), default=self.horizons[0]))


def steps_before(breaks: NDArray[np.bool_], otherwise: int) -> int:
    """Returns the index of the first True, or `otherwise` without any.

    >>> steps_before(np.array([False, True, True]), 8), steps_before(np.array([False]), 8)
    (1, 8)
    """
    return int(np.argmax(breaks)) if breaks.any() else otherwise
