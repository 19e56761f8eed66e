"""The simulated arm, a policy and the monitor: `ros2 launch policytrim_ros sim.launch.py policy:=runs/arm`."""

from typing import Any

from policytrim_ros.launch_actions import launch_description


def generate_launch_description() -> Any:
    """Called by launch."""
    return launch_description("sim")
