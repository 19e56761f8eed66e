"""policy_node: runs a policy's chunks on an arm, gated and stopped as `policytrim_ros.control` decides."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from policytrim_gym.errors import MissingObservation
from policytrim_ros import messages
from policytrim_ros.control.chunk_executor import ExecutorState
from policytrim_ros.control.commands import Hold, Publish, StopReason
from policytrim_ros.control.policy_loop import Order, Question
from policytrim_ros.nodes.policy_assembly import Assembly, assemble
from policytrim_ros.nodes.policy_settings import PolicySettings
from policytrim_ros.nodes.process import run_node
from policytrim_ros.parameters import declare_settings
from policytrim_ros.policy_observer import IMAGE_TOPIC
from policytrim_ros.policy_worker import PolicyWorker

TICK_S = 0.01
DIAGNOSTICS_S = 1.0
FAREWELL_S = 0.2
"""So long the last hold may take to reach the controllers before the process ends [s]."""
OK, WARN, ERROR = 0, 1, 2
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class PolicyNode(LifecycleNode):
    """Loads a policy when it is configured, listens and publishes while it is active, and moves the arm after policy/start."""

    def __init__(self) -> None:
        super().__init__("policy_node")
        self._settings = declare_settings(self, PolicySettings)
        self._assembly: Assembly | None = None
        self._worker: PolicyWorker | None = None
        self._active = False
        self._inputs: list[Any] = []
        self._state = ExecutorState.INACTIVE
        self._guard = self.create_guard_condition(self._take_answers)
        # Steady: a simulated clock that stands still must not keep signals and services waiting.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(TICK_S, self._tick, clock=steady)
        self.create_timer(DIAGNOSTICS_S, self._diagnose, clock=steady)
        for name, callback in (("start", self._start), ("stop", self._stop), ("rearm", self._rearm)):
            self.create_service(Trigger, f"policy/{name}", callback)
        if self._settings.autostart and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    # Lifecycle.

    def on_configure(self, state: Any) -> TransitionCallbackReturn:
        try:
            self._assembly = assembly = assemble(self._settings)
        except Exception as error:  # also what a user's own factory raises; the transition fails, the node stays
            self.get_logger().error(f"not configured: {' '.join(str(error).split()) or type(error).__name__}")
            return TransitionCallbackReturn.FAILURE
        self._worker = PolicyWorker(assembly.policy.answer, self._guard.trigger)
        self._arm = self.create_lifecycle_publisher(JointTrajectory, "joint_trajectory", 10)
        self._gripper = self.create_lifecycle_publisher(JointTrajectory, "gripper_trajectory", 10)
        self._chunk_info = self.create_lifecycle_publisher(DiagnosticArray, "chunk_info", 100)
        self._diagnostics = self.create_lifecycle_publisher(DiagnosticArray, "/diagnostics", 10)
        for line in assembly.warnings:
            self.get_logger().warning(f"{self._settings.policy}: {line}")
        config, frames = assembly.loop.executor.config, ", ".join(assembly.policy.observer.frames) or "joint states alone"
        self.get_logger().info(
            f"{self._settings.policy}: {config.execute_horizon} of {config.chunk_size} steps of {config.control_dt_s:g} s, sees {frames}"
        )
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        assert self._assembly is not None
        self._assembly.loop.activate(self._now_s())
        self._active = True
        self._listen(self._assembly.policy.observer.frames)
        return result

    def on_deactivate(self, state: Any) -> TransitionCallbackReturn:
        self._hold_and_listen_no_more()
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> TransitionCallbackReturn:
        if self._worker is not None:
            self._worker.close()
        self._worker = self._assembly = None
        for publisher in (self._arm, self._gripper, self._chunk_info, self._diagnostics):
            self.destroy_lifecycle_publisher(publisher)
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: Any) -> TransitionCallbackReturn:
        self._hold_and_listen_no_more()
        return super().on_shutdown(state)

    def destroy_node(self) -> None:
        if self._active:
            self._hold_and_listen_no_more()
            for publisher in (self._arm, self._gripper):
                publisher.wait_for_all_acked(Duration(seconds=FAREWELL_S))
        if self._worker is not None:
            self._worker.close()
        super().destroy_node()

    def _listen(self, frames: tuple[str, ...]) -> None:
        subscribe = self.create_subscription
        self._inputs = [
            subscribe(JointState, "joint_states", self._joints, 10),
            subscribe(String, "instruction", self._instruction, LATCHED),
        ]
        for topic in frames:
            if topic.startswith(IMAGE_TOPIC):
                self._inputs.append(subscribe(Image, topic, partial(self._frame, topic, messages.from_image), qos_profile_sensor_data))
            else:
                self._inputs.append(subscribe(PoseStamped, topic, partial(self._frame, topic, messages.from_pose), 10))

    def _hold_and_listen_no_more(self) -> None:
        """Sends the hold as the last command, and nothing after it."""
        if self._active and self._assembly is not None:
            self._carry_out(self._assembly.loop.deactivate(self._now_s()))
        self._active = False
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []

    # What arrives.

    def _joints(self, message: Any) -> None:
        now_s = self._now_s()
        try:
            positions, velocities = messages.from_joint_state(message), messages.joint_velocities(message)
            self._carry_out(self._loop.joints_arrived(positions, velocities, _stamp_s(message, now_s), now_s))
        except MissingObservation as error:
            self.get_logger().error(f"joint_states: {error}", throttle_duration_sec=1.0)

    def _frame(self, topic: str, convert: Any, message: Any) -> None:
        now_s = self._now_s()
        try:
            self._carry_out(self._loop.frame_arrived(topic, convert(message), _stamp_s(message, now_s), now_s))
        except MissingObservation as error:
            self.get_logger().error(f"{topic}: {error}", throttle_duration_sec=1.0)

    def _instruction(self, message: Any) -> None:
        self._carry_out(self._loop.instruction_arrived(message.data, self._now_s()))

    def _take_answers(self) -> None:
        answers = [] if self._worker is None else self._worker.answers()
        for answer in answers if self._active else []:
            self._carry_out(self._loop.answered(answer, self._now_s()))

    def _tick(self) -> None:
        if self._active:
            self._carry_out(self._loop.tick(self._now_s()))

    # Services.

    def _start(self, _: Any, response: Any) -> Any:
        if not self._active:
            return self._refused(response)
        if self._now_s() == 0.0:
            return self._answered(response, (False, "there must be time before anything starts, /clock has given none"))
        self._tick()  # a simulated clock begins with a jump, which is no stop before the start
        return self._answered(response, self._loop.start(self._now_s()))

    def _rearm(self, _: Any, response: Any) -> Any:
        return self._answered(response, self._loop.rearm(self._now_s())) if self._active else self._refused(response)

    def _stop(self, _: Any, response: Any) -> Any:
        if not self._active:
            return self._refused(response)
        orders, words = self._loop.stop(self._now_s())
        self._carry_out(orders)
        return self._answered(response, (True, words))

    def _answered(self, response: Any, result: tuple[bool, str]) -> Any:
        response.success, response.message = result
        return response

    def _refused(self, response: Any) -> Any:
        return self._answered(response, (False, "the node must be active, it is not: activate it first"))

    # What goes out.

    def _carry_out(self, orders: list[Order]) -> None:
        for order in orders:
            if isinstance(order, Question):
                assert self._worker is not None
                self._worker.ask(order)
                continue
            if isinstance(order, (Publish, Hold)):
                self._arm.publish(messages.to_joint_trajectory(order.arm))
                if order.gripper is not None:
                    self._gripper.publish(messages.to_joint_trajectory(order.gripper))
            if isinstance(order, Hold):
                continue
            self._chunk_info.publish(messages.to_chunk_info(order.record, self._now_s()))
            if not isinstance(order, Publish):
                self.get_logger().warning(f"refused: {order.record.verdict}: {order.record.message}", throttle_duration_sec=0.5)
        self._report_change()

    def _report_change(self) -> None:
        """Logs when the arm is stopped and when it holds."""
        executor = self._loop.executor
        if executor.state is self._state:
            return
        self._state = executor.state
        if executor.state in (ExecutorState.BRAKING, ExecutorState.HOLDING) and executor.stop_reason is not None:
            self.get_logger().warning(f"{executor.state.value}: {executor.stop_reason.value}: {executor.stop_message}")

    def _diagnose(self) -> None:
        if not self._active:
            return
        now_s, loop = self._now_s(), self._loop
        executor, waiting_for = loop.executor, loop.waiting_for(now_s)
        reason = executor.stop_reason
        level = OK if reason is None else WARN if reason is StopReason.STOPPED else ERROR
        words = executor.state.value + (f" for {waiting_for}" if waiting_for else "") + (f": {reason.value}" if reason else "")
        values = {
            "state": executor.state.value,
            "waiting_for": waiting_for,
            "stop_reason": reason.value if reason else "",
            "stop_message": executor.stop_message,
            "expected_latency_s": f"{executor.latency.expected_s:.4f}",
            "lead_steps": executor.latency.lead_steps,
            "published_chunks": loop.num_published,
            "refused_chunks": loop.num_refused,
        }
        self._diagnostics.publish(messages.to_diagnostics(self.get_fully_qualified_name(), level, words, values, now_s))

    @property
    def _loop(self) -> Any:
        assert self._assembly is not None
        return self._assembly.loop

    def _now_s(self) -> float:
        return float(self.get_clock().now().nanoseconds * 1e-9)


def _stamp_s(message: Any, now_s: float) -> float:
    """Returns a message's stamp, the time of arrival where its sender gave none [s]."""
    return messages.to_seconds(message.header.stamp) or now_s


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit code."""
    return run_node(PolicyNode, args)


if __name__ == "__main__":
    sys.exit(main())
