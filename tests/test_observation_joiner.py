"""Laws of the observation that is joined by time stamp."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from policytrim_gym.errors import InvalidConfig, MissingObservation
from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros.control.action_joints import ActionJoints
from policytrim_ros.control.joint_reader import JointReader
from policytrim_ros.control.motion_state import MeasuredState
from policytrim_ros.control.observation_joiner import HISTORY_S, ObservationJoiner

ROBOT = load_robot("policytrim_arm")
NAMES = (*ROBOT.config.joints, *ROBOT.config.gripper.joints)
SPEED = np.array([0.5, -1.0])


def line(stamp_s):
    """Joints that move evenly: where they are at any time is known."""
    return MeasuredState(SPEED * stamp_s, SPEED, stamp_s)


def joiner_with(joints=(), frames=None, names=("image/front", "image/wrist"), **settings):
    joiner = ObservationJoiner(names, needs_instruction=False, **settings)
    for stamp_s in joints:
        joiner.joints_arrived(line(stamp_s))
    for name, stamp_s in (frames or {}).items():
        joiner.frame_arrived(name, f"{name} at {stamp_s}", stamp_s)
    return joiner


@pytest.mark.parametrize("moment_s", [5.0, 5.003, 5.0101, 5.0299, 5.03])
def test_joints_are_those_of_the_moment_of_the_image_not_the_newest(moment_s):
    joiner = joiner_with(np.arange(5.0, 5.5, 0.01), {"image/front": moment_s, "image/wrist": moment_s - 0.01})
    joined = joiner.newest()
    assert joined.stamp_s == moment_s
    np.testing.assert_allclose(joined.positions, SPEED * moment_s, rtol=0, atol=1e-12)
    assert joined.frames == {"image/front": f"image/front at {moment_s}", "image/wrist": f"image/wrist at {moment_s - 0.01}"}


def test_without_frames_the_newest_joints_are_the_moment():
    joiner = joiner_with([1.0, 1.01], names=())
    assert joiner.newest().stamp_s == 1.01
    np.testing.assert_array_equal(joiner.newest().positions, SPEED * 1.01)


def test_the_order_of_arrival_changes_nothing():
    parts = [("joints", 2.0), ("joints", 2.01), ("image/front", 2.004), ("image/wrist", 2.0), ("image/front", 1.9)]
    seen = []
    for order in itertools.permutations(parts):
        joiner = joiner_with()
        for name, stamp_s in order:
            if name == "joints":
                joiner.joints_arrived(line(stamp_s))
            else:
                joiner.frame_arrived(name, stamp_s, stamp_s)
        joined = joiner.newest()
        # Joints that come late are left out: then the nearest stand for the moment.
        assert (joined.stamp_s, joined.frames) == (2.004, {"image/front": 2.004, "image/wrist": 2.0})
        seen.append(joined.positions)
    assert np.abs(np.array(seen) - SPEED * 2.004).max() <= np.abs(SPEED).max() * 0.0061


def test_images_of_two_shutters_are_never_mixed():
    joiner = joiner_with([3.0, 3.1], {"image/front": 3.0, "image/wrist": 3.0})
    assert joiner.newest().stamp_s == 3.0
    joiner.frame_arrived("image/front", "next", 3.1)
    assert joiner.newest() is None
    assert joiner.missing == "image/wrist, 0.100 s older than image/front, at most 0.05 s"
    joiner.frame_arrived("image/wrist", "next", 3.1)
    assert joiner.newest().frames == {"image/front": "next", "image/wrist": "next"}


@pytest.mark.parametrize(("moment_s", "gap"), [(1.0, "0.500"), (2.03, "0.030"), (1.75, "0.250")])
def test_joints_too_far_from_the_image_make_no_observation(moment_s, gap):
    joiner = joiner_with([1.5, 2.0], {"image/front": moment_s, "image/wrist": moment_s})
    assert joiner.newest() is None
    assert joiner.missing == f"joint_states within 0.02 s of the newest frame, the nearest is {gap} s from it"


def test_it_says_what_is_missing_until_all_is_there():
    joiner = ObservationJoiner(["image/front"], needs_instruction=True)
    said = []
    for arrive in (
        lambda: joiner.frame_arrived("image/front", 0, 1.0),
        lambda: joiner.instruction_arrived("push"),
        lambda: joiner.joints_arrived(line(1.0)),
    ):
        assert joiner.newest() is None
        said.append(joiner.missing)
        arrive()
    assert said == ["joint_states, image/front, instruction", "joint_states, instruction", "joint_states"]
    assert joiner.newest().instruction == "push" and joiner.missing == ""
    with pytest.raises(InvalidConfig, match="one of .'image/front',., got 'image/back'"):
        joiner.frame_arrived("image/back", 0, 1.0)


def test_a_clock_that_went_back_begins_anew():
    joiner = joiner_with([50.0], {"image/front": 50.0, "image/wrist": 50.0})
    back_s = 50.0 - HISTORY_S - 1.0
    joiner.joints_arrived(line(back_s))
    for name in ("image/front", "image/wrist"):
        joiner.frame_arrived(name, 0, back_s)
    assert joiner.newest().stamp_s == back_s


def test_fingers_may_come_in_messages_of_their_own_the_arms_joints_may_not():
    reader = JointReader(ActionJoints(ROBOT))
    arm = dict(zip(ROBOT.config.joints, ROBOT.home))
    assert reader.read(arm, {}, 1.0) is None and reader.silent == ROBOT.config.gripper.joints
    assert reader.read(dict.fromkeys(ROBOT.config.gripper.joints, 0.03), {}, 1.0) is None
    measured = reader.read(dict(reversed(arm.items())) | {"wheel": 7.0}, {}, 1.1)
    np.testing.assert_allclose(measured.positions, [*ROBOT.home, 0.03])
    with pytest.raises(MissingObservation, match="joint_1 is missing"):
        reader.read({"joint_2": 0.0}, {}, 1.2)
    with pytest.raises(MissingObservation, match="must be finite"):
        reader.read(arm | {"joint_3": float("nan")}, {}, 1.3)


def test_velocities_that_a_driver_leaves_out_are_differences():
    reader = JointReader(ActionJoints(ROBOT))
    start, end = np.zeros(len(NAMES)), np.full(len(NAMES), 0.01)
    told = reader.read(dict(zip(NAMES, start)), dict(zip(NAMES, np.full(len(NAMES), 0.3))), 1.0)
    np.testing.assert_allclose(told.velocities, 0.3)
    np.testing.assert_allclose(reader.read(dict(zip(NAMES, end)), {}, 1.02).velocities, 0.5)
