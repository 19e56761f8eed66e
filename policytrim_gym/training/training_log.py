"""Entries of a trim's log, and how one reads as a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from policytrim_gym.rollouts.collector import Rollout
from policytrim_gym.training.grpo_update import UpdateStatistics


def iteration_row(rollouts: Sequence[Rollout], statistics: UpdateStatistics | None) -> dict[str, Any]:
    """Returns an iteration as an entry of the log.

    Args:
        rollouts: that it collected.
        statistics: of its update; None where no group carried a signal.
    """
    solved = [rollout for rollout in rollouts if rollout.success]
    row: dict[str, Any] = {
        "success": len(solved) / len(rollouts),
        "steps": float(np.mean([rollout.steps for rollout in solved])) if solved else None,
        "calls": float(np.mean([len(rollout.windows) for rollout in solved])) if solved else None,
    }
    if statistics is not None:
        row |= {"loss": statistics.loss, "clip_fraction": statistics.clip_fraction, "grad_norm": statistics.grad_norm}
        row["approx_kl"] = statistics.approx_kl
    return row


def validation_line(row: dict[str, Any]) -> str:
    """Returns a validation of the training log as a line.

    >>> row = {"seconds": 61.2, "stage": "stage2", "validation_success": 0.98, "validation_steps": 63.04, "validation_calls": 2.5}
    >>> validation_line({**row, "is_best": True})
    '    61 s  stage2     validation: success 98.0%, 63.0 steps, 2.50 calls (best so far)'
    """
    best = " (best so far)" if row.get("is_best") else ""
    return f"{row['seconds']:6.0f} s  {row['stage']:<10} validation: {validation_words(row)}{best}"


def validation_words(row: Mapping[str, Any]) -> str:
    """Returns success, steps and calls of a validation, see `validation_row`.

    >>> validation_words({"validation_success": 0.0, "validation_steps": None, "validation_calls": None})
    'success 0.0%'
    """
    steps, calls = row["validation_steps"], row["validation_calls"]
    costs = "" if steps is None else f", {steps:.1f} steps, {calls:.2f} calls"
    return f"success {row['validation_success']:.1%}{costs}"


def floor_words(row: Mapping[str, Any], success_floor: float) -> str:
    """Returns what stands behind a chosen validation: nothing where its success reaches the floor.

    >>> row = {"validation_success": 0.5}
    >>> floor_words(row, 0.6), floor_words(row, 0.5)
    (', below the floor of 60.0%: no checkpoint reached it, this one comes nearest', '')
    """
    if row["validation_success"] >= success_floor:
        return ""
    return f", below the floor of {success_floor:.1%}: no checkpoint reached it, this one comes nearest"
