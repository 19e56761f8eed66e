"""Laws of the executor on a fake clock: the right steps, no jumps, the right reasons, and the hold as the last word."""

from __future__ import annotations

import math

import numpy as np
import pytest
from executor_rig import DT_S, JOINTS, ROBOT, Rig, following, walk

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.queue import ChunkQueue
from policytrim_gym.robot.motion_limiter import MotionLimiter
from policytrim_ros.control.chunk_executor import ExecutorState
from policytrim_ros.control.chunk_gate import ChunkAnswer
from policytrim_ros.control.commands import Ask, Hold, Publish, Refused
from policytrim_ros.control.motion_state import MeasuredState

LIMITS = ROBOT.limits


def late(seed: int, most_s: float) -> object:
    random = np.random.default_rng(seed)
    return lambda question: random.uniform(0.005, most_s)


def followed(actions: np.ndarray) -> np.ndarray:
    """Where the arm environment's limiter is after each action, (steps, dof + 1)."""
    limiter = MotionLimiter(LIMITS, DT_S, [DT_S])
    limiter.reset(np.append(ROBOT.home, 0.04))
    return np.array([limiter.advance(target).positions[-1] for target in JOINTS.targets(actions)])


@pytest.mark.parametrize("replacement", ["hard", "stamp"])
@pytest.mark.parametrize("seed", range(3))
def test_an_arm_that_never_waits_moves_as_in_the_environment_whatever_the_delays(seed: int, replacement: str) -> None:
    actions = walk(seed)
    rig = Rig(following(actions), late(seed, 0.15), replacement=replacement, first_latency_s=0.2).begin()
    rig.run(5.0)
    assert set(rig.verdicts()) == {"published"} and len(rig.verdicts()) > 10
    first_s = rig.of(Publish)[0].record.join_s
    times = np.array([at for at, _ in rig.desired])
    motion = np.array([state.positions for _, state in rig.desired])
    ends = first_s + DT_S * np.arange(1, 80)
    wanted = followed(actions[:79])
    for column in range(7):  # between ticks by a straight line: less than a a t^2 / 8
        error = np.abs(np.interp(ends, times, motion[:, column]) - wanted[:, column])
        assert error.max() <= LIMITS.acceleration[column] * 0.01**2 / 8 + 1e-9


@pytest.mark.parametrize("replacement", ["hard", "stamp"])
@pytest.mark.parametrize("most_s", [0.1, 0.6, 0.95])
def test_no_boundary_jumps_in_position_or_velocity_and_no_limit_is_broken(most_s: float, replacement: str) -> None:
    rig = Rig(following(walk(4)), late(1, most_s), replacement=replacement).begin()
    rig.run(6.0)
    positions, velocities = (np.array([state[part] for _, state in rig.desired]) for part in range(2))
    assert (np.abs(np.diff(velocities, axis=0)) <= LIMITS.acceleration * 0.01 * (1 + 1e-6) + 1e-9).all()
    assert (np.abs(velocities) <= LIMITS.velocity * (1 + 1e-9)).all()
    # A controller that starts from the measured state does so before the first waypoint only: there is no such time.
    assert all(command.arm.times_s[0] <= 1e-4 and command.arm.stamp_s <= sent_s + 0.02 + 1e-9 for sent_s, command in rig.sent())
    ways = (velocities[1:] + velocities[:-1]) / 2 * 0.01
    assert (np.abs(np.diff(positions, axis=0) - ways) <= LIMITS.acceleration * 0.01**2 / 4 + 1e-9).all()


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("most_s", [0.1, 0.5, 0.95])
def test_no_action_is_left_out_or_run_twice_also_when_the_arm_waits(most_s: float, asynchronous: bool) -> None:
    rig = Rig(following(walk(2)), late(3, most_s), asynchronous=asynchronous).begin()
    rig.run(8.0)
    run = [command.record for command in rig.of(Publish)]
    assert len(run) >= 5
    # Each chunk begins in the sequence where the one before it was left.
    for before, after in zip(run, run[1:]):
        size = before.chunk_size if asynchronous else before.execute_horizon
        done = min(round((after.join_s - before.join_s) / DT_S), size - before.dropped_steps)
        assert rig.steps_at(after.join_s) - rig.steps_at(before.join_s) == done
        observed = rig.steps_at(after.observation_stamp_s)
        assert observed + after.dropped_steps == rig.steps_at(after.join_s)


@pytest.mark.parametrize("horizon, lead", [(8, 2), (12, 3), (16, 4), (6, 1)])
def test_a_constant_delay_runs_what_the_chunk_queue_runs(horizon: int, lead: int) -> None:
    def policy(step: int) -> np.ndarray:
        return np.tile(np.append(ROBOT.home, 1.0), (16, 1)) + 1e-4 * np.append(step + np.arange(16)[:, None] / 100, [[0]] * 16, 1) @ np.eye(
            2, 7
        )

    rig = Rig(policy, lead * DT_S - 0.03, execute_horizon=horizon, first_latency_s=lead * DT_S - 0.03).begin()
    rig.run(6.0)
    queue = ChunkQueue()
    records = [command.record for command in rig.of(Publish)]
    asked = [rig.steps_at(record.observation_stamp_s) for record in records]
    assert set(np.diff(asked)[1:].tolist()) == {horizon - lead} or set(np.diff(asked).tolist()) == {horizon - lead}
    windows = [queue.window(ActionChunk(policy(step)), horizon - lead, lead) for step in asked[:5]]
    ours = []
    for record, following_record in zip(records[:4], records[1:5]):
        steps = round((following_record.join_s - record.join_s) / DT_S)
        ours.append(policy(rig.steps_at(record.observation_stamp_s))[record.dropped_steps : record.dropped_steps + steps])
    expected = np.concatenate(windows)[: sum(map(len, ours))]
    np.testing.assert_allclose(np.concatenate(ours)[: len(expected)], expected, rtol=0, atol=1e-6)


def test_with_enough_lead_the_arm_never_waits() -> None:
    rig = Rig(following(walk(5)), 0.15).begin()
    rig.run(6.0)
    records = [command.record for command in rig.of(Publish)]
    for before, after in zip(records[4:], records[5:]):  # since the latency is known
        assert after.join_s == pytest.approx(before.join_s + (8 - before.dropped_steps) * DT_S, abs=1e-6)  # exactly at its horizon


def test_a_late_answer_lets_the_chunk_go_on_to_its_end_and_then_the_arm_holds() -> None:
    rig = Rig(following(walk(6)), lambda question: 0.1 if question < 2 else 0.95, first_latency_s=0.1).begin()
    rig.run(2.2)
    second, third = (command.record for command in rig.of(Publish)[1:3])
    assert third.join_s > second.join_s + (16 - second.dropped_steps) * DT_S
    assert rig.executor.state in (ExecutorState.EXECUTING, ExecutorState.WAITING)


def test_synchronous_execution_asks_with_an_observation_from_after_the_window_and_drops_nothing() -> None:
    rig = Rig(following(walk(7)), 0.15, asynchronous=False).begin()
    rig.run(5.0)
    records = [command.record for command in rig.of(Publish)]
    assert len(records) >= 6 and {record.dropped_steps for record in records} == {0}
    for before, after in zip(records, records[1:]):
        assert after.observation_stamp_s > before.join_s + 8 * DT_S


def test_an_answers_own_horizon_counts_for_its_chunk() -> None:
    rig = Rig(following(walk(8)), math.inf).begin()
    rig.run(0.1)
    stamp_s = rig.of(Ask)[0].observation_stamp_s
    actions = following(walk(8))(0)
    rig.carry_out(rig.executor.answer_arrived(ChunkAnswer(actions, JOINTS.labels, stamp_s, execute_horizon=3), rig.now_s))
    record = rig.of(Publish)[0].record
    rig.run(0.3)
    assert record.execute_horizon == 3
    assert rig.of(Ask)[1].observation_stamp_s <= record.join_s + 3 * DT_S


STOPS = {
    "joint_states": ("joint_states_silent", 0.2),
    "image/front": ("image_silent", 0.3),
}


@pytest.mark.parametrize("source", STOPS)
@pytest.mark.parametrize("at_s", [0.81, 1.0, 1.333])
def test_a_silent_input_brakes_within_a_tenth_of_a_second_of_its_timeout(source: str, at_s: float) -> None:
    reason, timeout_s = STOPS[source]
    rig = Rig(following(walk(9)), 0.1).begin()
    rig.run(at_s)
    rig.silent.add(source)
    silent_s = rig.now_s
    rig.run(2.0)
    (hold_s, hold), *rest = [(at, command) for at, command in rig.commands if isinstance(command, Hold)]
    assert hold.reason.value == reason and str(timeout_s) in hold.message
    assert hold_s + rig.config.publish_lead_s <= silent_s + timeout_s + 0.1
    assert rig.executor.state is ExecutorState.HOLDING
    # The measured position follows where it is known: never one from before the end of braking.
    assert [type(command) for _, command in rest] == ([] if source == "joint_states" else [Hold])
    assert isinstance(rig.on_the_wire()[-1], Hold)


def test_a_silent_policy_stops_the_arm() -> None:
    rig = Rig(following(walk(10)), lambda question: 0.1 if question < 3 else math.inf).begin()
    rig.run(3.0)
    assert rig.executor.stop_reason.value == "policy_silent"
    asked_s = [at for at, command in rig.commands if isinstance(command, Ask)][-1]
    stopped_s = [at for at, command in rig.commands if isinstance(command, Hold)][0]
    assert 1.0 < stopped_s - asked_s <= 1.0 + 0.1


@pytest.mark.parametrize("at_s", np.linspace(0.3, 1.5, 5).tolist())
def test_a_stop_brakes_within_the_limits_and_holds_where_the_arm_is_never_at_zeros(at_s: float) -> None:
    rig = Rig(following(walk(11)), 0.1).begin()
    rig.run(at_s)
    rig.carry_out(rig.executor.stop(rig.now_s))
    stopped = len(rig.desired)
    rig.run(0.5)
    assert rig.executor.state is ExecutorState.HOLDING  # braking has ended, whatever the rest that a hold says behind it
    assert all(hold.arm.end_s > rig.now_s + 0.5 and not hold.arm.velocities[-2:].any() for hold in rig.of(Hold))
    rig.run(0.5)
    positions, velocities = (np.array([state[part] for _, state in rig.desired]) for part in range(2))
    assert (np.abs(np.diff(velocities, axis=0)) <= LIMITS.acceleration * 0.01 * (1 + 1e-6) + 1e-9).all()
    braking_s = (LIMITS.velocity / LIMITS.acceleration).max()
    still = stopped + math.ceil((braking_s + 0.05) / 0.01)
    assert not velocities[still:].any()
    assert np.ptp(positions[still:], axis=0).max() <= 1e-9
    measured_hold = rig.on_the_wire()[-1]
    assert isinstance(measured_hold, Hold) and measured_hold.reason.value == "stopped"
    np.testing.assert_allclose(measured_hold.arm.positions[-1], positions[-1, :-1], rtol=0, atol=1e-9)


def test_after_a_stop_nothing_moves_until_rearm_and_a_fresh_observation() -> None:
    rig = Rig(following(walk(12)), 0.15).begin()
    rig.run(1.0)
    while rig.executor.state is not ExecutorState.EXECUTING or not rig.answers:
        rig.step()
    rig.carry_out(rig.executor.stop(rig.now_s))
    rig.run(2.0)  # the answer that was under way comes, observations and joints go on
    assert not rig.executor.start(rig.now_s)
    assert rig.verdicts()[-1] == "not_armed"
    wire = len(rig.on_the_wire())
    assert isinstance(rig.on_the_wire()[-1], Hold)
    rearmed_s = rig.now_s
    assert rig.executor.rearm(rig.now_s) and not rig.executor.rearm(rig.now_s)
    rig.run(1.0)
    again = rig.on_the_wire()[wire]
    assert isinstance(again, Publish) and again.record.observation_stamp_s > rearmed_s
    assert again.record.dropped_steps == 0


def test_an_answer_to_a_question_from_before_the_stop_is_not_run_after_a_rearm() -> None:
    rig = Rig(following(walk(12)), lambda question: 0.1 if question < 2 else 0.9).begin()
    while rig.num_questions < 3:
        rig.step()
    rig.carry_out(rig.executor.stop(rig.now_s))
    while rig.executor.state is not ExecutorState.HOLDING:
        rig.step()
    rig.run(0.05)
    assert rig.answers and rig.executor.rearm(rig.now_s)
    rig.run(1.0)
    assert rig.verdicts()[2] == "out_of_order"


def test_rearm_needs_fresh_joints_and_goes_on_from_where_the_arm_is_measured() -> None:
    rig = Rig(following(walk(13)), 0.1).begin()
    rig.run(1.0)
    rig.carry_out(rig.executor.stop(rig.now_s))
    rig.silent.add("joint_states")
    rig.run(1.0)
    assert not rig.executor.rearm(rig.now_s)
    elsewhere = rig.desired[-1][1].positions + np.append(np.full(6, 0.05), 0.0)  # somebody moved the arm
    rig.executor.joints_arrived(MeasuredState(elsewhere, np.zeros(7), rig.now_s), rig.now_s)
    rig.carry_out(rig.executor.tick(rig.now_s))
    np.testing.assert_allclose(rig.on_the_wire()[-1].arm.positions[-1], elsewhere[:-1], rtol=0, atol=1e-12)
    assert rig.executor.rearm(rig.now_s)


def test_a_gripper_that_an_object_stops_keeps_its_command_in_a_hold() -> None:
    closing = walk(14)
    closing[:, -1] = 0.0
    rig = Rig(following(closing), 0.1).begin()
    rig.run(1.5)
    rig.silent.add("joint_states")  # from here on the test says what is measured
    rig.carry_out(rig.executor.stop(rig.now_s))
    for _ in range(60):
        rig.step()
        blocked = rig.desired[-1][1].positions.copy()
        blocked[-1] = 0.02
        rig.executor.joints_arrived(MeasuredState(blocked, np.zeros(7), rig.now_s), rig.now_s)
    holds = rig.of(Hold)
    assert len(holds) == 2
    np.testing.assert_allclose(holds[-1].gripper.positions[-1], 0.0, rtol=0, atol=1e-4)


def test_deactivation_brakes_and_nothing_follows() -> None:
    rig = Rig(following(walk(15)), 0.1).begin()
    rig.run(1.0)
    rig.carry_out(rig.executor.deactivate(rig.now_s))
    wire = len(rig.on_the_wire())
    rig.run(1.0)
    assert len(rig.on_the_wire()) == wire and rig.on_the_wire()[-1].reason.value == "deactivated"
    assert not rig.desired[-1][1].velocities.any()


def test_an_executor_that_never_commanded_anything_sends_nothing_when_it_ends() -> None:
    rig = Rig(following(walk(16)), math.inf).begin()
    rig.run(0.5)
    rig.carry_out(rig.executor.stop(rig.now_s))
    rig.carry_out(rig.executor.deactivate(rig.now_s))
    assert rig.on_the_wire() == []


def test_refused_chunks_leave_the_arm_on_the_present_one_and_too_many_stop_it() -> None:
    actions = walk(17)
    bad = following(actions)(0)
    bad[3, 2] = np.nan

    answers = iter([True, True, False, False, True, False, False])  # never three in a row
    rig = Rig(lambda step: following(actions)(step) if next(answers, True) else bad, 0.05).begin()
    rig.run(3.0)
    assert rig.verdicts()[:8] == ["published"] * 2 + ["not_finite"] * 2 + ["published"] + ["not_finite"] * 2 + ["published"]
    assert rig.of(Hold) == []
    always = Rig(lambda step: following(actions)(step) if step < 10 else bad, 0.05).begin()
    always.run(3.0)
    assert always.verdicts()[-3:] == ["not_finite"] * 3
    assert always.executor.stop_reason.value == "chunks_refused" and "3 answers in a row" in always.executor.stop_message
    assert isinstance(always.on_the_wire()[-1], Hold)


def test_failed_answers_count_and_a_good_one_between_them_forgives() -> None:
    rig = Rig(following(walk(18)), math.inf).begin()
    for expected in (["policy_failed"], ["policy_failed"] * 2, ["policy_failed"] * 3):
        rig.run(0.2)
        stamp_s = rig.of(Ask)[-1].observation_stamp_s
        rig.carry_out(rig.executor.answer_failed(stamp_s, "the server answered with an error", rig.now_s))
        assert rig.verdicts() == expected
    assert rig.executor.stop_reason.value == "policy_failed" and "an error" in rig.executor.stop_message


def test_an_answer_that_comes_twice_is_run_once() -> None:
    rig = Rig(following(walk(19)), 0.1).begin()
    rig.run(0.5)
    record = rig.of(Publish)[-1].record
    answer = ChunkAnswer(following(walk(19))(0), JOINTS.labels, record.observation_stamp_s)
    for _ in range(5):
        rig.carry_out(rig.executor.answer_arrived(answer, rig.now_s))
    assert rig.verdicts()[-5:] == ["duplicate"] * 5
    assert rig.executor.state is ExecutorState.EXECUTING


@pytest.mark.parametrize("jump_s", [-50.0, -0.2, 0.7, 1e6])
def test_a_clock_jump_stops_the_arm_near_where_it_is(jump_s: float) -> None:
    rig = Rig(following(walk(20)), 0.1).begin()
    rig.run(1.5)
    at = rig.desired[-1][1]
    commands = rig.executor.tick(rig.now_s + jump_s)
    (hold,) = commands
    assert isinstance(hold, Hold) and hold.reason.value == "clock_jumped"
    if jump_s < 0:
        braking = at.positions + np.sign(at.velocities) * at.velocities**2 / (2 * LIMITS.acceleration)
        np.testing.assert_allclose(hold.arm.positions[-1], braking[:-1], rtol=0, atol=2e-3)
    assert hold.arm.stamp_s == pytest.approx(rig.now_s + jump_s)
    assert rig.executor.tick(rig.now_s + jump_s + 0.01) == []


def test_every_answer_has_one_verdict_and_every_published_chunk_its_own_stamp() -> None:
    rig = Rig(following(walk(21)), late(5, 0.4)).begin()
    rig.run(5.0)
    assert len(rig.verdicts()) == rig.num_questions - len(rig.answers)
    stamps = [command.arm.stamp_s for command in rig.on_the_wire()]
    assert len(set(stamps)) == len(stamps) and stamps == sorted(stamps)
    for command in rig.of(Publish):
        record = command.record
        assert record.stamp_s == command.arm.stamp_s == command.gripper.stamp_s
        assert 0.0 < record.inference_s <= 0.4 and record.observation_age_s >= record.inference_s
    assert not rig.of(Refused)


def test_it_says_what_it_waits_for() -> None:
    rig = Rig(following(walk(22)), math.inf)
    assert rig.executor.waiting_for(rig.now_s) == ""
    rig.begin()
    assert rig.executor.waiting_for(rig.now_s) == "joint_states, image/front"
    rig.run(0.1)
    assert rig.executor.waiting_for(rig.now_s) == "the policy"
    rig.executor.answer_failed(rig.of(Ask)[0].observation_stamp_s, "an error", rig.now_s)
    assert rig.executor.waiting_for(rig.now_s) == "an observation"
    assert "nothing new of joint_states" in rig.executor.waiting_for(rig.now_s + 1.0)
    assert rig.on_the_wire() == []


def test_a_clock_that_begins_with_a_jump_stops_nothing_before_the_start() -> None:
    rig = Rig(following(walk(23)), 0.1, start_s=0.0)
    rig.executor.activate(0.0)
    assert rig.executor.tick(0.0) == [] and rig.executor.tick(5000.0) == []
    assert rig.executor.state is ExecutorState.READY
    assert rig.executor.start(5000.0)
