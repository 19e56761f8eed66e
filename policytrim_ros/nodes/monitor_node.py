"""monitor_node: what chunks and rollouts cost on the arm, from the topics alone, and a recording of them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from policytrim_gym.errors import CannotWrite, InvalidChunk, MissingObservation
from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros import messages
from policytrim_ros.control.chunk_execution import ChunkExecution, EndedRollout
from policytrim_ros.control.execution_health import ERROR, OK, WARN, Health, execution_health
from policytrim_ros.control.execution_monitor import ExecutionMonitor
from policytrim_ros.nodes.monitor_settings import MonitorSettings
from policytrim_ros.nodes.process import run_node
from policytrim_ros.parameters import declare_settings
from policytrim_ros.recording.recorder import Recorder

TICK_S = 0.1
DIAGNOSTICS_S = 1.0
QUEUE = QoSProfile(depth=100)
MEASURED = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Best effort hears drivers that publish reliably, and those that do not, which a reliable subscription would not hear."""
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TYPES = {
    JointState: "sensor_msgs/msg/JointState",
    JointTrajectory: "trajectory_msgs/msg/JointTrajectory",
    DiagnosticArray: "diagnostic_msgs/msg/DiagnosticArray",
    String: "std_msgs/msg/String",
    Image: "sensor_msgs/msg/Image",
}


class MonitorNode(Node):
    """Feeds an `ExecutionMonitor` and a `Recorder`; both get the bytes that came, so that what is recorded is what was sent."""

    def __init__(self) -> None:
        super().__init__("monitor_node")
        self._settings = settings = declare_settings(self, MonitorSettings)
        self._monitor = ExecutionMonitor(load_robot(settings.robot), settings.counting)
        self._recorder: Recorder | None = None
        self._recording_failed = ""
        self._joints_s: float | None = None  # when joint states came last, on the steady clock
        self._num_unreadable: Counter[str] = Counter()  # messages, by topic
        self._disagreeing: set[str] = set()  # parameters that chunk_info says otherwise
        self._health = Health(OK, "no chunk has ended yet")
        self._last: ChunkExecution | None = None
        recorded: dict[str, str] = {}
        self._execution = self._publisher(DiagnosticArray, "execution", QUEUE, recorded)
        self._rollout = self._publisher(String, "rollout", QUEUE, recorded)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", QUEUE)
        self._hear(JointState, "joint_states", MEASURED, recorded, self._joints_arrived)
        self._hear(JointTrajectory, "joint_trajectory", QUEUE, recorded, self._trajectory_arrived)
        self._hear(DiagnosticArray, "chunk_info", QUEUE, recorded, self._chunk_info_arrived)
        self._hear(DiagnosticArray, "/diagnostics", QUEUE, recorded, self._diagnostics_arrived)
        if settings.record:
            self._hear(JointTrajectory, "gripper_trajectory", QUEUE, recorded)
            self._hear(String, "instruction", LATCHED, recorded)
            for camera in settings.cameras:
                self._hear(Image, f"image/{camera}", qos_profile_sensor_data, recorded)
            self._recorder = Recorder(settings.record, recorded)
            self.get_logger().info(f"recording to {self._recorder.path}")
        self.create_service(SetBool, "monitor/end_rollout", self._end_rollout)
        # Steady: a simulated clock may stand still, and the recording must reach the disk all the same.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(TICK_S, self._tick, clock=self._steady)
        self.create_timer(DIAGNOSTICS_S, self._report_health, clock=self._steady)

    def destroy_node(self) -> None:
        if self._recorder is not None:
            self._recording(self._recorder.close)
        super().destroy_node()

    # Wiring.

    def _publisher(self, kind: type[Any], topic: str, qos: QoSProfile, recorded: dict[str, str]) -> Callable[[Any], None]:
        """Returns what publishes on a topic and records it."""
        publisher = self.create_publisher(kind, topic, qos)
        recorded[publisher.topic_name] = TYPES[kind]

        def publish(message: Any) -> None:
            publisher.publish(message)
            self._record(publisher.topic_name, serialize_message(message))

        return publish

    def _hear(
        self, kind: type[Any], topic: str, qos: QoSProfile, recorded: dict[str, str], then: Callable[[Any], None] | None = None
    ) -> None:
        """Subscribes to the bytes of a topic, which are recorded, and read where `then` takes the message."""
        name = self.resolve_topic_name(topic)
        recorded[name] = TYPES[kind]
        self.create_subscription(kind, topic, partial(self._arrived, kind, name, then), qos, raw=True)

    def _arrived(self, kind: type[Any], topic: str, then: Callable[[Any], None] | None, data: bytes) -> None:
        self._record(topic, data)
        if then is None:
            return
        try:
            then(deserialize_message(data, kind))
        except (InvalidChunk, MissingObservation) as error:
            self._num_unreadable[topic] += 1
            if self._num_unreadable[topic] == 1:  # the rest is counted in the diagnostics
                self.get_logger().warning(f"{topic}: {error}")

    def _record(self, topic: str, data: bytes) -> None:
        if self._recorder is not None:
            self._recording(partial(self._recorder.write, topic, data, self.get_clock().now().nanoseconds))

    def _recording(self, act: Callable[[], None]) -> None:
        """Does something with the recording; when that fails, the rest goes on without one."""
        try:
            act()
        except CannotWrite as error:
            self._recorder, self._recording_failed = None, str(error)
            self.get_logger().error(str(error))

    # What arrives.

    @property
    def _now_s(self) -> float:
        return float(self.get_clock().now().nanoseconds) * 1e-9

    def _joints_arrived(self, message: Any) -> None:
        self._joints_s = self._steady.now().nanoseconds * 1e-9
        self._monitor.joints_arrived(messages.from_joint_state(message), messages.to_seconds(message.header.stamp))

    def _trajectory_arrived(self, message: Any) -> None:
        self._monitor.trajectory_arrived(messages.from_joint_trajectory(message), self._now_s)

    def _chunk_info_arrived(self, message: Any) -> None:
        record = messages.from_chunk_info(message)
        for name, words in self._settings.counting.disagreements(record).items():
            if name not in self._disagreeing:
                self._disagreeing.add(name)
                self.get_logger().warning(words)
        self._monitor.chunk_info_arrived(record, self._now_s)

    def _diagnostics_arrived(self, message: Any) -> None:
        for status in message.status:
            reason = next((pair.value for pair in status.values if pair.key == "stop_reason"), "")
            if reason:
                self._monitor.stop_reason_arrived(reason, messages.to_seconds(message.header.stamp))

    def _end_rollout(self, request: Any, response: Any) -> Any:
        response.success = self._monitor.end_rollout(request.data, self._now_s)
        response.message = "the rollout ended" if response.success else "no chunk was published since the last rollout ended"
        return response

    # What comes of it.

    def _tick(self) -> None:
        for ended in self._monitor.tick(self._now_s):
            if isinstance(ended, ChunkExecution):
                self._chunk_ended(ended)
            else:
                self._rollout_ended(ended)

    def _chunk_ended(self, chunk: ChunkExecution) -> None:
        health = execution_health(chunk, self._settings.thresholds)
        # Until the next report the worst one stands.
        if self._last is None or health.level >= self._health.level:
            self._health = health
        self._last = chunk
        self._execution(messages.to_diagnostics("execution", health.level, health.words, chunk.values(), self._now_s))

    def _rollout_ended(self, ended: EndedRollout) -> None:
        record = ended.record
        self._rollout(String(data=json.dumps(record.to_json(), allow_nan=False)))
        words = f"{'success' if record.success else 'failure'}, {record.steps} steps, {record.num_replans} calls"
        self.get_logger().info(f"rollout {ended.number}: {words}, {record.wall_clock_s:.2f} s")
        if not ended.seen_from_its_beginning:
            self.get_logger().warning(f"rollout {ended.number} had begun before this node; its record lacks what ran then")

    def _report_health(self) -> None:
        values = {} if self._last is None else self._last.values()
        name = self.get_fully_qualified_name()
        message = messages.to_diagnostics(f"{name}: execution", *self._health, values, self._now_s)
        for part, health, more in (("joint states", *self._joints_health()), ("recording", *self._recording_health())):
            message.status += messages.to_diagnostics(f"{name}: {part}", *health, more, self._now_s).status
        self._diagnostics.publish(message)
        if self._last is not None:
            self._health = execution_health(self._last, self._settings.thresholds)

    def _joints_health(self) -> tuple[Health, dict[str, Any]]:
        counts = {"num_unreadable": self._num_unreadable.total(), "num_clock_restarts": self._monitor.num_restarts}
        if self._joints_s is None:
            return Health(ERROR, "no joint states yet"), counts
        silent_s = self._steady.now().nanoseconds * 1e-9 - self._joints_s
        if silent_s > self._settings.joint_states_timeout_s:
            return Health(ERROR, f"no joint states for {silent_s:.1f} s"), counts
        if self._num_unreadable:
            return Health(WARN, f"messages of {sorted(self._num_unreadable)} could not be read"), counts
        return Health(OK, "joint states come"), counts

    def _recording_health(self) -> tuple[Health, dict[str, Any]]:
        if self._recorder is not None:
            self._recording(self._recorder.flush)
        if self._recorder is not None:
            return Health(OK, "recording"), {"path": self._recorder.path, "num_messages": self._recorder.num_messages}
        return Health(ERROR, self._recording_failed) if self._recording_failed else Health(OK, "none was asked for"), {}


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit code."""
    return run_node(MonitorNode, args)


if __name__ == "__main__":
    sys.exit(main())
