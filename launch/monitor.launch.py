"""The monitor alone, beside whatever runs chunks on the arm: `ros2 launch policytrim_ros monitor.launch.py`."""

from typing import Any

from policytrim_ros.launch_actions import launch_description


def generate_launch_description() -> Any:
    """Called by launch."""
    return launch_description("monitor")
