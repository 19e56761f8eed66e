"""A policy and the monitor on an arm behind joint trajectory controllers: `ros2 launch policytrim_ros robot.launch.py policy:=ws://gpu:8000`."""

from typing import Any

from policytrim_ros.launch_actions import launch_description


def generate_launch_description() -> Any:
    """Called by launch."""
    return launch_description("robot")
