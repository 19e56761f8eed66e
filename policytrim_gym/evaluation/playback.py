"""Runs a policy at a horizon, a playback rate and an inference delay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from policytrim_gym.evaluation.chunk_controller import ChunkController
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.replan import HorizonChoice, ReplanContext
from policytrim_gym.rollouts.episode import EpisodeRequest


class PlaybackController(ChunkController):
    """Plays the first `execute_horizon` actions of each chunk, as each episode's request says, all at one rate.

    Args:
        policy: who is asked.
        playback_rate: above 1 the actions to run are resampled into fewer steps (see `resample_actions`).
        settings: further arguments of `ChunkController`.

    Raises:
        InvalidSpec: a playback rate that is not positive; one other than 1 for a policy whose action kinds are unknown, or together
            with a delay.
    """

    def __init__(self, policy: ChunkPolicy, playback_rate: float = 1.0, **settings: Any) -> None:
        super().__init__(policy, **settings)
        self._rate = playback_rate
        self._choices: dict[int, HorizonChoice] = {}
        self.check_choice(self._choice(max(1, self._delay)))

    def start(self, episode: int, request: EpisodeRequest) -> None:
        """Takes the request's horizon; raises InvalidHorizon when chunk and delay leave no room for it."""
        super().start(episode, request)
        choice = self._choice(request.execute_horizon)
        self.check_choice(choice)
        self._choices[episode] = choice

    def choose(self, episodes: Sequence[int], contexts: Sequence[ReplanContext]) -> list[HorizonChoice]:
        return [self._choices[episode] for episode in episodes]

    def _choice(self, execute_horizon: int) -> HorizonChoice:
        return HorizonChoice(execute_horizon, self._rate)
