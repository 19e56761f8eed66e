"""Laws of running a chunk as one action."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from scripted_envs import CountingEnv, register_counting_env
from stable_baselines3.common.env_checker import check_env as check_sb3_env

from policytrim_gym.errors import InvalidChunk, InvalidConfig, InvalidHorizon, InvalidSpec
from policytrim_gym.wrappers.execute_chunk import ChunkWindow, ExecuteChunk

H = 4


def chunk(number: float = 0.0) -> np.ndarray:
    """Action i reads (number, i / 10)."""
    return np.stack([np.full(H, number), np.arange(H) / 10], axis=1)


def make(horizon: int | None = None, gamma: float = 1.0, stop_on_success: bool = False, **kwargs) -> ExecuteChunk:
    return ExecuteChunk(CountingEnv(**kwargs), H, horizon, gamma, stop_on_success)


@pytest.mark.parametrize("horizon", [1, 2, 3, 4])
def test_equals_a_hand_written_loop(horizon: int) -> None:
    rng = np.random.default_rng(0)
    wrapped, bare = ExecuteChunk(gym.make("Pendulum-v1"), H, horizon, gamma=0.9), gym.make("Pendulum-v1")
    observation, _ = wrapped.reset(seed=1)
    np.testing.assert_array_equal(observation, bare.reset(seed=1)[0])
    truncated = False
    while not truncated:
        actions = rng.uniform(-2, 2, (H, 1)).astype(np.float32)
        observation, reward, _, truncated, info = wrapped.step(actions)
        total = 0.0
        for k, action in enumerate(actions[:horizon]):
            expected, step_reward, _, done, _ = bare.step(action)
            total += 0.9**k * step_reward
            assert info["chunk"]["rewards"][k] == step_reward
            if done:
                break
        np.testing.assert_array_equal(observation, expected)
        assert reward == pytest.approx(total)
        assert truncated == done


def test_a_chunk_of_one_is_no_wrapper() -> None:
    wrapped, bare = ExecuteChunk(gym.make("Pendulum-v1"), 1), gym.make("Pendulum-v1")
    wrapped.reset(seed=3), bare.reset(seed=3)
    for action in np.random.default_rng(1).uniform(-2, 2, (20, 1, 1)).astype(np.float32):
        ours, theirs = wrapped.step(action), bare.step(action[0])
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1:4] == (float(theirs[1]), *theirs[2:4])


@pytest.mark.parametrize("end", ["terminate_at", "truncate_at"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_stops_exactly_at_the_action_that_ends_the_episode(end: str, at: int) -> None:
    env = make(**{end: at})
    env.reset()
    _, reward, terminated, truncated, info = env.step(chunk())
    assert (terminated, truncated) == (end == "terminate_at", end == "truncate_at")
    assert env.unwrapped.steps == info["chunk"]["executed_steps"] == at
    assert reward == at * (at + 1) / 2
    rewards = [1.0, 2.0, 3.0, 4.0][:at] + [np.nan] * (H - at)
    np.testing.assert_array_equal(info["chunk"]["rewards"], rewards)


def test_actions_reach_the_environment_once_in_order_and_exact() -> None:
    env = make(horizon=3)
    env.reset()
    for number in range(3):
        env.step(chunk(number + 1 / 3))
    expected = np.concatenate([chunk(number + 1 / 3)[:3] for number in range(3)])
    np.testing.assert_array_equal(env.unwrapped.actions, expected)  # float64: not rounded to float32 on the way


def test_a_new_episode_never_sees_an_old_tail() -> None:
    env = make(terminate_at=2)
    for number in range(3):
        env.reset()
        env.step(chunk(number))
    np.testing.assert_array_equal(env.unwrapped.actions, np.concatenate([chunk(number)[:2] for number in range(3)]))


def test_gamma_discounts_each_physical_step() -> None:
    env = make(gamma=0.5)
    env.reset()
    assert env.step(chunk())[1] == 1 + 0.5 * 2 + 0.25 * 3 + 0.125 * 4
    env = make(gamma=0.0)
    env.reset()
    assert env.step(chunk())[1] == 1


def test_reset_sets_the_horizon_for_one_episode_and_hides_the_option() -> None:
    env = make(horizon=2)
    env.reset(options={"execute_horizon": 3, "split": "train"})
    assert env.step(chunk())[-1]["chunk"]["executed_steps"] == 3
    env.reset(options={"execute_horizon": 4})
    assert env.step(chunk())[-1]["chunk"]["executed_steps"] == 4
    env.reset()
    assert env.step(chunk())[-1]["chunk"]["execute_horizon"] == 2
    assert env.unwrapped.reset_options == [{"split": "train"}, None, None]


def test_the_callers_options_and_chunk_are_not_changed() -> None:
    env, options, action = make(), {"execute_horizon": 3}, chunk()
    env.reset(options=options)
    env.step(action)
    env.unwrapped.actions[0][:] = 99
    assert options == {"execute_horizon": 3}
    np.testing.assert_array_equal(action, chunk())


@pytest.mark.parametrize("key", ["success", "is_success"])
def test_a_success_in_mid_chunk_is_kept_to_the_end_of_the_episode(key: str) -> None:
    env = make(success_at=(6,), truncate_at=12, tell_success=key)
    env.reset()
    infos = [env.step(chunk())[-1] for _ in range(3)]
    assert [info["is_success"] for info in infos] == [False, True, True]
    assert [info["chunk"]["steps_to_success"] for info in infos] == [0, 6, 6]
    env.reset()
    assert env.step(chunk())[-1]["is_success"] is False


def test_stop_on_success_ends_the_episode_at_that_action() -> None:
    env = make(success_at=(6,), stop_on_success=True)
    env.reset()
    assert env.step(chunk())[2] is False
    _, reward, terminated, truncated, info = env.step(chunk())
    assert (terminated, truncated, reward) == (True, False, 5 + 6)
    assert info["chunk"]["executed_steps"] == 2
    assert env.unwrapped.steps == 6


def test_a_success_function_replaces_the_flags() -> None:
    env = ExecuteChunk(CountingEnv(tell_success="score"), H, success=lambda info: "score" in info)
    env.reset()
    info = env.step(chunk())[-1]
    assert info["is_success"] is True and info["chunk"]["steps_to_success"] == 1


def test_an_environment_that_never_speaks_of_success_gets_no_flag() -> None:
    env = make(tell_success=None)
    env.reset()
    assert "is_success" not in env.step(chunk())[-1]


@pytest.mark.parametrize(
    "action",
    [np.zeros((3, 2)), np.zeros((4, 3)), np.zeros(8), np.zeros((1, 4, 2)), np.full((4, 2), np.nan), [[np.inf, 0]] * 4, "x", [[1], [1, 2]]],
)
def test_a_wrong_chunk_is_refused_before_anything_runs(action) -> None:
    env = make(horizon=1)
    env.reset()
    with pytest.raises(InvalidChunk):
        env.step(action)
    assert env.unwrapped.actions == []


def test_a_nan_behind_the_horizon_is_refused_too() -> None:
    env, action = make(horizon=1), chunk()
    action[3, 1] = np.nan
    env.reset()
    with pytest.raises(InvalidChunk, match="got nan at step 3, dimension 1"):
        env.step(action)


@pytest.mark.parametrize("horizon", [0, 5, -1, 2.0, True, "2"])
def test_a_horizon_outside_the_chunk_is_refused_before_the_reset(horizon) -> None:
    with pytest.raises(InvalidHorizon, match=r"1\.\.4"):
        make(horizon=horizon)
    env = make()
    with pytest.raises(InvalidHorizon, match=r"1\.\.4"):
        env.reset(options={"execute_horizon": horizon})
    assert env.unwrapped.reset_options == []


def test_wrong_settings_are_named() -> None:
    with pytest.raises(InvalidConfig, match="chunk_size .* 0"):
        ExecuteChunk(CountingEnv(), 0)
    with pytest.raises(InvalidConfig, match="gamma .* 1.5"):
        make(gamma=1.5)
    with pytest.raises(InvalidSpec, match=r"Discrete\(2\)"):
        ExecuteChunk(gym.make("CartPole-v1"), H)


def test_the_action_space_repeats_the_environments() -> None:
    env = ExecuteChunk(gym.make("Pendulum-v1"), H)
    assert env.action_space.shape == (H, 1) and env.action_space.dtype == np.float32
    assert (env.action_space.low == -2).all() and (env.action_space.high == 2).all()


def test_check_env_is_clean() -> None:
    register_counting_env()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")  # said of every wrapper
        warnings.filterwarnings("ignore", message=".*Box observation space (min|max)imum value")  # said of every unbounded feature
        check_env(ExecuteChunk(gym.make("CountingEnv-v0"), H))
        check_env(ExecuteChunk(gym.make("CountingEnv-v0"), H, execute_horizon=2))
        check_sb3_env(ExecuteChunk(gym.make("Pendulum-v1"), H), warn=False)


def test_spec_round_trip_by_object_and_by_json() -> None:
    register_counting_env()
    env = ExecuteChunk(gym.make("CountingEnv-v0", terminate_at=3), H, execute_horizon=2, gamma=0.5, stop_on_success=True)
    for spec in (env.spec, gym.envs.registration.EnvSpec.from_json(env.spec.to_json())):
        again = gym.make(spec)
        assert isinstance(again, ExecuteChunk)
        assert again.spec == env.spec
        again.reset()
        assert again.step(chunk())[1] == 1 + 0.5 * 2


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("vector", [SyncVectorEnv, AsyncVectorEnv])
def test_vector_of_wrappers_equals_wrappers_one_by_one(vector, mode: AutoresetMode) -> None:
    ends = (3, 6)
    envs = vector([lambda end=end: make(terminate_at=end) for end in ends], autoreset_mode=mode)
    singles = [make(terminate_at=end) for end in ends]
    envs.reset(options={"execute_horizon": 3})
    for single in singles:
        single.reset(options={"execute_horizon": 3})
    ended = np.zeros(2, bool)
    for call in range(5):
        if mode == AutoresetMode.DISABLED and ended.any():
            envs.reset(options={"reset_mask": ended.copy()})
        observations, rewards, terminations, _, infos = envs.step(np.stack([chunk(call)] * 2))
        for i, single in enumerate(singles):
            if ended[i]:
                observation, _ = single.reset()
                if mode == AutoresetMode.NEXT_STEP:  # this call only reset
                    np.testing.assert_array_equal(observations[i], observation)
                    ended[i] = False
                    continue
            observation, reward, terminated, _, info = single.step(chunk(call))
            assert (rewards[i], terminations[i]) == (reward, terminated)
            ended[i] = terminated
            if terminated and mode == AutoresetMode.SAME_STEP:
                np.testing.assert_array_equal(infos["final_obs"][i], observation)
                np.testing.assert_array_equal(infos["final_info"]["chunk"]["rewards"][i], info["chunk"]["rewards"])
            else:
                np.testing.assert_array_equal(observations[i], observation)
                np.testing.assert_array_equal(infos["chunk"]["rewards"][i], info["chunk"]["rewards"])
                assert infos["chunk"]["executed_steps"][i] == info["chunk"]["executed_steps"]
    envs.close()


@pytest.mark.parametrize("length", [1, 3, 4])
def test_a_window_is_the_chunk_at_its_own_horizon(length: int) -> None:
    ours, theirs = make(horizon=2), make()
    ours.reset(), theirs.reset(options={"execute_horizon": length})
    window, whole = ours.step(ChunkWindow(chunk(7)[:length], length)), theirs.step(chunk(7))
    np.testing.assert_equal(window, whole)
    np.testing.assert_array_equal(ours.unwrapped.actions, theirs.unwrapped.actions)
    assert ours.step(chunk())[-1]["chunk"]["execute_horizon"] == 2  # the episode's own horizon is as it was


def test_a_resampled_window_says_what_it_plays() -> None:
    env = make()
    env.reset()
    record = env.step(ChunkWindow(chunk()[:2], 4, playback_rate=2.0))[-1]["chunk"]
    assert (record["executed_steps"], record["execute_horizon"], record["playback_rate"]) == (2, 4, 2.0)


@pytest.mark.parametrize(
    ("window", "error", "message"),
    [
        (ChunkWindow(chunk(), 5), InvalidHorizon, r"1\.\.4.*got 5"),
        (ChunkWindow(chunk(), 3), InvalidChunk, r"1\.\.3 .*got \(4, 2\)"),
        (ChunkWindow(chunk()[:, :1], 4), InvalidChunk, r"got \(4, 1\)"),
        (ChunkWindow(chunk()[:0], 1), InvalidChunk, r"\(0, 2\)"),
        (ChunkWindow(np.full((1, 2), np.nan), 1), InvalidChunk, "nan"),
    ],
)
def test_a_window_that_cannot_run_is_refused_before_anything_runs(window: ChunkWindow, error: type, message: str) -> None:
    env = make()
    env.reset()
    with pytest.raises(error, match=message):
        env.step(window)
    assert env.unwrapped.actions == []


def test_the_time_limit_is_the_environments() -> None:
    assert ExecuteChunk(gym.make("Pendulum-v1", max_episode_steps=7), H).time_limit_steps == 7
    assert make().time_limit_steps == 1000
