"""Laws of the simulated arm behind its controllers."""

from __future__ import annotations

import numpy as np
import pytest

from policytrim_gym.envs.arm.arm_env import CONTROL_DT_S, ArmEnv
from policytrim_gym.envs.arm.engines import ENGINES
from policytrim_gym.envs.arm.tasks import OBJECT
from policytrim_gym.envs.initial_states import NUM_INITIAL_STATES
from policytrim_gym.errors import InitialStateOutOfRange, InvalidChunk, InvalidSpec, UnknownSplit, UnknownTask
from policytrim_gym.robot.motion_limiter import MotionLimiter
from policytrim_ros.control.trajectory import Trajectory
from policytrim_ros.sim.sim_arm import ARM, GRIPPER, Outcome, SimArm

for module in (*ENGINES, "pinocchio", "pink"):
    pytest.importorskip(module)


def expert_targets(env, observation):
    """Returns the targets of an episode of the expert from its first observation on, (S, dof + 1)."""
    info, expert, targets = {"is_success": False}, env.make_expert(), []
    while not info["is_success"]:
        targets.append(np.clip(expert.action(observation).astype(float), env.action_space.low, env.action_space.high))
        observation, _, _, _, info = env.step(targets[-1])
    return targets


def reference_of(env, targets):
    """Returns where the limiter has the joints at the end of each control step, positions and velocities (S, dof + 1)."""
    limiter = MotionLimiter(env.robot.limits, CONTROL_DT_S, [CONTROL_DT_S])
    limiter.reset(np.append(env.robot.home, env.robot.finger_position(1.0)))
    ends = [limiter.advance(np.append(target[:-1], env.robot.finger_position(target[-1]))) for target in targets]
    return [np.concatenate([end[index] for end in ends]) for index in (0, 1)]


def trajectories(arm, positions, velocities, stamp_s):
    """Returns the motion (S, dof + 1) of an arm and its gripper as one trajectory for each controller."""
    times = np.arange(1, len(positions) + 1) * CONTROL_DT_S
    columns = [*range(positions.shape[1] - 1), *[-1] * (len(arm.joint_names) - positions.shape[1] + 1)]
    for topic, player in arm.controllers.items():
        mine = [columns[arm.joint_names.index(name)] for name in player.joint_names]
        yield topic, Trajectory(player.joint_names, positions[:, mine], velocities[:, mine], times, stamp_s)


def run(arm, num_steps, tick_s=0.01):
    start = arm.time_s
    for tick in range(1, round(num_steps * CONTROL_DT_S / tick_s) + 1):
        arm.advance_to(start + tick * tick_s)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("task", "gripper_controller", "tolerance"), [("push", True, 1e-3), ("pick-place", True, 1e-12), ("pick-place", False, 1e-12)]
)
def test_an_episode_of_the_environment_played_as_a_trajectory_ends_the_same(task, engine, gripper_controller, tolerance):
    """The joints are told the same up to rounding (1e-16), which a puck that slides along a finger enlarges, a cube that is held not."""
    env = ArmEnv(task, engine)
    observation, _ = env.reset(options={"split": "test", "initial_state": 5})
    targets = expert_targets(env, observation)
    arm = SimArm(task, engine, first_state=5, gripper_controller=gripper_controller, allow_nonzero_velocity_at_trajectory_end=True)
    assert arm.instruction == env.instruction
    arm.advance_to(0.5)  # waits for its policy
    for topic, trajectory in trajectories(arm, *reference_of(env, targets), stamp_s=arm.time_s):
        arm.accept(topic, trajectory)
    run(arm, len(targets))
    assert arm.outcome == Outcome(success=True, steps=len(targets))
    np.testing.assert_allclose(arm._env.engine.joint_state().positions, env.engine.joint_state().positions, rtol=0, atol=tolerance)
    np.testing.assert_allclose(arm._env.engine.body_pose(OBJECT).position, env.engine.body_pose(OBJECT).position, rtol=0, atol=tolerance)
    arm.close()
    env.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_how_often_the_clock_is_asked_changes_nothing(engine):
    ends = []
    for tick_s in (0.01, 0.05, 0.0037):
        arm = SimArm("push", engine)
        home = arm.joint_readings().positions
        names = arm.controllers[ARM].joint_names
        arm.accept(ARM, Trajectory(names, home[None, : len(names)] + 0.2, np.zeros((1, len(names))), np.array([0.8]), 0.0))
        for tick in range(1, int(1.0 / tick_s) + 1):
            arm.advance_to(tick * tick_s)
        arm.advance_to(1.0)
        ends.append(arm.joint_readings().positions)
        assert arm.time_s == pytest.approx(1.0, abs=arm._env.engine.dt_s)
        np.testing.assert_allclose(ends[-1][: len(names)], home[: len(names)] + 0.2, atol=2e-3)  # executed and held
        arm.close()
    np.testing.assert_allclose(ends[1:], ends[:1] * 2, atol=1e-3)


def test_an_episode_begins_with_the_first_trajectory_and_fails_at_its_limit():
    arm = SimArm("push", max_episode_steps=4)
    run(arm, 7)
    assert (arm.steps, arm.outcome) == (0, None)
    gripper = arm.controllers[GRIPPER].joint_names
    arm.accept(GRIPPER, Trajectory(gripper, np.full((1, 2), 0.01), None, np.array([0.1]), 0.0))
    run(arm, 3)
    assert (arm.steps, arm.outcome) == (3, None)
    run(arm, 5)
    assert arm.outcome == Outcome(success=False, steps=4)
    np.testing.assert_allclose(arm.joint_readings().positions[-2:], 0.01, atol=1e-3)


def test_a_reset_takes_the_next_state_and_holds_home():
    last = NUM_INITIAL_STATES["test"] - 1
    arm = SimArm("push", first_state=last)
    env = ArmEnv("push")
    for index in (last, 0, 1):
        env.reset(options={"split": "test", "initial_state": index})
        assert arm.initial_state == index and arm.instruction == env.instruction
        np.testing.assert_array_equal(arm._env.engine.body_pose(OBJECT).position, env.engine.body_pose(OBJECT).position)
        names = arm.controllers[ARM].joint_names
        arm.accept(ARM, Trajectory(names, np.full((1, len(names)), 0.5), None, np.array([1.0]), 0.0))
        run(arm, 10)
        before = arm.time_s
        arm.reset()
        assert arm.time_s == before and arm.steps == 0 and arm.outcome is None
        run(arm, 10)  # the old trajectory is forgotten
        np.testing.assert_allclose(arm.joint_readings().positions[: len(names)], env.robot.home, atol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_images_are_those_of_the_environment(engine):
    pytest.importorskip("mujoco")
    arm, env = SimArm("reach", engine), ArmEnv("reach", engine, observation="pixels", image_size=32)
    observation, _ = env.reset(options={"split": "test", "initial_state": 0})
    assert arm.cameras == ("front", "wrist")
    for camera in arm.cameras:
        np.testing.assert_array_equal(arm.image(camera, 32, 32), observation[f"image_{camera}"])
    arm.close()
    env.close()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"task": "fly"}, UnknownTask, "'fly'"),
        ({"engine": "havok"}, InvalidSpec, "'havok'"),
        ({"split": "exam"}, UnknownSplit, "'exam'"),
        ({"first_state": 250}, InitialStateOutOfRange, r"first_state must be in 0..249 of split 'test', got 250"),
        ({"controller": "soft"}, InvalidSpec, "'soft'"),
        ({"max_episode_steps": 0}, InvalidSpec, "max_episode_steps"),
    ],
)
def test_a_wrong_setting_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        SimArm(**arguments)


def test_without_a_gripper_controller_the_arms_has_all_joints():
    arm = SimArm("reach", gripper_controller=False)
    assert set(arm.controllers) == {ARM} and arm.controllers[ARM].joint_names == arm.joint_names
    names = SimArm("reach").controllers[ARM].joint_names
    with pytest.raises(InvalidChunk, match="must have its joints"):
        arm.accept(ARM, Trajectory(names, np.zeros((1, len(names))), None, np.array([1.0]), 0.0))
