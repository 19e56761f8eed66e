"""Runs a policy at a horizon, a playback rate and an inference delay: the controller of every evaluation."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidHorizon, InvalidSpec
from policytrim_gym.policy import ChunkPolicy, Observation
from policytrim_gym.queue import ChunkQueue
from policytrim_gym.replan import play_at_rate, require_action_kinds
from policytrim_gym.rollouts.controller import Controller
from policytrim_gym.rollouts.episode import EpisodeRequest, Window


class PlaybackController(Controller):
    """Asks the policy for its best chunk and runs `execute_horizon` actions of it.

    Args:
        policy: who is asked.
        playback_rate: above 1 the actions to run are resampled into fewer steps (see `resample_actions`).
        inference_delay_steps: d, steps that pass while the policy thinks; they come from the previous chunk.
        action_low, action_high: actuator limits (action_dim,) for resampling.

    Raises:
        InvalidSpec: a playback rate that is not positive; one other than 1 for a policy whose action kinds are unknown, or together
            with a delay.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        playback_rate: float = 1.0,
        inference_delay_steps: int = 0,
        action_low: NDArray[np.float32] | None = None,
        action_high: NDArray[np.float32] | None = None,
    ) -> None:
        if not (np.isfinite(playback_rate) and playback_rate > 0):
            raise InvalidSpec(f"playback_rate must be a finite number above 0, got {playback_rate}")
        if playback_rate != 1.0:
            require_action_kinds(policy.spec, playback_rate)
        if playback_rate != 1.0 and inference_delay_steps:
            raise InvalidSpec(f"playback_rate {playback_rate} with inference_delay_steps {inference_delay_steps}: choose one of them")
        self._policy = policy
        self._playback_rate = playback_rate
        self._delay = inference_delay_steps
        self._limits = (action_low, action_high)
        self._queues: dict[int, ChunkQueue] = {}
        self._horizons: dict[int, int] = {}

    def start(self, episode: int, request: EpisodeRequest) -> None:
        if request.execute_horizon > self._policy.spec.chunk_size - self._delay:
            raise InvalidHorizon(
                f"execute_horizon must be at most chunk_size - inference_delay_steps = "
                f"{self._policy.spec.chunk_size - self._delay}, got {request.execute_horizon}"
            )
        self._queues[episode] = ChunkQueue()
        self._horizons[episode] = request.execute_horizon

    def next_windows(self, episodes: Sequence[int], observations: Sequence[Observation]) -> list[Window]:
        started = time.perf_counter()
        chunks = self._policy.predict_action_chunks(observations)
        share_s = (time.perf_counter() - started) / len(episodes)
        return [Window(self._actions(episode, chunk), share_s) for episode, chunk in zip(episodes, chunks)]

    def _actions(self, episode: int, chunk: ActionChunk) -> NDArray[np.float32]:
        actions = self._queues[episode].window(chunk, self._horizons[episode], self._delay)
        return play_at_rate(actions, self._playback_rate, self._policy.spec, *self._limits)
