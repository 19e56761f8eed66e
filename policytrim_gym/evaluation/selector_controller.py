"""Runs a policy whose horizon a selector chooses chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidSpec
from policytrim_gym.policy import ChunkPolicy, Observation
from policytrim_gym.queue import ChunkQueue
from policytrim_gym.replan import ReplanContext, play_at_rate
from policytrim_gym.rollouts.controller import Controller
from policytrim_gym.rollouts.episode import EpisodeRequest, Window
from policytrim_gym.selectors.selector import HorizonSelector


@dataclass
class _Episode:
    """What a running episode remembers for the next choice."""

    queue: ChunkQueue = field(default_factory=ChunkQueue)
    previous_chunk: ActionChunk | None = None
    consumed_steps: int = 0
    steps: int = 0


class SelectorController(Controller):
    """Asks the policy for its best chunk and runs what the selector chooses of it.

    The time of the selector counts as inference: a choice that costs as much as a call has saved nothing.

    Args:
        policy: who is asked.
        selector: who chooses.
        max_episode_steps: time limit that the progress refers to [steps].
        inference_delay_steps: d, steps that pass while the policy thinks; they come from the previous chunk.
        action_low, action_high: actuator limits (action_dim,) for resampling.

    Raises:
        InvalidHorizon, InvalidSpec: selector and policy do not fit.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        selector: HorizonSelector,
        max_episode_steps: int,
        inference_delay_steps: int = 0,
        action_low: NDArray[np.float32] | None = None,
        action_high: NDArray[np.float32] | None = None,
    ) -> None:
        selector.check_policy(policy.spec)
        self._policy = policy
        self._selector = selector
        self._max_episode_steps = max_episode_steps
        self._delay = inference_delay_steps
        self._limits = (action_low, action_high)
        self._episodes: dict[int, _Episode] = {}

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
        choices = self._selector.select(contexts)
        share_s = (time.perf_counter() - started) / len(episodes)
        windows = []
        for state, chunk, (horizon, rate) in zip(states, chunks, choices):
            if rate != 1.0 and self._delay:
                raise InvalidSpec(f"playback_rate {rate:g} with inference_delay_steps {self._delay}: choose one of them")
            actions = play_at_rate(state.queue.window(chunk, horizon, self._delay), rate, self._policy.spec, *self._limits)
            state.previous_chunk, state.consumed_steps = chunk, horizon
            state.steps += len(actions)  # fewer only in an episode's last window
            windows.append(Window(actions, share_s))
        return windows
