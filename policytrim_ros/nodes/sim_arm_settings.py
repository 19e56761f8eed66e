"""The parameters of sim_arm_node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from policytrim_gym.config import check_fields
from policytrim_ros.parameters import check_ranges, ranged


@dataclass(frozen=True)
class SimArmSettings:
    """What sim_arm_node simulates, and how fast.

    Args:
        task: "reach", "push" or "pick-place".
        engine: of physics, "mujoco" or "pybullet".
        robot: name of a file in config/robots, or the path of a YAML file.
        split: of the initial states: "train", "validation" or "test".
        first_state: initial state of the first episode in its split; each reset takes the next one.
        max_episode_steps: an episode without success ends as a failure after so many control steps of 0.05 s [steps].
        controller: how a new trajectory replaces the present one: "hard", the moment that it arrives (released Humble, Jazzy, Kilted), or
            "stamp", when its time stamp has come (ros2_controllers 6.8 and 6.9).
        gripper_controller: whether the fingers have a controller of their own (topic gripper_trajectory); false: the arm's has all joints.
        allow_nonzero_velocity_at_trajectory_end: accepts trajectories whose last waypoint still moves; the controller's parameter.
        real_time_factor: simulated seconds in a second; other than 1 only with use_sim_time, which has the node publish /clock.
        joint_state_rate_hz: joint states in a simulated second [Hz].
        image_rate_hz: images of each camera in a simulated second, at most joint_state_rate_hz [Hz]; 0: none. They are drawn only when
            somebody subscribes.
        image_size: width and height of the images [pixels].

    Raises:
        InvalidConfig: a value of another type or out of its range.
    """

    task: Literal["reach", "push", "pick-place"] = "push"
    engine: Literal["mujoco", "pybullet"] = "mujoco"
    robot: str = "policytrim_arm"
    split: Literal["train", "validation", "test"] = "test"
    first_state: int = ranged(0, 0, 999)
    max_episode_steps: int = ranged(400, 1, 100_000)
    controller: Literal["hard", "stamp"] = "hard"
    gripper_controller: bool = True
    allow_nonzero_velocity_at_trajectory_end: bool = False
    real_time_factor: float = ranged(1.0, 0.01, 100.0)
    joint_state_rate_hz: float = ranged(100.0, 10.0, 400.0)
    image_rate_hz: float = ranged(10.0, 0.0, 100.0)
    image_size: int = ranged(96, 16, 1024)

    def __post_init__(self) -> None:
        check_fields(self)
        check_ranges(self)
