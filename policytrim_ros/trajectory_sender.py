"""Brings trajectories to the controllers: on topics, or as goals of an action."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from trajectory_msgs.msg import JointTrajectory

from policytrim_gym.errors import MissingExtra
from policytrim_ros import messages
from policytrim_ros.control.commands import Hold, Publish
from policytrim_ros.goal_channel import GoalChannel, GoalFailure

ARM, GRIPPER = "arm", "gripper"
"""Channels: the controllers that a command may have a part for."""


class TopicSender:
    """Publishes on the topics joint_trajectory and gripper_trajectory.

    Args:
        node: a lifecycle node; while it is not active nothing is sent.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._publishers = {
            channel: node.create_lifecycle_publisher(JointTrajectory, topic, 10)
            for channel, topic in ((ARM, "joint_trajectory"), (GRIPPER, "gripper_trajectory"))
        }

    @property
    def missing(self) -> str:
        """Who is not there to take what is sent, in words; empty: nobody, as far as can be known."""
        return ""

    def send(self, command: Publish | Hold, without: str = "") -> None:
        """Sends the parts of a command, and waits for nothing.

        Args:
            command: the motion.
            without: a channel that gets none of it; empty: all get their part.
        """
        for channel, trajectory in ((ARM, command.arm), (GRIPPER, command.gripper)):
            if trajectory is not None and channel != without:
                self._send(channel, messages.to_joint_trajectory(trajectory))

    def check(self) -> None:
        """Notices what only time shows; to be called at each tick."""

    def forget(self) -> None:
        """Begins anew: what becomes of all that was sent so far is of no interest any more."""

    def flush(self, timeout_s: float) -> None:
        """Waits at most so long until what was sent has been taken [s]; for the end of a process alone."""
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=timeout_s))

    def destroy(self) -> None:
        """Ends the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)

    def _send(self, channel: str, message: Any) -> None:
        self._publishers[channel].publish(message)


class ActionSender(TopicSender):
    """Sends goals of control_msgs/action/FollowJointTrajectory, and publishes the same on the topics, for whoever listens or records.

    Args:
        node: see `TopicSender`.
        actions: name of the action by channel.
        on_failure: called with the channel and the failure when a controller does not follow; see `GoalChannel`.

    Raises:
        MissingExtra: control_msgs cannot be imported.
    """

    def __init__(self, node: Any, actions: dict[str, str], on_failure: Callable[[str, GoalFailure], None]) -> None:
        self._action_type = _follow_joint_trajectory()
        super().__init__(node)
        self._goals = {
            channel: GoalChannel(node, self._action_type, name, partial(on_failure, channel)) for channel, name in actions.items()
        }

    @property
    def missing(self) -> str:
        names = [channel.name for channel in self._goals.values() if not channel.is_ready]
        return f"action server {' and '.join(names)}" if names else ""

    def check(self) -> None:
        for channel in self._goals.values():
            channel.check()

    def forget(self) -> None:
        for channel in self._goals.values():
            channel.forget()

    def flush(self, timeout_s: float) -> None:
        executor, end_s = SingleThreadedExecutor(context=self._node.context), time.monotonic() + timeout_s
        executor.add_node(self._node)
        while not all(channel.is_answered for channel in self._goals.values()) and time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.01)
        executor.remove_node(self._node)
        executor.shutdown()  # see nodes/process.py
        super().flush(timeout_s)

    def destroy(self) -> None:
        for channel in self._goals.values():
            channel.destroy()
        super().destroy()

    def _send(self, channel: str, message: Any) -> None:
        self._goals[channel].send(self._action_type.Goal(trajectory=message))
        super()._send(channel, message)


def _follow_joint_trajectory() -> Any:
    """Returns the type of the action; by name, since control_msgs comes with a ROS distribution only."""
    try:
        return importlib.import_module("control_msgs.action").FollowJointTrajectory
    except ImportError as error:
        package = f"ros-{os.environ.get('ROS_DISTRO', '<distro>')}-control-msgs"
        raise MissingExtra(f"command_interface action needs control_msgs: install {package}, or choose topic ({error})") from error
