"""How far an arm is from what no policy could better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from policytrim_gym.errors import InvalidStatistic, LimitsBroken, MismatchedRollouts
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport

HEADROOM_TOLERANCE = 0.02
"""How far a motion headroom may be below 1: a shortest time is computed on a grid."""


def minimum_calls(steps: int, chunk_size: int) -> int:
    """Returns ceil(S / H), the fewest inferences that can produce the actions of S steps.

    >>> minimum_calls(65, 32)
    3
    """
    if steps < 1 or chunk_size < 1:
        raise InvalidStatistic(f"steps and chunk_size must be at least 1, got {steps} and {chunk_size}")
    return -(-steps // chunk_size)


def check_motion(arm: EfficiencyReport) -> None:
    """Refuses an arm whose joints moved faster than their limits allow: its steps are no result.

    Raises:
        LimitsBroken: an episode, failed or not, with a motion headroom below 1 by more than the tolerance.
    """
    for record in arm.episodes:
        headroom = record.motion_headroom
        if headroom is not None and headroom < 1.0 - HEADROOM_TOLERANCE:
            raise LimitsBroken(
                f'arm "{arm.name}", task {record.task}, initial state {record.initial_state}: the joints took {record.motion_s:.3f} s for '
                f"a path that takes at least {record.shortest_s:.3f} s within their velocity and acceleration limits; the headroom must "
                f"be at least {1.0 - HEADROOM_TOLERANCE:g}, got {headroom:.3f}"
            )


@dataclass(frozen=True)
class LowerBounds:
    """What an arm's successes needed beside what they could have needed.

    Args:
        calls: mean N over successes; None without a success.
        calls_bound: mean of ceil(S / H) at the arm's own S: what executing whole chunks would leave.
        calls_headroom: calls / calls_bound, at least 1 unless actions of one chunk were run more than once or played faster.
        steps: task -> mean S over successes, where arm and reference both succeed.
        steps_reference: task -> mean S of the reference, a scripted straight line with saturated actions here; it is a controller's time,
            not a proof, so a headroom below 1 is possible.
        steps_headroom: mean of steps over mean of steps_reference, each task counted once; None without a reference.
        motion_s: mean time that the joints moved, S times a control step, over the successes that moved [s]; None without joints.
        shortest_s: mean time in which they could have moved along the same paths within their limits [s].
        motion_headroom: mean of the first over the second, at least 1; pauses, as while a gripper closes, count as headroom.

    >>> from policytrim_gym.metrics import RolloutRecord
    >>> record = RolloutRecord(True, 64, 8, (8,) * 8, 0.25, 1.0, task="reach", initial_state=0)
    >>> lower_bounds(EfficiencyReport.from_rollouts("stock", [record], execute_horizon=8, chunk_size=32)).calls_headroom
    4.0
    """

    calls: float | None
    calls_bound: float | None
    calls_headroom: float | None
    steps: dict[str, float]
    steps_reference: dict[str, float]
    steps_headroom: float | None
    motion_s: float | None = None
    shortest_s: float | None = None
    motion_headroom: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values."""
        return {**vars(self)}


def lower_bounds(arm: EfficiencyReport, reference: EfficiencyReport | None = None) -> LowerBounds:
    """Measures the headroom of an arm's successes.

    Args:
        arm: the arm.
        reference: rollouts of a fast controller on the same tasks (a straight line with saturated actions), or None.

    Raises:
        MismatchedRollouts: arm and reference have no task in common.
        LimitsBroken: the joints moved faster than their limits allow.
    """
    check_motion(arm)
    bounds = [minimum_calls(record.steps, arm.chunk_size) for record in arm.episodes if record.success]
    calls, bound = arm.num_replans_mean_success, float(np.mean(bounds)) if bounds else None
    mine = {task: part.steps_mean_success for task, part in arm.by_task().items()}
    theirs = {} if reference is None else {task: part.steps_mean_success for task, part in reference.by_task().items()}
    if reference is not None and not mine.keys() & theirs.keys():
        raise MismatchedRollouts(f'arm "{arm.name}" and the reference must share a task, got {sorted(mine)} and {sorted(theirs)}')
    steps: dict[str, float] = {}
    fastest: dict[str, float] = {}
    for task in sorted(mine.keys() & theirs.keys()):
        own, best = mine[task], theirs[task]
        if own is not None and best is not None:
            steps[task], fastest[task] = own, best
    moved = [record for record in arm.episodes if record.success and record.motion_headroom is not None]
    return LowerBounds(
        calls=calls,
        calls_bound=bound,
        calls_headroom=None if calls is None or bound is None else calls / bound,
        steps=steps,
        steps_reference=fastest,
        steps_headroom=sum(steps.values()) / sum(fastest.values()) if steps else None,
        motion_s=float(np.mean([record.motion_s for record in moved])) if moved else None,
        shortest_s=float(np.mean([record.shortest_s for record in moved])) if moved else None,
        motion_headroom=arm.motion_headroom,
    )
