"""What a chunk's execution has that someone should look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from policytrim_ros.control.chunk_execution import ChunkExecution, EndReason

OK, WARN, ERROR = 0, 1, 2
"""Levels of diagnostic_msgs/DiagnosticStatus."""


@dataclass(frozen=True)
class ExecutionThresholds:
    """From where on a value is worth a diagnostic.

    Args:
        tracking_warn_rad, tracking_error_rad: largest distance of a measured joint from its commanded position [rad].
        gap_warn_s: no step of any chunk ran while the next one was waited for [s].
        still_warn_s: a stall: the joints stood still for so long while chunks ran [s].
        inference_warn_s: time that the policy took [s].
    """

    tracking_warn_rad: float
    tracking_error_rad: float
    gap_warn_s: float
    still_warn_s: float
    inference_warn_s: float


class Health(NamedTuple):
    """A level and what it is for, in words."""

    level: int
    words: str


def execution_health(chunk: ChunkExecution, thresholds: ExecutionThresholds) -> Health:
    """Returns the worst level of a chunk's execution and all that is to be said of it.

    A stop is a warning: the policy's node says whether it is an error.
    """
    found = []
    if chunk.tracking is not None and chunk.tracking.largest > thresholds.tracking_warn_rad:
        level = ERROR if chunk.tracking.largest > thresholds.tracking_error_rad else WARN
        found.append(Health(level, f"{chunk.tracking.joint} was {chunk.tracking.largest:.3f} rad from where it was commanded to be"))
    if chunk.gap_s > thresholds.gap_warn_s:
        found.append(Health(WARN, f"no step ran for {chunk.gap_s:.2f} s, waiting for a chunk"))
    if chunk.progress is not None and chunk.progress.still_s > thresholds.still_warn_s:
        found.append(Health(WARN, f"no joint moved for {chunk.progress.still_s:.2f} s of running chunks"))
    if chunk.record.inference_s is not None and chunk.record.inference_s > thresholds.inference_warn_s:
        found.append(Health(WARN, f"the policy took {chunk.record.inference_s:.2f} s"))
    if chunk.reason is EndReason.STOPPED:
        found.append(Health(WARN, f"stopped: {chunk.detail or 'for a reason that nobody told'}"))
    if not found:
        return Health(OK, chunk.reason.value)
    return Health(max(level for level, _ in found), "; ".join(words for _, words in found))
