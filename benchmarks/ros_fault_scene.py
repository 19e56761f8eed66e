"""Real processes that can be killed and inputs that can be frozen, and everything that a subscriber of its own hears meanwhile."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.qos import qos_profile_sensor_data
from ros_probe import SETTLE_S, Probe
from ros_scripted_policies import ROBOT
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from policytrim_ros import messages
from policytrim_ros.control.chunk_execution import ChunkExecution
from policytrim_ros.control.commands import PUBLISHED, ChunkRecord
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.demo.logged_process import LoggedProcess, uninterrupted
from policytrim_ros.launch_plan import launch_plan

SERVER, SIM, POLICY, MONITOR = "policy server", "sim_arm_node", "policy_node", "monitor_node"
CAMERA, JOINTS = "image/front", "joint_states"
HERE = Path(__file__).resolve().parent
STILL_RAD_S = 0.02
ANSWER_S = 2.0
"""A service that says nothing for so long is asked again: a node that was killed is believed alive for a while [s]."""


@dataclass
class Heard:
    """What came on the topics, in the order of arrival; times are stamps, of the clock that all nodes have [s]."""

    now_s: float = 0.0  # of the newest joint state
    still_since_s: float | None = None  # None while a joint moves
    positions: NDArray[np.float64] = field(default_factory=lambda: np.zeros(ROBOT.dof))
    sent: list[tuple[float, Trajectory]] = field(default_factory=list)  # with the time of arrival
    chunks: list[ChunkRecord] = field(default_factory=list)  # those that were published
    executions: list[ChunkExecution] = field(default_factory=list)
    statuses: list[tuple[float, str, str, str]] = field(default_factory=list)  # when, name, message, stop_reason

    def joints_arrived(self, message: Any) -> None:
        """Takes the arm's own joint states, whatever reaches the policy."""
        measured, velocities = messages.from_joint_state(message), messages.joint_velocities(message)
        self.now_s = messages.to_seconds(message.header.stamp)
        self.positions = np.array([measured[name] for name in ROBOT.config.joints])
        if any(abs(velocities[name]) > STILL_RAD_S for name in ROBOT.config.joints):
            self.still_since_s = None
        elif self.still_since_s is None:
            self.still_since_s = self.now_s

    def trajectory_arrived(self, message: Any) -> None:
        """Takes what the arm's controller gets."""
        self.sent.append((self.now_s, messages.from_joint_trajectory(message)))

    def info_arrived(self, message: Any) -> None:
        """Takes what policy_node says of a chunk."""
        record = messages.from_chunk_info(message)
        if record.verdict == PUBLISHED:
            self.chunks.append(record)

    def execution_arrived(self, message: Any) -> None:
        """Takes what monitor_node says of a chunk."""
        self.executions += [ChunkExecution.from_values({pair.key: pair.value for pair in status.values}) for status in message.status]

    def diagnostics_arrived(self, message: Any) -> None:
        """Takes all that any node says of itself."""
        for status in message.status:
            reason = next((pair.value for pair in status.values if pair.key == "stop_reason"), "")
            self.statuses.append((self.now_s, status.name, status.message, reason))

    def reasons(self, since_s: float) -> set[str]:
        """Returns the reasons for which policy_node said that it stopped, since a time."""
        return {reason for at_s, _, _, reason in self.statuses if reason and at_s > since_s}

    def is_held(self) -> bool:
        """Returns whether the last command on the wire ends at rest where the arm is measured."""
        last = self.sent[-1][1]
        at_rest = last.velocities is not None and not last.velocities[-1].any()
        return at_rest and bool(np.abs(last.positions[-1] - self.positions).max() < 0.01)


class FaultScene:
    """Sim arm, policy server, policy_node and monitor_node, each as a process; camera and joint states reach policy_node through a relay.

    Args:
        folder: for logs and recordings.
        environment: of the DDS domain.
        real_time_factor: of a simulated clock; None: the machine's clock.
    """

    def __init__(self, folder: Path, environment: dict[str, str], real_time_factor: float | None) -> None:
        self.recording, self._folder = folder / "recording", folder
        self.frozen: set[str] = set()  # topics that are not relayed
        self.heard = Heard()
        self._commands, self._environment = _commands(self.recording, real_time_factor)
        self._environment |= environment
        self._processes: dict[str, LoggedProcess] = {}

    def __enter__(self) -> FaultScene:
        self._probe = Probe("ros_faults", self._check)
        try:
            for name in self._commands:
                self.start(name)
            self._listen()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._end()

    def start(self, name: str) -> None:
        """Starts a process; of the server, returns when it serves."""
        process = LoggedProcess(self._commands[name], self._folder / f"{name.replace(' ', '_')}.log", self._environment)
        self._processes[name] = process
        if name == SERVER:
            self.until(lambda: "Ctrl-C stops" in process.said, "the policy server")

    def kill(self, name: str) -> None:
        """Ends a process as kill -9 does."""
        self._processes.pop(name).kill()

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Returns when a condition holds; raises WorkerFailed when it does not in time."""
        self._probe.until(condition, what)

    def pause(self, duration_s: float) -> None:
        """Lets time of the nodes' clock pass."""
        end_s = self.heard.now_s + duration_s
        self.until(lambda: self.heard.now_s > end_s, "joint states")

    def says(self, node: str, since_s: float) -> bool:
        """Returns whether a node has told of itself since a time: it is there, and active."""
        return any(at_s > since_s and name.startswith(f"/{node}") for at_s, name, _, _ in self.heard.statuses)

    def ask(self, service: str) -> bool:
        """Calls a service; returns whether it agreed, False also when it said nothing."""
        client = self._probe.node.create_client(Trigger, service)
        try:
            self.until(client.service_is_ready, f"the service {service}")
            future, deadline = client.call_async(Trigger.Request()), time.monotonic() + ANSWER_S
            self.until(lambda: future.done() or time.monotonic() > deadline, f"an answer of {service}")
            return future.done() and bool(future.result().success)
        finally:
            self._probe.node.destroy_client(client)

    def _listen(self) -> None:
        heard = self.heard
        for kind, topic, qos in ((JointState, JOINTS, 10), (Image, CAMERA, qos_profile_sensor_data)):
            publisher = self._probe.node.create_publisher(kind, f"relayed/{topic}", qos)
            self._probe.node.create_subscription(kind, topic, partial(self._relay, topic, publisher), qos, raw=True)
        self._probe.listen(JointState, JOINTS, heard.joints_arrived)
        self._probe.listen(JointTrajectory, "joint_trajectory", heard.trajectory_arrived)
        self._probe.listen(DiagnosticArray, "chunk_info", heard.info_arrived)
        self._probe.listen(DiagnosticArray, "execution", heard.execution_arrived)
        self._probe.listen(DiagnosticArray, "/diagnostics", heard.diagnostics_arrived)
        # Sim arm and monitor must hear the policy's node too, and the sim arm's frames must reach it.
        for node in (POLICY, MONITOR):
            self.until(partial(self.says, node, 0.0), f"diagnostics of {node}")
        for topic, count in (("joint_trajectory", 3), ("chunk_info", 2)):
            self.until(partial(self._has_subscribers, topic, count), f"{count} subscribers of {topic}")
        self._probe.sleep(SETTLE_S)

    def _has_subscribers(self, topic: str, count: int) -> bool:
        return self._probe.node.count_subscribers(topic) >= count

    def _relay(self, topic: str, publisher: Any, data: bytes) -> None:
        if topic not in self.frozen:
            publisher.publish(data)

    def _check(self) -> None:
        for process in self._processes.values():
            process.check()

    def _end(self) -> None:
        with uninterrupted():
            for name in (POLICY, SIM, SERVER, MONITOR):
                if name in self._processes:
                    self._processes.pop(name).end()
            self._probe.__exit__(None, None, None)


def _commands(recording: Path, real_time_factor: float | None) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Returns the command of each process, in the order of starting, and their environment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    given = {"policy": f"ws://127.0.0.1:{port}", "task": "reach", "gripper_controller": "true", "record": str(recording)}
    if real_time_factor is not None:
        given |= {"use_sim_time": "true", "real_time_factor": str(real_time_factor)}
    plan = launch_plan("sim", given)
    relayed = tuple((topic, f"relayed/{topic}") for topic in (CAMERA, JOINTS))
    nodes = {node.executable: node for node in plan.nodes}
    nodes[SIM] = nodes[SIM]._replace(parameters={**nodes[SIM].parameters, "max_episode_steps": 100_000})
    nodes[POLICY] = nodes[POLICY]._replace(remappings=relayed)
    uri = "python:ros_seeing_policy:seeing_circle_policy"
    serve = [sys.executable, "-m", "policytrim_gym", "serve", "--policy", uri, "--port", str(port)]
    environment = {**plan.environment, "PYTHONPATH": str(HERE)}
    return {SERVER: serve, **{name: node.command() for name, node in nodes.items()}}, environment
