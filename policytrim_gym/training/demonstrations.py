"""Records demonstrations of an environment's scripted expert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.envs.initial_states import NUM_INITIAL_STATES
from policytrim_gym.errors import NoDemonstrations
from policytrim_gym.policy import Observation
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.rollouts.expert_episode import ExpertRunner
from policytrim_gym.rollouts.job_pool import job_pool


class Demonstration(NamedTuple):
    """One successful episode of an expert; what was seen is held once, and a policy gets views of it."""

    task: str
    instruction: str
    states: NDArray[np.float32]  # (S, state_size), before each action
    actions: NDArray[np.float32]  # (S, action_dim)
    images: Mapping[str, NDArray[np.uint8]] = {}  # (S, H, W, 3) before each action, by their keys in the observation

    def observations(self) -> list[Observation]:
        """Returns what a policy sees before each action, (S,)."""
        seen: dict[str, NDArray[Any]] = {"state": self.states, **self.images}
        return [{**{key: rows[step] for key, rows in seen.items()}, "instruction": self.instruction} for step in range(len(self.states))]


@dataclass(frozen=True)
class DemonstrationSet:
    """Successful demonstrations, and how many attempts failed on the way."""

    demonstrator: str
    demonstrations: tuple[Demonstration, ...]
    num_failed: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """Returns, for reports, the demonstrator and per task: kept, failed, mean steps."""
        tasks: dict[str, Any] = {}
        for task, failed in self.num_failed.items():
            steps = [len(demonstration.actions) for demonstration in self.demonstrations if demonstration.task == task]
            tasks[task] = {"kept": len(steps), "failed": failed, "steps_mean": float(np.mean(steps))}
        return {"demonstrator": self.demonstrator, "tasks": tasks}


def record_demonstrations(
    factory: EnvFactory,
    tasks: tuple[str, ...],
    demonstrator: str,
    num_per_task: int,
    seed: int,
    num_workers: int = 2,
    on_demonstration: Callable[[str], None] | None = None,
    keep_images: bool = False,
) -> DemonstrationSet:
    """Records `num_per_task` successful demonstrations of each task, from the first training states that the expert solves.

    Args:
        factory: of an environment whose `unwrapped` offers `make_expert(demonstrator, seed)`.
        tasks: names of its tasks.
        demonstrator: how the expert moves, such as "slow-uneven".
        num_per_task: successes wanted.
        seed: of the expert's pace.
        num_workers: processes.
        on_demonstration: called with the task when it has all of its demonstrations.
        keep_images: whether a demonstration holds the images of every step.

    Raises:
        NoDemonstrations: three times as many attempts gave too few successes.
        WorkerFailed: a process died.
    """
    demonstrations: list[Demonstration] = []
    failed: dict[str, int] = {}
    with job_pool(num_workers) as pool:
        jobs = [pool.submit(_record_task, factory, task, demonstrator, num_per_task, seed, keep_images) for task in tasks]
        for task, job in zip(tasks, jobs):
            kept, failed[task] = job.result()
            demonstrations += kept
            if on_demonstration:
                on_demonstration(task)
    return DemonstrationSet(demonstrator, tuple(demonstrations), failed)


def _record_task(
    factory: EnvFactory, task: str, demonstrator: str, num_wanted: int, seed: int, keep_images: bool = False
) -> tuple[list[Demonstration], int]:
    runner = ExpertRunner(factory, demonstrator, seed)
    kept: list[Demonstration] = []
    num_failed = 0
    num_attempts = min(3 * num_wanted, NUM_INITIAL_STATES["train"])
    for initial_state in range(num_attempts):
        episode = runner.run(task, "train", initial_state, keep_images)
        if episode.success:
            kept.append(Demonstration(task, episode.instruction, episode.states, episode.actions, episode.images))
        else:
            num_failed += 1
        if len(kept) == num_wanted:
            runner.env.close()
            return kept, num_failed
    raise NoDemonstrations(f"{task}: the {demonstrator} expert succeeded {len(kept)} times in {num_attempts}, {num_wanted} wanted")
