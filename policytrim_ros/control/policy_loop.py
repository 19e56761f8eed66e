"""From what arrives on topics to what is sent: reader, joiner, executor and the memory of what was published, wired once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_ros.control.action_joints import ActionJoints
from policytrim_ros.control.chunk_executor import JOINT_STATES, ChunkExecutor, ExecutorState
from policytrim_ros.control.chunk_gate import ChunkAnswer
from policytrim_ros.control.commands import Ask, ChunkRecord, Command, Hold, Publish, Refused, StopReason
from policytrim_ros.control.joint_reader import JointReader
from policytrim_ros.control.observation_joiner import JoinedObservation, ObservationJoiner
from policytrim_ros.control.published_chunks import PublishedChunks


class Question(NamedTuple):
    """What the policy is asked with."""

    joined: JoinedObservation
    last_targets: NDArray[np.float64]  # that the arm was told before the observation: joints [rad] and opening, (n,)
    previous_stamp_s: float | None  # of the observation of the present chunk [s]; None after a start or stop
    consumed_steps: int  # steps of the present chunk before this observation


class Failure(NamedTuple):
    """A question that the policy gave no chunk for."""

    observation_stamp_s: float
    message: str


Order = Question | Publish | Refused | Hold
"""What a node carries out: ask, or send and report."""


class PolicyLoop:
    """Everything between topics and policy, without either; each method is told the time and returns what to carry out, in this order.

    Args:
        executor: decides.
        joints: what the columns of chunks are.
        joiner: makes observations; its frames are inputs of the executor's watchdog under the same names.
    """

    def __init__(self, executor: ChunkExecutor, joints: ActionJoints, joiner: ObservationJoiner) -> None:
        self.executor, self.joiner = executor, joiner
        self.num_published = self.num_refused = 0
        self._joints = joints
        self._reader = JointReader(joints)
        self._chunks = PublishedChunks(executor.config.control_dt_s)
        self._joined: JoinedObservation | None = None
        self._ticked_s = -math.inf

    # What a user asks for.

    def activate(self, now_s: float) -> None:
        """Begins to listen, and knows nothing of before: anyone may have moved the arm and its gripper since."""
        self.joiner.forget()
        self._reader = JointReader(self._joints)
        self._joined = None
        self._chunks = PublishedChunks(self.executor.config.control_dt_s)
        self.executor.activate(now_s)

    def deactivate(self, now_s: float) -> list[Order]:
        """Brakes and holds; what is returned is the last that may be sent."""
        return self._carried_out(self.executor.deactivate(now_s), now_s)

    def start(self, now_s: float) -> tuple[bool, str]:
        """Begins to ask and run; returns whether it did, and a sentence."""
        before = self.executor.state
        if not self.executor.start(now_s):
            hint = "; call policy/rearm" if before in (ExecutorState.BRAKING, ExecutorState.HOLDING) else ""
            return False, f"only a ready executor can start, it is {before.value}{hint}"
        return True, f"started; it waits for {self.waiting_for(now_s)}"

    def stop(
        self, now_s: float, reason: StopReason = StopReason.STOPPED, message: str = "the stop service was called"
    ) -> tuple[list[Order], str]:
        """Brakes and holds until `rearm`; returns a sentence too. A stop that there is already keeps its reason."""
        before = self.executor.state
        orders = self._carried_out(self.executor.stop(now_s, reason, message), now_s)
        return orders, f"{self.executor.state.value}; it was {before.value}"

    def rearm(self, now_s: float) -> tuple[bool, str]:
        """Goes on after a stop; returns whether it does, and why not."""
        before, reason = self.executor.state, self.executor.stop_reason
        if self.executor.rearm(now_s):
            return True, f"rearmed after {reason.value if reason else 'a stop'}; it waits for {self.waiting_for(now_s)}"
        if before is not ExecutorState.HOLDING:
            return False, f"only a holding executor can be rearmed, it is {before.value}"
        if moving := self.executor.moving:
            return False, f"the arm must rest before it goes on, {moving}"
        return False, f"joint states must be fresh before anything moves, {self.executor.stale(now_s)}"

    # What arrives.

    def joints_arrived(self, positions: Mapping[str, float], velocities: Mapping[str, float], stamp_s: float, now_s: float) -> list[Order]:
        """Takes joint states by name, see `JointReader.read`.

        Raises:
            MissingObservation: they say not where the arm is; nothing is changed.
        """
        measured = self._reader.read(positions, velocities, stamp_s)
        if measured is None:
            return []
        self.executor.joints_arrived(measured, now_s)
        self.joiner.joints_arrived(measured)
        return self._observed(now_s)

    def frame_arrived(self, name: str, frame: Any, stamp_s: float, now_s: float) -> list[Order]:
        """Takes an image or a pose."""
        self.executor.image_arrived(name, stamp_s, now_s)
        self.joiner.frame_arrived(name, frame, stamp_s)
        return self._observed(now_s)

    def instruction_arrived(self, instruction: str, now_s: float) -> list[Order]:
        """Takes the sentence that says what to do."""
        self.joiner.instruction_arrived(instruction)
        return self._observed(now_s)

    def answered(self, answer: ChunkAnswer | Failure, now_s: float) -> list[Order]:
        """Takes what became of a question.

        Raises:
            InvalidHorizon: as `ChunkExecutor.answer_arrived`.
        """
        if isinstance(answer, Failure):
            return self._carried_out(self.executor.answer_failed(*answer, now_s), now_s)
        return self._carried_out(self.executor.answer_arrived(answer, now_s), now_s, answer)

    def tick(self, now_s: float) -> list[Order]:
        """Notices what time brings; to be called 50 times a second or more."""
        if now_s < self._ticked_s:
            self.joiner.restart()  # stamps of before lie in a future that will come again
        self._ticked_s = now_s
        return self._carried_out(self.executor.tick(now_s), now_s)

    def waiting_for(self, now_s: float) -> str:
        """Returns what keeps a waiting executor from moving, in words; empty in other states."""
        waiting = self.executor.waiting_for(now_s)
        if self._reader.silent:
            waiting = waiting.replace(JOINT_STATES, f"{JOINT_STATES} of {', '.join(self._reader.silent)}")
        if waiting == "an observation" and self.joiner.newest() is None:
            return self.joiner.missing
        return ", ".join(dict.fromkeys([waiting, "instruction"])) if waiting and "instruction" in self.joiner.missing else waiting

    def _observed(self, now_s: float) -> list[Order]:
        joined = self.joiner.newest()
        if joined is None or (self._joined is not None and joined.stamp_s == self._joined.stamp_s):
            return []
        self._joined = joined
        return self._carried_out(self.executor.observation_arrived(joined.stamp_s, now_s), now_s)

    def _carried_out(self, commands: list[Command], now_s: float, answer: ChunkAnswer | None = None) -> list[Order]:
        """Remembers what is published, and makes of the wish to ask the question itself."""
        orders: list[Order] = []
        for command in commands:
            if isinstance(command, Ask):
                orders.append(self._question(command))
                continue
            if isinstance(command, Publish):
                assert answer is not None
                self.num_published += 1
                self._chunks.published(command.record, np.asarray(answer.actions, dtype=np.float64), self._last_step(command.record))
            elif isinstance(command, Hold):
                self._chunks.stopped(now_s, self._joints.has_gripper)
            else:
                self.num_refused += 1
            orders.append(command)
        return orders

    def _last_step(self, record: ChunkRecord) -> int:
        """Returns how many steps of a published chunk may run: all, where the arm goes on with it while the next one is not there."""
        if self.executor.config.asynchronous:
            return record.chunk_size
        return max(record.execute_horizon, (record.dropped_steps or 0) + 1)

    def _question(self, ask: Ask) -> Question:
        joined, chunks = self._joined, self._chunks
        assert joined is not None and joined.stamp_s == ask.observation_stamp_s
        measured = joined.positions.copy()
        if self._joints.has_gripper:
            measured[-1] = np.clip(self._joints.robot.opening(measured[-1]), 0.0, 1.0)
        stamp_s = joined.stamp_s
        return Question(joined, chunks.last_targets(stamp_s, measured), chunks.newest_observation_s, chunks.consumed_steps(stamp_s))
