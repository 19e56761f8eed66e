"""What a horizon controller sees: the environment's features, the policy's chunk and the progress of the episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from policytrim_gym.chunk_summary import chunk_summary, chunk_summary_size
from policytrim_gym.errors import InvalidConfig, InvalidSpec
from policytrim_gym.replan import ReplanContext

ObservationLayout = Literal["dict", "features", "summary", "flat"]
ADDED_KEYS = ("chunk", "chunk_summary", "progress", "known_instruction")


class HorizonObservation:
    """Builds the observation of `ControlHorizon` and the space that it lives in.

    | layout | space | holds |
    |---|---|---|
    | "dict" | Dict, for "MultiInputPolicy" | the environment's keys, `chunk` row by row, `chunk_summary`, `progress` |
    | "features" | Box, for "MlpPolicy" | every one-dimensional feature, progress |
    | "summary" | Box | the same with the chunk summary |
    | "flat" | Box | the same with the whole chunk |

    A Box leaves images out. Each layout also holds `known_instruction` when instructions are given: SB3 takes no text, and a controller of
    several tasks has to know which one it is at.

    Args:
        space: the environment's: a one-dimensional Box, or a Dict of Boxes with flat keys. A Box is the key `state`.
        chunk_shape: (chunk_size, action_dim).
        layout: of the table above.
        boundaries: where the segments of the chunk summary end, strictly increasing; usually the horizons [steps].
        instructions: known instructions; the observation gets a one-hot of the present one, zeros for another.

    Raises:
        InvalidSpec: a space that does not fit.
        InvalidConfig: another layout, or an instruction twice.

    >>> HorizonObservation(Box(-1, 1, (3,)), (4, 2), "flat", boundaries=(2, 4)).space.shape
    (12,)
    """

    def __init__(
        self,
        space: gym.Space[Any],
        chunk_shape: tuple[int, int],
        layout: ObservationLayout,
        boundaries: Sequence[int],
        instructions: Sequence[str] = (),
    ) -> None:
        boxes = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {"state": space}
        if not all(isinstance(box, Box) for box in boxes.values()) or (isinstance(space, Box) and len(space.shape) != 1):
            raise InvalidSpec(f"the observation must be a one-dimensional Box or a Dict of Boxes with flat keys, got {space}")
        if layout not in get_args(ObservationLayout):
            raise InvalidConfig(f"observation must be one of {get_args(ObservationLayout)}, got {layout!r}")
        if set(ADDED_KEYS) & set(boxes):
            raise InvalidSpec(f"the environment's observation must not hold the keys {ADDED_KEYS}, got {sorted(boxes)}")
        if len(set(instructions)) < len(instructions):
            raise InvalidConfig(f"instructions must not repeat, got {tuple(instructions)}")
        self.source = space
        self.layout: ObservationLayout = layout
        self.instructions = tuple(instructions)
        self._is_mapping = isinstance(space, gym.spaces.Dict)
        self._chunk_shape = chunk_shape
        self._boundaries = tuple(boundaries)
        # A policy may command more than the actuator does, so the chunk has no bounds.
        added = {
            "chunk": Box(-np.inf, np.inf, (int(np.prod(chunk_shape)),), np.float32),
            "chunk_summary": Box(0.0, np.inf, (chunk_summary_size(chunk_shape[1], len(self._boundaries)),), np.float32),
            "progress": Box(0.0, 1.0, (1,), np.float32),
            "known_instruction": Box(0.0, 1.0, (len(self.instructions),), np.float32),
        }
        wanted = {"dict": ADDED_KEYS, "features": ADDED_KEYS[2:], "summary": ADDED_KEYS[1:], "flat": ("chunk", *ADDED_KEYS[2:])}[layout]
        self._added = tuple(key for key in wanted if key != "known_instruction" or self.instructions)
        self._flat_keys = [key for key, box in boxes.items() if len(box.shape or ()) == 1]
        self.space: gym.Space[Any] = gym.spaces.Dict({**boxes, **{key: added[key] for key in self._added}})
        if layout != "dict":
            if not self._flat_keys:
                raise InvalidSpec(f'observation="{layout}" needs a one-dimensional feature, got {space}; use observation="dict"')
            parts = [boxes[key] for key in self._flat_keys] + [added[key] for key in self._added]
            low, high = (np.concatenate([np.ravel(getattr(part, side)) for part in parts]) for side in ("low", "high"))
            self.space = Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)

    def features(self, observation: Any, instruction: str | None) -> Mapping[str, Any]:
        """Returns the environment's observation as a flat mapping with the instruction, as a policy takes it."""
        features = observation if self._is_mapping else {"state": observation}
        return features if instruction is None else {**features, "instruction": instruction}

    def build(self, context: ReplanContext) -> Any:
        """Returns the observation for the controller; after a terminal step, where there is no chunk, it reads zero."""
        chunk = context.chunk
        actions = np.zeros(self._chunk_shape, np.float32) if chunk is None else chunk.actions
        make = {
            "chunk": lambda: actions.flatten(),
            "chunk_summary": lambda: chunk_summary(actions, self._boundaries, context.overlap_disagreement()),
            "progress": lambda: np.array([context.progress], dtype=np.float32),
            "known_instruction": lambda: self._one_hot(context.observation.get("instruction")),
        }
        added = {key: make[key]() for key in self._added}
        if self.layout == "dict":
            features = {key: value for key, value in context.observation.items() if key != "instruction"}
            return {**features, **added}
        parts = [*(context.observation[key] for key in self._flat_keys), *added.values()]
        return np.concatenate(parts, dtype=np.float32, casting="same_kind")

    def _one_hot(self, instruction: str | None) -> NDArray[np.float32]:
        return np.array([instruction == known for known in self.instructions], dtype=np.float32)
