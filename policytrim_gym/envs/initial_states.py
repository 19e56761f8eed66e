"""The three disjoint sets of initial states that every environment here offers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from policytrim_gym.errors import InitialStateOutOfRange, InvalidConfig, UnknownSplit, UnknownTask

NUM_INITIAL_STATES = {"train": 1000, "validation": 250, "test": 250}
"""States of each task: training, every choice (horizon, checkpoint, playback), and the final table have their own."""

RESET_OPTIONS = ("split", "initial_state", "task")


@dataclass(frozen=True)
class InitialState:
    """One initial state: `index` of a task's states in a split."""

    task: str
    split: str
    index: int

    def generator(self) -> np.random.Generator:
        """Returns the source of this state's random numbers, its own for each (task, split, index).

        The name enters as a checksum and not by its position in a list, so that a state stays the same when tasks are added.
        """
        key = [zlib.crc32(self.task.encode()), list(NUM_INITIAL_STATES).index(self.split), self.index]
        return np.random.default_rng(np.random.SeedSequence(key))

    def info(self, instruction: str, success: bool) -> dict[str, Any]:
        """Returns the `info` of a step of an episode that began here."""
        return {
            "instruction": instruction,
            "task": self.task,
            "split": self.split,
            "initial_state": self.index,
            "success": success,
            "is_success": success,
        }


def choose_initial_state(tasks: tuple[str, ...], options: Mapping[str, Any] | None, random: np.random.Generator) -> InitialState:
    """Returns the state that `reset(options=...)` asks for; what it leaves open is drawn from `random`.

    Args:
        tasks: the environment's tasks.
        options: `task`, `split` (default "train") and `initial_state`, each optional.
        random: source for the open choices.

    Raises:
        InvalidConfig, UnknownTask, UnknownSplit, InitialStateOutOfRange: naming the value and what was expected.
    """
    options = {} if options is None else options
    unknown = sorted(set(options) - set(RESET_OPTIONS))
    if unknown:
        raise InvalidConfig(f"unknown reset option {unknown[0]!r}; expected some of {RESET_OPTIONS}")
    split = check_split(options.get("split", "train"))
    task = options.get("task")
    if task is None:
        task = tasks[int(random.integers(len(tasks)))]
    elif task not in tasks:
        raise UnknownTask(f"task must be one of this environment's {tasks}, got {task!r}")
    index = options.get("initial_state")
    count = NUM_INITIAL_STATES[split]
    if index is None:
        index = int(random.integers(count))
    elif isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < count:
        raise InitialStateOutOfRange(f"initial_state of split {split!r} must be an integer in 0..{count - 1}, got {index!r}")
    return InitialState(task, split, int(index))


def check_split(split: object) -> str:
    """Returns `split` when it is train, validation or test.

    Raises:
        UnknownSplit: it is not.
    """
    if not isinstance(split, str) or split not in NUM_INITIAL_STATES:
        raise UnknownSplit(f"split must be one of {tuple(NUM_INITIAL_STATES)}, got {split!r}")
    return split
