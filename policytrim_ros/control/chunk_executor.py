"""When the policy is asked, what is sent to the arm, and when it is stopped: a state machine without threads, topics or clocks."""

from __future__ import annotations

import math
from enum import Enum

from policytrim_gym.chunk import check_horizon
from policytrim_ros.control.action_joints import ActionJoints
from policytrim_ros.control.braking import braking_waypoints, held_longer
from policytrim_ros.control.chunk_gate import ChunkAnswer, ChunkGate, Refusal, RefusalReason
from policytrim_ros.control.chunk_trajectory import ChunkPlanner
from policytrim_ros.control.commands import (
    NOT_ARMED,
    POLICY_FAILED,
    PUBLISHED,
    Ask,
    ChunkRecord,
    Command,
    Hold,
    Publish,
    Refused,
    StopReason,
)
from policytrim_ros.control.execution_timeline import ExecutionTimeline
from policytrim_ros.control.executor_config import ExecutorConfig
from policytrim_ros.control.latency_estimator import LatencyEstimator
from policytrim_ros.control.motion_state import MeasuredState
from policytrim_ros.control.observation_period import ObservationPeriod
from policytrim_ros.control.running_chunk import PendingQuestion, RunningChunk
from policytrim_ros.control.trajectory_gate import TrajectoryGate
from policytrim_ros.control.watchdog import Expiry, Watchdog

JOINT_STATES = "joint_states"
POLICY = "policy"
"""Names in the watchdog; every other one is an image."""


class ExecutorState(str, Enum):
    """What the executor is doing."""

    INACTIVE = "inactive"
    READY = "ready"  # active, at rest; `start` begins
    WAITING = "waiting"  # at rest, for an observation or an answer
    EXECUTING = "executing"
    BRAKING = "braking"
    HOLDING = "holding"  # until `rearm`


class ChunkExecutor:
    """Runs chunks one after another on an arm, and stops it whenever something is wrong.

    Every method is told the time and returns the commands that a node carries out in their order; the node decides nothing. Chunk index
    i belongs to the control step that begins i steps after the chunk's observation. When a chunk takes over, those of its steps that the
    arm has run since then are dropped: never squeezed into less time, and none is left out because the arm waited. A chunk runs up to its
    execute_horizon; the next one is asked for as many steps earlier as an answer takes. While none is there the arm goes on with the
    chunk's rest, and then holds. A horizon h with a lead of d steps runs what `ChunkQueue` runs with execute_horizon h - d and
    inference_delay_steps d.

    After any stop nothing is sent but braking and holding until `rearm`, and nothing then that was observed before it.

    Args:
        config: the settings.
        joints: what the columns of chunks are.
        gate: checks answers.
        watchdog: with the inputs "joint_states" and one for each image, and the answer "policy".
        latency: how early to ask.

    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> joints = ActionJoints(load_robot("policytrim_arm"))
    >>> config = ExecutorConfig(control_dt_s=0.05, chunk_size=8, execute_horizon=4)
    >>> watchdog = Watchdog({"joint_states": 0.2}, {"policy": 2.0})
    >>> executor = ChunkExecutor(config, joints, ChunkGate(joints, 8), watchdog, LatencyEstimator(0.05))
    >>> executor.activate(now_s=10.0)
    >>> executor.start(now_s=10.0)
    True
    >>> executor.waiting_for(now_s=10.0)
    'joint_states'
    """

    def __init__(
        self, config: ExecutorConfig, joints: ActionJoints, gate: ChunkGate, watchdog: Watchdog, latency: LatencyEstimator
    ) -> None:
        self.config, self.latency = config, latency
        self.state = ExecutorState.INACTIVE
        self.stop_reason: StopReason | None = None
        self.stop_message = ""
        self._joints, self._gate, self._watchdog = joints, gate, watchdog
        self._planner = ChunkPlanner(joints.limits, config.control_dt_s, config.points_per_step, config.settle_s)
        self._trajectory_gate = TrajectoryGate(joints.names, joints.limits, config.control_dt_s)
        self._measured: MeasuredState | None = None
        self._timeline: ExecutionTimeline | None = None
        self._observed_s = self._asked_stamp_s = -math.inf
        self._period = ObservationPeriod()
        self._pending: PendingQuestion | None = None
        self._running: RunningChunk | None = None
        self._num_refusals = 0
        self._measured_hold_due = False

    # What a user asks for.

    def activate(self, now_s: float) -> None:
        """Begins to listen; nothing moves before `start`."""
        if self.state is ExecutorState.INACTIVE:
            self._timeline = self._measured = None
            self._watchdog.restart()
            self._watchdog.check_clock(now_s)  # the time without ticks is no jump
            self._rest(ExecutorState.READY, now_s)

    def start(self, now_s: float) -> bool:
        """Begins to ask and run; returns False, and does nothing, unless the executor is ready."""
        if self.state is not ExecutorState.READY:
            return False
        self._rest(ExecutorState.WAITING, now_s)
        return True

    def stop(self, now_s: float, reason: StopReason = StopReason.STOPPED, message: str = "") -> list[Command]:
        """Brakes and holds until `rearm`; a stop that there is already keeps its reason."""
        return self._stop(reason, message, now_s)

    def rearm(self, now_s: float) -> bool:
        """Goes on after a stop, from where the arm is measured, with fresh observations.

        Returns False, and does nothing, unless the executor holds and the arm was measured at rest since.
        """
        if self.state is not ExecutorState.HOLDING or self.moving or self.stale(now_s):
            return False
        measured = self._measured
        assert measured is not None
        if self._timeline is not None:
            self._timeline.rest(self._joints.measured_arm(measured.motion, self._timeline.reference(now_s)).positions, now_s)
        self._rest(ExecutorState.WAITING, now_s)
        return True

    def stale(self, now_s: float) -> str:
        """Says why the measured joints are too old to move from, as words; empty when they are fresh."""
        if self._measured is None:
            return "none came"
        if self._measured_hold_due:
            return "none came since the arm was braked"
        age_s, limit_s = now_s - self._measured.stamp_s, self._gate.config.max_state_age_s
        return f"the newest are {age_s:.3f} s old, the limit is {limit_s:g} s" if age_s > limit_s else ""

    def deactivate(self, now_s: float) -> list[Command]:
        """Brakes and holds, and listens no more; what is returned is the last that may be sent."""
        commands = self._stop(StopReason.DEACTIVATED, "the node was deactivated", now_s)
        self.state = ExecutorState.INACTIVE
        return commands

    # What arrives.

    def joints_arrived(self, measured: MeasuredState, now_s: float) -> None:
        """Takes the arm's measured joints."""
        self._watchdog.arrived(JOINT_STATES, measured.stamp_s, now_s)
        if self._measured is None or measured.stamp_s > self._measured.stamp_s:
            self._measured = measured

    def image_arrived(self, name: str, stamp_s: float, now_s: float) -> None:
        """Notes that an image of a camera came, by its name in the watchdog."""
        self._watchdog.arrived(name, stamp_s, now_s)

    def observation_arrived(self, stamp_s: float, now_s: float) -> list[Command]:
        """Notes that a whole observation is there, whose newest part is of this stamp.

        A question that is due before the next one can be made is asked now: later it would be asked with this observation, too. It is
        asked half a control step early at most, and not before the present chunk has taken over.
        """
        self._period.arrived(stamp_s)
        self._observed_s = stamp_s
        until_next_s = stamp_s + self._period.shortest_s - now_s  # below 0 where this one came late: the next may be in the same queue
        return self._ask(now_s, min(max(0.0, until_next_s), 0.5 * self.config.control_dt_s))

    def answer_arrived(self, answer: ChunkAnswer, now_s: float) -> list[Command]:
        """Takes the policy's answer: publishes it, or refuses it as a whole.

        Raises:
            InvalidHorizon: the answer brings an execute_horizon outside 1..chunk_size.
        """
        was_asked, inference_s = self._answered(answer.observation_stamp_s, answer.inference_s, now_s)
        if self.state not in (ExecutorState.WAITING, ExecutorState.EXECUTING):
            return [self._refused(answer, inference_s, NOT_ARMED, f"the executor is {self.state.value}", now_s)]
        expiry = self._watchdog.expired(now_s)
        if expiry is not None:
            return [self._refused(answer, inference_s, NOT_ARMED, expiry.message, now_s), *self._stop_for(expiry, now_s)]
        result = self._join(answer, inference_s, now_s)
        if isinstance(result, Publish):
            self._num_refusals = 0
            return [result]
        refused = self._refused(answer, inference_s, result.reason.value, result.message, now_s)
        if not was_asked:
            return [refused]  # one that came twice, or is from before a stop, says nothing about the policy
        return [refused, *self._count_refusal(StopReason.CHUNKS_REFUSED, result.message, now_s)]

    def answer_failed(self, observation_stamp_s: float, message: str, now_s: float) -> list[Command]:
        """Takes note that the policy gave no chunk for an observation: an error, a lost connection."""
        answer = ChunkAnswer(None, (), observation_stamp_s)
        was_asked, inference_s = self._answered(observation_stamp_s, None, now_s)
        refused = self._refused(answer, inference_s, POLICY_FAILED, message, now_s)
        if self.state not in (ExecutorState.WAITING, ExecutorState.EXECUTING) or not was_asked:
            return [refused]
        return [refused, *self._count_refusal(StopReason.POLICY_FAILED, message, now_s)]

    def tick(self, now_s: float) -> list[Command]:
        """Notices what time brings: a silent input, the end of motion, the moment to ask. To be called 50 times a second or more."""
        jump = self._watchdog.check_clock(now_s)
        if self.state is ExecutorState.INACTIVE:
            return []
        if jump is not None:
            return self._clock_jumped(jump, now_s)
        resting = self._timeline is None or self._timeline.at_rest(now_s)
        if self.state is ExecutorState.BRAKING and resting:
            self.state = ExecutorState.HOLDING
        if self.state is ExecutorState.HOLDING:
            return self._hold_measured(now_s)
        if self.state is ExecutorState.EXECUTING or self._pending is not None:
            expiry = self._watchdog.expired(now_s)
            if expiry is not None:
                return self._stop_for(expiry, now_s)
        if self.state is ExecutorState.EXECUTING and resting:
            self.state = ExecutorState.WAITING
        return self._ask(now_s)

    def waiting_for(self, now_s: float) -> str:
        """Returns what keeps a waiting executor from moving, in words; empty in other states."""
        if self.state is not ExecutorState.WAITING:
            return ""
        if self._watchdog.missing:
            return ", ".join(self._watchdog.missing)
        if self._pending is not None:
            return "the policy"
        expiry = self._watchdog.expired(now_s)
        if expiry is not None:
            return expiry.message
        return f"the arm to rest, {self.moving}" if self._timeline is None and self.moving else "an observation"

    @property
    def moving(self) -> str:
        """Which joint is measured too fast to rest when motion can take over, in words; empty: none."""
        return "" if self._measured is None else self._joints.moving(self._measured.motion, self.config.publish_lead_s)

    # How it is done.

    def _rest(self, state: ExecutorState, now_s: float) -> None:
        """Enters a state in which nothing moves and nothing of before counts."""
        self.state = state
        self.stop_reason, self.stop_message = None, ""
        self._gate.restart(now_s)
        self._forget_question()
        self._running = None
        self._observed_s = self._asked_stamp_s = now_s
        self._num_refusals = 0
        self._measured_hold_due = False

    def _forget_question(self) -> None:
        self._pending = None
        self._watchdog.answered(POLICY)

    def _ask(self, now_s: float, early_s: float = 0.0) -> list[Command]:
        """Returns the question when it is time for one, and an observation is there that was not asked with before."""
        if self.state not in (ExecutorState.WAITING, ExecutorState.EXECUTING) or self._pending is not None:
            return []
        if self._timeline is None and self.moving:
            return []  # by whom, nobody here knows; braking of before a deactivation ends soon
        stamp_s, after_s = self._observed_s, self._asked_stamp_s
        running = self._running
        if running is not None:
            lead, early_s = (self.latency.lead_steps, early_s) if self.config.asynchronous else (0, 0.0)
            due_s = running.ask_s(lead, early_s, self.config.control_dt_s)
            useful_s = running.useful_s(self.config.chunk_size, self.config.control_dt_s)
            after_s = max(after_s, useful_s if self.config.asynchronous else due_s)
            if now_s < due_s - 1e-9:
                return []
        fresh = now_s - stamp_s <= self._gate.config.max_observation_age_s
        if stamp_s <= after_s or not fresh or self._watchdog.missing or self._watchdog.expired(now_s) is not None:
            return []
        self._pending = PendingQuestion(stamp_s, now_s)
        self._asked_stamp_s = stamp_s
        self._watchdog.expect(POLICY, now_s)
        return [Ask(stamp_s)]

    def _answered(self, observation_stamp_s: float, inference_s: float | None, now_s: float) -> tuple[bool, float | None]:
        """Ends the wait when this is what was asked for; returns whether it is, and the inference time."""
        pending = self._pending
        if pending is None or pending.observation_stamp_s != observation_stamp_s:
            return False, inference_s
        self.latency.record(now_s - pending.asked_s)
        self._forget_question()
        return True, now_s - pending.asked_s if inference_s is None else inference_s

    def _join(self, answer: ChunkAnswer, inference_s: float | None, now_s: float) -> Publish | Refusal:
        """Checks an answer, makes motion of it, checks that, and takes it over; or changes nothing."""
        config, measured, timeline, running = self.config, self._measured, self._timeline, self._running
        if timeline is None and measured is not None:
            timeline = ExecutionTimeline(measured.motion, now_s, config.control_dt_s)
            timeline.rest(measured.positions, now_s)
        join, first_step, until_join_s = 0.0, 0, 0.0
        if timeline is not None:
            # Until its horizon the present chunk goes on, also when the next one is early.
            not_before_s = -math.inf if running is None else running.step_s(running.execute_horizon, config.control_dt_s)
            join = timeline.next_join(now_s, config.publish_lead_s, not_before_s)
            first_step = timeline.executed_steps(answer.observation_stamp_s, timeline.clock_s(join))
            until_join_s = timeline.clock_s(join) - now_s
        refusal = self._gate.check(answer, measured, first_step, until_join_s, now_s)
        if refusal is not None or timeline is None:
            return refusal or Refusal(RefusalReason.STALE_STATE, "no joints were measured yet")
        horizon = self._horizon(answer)
        last = config.chunk_size if config.asynchronous else max(horizon, first_step + 1)
        targets = self._joints.targets(answer.actions)[first_step:last]
        waypoints, stamp_s = timeline.splice(join, self._planner.plan(targets, timeline.joining(join)), self._begin_s(now_s))
        trajectory = self._joints.trajectory(waypoints, stamp_s)
        refusal = self._trajectory_gate.check(trajectory, timeline.reference(stamp_s))
        if refusal is not None:
            return refusal
        timeline.published(trajectory, join, len(targets))
        self._timeline = timeline
        self._gate.accept(answer.observation_stamp_s)
        self._running = RunningChunk(timeline.clock_s(join), first_step, horizon)
        self.state = ExecutorState.EXECUTING
        record = ChunkRecord(
            stamp_s, answer.observation_stamp_s, horizon, config.chunk_size, first_step, timeline.clock_s(join), inference_s,
            now_s - answer.observation_stamp_s, PUBLISHED, "", config.control_dt_s, config.asynchronous,
        )  # fmt: skip
        return Publish(*self._joints.parted(trajectory), record)

    def _begin_s(self, now_s: float) -> float:
        """Returns the stamp of what is sent now [s]."""
        return now_s + (self.config.publish_lead_s if self.config.replacement == "stamp" else 0.0)

    def _horizon(self, answer: ChunkAnswer) -> int:
        if answer.execute_horizon is None:
            return self.config.execute_horizon
        return check_horizon(answer.execute_horizon, self.config.chunk_size)

    def _refused(self, answer: ChunkAnswer, inference_s: float | None, verdict: str, message: str, now_s: float) -> Refused:
        horizon = answer.execute_horizon or self.config.execute_horizon
        age_s, config = now_s - answer.observation_stamp_s, self.config
        known = (None, answer.observation_stamp_s, horizon, config.chunk_size, None, None, inference_s, age_s, verdict, message)
        return Refused(ChunkRecord(*known, config.control_dt_s, config.asynchronous))

    def _count_refusal(self, reason: StopReason, message: str, now_s: float) -> list[Command]:
        """Stops after too many refused or failed answers in a row; else the next observation is asked with."""
        self._num_refusals += 1
        if self._num_refusals < self.config.max_refusals:
            return []
        return self._stop(reason, f"{self._num_refusals} answers in a row were refused or failed, the last one: {message}", now_s)

    def _stop_for(self, expiry: Expiry, now_s: float) -> list[Command]:
        silent = {JOINT_STATES: StopReason.JOINT_STATES_SILENT, POLICY: StopReason.POLICY_SILENT}
        return self._stop(silent.get(expiry.name, StopReason.IMAGE_SILENT), expiry.message, now_s)

    def _clock_jumped(self, jump: Expiry, now_s: float) -> list[Command]:
        """Stops, and believes nothing any more that was stamped before; where nothing was started there is nothing to stop."""
        if self.state is ExecutorState.BRAKING:
            self.state = ExecutorState.EXECUTING  # its end lies on the old clock: it brakes anew
        if jump.went_back and self._timeline is not None:
            # The commanded motion lies in a future that will come again: only the measured joints say where the arm is, or its end where
            # none came since the last jump. After a jump forward, which may be this process that stood still, they are old, and the
            # controller has gone on as commanded.
            end = self._timeline.reference(math.inf)
            motion = end if self._measured is None else self._joints.measured_arm(self._measured.motion, end)
            self._timeline = ExecutionTimeline(motion, now_s, self.config.control_dt_s)
        commands: list[Command] = []
        if self.state is ExecutorState.READY:
            self._rest(ExecutorState.READY, now_s)  # a simulated clock begins with a jump
        else:
            commands = self._stop(StopReason.CLOCK_JUMPED, jump.message, now_s, 0.0 if jump.went_back else None)
        self._watchdog.restart()
        self._measured = None
        return commands

    def _stop(self, reason: StopReason, message: str, now_s: float, join: float | None = None) -> list[Command]:
        """Brakes from the present motion and holds; what brakes already goes on with it.

        Args:
            reason, message: why.
            now_s: present time [s].
            join: when braking takes over [s since the grid began]; None: as soon as a message reaches the controller.
        """
        if self.state in (ExecutorState.INACTIVE, ExecutorState.BRAKING, ExecutorState.HOLDING):
            return []
        self._rest(ExecutorState.HOLDING, now_s)
        self.stop_reason, self.stop_message = reason, message
        if self._timeline is None:
            return []  # nothing was commanded, and someone else may be moving the arm
        self.state = ExecutorState.BRAKING
        self._measured_hold_due = True
        if self.config.replacement == "stamp":
            self._timeline.drop_waiting(now_s)
        return [self._hold(self._timeline.soon(now_s, self.config.publish_lead_s) if join is None else join, now_s)]

    def _hold(self, join: float, now_s: float) -> Hold:
        timeline = self._timeline
        assert timeline is not None and self.stop_reason is not None
        motion = braking_waypoints(timeline.joining(join), self._joints.limits.acceleration)
        waypoints, stamp_s = timeline.splice(join, motion, self._begin_s(now_s))
        trajectory = self._joints.trajectory(waypoints, stamp_s)
        timeline.published(trajectory, join, num_steps=0)
        return Hold(*self._joints.parted(held_longer(trajectory)), self.stop_reason, self.stop_message)

    def _hold_measured(self, now_s: float) -> list[Command]:
        """Once the arm rests and was measured since, holds it there: an arm that was blocked or unpowered must not go on later."""
        timeline, measured = self._timeline, self._measured
        if not self._measured_hold_due or timeline is None or measured is None or measured.stamp_s < timeline.end_s:
            return []
        self._measured_hold_due = False
        timeline.rest(self._joints.measured_arm(measured.motion, timeline.reference(now_s)).positions, now_s)
        return [self._hold(0.0, now_s)]
