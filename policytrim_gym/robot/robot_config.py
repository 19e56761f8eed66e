"""What a robot file says about an arm beyond its URDF."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from policytrim_gym.config import check_fields, load_yaml
from policytrim_gym.errors import InvalidConfig, MissingFile
from policytrim_gym.share import share_file


@dataclass(frozen=True)
class GripperConfig:
    """A parallel gripper.

    Args:
        joints: prismatic joints that close together; each gets the same command.
        closed, open: their positions [m].
        acceleration_limit: of each [m/s^2].

    Raises:
        InvalidConfig: no joint, closed equal to open, or a limit that is not above 0.

    >>> GripperConfig(joints=("finger_left_joint", "finger_right_joint"), closed=0.0, open=0.04, acceleration_limit=2.0).open
    0.04
    """

    joints: tuple[str, ...]
    closed: float
    open: float
    acceleration_limit: float

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.joints:
            raise InvalidConfig("gripper.joints must name at least one joint, got none")
        if self.closed == self.open:
            raise InvalidConfig(f"gripper.closed and gripper.open must differ, got {self.closed} twice")
        if not 0 < self.acceleration_limit < math.inf:
            raise InvalidConfig(f"gripper.acceleration_limit must be above 0 and finite, got {self.acceleration_limit}")


@dataclass(frozen=True)
class RobotConfig:
    """An arm: its URDF, the joints that are commanded, and the limits that URDF has no field for.

    Args:
        urdf: a file of the share folder ("urdf/policytrim_arm.urdf"), an absolute path, or "python_package:path/inside/it".
        joints: revolute joints from base to tool, (dof,).
        acceleration_limits: of each joint [rad/s^2], (dof,).
        home: where an episode starts [rad], (dof,).
        tool_link: link between the finger tips; its z axis points out of the hand, the fingers close along its y axis.
        gripper: the parallel gripper.
        camera_link: link that carries the wrist camera, which looks along the link's z axis with the x axis up; None: the tool's.
        scene_offset: where the middle of the task space lies beside that of policytrim_arm [m], (2,): larger arms work further away.

    Raises:
        InvalidConfig: lengths that do not fit, a joint named twice, or a limit that is not above 0.

    >>> load_robot_config("policytrim_arm").joints[0]
    'joint_1'
    """

    urdf: str
    joints: tuple[str, ...]
    acceleration_limits: tuple[float, ...]
    home: tuple[float, ...]
    tool_link: str
    gripper: GripperConfig
    camera_link: str | None = None
    scene_offset: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.joints:
            raise InvalidConfig("joints must name at least one joint, got none")
        for name in ("acceleration_limits", "home"):
            if len(getattr(self, name)) != len(self.joints):
                raise InvalidConfig(f"{name} must have a number for each of the {len(self.joints)} joints, got {getattr(self, name)}")
        if not all(0 < limit < math.inf for limit in self.acceleration_limits):
            raise InvalidConfig(f"acceleration_limits must be above 0 and finite, got {self.acceleration_limits}")
        names = (*self.joints, *self.gripper.joints)
        twice = [name for index, name in enumerate(names) if name in names[:index]]
        if twice:
            raise InvalidConfig(f"joints and gripper.joints must name each joint once, got {twice[0]!r} again")

    def urdf_file(self) -> Path:
        """Returns where the URDF lies.

        Raises:
            MissingFile: it is not there; the message names what was looked for.
        """
        package, separator, inside = self.urdf.partition(":")
        if separator and package.isidentifier():
            spec = find_spec(package)
            if spec is None or spec.origin is None:
                raise MissingFile(f"the robot's URDF {self.urdf} needs the Python package {package}, which is not installed")
            file = Path(spec.origin).parent / inside
        else:
            file = Path(self.urdf) if Path(self.urdf).is_absolute() else share_file(self.urdf)
        if not file.is_file():
            raise MissingFile(f"the robot's URDF {self.urdf} is not there: no file {file}")
        return file


def load_robot_config(robot: str | os.PathLike[str]) -> RobotConfig:
    """Reads a robot file.

    Args:
        robot: name of a file in config/robots ("policytrim_arm", "franka_panda"), or the path of a YAML file of your own.

    Raises:
        MissingFile: no such robot.
        InvalidConfig: an unknown key or a wrong value.
    """
    text = os.fspath(robot)
    if text.endswith((".yaml", ".yml")):
        file = Path(text)
        if not file.is_file():
            raise MissingFile(f"there is no robot file {file}")
        return load_yaml(RobotConfig, file)
    try:
        file = share_file(f"config/robots/{text}.yaml")
    except MissingFile as error:
        known = sorted(path.stem for path in share_file("config/robots/policytrim_arm.yaml").parent.glob("*.yaml"))
        raise MissingFile(f"unknown robot {text!r}; expected one of {known} or the path of a YAML file") from error
    return load_yaml(RobotConfig, file)
