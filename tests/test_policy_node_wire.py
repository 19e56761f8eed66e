"""policy_node as a process before an arm of the test's own: what it hears, and what it does when a controller does not follow its goals."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros import messages

for module in ("rclpy", "test_msgs"):
    pytest.importorskip(module)
# ruff: noqa: E402 - ROS may be missing, and then these are not there
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.action import ActionServer, GoalResponse
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from ros_processes import ros_domain
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from test_msgs.action import Fibonacci
from trajectory_msgs.msg import JointTrajectory

pytestmark = pytest.mark.slow

ROBOT = load_robot("policytrim_arm")
JOINTS = (*ROBOT.config.joints, *ROBOT.config.gripper.joints)
POLICY = "python:tests.small_arm_policies:swing_policy"
STAND_INS = Path(__file__).parent / "stand_ins"
ARM_ACTION, GRIPPER_ACTION = "/arm/follow_joint_trajectory", "/gripper/follow_joint_trajectory"
PATIENT = {
    "max_observation_age_s": 5.0,
    "max_state_age_s": 1.0,
    "max_clock_gap_s": 5.0,
    "joint_states_timeout_s": 5.0,
    "policy_timeout_s": 5.0,
}
"""Limits of ages and silences: on a busy machine a process may stand still for a while."""


class Arm:
    """Says at 100 Hz that it stands at home, to a policy_node that runs a swing."""

    def __init__(self, ros, reliability=ReliabilityPolicy.RELIABLE, **parameters):
        self.ros = ros
        self.node = ros.start("policy_node", policy=POLICY, autostart=True, **PATIENT, **parameters)
        self.trajectories = ros.listen(JointTrajectory, "joint_trajectory")
        self.diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
        self._states = ros.probe.create_publisher(JointState, "joint_states", QoSProfile(depth=10, reliability=reliability))
        ros.probe.create_timer(0.01, self._publish)

    def _publish(self):
        positions = np.append(ROBOT.home, [0.04, 0.04])
        self._states.publish(messages.to_joint_state(JOINTS, positions, np.zeros(len(JOINTS)), time.time()))

    def call(self, name):
        return self.ros.call(Trigger, name, Trigger.Request())

    def change(self, *transitions):
        """Takes it through its lifecycle."""
        for name in transitions:
            transition = Transition(id=getattr(Transition, f"TRANSITION_{name}"))
            assert self.ros.call(ChangeState, "policy_node/change_state", ChangeState.Request(transition=transition)).success

    def start(self):
        """Has it move, and returns the number of trajectories before."""
        before = len(self.trajectories)
        self.ros.until(lambda: self.call("policy/start").success, "a start")
        self.ros.until(lambda: len(self.trajectories) > before, "a chunk")
        return before

    def status(self):
        """Returns what it says next, which is once a second."""
        before = len(self.diagnostics)
        self.ros.until(lambda: len(self.diagnostics) > before, "diagnostics")
        return {pair.key: pair.value for pair in self.diagnostics[-1].status[0].values}


@pytest.mark.parametrize("reliability", [ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE])
def test_joint_states_are_heard_whether_their_driver_publishes_reliably_or_not(tmp_path, reliability):
    with ros_domain(tmp_path) as ros:
        Arm(ros, reliability).start()


class Controller:
    """An action server that takes goals or not, aborts each when the next one comes, and remembers them."""

    def __init__(self, ros, name):
        self._ros, self.goals, self.accepts = ros, [], True
        self._error_code = Future()
        self._server = ActionServer(
            ros.probe, Fibonacci, name, self._execute, goal_callback=self._goal, handle_accepted_callback=self._accepted
        )

    def destroy(self):
        # In the thread that waits for it: rclpy's wait set does not look whether it is there still.
        self._ros.until(self._ros.probe.executor.create_task(self._server.destroy).done, "the end of a server")

    def end(self, error_code):
        """Aborts the present goal."""
        self._error_code.set_result(error_code)

    def _goal(self, goal):
        return GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT

    def _accepted(self, handle):
        self.goals.append(handle.request.order)
        if not self._error_code.done():
            self.end(-1)
        self._error_code = Future()
        handle.execute()

    async def _execute(self, handle):
        error_code = await self._error_code
        handle.abort()  # also a goal that was replaced
        return Fibonacci.Result(sequence=[error_code])


@pytest.fixture
def arm(tmp_path, monkeypatch):
    """An arm and a gripper behind actions."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(STAND_INS), os.environ.get("PYTHONPATH", "")]))
    with ros_domain(tmp_path) as ros:
        arm = Arm(ros, command_interface="action", arm_action=ARM_ACTION, gripper_action=GRIPPER_ACTION)
        refused = arm.ros.until(lambda: arm.call("policy/start"), "an answer")
        assert not refused.success
        assert refused.message == (
            f"the controllers must be there before anything moves, there is no action server {ARM_ACTION} and {GRIPPER_ACTION}"
        )
        arm.controller, arm.gripper = Controller(ros, ARM_ACTION), Controller(ros, GRIPPER_ACTION)
        yield arm


def test_goals_go_to_controllers_and_every_way_in_which_one_does_not_follow_is_a_stop_with_its_reason(arm):
    def stopped(words):
        status = arm.ros.until(lambda: (status := arm.status())["state"] == "holding" and status, words)
        assert status["stop_reason"] == "controller_failed" and words in status["stop_message"]
        return len(arm.trajectories)

    arm.start()
    arm.ros.until(lambda: len(arm.controller.goals) >= 3 and len(arm.gripper.goals) >= 3, "chunks that replace one another")
    assert arm.status()["stop_reason"] == ""  # though the server has aborted every goal that was replaced
    arm.ros.until(lambda: len(arm.trajectories) >= 3, "the same on the topic")
    recorded = [len(message.points) for message in arm.trajectories[:3]]
    assert arm.controller.goals[:3] == recorded

    arm.controller.end(-4)
    count = stopped(f"{ARM_ACTION} aborted a goal: error -4, path tolerance violated (stands in)")
    goals = len(arm.controller.goals)
    assert not arm.call("policy/start").success
    time.sleep(0.3)
    assert (len(arm.trajectories), len(arm.controller.goals)) == (count, goals)  # a hold, and nothing after it

    arm.ros.until(lambda: arm.call("policy/rearm").success, "a rearm")
    arm.ros.until(lambda: len(arm.trajectories) > count, "a chunk")
    assert arm.status()["stop_reason"] == ""
    arm.gripper.accepts = False
    stopped(f"{GRIPPER_ACTION} rejected a goal")
    assert arm.node.stop() == 0 and "Traceback" not in arm.node.said


def test_the_last_goal_before_the_process_ends_is_the_hold(arm):
    arm.start()
    assert arm.node.stop(signal.SIGTERM) == 0, arm.node.said
    arm.ros.until(lambda: len(arm.controller.goals) == len(arm.trajectories), "the last trajectory and goal")
    last = messages.from_joint_trajectory(arm.trajectories[-1])
    assert arm.controller.goals[-1] == len(last.times_s) and not last.velocities[-2:].any()  # it rests to the end


def test_the_end_of_a_goal_from_before_an_activation_is_no_stop_of_it(arm):
    arm.start()
    arm.change("DEACTIVATE")
    arm.ros.until(lambda: 1 < len(arm.trajectories) == len(arm.controller.goals), "the hold as a goal")
    arm.change("ACTIVATE")
    arm.controller.end(-4)  # as when somebody else moves the arm meanwhile
    time.sleep(0.3)
    assert arm.status()["state"] == "ready"
    arm.start()


def test_a_controller_that_is_gone_is_a_stop_and_refuses_a_rearm(arm):
    arm.start()
    arm.controller.destroy()
    arm.ros.until(lambda: f"{ARM_ACTION} must answer a goal, its server is gone" in arm.status()["stop_message"], "a stop")
    arm.ros.until(lambda: arm.status()["state"] == "holding", "a hold")
    assert arm.call("policy/rearm").message.endswith(f"there is no action server {ARM_ACTION}")
    arm.controller = Controller(arm.ros, ARM_ACTION)
    arm.change("DEACTIVATE", "CLEANUP", "CONFIGURE", "ACTIVATE")
    arm.start()
    arm.ros.until(lambda: len(arm.controller.goals) >= 2, "goals of a node that was configured anew")
    assert arm.status()["stop_reason"] == ""


def test_without_control_msgs_one_line_says_what_to_install(tmp_path):
    with ros_domain(tmp_path) as ros:
        node = ros.start("policy_node", policy=POLICY, autostart=True, command_interface="action")
        ros.until(lambda: "\n" in node.said, "what is wrong")
        assert "not configured: command_interface action needs control_msgs: install ros-" in node.said and node.said.count("\n") == 1
        assert node.stop() == 0
