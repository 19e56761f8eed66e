"""Laws of the player of trajectories, against the rules of the joint trajectory controller."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.errors import InvalidChunk, InvalidSpec
from policytrim_gym.robot.motion_limiter import MotionLimiter
from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.sim.trajectory_player import TrajectoryPlayer

BOTH = ("hard", "stamp")


def player(replacement="hard", joints=("elbow",), **arguments):
    return TrajectoryPlayer(joints, np.zeros(len(joints)), 0.0, replacement, **arguments)


def line(stamp_s, positions, times_s, velocities=None, joints=("elbow",)):
    """Returns a trajectory of one joint through these positions."""
    columns = [None if values is None else np.array(values, dtype=float)[:, None] for values in (positions, velocities)]
    return Trajectory(joints, *columns, np.array(times_s, dtype=float), stamp_s)


def at(one, *times):
    return one.sample(times).positions[:, 0].tolist()


@pytest.mark.parametrize("replacement", BOTH)
def test_positions_alone_are_joined_by_lines_and_the_last_one_is_held(replacement):
    one = player(replacement)
    one.accept(line(10.0, [1.0, 3.0], [1.0, 2.0]), now_s=10.0)
    reference = one.sample([10.5, 11.5, 12.0, 99.0])
    np.testing.assert_allclose(reference.positions[:, 0], [0.5, 2.0, 3.0, 3.0])
    np.testing.assert_allclose(reference.velocities[:, 0], [1.0, 2.0, 2.0, 0.0])


@pytest.mark.parametrize("replacement", BOTH)
def test_waypoints_of_a_cubic_give_that_cubic(replacement):
    cubic = np.polynomial.Polynomial([0.0, 0.7, -1.0, 0.3])
    slope = cubic.deriv()
    times = np.array([0.0, 0.4, 1.0, 1.3])
    one = player(replacement, allow_nonzero_velocity_at_trajectory_end=True)
    one.accept(line(5.0, cubic(times), times, slope(times)), now_s=5.0)
    between = np.linspace(0.0, 1.3, 27)
    reference = one.sample(5.0 + between)
    np.testing.assert_allclose(reference.positions[:, 0], cubic(between), atol=1e-12)
    np.testing.assert_allclose(reference.velocities[:, 0], slope(between), atol=1e-11)


def test_sampling_in_parts_is_sampling_at_once():
    times = np.arange(1, 400) * 0.01
    whole, parts = player("stamp"), player("stamp")
    for one in (whole, parts):
        one.accept(line(0.0, [1.0, 0.0], [1.0, 3.0]), now_s=0.0)
        one.accept(line(1.7, [-1.0, 2.0], [0.2, 0.9], [3.0, 0.0]), now_s=0.0)
    together = whole.sample(times)
    apart = [parts.sample(some) for some in np.split(times, [1, 50, 170, 171, 300])]
    for index in (0, 1):
        np.testing.assert_array_equal(together[index], np.concatenate([part[index] for part in apart]))


def test_a_future_stamp_replaces_at_once_or_at_its_time():
    """The released controllers throw away the rest of the old trajectory when the new one arrives, the newer ones when it starts."""
    new = line(4.0, [10.0], [1.0])
    ends = {}
    for replacement in BOTH:
        one = player(replacement)
        one.accept(line(0.0, [4.0], [4.0]), now_s=0.0)  # 1 rad/s from 0 on
        assert at(one, 2.0) == [2.0]
        one.accept(new, now_s=2.0)
        ends[replacement] = at(one, 3.0, 4.0, 4.5, 5.0)
    np.testing.assert_allclose(ends["hard"], [2 + 8 / 3, 2 + 16 / 3, 2 + 20 / 3, 10.0])  # a line from now to the first waypoint
    np.testing.assert_allclose(ends["stamp"], [3.0, 4.0, 7.0, 10.0])


def test_a_newer_trajectory_takes_the_place_of_one_that_waits():
    one = player("stamp")
    one.accept(line(2.0, [5.0], [1.0]), now_s=0.0)
    one.accept(line(3.0, [-1.0], [1.0]), now_s=1.0)
    assert at(one, 2.5, 3.0, 4.0) == [0.0, 0.0, -1.0]
    one.accept(line(6.0, [5.0], [1.0]), now_s=4.0)
    one.accept(line(0.0, [7.0], [1.0]), now_s=5.0)
    assert at(one, 6.0, 7.0) == [7.0, 7.0]


@pytest.mark.parametrize("replacement", BOTH)
def test_waypoints_of_the_past_are_skipped(replacement):
    one = player(replacement)
    one.accept(line(1.0, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), now_s=2.5)
    assert at(one, 2.5, 3.0, 4.0) == [1.5, 2.0, 3.0]


def test_the_way_to_the_first_waypoint_keeps_position_and_velocity():
    one = player(allow_nonzero_velocity_at_trajectory_end=True)
    one.accept(line(0.0, [1.0, 3.0], [1.0, 2.0], [2.0, 2.0]), now_s=0.0)
    one.accept(line(1.5, [3.5, 4.0], [0.25, 0.5], [1.5, 0.0]), now_s=1.5)
    before, after = one.sample([1.5, 1.5 + 1e-6]).positions[:, 0], one.sample([1.5 + 2e-6])
    np.testing.assert_allclose(before, [2.0, 2.0 + 2e-6], atol=1e-9)
    np.testing.assert_allclose(after.velocities[0], [2.0], atol=1e-3)


def test_joints_stand_in_any_order():
    joints = ("shoulder", "elbow")
    one = player(joints=joints)
    one.accept(Trajectory(joints[::-1], np.array([[1.0, 2.0]]), None, np.array([1.0]), 0.0), now_s=0.0)
    np.testing.assert_array_equal(one.sample([1.0]).positions, [[2.0, 1.0]])


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (line(3.0, [1.0], [1.0], joints=("wrist",)), "must have its joints"),
        (Trajectory(("elbow",), np.ones((1, 1)), None, np.ones(1), 3.0), "must have its joints"),  # a part of the joints
        (Trajectory(("elbow", "wrist"), np.ones((1, 2)), None, np.ones(1), 1.0), "must not end before now"),
        (Trajectory(("elbow", "wrist"), np.ones((1, 2)), np.ones((1, 2)), np.ones(1), 3.0), "must stand still, got velocity 1"),
    ],
)
@pytest.mark.parametrize("replacement", BOTH)
def test_a_refused_trajectory_changes_nothing(replacement, refused, message):
    one = player(replacement, joints=("elbow", "wrist"))
    one.accept(Trajectory(("elbow", "wrist"), np.full((1, 2), 4.0), None, np.full(1, 4.0), 0.0), now_s=0.0)
    with pytest.raises(InvalidChunk, match=message):
        one.accept(refused, now_s=3.0)
    np.testing.assert_array_equal(one.sample([3.0, 9.0]).positions, [[3.0, 3.0], [4.0, 4.0]])


def test_an_unknown_replacement_is_refused():
    with pytest.raises(InvalidSpec, match=r"controller must be one of \('hard', 'stamp'\), got 'soft'"):
        player("soft")


def test_the_motion_of_the_limiter_is_played_exactly():
    """Its acceleration is constant within a control step, so that the ends of the steps with their velocities say all."""
    robot = load_robot("policytrim_arm")
    fine, coarse = (MotionLimiter(robot.limits, 0.05, np.linspace(0.05 / n, 0.05, n)) for n in (20, 1))
    random = np.random.default_rng(0)
    targets = random.uniform(robot.limits.lower, robot.limits.upper, (30, robot.dof + 1))
    motion, ends = [fine.advance(target) for target in targets], [coarse.advance(target) for target in targets]
    names = (*robot.config.joints, "gripper")
    one = player(joints=names, allow_nonzero_velocity_at_trajectory_end=True)
    positions, velocities = (np.concatenate([end[index] for end in ends]) for index in (0, 1))
    one.accept(Trajectory(names, positions, velocities, np.arange(1, 31) * 0.05, stamp_s=0.0), now_s=7.0)
    played = one.sample(7.0 + np.arange(1, 601) * 0.0025)
    for index in (0, 1):
        np.testing.assert_allclose(played[index], np.concatenate([part[index] for part in motion]), atol=1e-9)
