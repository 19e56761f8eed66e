from __future__ import annotations

from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.metrics import RolloutRecord
from policytrim_gym.training.validation import checkpoint_score, choose_horizon, mean_steps_by_task


def arm(horizon: int, successes: int, steps: int = 40, total: int = 10) -> EfficiencyReport:
    records = []
    for index in range(total):
        count = steps if index < successes else 100
        calls = -(-count // horizon)
        records.append(RolloutRecord(index < successes, count, calls, (horizon,) * calls, 0.5, 1.0, None, "push", index))
    return EfficiencyReport.from_rollouts(f"h={horizon}", records, execute_horizon=horizon, chunk_size=32)


def test_the_longest_horizon_that_reaches_the_floor_is_chosen() -> None:
    arms = [arm(8, 9), arm(20, 8), arm(32, 7)]
    assert choose_horizon(arms, 0.8).execute_horizon == 20
    assert choose_horizon(arms, 0.65).execute_horizon == 32


def test_without_a_horizon_at_the_floor_the_most_reliable_is_chosen_and_a_tie_goes_to_the_longer() -> None:
    assert choose_horizon([arm(8, 9), arm(32, 7)], 0.95).execute_horizon == 8
    assert choose_horizon([arm(8, 7), arm(32, 7)], 0.95).execute_horizon == 32


def test_a_checkpoint_below_the_floor_never_beats_one_above_it() -> None:
    slow_and_sure, fast_and_loose = arm(32, 9, steps=90), arm(32, 7, steps=10)
    assert checkpoint_score(slow_and_sure, 0.9) < checkpoint_score(fast_and_loose, 0.9)
    assert checkpoint_score(arm(32, 9, steps=30), 0.9) < checkpoint_score(slow_and_sure, 0.9)


def test_steps_of_a_task_are_those_of_its_successes_or_of_all_where_nothing_succeeded() -> None:
    assert mean_steps_by_task(arm(8, 5)) == {"push": 40.0}
    assert mean_steps_by_task(arm(8, 0)) == {"push": 100.0}
