"""Robot files and URDFs: what is read from them, and that each mistake in them is named."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from policytrim_gym.errors import InvalidConfig, InvalidSpec, MissingFile, PolicyTrimError
from policytrim_gym.robot.robot_config import load_robot_config
from policytrim_gym.robot.robot_model import RobotModel, load_robot

ROOT = Path(__file__).resolve().parents[1]
PLAIN = (ROOT / "config/robots/policytrim_arm.yaml").read_text()
URDF = (ROOT / "urdf/policytrim_arm.urdf").read_text()


def robot_with(folder: Path, description: str = URDF, **changes: object) -> RobotModel:
    """Loads the arm with a changed URDF and changed keys of its robot file; a key "gripper__open" is one inside."""
    (folder / "arm.urdf").write_text(description)
    values = yaml.safe_load(PLAIN) | {"urdf": str(folder / "arm.urdf")}
    for key, value in changes.items():
        *outer, name = key.split("__")
        inside = values[outer[0]] if outer else values
        inside[name] = value
    file = folder / "robot.yaml"
    file.write_text(yaml.safe_dump(values))
    return load_robot(file)


def with_limit(joint: str, **changes: str | None) -> str:
    """Returns the URDF with other limits of a joint; None leaves one out."""
    block = re.search(rf'<joint name="{joint}".*?</joint>', URDF, re.DOTALL).group()
    changed = block
    for name, value in changes.items():
        changed = re.sub(rf' {name}="[^"]*"(?=[^<]*/>)', "" if value is None else f' {name}="{value}"', changed)
    assert changed != block
    return URDF.replace(block, changed)


@pytest.mark.parametrize(("name", "dof"), [("policytrim_arm", 6), ("franka_panda", 7)])
def test_each_robot_file_loads_with_limits_of_every_joint(name: str, dof: int) -> None:
    if name == "franka_panda":
        pytest.importorskip("pybullet_data")
    robot = load_robot(name)
    assert robot.dof == dof
    assert all(limit.shape == (dof,) for limit in robot.arm_limits)
    assert all(limit.shape == (dof + 1,) for limit in robot.limits)
    assert (robot.arm_limits.lower <= robot.home).all() and (robot.home <= robot.arm_limits.upper).all()
    for limit in robot.limits[2:]:
        assert (limit > 0).all() and np.isfinite(limit).all()


def test_the_limits_are_those_of_urdf_and_robot_file() -> None:
    robot, config = load_robot("policytrim_arm"), yaml.safe_load(PLAIN)
    assert robot.arm_limits.acceleration.tolist() == config["acceleration_limits"]
    assert robot.home.tolist() == config["home"]
    for index, name in enumerate(config["joints"]):
        limit = ElementTree.fromstring(URDF).find(f"joint[@name='{name}']/limit")
        for key in ("lower", "upper", "velocity", "effort"):
            assert getattr(robot.arm_limits, key)[index] == float(limit.get(key))


def test_openings_and_finger_positions_are_inverse_and_end_at_closed_and_open(tmp_path: Path) -> None:
    for robot in (load_robot("policytrim_arm"), robot_with(tmp_path, gripper__closed=0.035, gripper__open=0.005)):
        gripper = robot.config.gripper
        np.testing.assert_allclose(robot.finger_position([0.0, 1.0]), [gripper.closed, gripper.open])
        openings = np.linspace(0, 1, 7)
        np.testing.assert_allclose(robot.opening(robot.finger_position(openings)), openings)
        assert robot.gripper_limits.lower < robot.gripper_limits.upper


def test_the_order_of_joints_in_the_robot_file_is_the_order_of_the_limits(tmp_path: Path) -> None:
    config = yaml.safe_load(PLAIN)
    turned = {key: config[key][::-1] for key in ("joints", "acceleration_limits", "home")}
    one, other = load_robot("policytrim_arm"), robot_with(tmp_path, **turned)
    for limit, turned_limit in zip(one.arm_limits, other.arm_limits):
        np.testing.assert_array_equal(limit, turned_limit[::-1])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"joints": ["joint_1", "joint_2", "joint_3", "joint_4", "joint_5", "joint_7"]}, InvalidConfig, "no joint 'joint_7'.*joint_6"),
        ({"tool_link": "tol"}, InvalidConfig, "no link 'tol'.*'tool'"),
        ({"camera_link": "eye"}, InvalidConfig, "no link 'eye'.*wrist_camera"),
        ({"home": [0.0, 0.0, 9.0, 0.0, 1.4, 0.0]}, InvalidConfig, r"home of joint_3 must be within its limits .*\.\..*got 9"),
        ({"home": [0.0, 0.0]}, InvalidConfig, "home must have a number for each of the 6 joints"),
        ({"acceleration_limits": [1.0]}, InvalidConfig, "acceleration_limits must have a number for each of the 6 joints"),
        ({"acceleration_limits": [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]}, InvalidConfig, "acceleration_limits must be above 0"),
        ({"acceleration_limits": [1.0, 1.0, 1.0, 1.0, 1.0, float("inf")]}, InvalidConfig, "acceleration_limits must be .*finite"),
        ({"home": [0.0, 0.0, float("nan"), 0.0, 1.4, 0.0]}, InvalidConfig, "nan"),
        ({"joints": []}, InvalidConfig, "at least one joint"),
        ({"joints": ["joint_1"] * 6}, InvalidConfig, "name each joint once, got 'joint_1' again"),
        ({"gripper__joints": []}, InvalidConfig, "gripper.joints must name at least one"),
        ({"gripper__joints": ["finger"]}, InvalidConfig, "no joint 'finger'"),
        ({"gripper__joints": ["joint_6"]}, InvalidConfig, "name each joint once, got 'joint_6' again"),
        ({"gripper__closed": 0.04}, InvalidConfig, "must differ, got 0.04"),
        ({"gripper__open": 0.06}, InvalidConfig, r"within the joints' limits 0\.\.0.04, got 0 and 0.06"),
        ({"gripper__acceleration_limit": -2.0}, InvalidConfig, "gripper.acceleration_limit must be above 0.*got -2"),
        ({"gripper__joint": ["a"]}, InvalidConfig, 'unknown key "joint" in gripper; did you mean "joints"'),
        ({"acceleration_limit": [1.0]}, InvalidConfig, 'unknown key "acceleration_limit".*did you mean "acceleration_limits"'),
        ({"tool_link": 3}, InvalidConfig, "tool_link must be a string, got 3"),
        ({"scene_offset": [0.1]}, InvalidConfig, "scene_offset must be a list of"),
        ({"urdf": "urdf/none.urdf"}, MissingFile, "urdf/none.urdf"),
        ({"urdf": "/none/arm.urdf"}, MissingFile, "/none/arm.urdf"),
        ({"urdf": "no_such_package:arm.urdf"}, MissingFile, "no_such_package.*not installed"),
        ({"urdf": "policytrim_gym:no/arm.urdf"}, MissingFile, "policytrim_gym:no/arm.urdf is not there"),
    ],
    ids=str,
)
def test_a_wrong_robot_file_is_refused_by_name(tmp_path: Path, changes: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        robot_with(tmp_path, **changes)


@pytest.mark.parametrize(
    ("urdf", "words"),
    [
        (with_limit("joint_4", velocity=None), r"joint 'joint_4' of .* it lacks \['velocity'\]"),
        (with_limit("joint_4", lower=None, effort=None), r"it lacks \['lower', 'effort'\]"),
        (with_limit("finger_left_joint", upper=None), r"joint 'finger_left_joint' of .* it lacks \['upper'\]"),
        (re.sub(r"<limit [^>]*/>", "", URDF), "joint 'joint_1' of .* it lacks"),
        (with_limit("joint_2", lower="2.0", upper="2.0"), "joint 'joint_2' of .* lower < upper.*got 2.0, 2.0"),
        (with_limit("joint_2", velocity="0"), "velocity > 0.*got .* 0.0"),
        (with_limit("joint_2", effort="-1"), "effort > 0.*-1.0"),
        (with_limit("joint_2", upper="a lot"), "joint 'joint_2' of .* numbers.*a lot"),
        (with_limit("joint_2", upper="nan"), "joint 'joint_2'.*nan"),
        (with_limit("joint_2", velocity="inf"), "joint 'joint_2'.*finite.*inf"),
        ("no xml", "is no URDF"),
        ("<robot><link>", "is no URDF"),
        ("", "is no URDF"),
        ("<mujoco/>", "is no URDF.*<robot>.*<mujoco>"),
    ],
)
def test_a_wrong_urdf_is_refused_by_name(tmp_path: Path, urdf: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words) as caught:
        robot_with(tmp_path, urdf)
    assert str(tmp_path / "arm.urdf") in str(caught.value)


@pytest.mark.parametrize("robot", ["no_such_arm", "no/such/arm.yaml", "../policytrim_arm"])
def test_an_unknown_robot_is_refused_by_name(robot: str) -> None:
    with pytest.raises(MissingFile, match=re.escape(robot)):
        load_robot(robot)


def test_a_missing_robot_says_which_there_are() -> None:
    with pytest.raises(MissingFile, match="franka_panda.*policytrim_arm"):
        load_robot("policytrim_amr")


@pytest.mark.parametrize("text", ["", "- a list", "joints: [", "urdf: a\nurdf: b"])
def test_a_file_that_is_no_robot_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "robot.yaml").write_text(text)
    with pytest.raises(PolicyTrimError, match=re.escape(str(tmp_path / "robot.yaml"))):
        load_robot_config(tmp_path / "robot.yaml")
