"""Rolls out a policy with exploration and keeps what the gradient needs."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from policytrim_gym.policy import Observation, TrainableChunkPolicy
from policytrim_gym.rollouts.controller import Controller
from policytrim_gym.rollouts.episode import EpisodeRequest, Window


class SamplingController(Controller):
    """Samples a chunk at each replan and runs its first execute_horizon actions.

    Each episode has its own source of noise, seeded by its request, so that what it does depends neither on the number of workers nor
    on who else waits.

    Args:
        policy: who is sampled; the sample (with its trace) is the window's `record`.
    """

    def __init__(self, policy: TrainableChunkPolicy) -> None:
        self._policy = policy
        self._generators: dict[int, torch.Generator] = {}
        self._horizons: dict[int, int] = {}

    def start(self, episode: int, request: EpisodeRequest) -> None:
        self._generators[episode] = torch.Generator().manual_seed(request.noise_seed)
        self._horizons[episode] = request.execute_horizon

    def next_windows(self, episodes: Sequence[int], observations: Sequence[Observation]) -> list[Window]:
        started = time.perf_counter()
        samples = self._policy.sample_chunks(observations, [self._generators[episode] for episode in episodes])
        share_s = (time.perf_counter() - started) / len(episodes)
        return [Window(sample.actions[: self._horizons[episode]], share_s, sample) for episode, sample in zip(episodes, samples)]
