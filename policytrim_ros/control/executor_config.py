"""Settings of the chunk executor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from policytrim_gym.chunk import check_horizon
from policytrim_gym.config import check_fields
from policytrim_gym.errors import InvalidConfig


@dataclass(frozen=True)
class ExecutorConfig:
    """How chunks are run.

    Args:
        control_dt_s: between two actions, as the policy was trained for [s].
        chunk_size: H, actions in a chunk [steps].
        execute_horizon: h, last step of a chunk that runs before the next one takes over; an answer may bring its own [steps].
        asynchronous: ask while the arm moves, early enough that the next chunk is there when it is needed; False: ask at the end of
            each window, and wait.
        publish_lead_s: from publishing until new motion takes over, at least; longer than a message takes to the controller [s].
        replacement: what the controllers do with a new trajectory. "hard": replace the old one at once (released Humble, Jazzy, Kilted): it
            begins at the present. "stamp": splice at its stamp (`allow_trajectory_replacement`): it begins `publish_lead_s` from now,
            because these controllers play later what is stamped in the past.
        points_per_step: waypoints in a control step; above 1 for controllers that ignore velocities.
        settle_s: longest approach to a chunk's last target when no other chunk comes [s].
        max_refusals: so many refused or failed answers in a row stop the arm.

    Raises:
        InvalidConfig, InvalidHorizon: a value out of range.

    >>> ExecutorConfig(control_dt_s=0.05, chunk_size=32, execute_horizon=16).asynchronous
    True
    """

    control_dt_s: float
    chunk_size: int
    execute_horizon: int
    asynchronous: bool = True
    publish_lead_s: float = 0.02
    replacement: Literal["hard", "stamp"] = "hard"
    points_per_step: int = 1
    settle_s: float = 0.5
    max_refusals: int = 3

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("control_dt_s", "publish_lead_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                raise InvalidConfig(f"{name} must be a finite number above 0, got {getattr(self, name)}")
        for name in ("chunk_size", "max_refusals", "points_per_step"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} must be at least 1, got {getattr(self, name)}")
        check_horizon(self.execute_horizon, self.chunk_size)
