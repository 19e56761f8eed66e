"""Laws of a new begin: nothing of before a stop, an activation or a clock that went back counts after it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from executor_rig import JOINTS, ROBOT, Rig, following, walk
from test_policy_loop import NAMES, Stage, begun

from policytrim_ros.control.chunk_executor import ExecutorState
from policytrim_ros.control.chunk_gate import ChunkAnswer
from policytrim_ros.control.commands import Ask, Hold, Publish
from policytrim_ros.control.motion_state import MeasuredState
from policytrim_ros.control.policy_loop import Failure, Question

ARM, FINGERS = ROBOT.config.joints, ROBOT.config.gripper.joints


def test_an_activation_knows_nothing_of_fingers_that_come_in_messages_of_their_own():
    stage = begun(camera=False)
    stage.run(0.5)
    stage.do(stage.loop.deactivate(stage.now_s))
    stage.loop.activate(stage.now_s)
    stage.loop.instruction_arrived("push", stage.now_s)
    assert stage.loop.start(stage.now_s)[0]
    asked = len(stage.of(Question))
    for _ in range(3):
        stage.now_s += 0.01
        stage.do(stage.loop.joints_arrived(dict(zip(ARM, ROBOT.home)), dict.fromkeys(ARM, 0.0), stage.now_s, stage.now_s))
    assert len(stage.of(Question)) == asked
    assert stage.loop.waiting_for(stage.now_s) == "joint_states of finger_left_joint, finger_right_joint"
    stage.do(stage.loop.joints_arrived(dict.fromkeys(FINGERS, 0.01), {}, stage.now_s, stage.now_s))
    stage.now_s += 0.01
    stage.do(stage.loop.joints_arrived(dict(zip(ARM, ROBOT.home)), dict.fromkeys(ARM, 0.0), stage.now_s, stage.now_s))
    assert stage.of(Question)[asked].joined.positions[-1] == 0.01


def test_the_first_chunk_waits_until_the_arm_rests_as_after_a_deactivation_in_motion():
    rig = Rig(following(walk(3)), 0.02).begin()
    rig.run(1.0)
    rig.carry_out(rig.executor.deactivate(rig.now_s))
    assert np.abs(rig.desired[-1][1].velocities).max() > 0.5
    rig.answers.clear()
    asked = len(rig.of(Ask))
    rig.begin()
    rig.run(0.05)
    assert len(rig.of(Ask)) == asked
    assert "the arm to rest, joint_" in rig.executor.waiting_for(rig.now_s) and " moves at " in rig.executor.waiting_for(rig.now_s)
    rig.run(1.5)
    assert isinstance(rig.on_the_wire()[-1], Publish)
    velocities = np.array([state.velocities for _, state in rig.desired])
    assert (np.abs(np.diff(velocities, axis=0)) <= ROBOT.limits.acceleration * 0.01 * (1 + 1e-6) + 1e-9).all()


def test_a_rearm_waits_until_the_arm_was_measured_at_rest():
    rig = Rig(following(walk(3)), 0.05).begin()
    rig.run(1.0)
    rig.carry_out(rig.executor.stop(rig.now_s))
    end_s = rig.of(Hold)[-1].arm.end_s - 1.0
    while rig.now_s < end_s - 0.02:
        rig.step()
    rig.silent.add("joint_states")
    rig.run(0.05)
    assert rig.executor.state is ExecutorState.HOLDING and not rig.executor.rearm(rig.now_s)  # it was measured, but not since it rests
    moving = MeasuredState(rig.desired[-1][1].positions, np.full(7, 0.9), rig.now_s)
    rig.executor.joints_arrived(moving, rig.now_s)  # a controller that did not take the hold
    assert not rig.executor.rearm(rig.now_s)
    rig.silent.clear()
    rig.step()
    assert rig.executor.rearm(rig.now_s)


def test_a_loop_says_that_the_arm_moves_when_it_is_rearmed():
    stage = begun()
    stage.run(1.0)
    stage.do(stage.loop.stop(stage.now_s)[0])
    stage.run(1.0)
    velocities = dict.fromkeys(NAMES, 0.0) | {"joint_2": -0.9}
    stage.do(stage.loop.joints_arrived(dict(zip(NAMES, stage.at)), velocities, stage.now_s + 0.001, stage.now_s))
    done, words = stage.loop.rearm(stage.now_s)
    assert not done and words == "the arm must rest before it goes on, joint_2 moves at 0.9 rad/s, the limit is 0.24 rad/s"


def test_what_became_of_a_question_from_before_a_stop_is_not_counted_after_the_rearm():
    stage = begun(max_refusals=1)
    stage.run(1.0)
    old_s = stage.of(Question)[-1].joined.stamp_s
    stage.due.clear()
    stage.do(stage.loop.stop(stage.now_s)[0])
    stage.run(1.0)
    assert stage.loop.rearm(stage.now_s)[0]
    stage.do(stage.loop.answered(Failure(old_s, "the server did not answer"), stage.now_s))
    stage.do(stage.loop.answered(ChunkAnswer(np.full((16, 7), math.nan), JOINTS.labels, old_s), stage.now_s))
    assert stage.loop.num_refused == 2 and stage.loop.executor.stop_reason is None
    stage.run(0.5)
    assert isinstance(stage.orders[-1], (Publish, Question))


def test_a_joint_state_from_long_ago_is_no_observation_and_ends_nothing():
    stage = begun(camera=False)
    stage.run(0.6)
    for _ in range(100):  # whenever it comes
        stage.run(0.02)
        stage.do(stage.loop.joints_arrived(dict(zip(NAMES, stage.at)), {}, stage.now_s - 3.0, stage.now_s))
        for _ in range(5):
            stage.now_s += 0.002
            stage.do(stage.loop.tick(stage.now_s))
    assert stage.loop.executor.state is ExecutorState.EXECUTING and not stage.of(Hold)
    stamps = [question.joined.stamp_s for question in stage.of(Question)]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("back_s", [0.5, 1.5, 40.0])
def test_a_clock_that_goes_back_while_nothing_moves_keeps_nobody_waiting(back_s):
    stage = Stage()
    stage.loop.instruction_arrived("push", stage.now_s)
    stage.run(0.5)
    stage.now_s -= back_s
    stage.run(0.05)
    assert stage.loop.start(stage.now_s)[0]
    stage.run(0.1)
    (question,) = stage.of(Question)
    assert question.joined.stamp_s < stage.now_s
    assert all(stamp_s <= stage.now_s for stamp_s in stage.loop.joiner._stamps)


def test_a_clock_that_goes_back_twice_before_the_joints_come_leaves_no_stamp_in_the_future():
    rig = Rig(following(walk(3)), 0.05).begin()
    rig.run(1.0)
    rig.silent |= {"joint_states", "image/front"}
    rig.answers.clear()
    for _ in range(2):
        rig.now_s -= 40.0
        rig.carry_out(rig.executor.tick(rig.now_s))
    rig.now_s += 0.6
    rig.carry_out(rig.executor.tick(rig.now_s))
    assert all(abs(hold.arm.stamp_s - at_s) <= 0.1 for at_s, hold in rig.sent() if isinstance(hold, Hold))
    assert rig.executor.state is ExecutorState.BRAKING
    rig.now_s += 0.4
    rig.executor.tick(rig.now_s)
    assert rig.executor.state is ExecutorState.HOLDING


def test_time_that_passed_without_ticks_before_an_activation_is_no_jump():
    rig = Rig(following(walk(3)), 0.05).begin()
    rig.run(0.5)
    rig.carry_out(rig.executor.deactivate(rig.now_s))
    rig.answers.clear()
    rig.run(0.5)
    rig.now_s += 30.0
    rig.begin().run(1.0)
    assert rig.executor.stop_reason is None and rig.executor.state is ExecutorState.EXECUTING
