"""Laws of the motion that chunks become: that of the arm environment, wherever targets are cut into chunks, and at rest at its end."""

from __future__ import annotations

import numpy as np
import pytest
from arm_envs import make, where

from policytrim_gym.errors import InvalidConfig
from policytrim_gym.robot.motion_limiter import MotionLimiter
from policytrim_gym.robot.robot_model import load_robot
from policytrim_ros.control.action_joints import ActionJoints
from policytrim_ros.control.chunk_trajectory import ChunkPlanner
from policytrim_ros.control.execution_timeline import ExecutionTimeline
from policytrim_ros.control.motion_state import MotionState, Waypoints
from policytrim_ros.control.trajectory_gate import TrajectoryGate

DT_S = 0.05
ROBOT = load_robot("policytrim_arm")
LIMITS = ROBOT.limits
JOINTS = ActionJoints(ROBOT)
GATE = TrajectoryGate(JOINTS.names, LIMITS, DT_S)


def walk(seed: int, num_steps: int) -> np.ndarray:
    """Targets within the range that jump by more than a joint can do in a step, (num_steps, dof + 1)."""
    random = np.random.default_rng(seed)
    steps = random.normal(0.0, 0.2, (num_steps, 7)) * LIMITS.velocity
    return np.clip(np.append(ROBOT.home, 0.02) + np.cumsum(steps, axis=0), LIMITS.lower, LIMITS.upper)


def start() -> MotionState:
    return MotionState(np.append(ROBOT.home, 0.04), np.zeros(7))


def followed(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the environment's limiter is after each target, positions and velocities, (steps, dof + 1)."""
    limiter = MotionLimiter(LIMITS, DT_S, [DT_S])
    limiter.reset(start().positions)
    states = []
    for target in targets:
        limiter.advance(target)
        states.append((limiter.position, limiter.velocity))
    return tuple(np.array(part) for part in zip(*states))  # type: ignore[return-value]


@pytest.mark.parametrize("now_s", [0.0, 1.79e9])
@pytest.mark.parametrize("points_per_step", [1, 4, 25])
@pytest.mark.parametrize("seed", range(3))
def test_chunks_cut_anywhere_give_the_limiters_motion_and_pass_the_gate(seed: int, points_per_step: int, now_s: float) -> None:
    targets = walk(seed, 120)
    positions, velocities = followed(targets)
    random = np.random.default_rng(seed)
    planner, timeline = ChunkPlanner(LIMITS, DT_S, points_per_step), ExecutionTimeline(start(), now_s, DT_S)
    begin_s = timeline.clock_s(timeline.next_join(now_s, 0.02))
    step = 0
    while step < 100:
        join = timeline.next_join(now_s, 0.02, begin_s + step * DT_S)
        assert timeline.clock_s(join) == pytest.approx(begin_s + step * DT_S, abs=1e-6)
        size = int(random.integers(5, 20))
        waypoints, stamp_s = timeline.splice(join, planner.plan(targets[step : step + size], timeline.joining(join)), now_s)
        trajectory = JOINTS.trajectory(waypoints, stamp_s)
        assert GATE.check(trajectory, timeline.reference(stamp_s)) is None
        timeline.published(trajectory, join, size)
        step += int(random.integers(1, size))
        now_s = begin_s + step * DT_S - random.uniform(0.021, 0.045)
        at = [timeline.joining(index * DT_S) for index in range(max(1, round(join / DT_S)), step + 1)]
        rows = slice(step - len(at), step)
        np.testing.assert_allclose([state.positions for state in at], positions[rows], rtol=0, atol=1e-9)
        np.testing.assert_allclose([state.velocities for state in at], velocities[rows], rtol=0, atol=1e-7)


def test_what_is_sent_is_where_the_arm_environment_tells_its_joints_to_be() -> None:
    env = make("push")
    env.reset(**where())
    actions = np.random.default_rng(0).uniform(JOINTS.lower, JOINTS.upper, (40, 7)).astype(np.float32)
    for action in actions:
        env.step(action)
    motion = ChunkPlanner(LIMITS, DT_S).plan(JOINTS.targets(actions), start())
    np.testing.assert_allclose(motion.positions[:40, :-1], env.joint_path[1:], rtol=0, atol=1e-12)
    env.close()


@pytest.mark.parametrize("seed", range(5))
def test_the_end_is_at_rest_near_the_last_target_within_the_limits(seed: int) -> None:
    targets = walk(seed, 10)
    near = followed(targets)[0][-1] + np.clip(targets[-1] - followed(targets)[0][-1], -0.05, 0.05)
    targets[-1] = near
    motion = ChunkPlanner(LIMITS, DT_S, settle_s=2.0).plan(targets, start())
    assert not motion.velocities[-1].any()
    np.testing.assert_allclose(motion.positions[-1], near, rtol=0, atol=2e-3)
    assert GATE.check(JOINTS.trajectory(motion, 0.0), start()) is None


def test_a_far_last_target_is_not_chased_for_longer_than_the_setting() -> None:
    far = np.where(start().positions > 0, LIMITS.lower, LIMITS.upper)[None]
    motion = ChunkPlanner(LIMITS, DT_S, settle_s=0.2).plan(far, start())
    braking_s = (LIMITS.velocity / LIMITS.acceleration).max()
    assert motion.times_s[-1] <= DT_S + 0.2 + braking_s + 1e-3
    assert not motion.velocities[-1].any()


def test_upsampling_changes_no_motion() -> None:
    targets = walk(1, 30)
    coarse, fine = (ChunkPlanner(LIMITS, DT_S, points).plan(targets, start()) for points in (1, 5))
    np.testing.assert_allclose(fine.positions[4:150:5], coarse.positions[:30], rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.diff(fine.times_s[:150]), DT_S / 5, rtol=1e-9)


def test_an_arm_that_is_asked_to_stay_stays() -> None:
    motion = ChunkPlanner(LIMITS, DT_S).plan(np.tile(start().positions, (5, 1)), start())
    np.testing.assert_array_equal(motion.positions, np.tile(start().positions, (5, 1)))


def test_each_finger_gets_the_grippers_motion_in_a_trajectory_of_its_own_or_in_the_arms() -> None:
    waypoints = Waypoints(np.array([0.1]), np.arange(7.0)[None], np.zeros((1, 7)))
    arm, gripper = JOINTS.parted(JOINTS.trajectory(waypoints, 3.0))
    assert arm.joint_names == ROBOT.config.joints and gripper is not None and gripper.joint_names == ROBOT.config.gripper.joints
    np.testing.assert_array_equal(gripper.positions, [[6.0, 6.0]])
    together, none = ActionJoints(ROBOT, gripper_controller=False).parted(JOINTS.trajectory(waypoints, 3.0))
    assert none is None and together.joint_names == (*ROBOT.config.joints, *ROBOT.config.gripper.joints)
    np.testing.assert_array_equal(together.positions, [[*range(7), 6.0]])
    assert ActionJoints(ROBOT, has_gripper=False).labels == ROBOT.config.joints


def test_openings_become_finger_positions() -> None:
    actions = np.tile(np.append(ROBOT.home, 0.0), (3, 1))
    actions[:, -1] = [0.0, 0.25, 1.0 + 1e-6]  # what float32 rounded beyond a limit is put back
    np.testing.assert_allclose(JOINTS.targets(actions)[:, -1], [0.0, 0.01, 0.04], rtol=0, atol=1e-12)


@pytest.mark.parametrize("setting", [{"control_dt_s": 0.0}, {"points_per_step": 0}, {"points_per_step": 2.0}, {"settle_s": -1.0}])
def test_settings_out_of_range_are_named(setting: dict[str, float]) -> None:
    with pytest.raises(InvalidConfig, match=next(iter(setting))):
        ChunkPlanner(LIMITS, **{"control_dt_s": DT_S, **setting})  # type: ignore[arg-type]
