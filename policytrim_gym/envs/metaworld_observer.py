"""What a policy sees of Meta-World."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from policytrim_gym.errors import InvalidSpec

OBSERVATIONS = ("state", "pixels")

CAMERAS = ("front", "wrist")

STATE_SIZE = 39
"""Of Meta-World's own observation: hand (3), gripper (1) and objects (14), the same one step before, and the goal (3)."""

PROPRIOCEPTION_SIZE = 4
"""The first of these: where the hand is [m] and how far the gripper is open."""

GOAL_RADIUS_M = 0.03
PIN_RADIUS_M = 0.008
GOAL_COLOUR = (1.0, 0.0, 1.0, 1.0)

MAX_VIEWS = 16
"""A view holds 35 MB and takes 0.3 to 0.5 s of CPU to make."""


class MetaWorldObserver:
    """Builds observations.

    "state" is Meta-World's own observation, with the goal visible. With pixels, it is what the robot itself measures: the hand's position
    [m] (3,) and how far the gripper is open, 0 to 1 (1,). Where objects and goal are is in the images alone.

    The camera "front" stands to the right of the table and sees the workspace; it is nearer than Meta-World's `corner2`, which shows a
    puck or a goal as one or two pixels of 64. "wrist" is Meta-World's `gripperPOV`: it looks down between the fingers.

    The goal is drawn as a magenta ball with a radius of 3 cm, on a pin that stands on the table: one camera could not tell how high a ball
    in the air is. It is in the image only, not in the physics, and is drawn in all tasks, where it may be inside of what moves there
    (a drawer, a button). Meta-World's own sites are not drawn: several tasks leave that of the goal where no goal is.

    Args:
        observation: "state" or "pixels".
        image_size: of each image [pixels].
        cameras: whose images are drawn, of "front" and "wrist".

    Raises:
        InvalidSpec: an unknown observation or camera, the same camera twice or none, or a size below 16.

    >>> MetaWorldObserver("pixels", image_size=64, cameras=("front",)).space["image_front"].shape
    (64, 64, 3)
    """

    def __init__(self, observation: str, image_size: int, cameras: Sequence[str] | str) -> None:
        if observation not in OBSERVATIONS:
            raise InvalidSpec(f"observation must be one of {OBSERVATIONS}, got {observation!r}")
        if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 16:
            raise InvalidSpec(f"image_size must be an integer of at least 16 pixels, got {image_size!r}")
        names = tuple(cameras) if isinstance(cameras, Sequence) and not isinstance(cameras, str) else (cameras,)
        if not names or any(name not in CAMERAS for name in names) or len(set(names)) < len(names):
            raise InvalidSpec(f"cameras must be one or several of {CAMERAS}, each once, got {cameras!r}")
        self._image_size, self._cameras, self._pixels = image_size, names, observation == "pixels"
        size = PROPRIOCEPTION_SIZE if self._pixels else STATE_SIZE
        spaces: dict[str, gym.Space[Any]] = {"state": gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)}
        if self._pixels:
            spaces |= {f"image_{name}": gym.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8) for name in names}
        self.space = gym.spaces.Dict(spaces)
        self._images: dict[str, NDArray[np.uint8]] = {}

    def observe(self, task: str, simulation: Any, full_state: NDArray[np.float32], look: bool) -> dict[str, NDArray[Any]]:
        """Returns an observation.

        Args:
            task: the present task's name.
            simulation: Meta-World's environment of that task; it is read, and stays as it is.
            full_state: Meta-World's own observation of the same moment, (39,).
            look: whether to draw; if not, the images are those of the last look.

        Raises:
            MissingExtra: no OpenGL is installed; the message names the package.
        """
        if not self._pixels:
            return {"state": full_state.copy()}
        if look:
            view = _VIEWS.view(task, simulation.model, self._image_size)
            self._images = {f"image_{name}": view.draw(simulation, name) for name in self._cameras}
        return {"state": full_state[:PROPRIOCEPTION_SIZE].copy(), **{key: image.copy() for key, image in self._images.items()}}


class _View:
    """Draws a task at one size, from whichever of the task's simulations it is given.

    It poses MuJoCo data of its own. The simulation's may lag behind its joints after a reset (the window's by 20 cm), and bringing them up
    to date would change the physics.
    """

    def __init__(self, model: Any, image_size: int) -> None:
        import mujoco

        from policytrim_gym.envs.mujoco_renderer import MujocoRenderer

        self._renderer = MujocoRenderer(model, image_size, image_size)
        self._posed = mujoco.MjData(model)
        front = mujoco.MjvCamera()
        front.lookat[:] = (0.05, 0.60, 0.15)
        front.distance, front.azimuth, front.elevation = 0.9, 140.0, -40.0
        self._cameras = {"front": front, "wrist": "gripperPOV"}

    def draw(self, simulation: Any, camera: str) -> NDArray[np.uint8]:
        """Returns the camera's image, (image_size, image_size, 3) uint8."""
        import mujoco

        posed, data, model = self._posed, simulation.data, simulation.model
        posed.qpos[:], posed.mocap_pos[:], posed.mocap_quat[:] = data.qpos, data.mocap_pos, data.mocap_quat
        mujoco.mj_kinematics(model, posed)  # the simulation's own model: tasks place fixed bodies in it
        mujoco.mj_camlight(model, posed)
        return self._renderer.draw(posed, self._cameras[camera], _goal_markers(simulation._target_pos), show_sites=False)

    def close(self) -> None:
        self._renderer.close()


class _ViewCache:
    """The views of this process, for all of its environments; the one that was not used for longest makes room for a new one."""

    def __init__(self, max_views: int) -> None:
        self._max_views = max_views
        self._views: OrderedDict[tuple[str, int], _View] = OrderedDict()

    def view(self, task: str, model: Any, image_size: int) -> _View:
        """Returns the view of a task, made from any of its simulations' models: they differ only in where fixed bodies stand."""
        key = (task, image_size)
        if key not in self._views:
            while len(self._views) >= self._max_views:
                self._views.popitem(last=False)[1].close()
            self._views[key] = _View(model, image_size)
        self._views.move_to_end(key)
        return self._views[key]


_VIEWS = _ViewCache(MAX_VIEWS)


def _goal_markers(goal: NDArray[np.float64]) -> list[Any]:
    import mujoco

    from policytrim_gym.envs.mujoco_renderer import Marker

    markers = [Marker(mujoco.mjtGeom.mjGEOM_SPHERE, (GOAL_RADIUS_M,) * 3, goal, GOAL_COLOUR)]
    x, y, z = goal
    if z > GOAL_RADIUS_M:
        markers.append(Marker(mujoco.mjtGeom.mjGEOM_CYLINDER, (PIN_RADIUS_M, z / 2, 0.0), (x, y, z / 2), GOAL_COLOUR))
    return markers
