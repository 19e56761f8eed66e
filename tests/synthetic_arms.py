"""Made-up arms for tests of evaluation and report."""

from __future__ import annotations

import numpy as np

from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.metrics import RolloutRecord

TASK_STEPS = {"reach-v3": 50, "push-v3": 65, "peg-insert-side-v3": 105}
TIME_LIMIT = 300


def record(
    success: bool, steps: int, horizon: int, chunk_size: int, task: str | None = "reach-v3", state: int | None = 0, delay: int = 0
) -> RolloutRecord:
    """One rollout that ran `horizon` actions of each chunk until it ended."""
    calls = -(-steps // horizon)
    executed = (horizon,) * (calls - 1) + (steps - horizon * (calls - 1),)
    inference_s = 0.004 * calls
    return RolloutRecord(
        success, steps, calls, executed, steps / (calls * chunk_size), 0.001 * steps + inference_s, inference_s, task, state
    )


def synthetic_arm(
    name: str,
    *,
    horizon: int = 8,
    chunk_size: int = 32,
    pace: float = 1.0,
    success_rate: float = 0.95,
    playback_rate: float = 1.0,
    inference_delay_steps: int = 0,
    num_states: int = 20,
    seed: int = 0,
) -> EfficiencyReport:
    """An arm over three tasks whose difficulty by state is shared by all arms; `pace` multiplies the steps."""
    hardness = np.random.default_rng(7).random((len(TASK_STEPS), num_states))
    noise = np.random.default_rng([seed, horizon, round(100 * pace), len(name)])
    records = []
    for row, (task, steps) in zip(hardness, TASK_STEPS.items()):
        for state, hard in enumerate(row):
            taken = max(1, int(steps * pace * (1.4 + 0.5 * hard + 0.1 * noise.standard_normal())))
            success = bool(0.8 * hard + 0.2 * noise.random() < success_rate)
            records.append(record(success, min(taken, TIME_LIMIT) if success else TIME_LIMIT, horizon, chunk_size, task, state))
    return EfficiencyReport.from_rollouts(
        name,
        records,
        execute_horizon=horizon,
        chunk_size=chunk_size,
        playback_rate=playback_rate,
        inference_delay_steps=inference_delay_steps,
    )
