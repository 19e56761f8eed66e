"""Chooses the best untrained setting of each task from a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policytrim_gym.errors import InvalidSpec
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.pareto import UntrainedSelection, best_untrained_pair
from policytrim_gym.replan import HorizonChoice
from policytrim_gym.selectors.task_table import TaskTableSelector


def best_pair_by_task(
    arms: Sequence[EfficiencyReport], stock: EfficiencyReport, tolerance: float | None = None
) -> dict[str, UntrainedSelection]:
    """Picks the strongest (execute_horizon, playback_rate) pair of each task, each as `best_untrained_pair` picks one for all.

    A task has a fraction of a sweep's states, so its choice is noisier than that for all tasks; the table of many tasks can come out
    worse on other states than one pair chosen on all of them.

    Args:
        arms: untrained arms without inference delay on validation states; stock may be among them.
        stock: the untrained policy at its stock horizon and rate 1.
        tolerance: see `best_untrained_pair`.

    Raises:
        MismatchedRollouts: an arm does not cover stock's states.
        InvalidSpec: an arm whose horizon a selector chose: it is no pair.
    """
    for arm in arms:
        if arm.selector is not None:
            raise InvalidSpec(f'a table is made of fixed pairs, got arm "{arm.name}" of the selector "{arm.selector}"')
    parts = [arm.by_task() for arm in arms]
    return {
        task: best_untrained_pair([part[task] for part in parts if task in part], own, tolerance) for task, own in stock.by_task().items()
    }


def task_table_selector(
    arms: Sequence[EfficiencyReport],
    stock: EfficiencyReport,
    instructions: Mapping[str, str],
    tolerance: float | None = None,
    name: str = "best pair of each task",
) -> TaskTableSelector:
    """Returns the selector that plays each task at its best pair, and an unknown one at the best pair for all.

    Args:
        arms, stock, tolerance: see `best_pair_by_task`.
        instructions: task -> the sentence that asks for it; `MetaWorldEnv` has both, `tasks` and `instructions`.
        name: of the selector.

    Raises:
        MismatchedRollouts, InvalidSpec: see `best_pair_by_task`; also a task without an instruction.

    >>> from policytrim_gym.metrics import RolloutRecord
    >>> def arm(horizon, **steps):
    ...     records = [
    ...         RolloutRecord(True, count, -(-count // horizon), (), 0.5, 1.0, task=task, initial_state=0) for task, count in steps.items()
    ...     ]
    ...     return EfficiencyReport.from_rollouts(f"h={horizon}", records, execute_horizon=horizon, chunk_size=32)
    >>> stock, longer = arm(8, reach=40, peg=80), arm(32, reach=40, peg=800)
    >>> table = task_table_selector([stock, longer], stock, {"reach": "reach for it", "peg": "insert the peg"}).table
    >>> {instruction: choice.execute_horizon for instruction, choice in table.items()}
    {'insert the peg': 8, 'reach for it': 32}
    """
    by_task = best_pair_by_task(arms, stock, tolerance)
    missing = sorted(by_task.keys() - instructions.keys())
    if missing:
        raise InvalidSpec(f"instructions must name the sentence of every task, {missing} lack one; got {sorted(instructions)}")
    table = {instructions[task]: _choice(selection) for task, selection in by_task.items()}
    return TaskTableSelector(table, _choice(best_untrained_pair(arms, stock, tolerance)), name)


def _choice(selection: UntrainedSelection) -> HorizonChoice:
    return HorizonChoice(selection.execute_horizon, selection.playback_rate)
