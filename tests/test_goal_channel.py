"""Goals to a controller: the newest one counts, nothing is waited for, and no end of it is silent."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

pytest.importorskip("rclpy")
from rclpy.action.client import GoalStatus
from rclpy.task import Future
from trajectory_msgs.msg import JointTrajectory

from policytrim_gym.errors import MissingExtra
from policytrim_ros import goal_channel
from policytrim_ros.control.commands import Hold, StopReason
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.goal_channel import MOST_CHECKS, GoalChannel
from policytrim_ros.trajectory_sender import ActionSender, TopicSender

SUCCEEDED, CANCELED, ABORTED = GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED


class Handle:
    """What a server said to a goal."""

    def __init__(self, accepted):
        self.accepted, self.result = accepted, Future()

    def get_result_async(self):
        return self.result


class Client:
    """Remembers the order of calls instead of making them."""

    calls: list = []
    is_there = True

    def __init__(self, node, action_type, name):
        self.name, self.goals = name, []

    def server_is_ready(self):
        return self.is_there

    def send_goal_async(self, goal):
        self.calls.append((self.name, goal))
        self.goals.append(Future())
        return self.goals[-1]

    def answer(self, index, accepted=True):
        handle = Handle(accepted)
        self.goals[index].set_result(handle)
        return handle

    def destroy(self):
        self.calls.append((self.name, "destroyed"))


def end(handle, status, error_code=0, error_string=""):
    result = types.SimpleNamespace(error_code=error_code, error_string=error_string)
    handle.result.set_result(types.SimpleNamespace(status=status, result=result))


@pytest.fixture
def channel(monkeypatch):
    monkeypatch.setattr(goal_channel, "ActionClient", Client)
    monkeypatch.setattr(Client, "calls", [])
    failures = []
    made = GoalChannel(None, None, "/arm/follow", failures.append)
    made.failures = failures
    return made


def test_a_goal_goes_out_whatever_became_of_the_former_one_and_no_cancel_before_it(channel):
    channel.send("chunk")
    channel.send("hold")
    channel._client.answer(0)
    channel.send("measured hold")
    assert Client.calls == [("/arm/follow", "chunk"), ("/arm/follow", "hold"), ("/arm/follow", "measured hold")]
    assert channel.failures == []


def test_the_end_of_a_replaced_goal_says_nothing(channel):
    channel.send("chunk")
    first = channel._client.answer(0)
    channel.send("next chunk")
    end(first, CANCELED, -1, "Current goal cancelled due to new incoming action.")
    second = channel._client.answer(1)
    end(second, SUCCEEDED)
    assert channel.failures == []


def test_a_replaced_goal_may_be_refused_late(channel):
    channel.send("chunk")
    channel.send("next chunk")
    channel._client.answer(0, accepted=False)
    assert channel.failures == []
    channel._client.answer(1, accepted=False)
    assert channel.failures == [("/arm/follow rejected a goal", False)]


@pytest.mark.parametrize(
    ("status", "code", "words", "message"),
    [
        (ABORTED, -4, "elbow", "/arm/follow aborted a goal: error -4, path tolerance violated (elbow)"),
        (ABORTED, 0, "", "/arm/follow aborted a goal: no error code"),
        (CANCELED, 0, "", "/arm/follow cancelled a goal: no error code"),  # by somebody else
        (SUCCEEDED, -5, "two\nlines", "/arm/follow ended a goal: error -5, goal tolerance violated (two lines)"),
        (GoalStatus.STATUS_UNKNOWN, 0, "", "/arm/follow has status 0 for a goal: no error code"),
    ],
)
def test_every_end_of_the_newest_goal_but_success_is_told(channel, status, code, words, message):
    channel.send("chunk")
    end(channel._client.answer(0), status, code, words)
    assert channel.failures == [(message, True)]


def test_a_controller_that_does_not_answer_is_told_once_even_when_newer_goals_go_out(channel):
    for index in range(MOST_CHECKS):
        if index % 10 == 0:
            channel.send("chunk")
        channel.check()
    assert channel.failures == []
    channel.check()
    channel.check()
    assert channel.failures == [("/arm/follow must answer a goal, its server is there and silent", False)]
    channel._client.is_there = False
    channel.send("chunk")
    channel._client.answer(-1)
    for _ in range(2 * MOST_CHECKS):  # answered: however long it runs
        channel.check()
    assert len(channel.failures) == 1


def test_what_becomes_of_goals_that_were_forgotten_is_not_told(channel):
    for _ in range(2):
        channel.send("hold")
    accepted = channel._client.answer(0)
    channel.forget()
    end(accepted, ABORTED, -4)
    for _ in range(2 * MOST_CHECKS):  # the second one is never answered
        channel.check()
    channel._client.answer(1, accepted=False)
    assert channel.failures == [] and channel.is_answered
    channel.send("chunk")
    channel._client.answer(2, accepted=False)
    assert channel.failures == [("/arm/follow rejected a goal", False)]


class Node:
    """Makes publishers that remember."""

    context = None

    def create_lifecycle_publisher(self, kind, topic, depth):
        assert kind is JointTrajectory
        return types.SimpleNamespace(publish=lambda message: Client.calls.append((topic, message)))

    def destroy_lifecycle_publisher(self, publisher):
        Client.calls.append("publisher destroyed")


@pytest.fixture
def control_msgs(monkeypatch):
    action = types.ModuleType("control_msgs.action")
    action.FollowJointTrajectory = types.SimpleNamespace(Goal=types.SimpleNamespace)
    monkeypatch.setitem(sys.modules, "control_msgs", types.ModuleType("control_msgs"))
    monkeypatch.setitem(sys.modules, "control_msgs.action", action)
    monkeypatch.setattr(goal_channel, "ActionClient", Client)
    monkeypatch.setattr(Client, "calls", [])


def hold():
    arm, gripper = (Trajectory((name,), np.zeros((1, 1)), np.zeros((1, 1)), np.ones(1), 5.0) for name in ("elbow", "finger"))
    return Hold(arm, gripper, StopReason.STOPPED, "")


def test_a_goal_is_the_message_of_the_topic_and_goes_out_before_it(control_msgs):
    sender = ActionSender(Node(), {"arm": "/arm/follow", "gripper": "/gripper/follow"}, print)
    sender.send(hold())
    (first, goal), (second, arm), (third, fingers), (fourth, gripper) = Client.calls
    assert (first, second, third, fourth) == ("/arm/follow", "joint_trajectory", "/gripper/follow", "gripper_trajectory")
    assert goal.trajectory is arm and fingers.trajectory is gripper
    topics = TopicSender(Node())
    Client.calls.clear()
    topics.send(hold())
    assert Client.calls == [("joint_trajectory", arm), ("gripper_trajectory", gripper)] and topics.missing == ""


def test_a_controller_that_holds_by_itself_gets_no_braking_and_the_other_one_does(control_msgs):
    sender = ActionSender(Node(), {"arm": "/arm/follow", "gripper": "/gripper/follow"}, print)
    sender.send(hold(), without="arm")
    assert [name for name, _ in Client.calls] == ["/gripper/follow", "gripper_trajectory"]


def test_every_action_server_that_is_not_there_is_named(control_msgs, monkeypatch):
    sender = ActionSender(Node(), {"arm": "/arm/follow", "gripper": "/gripper/follow"}, print)
    assert sender.missing == ""
    monkeypatch.setattr(Client, "is_there", False)
    assert sender.missing == "action server /arm/follow and /gripper/follow"


def test_a_failure_names_its_channel(control_msgs):
    failures = []
    sender = ActionSender(Node(), {"arm": "/arm/follow"}, lambda *failure: failures.append(failure))
    for _ in range(MOST_CHECKS + 1):
        sender.send(hold(), without="gripper")
        sender.check()
    assert failures == [("arm", ("/arm/follow must answer a goal, its server is there and silent", False))]


@pytest.mark.parametrize(("distro", "package"), [("jazzy", "ros-jazzy-control-msgs"), (None, "ros-<distro>-control-msgs")])
def test_without_control_msgs_its_package_is_named(monkeypatch, distro, package):
    monkeypatch.setitem(sys.modules, "control_msgs", None)
    monkeypatch.setitem(sys.modules, "control_msgs.action", None)
    monkeypatch.setenv("ROS_DISTRO", distro) if distro else monkeypatch.delenv("ROS_DISTRO", raising=False)
    with pytest.raises(MissingExtra) as raised:
        ActionSender(Node(), {"arm": "/arm/follow"}, print)
    words = str(raised.value)
    assert "command_interface action needs control_msgs: install " + package in words and "or choose topic" in words and "\n" not in words
