"""Makes the physics engine of a name."""

from __future__ import annotations

from importlib.util import find_spec

from policytrim_gym.envs.arm.engine import PhysicsEngine
from policytrim_gym.envs.arm.scene import Scene
from policytrim_gym.envs.mujoco_renderer import rendering_explained
from policytrim_gym.errors import InvalidSpec, MissingExtra
from policytrim_gym.robot.robot_model import RobotModel

ENGINES = ("mujoco", "pybullet")
"""Names of the engines and of the packages that they need."""


def check_engine(name: str) -> str:
    """Returns the name of an engine.

    Raises:
        InvalidSpec: there is none of that name.
        MissingExtra: it is not installed.
    """
    if name not in ENGINES:
        raise InvalidSpec(f"engine must be one of {ENGINES}, got {name!r}")
    if find_spec(name) is None:
        raise MissingExtra(f'engine "{name}" is not installed: pip install "policytrim[arm]"')
    return name


def make_engine(name: str, robot: RobotModel, scene: Scene) -> PhysicsEngine:
    """Returns a new engine with the arm and the scene in it.

    Raises:
        InvalidSpec, MissingExtra: as `check_engine`.
    """
    if check_engine(name) == "mujoco":
        with rendering_explained():
            from policytrim_gym.envs.arm.mujoco_engine import MujocoEngine

        return MujocoEngine(robot, scene)
    from policytrim_gym.envs.arm.pybullet_engine import PybulletEngine

    return PybulletEngine(robot, scene)
