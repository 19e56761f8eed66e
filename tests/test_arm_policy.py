"""Laws of what a policy is shown on a robot, and of what becomes of its answer."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

for module in ("mujoco", "pinocchio", "pink"):
    pytest.importorskip(module)
# ruff: noqa: E402 - kinematics may be missing, and then these cannot be imported
from openpi_servers import free_port
from small_arm_policies import POSITIONS, ROBOT, reach_policy, swing_policy

from policytrim_gym.envs.arm.arm_env import ArmEnv
from policytrim_gym.errors import InvalidConfig, InvalidHorizon, InvalidSpec, MissingObservation
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.serving.openpi_server import OpenpiServer
from policytrim_gym.spec import PolicySpec
from policytrim_ros.arm_policy import ArmPolicy, load_rule
from policytrim_ros.control.observation_joiner import JoinedObservation
from policytrim_ros.control.policy_loop import Question

ROOT = Path(__file__).resolve().parents[1]


def joined(stamp_s=1.0, positions=None, frames=None, instruction="reach"):
    at = np.append(ROBOT.home, ROBOT.finger_position(1.0)) if positions is None else positions
    return JoinedObservation(stamp_s, at, frames or {}, instruction)


def question(stamp_s=1.0, last_targets=None, previous_stamp_s=None, consumed_steps=0, **parts):
    told = np.append(ROBOT.home, 1.0) if last_targets is None else last_targets
    return Question(joined(stamp_s, **parts), told, previous_stamp_s, consumed_steps)


def policy_of(actions, kinds=POSITIONS, horizon=None, shapes=None, **settings):
    """Returns an ArmPolicy of a policy that always answers the same, and the observations that it was shown."""
    actions, shown = np.asarray(actions, dtype=np.float32), []
    spec = PolicySpec(len(actions), actions.shape[1], horizon, 0.05, shapes or {}, False, kinds)
    policy = CallablePolicy(lambda observation: shown.append(observation) or actions, spec)
    return ArmPolicy(policy, ROBOT, **settings), shown


@pytest.mark.parametrize("task", ["reach", "push", "pick-place"])
@pytest.mark.parametrize("observation", ["state", "pixels"])
def test_the_observation_is_the_environments_for_the_same_moment(task, observation):
    env = ArmEnv(task, observation=observation, image_size=16)
    expected, _ = env.reset(options={"split": "test", "initial_state": 3})
    expert = env.make_expert()
    for _ in range(25):
        action = np.clip(expert.action(expected), env.action_space.low, env.action_space.high)
        action[-1] = 0.4  # told, not reached yet
        expected, *_ = env.step(action)
    frames = {f"pose/{body.name}": tuple(env.engine.body_pose(body.name)) for body in env.task.bodies}
    frames |= {f"image/{key.removeprefix('image_')}": image for key, image in expected.items() if key.startswith("image_")}
    spec = PolicySpec(4, 7, None, 0.05, {key: value.shape for key, value in expected.items()}, True, POSITIONS)
    observer = ArmPolicy(CallablePolicy(lambda _: np.zeros((4, 7)), spec), ROBOT, has_object=task != "reach").observer
    assert set(observer.frames) <= set(frames)
    measured = joined(positions=env.engine.joint_state().positions, frames=frames, instruction=env.instruction)
    shown = observer.observation(measured, last_opening=float(env.command[-1]))
    spec.check_observation(shown)
    assert shown["instruction"] == env.instruction
    for key, value in expected.items():
        np.testing.assert_allclose(shown[key], value, rtol=0, atol=1e-6, err_msg=key)
    env.close()


def test_tool_motions_become_the_joint_targets_of_the_environment():
    """As if all steps of the chunk were run from the targets that held at the observation."""
    env = ArmEnv("reach", action="tool_delta")
    env.reset(options={"split": "test", "initial_state": 0})
    random = np.random.default_rng(1)
    actions = random.uniform(env.action_space.low, env.action_space.high, (6, 7)).astype(np.float32)
    env.step(actions[0])
    told, expected = env.command, []
    for action in actions:
        env.step(action)
        expected.append(env.command)
    policy, _ = policy_of(actions, env.action_kinds)
    answer = policy.answer(question(last_targets=told))
    np.testing.assert_allclose(answer.actions, expected, rtol=0, atol=1e-9)
    assert answer.joint_names == policy.joints.labels
    env.close()


def test_only_what_the_setting_names_is_cut_to_its_range():
    beyond = np.tile(np.append(ROBOT.arm_limits.upper + 0.1, 1.2), (3, 1))
    upper = np.append(ROBOT.arm_limits.upper, 1.0)
    expected = {"none": beyond[0], "gripper": np.append(beyond[0, :-1], 1.0), "all": upper}
    for clip, row in expected.items():
        np.testing.assert_allclose(policy_of(beyond, clip=clip)[0].answer(question()).actions, np.tile(row, (3, 1)), atol=1e-6)


def test_a_selector_is_shown_the_rest_of_the_present_chunk():
    stay = np.tile(np.append(ROBOT.home, 1.0), (8, 1))
    selector = load_rule("disagreement:0.01:2,4,8", "")
    policy, _ = policy_of(stay, selector=selector)
    assert policy.answer(question(1.0)).execute_horizon == 4  # nothing to compare with: the longest that leaves a rest
    assert policy.answer(question(2.0, previous_stamp_s=1.0, consumed_steps=3)).execute_horizon == 8
    assert policy.answer(question(3.0, previous_stamp_s=2.0, consumed_steps=8)).execute_horizon == 4  # no rest
    assert policy.answer(question(4.0, previous_stamp_s=0.5, consumed_steps=3)).execute_horizon == 4  # forgotten
    assert policy_of(stay)[0].answer(question()).execute_horizon is None


def test_a_policy_forgets_its_past_at_a_start_and_only_then():
    resets = []
    policy = swing_policy()
    policy.reset = lambda seed=None: resets.append(seed)
    arm = ArmPolicy(policy, ROBOT)
    for previous in (None, 1.0, 2.0, None):
        arm.answer(question(previous_stamp_s=previous))
    assert resets == [None, None]


@pytest.mark.parametrize(
    ("spec", "settings", "error", "message"),
    [
        ({"action_dim": 5, "action_kinds": POSITIONS[2:]}, {}, InvalidSpec, "must have 6 or 7 numbers for this arm, got 5"),
        ({"action_kinds": None}, {}, InvalidSpec, "action must be joint or tool_delta, got auto"),
        ({"action_kinds": ("delta",) * 7}, {}, InvalidSpec, "all position, or tool motions"),
        ({}, {"action": "torque"}, InvalidConfig, "got 'torque'"),
        (
            {"action_dim": 6, "action_kinds": POSITIONS[1:]},
            {"action": "tool_delta"},
            InvalidSpec,
            "must have 7 numbers, got a policy with 6",
        ),
        ({"observation_shapes": {"state": (12,)}}, {}, InvalidSpec, r"one of \[6, 7, 11, 31\] numbers"),
        ({"observation_shapes": {"observation/state": (7,)}}, {}, InvalidSpec, 'needs "observation/state"'),
        ({"observation_shapes": {"image_wrist-cam": (96, 96, 3)}}, {}, InvalidSpec, "letters, digits and _, got 'wrist-cam'"),
        ({"observation_shapes": {"image_0_rgb": (96, 96, 3)}}, {}, InvalidSpec, "got '0_rgb'"),
        ({}, {"selector": load_rule("fixed:9", "")}, InvalidHorizon, "got 9"),
        ({}, {"selector": load_rule("fixed:8x2", "")}, InvalidConfig, "playback rate must be 1 on a robot, got 2"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_by_name(spec, settings, error, message):
    fitting = PolicySpec(8, 7, action_kinds=POSITIONS)
    with pytest.raises(error, match=message):
        ArmPolicy(CallablePolicy(lambda _: [], replace(fitting, **spec)), ROBOT, **settings)


def test_a_selector_that_needs_more_than_chunks_is_refused():
    with pytest.raises(InvalidConfig, match="selector must be empty or one of fixed:"):
        load_rule("runs/selector", "")


def test_the_wrong_size_of_an_image_is_named():
    policy, _ = policy_of(np.zeros((4, 7)), shapes={"image_front": (96, 96, 3)})
    with pytest.raises(MissingObservation, match=r'"image_front"\] must have shape \(96, 96, 3\), got \(48, 64, 3\)'):
        policy.answer(question(frames={"image/front": np.zeros((48, 64, 3), np.uint8)}))


def test_a_server_needs_neither_torch_nor_a_simulator_nor_kinematics_on_the_robot():
    port = free_port()
    script = f"""
import sys
import numpy as np
from policytrim_gym.robot.robot_model import load_robot
from policytrim_gym.policies.mapped_policy import load_mapped_policy
from policytrim_ros.arm_policy import ArmPolicy
from policytrim_ros.control.observation_joiner import JoinedObservation
from policytrim_ros.control.policy_loop import Question
robot = load_robot("policytrim_arm")
policy = ArmPolicy(load_mapped_policy("ws://127.0.0.1:{port}", inference_timeout_s=5.0), robot)
at = np.append(robot.home, 0.04)
answer = policy.answer(Question(JoinedObservation(1.0, at, {{}}, ""), np.append(robot.home, 1.0), None, 0))
assert answer.actions.shape == (16, 7)
print([name for name in ("torch", "mujoco", "pybullet", "pinocchio", "pink", "scipy", "stable_baselines3", "rclpy") if name in sys.modules])
"""
    with OpenpiServer(swing_policy(), port=port):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_a_scripted_policy_reaches_for_the_ball_of_its_instruction():
    env = ArmEnv("reach")
    observation, info = env.reset(options={"split": "test", "initial_state": 0})
    policy, steps = reach_policy(), 0
    while not info["is_success"] and steps < 200:
        for action in policy.predict_action_chunk({**observation, "instruction": env.instruction}).actions[:8]:
            observation, _, _, _, info = env.step(action)
            steps += 1
            if info["is_success"]:
                break
    assert info["is_success"]
    env.close()
