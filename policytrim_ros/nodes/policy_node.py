"""policy_node: runs a policy's chunks on an arm, gated and stopped as `policytrim_ros.control` decides."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from policytrim_gym.errors import MissingObservation
from policytrim_ros import messages
from policytrim_ros.control.chunk_executor import ExecutorState
from policytrim_ros.control.commands import Hold, Publish, StopReason
from policytrim_ros.control.policy_loop import Order, Question
from policytrim_ros.goal_channel import GoalFailure
from policytrim_ros.nodes.policy_assembly import Assembly, assemble
from policytrim_ros.nodes.policy_settings import PolicySettings
from policytrim_ros.nodes.process import run_node
from policytrim_ros.parameters import declare_settings
from policytrim_ros.policy_observer import IMAGE_TOPIC
from policytrim_ros.policy_worker import PolicyWorker
from policytrim_ros.trajectory_sender import ARM, GRIPPER, ActionSender, TopicSender

TICK_S = 0.01
DIAGNOSTICS_S = 1.0
FAREWELL_S = 0.2
"""So long the last hold may take to reach the controllers before the process ends [s]."""
OK, WARN, ERROR = 0, 1, 2
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
MEASURED = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Best effort hears reliable publishers too; reliable would not hear a driver that publishes best effort. The queue keeps what comes during
a long callback, since joints are looked up at the time of an older image, but no more than that: a node that was kept waiting must go on
with the newest joints, and not work off those of a second first, which the gate finds stale."""


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
            assembly = assemble(self._settings)
            self._sender = self._make_sender(assembly)
        except Exception as error:  # also what a user's own factory raises; the transition fails, the node stays
            self.get_logger().error(f"not configured: {' '.join(str(error).split()) or type(error).__name__}")
            return TransitionCallbackReturn.FAILURE
        self._assembly = assembly
        self._worker = PolicyWorker(assembly.policy.answer, self._guard.trigger)
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
        self._sender.forget()
        self._assembly.loop.activate(self._now_s())
        self._listen(self._assembly.policy.observer.frames)
        self._active = True
        return result

    def on_deactivate(self, state: Any) -> TransitionCallbackReturn:
        self._hold_and_listen_no_more()
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> TransitionCallbackReturn:
        if self._worker is not None:
            self._worker.close()
        self._worker = self._assembly = None
        self._sender.destroy()
        for publisher in (self._chunk_info, self._diagnostics):
            self.destroy_lifecycle_publisher(publisher)
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: Any) -> TransitionCallbackReturn:
        self._hold_and_listen_no_more()
        return super().on_shutdown(state)

    def destroy_node(self) -> None:
        if self._active:
            self._hold_and_listen_no_more()
            self._sender.flush(FAREWELL_S)
        if self._worker is not None:
            self._worker.close()
        super().destroy_node()

    def _make_sender(self, assembly: Assembly) -> TopicSender:
        settings = self._settings
        if settings.command_interface == "topic":
            return TopicSender(self)
        actions = {ARM: settings.arm_action}
        if assembly.policy.joints.has_gripper and settings.gripper_controller:
            actions[GRIPPER] = settings.gripper_action
        return ActionSender(self, actions, self._controller_failed)

    def _listen(self, frames: tuple[str, ...]) -> None:
        subscribe = self.create_subscription
        self._inputs = [
            subscribe(JointState, "joint_states", self._joints, MEASURED),
            subscribe(String, "instruction", self._instruction, LATCHED),
        ]
        for topic in frames:
            if topic.startswith(IMAGE_TOPIC):
                self._inputs.append(subscribe(Image, topic, partial(self._frame, topic, messages.from_image), qos_profile_sensor_data))
            else:
                self._inputs.append(subscribe(PoseStamped, topic, partial(self._frame, topic, messages.from_pose), MEASURED))

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

    def _controller_failed(self, channel: str, failure: GoalFailure) -> None:
        """Stops; a controller that holds by itself, perhaps at an obstacle, is not told to go on and brake."""
        self.get_logger().error(f"the controller of the {channel} failed: {failure.message}")
        if self._active:
            orders, _ = self._loop.stop(self._now_s(), StopReason.CONTROLLER_FAILED, failure.message)
            self._carry_out(orders, without=channel if failure.is_held else "")

    def _tick(self) -> None:
        if self._active:
            self._sender.check()
            self._carry_out(self._loop.tick(self._now_s()))

    # Services.

    def _start(self, _: Any, response: Any) -> Any:
        if not self._active:
            return self._refused(response)
        if self._now_s() == 0.0:
            return self._answered(response, (False, "there must be time before anything starts, /clock has given none"))
        self._tick()  # a simulated clock begins with a jump, which is no stop before the start
        return self._begun(response, self._loop.start)

    def _rearm(self, _: Any, response: Any) -> Any:
        return self._begun(response, self._loop.rearm) if self._active else self._refused(response)

    def _begun(self, response: Any, begin: Callable[[float], tuple[bool, str]]) -> Any:
        """Answers what `begin` says of the present time; nothing begins without the controllers."""
        if missing := self._sender.missing:
            return self._answered(response, (False, f"the controllers must be there before anything moves, there is no {missing}"))
        return self._answered(response, begin(self._now_s()))

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

    def _carry_out(self, orders: list[Order], without: str = "") -> None:
        for order in orders:
            if isinstance(order, Question):
                assert self._worker is not None
                self._worker.ask(order)
                continue
            if isinstance(order, (Publish, Hold)):
                self._sender.send(order, without)
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
        reason, message = self._stop_cause
        if executor.state in (ExecutorState.BRAKING, ExecutorState.HOLDING) and reason:
            self.get_logger().warning(f"{executor.state.value}: {reason}: {message}")

    def _diagnose(self) -> None:
        if not self._active:
            return
        now_s, loop = self._now_s(), self._loop
        executor = loop.executor
        waiting_for = ", ".join(filter(None, (loop.waiting_for(now_s), self._sender.missing)))
        reason, message = self._stop_cause
        level = OK if not reason else WARN if reason == StopReason.STOPPED.value else ERROR
        words = executor.state.value + (f" for {waiting_for}" if waiting_for else "") + (f": {reason}" if reason else "")
        values = {
            "state": executor.state.value,
            "waiting_for": waiting_for,
            "stop_reason": reason,
            "stop_message": message,
            "expected_latency_s": f"{executor.latency.expected_s:.4f}",
            "lead_steps": executor.latency.lead_steps,
            "published_chunks": loop.num_published,
            "refused_chunks": loop.num_refused,
        }
        self._diagnostics.publish(messages.to_diagnostics(self.get_fully_qualified_name(), level, words, values, now_s))

    @property
    def _stop_cause(self) -> tuple[str, str]:
        """Reason and message of the present stop, empty without one."""
        executor = self._loop.executor
        return ("", "") if executor.stop_reason is None else (executor.stop_reason.value, executor.stop_message)

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
