"""The wrapper that makes the instruction a part of the observation, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.errors import InvalidSpec

LARGEST_TOKEN = 2**24
"""A learner may turn token ids into float32, which holds every integer up to here."""


class EncodeInstruction(gym.Wrapper[dict[str, Any], Any, Any, Any], RecordConstructorArgs):
    """Adds the key `instruction` to the observation: the token ids of what the environment asks for.

    Stable-Baselines3 has no Text space, so a learner that must tell tasks apart needs the sentence as numbers. Unlike
    `ControlHorizon(instructions=...)`, which marks one of a list of known sentences, this gives the words, as a policy reads them. The
    sentence is `info["instruction"]`, else `env.unwrapped.instruction`, looked up when an episode starts and kept to its end.

    Args:
        env: its observation is a one-dimensional Box, which becomes the key `state`, or a Dict of Boxes with flat keys.
        encode: function from a sentence to token ids in 0..LARGEST_TOKEN, as many for every sentence (num_tokens,).

    Raises:
        InvalidSpec: another observation space, one that holds `instruction` already, no instruction, or ids that do not fit.

    >>> env = gym.make("Pendulum-v1")
    >>> env.unwrapped.instruction = "swing up"
    >>> env = EncodeInstruction(env, lambda text: [len(word) for word in text.split()])
    >>> observation, _ = env.reset(seed=0)
    >>> sorted(observation), observation["instruction"].tolist()
    (['instruction', 'state'], [5, 2])
    """

    def __init__(self, env: gym.Env[Any, Any], encode: Callable[[str], ArrayLike]) -> None:
        RecordConstructorArgs.__init__(self, encode=encode)
        gym.Wrapper.__init__(self, env)
        space = env.observation_space
        self._is_mapping = isinstance(space, gym.spaces.Dict)
        boxes: dict[str, gym.Space[Any]] = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {"state": space}
        is_flat = self._is_mapping or (isinstance(space, Box) and len(space.shape) == 1)
        if not is_flat or not all(isinstance(box, Box) for box in boxes.values()):
            raise InvalidSpec(f"the observation must be a one-dimensional Box or a Dict of Boxes with flat keys, got {space}")
        if "instruction" in boxes:
            raise InvalidSpec(f"the observation must not hold the key instruction already, got {sorted(boxes)}")
        self._encode = encode
        # Any sentence tells the length: it is the same for all.
        self._num_tokens = len(np.atleast_1d(np.asarray(encode(str(getattr(env.unwrapped, "instruction", ""))))))
        self._tokens: NDArray[np.int32] = np.zeros(self._num_tokens, np.int32)
        self.observation_space = gym.spaces.Dict({**boxes, "instruction": Box(0, LARGEST_TOKEN, (self._num_tokens,), np.int32)})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode and encodes its instruction."""
        observation, info = self.env.reset(seed=seed, options=options)
        instruction = info.get("instruction", getattr(self.env.unwrapped, "instruction", None))
        if not isinstance(instruction, str):
            raise InvalidSpec(f"the environment must say what it asks for in info or as its attribute instruction, got {instruction!r}")
        self._tokens = self._checked(self._encode(instruction), instruction)
        return self._with_tokens(observation), info

    def step(self, action: Any) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        """Steps; the tokens are those of the episode's start."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_tokens(observation), reward, terminated, truncated, info

    def _with_tokens(self, observation: Any) -> dict[str, Any]:
        features: Mapping[str, Any] = observation if self._is_mapping else {"state": observation}
        return {**features, "instruction": self._tokens.copy()}

    def _checked(self, tokens: ArrayLike, instruction: str) -> NDArray[np.int32]:
        ids = np.asarray(tokens)
        if ids.shape != (self._num_tokens,) or ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() > LARGEST_TOKEN:
            raise InvalidSpec(
                f"encode must return {self._num_tokens} integers in 0..{LARGEST_TOKEN}, got {ids.tolist()} for {instruction!r}"
            )
        return ids.astype(np.int32)
