"""Runs episodes of the simulated arm through the services that a user has, and gathers what the monitor says of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from policytrim_gym.errors import WorkerFailed
from policytrim_gym.metrics import RolloutRecord
from policytrim_ros import messages
from policytrim_ros.control.commands import PUBLISHED, ChunkRecord, StopReason

READY_S = 120.0
"""For what takes a few seconds: starting, discovery, loading a policy, a service [s]."""
ROLLOUT_S = 60.0
"""Longest simulated time of an episode, waiting included [s]."""
MAX_REARMS = 5
"""In one episode, before anything was published: on a busy machine the first answers may come too late for the gate."""
SETTLE_S = 1.0
"""Between the first sight of all topics and the first message: the nodes find one another as late as this one finds them [s]."""


class DrivenRollout(NamedTuple):
    """An episode, every answer of the policy in it, and the reasons for which the policy's node stopped the arm, if it did."""

    record: RolloutRecord
    chunks: tuple[ChunkRecord, ...]
    stops: tuple[str, ...]


class RolloutDriver:
    """A node that starts, stops and resets.

    Args:
        domain_id: of the DDS domain.
        check: raises when a process has ended; called while something is waited for.
        real_time_factor: simulated seconds in a second.
    """

    def __init__(self, domain_id: int, check: Callable[[], None], real_time_factor: float = 1.0) -> None:
        self._check = check
        self._rollout_s = ROLLOUT_S / min(real_time_factor, 1.0)
        self._context = Context()
        # Ctrl-C is this process's, which must still stop the others.
        rclpy.init(context=self._context, domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("ros_demo", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._rollouts: list[RolloutRecord] = []
        self._chunks: list[ChunkRecord] = []
        self._stop_reason = self._stop_message = ""  # that the policy's node told last
        self._num_trajectories = 0
        subscribe = self._node.create_subscription
        self._subscriptions = [
            subscribe(String, "rollout", self._rollout_arrived, 100),
            subscribe(DiagnosticArray, "chunk_info", lambda message: self._chunks.append(messages.from_chunk_info(message)), 100),
            subscribe(JointTrajectory, "joint_trajectory", self._trajectory_arrived, 100),
            subscribe(DiagnosticArray, "/diagnostics", self._diagnostics_arrived, 100),
        ]
        self._services = {
            name: self._node.create_client(Trigger, name) for name in ("policy/start", "policy/stop", "policy/rearm", "sim_arm/reset")
        }
        self._end_rollout = self._node.create_client(SetBool, "monitor/end_rollout")
        self._lifecycle = self._node.create_client(ChangeState, "policy_node/change_state")

    def __enter__(self) -> RolloutDriver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._executor.remove_node(self._node)
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def wait_until_ready(self) -> None:
        """Returns when all nodes are there, and have had the time to find one another.

        Raises:
            WorkerFailed: one ended or was not there in time.
        """
        clients = {**self._services, "monitor/end_rollout": self._end_rollout, "policy_node/change_state": self._lifecycle}
        for name, client in clients.items():
            self._until(client.service_is_ready, f"the service {name}")
        for subscription in self._subscriptions:
            self._until(subscription.get_publisher_count, f"a publisher of {subscription.topic_name}")
        # This node's own subscription is among them.
        for topic, count in (("joint_trajectory", 3), ("joint_states", 2), ("chunk_info", 2)):
            self._until(partial(self._has_subscribers, topic, count), f"{count} subscribers of {topic}")
        ready_s = time.monotonic() + SETTLE_S
        self._until(lambda: time.monotonic() > ready_s, "the nodes to settle")

    def run(self, index: int) -> DrivenRollout:
        """Runs the next episode, whose initial state is the one that the arm shows when `index` is 0, else the next one.

        Raises:
            WorkerFailed: a node ended, refused, or said nothing in time.
        """
        state = index
        if index:
            # Not a rearm, after which the gripper would go on as it was told in the last episode: the reset has moved it.
            self._change(Transition.TRANSITION_DEACTIVATE)
            words = self._call("sim_arm/reset")
            state = int(words.split()[2].rstrip(","))
            self._change(Transition.TRANSITION_ACTIVATE)
        first, chunks = len(self._rollouts), len(self._chunks)
        self._call("policy/start")
        stops = self._until_ended(first)
        self._stop()
        return DrivenRollout(replace(self._rollouts[first], initial_state=state), tuple(self._chunks[chunks:]), tuple(stops))

    def _until_ended(self, first: int) -> list[str]:
        """Waits for the record of the episode, and rearms where the policy was stopped before it moved; returns the reasons of stops.

        Once the arm has moved a stop is what it would be on a robot without an operator: the episode fails at its time limit.
        """
        stops: list[str] = []
        published = self._num_trajectories
        self._stop_reason = ""

        def ended() -> bool:
            if self._stop_reason and self._stop_reason not in stops:
                stops.append(self._stop_reason)
            return len(self._rollouts) > first

        for _ in range(MAX_REARMS):
            self._until(lambda: ended() or self._stopped_since(published), "the end of an episode", self._rollout_s)
            if len(self._rollouts) > first:
                break
            self._answer("policy/rearm")
            self._stop_reason = ""
        else:
            last = f"{', '.join(stops)}, at last because {self._stop_message}"
            raise WorkerFailed(f"the policy must begin to move, it was stopped {MAX_REARMS} times: {last}")
        return stops

    def _stopped_since(self, num_trajectories: int) -> bool:
        """Returns whether the policy was stopped and nothing was published meanwhile."""
        return bool(self._stop_reason) and self._num_trajectories == num_trajectories

    def _stop(self) -> None:
        """Stops the policy, and returns when the arm has been told to hold where it is measured: a later command would begin an episode."""
        first = self._num_trajectories
        before = self._call("policy/stop").rpartition(" ")[2]
        still_to_come = {"holding": 0, "braking": 1}.get(before, 2)  # braking, then the hold of the measured position
        self._until(lambda: self._num_trajectories >= first + still_to_come, "the hold after a stop")

    def _change(self, transition: int) -> None:
        """Asks the policy's node for a transition of its lifecycle."""
        future = self._lifecycle.call_async(ChangeState.Request(transition=Transition(id=transition)))
        self._until(future.done, f"the transition {transition} of policy_node")
        if not future.result().success:
            raise WorkerFailed(f"policy_node must make the transition {transition} of its lifecycle, it did not")

    def _has_subscribers(self, topic: str, count: int) -> bool:
        return bool(self._node.count_subscribers(topic) >= count)

    def _call(self, name: str) -> str:
        """Calls a service and returns its words.

        Raises:
            WorkerFailed: it refused, or did not answer.
        """
        answer = self._answer(name)
        if not answer.success:
            raise WorkerFailed(f"{name} must succeed, it said: {answer.message}")
        return str(answer.message)

    def _answer(self, name: str) -> Any:
        future = self._services[name].call_async(Trigger.Request())
        self._until(future.done, f"an answer of {name}")
        return future.result()

    def _until(self, condition: Callable[[], Any], what: str, timeout_s: float = READY_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._check()
            if time.monotonic() > deadline:
                raise WorkerFailed(f"{what} must come within {timeout_s:g} s, it did not")
            self._executor.spin_once(timeout_sec=0.05)

    def _rollout_arrived(self, message: Any) -> None:
        known = {field.name for field in fields(RolloutRecord)}
        values = {key: value for key, value in json.loads(message.data).items() if key in known}
        self._rollouts.append(RolloutRecord.from_json(values))

    def _trajectory_arrived(self, _: Any) -> None:
        self._num_trajectories += 1

    def _diagnostics_arrived(self, message: Any) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            reason = values.get("stop_reason", "")
            if reason and reason != StopReason.STOPPED.value:  # which is what this node asked for
                self._stop_reason, self._stop_message = reason, values.get("stop_message", "")


def measured_delay_steps(rollouts: list[DrivenRollout]) -> float:
    """Returns how many steps ran from an observation until its chunk took over, the mean over chunks that replaced a running one [steps].

    Chunks that the arm waited for have no such step. 0.0 where there was none.
    """
    steps = [chunk.dropped_steps for rollout in rollouts for chunk in rollout.chunks if chunk.verdict == PUBLISHED and chunk.dropped_steps]
    return sum(steps) / len(steps) if steps else 0.0
