"""What the executor tells a node to carry out, in this order, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from policytrim_ros.control.trajectory import Trajectory


class StopReason(str, Enum):
    """Why the arm was braked and is held until it is rearmed."""

    STOPPED = "stopped"
    DEACTIVATED = "deactivated"
    JOINT_STATES_SILENT = "joint_states_silent"
    IMAGE_SILENT = "image_silent"
    POLICY_SILENT = "policy_silent"
    POLICY_FAILED = "policy_failed"
    CHUNKS_REFUSED = "chunks_refused"
    CLOCK_JUMPED = "clock_jumped"
    CONTROLLER_FAILED = "controller_failed"  # it did not follow what it was told


PUBLISHED = "published"
NOT_ARMED = "not_armed"
POLICY_FAILED = "policy_failed"
"""Verdicts on an answer beside the names of `RefusalReason`."""


@dataclass(frozen=True)
class ChunkRecord:
    """What is known of an answer of the policy; for the topic `chunk_info`.

    Args:
        stamp_s: of the trajectory that it became, which identifies the chunk; None when it was not published [s].
        observation_stamp_s: of the observation that it was predicted from [s].
        execute_horizon: h, last step of the chunk that shall run [steps].
        chunk_size: H [steps].
        dropped_steps: steps at its beginning that had passed [steps]; None when it was not published.
        join_s: when it takes over [s]; None when it was not published.
        inference_s: time that the policy took; from asking to answer when it did not say, None when it was not asked [s].
        observation_age_s: from the observation to the answer's arrival [s].
        verdict: "published", a `RefusalReason`, "policy_failed", or "not_armed": it came when nothing may move.
        message: one sentence; empty when it was published.
        control_dt_s: between two steps of the chunk [s]; None: not said.
        asynchronous: whether the arm goes on with the chunk beyond execute_horizon while the next one is not there; None: not said.
    """

    stamp_s: float | None
    observation_stamp_s: float
    execute_horizon: int
    chunk_size: int
    dropped_steps: int | None
    join_s: float | None
    inference_s: float | None
    observation_age_s: float
    verdict: str
    message: str = ""
    control_dt_s: float | None = None
    asynchronous: bool | None = None


@dataclass(frozen=True)
class Ask:
    """Ask the policy, with the observation of this stamp."""

    observation_stamp_s: float


@dataclass(frozen=True)
class Publish:
    """Send a chunk's motion to the controllers; `gripper` is None where the gripper has none of its own."""

    arm: Trajectory
    gripper: Trajectory | None
    record: ChunkRecord


@dataclass(frozen=True)
class Refused:
    """Nothing is sent of an answer; report why."""

    record: ChunkRecord


@dataclass(frozen=True)
class Hold:
    """Send motion that brakes and holds; nothing follows it until a rearm."""

    arm: Trajectory
    gripper: Trajectory | None
    reason: StopReason
    message: str


Command = Ask | Publish | Refused | Hold
