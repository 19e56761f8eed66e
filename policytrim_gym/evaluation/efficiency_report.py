"""One arm of an evaluation: what one policy cost under one setting."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from policytrim_gym.chunk import check_horizon
from policytrim_gym.errors import CorruptReport, InvalidHorizon, InvalidSpec, MismatchedRollouts
from policytrim_gym.evaluation.statistics import Interval, wilson_interval
from policytrim_gym.metrics import RolloutRecord

EpisodeKey = tuple[Hashable, ...]
"""What two arms' episodes are paired by: (training seed, task, initial state)."""


@dataclass(frozen=True)
class EfficiencyReport:
    """Success, steps, calls and time of one policy under one horizon, playback rate and inference delay.

    Steps and time are reported twice, because successes alone flatter a policy that fails the hard cases: `*_success` is the mean over
    successes, as published; `steps_restricted_mean`, `num_replans_mean`, `wall_clock_s_mean` and `inference_s_mean` count every
    episode, a failure with all it spent until the time limit. Use `from_rollouts`; the fields follow from the episodes.

    Args:
        name: of the arm, unique within a report.
        execute_horizon, chunk_size: h and H.
        playback_rate: how much faster than demonstrated the chunk's actions were played.
        inference_delay_steps: steps of each window that came from the previous chunk.
        success_rate: successes / episodes.
        success_rate_ci95: Wilson's interval.
        steps_mean_success: mean S over successes; None without a success.
        steps_restricted_mean: mean steps over all episodes.
        num_replans_mean: mean N over all episodes.
        chunk_utilization: share of all predicted actions that ran, the mean over calls.
        wall_clock_s_mean: measured duration of an episode [s].
        inference_s_mean: of which in the policy [s]; None when a record does not say.
        episodes: the records, (num_episodes,).
        training_seeds: of the policy behind each episode, (num_episodes,), where several are pooled; None otherwise.
        selector: name of who chose the horizon of each chunk; `execute_horizon` is the longest that it may choose then. None: fixed.

    >>> arm = EfficiencyReport.from_rollouts(
    ...     "stock", [RolloutRecord(True, 20, 3, (8, 8, 4), 20 / 96, 0.5, task="reach", initial_state=0)], execute_horizon=8, chunk_size=32
    ... )
    >>> arm.success_rate, arm.steps_mean_success, arm.modelled_wall_clock_s(t_infer_s=0.1, t_step_s=0.05)
    (1.0, 20.0, 1.3)
    """

    name: str
    execute_horizon: int
    chunk_size: int
    playback_rate: float
    inference_delay_steps: int
    success_rate: float
    success_rate_ci95: Interval
    steps_mean_success: float | None
    steps_restricted_mean: float
    num_replans_mean: float
    chunk_utilization: float
    wall_clock_s_mean: float
    inference_s_mean: float | None
    episodes: tuple[RolloutRecord, ...]
    training_seeds: tuple[int, ...] | None = None
    selector: str | None = None

    @classmethod
    def from_rollouts(
        cls,
        name: str,
        records: Sequence[RolloutRecord],
        *,
        execute_horizon: int,
        chunk_size: int,
        playback_rate: float = 1.0,
        inference_delay_steps: int = 0,
        training_seeds: Sequence[int] | None = None,
        selector: str | None = None,
    ) -> EfficiencyReport:
        """Sums up the rollouts of one setting.

        Raises:
            InvalidHorizon: a horizon or delay that does not fit the chunk.
            InvalidSpec: no record, a playback rate that is not positive, or as many seeds as there are not records.
        """
        check_horizon(execute_horizon, chunk_size)
        if not 0 <= inference_delay_steps < chunk_size:
            raise InvalidHorizon(f"inference_delay_steps must be in 0..{chunk_size - 1}, got {inference_delay_steps}")
        if not (np.isfinite(playback_rate) and playback_rate > 0):
            raise InvalidSpec(f"playback_rate must be a finite number above 0, got {playback_rate}")
        if not records:
            raise InvalidSpec(f'arm "{name}" needs at least one rollout, got none')
        if training_seeds is not None and len(training_seeds) != len(records):
            raise InvalidSpec(f"training_seeds must name one seed for each of {len(records)} rollouts, got {len(training_seeds)}")
        num_successes = sum(record.success for record in records)
        calls = np.array([record.num_replans for record in records], dtype=float)
        used = np.array([record.chunk_utilization for record in records], dtype=float)
        return cls(
            name=name,
            execute_horizon=execute_horizon,
            chunk_size=chunk_size,
            playback_rate=float(playback_rate),
            inference_delay_steps=inference_delay_steps,
            success_rate=num_successes / len(records),
            success_rate_ci95=wilson_interval(num_successes, len(records)),
            steps_mean_success=_mean([record.steps for record in records if record.success]),
            steps_restricted_mean=float(np.mean([record.steps for record in records])),
            num_replans_mean=float(calls.mean()),
            chunk_utilization=float((used * calls).sum() / max(calls.sum(), 1.0)),
            wall_clock_s_mean=float(np.mean([record.wall_clock_s for record in records])),
            inference_s_mean=_mean([record.inference_s for record in records]),
            episodes=tuple(records),
            training_seeds=None if training_seeds is None else tuple(int(seed) for seed in training_seeds),
            selector=selector,
        )

    @property
    def num_replans_mean_success(self) -> float | None:
        """Mean N over successes, beside `steps_mean_success`; None without a success."""
        return _mean([record.num_replans for record in self.episodes if record.success])

    @property
    def motion_headroom(self) -> float | None:
        """Mean over successes of the time that the joints moved over the shortest for the same path; None without a measurement."""
        headrooms = [record.motion_headroom for record in self.episodes if record.success]
        return _mean([headroom for headroom in headrooms if headroom is not None])

    def modelled_wall_clock_s(self, t_infer_s: float, t_step_s: float, asynchronous: bool = False) -> float | None:
        """Returns the mean time to success that a given machine would need: N t_infer + S t_step [s].

        `asynchronous` hides the inference behind the motion, which leaves S t_step; it takes a lead of t_infer_s within the chunk. None
        without a success.
        """
        steps, calls = self.steps_mean_success, self.num_replans_mean_success
        if steps is None or calls is None:
            return None
        return steps * t_step_s + (0.0 if asynchronous else calls * t_infer_s)

    def episode_keys(self) -> tuple[EpisodeKey, ...]:
        """Returns what each episode is paired by: (training seed, task, initial state).

        Records without an initial state are numbered within their seed and task, in order: arms that were rolled out with the same
        seeds in the same order still pair.

        Raises:
            MismatchedRollouts: two episodes of the arm have the same key.
        """
        seeds = self.training_seeds or (None,) * len(self.episodes)
        keys: dict[EpisodeKey, None] = {}
        counts: dict[EpisodeKey, int] = {}
        for seed, record in zip(seeds, self.episodes):
            state = record.initial_state
            if state is None:
                state = counts[(seed, record.task)] = counts.get((seed, record.task), -1) + 1
            key = (seed, record.task, state)
            if key in keys:
                raise MismatchedRollouts(f'arm "{self.name}" has two episodes of seed {seed}, task {record.task}, initial state {state}')
            keys[key] = None
        return tuple(keys)

    def by_task(self) -> dict[str, EfficiencyReport]:
        """Returns the arm of each task alone, sorted by the task's name."""
        rows: dict[str, list[int]] = {}
        for index, record in enumerate(self.episodes):
            rows.setdefault(record.task or "unnamed task", []).append(index)
        return {task: self._subset(indices) for task, indices in sorted(rows.items())}

    def renamed(self, name: str) -> EfficiencyReport:
        """Returns the arm under another name."""
        return replace(self, name=name)

    def _subset(self, indices: Sequence[int]) -> EfficiencyReport:
        seeds = self.training_seeds
        return EfficiencyReport.from_rollouts(
            self.name,
            [self.episodes[index] for index in indices],
            execute_horizon=self.execute_horizon,
            chunk_size=self.chunk_size,
            playback_rate=self.playback_rate,
            inference_delay_steps=self.inference_delay_steps,
            training_seeds=None if seeds is None else [seeds[index] for index in indices],
            selector=self.selector,
        )

    def to_json(self) -> dict[str, Any]:
        """Returns one arm of report.json; `training_seeds` is left out unless several policies are pooled, `selector` unless one chose."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values["success_rate_ci95"] = list(self.success_rate_ci95)
        values["episodes"] = [record.to_json() for record in self.episodes]
        if self.training_seeds is None:
            del values["training_seeds"]
        else:
            values["training_seeds"] = list(self.training_seeds)
        if self.selector is None:
            del values["selector"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EfficiencyReport:
        """Takes back what `to_json` gave, keys of later versions aside.

        Raises:
            CorruptReport: a key is missing or holds something else.
        """
        known = {item.name for item in fields(cls)}
        try:
            kept = {key: value for key, value in values.items() if key in known}
            kept["success_rate_ci95"] = Interval(*kept["success_rate_ci95"])
            kept["episodes"] = tuple(RolloutRecord.from_json(record) for record in kept["episodes"])
            if kept.get("training_seeds") is not None:
                kept["training_seeds"] = tuple(kept["training_seeds"])
            return cls(**kept)
        except (KeyError, TypeError, AttributeError) as error:
            raise CorruptReport(f"an arm must hold the keys of policytrim.report/1, got {error!r}") from error


def pool_arms(name: str, arms: Mapping[int, EfficiencyReport]) -> EfficiencyReport:
    """Puts the same arm of several training seeds together.

    Args:
        name: of the pooled arm.
        arms: training seed -> its arm.

    Raises:
        InvalidSpec: no arm, or arms of different settings.
    """
    settings = {(arm.execute_horizon, arm.chunk_size, arm.playback_rate, arm.inference_delay_steps) for arm in arms.values()}
    if len(settings) != 1:
        raise InvalidSpec(
            f'pooled arms must share (execute_horizon, chunk_size, playback_rate, inference_delay_steps); "{name}" got {sorted(settings)}'
        )
    horizon, chunk_size, playback_rate, delay = settings.pop()
    return EfficiencyReport.from_rollouts(
        name,
        [record for arm in arms.values() for record in arm.episodes],
        execute_horizon=horizon,
        chunk_size=chunk_size,
        playback_rate=playback_rate,
        inference_delay_steps=delay,
        training_seeds=[seed for seed, arm in arms.items() for _ in arm.episodes],
        selector=next(iter(arms.values())).selector,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean, or None of nothing and of what was not measured throughout."""
    measured = [value for value in values if value is not None]
    return float(np.mean(measured)) if measured and len(measured) == len(values) else None
