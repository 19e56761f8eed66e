"""Measures what cameras cost sim_arm_node: CPU time for an image, and whether the simulation keeps real time while it draws.

Real processes: sim_arm_node on its own clock moves the arm along one long trajectory; this process listens to the joint states and to both
cameras, so that every image is drawn. Each rate of the images is measured beside 0, no images. Goal: at least 0.99 simulated seconds in a
second at 10 images of each camera a second, the node's default; it holds on a free core only.

    python benchmarks/ros_images.py
    python benchmarks/ros_images.py --seconds 30 --engine pybullet --json runs/ros_images.json
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rclpy.qos import qos_profile_sensor_data
from ros_monitor import cpu_s
from ros_probe import SETTLE_S, Probe, machine, timing_parser
from ros_scripted_policies import ROBOT
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from policytrim_gym.files import write_json_atomic
from policytrim_ros import messages
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.demo.domains import ClaimedDomain
from policytrim_ros.demo.logged_process import LoggedProcess
from policytrim_ros.launch_plan import NodeStart, Value

GOAL, GOAL_HZ = 0.99, 10.0
RATES_HZ = (0.0, 10.0, 20.0)
CAMERAS = ("front", "wrist")


def swing(duration_s: float) -> Trajectory:
    """Returns a slow swing of the first joint that goes on for so long, stamped for now."""
    times = np.arange(1, round(duration_s / 0.05) + 1) * 0.05
    positions, velocities = np.tile(ROBOT.home, (len(times), 1)), np.zeros((len(times), ROBOT.dof))
    positions[:, 0], velocities[:, 0] = 0.2 * np.sin(times), 0.2 * np.cos(times)
    velocities[-1] = 0.0
    return Trajectory(ROBOT.config.joints, positions, velocities, times, 0.0)


def measure(image_rate_hz: float, engine: str, image_size: int, seconds: float, logs: Path) -> dict[str, float]:
    """Returns simulated seconds in a second, the share of a core, images a second, and the longest time between joint states [s]."""
    parameters: dict[str, Value] = {"image_rate_hz": image_rate_hz, "image_size": image_size, "engine": engine, "use_sim_time": True}
    command = NodeStart("sim_arm_node", (), {**parameters, "max_episode_steps": 100_000}).command()
    states: list[tuple[float, float]] = []  # when each came, and its stamp [s]
    images: list[Any] = []
    with LoggedProcess(command, logs / f"sim_arm_node-{image_rate_hz:g}.log", {}) as arm, Probe("ros_images", arm.check) as probe:
        probe.listen(JointState, "joint_states", lambda one: states.append((time.monotonic(), messages.to_seconds(one.header.stamp))))
        subscriptions = [
            probe.node.create_subscription(Image, f"image/{camera}", images.append, qos_profile_sensor_data) for camera in CAMERAS
        ]
        trajectories = probe.node.create_publisher(JointTrajectory, "joint_trajectory", 10)
        probe.until(trajectories.get_subscription_count, "a subscriber of joint_trajectory")
        probe.until(lambda: all(one.get_publisher_count() for one in subscriptions), "the cameras")
        trajectories.publish(messages.to_joint_trajectory(swing(2 * seconds + 10.0)))
        probe.until(lambda: states and (images or not image_rate_hz), "joint states and images")
        probe.sleep(SETTLE_S)
        first, num_images, used_s = len(states), len(images), cpu_s(arm.pid)
        probe.sleep(seconds)
        used_s, window, num_images = cpu_s(arm.pid) - used_s, states[first:], len(images) - num_images
    came_s, stamps_s = np.array(window).T
    duration_s = came_s[-1] - came_s[0]
    return {
        "simulated_seconds_a_second": float((stamps_s[-1] - stamps_s[0]) / duration_s),
        "share": used_s / duration_s,
        "images_a_second": num_images / duration_s,
        "longest_s": float(np.diff(came_s).max()),
    }


def main() -> int:
    """Measures, prints, and returns 1 when the goal is missed."""
    parser = timing_parser(__doc__, 10.0, "each rate")
    parser.add_argument("--engine", choices=("mujoco", "pybullet"), default="mujoco")
    parser.add_argument("--image-size", type=int, default=64, help="[pixels]")
    arguments = parser.parse_args()
    figures = {}
    with TemporaryDirectory() as folder, ClaimedDomain() as domain:
        os.environ.update(domain.environment)
        for rate_hz in RATES_HZ:
            logs = arguments.logs or Path(folder)
            figure = figures[rate_hz] = measure(rate_hz, arguments.engine, arguments.image_size, arguments.seconds, logs)
            drawing_s = figure["share"] - figures[0.0]["share"]
            each = f", {1e3 * drawing_s / figure['images_a_second']:.1f} ms an image" if figure["images_a_second"] else ""
            pace, share = (
                f"{figure['simulated_seconds_a_second']:.3f} simulated seconds a second",
                f"{100 * figure['share']:.0f} % of a core",
            )
            came = f"{figure['images_a_second']:.1f} images a second, joint states at most {1e3 * figure['longest_s']:.0f} ms apart"
            print(f"{rate_hz:4g} Hz: {pace}, {share}{each}; {came}", flush=True)
    print(f"machine: {machine()}")
    if arguments.json:
        write_json_atomic(arguments.json, {"engine": arguments.engine, "machine": machine(), "rates": figures})
    return int(figures[GOAL_HZ]["simulated_seconds_a_second"] < GOAL)


if __name__ == "__main__":
    sys.exit(main())
