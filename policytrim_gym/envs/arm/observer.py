"""What a policy sees of the arm."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.envs.arm.engine import PhysicsEngine
from policytrim_gym.envs.arm.scene import Pose
from policytrim_gym.envs.arm.tasks import CAMERAS, GOALS, OBJECT, ArmTask, Layout
from policytrim_gym.errors import InvalidSpec
from policytrim_gym.robot.robot_model import RobotModel

OBSERVATIONS = ("state", "pixels")
SYMMETRY = 4  # a cube looks the same after a quarter turn


class ArmObserver:
    """Builds observations.

    "state" begins with what the arm itself can measure, dof numbers each: positions [rad], velocities [rad/s], last targets [rad]; then the
    gripper's opening and its last target, and the tool's position [m] (3,). Without pixels, where everything is follows: the object's
    position [m] (3,) and sin and cos of 4 times its yaw (zeros where a task has no object), and each goal's position [m] (3,).

    Args:
        robot: the arm.
        observation: "state" or "pixels".
        image_size: of each image [pixels].

    Raises:
        InvalidSpec: an unknown observation or a size below 16.
    """

    def __init__(self, robot: RobotModel, observation: str, image_size: int) -> None:
        if observation not in OBSERVATIONS:
            raise InvalidSpec(f"observation must be one of {OBSERVATIONS}, got {observation!r}")
        if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 16:
            raise InvalidSpec(f"image_size must be an integer of at least 16 pixels, got {image_size!r}")
        self._robot, self._image_size = robot, image_size
        self._pixels = observation == "pixels"
        dof = robot.dof
        size = 3 * dof + 5 + (0 if self._pixels else 5 + 3 * len(GOALS))
        spaces: dict[str, gym.Space[Any]] = {"state": gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)}
        if self._pixels:
            shape = (image_size, image_size, 3)
            spaces |= {f"image_{camera.name}": gym.spaces.Box(0, 255, shape, np.uint8) for camera in CAMERAS}
        self.space = gym.spaces.Dict(spaces)
        self.command_indices: tuple[int | None, ...] = (*range(2 * dof, 3 * dof), None)
        """Where in "state" the last target of each joint stands; None for the gripper, which does not continue its last."""
        self._images: dict[str, NDArray[np.uint8]] = {}

    def observe(
        self, engine: PhysicsEngine, command: NDArray[np.float64], task: ArmTask, layout: Layout, look: bool
    ) -> dict[str, NDArray[Any]]:
        """Returns an observation; without `look` the images are those of the last look."""
        joints = engine.joint_state()
        opening = self._robot.opening(joints.positions[-1])
        parts: list[ArrayLike] = [joints.positions[:-1], joints.velocities[:-1], command[:-1], (opening, command[-1]), engine.tool_pose().position]
        if not self._pixels:
            parts += [_described(engine.body_pose(OBJECT)) if task.has_object else np.zeros(5)]
            parts += [layout.poses[goal].position for goal in GOALS]
        observation: dict[str, NDArray[Any]] = {"state": np.concatenate(parts).astype(np.float32)}
        if self._pixels:
            if look:
                size = self._image_size
                self._images = {f"image_{camera.name}": engine.render(camera.name, size, size) for camera in CAMERAS}
            observation |= self._images
        return observation


def _described(pose: Pose) -> NDArray[np.float64]:
    """Returns position and yaw of an object, (5,)."""
    w, x, y, z = pose.quaternion
    angle = SYMMETRY * np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return np.array([*pose.position, np.sin(angle), np.cos(angle)])
