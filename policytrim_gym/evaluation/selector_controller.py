"""Runs a policy whose horizon a selector chooses chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from policytrim_gym.evaluation.chunk_controller import ChunkController
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.replan import HorizonChoice, ReplanContext
from policytrim_gym.selectors.selector import HorizonSelector


class SelectorController(ChunkController):
    """Plays of each chunk what a selector chooses.

    Args:
        policy: who is asked.
        selector: who chooses.
        settings: further arguments of `ChunkController`.

    Raises:
        InvalidHorizon, InvalidSpec, MismatchedSelector: a choice of the selector cannot be made with this policy and delay.
    """

    def __init__(self, policy: ChunkPolicy, selector: HorizonSelector, **settings: Any) -> None:
        super().__init__(policy, **settings)
        selector.check_policy(policy.spec)
        for choice in selector.choices:
            self.check_choice(choice)
        self._selector = selector

    def choose(self, episodes: Sequence[int], contexts: Sequence[ReplanContext]) -> list[HorizonChoice]:
        return self._selector.select(contexts)
