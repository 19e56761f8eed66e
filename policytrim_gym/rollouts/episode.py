"""What a rollout is asked for, and what comes back of each window of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EpisodeRequest:
    """One episode to roll out.

    Args:
        execute_horizon: actions of each chunk to run before asking again.
        task, split, initial_state: where it starts; what is None the environment chooses from `seed`.
        seed: for `reset`, which environments without initial states start from.
        noise_seed: of the policy's exploration.
        group: index of the group that it is compared with.
        max_steps: the episode ends as a failure after so many steps, where the environment's own limit would be later.
        keep_trajectory: whether the windows carry the observation before each of their steps, not only that of the replan.
        measure_motion: whether the last window carries how long the joints moved and could have moved, where the environment says so.
    """

    execute_horizon: int
    task: str | None = None
    split: str | None = None
    initial_state: int | None = None
    seed: int = 0
    noise_seed: int = 0
    group: int = 0
    max_steps: int | None = None
    keep_trajectory: bool = False
    measure_motion: bool = False

    def reset_options(self) -> dict[str, Any] | None:
        """Returns the options for `env.reset`, or None for environments without initial states."""
        options = {"task": self.task, "split": self.split, "initial_state": self.initial_state}
        options = {key: value for key, value in options.items() if value is not None}
        return options or None


class MotionTime(NamedTuple):
    """How long the joints of an arm took along their path, and how long they would have needed."""

    taken_s: float  # control steps times their duration
    shortest_s: float  # the time-optimal duration of the same path from rest; 0.0 when nothing moved


class WindowResult(NamedTuple):
    """What running one window of actions led to, sent from a worker."""

    observation: Mapping[str, Any]  # what the policy will look at, with the instruction
    executed_steps: int  # 0 after a reset
    success: bool
    done: bool
    step_s: float  # time in env.step or env.reset [s]
    task: str | None
    initial_state: int | None
    trajectory: tuple[Mapping[str, Any], ...] = ()  # before each step, when the request asks for it
    motion: MotionTime | None = None  # of the episode that this window ended, when the request asks for it


class Window(NamedTuple):
    """What a controller decides for one window."""

    actions: NDArray[np.float32]  # (n, A), to run one after another
    inference_s: float  # this episode's share of the policy call [s]; 0 when the policy was not asked
    record: Any = None  # opaque, kept with the rollout for training
