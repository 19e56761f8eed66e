"""sim_arm_node: the simulated arm behind the topics that a real one has behind its joint trajectory controllers."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from policytrim_gym.errors import InvalidChunk, InvalidConfig
from policytrim_ros import messages
from policytrim_ros.nodes.process import run_node
from policytrim_ros.nodes.sim_arm_settings import SimArmSettings
from policytrim_ros.parameters import declare_settings
from policytrim_ros.sim.pacer import Pacer
from policytrim_ros.sim.sim_arm import SimArm

FRAME = "base_link"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class SimArmNode(Node):
    """Advances a `SimArm` with the clock and publishes what a robot's drivers would.

    Times on topics are those of the simulation where `use_sim_time` is set, else those of the machine's clock at the start plus the
    simulated time since.
    """

    def __init__(self) -> None:
        super().__init__("sim_arm_node")
        settings = declare_settings(self, SimArmSettings)
        sim_time = bool(self.get_parameter("use_sim_time").value)
        if not sim_time and settings.real_time_factor != 1.0:
            raise InvalidConfig(f"real_time_factor must be 1.0 without use_sim_time, got {settings.real_time_factor}")
        self._arm = SimArm(
            settings.task,
            settings.engine,
            settings.robot,
            settings.split,
            settings.first_state,
            settings.controller,
            settings.gripper_controller,
            settings.allow_nonzero_velocity_at_trajectory_end,
            settings.max_episode_steps,
        )
        self._image_size = settings.image_size
        self._tick_s = 1.0 / settings.joint_state_rate_hz
        self._ticks_an_image = max(round(settings.joint_state_rate_hz / settings.image_rate_hz), 1) if settings.image_rate_hz else 0
        self._num_ticks = 0
        self._reported = False
        self._wire(publish_clock=sim_time)
        self._publish_instruction()
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._pacer = Pacer(self._tick_s, settings.real_time_factor, keeps_up=not sim_time)
        self._zero_is_set = sim_time
        self._zero_s = 0.0 if sim_time else self.get_clock().now().nanoseconds * 1e-9
        self.create_timer(max(self._tick_s / settings.real_time_factor, 0.002), self._advance, clock=self._steady)
        self.get_logger().info(f"{settings.task} in {settings.engine}, {settings.controller} replacement: {self._episode()}")

    def destroy_node(self) -> None:
        self._arm.close()
        super().destroy_node()

    def _wire(self, publish_clock: bool) -> None:
        self._joint_states = self.create_publisher(JointState, "joint_states", 10)
        self._images = {camera: self.create_publisher(Image, f"image/{camera}", qos_profile_sensor_data) for camera in self._arm.cameras}
        self._poses = {body: self.create_publisher(PoseStamped, f"pose/{body}", 10) for body in self._arm.bodies}
        self._instruction = self.create_publisher(String, "instruction", LATCHED)
        self._clock_publisher = self.create_publisher(ClockMessage, "/clock", 10) if publish_clock else None
        for topic in self._arm.controllers:
            self.create_subscription(JointTrajectory, topic, partial(self._accept, topic), 10)
        self.create_service(Trigger, "sim_arm/reset", self._reset)
        self._end_rollout = self.create_client(SetBool, "monitor/end_rollout")

    def _advance(self) -> None:
        if not self._zero_is_set:
            # The pacer counts from its first question: what passed since the constructor would make every stamp late for good.
            self._zero_s, self._zero_is_set = self.get_clock().now().nanoseconds * 1e-9, True
        for _ in range(self._pacer.due(self._steady.now().nanoseconds * 1e-9)):
            self._num_ticks += 1
            self._arm.advance_to(self._num_ticks * self._tick_s)
            self._publish_state()
            if self._ticks_an_image and self._num_ticks % self._ticks_an_image == 0:
                self._publish_images()
            if self._arm.outcome is not None and not self._reported:
                self._report()

    def _publish_state(self) -> None:
        now_s = self._zero_s + self._arm.time_s
        if self._clock_publisher is not None:
            self._clock_publisher.publish(ClockMessage(clock=messages.to_time(now_s)))
        readings = self._arm.joint_readings()
        self._joint_states.publish(messages.to_joint_state(self._arm.joint_names, *readings, now_s))

        for body, publisher in self._poses.items():
            if publisher.get_subscription_count():
                publisher.publish(messages.to_pose(*self._arm.body_pose(body), now_s, FRAME))

    def _publish_images(self) -> None:
        for camera, publisher in self._images.items():
            if publisher.get_subscription_count():
                image = self._arm.image(camera, self._image_size, self._image_size)
                publisher.publish(messages.to_image(image, self._zero_s + self._arm.time_s, camera))

    def _publish_instruction(self) -> None:
        self._instruction.publish(String(data=self._arm.instruction))

    def _accept(self, topic: str, message: Any) -> None:
        try:
            trajectory = messages.from_joint_trajectory(message)
            if trajectory.stamp_s != 0.0:
                trajectory = replace(trajectory, stamp_s=trajectory.stamp_s - self._zero_s)
            self._arm.accept(topic, trajectory)
        except InvalidChunk as error:
            self.get_logger().error(f"{topic}: {error}")

    def _reset(self, _: Any, response: Any) -> Any:
        self._arm.reset()
        self._reported = False
        self._publish_instruction()
        response.success, response.message = True, self._episode()
        self.get_logger().info(f"reset: {response.message}")
        return response

    def _report(self) -> None:
        """Tells how the episode ended, and the monitor where there is one; never waits for it."""
        self._reported = True
        success, steps = self._arm.outcome or (False, 0)
        self.get_logger().info(f"initial state {self._arm.initial_state}: {'success' if success else 'failure'} after {steps} steps")
        if self._end_rollout.service_is_ready():
            self._end_rollout.call_async(SetBool.Request(data=success))

    def _episode(self) -> str:
        return f"initial state {self._arm.initial_state}, {self._arm.instruction!r}"


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit code."""
    return run_node(SimArmNode, args)


if __name__ == "__main__":
    sys.exit(main())
