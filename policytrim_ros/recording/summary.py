"""What a recording amounts to, in the numbers of `policytrim evaluate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.report.words import NOTHING, duration, percent
from policytrim_gym.metrics import RolloutRecord
from policytrim_ros.control.chunk_execution import ChunkExecution
from policytrim_ros.recording.reader import Recording

COLUMNS = (
    *("success", "steps", "calls", "utilisation", "wall-clock", "inference"),
    *("gaps", "longest still", "redundant", "tracking", "ends of chunks"),
)
"""Of `rollout_rows`."""
NOTE = (
    "Steps are control steps in which a chunk ran; calls are all questions to the policy, refused answers too; utilisation: steps over "
    "calls times chunk_size; gaps: no step ran while the next chunk was waited for; longest still: no measured "
    "joint moved while chunks ran; redundant: steps still, or back to where the joints had just been; tracking: largest distance of a "
    "measured joint from where it was commanded to be."
)


def arm_of(recording: Recording) -> EfficiencyReport | None:
    """Returns the rollouts that ended as one arm of an evaluation; None without any.

    Its horizon is the longest that a chunk had, its delay the median of the steps that had passed when chunks took over from moving ones.
    """
    chunks = [chunk.record for chunk in recording.chunks if chunk.rollout in recording.rollouts]
    if not chunks:
        return None
    passed = [record.dropped_steps for record in chunks if record.dropped_steps]
    return EfficiencyReport.from_rollouts(
        recording.path.stem,
        [recording.rollouts[number] for number in sorted(recording.rollouts)],
        execute_horizon=max(record.execute_horizon for record in chunks),
        chunk_size=max(record.chunk_size for record in chunks),
        inference_delay_steps=round(float(np.median(passed))) if passed else 0,
    )


def rollout_rows(recording: Recording) -> list[tuple[str, ...]]:
    """Returns the name and the cells of `COLUMNS` of each rollout."""
    return [_row(number, recording.rollouts.get(number), recording.chunks_of(number)) for number in recording.numbers]


def rests(recording: Recording) -> str:
    """Returns a sentence on the chunks that belong to no rollout; empty when there are none."""
    chunks = recording.chunks_of(0)
    if not chunks:
        return ""
    steps = sum(chunk.executed_steps for chunk in chunks)
    return f"{len(chunks)} chunks ({steps} steps) ran between the end of a rollout and a stop and count to none."


def to_json(recording: Recording) -> dict[str, Any]:
    """Returns the recording's numbers as JSON-ready values: the arm, and all chunks by the keys of the topic `execution`."""
    arm = arm_of(recording)
    return {
        "schema": "policytrim.recording/1",
        "recording": str(recording.path),
        "cut_off": recording.cut_off,
        "arm": None if arm is None else arm.to_json(),
        "chunks": [chunk.values() for chunk in recording.chunks],
    }


def _row(number: int, record: RolloutRecord | None, chunks: Sequence[ChunkExecution]) -> tuple[str, ...]:
    tracked = [chunk.tracking.largest for chunk in chunks if chunk.tracking is not None]
    followed = [chunk.progress for chunk in chunks if chunk.progress is not None]
    ends = Counter(f"{chunk.reason.value} ({chunk.detail})" if chunk.detail else chunk.reason.value for chunk in chunks)
    steps = sum(chunk.executed_steps for chunk in chunks)
    if record is None:
        costs = ["not ended", str(steps), str(len(chunks)), NOTHING, NOTHING, NOTHING]
    else:
        costs = ["yes" if record.success else "no", str(record.steps), str(record.num_replans), percent(record.chunk_utilization)]
        costs += [duration(record.wall_clock_s), duration(record.inference_s)]
    return (
        str(number),
        *costs,
        duration(sum(chunk.gap_s for chunk in chunks)),
        duration(max(progress.still_s for progress in followed)) if followed else NOTHING,
        str(sum(progress.redundant_steps for progress in followed)) if followed else NOTHING,
        f"{max(tracked):.3f} rad" if tracked else NOTHING,
        ", ".join(f"{count} {reason}" for reason, count in ends.most_common()) or NOTHING,
    )
