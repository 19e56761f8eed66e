"""What a horizon selector sees: the environment's features, the policy's chunk and the progress of the episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidConfig, InvalidSpec

ObservationLayout = Literal["flat", "dict"]


class HorizonObservation:
    """Builds the observation of `ControlHorizon` and the space that it lives in.

    Args:
        space: the environment's: a one-dimensional Box, or a Dict of Boxes with flat keys. A Box is the key `state`.
        chunk_shape: (chunk_size, action_dim).
        layout: "flat" joins every one-dimensional feature, the chunk and the progress in one float32 Box, and leaves images out; "dict"
            keeps the environment's keys and adds `chunk`, row by row as (chunk_size * action_dim,), and `progress`, (1,).

    Raises:
        InvalidSpec: a space that does not fit.
        InvalidConfig: another layout.

    >>> HorizonObservation(Box(-1, 1, (3,)), (4, 2), "flat").space.shape
    (12,)
    """

    def __init__(self, space: gym.Space[Any], chunk_shape: tuple[int, int], layout: ObservationLayout) -> None:
        boxes = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {"state": space}
        if not all(isinstance(box, Box) for box in boxes.values()) or (isinstance(space, Box) and len(space.shape) != 1):
            raise InvalidSpec(f"the observation must be a one-dimensional Box or a Dict of Boxes with flat keys, got {space}")
        if layout not in get_args(ObservationLayout):
            raise InvalidConfig(f"observation must be one of {get_args(ObservationLayout)}, got {layout!r}")
        if {"chunk", "progress"} & set(boxes):
            raise InvalidSpec(f"the environment's observation must not hold the keys chunk and progress, got {sorted(boxes)}")
        self._is_mapping = isinstance(space, gym.spaces.Dict)
        self._flat_keys = [key for key, box in boxes.items() if len(box.shape or ()) == 1]
        self._layout = layout
        # A policy may command more than the actuator does, so the chunk has no bounds.
        added: dict[str, gym.Space[Any]] = {
            "chunk": Box(-np.inf, np.inf, (int(np.prod(chunk_shape)),), np.float32),
            "progress": Box(0.0, 1.0, (1,), np.float32),
        }
        self.space: gym.Space[Any] = gym.spaces.Dict({**boxes, **added})
        if layout == "flat":
            if not self._flat_keys:
                raise InvalidSpec(f'a flat observation needs a one-dimensional feature, got {space}; use observation="dict"')
            parts = [boxes[key] for key in self._flat_keys] + list(added.values())
            low, high = (np.concatenate([np.ravel(getattr(part, side)) for part in parts]) for side in ("low", "high"))
            self.space = Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)

    def features(self, observation: Any) -> Mapping[str, Any]:
        """Returns the environment's observation as a flat mapping, as a policy takes it."""
        return observation if self._is_mapping else {"state": observation}

    def build(self, observation: Any, actions: NDArray[np.float32], progress: float) -> Any:
        """Returns the observation for the selector.

        Args:
            observation: the environment's.
            actions: the chunk that would run next, (chunk_size, action_dim).
            progress: share of the time limit that has passed, in [0, 1].
        """
        features, share = self.features(observation), np.array([progress], dtype=np.float32)
        if self._layout == "dict":
            return {**features, "chunk": actions.ravel(), "progress": share}
        parts = [*(features[key] for key in self._flat_keys), actions.ravel(), share]
        return np.concatenate(parts, dtype=np.float32, casting="same_kind")
