"""One rollout as a video shows it: its frames, and what each call of the policy saw and decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.chunk import check_horizon
from policytrim_gym.errors import InvalidSpec


@dataclass(frozen=True, eq=False)
class Call:
    """One call of the policy.

    Args:
        step: control steps that had passed before it.
        chunk_size: actions that it predicted.
        execute_horizon: how many of them run, one a step, unless the episode ends before.
        images: what it saw, by the camera's name, each (height, width, 3) uint8; empty for a policy that sees none.

    Raises:
        InvalidSpec: an image of another shape or type.
        InvalidHorizon: a horizon outside 1..chunk_size.

    >>> Call(step=8, chunk_size=32, execute_horizon=8, images={"wrist": np.zeros((64, 64, 3), dtype=np.uint8)}).images.keys()
    dict_keys(['wrist'])
    """

    step: int
    chunk_size: int
    execute_horizon: int
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_horizon(self.execute_horizon, self.chunk_size)
        for camera, image in self.images.items():
            shape, kind = np.shape(image), np.asarray(image).dtype
            if len(shape) != 3 or shape[2] != 3 or kind != np.uint8:
                raise InvalidSpec(f'a clip needs images (height, width, 3) of uint8, got {shape} of {kind} from camera "{camera}"')


@dataclass(frozen=True, eq=False)
class Clip:
    """The frames of one rollout, and the calls behind them.

    Args:
        caption: shown above, "base" or "trimmed".
        frames: what was seen from outside after each control step, (num_steps,) of (height, width, 3) uint8.
        success: whether the task was done after each step, (num_steps,); the clip freezes at the first.
        calls: of the policy, in order, so that each step runs an action of one of them.

    Raises:
        InvalidSpec: no frame, frames of unequal or wrong shape, flags of another length, calls that leave steps without an action, or
            calls with images of unequal cameras or shapes.

    >>> frame = np.zeros((8, 8, 3), dtype=np.uint8)
    >>> Clip("base", [frame] * 3, [False, True, True], [Call(0, chunk_size=4, execute_horizon=3)]).num_steps
    2
    """

    caption: str
    frames: Sequence[NDArray[np.uint8]]
    success: Sequence[bool]
    calls: Sequence[Call]

    def __post_init__(self) -> None:
        shapes = {np.shape(frame) for frame in self.frames}
        if len(shapes) != 1 or len(shape := next(iter(shapes))) != 3 or shape[2] != 3:
            raise InvalidSpec(f'clip "{self.caption}" needs frames of one shape (height, width, 3), got {sorted(shapes, key=str)}')
        if len(self.frames) != len(self.success):
            raise InvalidSpec(
                f'clip "{self.caption}" needs one success flag a frame, got {len(self.frames)} frames and {len(self.success)} flags'
            )
        starts = [call.step for call in self.calls]
        lengths = np.diff([*starts, len(self.frames)])
        if starts[:1] != [0] or any(not 1 <= length <= call.execute_horizon for length, call in zip(lengths, self.calls)):
            horizons = [call.execute_horizon for call in self.calls]
            raise InvalidSpec(
                f'clip "{self.caption}" needs calls whose horizons cover its {len(self.frames)} steps, '
                f"got horizons {horizons} at steps {starts}"
            )
        seen = {tuple((camera, np.shape(image)) for camera, image in call.images.items()) for call in self.calls}
        if len(seen) != 1:
            raise InvalidSpec(f'clip "{self.caption}" needs the same cameras and shapes at each call, got {sorted(seen)}')

    @property
    def succeeded(self) -> bool:
        """Whether the task was done at some step."""
        return any(self.success)

    @property
    def num_steps(self) -> int:
        """Steps until the first success, or all."""
        return list(self.success).index(True) + 1 if self.succeeded else len(self.frames)

    def num_replans(self, steps: int) -> int:
        """Calls within the first `steps` steps."""
        return sum(call.step < min(steps, self.num_steps) for call in self.calls)
