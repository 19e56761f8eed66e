"""What a policy sees of the arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.envs.arm.engine import PhysicsEngine
from policytrim_gym.envs.arm.scene import Pose
from policytrim_gym.envs.arm.tasks import CAMERAS, GOALS, OBJECT, Layout, Measurement
from policytrim_gym.errors import InvalidSpec

OBSERVATIONS = ("state", "pixels")
SYMMETRY = 4  # a cube looks the same after a quarter turn


class ArmObserver:
    """Builds observations; what "state" holds, `arm_state` says too where there is no environment.

    "state" begins with what the arm itself measures: joint positions [rad] (dof,), the gripper's opening and its last target, the tool's
    position [m] (3,). Without pixels, where everything is follows [m]: the object's position (3,), sin and cos of 4 times its yaw, its
    position from the tool (3,), zeros where a task has no object; then for each goal its position (3,) and its position from the object,
    or from the tool where there is none (3,).

    Neither velocities nor last targets of the joints are in it. They would show a policy how fast it moves, and a clone that sees its own
    pace keeps it: after a pause in a demonstration it never starts again (push went from 53 to 70 % without them). A joint target
    continues the measured position, which the policy sees; continuing the last target instead counts the arm's lag twice when a chunk is
    played faster (push at x2: 47 against 90 %). These were measured while the layout was chosen, on 40 to 60 states: a guide, no proof.

    Args:
        dof: joints of the arm.
        observation: "state" or "pixels".
        image_size: of each image [pixels].

    Raises:
        InvalidSpec: an unknown observation or a size below 16.

    >>> ArmObserver(dof=6, observation="state", image_size=96).space["state"].shape
    (31,)
    """

    def __init__(self, dof: int, observation: str, image_size: int) -> None:
        if observation not in OBSERVATIONS:
            raise InvalidSpec(f"observation must be one of {OBSERVATIONS}, got {observation!r}")
        if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 16:
            raise InvalidSpec(f"image_size must be an integer of at least 16 pixels, got {image_size!r}")
        self._image_size = image_size
        self._pixels = observation == "pixels"
        size = state_size(dof, with_bodies=not self._pixels)
        spaces: dict[str, gym.Space[Any]] = {"state": gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)}
        if self._pixels:
            shape = (image_size, image_size, 3)
            spaces |= {f"image_{camera.name}": gym.spaces.Box(0, 255, shape, np.uint8) for camera in CAMERAS}
        self.space = gym.spaces.Dict(spaces)
        self.joint_indices: tuple[int | None, ...] = (*range(dof), None)
        """Where in "state" the position stands that each joint target continues; None for the gripper, which continues nothing."""
        self._images: dict[str, NDArray[np.uint8]] = {}

    def observe(self, engine: PhysicsEngine, measured: Measurement, opening: float, layout: Layout, look: bool) -> dict[str, NDArray[Any]]:
        """Returns an observation.

        Args:
            engine: draws the images.
            measured: of the same moment.
            opening: the gripper's last target.
            layout: of the episode.
            look: whether to draw; if not, the images are those of the last look.
        """
        bodies = None
        if not self._pixels:
            bodies = {**layout.poses, OBJECT: measured.object} if measured.object is not None else layout.poses
        state = arm_state(measured.joints, measured.opening, opening, measured.tool, bodies)
        observation: dict[str, NDArray[Any]] = {"state": state}
        if self._pixels:
            if look:
                size = self._image_size
                self._images = {f"image_{camera.name}": engine.render(camera.name, size, size) for camera in CAMERAS}
            observation |= self._images
        return observation


def state_size(dof: int, with_bodies: bool) -> int:
    """Returns how many numbers `arm_state` has."""
    return dof + 5 + (8 + 6 * len(GOALS) if with_bodies else 0)


def arm_state(
    joints: NDArray[np.float64],
    opening: float,
    last_opening: float,
    tool: NDArray[np.float64],
    bodies: Mapping[str, Pose] | None = None,
) -> NDArray[np.float32]:
    """Returns "state" of `ArmObserver`, from an environment or from what a robot measures.

    Args:
        joints: measured [rad], (dof,).
        opening: of the gripper, measured, 0 closed, 1 open.
        last_opening: the gripper's last target.
        tool: its position from the base [m], (3,).
        bodies: pose of each goal and, where the task has one, of the object, by name; None: a state without them.

    >>> goals = {goal: Pose(np.array([0.4, 0.0, 0.1]), np.array([1.0, 0.0, 0.0, 0.0])) for goal in GOALS}
    >>> arm_state(np.zeros(6), 1.0, 1.0, np.zeros(3)).shape, arm_state(np.zeros(6), 1.0, 1.0, np.zeros(3), goals).shape
    ((11,), (31,))
    """
    parts: list[ArrayLike] = [joints, (opening, last_opening), tool]
    if bodies is not None:
        parts += _whereabouts(tool, bodies)
    return np.concatenate(parts).astype(np.float32)


def _whereabouts(tool: NDArray[np.float64], bodies: Mapping[str, Pose]) -> list[ArrayLike]:
    """Returns where the object and the goals are, from the base and from what has to come there."""
    mover, parts = tool, [np.zeros(8)]
    if OBJECT in bodies:
        mover, angle = bodies[OBJECT].position, SYMMETRY * bodies[OBJECT].yaw
        parts = [mover, np.array([np.sin(angle), np.cos(angle)]), mover - tool]
    goals = [bodies[goal].position for goal in GOALS]
    return [*parts, *(part for goal in goals for part in (goal, goal - mover))]
