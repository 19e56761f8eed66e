"""One episode of an environment's scripted expert."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.wrappers.lazy_step import lazy_step


class ExpertEpisode(NamedTuple):
    """What an expert did from one initial state."""

    success: bool
    task: str
    initial_state: int
    instruction: str
    states: NDArray[np.float32]  # (S, state_size), before each action
    actions: NDArray[np.float32]  # (S, action_dim)
    wall_clock_s: float
    images: dict[str, NDArray[np.uint8]]  # (S, H, W, 3) before each action, by their keys; empty unless asked for


class ExpertRunner:
    """Runs an environment's expert from initial states.

    Args:
        factory: of an environment whose `unwrapped` offers `make_expert(demonstrator, seed)`.
        demonstrator: how the expert moves.
        seed: of its pace; each initial state has its own, so that an episode does not depend on those before it.

    Raises:
        InvalidSpec: the environment has no scripted expert.
    """

    def __init__(self, factory: EnvFactory, demonstrator: str, seed: int) -> None:
        self.env = factory()
        if not hasattr(self.env.unwrapped, "make_expert"):
            raise InvalidSpec(f"{factory.name} has no scripted expert (env.unwrapped.make_expert), so it cannot be cloned from one")
        self._demonstrator = demonstrator
        self._seed = seed

    def run(self, task: str, split: str, initial_state: int, keep_images: bool = False) -> ExpertEpisode:
        """Runs one episode to its end; without `keep_images` it draws none where the environment can do without (see `lazy_step`)."""
        started = time.perf_counter()
        unwrapped: Any = self.env.unwrapped
        expert = unwrapped.make_expert(self._demonstrator, self._seed * 1_000_003 + initial_state)
        observation, info = self.env.reset(options={"task": task, "split": split, "initial_state": initial_state})
        images: dict[str, list[NDArray[np.uint8]]] = {key: [] for key in observation if keep_images and key.startswith("image_")}
        states, actions, done = [], [], False
        while not done:
            states.append(observation["state"])
            for key, frames in images.items():
                frames.append(np.array(observation[key]))  # the environment may reuse its buffers
            actions.append(expert.action(observation))
            observation, _, terminated, truncated, info = lazy_step(self.env, actions[-1], keep_images)
            done = bool(terminated or truncated)
        return ExpertEpisode(
            bool(info["is_success"]),
            task,
            initial_state,
            info["instruction"],
            np.stack(states),
            np.stack(actions),
            time.perf_counter() - started,
            {key: np.stack(frames) for key, frames in images.items()},
        )
