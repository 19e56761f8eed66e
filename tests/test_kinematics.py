"""Laws of the kinematics: the engines agree on where the tool is, and the inverse is one."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from policytrim_gym.envs.arm.engines import ENGINES, make_engine
from policytrim_gym.envs.arm.scene import Physics, Scene
from policytrim_gym.envs.arm.tasks import MIDDLE
from policytrim_gym.errors import MissingExtra
from policytrim_gym.robot.kinematics import Kinematics, ToolPose
from policytrim_gym.robot.robot_model import RobotModel, load_robot

pytest.importorskip("pinocchio")
pytest.importorskip("pink")

ROBOTS = ("policytrim_arm", "franka_panda")


def load(name: str) -> RobotModel:
    if name == "franka_panda":
        pytest.importorskip("pybullet_data")
    return load_robot(name)


def rotation_of(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def poses_to_work_at(kinematics: Kinematics, robot: RobotModel, num_poses: int) -> list[ToolPose]:
    """Returns random poses over the table, the hand pointing down and turned about the vertical."""
    random = np.random.default_rng(0)
    home = kinematics.tool_pose(robot.home)
    middle = np.append(MIDDLE + robot.config.scene_offset, 0.12)
    poses = []
    for _ in range(num_poses):
        turned = ToolPose(np.zeros(3), home.rotation).moved(np.zeros(3), np.array([0.0, 0.0, random.uniform(-0.8, 0.8)]))
        poses.append(ToolPose(middle + random.uniform((-0.08, -0.2, -0.1), (0.08, 0.2, 0.1)), turned.rotation))
    return poses


@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("engine_name", ENGINES)
def test_the_tool_is_where_each_engine_has_it(engine_name: str, name: str) -> None:
    pytest.importorskip(engine_name)
    robot = load(name)
    kinematics, engine = Kinematics(robot), make_engine(engine_name, robot, Scene((), ()))
    for joints in np.random.default_rng(1).uniform(robot.limits.lower, robot.limits.upper, (10, robot.dof + 1)):
        engine.reset(joints, {}, Physics())
        pose, expected = engine.tool_pose(), kinematics.tool_pose(joints[:-1])
        np.testing.assert_allclose(pose.position, expected.position, rtol=0, atol=1e-5)
        np.testing.assert_allclose(rotation_of(pose.quaternion), expected.rotation, rtol=0, atol=1e-5)
    engine.close()


@pytest.mark.parametrize("name", ROBOTS)
def test_joints_for_a_pose_bring_the_tool_there(name: str) -> None:
    robot = load(name)
    kinematics = Kinematics(robot)
    for pose in poses_to_work_at(kinematics, robot, 30):
        joints = kinematics.joints_for(pose, robot.home, num_iterations=30)
        reached = kinematics.tool_pose(joints)
        np.testing.assert_allclose(reached.position, pose.position, rtol=0, atol=1e-4)
        np.testing.assert_allclose(reached.rotation, pose.rotation, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ROBOTS)
def test_the_joints_of_a_pose_are_those_it_came_from_but_for_joints_to_spare(name: str) -> None:
    robot = load(name)
    kinematics = Kinematics(robot)
    for joints in np.random.default_rng(2).uniform(-0.15, 0.15, (10, robot.dof)) + robot.home:
        pose = kinematics.tool_pose(joints)
        found = kinematics.joints_for(pose, joints)
        np.testing.assert_allclose(kinematics.tool_pose(found).position, pose.position, rtol=0, atol=1e-4)
        if robot.dof == 6:
            np.testing.assert_allclose(found, joints, rtol=0, atol=1e-3)
        else:  # the elbow may turn: towards home
            assert np.linalg.norm(found - robot.home) <= np.linalg.norm(joints - robot.home) + 1e-3


@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("position", [(2.0, 0.0, 0.3), (0.0, 0.0, 0.05), (-0.6, 0.4, 1.5), (0.3, 0.0, -0.9)])
def test_a_pose_out_of_reach_keeps_every_joint_in_its_range(name: str, position: tuple[float, float, float]) -> None:
    robot = load(name)
    kinematics, joints = Kinematics(robot), robot.home
    rotation = kinematics.tool_pose(robot.home).rotation
    for _ in range(10):
        joints = kinematics.joints_for(ToolPose(np.array(position), rotation), joints)
        assert (joints >= robot.arm_limits.lower - 1e-6).all() and (joints <= robot.arm_limits.upper + 1e-6).all()


@pytest.mark.parametrize("end", ["lower", "upper"])
def test_a_start_at_the_ends_of_the_ranges_is_fine(end: str) -> None:
    robot = load_robot("policytrim_arm")
    kinematics = Kinematics(robot)
    pose = kinematics.tool_pose(robot.home)
    joints = kinematics.joints_for(pose, getattr(robot.arm_limits, end).copy())
    assert (joints >= robot.arm_limits.lower - 1e-6).all() and (joints <= robot.arm_limits.upper + 1e-6).all()


def test_asking_leaves_the_arguments_and_the_next_answer_alone() -> None:
    robot = load_robot("policytrim_arm")
    used, fresh = Kinematics(robot), Kinematics(robot)
    poses = poses_to_work_at(used, robot, 5)
    start = robot.home
    for pose in poses:
        used.joints_for(pose, start)
        np.testing.assert_array_equal(start, robot.home)
    np.testing.assert_array_equal(used.joints_for(poses[0], start), fresh.joints_for(poses[0], start))


def test_difference_is_the_inverse_of_moved() -> None:
    robot = load_robot("policytrim_arm")
    start = Kinematics(robot).tool_pose(robot.home)
    for step in np.random.default_rng(3).uniform(-1.5, 1.5, (20, 6)):
        np.testing.assert_allclose(start.moved(step[:3], step[3:]).difference(start), step, rtol=0, atol=1e-9)
    one, other = (start.moved(np.full(3, shift), np.array([0.2, shift, -0.4])) for shift in (0.1, -0.3))
    difference = one.difference(other)
    again = other.moved(difference[:3], difference[3:])
    np.testing.assert_allclose(again.position, one.position, rtol=0, atol=1e-12)
    np.testing.assert_allclose(again.rotation, one.rotation, rtol=0, atol=1e-12)


def test_motion_is_along_the_axes_of_the_base() -> None:
    start = ToolPose(np.array([0.4, 0.0, 0.2]), np.diag([1.0, -1.0, -1.0]))
    quarter = start.moved(np.array([0.0, 0.1, 0.0]), np.array([0.0, 0.0, np.pi / 2]))
    np.testing.assert_allclose(quarter.position, [0.4, 0.1, 0.2])
    np.testing.assert_allclose(quarter.rotation, [[0, 1, 0], [1, 0, 0], [0, 0, -1]], rtol=0, atol=1e-12)


def test_the_order_of_joints_in_the_robot_file_does_not_matter() -> None:
    robot = load_robot("policytrim_arm")
    order = np.array([3, 0, 5, 1, 4, 2])
    turned = {key: tuple(np.array(getattr(robot.config, key))[order].tolist()) for key in ("joints", "acceleration_limits", "home")}
    other = dataclasses.replace(robot, config=dataclasses.replace(robot.config, **turned))
    ours, theirs = Kinematics(robot), Kinematics(other)
    np.testing.assert_array_equal(ours.tool_pose(robot.home).position, theirs.tool_pose(other.home).position)
    for pose in poses_to_work_at(ours, robot, 5):
        np.testing.assert_allclose(ours.joints_for(pose, robot.home)[order], theirs.joints_for(pose, other.home), rtol=0, atol=1e-9)


@pytest.mark.parametrize("module", ["pinocchio", "pink"])
def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"policytrim\[arm\]"):
        Kinematics(load_robot("policytrim_arm"))
