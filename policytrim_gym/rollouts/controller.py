"""Who decides, window after window, which actions an episode runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from policytrim_gym.policy import Observation
from policytrim_gym.rollouts.episode import EpisodeRequest, Window


class Controller(ABC):
    """Turns observations into windows of actions for many episodes at once.

    The collector calls `start` when an episode begins, then `next_windows` once for all episodes that wait, until each has ended.
    """

    def start(self, episode: int, request: EpisodeRequest) -> None:
        """Forgets what it knew of `episode` and takes its request."""

    @abstractmethod
    def next_windows(self, episodes: Sequence[int], observations: Sequence[Observation]) -> list[Window]:
        """Returns the actions to run next in each of the waiting episodes, in order."""
