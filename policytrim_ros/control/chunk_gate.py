"""Refuses a bad chunk as a whole, with a named reason, before anything of it is published."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.config import check_fields
from policytrim_gym.errors import InvalidConfig
from policytrim_ros.control.action_joints import ActionJoints
from policytrim_ros.control.motion_state import MeasuredState

ROUNDING = 1e-5
"""So far beyond a limit a target may be [rad]: float32, with a normalisation taken back, rounds by 1e-6 at most. As ArmEnv allows."""


class RefusalReason(str, Enum):
    """Why a chunk was refused."""

    WRONG_SHAPE = "wrong_shape"
    NOT_FINITE = "not_finite"
    WRONG_JOINTS = "wrong_joints"
    FUTURE_OBSERVATION = "future_observation"
    STALE_OBSERVATION = "stale_observation"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    POSITION_LIMIT = "position_limit"
    TARGET_STEP = "target_step"
    STALE_STATE = "stale_state"
    START_JUMP = "start_jump"
    VELOCITY_LIMIT = "velocity_limit"
    ACCELERATION_LIMIT = "acceleration_limit"


@dataclass(frozen=True)
class Refusal:
    """The first thing that is wrong.

    Args:
        reason: by name.
        message: one sentence with the value and the limit.
    """

    reason: RefusalReason
    message: str


@dataclass(frozen=True)
class GateConfig:
    """What a chunk may look like beyond the limits of the robot.

    Args:
        max_observation_age_s: from the observation to the chunk's arrival [s].
        max_state_age_s: of the measured joints that a start is compared with [s].
        clock_tolerance_s: an observation may be stamped so far ahead, by another machine's clock [s].
        target_step_s: a target may be so far from the one before as the joint moves in this time at its velocity limit [s].
        start_jump_s: the first target may be so far from the measured joint as it moves in this time at its velocity limit, beside the
            time until the target takes over [s].

    Raises:
        InvalidConfig: a value that is not above 0.

    >>> GateConfig(target_step_s=0.1).start_jump_s
    0.5
    """

    max_observation_age_s: float = 1.0
    max_state_age_s: float = 0.1
    clock_tolerance_s: float = 0.02
    target_step_s: float = 0.25
    start_jump_s: float = 0.5

    def __post_init__(self) -> None:
        check_fields(self)
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0.0):
                raise InvalidConfig(f"{name} must be a finite number above 0, got {value}")


@dataclass(frozen=True, eq=False)
class ChunkAnswer:
    """What a policy answered, as it came: nothing about it is trusted.

    Args:
        actions: joint targets [rad] and the gripper's opening, (chunk_size, n) when it is right.
        joint_names: of the columns, (n,).
        observation_stamp_s: of the observation that it was predicted from [s].
        execute_horizon: actions to run of this chunk, or None for the setting.
        inference_s: time that the policy took, or None when it did not say [s].
    """

    actions: Any
    joint_names: tuple[str, ...]
    observation_stamp_s: float
    execute_horizon: int | None = None
    inference_s: float | None = None


class ChunkGate:
    """Checks chunks of joint targets. It never clips and never changes a chunk.

    What is measured here are targets, not motion. A policy's targets lead: they differ by more than a joint moves in a step, and
    ArmEnv's limiter, which made every motion that the policy was trained and proven with, turns them into motion within the limits. A
    velocity limit on targets would refuse such chunks although what they lead to is within it. So a target must be within the position
    limits, and may lead by a bounded time at the velocity limit; the motion that is made of the targets, which obeys velocity and
    acceleration by construction, goes through `TrajectoryGate` before it is sent. Bounds in seconds fit large and small joints alike:
    a push policy cloned from slow demonstrations and played three times as fast stayed below 0.14 s from target to target and 0.16 s
    from the measured joint, in 15 episodes. The gripper's opening is a switch and has no such bound.

    Args:
        joints: what the columns are.
        chunk_size: actions that every chunk must have.
        config: the bounds.

    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> joints = ActionJoints(load_robot("policytrim_arm"))
    >>> gate = ChunkGate(joints, chunk_size=2)
    >>> home = MeasuredState(np.append(joints.robot.home, 0.04), np.zeros(7), stamp_s=1.0)
    >>> stay = np.tile(np.append(joints.robot.home, 1.0), (2, 1))
    >>> gate.check(ChunkAnswer(stay, joints.labels, 1.0), home, first_step=0, until_join_s=0.0, now_s=1.05) is None
    True
    >>> stay[1, 3] = np.nan
    >>> gate.check(ChunkAnswer(stay, joints.labels, 1.0), home, first_step=0, until_join_s=0.0, now_s=1.05).message
    'target of joint_4 at step 1 must be finite, got nan'
    """

    def __init__(self, joints: ActionJoints, chunk_size: int, config: GateConfig | None = None) -> None:
        self.config = config or GateConfig()
        self._labels = joints.labels
        self._shape = (chunk_size, len(self._labels))
        self._lower, self._upper = joints.lower, joints.upper
        speed = joints.robot.arm_limits.velocity
        self._dof = len(speed)
        self._velocity, self._target_step = speed, speed * self.config.target_step_s
        self._accepted_s, self._begin_s = -math.inf, -math.inf

    def restart(self, now_s: float) -> None:
        """Refuses from now on what was observed before: a start or rearm wants fresh observations."""
        self._begin_s = now_s
        self._accepted_s = -math.inf

    def accept(self, observation_stamp_s: float) -> None:
        """Notes that the chunk of this observation is being run; only a newer one may follow."""
        self._accepted_s = observation_stamp_s

    def check(
        self, answer: ChunkAnswer, measured: MeasuredState | None, first_step: int, until_join_s: float, now_s: float
    ) -> Refusal | None:
        """Returns what is wrong first, or None.

        Args:
            answer: the chunk, checked whole, also what of it has passed.
            measured: newest joints, or None when there are none.
            first_step: index of the action that takes over.
            until_join_s: from now until it does [s].
            now_s: present time [s].
        """
        refusal = self._check_form(answer) or self._check_stamp(answer.observation_stamp_s, first_step, now_s)
        if refusal is not None:
            return refusal
        actions = np.asarray(answer.actions, dtype=np.float64)
        return self._check_targets(actions) or self._check_start(actions[first_step], measured, until_join_s, now_s)

    def _check_form(self, answer: ChunkAnswer) -> Refusal | None:
        try:
            actions = np.asarray(answer.actions)
        except ValueError:  # rows of unequal length
            actions = np.empty(0, dtype=object)
        if actions.shape != self._shape or actions.dtype.kind not in "fiu":
            got = f"{actions.dtype} of shape {actions.shape}" if actions.size else f"{type(answer.actions).__name__} of another form"
            words = f"a chunk must hold numbers of shape {self._shape} (chunk_size, joints), got {got}"
            return Refusal(RefusalReason.WRONG_SHAPE, words)
        if tuple(answer.joint_names) != self._labels:
            return Refusal(RefusalReason.WRONG_JOINTS, f"a chunk's joints must be {self._labels}, got {tuple(answer.joint_names)}")
        if actions.dtype.kind == "f" and not np.isfinite(actions).all():
            step, column = np.argwhere(~np.isfinite(actions))[0]
            return Refusal(
                RefusalReason.NOT_FINITE, f"target of {self._labels[column]} at step {step} must be finite, got {actions[step, column]}"
            )
        return None

    def _check_stamp(self, stamp_s: float, first_step: int, now_s: float) -> Refusal | None:
        limit_s = self.config.max_observation_age_s
        age_s = now_s - stamp_s
        if not age_s >= -self.config.clock_tolerance_s:
            words = f"the observation's stamp must be at most {self.config.clock_tolerance_s:g} s ahead, got {-age_s:.3f} s"
            return Refusal(RefusalReason.FUTURE_OBSERVATION, words)
        if stamp_s == self._accepted_s:
            return Refusal(RefusalReason.DUPLICATE, f"the chunk of the observation at {stamp_s:.6f} s was already accepted")
        newest_s, words = max((self._begin_s, "the start or rearm"), (self._accepted_s, "the observation of the last accepted chunk"))
        if stamp_s < newest_s:
            return Refusal(RefusalReason.OUT_OF_ORDER, f"the observation is {newest_s - stamp_s:.3f} s older than {words}")
        if age_s > limit_s:
            return Refusal(RefusalReason.STALE_OBSERVATION, f"the observation is {age_s:.3f} s old, the limit is {limit_s:g} s")
        if first_step >= self._shape[0]:
            words = f"all {self._shape[0]} steps of the chunk have passed since its observation, {first_step} steps ago"
            return Refusal(RefusalReason.STALE_OBSERVATION, words)
        return None

    def _check_targets(self, actions: NDArray[np.float64]) -> Refusal | None:
        outside = (actions < self._lower - ROUNDING) | (actions > self._upper + ROUNDING)
        if outside.any():
            step, column = np.argwhere(outside)[0]
            return Refusal(
                RefusalReason.POSITION_LIMIT,
                f"target of {self._labels[column]} at step {step} must be in {self._lower[column]:.4g}..{self._upper[column]:.4g}, "
                f"got {actions[step, column]:.4g}",
            )
        steps = np.abs(np.diff(actions[:, : self._dof], axis=0))
        far = steps > self._target_step + ROUNDING
        if far.any():
            step, column = np.argwhere(far)[0]
            return Refusal(
                RefusalReason.TARGET_STEP,
                f"targets of {self._labels[column]} at steps {step} and {step + 1} differ by {steps[step, column]:.3g} rad, "
                f"the limit is {self._target_step[column]:.3g} rad",
            )
        return None

    def _check_start(self, first: NDArray[np.float64], measured: MeasuredState | None, until_join_s: float, now_s: float) -> Refusal | None:
        age_s = math.inf if measured is None else now_s - measured.stamp_s
        if measured is None or age_s > self.config.max_state_age_s:
            words = f"the measured joints are {age_s:.3f} s old, the limit is {self.config.max_state_age_s:g} s"
            return Refusal(RefusalReason.STALE_STATE, words)
        jump = np.abs(first[: self._dof] - measured.positions[: self._dof])
        limit = self._velocity * (self.config.start_jump_s + max(0.0, age_s) + until_join_s) + ROUNDING
        if not (jump <= limit).all():
            column = int(np.argmax(jump / limit))
            return Refusal(
                RefusalReason.START_JUMP,
                f"the first target of {self._labels[column]} is {jump[column]:.3g} rad from the measured joint, "
                f"the limit is {limit[column]:.3g} rad",
            )
        return None
