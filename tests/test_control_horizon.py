"""Laws of the wrapper in which a learner picks the horizon."""

from __future__ import annotations

import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from scripted_envs import CountingEnv, numbered_policy, register_counting_env
from stable_baselines3.common.env_checker import check_env as check_sb3_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidChunk, InvalidConfig, InvalidHorizon, InvalidSpec
from policytrim_gym.policy import CallablePolicy, ChunkPolicy
from policytrim_gym.spec import PolicySpec
from policytrim_gym.wrappers.control_horizon import ControlHorizon
from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
from policytrim_gym.wrappers.record_chunk_statistics import RecordChunkStatistics
from policytrim_gym.wrappers.trim_reward import TrimReward

HORIZONS = (1, 3, 6)


def make(horizons=HORIZONS, observation="flat", reward=None, **kwargs) -> ControlHorizon:
    return ControlHorizon(CountingEnv(**kwargs), numbered_policy(), horizons, reward=reward, observation=observation)


class RecordingPolicy(ChunkPolicy):
    """Gives zeros, remembers what it was asked, and must not be copied."""

    def __init__(self) -> None:
        self.observations: list[dict] = []
        self.seeds: list[int | None] = []

    @property
    def spec(self) -> PolicySpec:
        return PolicySpec(chunk_size=6, action_dim=2)

    def reset(self, seed: int | None = None) -> None:
        self.seeds.append(seed)

    def predict_action_chunk(self, observation) -> ActionChunk:
        self.observations.append(dict(observation))
        return ActionChunk(np.zeros((6, 2)))

    def __deepcopy__(self, memo: dict) -> RecordingPolicy:
        raise AssertionError("a live policy must not be copied")


def test_equals_execute_chunk_under_the_same_choices() -> None:
    ours, theirs, policy = make(truncate_at=20), ExecuteChunk(CountingEnv(truncate_at=20), 6), numbered_policy()
    rng = np.random.default_rng(0)
    ours.reset()
    observation, _ = theirs.reset()
    truncated = False
    while not truncated:
        choice = int(rng.integers(3))
        theirs.execute_horizon = HORIZONS[choice]
        observation, reward, _, truncated, info = theirs.step(policy.predict_action_chunk({"state": observation}).actions)
        seen, our_reward, _, our_truncated, our_info = ours.step(choice)
        np.testing.assert_array_equal(seen[:2], observation)
        assert (our_reward, our_truncated) == (reward, truncated)
        np.testing.assert_equal(our_info["chunk"], info["chunk"])
    np.testing.assert_array_equal(ours.unwrapped.actions, theirs.unwrapped.actions)


def test_the_observation_holds_the_chunk_that_runs_next() -> None:
    env = make(observation="dict", truncate_at=10)
    observation, _ = env.reset()
    for choice in (1, 0, 2):
        before = len(env.unwrapped.actions)
        announced = observation["chunk"].reshape(6, 2)
        observation, *_, info = env.step(choice)
        executed = info["chunk"]["executed_steps"]
        np.testing.assert_array_equal(env.unwrapped.actions[before:], announced[:executed])


def test_flat_and_dict_hold_the_same_numbers() -> None:
    flat, keyed = make(), make(observation="dict")
    for a, b in [(flat.reset()[0], keyed.reset()[0]), (flat.step(1)[0], keyed.step(1)[0])]:
        np.testing.assert_array_equal(a, np.concatenate([b["state"], b["chunk"], b["progress"]]))
        for layout, keys in {"features": ["state", "progress"], "summary": ["state", "chunk_summary", "progress"]}.items():
            assert make(observation=layout).observation_space.shape == (sum(len(b[key]) for key in keys),)
        assert flat.observation_space.contains(a) and keyed.observation_space.contains(b)


def test_a_dict_environment_keeps_its_keys_and_flat_leaves_images_out() -> None:
    env = ControlHorizon(CountingEnv(observation="dict"), numbered_policy(), HORIZONS, observation="dict")
    observation, _ = env.reset()
    assert set(observation) == {"state", "image_front", "chunk", "chunk_summary", "progress"} and env.observation_space.contains(
        observation
    )
    flat = ControlHorizon(CountingEnv(observation="dict"), numbered_policy(), HORIZONS, observation="flat")
    assert flat.reset()[0].shape == (2 + 12 + 1,)


def test_progress_is_the_share_of_the_time_limit() -> None:
    register_counting_env()
    limited = ControlHorizon(gym.make("CountingEnv-v0", max_episode_steps=10), numbered_policy(), (3, 6))
    limited.reset()
    assert limited.step(0)[0]["progress"] == np.float32(0.3)
    limited.step(1)
    chosen = ControlHorizon(CountingEnv(), numbered_policy(), (6,), max_episode_steps=9)
    assert chosen.reset()[0]["progress"] == 0.0
    assert [chosen.step(0)[0]["progress"][0] for _ in range(2)] == [np.float32(6 / 9), 1.0]


def test_the_policy_is_asked_once_for_each_chunk_that_can_run() -> None:
    policy = RecordingPolicy()
    env = ControlHorizon(CountingEnv(terminate_at=7), policy, HORIZONS)
    env.reset(seed=5)
    env.step(2)
    observation, _, terminated, _, _ = env.step(2)
    assert terminated and len(policy.observations) == 2 and policy.seeds == [5]
    assert (observation["chunk"] == 0).all() and (observation["chunk_summary"] == 0).all()


def test_a_truncated_episode_still_shows_a_chunk_for_the_value_of_its_last_state() -> None:
    env = make(observation="dict", truncate_at=3)
    env.reset()
    observation, _, terminated, truncated, _ = env.step(1)
    assert truncated and not terminated
    np.testing.assert_allclose(observation["chunk"], numbered_policy().predict_action_chunk(observation).actions.ravel())


def test_under_the_trim_reward_a_time_limit_is_a_failure_for_good() -> None:
    """A learner that bootstraps a truncated episode would pay a failure what its critic hopes for."""
    for reward, ends in {None: (False, True), TrimReward(): (True, False)}.items():
        env = make(reward=reward, truncate_at=3)
        env.reset()
        assert env.step(1)[2:4] == ends


def test_the_instruction_reaches_the_policy() -> None:
    policy = RecordingPolicy()
    env = ControlHorizon(CountingEnv(), policy, HORIZONS)
    env.reset()
    env.step(0)
    assert [observation["instruction"] for observation in policy.observations] == ["count", "count"]
    assert "instruction" not in env.observation_space.spaces


def test_known_instructions_are_told_apart() -> None:
    for instructions, expected in {("stop", "count"): [0.0, 1.0], ("stop",): [0.0]}.items():
        env = ControlHorizon(CountingEnv(), numbered_policy(), HORIZONS, instructions=instructions)
        observation, _ = env.reset()
        assert observation["known_instruction"].tolist() == expected and env.observation_space.contains(observation)
    with pytest.raises(InvalidConfig, match="must not repeat"):
        ControlHorizon(CountingEnv(), numbered_policy(), HORIZONS, instructions=("stop", "stop"))


def test_a_playback_rate_plays_the_same_motion_in_fewer_steps() -> None:
    """Deltas keep their sum, positions their last value; the record tells chunk actions from physical steps."""
    spec = PolicySpec(chunk_size=6, action_dim=2, action_kinds=("delta", "position"))
    chunk = np.arange(12.0).reshape(6, 2) / 24
    env = ControlHorizon(
        CountingEnv(), CallablePolicy(lambda observation: chunk, spec), (2, 4), reward=None, playback_rates=(1.0, 2.0), observation="dict"
    )
    assert [tuple(env.unpack_action(action)) for action in range(4)] == [(2, 1.0), (2, 2.0), (4, 1.0), (4, 2.0)]
    env.reset()
    observation, *_, info = env.step(3)
    expected = [[chunk[0:2, 0].sum(), chunk[1, 1]], [chunk[2:4, 0].sum(), chunk[3, 1]]]
    np.testing.assert_allclose(env.unwrapped.actions, expected, rtol=1e-6)
    recorded = {key: info["chunk"][key] for key in ("executed_steps", "execute_horizon", "playback_rate", "chunk_size")}
    assert recorded == {"executed_steps": 2, "execute_horizon": 4, "playback_rate": 2.0, "chunk_size": 6}
    # Four actions of the old chunk were played, so its last two lie over the new one's first two.
    assert observation["chunk_summary"][-1] == np.float32(2 / 6)
    np.testing.assert_allclose(observation["chunk_summary"][-3:-1], np.abs(chunk[:2] - chunk[4:]).mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("rates", [(), (0.5,), (2.0, 1.0), (1.0, 1.0), (float("nan"),)])
def test_impossible_playback_rates_are_named(rates) -> None:
    with pytest.raises(InvalidSpec, match="playback_rates"):
        ControlHorizon(CountingEnv(), numbered_policy(), (2,), playback_rates=rates)


def test_a_rate_needs_to_know_which_numbers_are_deltas() -> None:
    with pytest.raises(InvalidSpec, match="action_kinds"):
        ControlHorizon(CountingEnv(), numbered_policy(), (2,), playback_rates=(1.0, 2.0))


def test_stepping_without_a_live_episode_is_refused() -> None:
    env = make(terminate_at=1)
    for _ in range(2):
        with pytest.raises(gym.error.ResetNeeded, match="call reset"):
            env.step(0)
        env.reset()
        env.step(0)
    assert len(env.unwrapped.actions) == 2


@pytest.mark.parametrize("action", [3, -1, 0.5, np.array([0, 1]), "x"])
def test_an_action_that_is_no_index_is_refused_before_anything_runs(action) -> None:
    env = make()
    env.reset()
    with pytest.raises(InvalidHorizon, match=r"0\.\.2"):
        env.step(action)
    assert env.unwrapped.actions == []
    assert env.step(np.array(1))[-1]["chunk"]["executed_steps"] == 3


@pytest.mark.parametrize(
    ("horizons", "message"),
    [
        ((0, 1), r"1\.\.6.*got 0"),
        ((7,), r"1\.\.6.*got 7"),
        ((), "at least one"),
        ((2, 2), "increasing"),
        ((3, 1), "increasing"),
        ((1.5,), "1.5"),
    ],
)
def test_impossible_horizons_are_named(horizons, message: str) -> None:
    with pytest.raises(InvalidHorizon, match=message):
        make(horizons=horizons)


def test_a_policy_that_does_not_fit_is_named() -> None:
    with pytest.raises(InvalidSpec, match="actions of 2 numbers"):
        ControlHorizon(gym.make("Pendulum-v1"), numbered_policy(), (1,))
    with pytest.raises(InvalidSpec, match="got int"):
        ControlHorizon(CountingEnv(), 3, (1,))  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="'dict', 'features', 'summary', 'flat'"):
        make(observation="flatt")
    with pytest.raises(InvalidConfig, match="max_episode_steps"):
        ControlHorizon(CountingEnv(), numbered_policy(), (1,), max_episode_steps=-1)

    class Short(RecordingPolicy):
        def predict_action_chunk(self, observation) -> ActionChunk:
            return ActionChunk(np.zeros((2, 2)))

    with pytest.raises(InvalidChunk, match=r"\(6, 2\), got \(2, 2\)"):
        ControlHorizon(CountingEnv(), Short(), (1,)).reset()


def test_a_live_policy_is_shared_by_the_spec_and_never_copied() -> None:
    register_counting_env()
    policy = RecordingPolicy()
    env = RecordChunkStatistics(ControlHorizon(gym.make("CountingEnv-v0"), policy, HORIZONS))
    again = gym.make(env.spec)
    assert again.get_wrapper_attr("policy") is policy and again.spec == env.spec
    with pytest.raises(InvalidSpec, match="URI"):
        pickle.dumps(env.spec)


def test_check_env_of_both_checkers_is_clean() -> None:
    policy = CallablePolicy(lambda observation: np.zeros((4, 1)), PolicySpec(chunk_size=4, action_dim=1))
    for layout in ("dict", "features", "summary", "flat"):
        env = ControlHorizon(gym.make("Pendulum-v1"), policy, (2, 4), observation=layout)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")  # said of every wrapper
            warnings.filterwarnings("ignore", message=".*Box observation space (min|max)imum value")  # the chunk has no bounds
            check_env(env, skip_render_check=True)
            check_sb3_env(env)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("vector", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("layout", ["flat", "dict"])
def test_gymnasium_vector_envs_run_it(vector, mode: AutoresetMode, layout: str) -> None:
    envs = vector([lambda end=end: make(terminate_at=end, observation=layout) for end in (4, 7)], autoreset_mode=mode)
    envs.reset()
    ended, counts = np.zeros(2, bool), []
    for _ in range(6):
        if mode == AutoresetMode.DISABLED and ended.any():
            envs.reset(options={"reset_mask": ended})
        observations, _, ended, _, infos = envs.step(np.array([1, 2]))
        assert envs.observation_space.contains(observations)
        counts.append(infos)
    envs.close()
    assert len(counts) == 6


@pytest.mark.parametrize("vector", [DummyVecEnv, SubprocVecEnv])
def test_sb3_vector_envs_run_both_chunk_wrappers(vector) -> None:
    kwargs = {"start_method": "fork"} if vector is SubprocVecEnv else {}
    makers = [lambda: make(terminate_at=4), lambda: make(terminate_at=7)]
    envs = vector(makers, **kwargs)
    envs.reset()
    infos = [envs.step(np.array([1, 2]))[-1] for _ in range(2)]
    assert [info["chunk"]["executed_steps"] for info in infos[0]] == [3, 6]
    assert [info["chunk"]["executed_steps"] for info in infos[1]] == [1, 1]
    assert infos[1][0]["terminal_observation"].shape == envs.observation_space.shape
    envs.close()

    chunks = vector([lambda end=end: RecordChunkStatistics(ExecuteChunk(CountingEnv(terminate_at=end), 6)) for end in (4, 7)], **kwargs)
    chunks.reset()
    assert chunks.step(np.zeros((2, 6, 2)))[-1][0]["rollout"]["steps"] == 4
    assert chunks.step(np.zeros((2, 6, 2)))[-1][1]["rollout"]["executed_steps"] == (6, 1)
    chunks.close()
