"""The record of one rollout: the same numbers from training, evaluation and the robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from policytrim_gym.errors import InvalidRollout


@dataclass(frozen=True)
class RolloutRecord:
    """What one episode under one policy cost.

    Args:
        success: whether the task was done before the time limit.
        steps: S, physical control steps until the first success, or all steps of a failure.
        num_replans: N, times the policy was asked for a chunk.
        executed_steps: steps that ran between two replans, (num_replans,).
        chunk_utilization: S / (N * chunk_size), in [0, 1].
        wall_clock_s: measured duration of the episode [s].
        inference_s: of which spent in the policy [s]; None when who recorded did not call the policy.
        task: name of the task, or None.
        initial_state: index of the initial state in its split, or None.
        motion_s: S times the duration of a control step [s]; None when the environment has no joints or nobody measured.
        shortest_s: time in which the joints could have moved along the same path within their limits [s]; 0.0 when nothing moved.

    >>> record = RolloutRecord(True, 20, 3, (8, 8, 4), 20 / 24, 0.5)
    >>> record.to_json()["num_replans"]
    3
    """

    success: bool
    steps: int
    num_replans: int
    executed_steps: tuple[int, ...]
    chunk_utilization: float
    wall_clock_s: float
    inference_s: float | None = None
    task: str | None = None
    initial_state: int | None = None
    motion_s: float | None = None
    shortest_s: float | None = None

    @classmethod
    def from_windows(
        cls, success: bool, executed_steps: Sequence[int], chunk_size: int, wall_clock_s: float, inference_s: float | None, **more: Any
    ) -> RolloutRecord:
        """Returns the record of an episode from what ran after each call of the policy.

        Args:
            success, wall_clock_s, inference_s: see the class.
            executed_steps: steps that ran after each call, 0 where nothing of it ran, (num_replans,).
            chunk_size: H.
            **more: the other fields.

        Raises:
            InvalidRollout: no call.

        >>> RolloutRecord.from_windows(True, [8, 8, 4], 32, wall_clock_s=0.5, inference_s=0.1, task="reach").steps
        20
        """
        if not executed_steps:
            raise InvalidRollout("a rollout must have at least one call of the policy, got none")
        steps, num_replans = sum(executed_steps), len(executed_steps)
        used = steps / (num_replans * chunk_size)
        return cls(success, steps, num_replans, tuple(executed_steps), used, wall_clock_s, inference_s, **more)

    @property
    def motion_headroom(self) -> float | None:
        """motion_s / shortest_s, at least 1 within the limits; None without a measurement or motion."""
        return self.motion_s / self.shortest_s if self.motion_s is not None and self.shortest_s else None

    def to_json(self) -> dict[str, Any]:
        """Returns the record as JSON-ready values; the times of the motion are left out unless they were measured."""
        values = {**asdict(self), "executed_steps": list(self.executed_steps)}
        return {key: value for key, value in values.items() if key not in ("motion_s", "shortest_s") or value is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RolloutRecord:
        """Takes back what `to_json` gave."""
        return cls(**{**values, "executed_steps": tuple(values["executed_steps"])})


def is_success(info: Mapping[str, Any]) -> bool:
    """Returns whether an info says that the task is done: `is_success`, else `success`, else False."""
    return bool(info.get("is_success", info.get("success", False)))
