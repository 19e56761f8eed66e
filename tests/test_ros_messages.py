"""Laws of the way between messages and arrays, and between parameters and settings."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

for module in ("rclpy", "trajectory_msgs", "sensor_msgs"):
    pytest.importorskip(module)
# ruff: noqa: E402 - ROS may be missing, and then these are not there
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from policytrim_gym.config import field_descriptions, parse_yaml
from policytrim_gym.errors import InvalidChunk, InvalidConfig, MissingObservation
from policytrim_gym.share import share_file
from policytrim_ros import messages
from policytrim_ros.control.commands import PUBLISHED, ChunkRecord
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.nodes.monitor_settings import MonitorSettings
from policytrim_ros.nodes.policy_settings import PolicySettings
from policytrim_ros.nodes.sim_arm_settings import SimArmSettings

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.999999999, 1.9999999996, 1_795_739_590.123456])
def test_times_come_back_to_the_nanosecond_and_stay_normal(seconds):
    message = messages.to_time(seconds)
    assert 0 <= message.nanosec < 1_000_000_000
    assert messages.to_seconds(message) == pytest.approx(seconds, abs=1e-9, rel=2e-16)


@pytest.mark.parametrize("with_velocities", [True, False])
def test_a_trajectory_comes_back(with_velocities):
    positions, velocities = RANDOM.normal(size=(2, 5, 3))
    there = Trajectory(("a", "b", "c"), positions, velocities if with_velocities else None, np.arange(5) * 0.05, stamp_s=12.25)
    back = messages.from_joint_trajectory(messages.to_joint_trajectory(there))
    assert (back.joint_names, back.stamp_s) == (there.joint_names, there.stamp_s)
    np.testing.assert_array_equal(back.positions, there.positions)
    np.testing.assert_allclose(back.times_s, there.times_s, atol=1e-9)
    assert (back.velocities is None) == (there.velocities is None)
    np.testing.assert_array_equal(back.velocities, there.velocities)


def point(*positions, time_s=1, **fields):
    made = JointTrajectoryPoint(positions=list(positions), **fields)
    made.time_from_start.sec = time_s
    return made


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "at least one waypoint"),
        ([point(0.0)], "positions of each waypoint must have 2 numbers, one a joint, got 1"),
        ([point(0.0, 0.0, velocities=[1.0])], "velocities of each waypoint must have 2 numbers"),
        ([point(0.0, 0.0, velocities=[0.0, 0.0]), point(0.0, 0.0, time_s=2)], "all waypoints must have velocities or none, got 1 of 2"),
        ([point(0.0, 0.0, accelerations=[0.0, 0.0])], "got accelerations in waypoint 0"),
        ([point(0.0, float("nan"))], "must be finite"),
        ([point(0.0, 0.0, time_s=2), point(0.0, 0.0, time_s=1)], "times_s must increase"),
    ],
)
def test_a_wrong_trajectory_message_is_refused(points, message):
    with pytest.raises(InvalidChunk, match=message):
        messages.from_joint_trajectory(JointTrajectory(joint_names=["a", "b"], points=points))


def test_joint_states_are_by_name():
    moving = JointState(name=["b", "a"], position=[2.0, 1.0], velocity=[0.2, 0.1])
    assert messages.joint_velocities(moving) == {"a": 0.1, "b": 0.2}
    assert messages.joint_velocities(JointState(name=["a"], position=[1.0])) == {}
    message = messages.to_joint_state(("a", "b"), np.array([1.0, 2.0]), np.zeros(2), 3.5)
    assert messages.from_joint_state(message) == {"a": 1.0, "b": 2.0} and messages.to_seconds(message.header.stamp) == 3.5
    with pytest.raises(MissingObservation, match="must have one position a name, got 0 for 1"):
        messages.from_joint_state(JointState(name=["a"]))


@pytest.mark.parametrize(
    "record",
    [
        ChunkRecord(13.1, 12.9, 16, 32, 0, 13.1, 0.1, 0.2, PUBLISHED),
        ChunkRecord(1_795_739_590.123456, 1_795_739_589.9, 16, 32, 3, 1_795_739_590.15, 0.1 + 0.2, 0.25, PUBLISHED, "", 1 / 15, False),
        ChunkRecord(None, 12.5, 16, 32, None, None, None, 0.25, "not_finite", "target of joint_4 at step 1 must be finite, got nan"),
    ],
)
def test_what_is_known_of_a_chunk_comes_back_with_all_its_digits(record):
    message = messages.to_chunk_info(record, stamp_s=13.0)
    back = messages.from_chunk_info(message)
    assert dataclasses.replace(back, stamp_s=record.stamp_s) == record
    if record.stamp_s is not None:
        trajectory = Trajectory(("a",), np.zeros((1, 1)), None, np.ones(1), record.stamp_s)
        assert back.stamp_s == messages.to_seconds(messages.to_joint_trajectory(trajectory).header.stamp)
    assert message.status[0].level == (b"\x00" if record.verdict == PUBLISHED else b"\x01")
    assert messages.from_chunk_info(without(message, "control_dt_s", "asynchronous")) == dataclasses.replace(
        back, control_dt_s=None, asynchronous=None
    )
    message.status[0].values[0].value = "soon"
    with pytest.raises(InvalidChunk, match="one status with the keys of a chunk's record"):
        messages.from_chunk_info(message)


def without(message, *keys):
    """Returns a copy of a chunk_info without some keys, as a policy of somebody else's may send it."""
    copied = copy.deepcopy(message)
    copied.status[0].values = [pair for pair in message.status[0].values if pair.key not in keys]
    return copied


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("control_dt_s", "0.0", "must be a finite number above 0, got 0.0"),
        ("control_dt_s", "nan", "must be a finite number above 0, got nan"),
        ("asynchronous", "maybe", "a truth value must be True or False, got 'maybe'"),
    ],
)
def test_steps_without_length_are_refused(key, value, words):
    message = messages.to_chunk_info(ChunkRecord(13.1, 12.9, 16, 32, 0, 13.1, 0.1, 0.2, PUBLISHED, "", 0.05, True), stamp_s=13.0)
    next(pair for pair in message.status[0].values if pair.key == key).value = value
    with pytest.raises(InvalidChunk, match=words):
        messages.from_chunk_info(message)


def test_poses_come_back_with_their_scalar_first():
    quaternion = np.array([0.5, 0.1, -0.7, 0.5])
    message = messages.to_pose(np.array([1.0, 2.0, 3.0]), quaternion, 2.0, "base_link")
    assert (message.pose.orientation.w, message.header.frame_id) == (0.5, "base_link")
    for value, expected in zip(messages.from_pose(message), ([1.0, 2.0, 3.0], quaternion)):
        np.testing.assert_array_equal(value, expected)


def test_images_come_back_whatever_the_order_of_colours_and_the_padding_of_rows():
    image = RANDOM.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(messages.from_image(messages.to_image(image, 1.0, "front")), image)
    padded = np.concatenate([image[:, :, ::-1].reshape(4, 15), np.zeros((4, 1), np.uint8)], axis=1)
    blue_first = Image(height=4, width=5, encoding="bgr8", step=16, data=padded.tobytes())
    np.testing.assert_array_equal(messages.from_image(blue_first), image)
    for wrong, words in ((Image(height=4, width=5, encoding="bgr8", step=15), "got 0 bytes"), (Image(encoding="16UC1"), "got '16UC1'")):
        with pytest.raises(MissingObservation, match=words):
            messages.from_image(wrong)


SETTINGS = {"monitor_node": MonitorSettings, "sim_arm_node": SimArmSettings, "policy_node": PolicySettings}


@pytest.mark.parametrize("node", SETTINGS)
def test_the_yaml_of_a_node_holds_each_parameter_with_its_default_and_a_comment(node):
    text = share_file(f"config/{node}.yaml").read_text()
    lines = text.splitlines()
    values = parse_yaml(text)[f"/**/{node}"]["ros__parameters"]
    fields = {field.name: field.default for field in dataclasses.fields(SETTINGS[node])}
    assert values == fields | {"use_sim_time": False}
    assert {name: type(value) for name, value in values.items() if name in fields} == {name: type(value) for name, value in fields.items()}
    for name in values:
        (index,) = [index for index, line in enumerate(lines) if line.strip().startswith(f"{name}:")]
        assert lines[index - 1].strip().startswith("#"), f"{name} has no comment"
    assert set(field_descriptions(SETTINGS[node])) == set(fields)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"engine": "havok"}, "engine must be one of"),
        ({"image_size": 8}, "image_size must be in 16..1024, got 8"),
        ({"task": 3}, "task must be"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(InvalidConfig, match=message):
        SimArmSettings(**wrong)
