"""Laws of the Meta-World environment."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from policytrim_gym.envs.initial_states import NUM_INITIAL_STATES, InitialState
from policytrim_gym.envs.metaworld import _SIMULATIONS, MetaWorldEnv
from policytrim_gym.envs.metaworld_tasks import INSTRUCTIONS
from policytrim_gym.errors import InitialStateOutOfRange, InvalidChunk, InvalidConfig, InvalidSpec, MissingExtra, UnknownSplit, UnknownTask

pytest.importorskip("metaworld")

TASKS = ("reach-v3", "push-v3")
ID = "policytrim_gym:PolicyTrim/MetaWorld-v0"


def options(initial_state: int, task: str = "push-v3", split: str = "train") -> dict:
    return {"task": task, "split": split, "initial_state": initial_state}


def trajectory(env: gym.Env, actions: np.ndarray, **reset) -> tuple[np.ndarray, np.ndarray]:
    """Returns the states (steps + 1, 39) and rewards (steps,) of a reset and the actions after it."""
    states, rewards = [env.reset(**reset)[0]["state"]], []
    for action in actions:
        observation, reward, *_ = env.step(action)
        states.append(observation["state"])
        rewards.append(reward)
    return np.array(states), np.array(rewards)


def random_actions(num_steps: int = 30) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (num_steps, 4))


def run_expert(env: MetaWorldEnv, **reset) -> list[tuple]:
    """Runs the scripted expert to the end of the episode and returns what each step gave."""
    observation, _ = env.reset(**reset)
    expert, results = env.make_expert(), []
    while not results or not (results[-1][2] or results[-1][3]):
        results.append(env.step(expert.action(observation)))
        observation = results[-1][0]
    return results


def assert_equal(first: tuple, second: tuple) -> None:
    for ours, theirs in zip(first, second):
        np.testing.assert_array_equal(ours, theirs)


def random_vectors(env: MetaWorldEnv, task: str, num_states: int) -> list[tuple]:
    """Returns Meta-World's positions of object and goal for the first states of each split."""
    vectors = []
    for split in NUM_INITIAL_STATES:
        for index in range(num_states):
            env.reset(options=options(index, task, split))
            vectors.append(tuple(env.simulation._last_rand_vec))
    return vectors


def test_metaworld_passes_gymnasiums_check() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(gym.make(ID, tasks=TASKS).unwrapped, skip_render_check=True)
    unexpected = [str(warning.message) for warning in caught if "infinity" not in str(warning.message)]  # a state has no known bounds
    assert not [message for message in unexpected if "WARN" in message], unexpected


def test_metaworld_passes_sb3s_check() -> None:
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    sb3.check_env(MetaWorldEnv(TASKS))


def test_the_same_seed_replays_bit_identically() -> None:
    env, actions = MetaWorldEnv(TASKS), random_actions()
    first = trajectory(env, actions, seed=5)
    start = env.initial_state
    trajectory(env, actions[:3], seed=6)
    assert_equal(first, trajectory(env, actions, seed=5))
    assert env.initial_state == start
    assert_equal(first, trajectory(MetaWorldEnv(TASKS), actions, seed=5))


@pytest.mark.parametrize("task", ["push-v3", "door-open-v3", "peg-insert-side-v3"])
def test_the_same_state_replays_bit_identically_whatever_ran_before(task: str) -> None:
    actions = random_actions()
    first = trajectory(MetaWorldEnv(task), actions, options=options(3, task))
    env = MetaWorldEnv((task, "reach-v3"))
    run_expert(env, options=options(1, task))
    env.reset(options=options(0, "reach-v3"))
    assert_equal(first, trajectory(env, actions, options=options(3, task)))
    assert_equal(first, trajectory(env, actions, options=options(3, task)))  # now from the kept random vector


def test_a_simulation_from_the_pool_replays_bit_identically() -> None:
    actions = random_actions()
    used = MetaWorldEnv("push-v3")
    first = trajectory(used, actions, options=options(2))
    run_expert(used, options=options(7, split="test"))
    simulation = used.simulation
    used.close()
    heir = MetaWorldEnv("push-v3")
    assert_equal(first, trajectory(heir, actions, options=options(2)))
    assert heir.simulation is simulation


def test_two_environments_of_one_task_have_their_own_simulations() -> None:
    one, other = MetaWorldEnv("push-v3"), MetaWorldEnv("push-v3")
    alone = trajectory(one, random_actions(), options=options(4))
    one.reset(options=options(4))
    other.reset(options=options(9))
    assert one.simulation is not other.simulation
    for action, state in zip(random_actions(), alone[0][1:]):
        other.step(-action)
        np.testing.assert_array_equal(one.step(action)[0]["state"], state)


def test_a_closed_environment_gives_its_simulation_back_once() -> None:
    env = MetaWorldEnv("reach-v3")
    env.reset(seed=0)
    before = len(_SIMULATIONS._idle.get("reach-v3", []))
    env.close()
    env.close()
    assert len(_SIMULATIONS._idle["reach-v3"]) == before + 1
    with pytest.raises(InvalidSpec, match="reset the environment"):
        env.step(np.zeros(4))
    env.reset(seed=0)


def test_the_splits_share_no_initial_state() -> None:
    vectors = random_vectors(MetaWorldEnv("pick-place-v3"), "pick-place-v3", 40)
    assert len(set(vectors)) == len(vectors) == 120


@pytest.mark.slow
@pytest.mark.parametrize("task", INSTRUCTIONS)
def test_every_task_has_disjoint_splits_and_replays(task: str) -> None:
    env, actions = MetaWorldEnv(task), random_actions(10)
    first = trajectory(env, actions, options=options(0, task))
    assert len(set(random_vectors(env, task, 3))) == 9
    assert_equal(first, trajectory(env, actions, options=options(0, task)))
    assert np.isfinite(first[0]).all()
    env.close()


def test_metaworld_has_these_50_tasks() -> None:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    from metaworld.policies import ENV_POLICY_MAP

    assert set(INSTRUCTIONS) == set(ALL_V3_ENVIRONMENTS) == set(ENV_POLICY_MAP)
    assert len(set(INSTRUCTIONS.values())) == len(INSTRUCTIONS) == 50, "two tasks with one instruction cannot be told apart"


def test_a_state_depends_on_its_task_split_and_index_only() -> None:
    draws = {
        (task, split, index): InitialState(task, split, index).generator().random()
        for task in TASKS
        for split in NUM_INITIAL_STATES
        for index in range(20)
    }
    assert len(set(draws.values())) == len(draws)
    assert InitialState("reach-v3", "test", 7).generator().random() == draws["reach-v3", "test", 7]


def test_success_terminates_and_failure_does_not() -> None:
    results = run_expert(MetaWorldEnv("reach-v3"), options=options(0, "reach-v3"))
    assert [terminated for _, _, terminated, _, _ in results] == [False] * (len(results) - 1) + [True]
    assert [info["success"] for *_, info in results] == [info["is_success"] for *_, info in results] == [t for _, _, t, _, _ in results]
    assert not any(truncated for _, _, _, truncated, _ in results)


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_the_time_limit_truncates_exactly(limit: int) -> None:
    env = MetaWorldEnv("push-v3", max_episode_steps=limit)
    for _ in range(2):  # the count starts again with each episode
        env.reset(options=options(0))
        truncated = [env.step(np.zeros(4))[3] for _ in range(limit)]
        assert truncated == [False] * (limit - 1) + [True]


def test_gym_make_truncates_where_it_is_asked_to() -> None:
    env = gym.make(ID, tasks="push-v3", max_episode_steps=5)
    env.reset(seed=0)
    assert [env.step(np.zeros(4, np.float32))[3] for _ in range(5)] == [False] * 4 + [True]
    assert env.spec is not None and env.spec.max_episode_steps == 5


def test_actions_beyond_the_box_are_cut() -> None:
    env, actions = MetaWorldEnv("push-v3"), 3 * random_actions(10)
    assert_equal(trajectory(env, actions, seed=0), trajectory(env, np.clip(actions, -1, 1), seed=0))


@pytest.mark.parametrize("action", [[np.nan, 0, 0, 0], [0, np.inf, 0, 0], [0, 0, 0], [[0, 0, 0, 0]], []], ids=str)
def test_an_action_that_is_not_four_finite_numbers_is_refused(action: list) -> None:
    env = MetaWorldEnv("reach-v3")
    env.reset(seed=0)
    before = env.simulation.data.qpos.copy()
    with pytest.raises(InvalidChunk, match="4 finite numbers, got"):
        env.step(np.array(action, dtype=float))
    np.testing.assert_array_equal(env.simulation.data.qpos, before)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"tasks": "reach-v2"}, UnknownTask, "'reach-v2'.*did you mean 'reach-v3'"),
        ({"tasks": ["reach-v3", "make-coffee"]}, UnknownTask, "make-coffee"),
        ({"tasks": []}, UnknownTask, "at least one"),
        ({"observation": "pixel"}, InvalidSpec, "'pixel'"),
        ({"max_episode_steps": 0}, InvalidSpec, "1..500.*got 0"),
        ({"max_episode_steps": 501}, InvalidSpec, "1..500.*got 501"),
        ({"render_mode": "human"}, InvalidSpec, "'human'"),
    ],
)
def test_wrong_constructor_arguments_are_refused_by_name(arguments: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        MetaWorldEnv(**arguments)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"initial_sate": 1}, InvalidConfig, "'initial_sate'.*initial_state"),
        ({"split": "eval"}, UnknownSplit, "validation.*'eval'"),
        ({"split": 0}, UnknownSplit, "got 0"),
        ({"task": "door-open-v3"}, UnknownTask, "push-v3.*'door-open-v3'"),
        ({"split": "test", "initial_state": 250}, InitialStateOutOfRange, r"'test'.*0\.\.249, got 250"),
        ({"initial_state": -1}, InitialStateOutOfRange, "got -1"),
        ({"initial_state": 1.0}, InitialStateOutOfRange, "integer"),
        ({"initial_state": True}, InitialStateOutOfRange, "integer"),
    ],
)
def test_wrong_reset_options_are_refused_and_leave_the_episode_alone(wrong: dict, error: type[Exception], words: str) -> None:
    env = MetaWorldEnv(TASKS)
    env.reset(options=options(1))
    with pytest.raises(error, match=words):
        env.reset(options=wrong)
    assert env.initial_state == InitialState("push-v3", "train", 1)
    env.step(np.zeros(4))


def test_infos_name_the_instruction_and_the_state() -> None:
    env = MetaWorldEnv(TASKS)
    assert env.instruction == INSTRUCTIONS["reach-v3"]
    infos = [env.reset(options=options(8, split="validation"))[1], env.step(np.zeros(4))[4]]
    for info in infos:
        assert info == {
            "instruction": INSTRUCTIONS["push-v3"],
            "task": "push-v3",
            "split": "validation",
            "initial_state": 8,
            "success": False,
            "is_success": False,
        }
    assert env.instruction == INSTRUCTIONS["push-v3"]


def test_a_seed_draws_tasks_and_states_of_the_training_split() -> None:
    env = MetaWorldEnv(TASKS)
    env.reset(seed=0)
    starts = [env.initial_state]
    for _ in range(20):
        env.reset()
        starts.append(env.initial_state)
    assert {start.task for start in starts} == set(TASKS)
    assert {start.split for start in starts} == {"train"}
    assert len({start.index for start in starts}) > 10


def test_vector_envs_give_what_single_envs_give() -> None:
    actions = random_actions(5)
    singles = [trajectory(MetaWorldEnv(TASKS), actions, seed=seed)[0] for seed in (0, 1)]
    for kind in (SyncVectorEnv, AsyncVectorEnv):
        vector = kind([lambda: gym.make(ID, tasks=TASKS)] * 2)
        states, infos = [vector.reset(seed=[0, 1])[0]["state"]], None
        for action in actions.astype(np.float32):
            observation, *_, infos = vector.step(np.stack([action, action]))
            states.append(observation["state"])
        vector.close()
        assert set(infos["instruction"]) <= {INSTRUCTIONS[task] for task in TASKS}
        np.testing.assert_allclose(np.stack(states, axis=1), np.stack(singles), rtol=0, atol=1e-6)


def test_a_frame_shows_the_scene() -> None:
    env = MetaWorldEnv(TASKS, render_mode="rgb_array")
    env.reset(options=options(0))
    try:
        frame = env.render_frame(160, 120)
    except MissingExtra as error:
        pytest.skip(str(error))
    assert frame.shape == (120, 160, 3) and frame.dtype == np.uint8
    assert frame.std() > 10
    np.testing.assert_array_equal(frame, env.render_frame(160, 120))
    for _ in range(10):
        env.step(np.ones(4))
    assert (env.render_frame(160, 120) != frame).any()
    assert env.render().shape == (360, 480, 3)
    state = env.simulation.data.qpos.copy()
    env.render_frame(160, 120)
    np.testing.assert_array_equal(env.simulation.data.qpos, state)
    env.reset(options=options(0, "reach-v3"))  # another model
    assert env.render_frame(160, 120).std() > 10
    env.close()


def test_without_a_render_mode_nothing_is_rendered() -> None:
    env = MetaWorldEnv("reach-v3")
    env.reset(seed=0)
    assert env.render() is None
