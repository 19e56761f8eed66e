"""Laws of the wiring between topics, executor and policy, on a clock of the test's own."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from executor_rig import DT_S, JOINTS, ROBOT

from policytrim_gym.errors import MissingObservation
from policytrim_ros.control.chunk_executor import ChunkExecutor, ExecutorState
from policytrim_ros.control.chunk_gate import ChunkAnswer, ChunkGate
from policytrim_ros.control.commands import Hold, Publish, Refused, StopReason
from policytrim_ros.control.executor_config import ExecutorConfig
from policytrim_ros.control.latency_estimator import LatencyEstimator
from policytrim_ros.control.observation_joiner import ObservationJoiner
from policytrim_ros.control.policy_loop import Failure, PolicyLoop, Question
from policytrim_ros.control.watchdog import Watchdog

NAMES = (*ROBOT.config.joints, *ROBOT.config.gripper.joints)
TICK_S = 0.01
LATENCY_S = 0.12


class Stage:
    """A loop, an arm that is where the last message sends it at once, a camera, and a policy that turns the first joint."""

    def __init__(self, camera=True, **settings):
        config = ExecutorConfig(control_dt_s=DT_S, chunk_size=16, execute_horizon=8, **settings)
        frames = ("image/front",) if camera else ()
        watchdog = Watchdog({"joint_states": 0.2, **dict.fromkeys(frames, 0.3)}, {"policy": 1.0})
        executor = ChunkExecutor(config, JOINTS, ChunkGate(JOINTS, 16), watchdog, LatencyEstimator(DT_S, LATENCY_S))
        self.loop = PolicyLoop(executor, JOINTS, ObservationJoiner(frames, needs_instruction=True))
        self.now_s, self.at = 100.0, np.array([*ROBOT.home, 0.04, 0.04])
        self.orders, self.due, self.silent = [], [], set()
        self.loop.activate(self.now_s)

    def run(self, duration_s):
        for _ in range(round(duration_s / TICK_S)):
            self.now_s += TICK_S
            if "joints" not in self.silent:
                self.do(self.loop.joints_arrived(dict(zip(NAMES, self.at)), dict.fromkeys(NAMES, 0.0), self.now_s, self.now_s))
            if self.loop.joiner._names and "camera" not in self.silent:
                self.do(self.loop.frame_arrived("image/front", self.now_s, self.now_s, self.now_s))
            for answer in [answer for at_s, answer in self.due if at_s <= self.now_s]:
                self.due.pop(0)
                self.do(self.loop.answered(answer, self.now_s))
            self.do(self.loop.tick(self.now_s))

    def do(self, orders):
        for order in orders:
            self.orders.append(order)
            if isinstance(order, Question):
                targets = np.tile(np.append(ROBOT.home, 0.5), (16, 1))
                targets[:, 0] = 0.002 * np.arange(16) + 0.01 * len(self.of(Question))
                self.due.append((self.now_s + LATENCY_S, ChunkAnswer(targets, JOINTS.labels, order.joined.stamp_s)))

    def of(self, kind):
        return [order for order in self.orders if isinstance(order, kind)]


def begun(**settings):
    stage = Stage(**settings)
    stage.loop.instruction_arrived("push", stage.now_s)
    stage.run(0.05)
    assert stage.loop.start(stage.now_s)[0]
    return stage


@pytest.mark.parametrize("asynchronous", [True, False])
def test_each_question_says_what_the_arm_was_told_before_its_observation(asynchronous):
    stage = begun(asynchronous=asynchronous)
    stage.run(4.0)
    questions, published = stage.of(Question), stage.of(Publish)
    assert len(published) > 4 and not stage.of(Refused)
    np.testing.assert_allclose(questions[0].last_targets, np.append(ROBOT.home, 1.0), atol=1e-9)
    for question, before in zip(questions[1:], published):
        record = before.record
        steps = (question.joined.stamp_s - record.join_s) / DT_S
        last = min(record.dropped_steps + math.ceil(steps - 1e-3), 16 if asynchronous else record.execute_horizon) - 1
        number = 1 + [asked.joined.stamp_s for asked in questions].index(record.observation_stamp_s)
        assert question.previous_stamp_s == record.observation_stamp_s
        if steps > 1e-3:
            assert question.last_targets[0] == pytest.approx(0.01 * number + 0.002 * last, abs=1e-12)
            assert question.last_targets[-1] == 0.5
            assert last <= question.consumed_steps <= last + 1


def test_after_a_stop_a_question_begins_anew_but_for_the_gripper():
    stage = begun()
    stage.run(1.0)
    orders, words = stage.loop.stop(stage.now_s)
    assert isinstance(orders[-1], Hold) and "braking" in words
    for part in (orders[-1].arm, orders[-1].gripper):  # one that comes late is taken still: at its end it only rests
        np.testing.assert_array_equal(part.positions[-1], part.positions[-2])
        assert part.end_s > stage.now_s + 0.9 and not part.velocities[-2:].any()
    stage.do(orders)
    stage.run(1.0)
    assert stage.loop.start(stage.now_s) == (False, "only a ready executor can start, it is holding; call policy/rearm")
    asked = len(stage.of(Question))
    rearmed, words = stage.loop.rearm(stage.now_s)
    assert rearmed and words.startswith("rearmed after stopped; it waits for")
    stage.run(0.1)
    question = stage.of(Question)[asked]
    assert question.previous_stamp_s is None and question.consumed_steps == 0
    np.testing.assert_allclose(question.last_targets, np.append(ROBOT.home, 0.5), atol=1e-9)
    assert stage.loop.rearm(stage.now_s)[1] == "only a holding executor can be rearmed, it is waiting"


def test_the_first_reason_of_a_stop_stands_until_the_rearm():
    stage = begun()
    stage.run(1.0)
    (hold,), _ = stage.loop.stop(stage.now_s, StopReason.CONTROLLER_FAILED, "it aborted")
    assert (hold.reason, hold.message) == (StopReason.CONTROLLER_FAILED, "it aborted")
    stage.do([hold])
    assert stage.loop.stop(stage.now_s)[0] == []  # it brakes already
    stage.run(1.0)
    executor = stage.loop.executor
    assert executor.state is ExecutorState.HOLDING
    assert (executor.stop_reason, executor.stop_message) == (StopReason.CONTROLLER_FAILED, "it aborted")
    assert stage.loop.rearm(stage.now_s)[1].startswith("rearmed after controller_failed; it waits for")
    assert executor.stop_reason is None


def test_an_activation_knows_nothing_of_the_gripper_before_it():
    stage = begun()
    stage.run(1.0)
    stage.do(stage.loop.deactivate(stage.now_s))
    stage.due.clear()
    asked = len(stage.of(Question))
    stage.loop.activate(stage.now_s)
    stage.loop.instruction_arrived("push", stage.now_s)
    stage.run(0.05)
    assert stage.loop.start(stage.now_s)[0]
    stage.run(0.05)
    np.testing.assert_allclose(stage.of(Question)[asked].last_targets, np.append(ROBOT.home, 1.0), atol=1e-9)


def test_an_activation_waits_for_the_instruction_that_holds_now():
    stage = begun()
    stage.run(1.0)
    stage.do(stage.loop.deactivate(stage.now_s))
    asked = len(stage.of(Question))
    stage.loop.activate(stage.now_s)
    assert stage.loop.start(stage.now_s)[0]
    stage.run(0.5)
    assert stage.loop.waiting_for(stage.now_s) == "instruction" and len(stage.of(Question)) == asked
    stage.do(stage.loop.instruction_arrived("push the other one", stage.now_s))
    assert [question.joined.instruction for question in stage.of(Question)[asked:]] == ["push the other one"]


def test_a_rearm_without_joints_says_so():
    stage = begun()
    stage.run(0.5)
    stage.silent.add("joints")
    stage.run(2.0)
    assert stage.loop.executor.stop_reason.value == "joint_states_silent"
    assert stage.loop.rearm(stage.now_s) == (False, "joint states must be fresh before anything moves, none came since the arm was braked")
    stage.silent.clear()
    stage.run(1.0)
    stage.silent.add("joints")
    stage.run(0.5)
    done, words = stage.loop.rearm(stage.now_s)
    age_s = float(re.fullmatch(r"joint states .* moves, the newest are (0\.\d+) s old, the limit is 0\.1 s", words).group(1))
    assert not done and 0.4 < age_s < 0.6


def test_it_says_what_it_waits_for_and_asks_when_the_last_part_is_there():
    stage = Stage()
    assert stage.loop.start(stage.now_s) == (True, "started; it waits for joint_states, image/front")
    stage.run(0.05)
    assert stage.loop.waiting_for(stage.now_s) == "instruction" and not stage.of(Question)
    stage.do(stage.loop.instruction_arrived("push", stage.now_s))
    assert stage.of(Question)[-1].joined.instruction == "push"
    assert stage.loop.waiting_for(stage.now_s) == "the policy"


def test_three_failures_stop_the_arm_for_their_reason():
    stage = begun()
    for _ in range(3):
        stage.run(0.03)
        stage.due.clear()
        stage.do(stage.loop.answered(Failure(stage.of(Question)[-1].joined.stamp_s, "no server"), stage.now_s))
    assert stage.loop.executor.stop_reason.value == "policy_failed" and stage.loop.num_refused == 3
    assert stage.loop.executor.state is ExecutorState.HOLDING and not stage.of(Hold)  # nothing was ever commanded


def test_a_message_that_says_not_where_the_arm_is_changes_nothing():
    stage = begun(camera=False)
    with pytest.raises(MissingObservation, match="joint_2 is missing"):
        stage.loop.joints_arrived({"joint_1": 0.0}, {}, stage.now_s + 1.0, stage.now_s + 1.0)
    stage.run(0.1)
    assert stage.of(Question)[-1].joined.stamp_s <= stage.now_s


def test_a_clock_that_jumps_back_is_a_stop_and_after_a_rearm_the_new_time_counts():
    stage = begun()
    stage.run(1.0)
    stage.due.clear()
    stage.now_s = 50.0
    stage.run(1.0)
    assert stage.loop.executor.stop_reason.value == "clock_jumped" and stage.of(Hold)
    assert stage.loop.rearm(stage.now_s)[0]
    stage.run(0.5)
    assert 51.0 < stage.of(Question)[-1].joined.stamp_s < 51.6 and isinstance(stage.orders[-1], (Publish, Question))
