"""Laws of the execution monitor: what it counts is what ran, however the messages came."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from executor_rig import DT_S, FINGERS, ROBOT, Rig, following, walk

from policytrim_gym.errors import InvalidConfig, MissingObservation
from policytrim_gym.metrics import RolloutRecord
from policytrim_gym.robot.shortest_time import shortest_duration_s
from policytrim_ros.control.chunk_execution import ChunkExecution, EndReason
from policytrim_ros.control.commands import Ask, ChunkRecord, Hold, Publish, Refused
from policytrim_ros.control.execution_monitor import ExecutionMonitor, MonitorConfig
from policytrim_ros.control.joint_history import JointHistory
from policytrim_ros.control.step_progress import StepProgress
from policytrim_ros.control.trajectory import Trajectory

ARM = ROBOT.config.joints
LATE_S = 0.3
"""Messages are at most so late, less than the monitor waits for them."""


def messages_of(rig, until_s=math.inf):
    """Returns what the topics carried: (time, method of the monitor, its arguments)."""
    sent = []
    for at_s, command in rig.commands:
        if isinstance(command, (Publish, Hold)):
            sent.append((at_s, "trajectory_arrived", command.arm))
        if isinstance(command, (Publish, Refused)):
            sent.append((at_s, "chunk_info_arrived", command.record))
        if isinstance(command, Hold):
            sent.append((at_s, "stop_reason_arrived", command.reason.value))
    for at_s, state in rig.desired:
        positions = dict(zip(ARM, state.positions)) | dict.fromkeys(FINGERS, state.positions[-1])
        sent.append((at_s, "joints_arrived", positions))
    return [message for message in sorted(sent, key=lambda message: message[0]) if message[0] <= until_s]


def delivered(messages, arrivals_s, ends=(), config=None, until_s=None):
    """Lets a monitor hear messages when they arrive, ended by rollouts (time, success); returns what it said, chunks and rollouts."""
    monitor = ExecutionMonitor(ROBOT, config)
    events = [(at, "message", message) for at, message in zip(arrivals_s, messages)]
    events += [(at, "end", success) for at, success in ends]
    last_s = until_s or max(at for at, _, _ in events) + 5.0
    events += [(at, "tick", None) for at in np.arange(min(at for at, _, _ in events), last_s, 0.1)]
    said = []
    for now_s, kind, what in sorted(events, key=lambda event: event[0]):
        if kind == "tick":
            said += monitor.tick(now_s)
        elif kind == "end":
            assert monitor.end_rollout(what, now_s)
        elif what[1] in ("joints_arrived", "stop_reason_arrived"):
            getattr(monitor, what[1])(what[2], what[0])
        else:
            getattr(monitor, what[1])(what[2], now_s)
    return [item for item in said if isinstance(item, ChunkExecution)], [item for item in said if not isinstance(item, ChunkExecution)]


def silent_record(record):
    """Returns a record as one that does not know these keys gives it."""
    return dataclasses.replace(record, control_dt_s=None, asynchronous=None)


def heard(rig, *ends, config=None):
    messages = messages_of(rig)
    return delivered(messages, [message[0] for message in messages], ends, config)


def ran(rig, seconds):
    rig.run(seconds)
    return rig


@pytest.fixture(scope="module")
def smooth():
    """Six seconds of a policy that is always in time."""
    return ran(Rig(following(walk(1)), 0.12).begin(), 6.0)


@pytest.fixture(scope="module")
def stopped():
    """Two seconds, a stop, a rearm, two seconds."""
    rig = ran(Rig(following(walk(2)), 0.12).begin(), 2.0)
    rig.carry_out(rig.executor.stop(rig.now_s))
    ran(rig, 1.5)
    assert rig.executor.rearm(rig.now_s)
    return ran(rig, 2.0)


@pytest.mark.parametrize("end_s", [2.013, 3.5, 5.977])
def test_the_steps_of_chunks_add_up_to_those_of_the_rollout(smooth, end_s):
    first_s = smooth.of(Publish)[0].record.join_s
    chunks, (rollout,) = heard(smooth, (first_s + end_s, True))
    inside = [chunk for chunk in chunks if chunk.rollout == 1]
    record = rollout.record
    assert record.executed_steps == tuple(chunk.executed_steps for chunk in inside) and rollout.executions == tuple(inside)
    assert record.steps == sum(record.executed_steps) == math.floor(end_s / DT_S + 0.5)
    assert record.num_replans == len(inside) and record.chunk_utilization == record.steps / (16 * len(inside))
    assert record == RolloutRecord.from_json(record.to_json())
    first = inside[0].record
    assert record.wall_clock_s == pytest.approx(first_s + end_s - first.observation_stamp_s, abs=0.011)
    assert record.inference_s == pytest.approx(sum(chunk.record.inference_s for chunk in inside))
    assert {chunk.reason for chunk in inside[:-1]} <= {EndReason.REPLACED, EndReason.ROLLOUT_ENDED}
    assert inside[-1].reason is EndReason.ROLLOUT_ENDED and rollout.seen_from_its_beginning


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("latency_s", [0.1, 0.45, 0.95])
def test_steps_and_gaps_fill_the_time(latency_s, asynchronous):
    rig = ran(Rig(following(walk(3)), latency_s, first_latency_s=0.1, asynchronous=asynchronous).begin(), 7.0)
    chunks, _ = heard(rig, (rig.now_s, False))
    chunks = [chunk for chunk in chunks if chunk.record.join_s < rig.now_s]  # one may have been published that had yet to take over
    begin_s = chunks[0].record.join_s
    took_s = DT_S * np.cumsum([chunk.executed_steps for chunk in chunks]) + np.cumsum([chunk.gap_s for chunk in chunks])
    np.testing.assert_allclose(took_s[:-1], [chunk.record.join_s - begin_s for chunk in chunks[1:]], atol=1e-6)
    for chunk in chunks:
        assert (chunk.reason is EndReason.HELD) <= (chunk.gap_s > 0.0) and chunk.gap_s >= 0.0
    if not asynchronous:
        assert {chunk.executed_steps for chunk in chunks[:-1]} == {8}


@pytest.mark.parametrize(("actions", "rests"), [(walk(3), False), (np.tile(np.append(ROBOT.home, 1.0), (2000, 1)), True)])
def test_the_gap_of_synchronous_execution_is_what_passes_between_a_last_step_and_the_next_motion(actions, rests):
    """Also while the arm approaches its last target; then the next motion begins at the end of a step of the approach."""
    rig = ran(Rig(following(actions, 32), 0.15, chunk_size=32, execute_horizon=16, asynchronous=False).begin(), 6.0)
    begins_s = np.array([command.record.join_s for command in rig.of(Publish)])
    asked_s = [at_s for at_s, command in rig.commands if isinstance(command, Ask)][1 : len(begins_s)]
    gaps_s = asked_s - (begins_s[:-1] + 16 * DT_S) + 0.15 + rig.config.publish_lead_s
    if not rests:
        gaps_s = DT_S * np.ceil(gaps_s / DT_S - 1e-6)
    chunks, _ = heard(rig, (rig.now_s, False))
    assert [chunk.reason for chunk in chunks[:-1]] == [EndReason.HELD] * len(gaps_s) and len(gaps_s) >= 4
    np.testing.assert_allclose([chunk.gap_s for chunk in chunks[:-1]], gaps_s, atol=1e-6)
    np.testing.assert_allclose(np.diff(begins_s) - 16 * DT_S, gaps_s, atol=1e-6)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_what_a_record_says_of_its_steps_counts_whatever_the_settings_are(asynchronous):
    rig = ran(Rig(following(walk(6)), 0.45, first_latency_s=0.1, asynchronous=asynchronous, control_dt_s=0.1).begin(), 7.0)
    end, right = (rig.now_s, True), MonitorConfig(0.1, asynchronous)
    expected = heard(rig, end, config=right)
    assert heard(rig, end, config=MonitorConfig(0.03, not asynchronous)) == expected
    silent = [(at_s, kind, silent_record(what) if kind == "chunk_info_arrived" else what) for at_s, kind, what in messages_of(rig)]
    told = delivered(silent, [message[0] for message in silent], [end], right)  # the settings count where the record is silent
    assert told[1][0].record == expected[1][0].record and [one.gap_s for one in told[0]] == [one.gap_s for one in expected[0]]
    record = rig.of(Publish)[0].record
    assert not right.disagreements(record) and not MonitorConfig().disagreements(silent_record(record))
    assert list(MonitorConfig(0.03, not asynchronous).disagreements(record)) == ["control_dt_s", "asynchronous"]


def test_a_rollout_of_chunks_at_two_rates_moves_as_long_as_they_ran():
    monitor = ExecutionMonitor(ROBOT)
    times = np.linspace(0.0, 3.2, 65)
    for join_s, dt_s in ((10.0, 0.05), (10.8, 0.1)):
        record = ChunkRecord(join_s, join_s - 0.1, 16, 16, 0, join_s, 0.1, 0.1, "published", "", dt_s, True)
        positions = np.tile(ROBOT.home, (65, 1)) + 0.1 * (join_s - 10.0 + times)[:, None]
        monitor.trajectory_arrived(Trajectory(ARM, positions, np.full_like(positions, 0.1), times, join_s), join_s)
        monitor.chunk_info_arrived(record, join_s)
    monitor.end_rollout(True, 11.6)
    first, second, rollout = monitor.tick(15.0)
    assert (first.executed_steps, second.executed_steps, rollout.record.steps) == (16, 8, 24)
    assert rollout.record.motion_s == pytest.approx(1.6)


def test_nothing_depends_on_the_order_of_messages_nor_on_how_often_they_come(stopped):
    ends = ((stopped.now_s - 0.33, True),)
    messages = messages_of(stopped)
    expected = delivered(messages, [message[0] for message in messages], ends)
    assert [chunk.reason for chunk in expected[0]].count(EndReason.STOPPED) == 1
    for seed in range(3):
        random = np.random.default_rng(seed)
        again = [*messages, *(messages[index] for index in random.integers(len(messages), size=200))]
        arrivals = [message[0] + random.uniform(0.0, LATE_S) for message in again]
        assert delivered(again, arrivals, ends) == expected


def test_a_message_that_comes_again_when_all_is_over_is_not_counted_again(smooth):
    messages = messages_of(smooth)
    ends = ((smooth.now_s - 0.5, True),)
    expected = delivered(messages, [message[0] for message in messages], ends)
    arrivals = [message[0] for message in messages] + [message[0] + 30.0 for message in messages if message[1] != "joints_arrived"]
    again = messages + [message for message in messages if message[1] != "joints_arrived"]
    assert delivered(again, arrivals, ends) == expected


def test_lost_joint_states_are_measured_around(smooth):
    messages = messages_of(smooth)
    random = np.random.default_rng(5)
    kept = [message for message in messages if message[1] != "joints_arrived" or random.random() < 0.5]
    ends = ((smooth.now_s - 0.4, True),)
    whole, part = (delivered(some, [message[0] for message in some], ends) for some in (messages, kept))
    assert part[1][0].record == whole[1][0].record
    assert [chunk.executed_steps for chunk in part[0]] == [chunk.executed_steps for chunk in whole[0]]
    assert all(chunk.progress is not None and chunk.tracking is not None for chunk in part[0] if chunk.executed_steps)


@pytest.mark.parametrize("start_s", [1.0, 2.3])
def test_a_monitor_that_starts_late_counts_each_chunk_that_it_hears_of_as_it_was(smooth, start_s):
    messages = messages_of(smooth)
    ends = ((smooth.now_s - 0.4, True),)
    expected, _ = delivered(messages, [message[0] for message in messages], ends)
    late = [message for message in messages if message[0] > smooth.desired[0][0] + start_s]
    chunks, (rollout,) = delivered(late, [message[0] for message in late], ends)
    assert 0 < len(chunks) < len(expected) and not rollout.seen_from_its_beginning
    assert [chunk.values() | {"still_s": 0} for chunk in chunks] == [chunk.values() | {"still_s": 0} for chunk in expected[-len(chunks) :]]


def test_a_stop_ends_the_chunk_with_its_reason_and_the_rollout_goes_on(stopped):
    (hold_s, *_) = [at_s for at_s, command in stopped.commands if isinstance(command, Hold)]
    chunks, (rollout,) = heard(stopped, (stopped.now_s, False))
    (ended,) = [chunk for chunk in chunks if chunk.reason is EndReason.STOPPED]
    assert ended.detail == "stopped" and ended.end_s == pytest.approx(hold_s, abs=0.05)
    assert ended.executed_steps == math.floor((ended.end_s - ended.record.join_s) / DT_S + 0.5)
    assert rollout.executions == tuple(chunks) and chunks[-1] is not ended


def test_what_runs_between_a_rollouts_end_and_the_stop_after_it_counts_to_none(stopped):
    hold_s = next(at_s for at_s, command in stopped.commands if isinstance(command, Hold))
    chunks, (first, second) = heard(stopped, (hold_s - 0.8, True), (stopped.now_s, False))
    rest = [chunk for chunk in chunks if chunk.rollout == 0]
    assert rest and all(hold_s - 0.8 < chunk.record.join_s + DT_S and chunk.record.stamp_s < hold_s for chunk in rest)
    assert second.executions[0].record.dropped_steps == 0  # it begins at rest
    assert first.record.success and not second.record.success
    assert second.record.wall_clock_s < stopped.now_s - hold_s - 1.4
    assert sorted(chunk.record.stamp_s for rollout in (first, second) for chunk in rollout.executions) + [] == [
        chunk.record.stamp_s for chunk in chunks if chunk.rollout
    ]


def test_rollouts_may_follow_each_other_without_a_stop(smooth):
    begin_s = smooth.of(Publish)[0].record.join_s
    chunks, (first, second) = heard(smooth, (begin_s + 2.0, True), (begin_s + 5.0, True))
    assert [chunk.rollout for chunk in chunks] == sorted(chunk.rollout for chunk in chunks) and 0 not in {chunk.rollout for chunk in chunks}
    assert first.record.steps == 40
    assert second.record.steps == round((begin_s + 5.0 - second.executions[0].record.join_s) / DT_S)


def test_a_rollout_without_a_chunk_is_none(smooth):
    monitor = ExecutionMonitor(ROBOT)
    assert not monitor.end_rollout(True, 10.0) and monitor.tick(20.0) == []
    for message in messages_of(smooth, until_s=smooth.desired[0][0] + 2.0):
        if message[1] == "chunk_info_arrived":
            monitor.chunk_info_arrived(message[2], message[0])
    now_s = smooth.desired[0][0] + 2.0
    monitor.tick(now_s)
    assert monitor.end_rollout(True, now_s) and not monitor.end_rollout(True, now_s + 0.1)


def test_refused_answers_are_calls_of_which_nothing_ran():
    actions = walk(4)
    broken = {3, 5}
    asked = []

    def policy(step):
        asked.append(step)
        chunk = following(actions)(step)
        return chunk * np.nan if len(asked) in broken else chunk

    rig = ran(Rig(policy, 0.12).begin(), 4.0)
    _, (rollout,) = heard(rig, (rig.now_s, True))
    verdicts = rig.verdicts()
    assert verdicts.count("not_finite") == 2
    assert rollout.record.num_replans == len(verdicts) and rollout.record.executed_steps.count(0) >= 2
    assert [steps for steps in rollout.record.executed_steps if steps] == [
        chunk.executed_steps for chunk in rollout.executions if chunk.executed_steps
    ]


@pytest.mark.parametrize("velocities", [True, False])
@pytest.mark.parametrize(("velocity", "lag_s"), [(0.5, 0.04), (-1.2, 0.1), (0.3, 0.0)])
def test_a_constant_velocity_with_a_known_lag_is_tracked_with_velocity_times_lag(velocity, lag_s, velocities, smooth):
    record = smooth.of(Publish)[0].record
    stamp_s = record.stamp_s
    times = np.arange(41) * DT_S
    positions = np.zeros((41, len(ARM)))
    positions[:, 2] = velocity * times
    moving = np.zeros_like(positions)
    moving[:, 2] = velocity
    monitor = ExecutionMonitor(ROBOT)
    monitor.trajectory_arrived(Trajectory(ARM, positions, moving if velocities else None, times, stamp_s), stamp_s)
    monitor.chunk_info_arrived(record, stamp_s)
    for stamp in stamp_s + np.arange(-10, 80) * 0.01:
        state = dict.fromkeys((*ARM, *FINGERS), 0.0)
        monitor.joints_arrived(state | {ARM[2]: velocity * (stamp - lag_s - stamp_s)}, stamp)
    monitor.end_rollout(True, stamp_s + 0.6)
    chunk = monitor.tick(stamp_s + 3.0)[0]
    assert chunk.tracking.largest == pytest.approx(abs(velocity) * lag_s, abs=1e-6)
    assert chunk.tracking.rms == pytest.approx(abs(velocity) * lag_s / math.sqrt(len(ARM)), abs=1e-6)
    assert lag_s == 0.0 or chunk.tracking.joint == ARM[2]


def test_the_motion_is_that_of_the_commanded_joints(smooth):
    begin_s = smooth.of(Publish)[0].record.join_s
    _, (rollout,) = heard(smooth, (begin_s + 3.0, True))
    times = np.array([at_s for at_s, _ in smooth.desired])
    motion = np.array([state.positions[:-1] for _, state in smooth.desired])
    grid = begin_s + np.arange(61) * DT_S
    path = np.stack([np.interp(grid, times, column) for column in motion.T], axis=1)
    record = rollout.record
    assert record.motion_s == pytest.approx(3.0) and record.motion_headroom >= 1.0
    expected = shortest_duration_s(path, ROBOT.arm_limits.velocity, ROBOT.arm_limits.acceleration)
    assert record.shortest_s == pytest.approx(expected, rel=0.01)


def test_a_clock_that_goes_back_begins_anew(smooth):
    monitor = ExecutionMonitor(ROBOT)
    for message in messages_of(smooth):
        if message[1] == "chunk_info_arrived":
            monitor.chunk_info_arrived(message[2], message[0])
    monitor.tick(smooth.now_s)
    monitor.tick(5.0)
    assert monitor.num_restarts == 1 and monitor.running is None and not monitor.end_rollout(True, 6.0)


def test_it_keeps_no_more_than_it_needs(smooth):
    monitor = ExecutionMonitor(ROBOT)
    for tick in range(20_000):  # joint states for 200 s, none of a chunk
        monitor.joints_arrived(dict.fromkeys((*ARM, *FINGERS), 0.0), tick * 0.01)
        if tick % 10 == 0:
            monitor.tick(tick * 0.01)
    assert len(monitor._history) < 2000


def test_a_step_is_still_or_goes_back_or_is_progress():
    progress = StepProgress(DT_S, still_velocity=0.02)
    line = np.linspace(0.0, 1.0, 11)[:, None]
    assert progress.follow(line) == (0, 0, 0.0)
    assert progress.follow(line[[10, 10, 10]]) == (2, 2, pytest.approx(0.1))
    assert progress.follow(line[[10, 10]]) == (1, 1, pytest.approx(0.15))  # the time still goes on over the boundary
    assert progress.follow(line[[10, 8]]) == (0, 0, 0.0)
    progress.restart()
    assert progress.follow(line[[10, 9, 8, 9, 10]]) == (0, 2, 0.0)
    progress.restart()
    assert progress.follow(line[[10, 10]]) == (1, 1, pytest.approx(0.05))
    slow = np.arange(5)[:, None] * 0.0011  # just faster than what counts as still
    progress.restart()
    assert progress.follow(slow) == (0, 0, 0.0)


def test_the_gripper_is_a_joint_that_moves():
    progress = StepProgress(DT_S, still_velocity=0.02)
    closing = np.array([[0.0, 0.04], [0.0, 0.03], [0.0, 0.02]])
    assert progress.follow(closing) == (0, 0, 0.0)


def test_joints_between_samples_lie_on_the_line_and_beyond_them_nobody_knows():
    history = JointHistory(("a", "b"))
    for stamp in (1.0, 1.02, 1.3, 1.31):
        history.add({"a": stamp, "b": -stamp}, stamp)
    np.testing.assert_allclose(history.at(np.array([1.0, 1.015])), [[1.0, -1.0], [1.015, -1.015]])
    assert history.at(np.array([1.02, 1.3])) is None and history.at(np.array([0.99])) is None and history.at(np.array([1.5])) is None
    history.forget([(1.01, 1.305)])
    assert history.between(0.0, 9.0)[0].tolist() == [1.02, 1.3]
    with pytest.raises(MissingObservation, match=r"must name \('a', 'b'\), got \('a',\)"):
        history.add({"a": 1.0}, 2.0)


def test_a_wrong_setting_is_refused():
    with pytest.raises(InvalidConfig, match="got 0.0 for control_dt_s"):
        MonitorConfig(control_dt_s=0.0)
