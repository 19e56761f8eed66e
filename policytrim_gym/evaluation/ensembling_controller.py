"""Runs a policy with temporal ensembling, the untrained control that smooths over chunk boundaries."""

from __future__ import annotations

import time
from collections.abc import Sequence

from policytrim_gym.ensembling import TemporalEnsemble
from policytrim_gym.policy import ChunkPolicy, Observation
from policytrim_gym.rollouts.controller import Controller
from policytrim_gym.rollouts.episode import EpisodeRequest, Window


class EnsemblingController(Controller):
    """Asks every execute_horizon steps and runs the average of all chunks that cover each step.

    Args:
        policy: who is asked.
        decay: of the weights, as `TemporalEnsemble` takes it.
    """

    def __init__(self, policy: ChunkPolicy, decay: float = 0.01) -> None:
        self._policy = policy
        self._decay = decay
        self._ensembles: dict[int, TemporalEnsemble] = {}
        self._horizons: dict[int, int] = {}

    def start(self, episode: int, request: EpisodeRequest) -> None:
        self._ensembles[episode] = TemporalEnsemble(self._decay)
        self._horizons[episode] = request.execute_horizon

    def next_windows(self, episodes: Sequence[int], observations: Sequence[Observation]) -> list[Window]:
        started = time.perf_counter()
        chunks = self._policy.predict_action_chunks(observations)
        share_s = (time.perf_counter() - started) / len(episodes)
        return [
            Window(self._ensembles[episode].window(chunk, self._horizons[episode]), share_s) for episode, chunk in zip(episodes, chunks)
        ]
