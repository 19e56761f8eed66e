"""What chunks and rollouts cost on the arm, from what is published anyway: no node has to report to it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.metrics import RolloutRecord
from policytrim_gym.robot.robot_model import RobotModel
from policytrim_gym.robot.shortest_time import shortest_duration_s
from policytrim_ros.control.chunk_execution import ChunkExecution, EndedRollout, EndReason
from policytrim_ros.control.commands import PUBLISHED, ChunkRecord
from policytrim_ros.control.execution_log import ExecutionLog, answered_s, asked_s, counted_s, stamp_of
from policytrim_ros.control.joint_history import JointHistory
from policytrim_ros.control.step_progress import Progress, StepProgress
from policytrim_ros.control.tracking import TrackingError, commanded_positions, rest_s, tracking_error
from policytrim_ros.control.trajectory import Trajectory

NOT_ASKED = ("duplicate", "out_of_order")
"""Verdicts on messages that came twice or late: the policy was not asked for them."""
REASON_WAIT_S = 1.5
"""The policy's node tells the reason of a stop once a second [s]."""
MESSAGE_S = 0.1
"""A stop may be stamped so much after it was decided [s]."""
KEPT_S = 10.0
"""What is older, and over, is forgotten [s]."""
CLOCK_BACK_S = 0.5
MOST_PATH_STEPS = 5000
"""Of longer rollouts the motion is not compared with the shortest: that would take seconds."""


@dataclass(frozen=True)
class MonitorConfig:
    """How the monitor counts.

    Args:
        control_dt_s: length of a control step of a chunk whose record does not say it [s].
        asynchronous: whether the arm goes on with a chunk beyond its execute_horizon while the next one is not there, likewise.
        still_velocity: up to which a joint stands still [rad/s], [m/s].
        settle_s: messages arrive at most this much later than others of the same moment [s]; results come that much later.
        stop_grace_s: a stop so soon after a rollout's end belongs to it: what ran between them counts to no rollout [s].

    Raises:
        InvalidConfig: a value out of range.
    """

    control_dt_s: float = 0.05
    asynchronous: bool = True
    still_velocity: float = 0.02
    settle_s: float = 0.5
    stop_grace_s: float = 2.0

    def __post_init__(self) -> None:
        for name in ("control_dt_s", "still_velocity", "settle_s", "stop_grace_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0) or (value == 0 and name == "control_dt_s"):
                raise InvalidConfig(f"{name} must be a finite number of at least 0, control_dt_s above 0; got {value} for {name}")

    def disagreements(self, record: ChunkRecord) -> dict[str, str]:
        """Returns a sentence for each setting here that a record says otherwise, by its name; the record's counts.

        >>> record = ChunkRecord(10.1, 10.0, 8, 16, 0, 10.1, 0.1, 0.1, "published", control_dt_s=0.1, asynchronous=True)
        >>> MonitorConfig().disagreements(record)
        {'control_dt_s': 'control_dt_s is 0.05 here and 0.1 in chunk_info, which counts'}
        """
        said = {"control_dt_s": (self.control_dt_s, record.control_dt_s), "asynchronous": (self.asynchronous, record.asynchronous)}
        return {
            name: f"{name} is {ours} here and {theirs} in chunk_info, which counts"
            for name, (ours, theirs) in said.items()
            if theirs is not None and not math.isclose(ours, theirs, rel_tol=1e-6)
        }


class _End(NamedTuple):
    at_s: float
    reason: EndReason
    detail: str = ""


class ExecutionMonitor:
    """Follows chunks from their publication to their end.

    A published chunk takes over at its `join_s` and runs until the next one takes over, it has no steps left, the arm is stopped, or the
    rollout ends, whatever comes first: `executed_steps` is that time in control steps, and their sum is the rollout's `steps`. How long a
    step is and whether steps beyond the horizon run, its record says; `config` where it does not. Everything
    follows from stamps, not from when and in which order messages came, as long as none is later than `settle_s`; what comes twice
    counts once. Only lost joint states are measured around; a lost record makes its trajectory look like a stop.

    A rollout begins with the first answer of the policy after the last one's end, and after the stop that followed it within
    `stop_grace_s`. What a chunk runs after the end counts to no rollout.

    Args:
        robot: its joints are compared, its limits give the shortest motion, its gripper's joints count as moving too.
        config: the settings.

    >>> from policytrim_gym.robot.robot_model import load_robot
    >>> monitor = ExecutionMonitor(load_robot("policytrim_arm"))
    >>> for number in range(2):  # two chunks of 16 steps, the second takes over after 8
    ...     asked = 10.0 + 0.4 * number
    ...     monitor.chunk_info_arrived(ChunkRecord(asked + 0.1, asked, 8, 16, 2 * number, asked + 0.1, 0.1, 0.1, "published"), asked + 0.1)
    >>> monitor.end_rollout(success=True, now_s=10.65)
    True
    >>> [(chunk.executed_steps, chunk.reason.value) for chunk in monitor.tick(now_s=12.0)[:2]]
    [(8, 'replaced'), (3, 'rollout_ended')]
    """

    def __init__(self, robot: RobotModel, config: MonitorConfig | None = None) -> None:
        self.config = config or MonitorConfig()
        self._arm, self._limits = robot.config.joints, robot.arm_limits
        self._gripper = dict.fromkeys(robot.config.gripper.joints, 0.0)  # newest positions; until there is one they stand still
        self.num_rollouts = 0
        self.num_restarts = 0
        self._restart(-math.inf)

    def _restart(self, now_s: float) -> None:
        """Forgets everything but the number of rollouts."""
        self._now_s = now_s
        self._log = ExecutionLog(self.config.settle_s)
        self._history = JointHistory((*self._arm, *self._gripper))
        self._progress = StepProgress(self.config.control_dt_s, self.config.still_velocity)
        self._ends: deque[tuple[float, bool]] = deque()
        self._last_end_s = -math.inf
        self._begun_s: float | None = -math.inf  # None while a stop can still come that belongs to the last end
        self._final_stamp_s = -math.inf
        self._contiguous_s = -math.inf
        self._stop_reasons: deque[tuple[float, str]] = deque(maxlen=32)
        self._executions: list[ChunkExecution] = []
        self._path: list[NDArray[np.float64]] = []
        self._path_s = 0.0
        self._path_known = True

    # What arrives.

    def trajectory_arrived(self, trajectory: Trajectory, now_s: float) -> None:
        """Takes what was published to the arm's controller."""
        self._log.add_trajectory(trajectory, now_s)

    def chunk_info_arrived(self, record: ChunkRecord, now_s: float) -> None:
        """Takes what the policy's node said of an answer."""
        if record.verdict not in NOT_ASKED and (record.verdict != PUBLISHED or stamp_of(record) > self._final_stamp_s):
            self._log.add_record(record)

    def joints_arrived(self, positions: Mapping[str, float], stamp_s: float) -> None:
        """Takes measured joints [rad], [m]; those of the gripper may come in messages of their own.

        Raises:
            MissingObservation: some of the arm's joints without the others, or a number that is not finite.
        """
        self._gripper |= {name: positions[name] for name in self._gripper if name in positions}
        if any(name in positions for name in self._arm):
            self._history.add({**self._gripper, **positions}, stamp_s)

    def stop_reason_arrived(self, reason: str, stamp_s: float) -> None:
        """Takes the reason for which the policy's node says, at a time, that it has stopped."""
        self._stop_reasons.append((stamp_s, reason))

    def end_rollout(self, success: bool, now_s: float) -> bool:
        """Ends the rollout; returns False, and does nothing, when no chunk was published since the last one ended."""
        begin_s = max(self._begin_s(), self._ends[-1][0] if self._ends else -math.inf)
        if not any(begin_s < counted_s(call) <= now_s for call in self._log.calls if call.verdict == PUBLISHED):
            return False
        self._ends.append((now_s, success))
        return True

    # What comes of it.

    @property
    def running(self) -> ChunkRecord | None:
        """The oldest chunk that has not ended."""
        return self._log.chunks[0] if self._log.chunks else None

    def tick(self, now_s: float) -> list[ChunkExecution | EndedRollout]:
        """Returns what has ended, in order: each chunk once, each rollout after its chunks. To be called several times a second."""
        if now_s < self._now_s - CLOCK_BACK_S:
            self.num_restarts += 1
            self._restart(now_s)
        self._now_s = now_s
        if self._begun_s is None and not self._stop_can_come:
            self._begun_s = self._begin_s()
        results: list[ChunkExecution | EndedRollout] = []
        while True:
            chunk = self.running
            if self._ends and (chunk is None or answered_s(chunk) > self._ends[0][0]):
                if now_s < self._ends[0][0] + self.config.settle_s:
                    break
                results += self._rollout(*self._ends.popleft())
            elif chunk is not None and (end := self._settled_end(chunk)) is not None:
                results.append(self._execution(chunk, end))
            else:
                break
        self._forget()
        return results

    def _begin_s(self) -> float:
        """Returns after which time answers belong to the next rollout [s]."""
        if self._begun_s is not None:
            return self._begun_s
        stop_s = self._log.first_stop(self._last_end_s)
        stopped = stop_s is not None and stop_s <= self._last_end_s + self.config.stop_grace_s
        return stop_s if stopped and stop_s is not None else self._last_end_s

    def _settled_end(self, chunk: ChunkRecord) -> _End | None:
        """Returns when and why a chunk ran no further; None while that can still change."""
        stamp_s, now_s, settle_s = stamp_of(chunk), self._now_s, self.config.settle_s
        possible = []
        following = self._log.next_chunk(stamp_s)
        if following is not None:
            join_s = _join_s(following)
            held = join_s > self._runout_s(chunk) + self._dt_s(chunk) / 2
            possible.append(_End(join_s, EndReason.HELD if held else EndReason.REPLACED))
        stop_s = self._log.first_stop(stamp_s)
        if stop_s is not None:
            possible.append(_End(stop_s, EndReason.STOPPED))
        if self._ends:
            possible.append(_End(self._ends[0][0], EndReason.ROLLOUT_ENDED))
        end = min(possible, key=lambda end: end.at_s, default=None)
        if end is None or now_s < end.at_s + settle_s or self._log.unclear(stamp_s, end.at_s, now_s):
            return None
        if self._stop_can_come and self._begin_s() == self._last_end_s:
            return None  # it would make the chunk a rest of the last rollout
        if end.reason is EndReason.STOPPED:
            detail = next((reason for at_s, reason in self._stop_reasons if at_s >= end.at_s - MESSAGE_S), "")
            return end._replace(detail=detail) if detail or now_s >= end.at_s + settle_s + REASON_WAIT_S else None
        return end

    @property
    def _stop_can_come(self) -> bool:
        """Whether the stop that follows a rollout's end can still arrive."""
        return self._now_s < self._last_end_s + self.config.stop_grace_s + self.config.settle_s

    def _dt_s(self, chunk: ChunkRecord) -> float:
        """Returns the length of a chunk's steps [s]."""
        return self.config.control_dt_s if chunk.control_dt_s is None else chunk.control_dt_s

    def _num_steps(self, chunk: ChunkRecord) -> int:
        """Returns how many steps a chunk has from where it takes over."""
        first = chunk.dropped_steps or 0
        asynchronous = self.config.asynchronous if chunk.asynchronous is None else chunk.asynchronous
        return (chunk.chunk_size if asynchronous else max(chunk.execute_horizon, first + 1)) - first

    def _runout_s(self, chunk: ChunkRecord) -> float:
        """Returns when a chunk's last step ends [s]."""
        return _join_s(chunk) + self._num_steps(chunk) * self._dt_s(chunk)

    def _execution(self, chunk: ChunkRecord, end: _End) -> ChunkExecution:
        """Measures a chunk that has ended, and takes it off the open ones."""
        self._log.chunks.remove(chunk)
        self._final_stamp_s = stamp_of(chunk)
        join_s, runout_s = _join_s(chunk), self._runout_s(chunk)
        steps = math.floor((end.at_s - join_s) / self._dt_s(chunk) + 0.5)
        steps = min(max(steps, 0), self._num_steps(chunk))
        trajectory = self._log.trajectory(stamp_of(chunk))
        rests_s = runout_s if trajectory is None else max(runout_s, rest_s(trajectory, self.config.still_velocity))
        counts = answered_s(chunk) > self._begin_s()
        execution = ChunkExecution(
            record=chunk,
            rollout=self.num_rollouts + 1 if counts else 0,
            executed_steps=steps,
            end_s=end.at_s,
            reason=end.reason,
            detail=end.detail,
            gap_s=max(0.0, end.at_s - runout_s),
            tracking=self._tracking(trajectory, join_s, min(end.at_s, max(runout_s, rests_s))),
            progress=self._followed(chunk, steps),
        )
        if counts:
            self._executions.append(execution)
            self._extend_path(trajectory, chunk, min(end.at_s, rests_s))
        return execution

    def _tracking(self, trajectory: Trajectory | None, begin_s: float, end_s: float) -> TrackingError | None:
        if trajectory is None or not set(self._arm) <= set(trajectory.joint_names):
            return None
        times, measured = self._history.between(begin_s, end_s)
        if len(times) == 0:
            return None
        commanded = commanded_positions(trajectory, self._arm, times)
        return tracking_error(commanded, measured[:, : len(self._arm)], self._arm)

    def _followed(self, chunk: ChunkRecord, steps: int) -> Progress | None:
        """Returns what came of a chunk's steps, together with those before it when the arm did not wait between them."""
        join_s, dt_s = _join_s(chunk), self._dt_s(chunk)
        if dt_s != self._progress.control_dt_s:
            self._progress = StepProgress(dt_s, self.config.still_velocity)
        if join_s > self._contiguous_s + dt_s / 2:
            self._progress.restart()
        self._contiguous_s = join_s + steps * dt_s
        positions = self._history.at(_grid(join_s, dt_s, 0, steps)) if steps else None
        if positions is None:
            self._progress.restart()
            return None
        return self._progress.follow(positions)

    def _extend_path(self, trajectory: Trajectory | None, chunk: ChunkRecord, end_s: float) -> None:
        """Adds to the rollout's path where the arm was commanded to be, once a control step while it moved."""
        if trajectory is None or not set(self._arm) <= set(trajectory.joint_names):
            self._path_known = False
            return
        join_s, dt_s = _join_s(chunk), self._dt_s(chunk)
        steps = max(0, math.floor((end_s - join_s) / dt_s + 0.5))
        self._path += list(commanded_positions(trajectory, self._arm, _grid(join_s, dt_s, 1 if self._path else 0, steps)))
        self._path_s += steps * dt_s

    def _rollout(self, end_s: float, success: bool) -> list[EndedRollout]:
        """Returns the rollout that ended, if anything ran in it, and begins the next one."""
        begin_s, first_ever = self._begin_s(), self._last_end_s == -math.inf
        calls = [call for call in self._log.calls if begin_s < counted_s(call) <= end_s]
        executions, path, path_s, path_known = self._executions, self._path, self._path_s, self._path_known
        self._last_end_s, self._begun_s = end_s, None
        self._executions, self._path, self._path_s, self._path_known = [], [], 0.0, True
        if not executions:
            return []
        self.num_rollouts += 1
        ran = {stamp_of(execution.record): execution.executed_steps for execution in executions}
        times = [call.inference_s for call in calls if call.inference_s is not None]
        motion = path_known and 1 < len(path) <= MOST_PATH_STEPS
        record = RolloutRecord.from_windows(
            success,
            [0 if call.stamp_s is None else ran.get(call.stamp_s, 0) for call in calls],
            max(call.chunk_size for call in calls),
            wall_clock_s=end_s - min(asked_s(call) for call in calls),
            inference_s=sum(times) if len(times) == len(calls) else None,
            motion_s=path_s if motion else None,
            shortest_s=shortest_duration_s(np.array(path), self._limits.velocity, self._limits.acceleration) if motion else None,
        )
        began_here = not first_ever or not executions[0].record.dropped_steps
        return [EndedRollout(self.num_rollouts, record, tuple(executions), began_here)]

    def _forget(self) -> None:
        """Forgets what no chunk can need any more."""
        before_s = self._now_s - KEPT_S - self.config.stop_grace_s
        chunks = self._log.chunks
        self._log.forget(min(before_s, stamp_of(chunks[0])) if chunks else before_s, self._last_end_s)
        windows = [(_join_s(chunk) - 0.2, self._runout_s(chunk) + 1.0) for chunk in chunks]
        self._history.forget([*windows, (self._now_s - 2.0, math.inf)])


def _join_s(record: ChunkRecord) -> float:
    assert record.join_s is not None
    return record.join_s


def _grid(join_s: float, dt_s: float, first: int, last: int) -> NDArray[np.float64]:
    """Returns the ends of control steps after a chunk took over [s]."""
    return np.array([join_s + step * dt_s for step in range(first, last + 1)])
