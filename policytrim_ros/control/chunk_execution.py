"""What became of a chunk, and of a rollout, on the arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from policytrim_gym.errors import InvalidChunk
from policytrim_gym.metrics import RolloutRecord
from policytrim_ros.control.commands import PUBLISHED, ChunkRecord
from policytrim_ros.control.step_progress import Progress
from policytrim_ros.control.tracking import TrackingError

NOTHING = ("", "None")
"""Texts of a value that is None."""


class EndReason(str, Enum):
    """Why a chunk ran no further."""

    REPLACED = "replaced"  # the next one took over
    HELD = "held"  # it had no steps left; the arm waited where it ended, then the next one took over
    STOPPED = "stopped"  # a trajectory without a chunk took over: braking and holding
    ROLLOUT_ENDED = "rollout_ended"


@dataclass(frozen=True)
class ChunkExecution:
    """How a published chunk was executed; for the topic `execution`.

    Args:
        record: what the policy's node said of it.
        rollout: number of the rollout that it belongs to, from 1; 0: none, it ran between the end of one and a stop.
        executed_steps: of its steps, how many ran [steps].
        end_s: when it ran no further [s].
        reason: why.
        detail: of a stop, its reason as far as the policy's node told it; else empty.
        gap_s: from the end of its last step until `end_s`, when it had none left: no step of any chunk ran. The arm still approaches
            the last target and comes to rest meanwhile [s].
        tracking: measured against commanded joints while it was played; None where either is missing.
        progress: what came of its steps; None where the joints were not measured throughout, or nothing ran.
    """

    record: ChunkRecord
    rollout: int
    executed_steps: int
    end_s: float
    reason: EndReason
    detail: str
    gap_s: float
    tracking: TrackingError | None
    progress: Progress | None

    @property
    def chunk_utilization(self) -> float:
        """executed_steps / chunk_size."""
        return self.executed_steps / self.record.chunk_size

    def values(self) -> dict[str, float | int | str | None]:
        """Returns it by the keys of the topic `execution`."""
        record, tracking, progress = self.record, self.tracking, self.progress
        return {
            "stamp_s": record.stamp_s,
            "observation_stamp_s": record.observation_stamp_s,
            "rollout": self.rollout,
            "execute_horizon": record.execute_horizon,
            "chunk_size": record.chunk_size,
            "dropped_steps": record.dropped_steps,
            "executed_steps": self.executed_steps,
            "chunk_utilization": self.chunk_utilization,
            "join_s": record.join_s,
            "end_s": self.end_s,
            "reason": self.reason.value,
            "detail": self.detail,
            "inference_s": record.inference_s,
            "observation_age_s": record.observation_age_s,
            "control_dt_s": record.control_dt_s,
            "asynchronous": record.asynchronous,
            "gap_s": self.gap_s,
            "tracking_max": None if tracking is None else tracking.largest,
            "tracking_rms": None if tracking is None else tracking.rms,
            "tracking_joint": None if tracking is None else tracking.joint,
            "still_steps": None if progress is None else progress.still_steps,
            "redundant_steps": None if progress is None else progress.redundant_steps,
            "still_s": None if progress is None else progress.still_s,
        }

    @classmethod
    def from_values(cls, values: Mapping[str, str]) -> ChunkExecution:
        """Takes back what `values` gave, as text; "" or "None" is None, and so are `control_dt_s` and `asynchronous` without a key.

        Raises:
            InvalidChunk: a key that is missing, or holds something else.
        """

        def number(key: str) -> float | None:
            return None if values[key] in NOTHING else float(values[key])

        def needed(key: str) -> float:
            return float(values[key])

        try:
            record = ChunkRecord(
                stamp_s=needed("stamp_s"),
                observation_stamp_s=needed("observation_stamp_s"),
                execute_horizon=int(values["execute_horizon"]),
                chunk_size=int(values["chunk_size"]),
                dropped_steps=int(values["dropped_steps"]),
                join_s=needed("join_s"),
                inference_s=number("inference_s"),
                observation_age_s=needed("observation_age_s"),
                verdict=PUBLISHED,
                control_dt_s=number("control_dt_s") if "control_dt_s" in values else None,
                asynchronous=None if values.get("asynchronous", "") in NOTHING else to_bool(values["asynchronous"]),
            )
            tracked, followed = number("tracking_max") is not None, number("still_s") is not None
            return cls(
                record=record,
                rollout=int(values["rollout"]),
                executed_steps=int(values["executed_steps"]),
                end_s=needed("end_s"),
                reason=EndReason(values["reason"]),
                detail=values["detail"],
                gap_s=needed("gap_s"),
                tracking=TrackingError(needed("tracking_max"), needed("tracking_rms"), values["tracking_joint"]) if tracked else None,
                progress=Progress(int(values["still_steps"]), int(values["redundant_steps"]), needed("still_s")) if followed else None,
            )
        except (KeyError, ValueError) as error:
            raise InvalidChunk(f"an execution must hold the keys of its topic with their numbers, got {error!r}") from error


def to_bool(text: str) -> bool:
    """Returns the value of a text "True" or "False", in letters of any size.

    Raises:
        ValueError: another text.
    """
    if text.lower() not in ("true", "false"):
        raise ValueError(f"a truth value must be True or False, got {text!r}")
    return text.lower() == "true"


@dataclass(frozen=True)
class EndedRollout:
    """A rollout and its chunks.

    Args:
        number: from 1.
        record: as `policytrim evaluate` writes it; its calls are all answers of the policy, refused ones with 0 steps.
        executions: of its published chunks.
        seen_from_its_beginning: False when its first chunk went on with motion of before: the record lacks what ran then.
    """

    number: int
    record: RolloutRecord
    executions: tuple[ChunkExecution, ...]
    seen_from_its_beginning: bool
