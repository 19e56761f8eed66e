"""Asks a policy for chunks and plays what is chosen of each: the one loop behind playback and selectors."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidSpec
from policytrim_gym.policy import ChunkPolicy, Observation
from policytrim_gym.queue import ChunkQueue, check_delay
from policytrim_gym.replan import HorizonChoice, ReplanContext, play_at_rate
from policytrim_gym.rollouts.controller import Controller
from policytrim_gym.rollouts.episode import EpisodeRequest, Window
from policytrim_gym.wrappers.chunk_runner import FALLBACK_TIME_LIMIT_STEPS


@dataclass
class _Episode:
    """What a running episode remembers for its next window."""

    queue: ChunkQueue = field(default_factory=ChunkQueue)
    previous_chunk: ActionChunk | None = None
    consumed_steps: int = 0
    steps: int = 0


class ChunkController(Controller):
    """Asks the policy for its best chunk and plays of it what a subclass chooses.

    The time of the choice counts as inference: a choice that costs as much as a call has saved nothing.

    Args:
        policy: who is asked.
        inference_delay_steps: d, steps that pass while the policy thinks; they come from the previous chunk.
        action_low, action_high: actuator limits (action_dim,) for resampling.
        max_episode_steps: time limit that the progress refers to [steps].
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        inference_delay_steps: int = 0,
        action_low: NDArray[np.float32] | None = None,
        action_high: NDArray[np.float32] | None = None,
        max_episode_steps: int = FALLBACK_TIME_LIMIT_STEPS,
    ) -> None:
        self._policy = policy
        self._delay = inference_delay_steps
        self._limits = (action_low, action_high)
        self._max_episode_steps = max_episode_steps
        self._episodes: dict[int, _Episode] = {}

    @abstractmethod
    def choose(self, episodes: Sequence[int], contexts: Sequence[ReplanContext]) -> list[HorizonChoice]:
        """Returns how each waiting episode's new chunk is played."""

    def check_choice(self, choice: HorizonChoice) -> None:
        """Raises InvalidHorizon or InvalidSpec when the policy's chunks cannot be played so at this delay; for before anything runs."""
        choice.check(self._policy.spec)
        check_delay(self._delay, choice.execute_horizon, self._policy.spec.chunk_size)
        if choice.playback_rate != 1.0 and self._delay:
            raise InvalidSpec(f"playback_rate {choice.playback_rate:g} with inference_delay_steps {self._delay}: choose one of them")

    def start(self, episode: int, request: EpisodeRequest) -> None:
        self._episodes[episode] = _Episode()

    def next_windows(self, episodes: Sequence[int], observations: Sequence[Observation]) -> list[Window]:
        started = time.perf_counter()
        chunks = self._policy.predict_action_chunks(observations)
        states = [self._episodes[episode] for episode in episodes]
        contexts = [
            ReplanContext(observation, chunk, state.previous_chunk, state.consumed_steps, min(1.0, state.steps / self._max_episode_steps))
            for observation, chunk, state in zip(observations, chunks, states)
        ]
        choices = self.choose(episodes, contexts)
        share_s = (time.perf_counter() - started) / len(episodes)
        return [Window(self._play(state, chunk, choice), share_s) for state, chunk, choice in zip(states, chunks, choices)]

    def _play(self, state: _Episode, chunk: ActionChunk, choice: HorizonChoice) -> NDArray[np.float32]:
        window = state.queue.window(chunk, choice.execute_horizon, self._delay)
        actions = play_at_rate(window, choice.playback_rate, self._policy.spec, *self._limits)
        state.previous_chunk, state.consumed_steps = chunk, choice.execute_horizon
        state.steps += len(actions)  # fewer only in an episode's last window
        return actions
