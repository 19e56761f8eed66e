"""An environment that fails in the middle of an episode."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
from scripted_envs import CountingEnv


class FailingEnv(CountingEnv):
    """A CountingEnv that fails in the third step of an episode whose seed is 13."""

    def __init__(self, failure: str = "raise", **kwargs: Any) -> None:
        super().__init__(**{"truncate_at": 8, **kwargs})
        self.failure = failure
        self.seed: int | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.seed = seed
        return super().reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.seed == 13 and self.steps == 2:
            if self.failure == "raise":
                raise ZeroDivisionError("the gripper divided by zero")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)
