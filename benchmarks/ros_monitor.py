"""Measures what monitor_node costs: CPU time of its process, as a share of one core, at 100 joint states a second.

Real processes: sim_arm_node publishes joint states; this process publishes a chunk of 16 steps every 8 steps, and what is known of it, as
policy_node does; monitor_node hears both. Measured with and without a recording. Goal: at most 15 % of one core.

    python benchmarks/ros_monitor.py
    python benchmarks/ros_monitor.py --seconds 30 --json runs/ros_monitor.json
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from trajectory_msgs.msg import JointTrajectory

from policytrim_gym.files import write_json_atomic
from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros import messages
from policytrim_ros.control.commands import PUBLISHED, ChunkRecord
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.demo.logged_process import LoggedProcess
from policytrim_ros.demo.node_processes import local_domain
from policytrim_ros.launch_plan import NodeStart, Value

GOAL = 0.15
DT_S, HORIZON, CHUNK_SIZE = 0.05, 8, 16
ROBOT = load_robot("policytrim_arm")


def cpu_s(pid: int) -> float:
    """Returns the CPU time of a process so far, its threads included [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def chunk(number: int, now_s: float) -> tuple[Trajectory, ChunkRecord]:
    """Returns a slow swing of the first joint and what policy_node would say of it."""
    times = np.arange(CHUNK_SIZE + 1) * DT_S
    phase = number * HORIZON * DT_S + times
    positions, velocities = np.tile(ROBOT.home, (len(times), 1)), np.zeros((len(times), ROBOT.dof))
    positions[:, 0], velocities[:, 0] = 0.2 * np.sin(phase), 0.2 * np.cos(phase)
    velocities[-1] = 0.0
    record = ChunkRecord(now_s, now_s - 0.1, HORIZON, CHUNK_SIZE, 2, now_s, 0.08, 0.1, PUBLISHED, "", DT_S, True)
    return Trajectory(ROBOT.config.joints, positions, velocities, times, now_s), record


def start(name: str, folder: Path, **parameters: Value) -> LoggedProcess:
    """Starts a node of the package, with its log in a folder."""
    return LoggedProcess(NodeStart(name, (), parameters).command(), folder / f"{name}.log", {})


def measure(node: Any, arm: LoggedProcess, folder: Path, seconds: float, **parameters: Value) -> dict[str, float]:
    """Returns the share of a core that a monitor took, and how many chunks it told of.

    Args:
        node: of this process.
        arm: that publishes joint states.
        folder: for logs.
        seconds: to measure for.
        **parameters: of the monitor.
    """
    told: list[Any] = []
    trajectories, infos = (
        node.create_publisher(JointTrajectory, "joint_trajectory", 10),
        node.create_publisher(DiagnosticArray, "chunk_info", 10),
    )
    listening = node.create_subscription(DiagnosticArray, "execution", told.append, 100)
    with start("monitor_node", folder, **parameters) as monitor:
        while not (listening.get_publisher_count() and trajectories.get_subscription_count() > 1 and infos.get_subscription_count()):
            for process in (arm, monitor):
                process.check()
            rclpy.spin_once(node, timeout_sec=0.1)
        time.sleep(1.0)  # start and discovery are not what it costs
        used_s, steady_s, number, next_s = cpu_s(monitor.pid), time.monotonic(), 0, time.time()
        while time.monotonic() < steady_s + seconds:
            trajectory, info = chunk(number, next_s)
            trajectories.publish(messages.to_joint_trajectory(trajectory))
            infos.publish(messages.to_chunk_info(info, next_s))
            number, next_s = number + 1, next_s + HORIZON * DT_S
            while time.time() < next_s:
                rclpy.spin_once(node, timeout_sec=max(0.0, next_s - time.time()))
        share = (cpu_s(monitor.pid) - used_s) / (time.monotonic() - steady_s)
    for entity in (trajectories, infos):
        node.destroy_publisher(entity)
    node.destroy_subscription(listening)
    return {"share": share, "num_published": number, "num_told": len(told)}


def main() -> int:
    """Measures, prints, and returns 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    os.environ.update(local_domain())
    rclpy.init()
    node = rclpy.create_node("ros_monitor_benchmark")
    try:
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            with start("sim_arm_node", folder, image_rate_hz=0.0, max_episode_steps=100_000) as arm:
                figures = {
                    "without a recording": measure(node, arm, folder, arguments.seconds),
                    "with a recording": measure(node, arm, folder, arguments.seconds, record=str(folder / "rec")),
                }
    finally:
        node.destroy_node()
        rclpy.shutdown()
    for name, figure in figures.items():
        told = f"{figure['num_told']} of {figure['num_published']} chunks told"
        print(f"{name:20} {100 * figure['share']:5.1f} % of one core (goal: at most {100 * GOAL:.0f} %), {told}")
    if arguments.json:
        write_json_atomic(arguments.json, {"seconds": arguments.seconds, **figures})
    return int(any(figure["share"] > GOAL for figure in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
