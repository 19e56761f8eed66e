"""What training reads off a validation: each task's steps, the score of a checkpoint, the choice of the horizon."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, Literal

import numpy as np

from policytrim_gym.evaluation.efficiency_report import EfficiencyReport


def validation_row(arm: EfficiencyReport) -> dict[str, Any]:
    """Returns an arm as entries of the training log."""
    return {
        "validation_success": arm.success_rate,
        "validation_steps": arm.steps_mean_success,
        "validation_calls": arm.num_replans_mean_success,
        "validation_restricted_steps": arm.steps_restricted_mean,
    }


def mean_steps_by_task(arm: EfficiencyReport) -> dict[str, float]:
    """Returns each task's mean steps over successes, keyed by str(task); of a task without a success, over all its episodes."""
    return _mean_by_task(arm, "steps")


def mean_calls_by_task(arm: EfficiencyReport) -> dict[str, float]:
    """Returns each task's mean calls, over the episodes that `mean_steps_by_task` takes."""
    return _mean_by_task(arm, "num_replans")


def _mean_by_task(arm: EfficiencyReport, count: Literal["steps", "num_replans"]) -> dict[str, float]:
    means = {}
    for task in sorted({str(episode.task) for episode in arm.episodes}):
        episodes = [episode for episode in arm.episodes if str(episode.task) == task]
        solved = [episode for episode in episodes if episode.success]
        means[task] = float(np.mean([getattr(episode, count) for episode in solved or episodes]))
    return means


def checkpoint_score(arm: EfficiencyReport, success_floor: float) -> tuple[float, float]:
    """Returns what to minimise over checkpoints: first the shortfall of success below the floor, then what an episode costs.

    The cost is sqrt(steps * calls) over ALL episodes, a failure with everything it spent until the time limit: as in the choice of the
    best untrained pair, steps and calls weigh the same, and beyond the floor a failure avoided still counts.

    Args:
        arm: of a checkpoint on the validation states.
        success_floor: least success rate that needs no excuse.
    """
    return max(0.0, success_floor - arm.success_rate), sqrt(arm.steps_restricted_mean * arm.num_replans_mean)


def choose_horizon(arms: Sequence[EfficiencyReport], success_floor: float) -> EfficiencyReport:
    """Returns the arm with the longest horizon whose success reaches the floor; without any, the one that succeeds most.

    Args:
        arms: one for each window, on the same validation states.
        success_floor: least success rate of a horizon that may be chosen.
    """
    reliable = [arm for arm in arms if arm.success_rate >= success_floor]
    if reliable:
        return max(reliable, key=lambda arm: arm.execute_horizon)
    return max(arms, key=lambda arm: (arm.success_rate, arm.execute_horizon))
