"""Laws of the arm environment."""

from __future__ import annotations

import pickle
import sys
from itertools import product

import gymnasium as gym
import numpy as np
import pytest
from arm_envs import make, stay, wander, where
from numpy.typing import NDArray

from policytrim_gym.envs.arm.arm_env import CONTROL_DT_S, ArmEnv
from policytrim_gym.envs.arm.engine import PhysicsEngine
from policytrim_gym.envs.arm.engines import ENGINES
from policytrim_gym.envs.arm.tasks import GOALS, OBJECT, TASKS
from policytrim_gym.envs.initial_states import NUM_INITIAL_STATES, InitialState
from policytrim_gym.errors import (
    InitialStateOutOfRange,
    InvalidChunk,
    InvalidConfig,
    InvalidSpec,
    MissingExtra,
    MissingFile,
    UnknownSplit,
    UnknownTask,
)
from policytrim_gym.rollouts.env_factory import EnvFactory

for module in (*ENGINES, "pinocchio", "pink"):
    pytest.importorskip(module)

ID = "policytrim_gym:PolicyTrim/Arm-v0"
ACTIONS = ("joint", "tool_delta")


@pytest.mark.parametrize("task", TASKS)
def test_an_initial_state_is_the_same_in_both_engines_and_modes(task: str) -> None:
    layouts = []
    for engine, action in product(ENGINES, ACTIONS):
        env = make(task, engine, action=action)
        for index in (0, 7):
            observation, info = env.reset(**where(split="test", initial_state=index))
            bodies = [np.concatenate(env.engine.body_pose(body.name)) for body in TASKS[task].bodies]
            layouts.append((index, info["instruction"], observation["state"], np.concatenate(bodies)))
        env.close()
    for index, instruction, state, bodies in layouts:
        _, first_instruction, first_state, first_bodies = layouts[index > 0]
        assert instruction == first_instruction
        np.testing.assert_allclose(state, first_state, rtol=0, atol=1e-5)
        np.testing.assert_allclose(bodies, first_bodies, rtol=0, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("task", TASKS)
def test_a_seed_and_a_state_replay_bit_identically_whatever_ran_before(task: str, engine: str) -> None:
    env = make((task, *(other for other in TASKS if other != task)), engine)
    chosen = where(task=task, initial_state=5)
    first = wander(make(task, engine), 20, **chosen)
    wander(env, 20, seed=3)
    for _ in range(2):
        np.testing.assert_array_equal(wander(env, 20, **chosen), first)
    np.testing.assert_array_equal(*(env.reset(seed=9)[0]["state"] for _ in range(2)))


def test_the_splits_share_no_initial_state() -> None:
    env = make("reach")
    goals = [
        tuple(env.reset(**where(split=split, initial_state=index))[0]["state"][-6:]) for split in NUM_INITIAL_STATES for index in range(30)
    ]
    assert len(set(goals)) == len(goals) == 90


@pytest.mark.parametrize("task", TASKS)
def test_both_goals_are_asked_for_and_the_instruction_names_the_one_that_counts(task: str) -> None:
    env, seen = make(task), []
    for index in range(40):
        info = env.reset(**where(initial_state=index))[1]
        assert env.goal in info["instruction"] and info["instruction"] == env.instruction
        assert not any(other in info["instruction"] for other in GOALS if other != env.goal)
        np.testing.assert_array_equal(env.measure().goal, env.engine.body_pose(env.goal).position)
        seen.append(env.goal)
    assert min(seen.count(goal) for goal in GOALS) >= 10
    assert set(env.instructions) == {TASKS[task].instruction(goal) for goal in GOALS}


@pytest.mark.parametrize("task", TASKS)
def test_layouts_are_in_reach_and_nothing_lies_on_anything_else(task: str) -> None:
    env = make(task)
    for index in range(100):
        env.reset(**where(initial_state=index))
        positions = [env.engine.body_pose(body.name).position for body in TASKS[task].bodies]
        for position in positions:
            assert 0.25 < np.linalg.norm(position[:2]) < 0.6
        apart = [np.linalg.norm(one - other) for number, one in enumerate(positions) for other in positions[:number]]
        assert min(apart) > 0.05
        assert not env.task.succeeded(env.measure())


def test_success_terminates_and_the_other_goal_is_none() -> None:
    for index in range(4):
        env = make("reach")
        observation, info = env.reset(**where(initial_state=index))
        other = next(goal for goal in GOALS if goal != env.goal)
        targets = {goal: env.engine.body_pose(goal).position for goal in GOALS}
        for goal in (other, env.goal):
            reached, results = targets[goal], []
            for _ in range(60):
                start = env.kinematics.tool_pose(env.command[:-1])
                way = reached - start.position
                pose = start.moved(way * min(1.0, 0.0125 / max(np.linalg.norm(way), 1e-9)), np.zeros(3))
                results.append(env.step(np.append(env.kinematics.joints_for(pose, env.command[:-1]), 1.0)))
                if results[-1][2]:
                    break
            assert results[-1][2] is (goal == env.goal)
            assert all(result[1] == float(result[2]) == float(result[4]["success"]) == float(result[4]["is_success"]) for result in results)


@pytest.mark.parametrize("limit", [1, 7])
def test_the_time_limit_truncates_exactly(limit: int) -> None:
    env = make(max_episode_steps=limit)
    for _ in range(2):
        env.reset(**where())
        assert [env.step(stay(env))[3] for _ in range(limit)] == [False] * (limit - 1) + [True]


def test_gym_make_truncates_where_it_is_asked_to() -> None:
    env = gym.make(ID, task="push", max_episode_steps=5)
    env.reset(seed=0)
    assert [env.step(stay(env.unwrapped))[3] for _ in range(5)] == [False] * 4 + [True]


@pytest.mark.parametrize("engine", ENGINES)
def test_several_tasks_live_in_one_env(engine: str) -> None:
    env = make(list(TASKS), engine)
    assert len(set(env.instructions)) == 2 * len(TASKS)
    for task in (*TASKS, *TASKS):
        observation, info = env.reset(**where(task=task))
        assert info["task"] == env.task.name == task and env.observation_space.contains(observation)
        expert, done = env.make_expert(), False
        while not done:
            observation, _, terminated, truncated, info = env.step(expert.action(observation))
            done = terminated or truncated
        assert info["is_success"] and info["task"] == task
    drawn = {env.reset(seed=seed)[1]["task"] for seed in range(20)}
    assert drawn == set(TASKS)
    env.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("joint", 2, np.nan), r"joint_3 must be a number in .*\.\..*, got nan"),
        (("joint", 0, np.inf), "joint_1 must be .* got inf"),
        (("joint", 4, 9.0), r"joint_5 must be a number in -2\.1\.\.2\.1, got 9"),
        (("joint", 6, 1.5), r"gripper opening must be a number in 0\.\.1, got 1.5"),
        (("joint", 6, -0.1), r"gripper opening must be .* got -0.1"),
        (("tool_delta", 2, 0.2), r"z must be a number in -0.03\.\.0.03, got 0.2"),
        (("tool_delta", 5, -1.0), "rotation z must be .* got -1"),
        (("tool_delta", 0, np.nan), "x must be .* got nan"),
    ],
    ids=str,
)
def test_an_action_beyond_its_range_names_the_joint_and_moves_nothing(change: tuple, words: str) -> None:
    action, index, value = change
    env = make(action=action)
    env.reset(**where())
    wrong = stay(env).astype(float)
    wrong[index] = value
    before = env.engine.joint_state().positions
    with pytest.raises(InvalidChunk, match=words):
        env.step(wrong)
    np.testing.assert_array_equal(env.engine.joint_state().positions, before)
    np.testing.assert_array_equal(env.joint_path, [env.robot.home])


@pytest.mark.parametrize("shape", [(), (0,), (6,), (8,), (1, 7)])
def test_an_action_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    env = make()
    env.reset(**where())
    with pytest.raises(InvalidChunk, match=r"shape \(7,\) \(joint_1, .*gripper opening\), got"):
        env.step(np.zeros(shape))


def test_the_ends_of_the_action_space_are_within_it() -> None:
    for action in ACTIONS:
        env = make(action=action)
        env.reset(**where())
        for end in (env.action_space.low, env.action_space.high):
            env.step(end)


def test_a_step_before_a_reset_and_after_a_close_is_refused() -> None:
    env = make()
    for _ in range(2):
        for too_early in (lambda: env.step(np.zeros(7)), lambda: env.goal, env.measure, env.render_frame):
            with pytest.raises(InvalidSpec, match="reset the environment before"):
                too_early()
        env.reset(**where())
        env.step(stay(env))
        env.close()
        env.close()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"task": "pick-plac"}, UnknownTask, "'pick-plac'.*did you mean 'pick-place'.*'reach'"),
        ({"task": []}, UnknownTask, "at least one"),
        ({"task": ["push", 3]}, UnknownTask, "3"),
        ({"task": 3}, UnknownTask, "3"),
        ({"engine": "bullet"}, InvalidSpec, "'mujoco', 'pybullet'.*'bullet'"),
        ({"observation": "pixel"}, InvalidSpec, "'state', 'pixels'.*'pixel'"),
        ({"action": "delta"}, InvalidSpec, "'joint', 'tool_delta'.*'delta'"),
        ({"robot": "ur5"}, MissingFile, "'ur5'.*policytrim_arm"),
        ({"robot": "no/robot.yaml"}, MissingFile, "no/robot.yaml"),
        ({"image_size": 8, "observation": "pixels"}, InvalidSpec, "image_size.*16.*got 8"),
        ({"max_episode_steps": 0}, InvalidSpec, "at least 1, got 0"),
        ({"max_episode_steps": 2.5}, InvalidSpec, "integer of at least 1, got 2.5"),
        ({"render_mode": "human"}, InvalidSpec, "'human'"),
        ({"randomization": {"friktion": [1, 2]}}, InvalidConfig, 'unknown key "friktion" in randomization; did you mean "friction"'),
        ({"randomization": {"mass": [0, 2]}}, InvalidConfig, "mass must be a range"),
        ({"randomization": {"light": [2, 1]}}, InvalidConfig, "light must be a range"),
        ({"randomization": {"delay_steps": [-1, 2]}}, InvalidConfig, "delay_steps must be a range"),
        ({"randomization": {"friction": 2}}, InvalidConfig, "friction"),
        ({"randomization": "strong"}, InvalidConfig, "randomization must be a mapping"),
    ],
    ids=str,
)
def test_wrong_constructor_arguments_are_refused_by_name(arguments: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ArmEnv(**arguments)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"initial_sate": 1}, InvalidConfig, "'initial_sate'"),
        ({"split": "eval"}, UnknownSplit, "'eval'"),
        ({"task": "reach"}, UnknownTask, "'reach'"),
        ({"split": "test", "initial_state": 250}, InitialStateOutOfRange, "got 250"),
    ],
)
def test_wrong_reset_options_are_refused_and_leave_the_episode_alone(wrong: dict, error: type[Exception], words: str) -> None:
    env = make()
    env.reset(**where(initial_state=1))
    with pytest.raises(error, match=words):
        env.reset(options=wrong)
    assert env.initial_state == InitialState("push", "train", 1)
    env.step(stay(env))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_engine_is_found_out_before_the_first_reset_and_names_the_extra(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(MissingExtra, match=rf'"{engine}".*policytrim\[arm\]'):
        make(engine=engine)


@pytest.mark.parametrize("action", ACTIONS)
def test_towards_is_the_inverse_of_joint_targets(action: str) -> None:
    env = make(action=action)
    mode, random = env.action_mode, np.random.default_rng(0)
    for _ in range(10):
        command = env.robot.home + random.uniform(-0.2, 0.2, 6)
        targets = command + random.uniform(-0.03, 0.03, 6)
        asked = np.append(mode.towards(targets, command), 0.3)
        np.testing.assert_allclose(mode.joint_targets(asked, command), targets, rtol=0, atol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_tool_deltas_move_the_tool_along_the_base_and_add_up(engine: str) -> None:
    env = make("reach", engine, action="tool_delta")
    env.reset(**where())
    start = env.kinematics.tool_pose(env.robot.home)
    for _ in range(10):
        env.step([0.0, 0.01, -0.005, 0.0, 0.0, 0.05, 1.0])
    for _ in range(10):
        env.step(stay(env))
    np.testing.assert_allclose(env.engine.tool_pose().position - start.position, [0.0, 0.1, -0.05], rtol=0, atol=2e-3)
    asked = env.kinematics.tool_pose(env.command[:-1]).difference(start)
    np.testing.assert_allclose(asked, [0.0, 0.1, -0.05, 0.0, 0.0, 0.5], rtol=0, atol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_path_of_the_joints_keeps_the_limits_whatever_is_asked_for(engine: str) -> None:
    env = make("reach", engine)
    limits, random = env.motion_limits, np.random.default_rng(0)
    assert limits is env.robot.arm_limits
    env.reset(**where())
    num_steps = 0
    for _ in range(60):
        num_steps += 1
        if env.step(random.uniform(env.action_space.low, env.action_space.high))[2]:
            break
    path = env.joint_path
    assert path.shape == (num_steps + 1, env.robot.dof)
    np.testing.assert_array_equal(path[0], env.robot.home)
    velocities = np.diff(path, axis=0) / CONTROL_DT_S
    assert (np.abs(velocities) <= limits.velocity + 1e-6).all()
    assert (np.abs(np.diff(velocities, axis=0)) <= limits.acceleration * CONTROL_DT_S + 1e-6).all()
    env.reset(**where())
    assert env.joint_path.shape == (1, env.robot.dof)


class TestImages:
    @pytest.fixture(params=ENGINES)
    def env(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ArmEnv:
        env = make("reach", request.param, "pixels", max_episode_steps=4)
        env.reset(**where())
        self.drawn = []
        render = type(env.engine).render

        def counted(engine: PhysicsEngine, camera: str, width: int, height: int) -> NDArray[np.uint8]:
            self.drawn.append(camera)
            return render(engine, camera, width, height)

        monkeypatch.setattr(type(env.engine), "render", counted)
        return env

    def test_every_step_draws_both_cameras(self, env: ArmEnv) -> None:
        observation = env.step(stay(env))[0]
        assert self.drawn == ["front", "wrist"]
        assert env.observation_space.contains(observation)

    def test_without_a_look_nothing_is_drawn_until_the_end(self, env: ArmEnv) -> None:
        first, _ = env.reset(**where())
        self.drawn.clear()
        env.look = False
        for _ in range(3):
            observation = env.step(stay(env))[0]
            assert self.drawn == []
            np.testing.assert_array_equal(observation["image_front"], first["image_front"])
        assert env.step(stay(env))[3] and self.drawn == ["front", "wrist"]

    def test_a_success_is_drawn(self, env: ArmEnv) -> None:
        env.max_episode_steps = 100
        observation, _ = env.reset(**where())
        env.look, expert, terminated = False, env.make_expert(), False
        self.drawn.clear()
        while not terminated:
            assert self.drawn == []
            observation, _, terminated, *_ = env.step(expert.action(observation))
        assert self.drawn == ["front", "wrist"]

    def test_a_state_draws_nothing_and_render_only_with_its_mode(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env = make("reach")
        env.reset(**where())
        monkeypatch.setattr(type(env.engine), "render", lambda *_: pytest.fail("rendered"))
        env.step(stay(env))
        assert env.render() is None
        monkeypatch.undo()
        env.render_mode = "rgb_array"
        assert env.render().shape == (360, 480, 3)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_process_makes_its_own(engine: str) -> None:
    import multiprocessing

    factory = EnvFactory(ID, {"task": "push", "engine": engine})
    expected = wander(factory().unwrapped, 3, **where(initial_state=2))
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        states = pool.apply(first_states, (pickle.dumps(factory),))
    np.testing.assert_array_equal(states, expected)


def first_states(pickled: bytes) -> NDArray[np.float32]:
    env = pickle.loads(pickled)()
    return wander(env.unwrapped, 3, **where(initial_state=2))


def test_an_object_that_is_left_alone_stays_where_it_is() -> None:
    for engine, task in product(ENGINES, ("push", "pick-place")):
        env = make(task, engine)
        env.reset(**where())
        before = env.engine.body_pose(OBJECT).position
        for _ in range(40):
            env.step(stay(env))
        np.testing.assert_allclose(env.engine.body_pose(OBJECT).position, before, rtol=0, atol=1e-3)
        assert env.engine.body_speed(OBJECT) < 1e-2
