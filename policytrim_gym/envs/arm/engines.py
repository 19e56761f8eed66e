"""Makes the physics engine of a name."""

from __future__ import annotations

from policytrim_gym.envs.arm.engine import PhysicsEngine
from policytrim_gym.envs.arm.scene import Scene
from policytrim_gym.errors import InvalidSpec, MissingExtra
from policytrim_gym.robot.robot_model import RobotModel

ENGINES = ("mujoco", "pybullet")


def check_engine(name: str) -> str:
    """Returns the name of an engine.

    Raises:
        InvalidSpec: there is none of that name.
    """
    if name not in ENGINES:
        raise InvalidSpec(f"engine must be one of {ENGINES}, got {name!r}")
    return name


def make_engine(name: str, robot: RobotModel, scene: Scene) -> PhysicsEngine:
    """Returns a new engine with the arm and the scene in it.

    Raises:
        InvalidSpec: there is none of that name.
        MissingExtra: it is not installed.
    """
    check_engine(name)
    try:
        if name == "mujoco":
            from policytrim_gym.envs.arm.mujoco_engine import MujocoEngine

            return MujocoEngine(robot, scene)
        from policytrim_gym.envs.arm.pybullet_engine import PybulletEngine

        return PybulletEngine(robot, scene)
    except ModuleNotFoundError as error:
        raise MissingExtra(f'engine "{name}" is not installed ({error}): pip install "policytrim[arm]"') from error
