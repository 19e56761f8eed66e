"""An arm as its URDF and its robot file describe it together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

from policytrim_gym.errors import InvalidConfig, InvalidSpec
from policytrim_gym.robot.robot_config import RobotConfig, load_robot_config


class MotionLimits(NamedTuple):
    """What the joints can do; for an arm (dof,), with the gripper's joint behind them (dof + 1,)."""

    lower: NDArray[np.float64]  # positions [rad], [m]
    upper: NDArray[np.float64]
    velocity: NDArray[np.float64]  # [rad/s], [m/s]
    acceleration: NDArray[np.float64]  # [rad/s^2], [m/s^2]
    effort: NDArray[np.float64]  # [N m], [N]


@dataclass(frozen=True, eq=False)
class RobotModel:
    """An arm with all its limits, checked.

    Args:
        config: the robot file.
        urdf_file: where its URDF lies.
        arm_limits: of `config.joints`, (dof,) each.
        gripper_limits: of one gripper joint, (1,) each; the position range is from closed to open.

    >>> robot = load_robot("policytrim_arm")
    >>> robot.dof, robot.arm_limits.velocity.tolist()
    (6, [2.0, 2.0, 2.0, 3.0, 3.0, 3.0])
    """

    config: RobotConfig
    urdf_file: Path
    arm_limits: MotionLimits
    gripper_limits: MotionLimits

    @property
    def dof(self) -> int:
        """Joints of the arm, without the gripper."""
        return len(self.config.joints)

    @property
    def home(self) -> NDArray[np.float64]:
        """Where an episode starts [rad], (dof,)."""
        return np.array(self.config.home)

    @property
    def limits(self) -> MotionLimits:
        """Of the arm's joints and one gripper joint, (dof + 1,) each."""
        return MotionLimits(*(np.concatenate(pair) for pair in zip(self.arm_limits, self.gripper_limits)))

    def finger_position(self, opening: ArrayLike) -> NDArray[np.float64]:
        """Returns gripper joint positions [m] of openings in [0 (closed), 1 (open)]."""
        gripper = self.config.gripper
        return gripper.closed + np.asarray(opening, dtype=np.float64) * (gripper.open - gripper.closed)

    def opening(self, finger_position: ArrayLike) -> NDArray[np.float64]:
        """Returns openings in [0, 1] of gripper joint positions [m]; outside when a joint is beyond its ends."""
        gripper = self.config.gripper
        return (np.asarray(finger_position, dtype=np.float64) - gripper.closed) / (gripper.open - gripper.closed)


def load_robot(robot: str | os.PathLike[str] = "policytrim_arm") -> RobotModel:
    """Reads a robot file and the URDF that it names.

    Args:
        robot: name of a file in config/robots, or the path of a YAML file of your own.

    Raises:
        MissingFile: a file that is not there.
        InvalidConfig: a robot file with a wrong value; a joint or link that the URDF lacks.
        InvalidSpec: a URDF that cannot be read, or without a limit of a joint.
    """
    config = load_robot_config(robot)
    file = config.urdf_file()
    root = _read_urdf(file)
    joints = {joint.get("name", ""): joint for joint in root.findall("joint")}
    links = {link.get("name", "") for link in root.findall("link")}
    for link in (config.tool_link, config.camera_link):
        if link is not None and link not in links:
            raise InvalidConfig(f"{file} has no link {link!r}, which the robot file names; it has {sorted(links)}")
    arm = _limits(file, joints, config.joints, config.acceleration_limits)
    gripper = _gripper_limits(file, joints, config)
    home = np.array(config.home)
    outside = (home < arm.lower) | (home > arm.upper)
    if outside.any():
        index = int(np.argmax(outside))
        raise InvalidConfig(
            f"home of {config.joints[index]} must be within its limits {arm.lower[index]:g}..{arm.upper[index]:g}, got {home[index]:g}"
        )
    return RobotModel(config, file, arm, gripper)


def _read_urdf(file: Path) -> ElementTree.Element:
    try:
        root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise InvalidSpec(f"{file} is no URDF: {error}") from error
    if root.tag != "robot":
        raise InvalidSpec(f"{file} is no URDF: its first element must be <robot>, got <{root.tag}>")
    return root


def _gripper_limits(file: Path, joints: dict[str, ElementTree.Element], config: RobotConfig) -> MotionLimits:
    """Returns the limits that hold for every gripper joint, (1,)."""
    gripper = config.gripper
    every = _limits(file, joints, gripper.joints, (gripper.acceleration_limit,) * len(gripper.joints))
    low, high = sorted((gripper.closed, gripper.open))
    if low < every.lower.max() - 1e-6 or high > every.upper.min() + 1e-6:
        raise InvalidConfig(
            f"gripper.closed and gripper.open must be within the joints' limits {every.lower.max():g}..{every.upper.min():g}, "
            f"got {gripper.closed:g} and {gripper.open:g}"
        )
    return MotionLimits(
        np.array([low]),
        np.array([high]),
        every.velocity.min(keepdims=True),
        every.acceleration.min(keepdims=True),
        every.effort.min(keepdims=True),
    )


def _limits(file: Path, joints: dict[str, ElementTree.Element], names: tuple[str, ...], accelerations: tuple[float, ...]) -> MotionLimits:
    """Reads position, velocity and effort limits of the named joints."""
    rows = []
    for name, acceleration in zip(names, accelerations):
        if name not in joints:
            raise InvalidConfig(f"{file} has no joint {name!r}, which the robot file names; it has {sorted(joints)}")
        limit = joints[name].find("limit")
        found = {} if limit is None else limit.attrib
        missing = [key for key in ("lower", "upper", "velocity", "effort") if key not in found]
        if missing:
            raise InvalidSpec(f"joint {name!r} of {file} must have the limits lower, upper, velocity and effort, it lacks {missing}")
        try:
            lower, upper, velocity, effort = values = [float(found[key]) for key in ("lower", "upper", "velocity", "effort")]
        except ValueError as error:
            raise InvalidSpec(f"the limits of joint {name!r} of {file} must be numbers: {error}") from error
        if not (np.isfinite(values).all() and lower < upper and velocity > 0 and effort > 0):
            raise InvalidSpec(
                f"joint {name!r} of {file} must have finite limits with lower < upper, velocity > 0 and effort > 0, "
                f"got {lower}, {upper}, {velocity}, {effort}"
            )
        rows.append((lower, upper, velocity, acceleration, effort))
    return MotionLimits(*np.array(rows, dtype=np.float64).T)
