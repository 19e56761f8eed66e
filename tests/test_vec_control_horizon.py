"""Laws of the vector wrapper: it is a vector of `ControlHorizon`, with one policy call for all environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scripted_envs import CountingEnv, numbered_policy
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecMonitor
from test_evaluate import pendulum_policy

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.errors import InvalidChunk, InvalidConfig, InvalidHorizon, InvalidSpec
from policytrim_gym.policy import CallablePolicy, ChunkPolicy
from policytrim_gym.spec import PolicySpec
from policytrim_gym.wrappers.control_horizon import ControlHorizon
from policytrim_gym.wrappers.execute_chunk import ExecuteChunk
from policytrim_gym.wrappers.record_chunk_statistics import RecordChunkStatistics
from policytrim_gym.wrappers.trim_reward import TrimReward
from policytrim_gym.wrappers.vec_control_horizon import VecControlHorizon

H = 6
Maker = Callable[[], gym.Env]


class TellingEnv(CountingEnv):
    """Says another sentence in each episode, and another one from its fourth step on; has no attribute for it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        del self.instruction

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(**kwargs)
        return observation, {**info, "instruction": f"task {len(self.reset_options) % 2}"}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, **({"instruction": "go on"} if self.steps == 4 else {})}


def pendulum(limit: int) -> Maker:
    return lambda: gym.make("Pendulum-v1", max_episode_steps=limit)


def counting(env: type[CountingEnv] = CountingEnv, **kwargs: Any) -> Maker:
    return lambda: env(**kwargs)


def reading_policy() -> CallablePolicy:
    """Its chunk depends on all that it is given: the state and the length of the instruction."""

    def chunk(observation: Any) -> np.ndarray:
        phase = observation["state"][0] + len(observation["instruction"])
        return np.sin(phase + np.arange(2 * H).reshape(H, 2))

    return CallablePolicy(chunk, PolicySpec(H, 2, action_kinds=("delta", "position")))


WORLDS: dict[str, tuple[list[Maker], CallablePolicy]] = {
    "motion": ([pendulum(20), pendulum(7), pendulum(33)], pendulum_policy(H)),
    "ends": (
        [
            counting(terminate_at=9, success_at=(9,)),
            counting(truncate_at=10),
            counting(truncate_at=12, success_at=(5,)),
            counting(terminate_at=1),
        ],
        reading_policy(),
    ),
    "sentences": ([counting(TellingEnv, truncate_at=7), counting(TellingEnv, terminate_at=5, success_at=(5,))], reading_policy()),
    "images": ([counting(observation="dict", truncate_at=8), counting(observation="dict", terminate_at=3)], reading_policy()),
}


def vector(makers: list[Maker], subprocesses: bool = False) -> VecEnv:
    return SubprocVecEnv(makers, start_method="fork") if subprocesses else DummyVecEnv(makers)


def twin(makers: list[Maker], policy: ChunkPolicy, horizons=(2, 3, 6), subprocesses: bool = False, **kwargs: Any) -> VecControlHorizon:
    chunked = [lambda make=make: ExecuteChunk(make(), H) for make in makers]
    return VecControlHorizon(vector(chunked, subprocesses), policy, horizons, **kwargs)


def timeless(infos: Any) -> list[dict[str, Any]]:
    """Infos without measured times."""
    shown = [dict(info) for info in infos]
    for info in shown:
        if "rollout" in info:
            info["rollout"] = {key: value for key, value in info["rollout"].items() if not key.endswith("_s")}
    return shown


def assert_same_episodes(ours: VecEnv, theirs: VecEnv, num_calls: int) -> None:
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    rng, num_ended = np.random.default_rng(0), 0
    ours.seed(3), theirs.seed(3)
    np.testing.assert_equal(ours.reset(), theirs.reset())
    for _ in range(num_calls):
        actions = rng.integers(ours.action_space.n, size=ours.num_envs)
        (our_seen, our_rewards, our_dones, our_infos), (seen, rewards, dones, infos) = ours.step(actions), theirs.step(actions)
        np.testing.assert_equal(our_seen, seen)
        np.testing.assert_array_equal(our_rewards, rewards)
        assert our_rewards.dtype == rewards.dtype
        np.testing.assert_array_equal(our_dones, dones)
        np.testing.assert_equal(timeless(our_infos), timeless(infos))
        np.testing.assert_equal(list(ours.reset_infos), list(theirs.reset_infos))
        num_ended += dones.sum()
    assert num_ended >= 2 * ours.num_envs
    ours.close(), theirs.close()


@pytest.mark.parametrize("subprocesses", [False, True], ids=["Dummy", "Subproc"])
@pytest.mark.parametrize("layout", ["dict", "flat"])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("reward", [None, TrimReward(lam=0.0, base_steps=14, base_calls=5)], ids=["own", "trim"])
def test_the_twin_is_a_vector_of_control_horizon(world: str, layout: Any, reward: TrimReward | None, subprocesses: bool) -> None:
    makers, policy = WORLDS[world]
    told = {"sentences": ("task 0", "go on"), "ends": ("count",)}.get(world, ())
    kwargs: dict[str, Any] = {"reward": reward, "observation": layout, "playback_rates": (1.0, 1.5, 2.0), "instructions": told}
    single = [lambda make=make: RecordChunkStatistics(ControlHorizon(make(), policy, (2, 3, 6), **kwargs)) for make in makers]
    ours = twin(makers, policy, subprocesses=subprocesses, **kwargs)
    assert_same_episodes(ours, vector(single, subprocesses), num_calls=30)


@pytest.mark.parametrize("reward", [TrimReward(base_steps=30, lam=0.5), TrimReward(base_steps="running", base_calls="running")])
def test_with_one_environment_the_penalty_is_that_of_control_horizon_too(reward: TrimReward) -> None:
    make, policy = counting(truncate_at=25, success_at=(8, 9, 17)), reading_policy()
    kwargs: dict[str, Any] = {"reward": reward, "playback_rates": (1.0, 2.0), "max_episode_steps": 50, "observation": "summary"}
    single = [lambda: RecordChunkStatistics(ControlHorizon(make(), policy, (2, 3, 6), **kwargs))]
    assert_same_episodes(twin([make], policy, **kwargs), vector(single), num_calls=40)


def test_a_resampled_window_stays_within_the_actuators_limits() -> None:
    policy = CallablePolicy(lambda observation: np.full((H, 2), 1.5), PolicySpec(H, 2, action_kinds=("delta", "position")))
    env = twin([counting()], policy, (4,), playback_rates=(2.0,))
    env.reset()
    env.step(np.zeros(1, int))
    np.testing.assert_array_equal(env.get_attr("actions")[0], [[2.0, 1.5]] * 2)  # two deltas make 3, the actuator 2


def test_other_vector_wrappers_inside_change_nothing() -> None:
    makers, policy = WORLDS["sentences"]
    chunked = [lambda make=make: ExecuteChunk(make(), H) for make in makers]
    inside = VecControlHorizon(VecMonitor(DummyVecEnv(chunked)), policy, (2, 6), observation="flat")
    inside.reset()
    plain = twin(makers, policy, (2, 6), observation="flat")
    plain.reset()
    for _ in range(5):
        np.testing.assert_array_equal(inside.step(np.array([1, 0]))[0], plain.step(np.array([1, 0]))[0])
        assert inside.reset_infos == plain.reset_infos and plain.reset_infos[0]["task"] == "count"


class BatchedPolicy(ChunkPolicy):
    """Remembers how many chunks each call was for; cannot be asked for a single one."""

    spec = PolicySpec(H, 2)

    def __init__(self, num_answers: int | None = None, num_actions: int = H) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.seeds: list[int | None] = []
        self._num_answers, self._num_actions = num_answers, num_actions

    def reset(self, seed: int | None = None) -> None:
        self.seeds.append(seed)

    def predict_action_chunk(self, observation: Any) -> ActionChunk:
        raise AssertionError("one call for all environments")

    def predict_action_chunks(self, observations: Any) -> list[ActionChunk]:
        self.batches.append([dict(observation) for observation in observations])
        return [ActionChunk(np.zeros((self._num_actions, 2)))] * (self._num_answers or len(observations))


def test_one_call_a_step_asks_for_what_can_run_and_for_truncated_ends() -> None:
    policy = BatchedPolicy()
    env = twin([counting(truncate_at=2), counting(terminate_at=3), counting()], policy, (1,), reward=None)
    env.seed(7)
    env.reset()
    for _ in range(6):
        env.step(np.zeros(3, int))
    # The first environment runs out of time in each second step; the end of the second one's episode needs no chunk.
    assert [len(batch) for batch in policy.batches] == [3, 3, 4, 3, 4, 3, 4]
    assert [asked["state"][0] for asked in policy.batches[2]] == [0, 2, 2, 2] and policy.batches[3][1]["state"][0] == 0
    assert {asked["instruction"] for batch in policy.batches for asked in batch} == {"count"}
    assert policy.seeds == [7]
    env.reset()
    assert policy.seeds == [7, None]


def test_the_inference_time_of_a_rollout_is_its_share() -> None:
    env = twin([counting(terminate_at=4, success_at=(4,)), counting(truncate_at=4)], numbered_policy(), (2,))
    env.reset()
    env.step(np.zeros(2, int))
    for info in env.step(np.zeros(2, int))[-1]:
        assert info["rollout"]["num_replans"] == 2 and 0 < info["rollout"]["inference_s"] < info["rollout"]["wall_clock_s"]


def test_environments_share_the_history_of_the_trim_reward() -> None:
    """The second success of a step is already measured by the first one: 1.3 * 4 steps are its base."""
    makers = [counting(terminate_at=4, success_at=(4,))] * 2
    env = twin(makers, numbered_policy(), reward=TrimReward(beta=0.0, lam=0.0, base_steps="running"))
    env.reset()
    rewards = env.step(np.array([2, 2]))[1]
    np.testing.assert_allclose(rewards, [1.0, 1.0 + 0.8 * (5.2 - 4) / 5.2], rtol=1e-6)


@pytest.mark.slow
def test_learners_of_stable_baselines3_train_on_it() -> None:
    makers, policy = WORLDS["ends"]
    ppo = PPO("MultiInputPolicy", VecMonitor(twin(makers, policy)), n_steps=8, batch_size=16, n_epochs=1, gamma=1.0, device="cpu", seed=0)
    assert ppo.learn(64).num_timesteps == 64 and len(ppo.ep_info_buffer) > 0
    dqn = DQN("MlpPolicy", VecMonitor(twin(makers, policy, observation="flat")), learning_starts=8, buffer_size=64, device="cpu", seed=0)
    assert dqn.learn(64).num_timesteps == 64


@pytest.mark.parametrize("actions", [np.zeros(1, int), np.zeros(3, int), np.zeros((2, 1), int), 0, [3, 0], [-1, 0], [0.5, 0]])
def test_actions_that_do_not_fit_are_refused_before_anything_runs(actions: Any) -> None:
    env = twin([counting(), counting()], numbered_policy())
    env.reset()
    with pytest.raises(InvalidHorizon, match=r"one for each of 2 environments|0\.\.2"):
        env.step(actions)
    assert env.get_attr("steps") == [0, 0]
    assert [info["chunk"]["executed_steps"] for info in env.step(np.array([1, 2]))[-1]] == [3, 6]


def test_stepping_before_reset_is_refused() -> None:
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        twin([counting()], numbered_policy()).step(np.zeros(1, int))


def test_what_does_not_fit_together_is_named() -> None:
    makers = [counting(), counting()]
    with pytest.raises(InvalidConfig, match="in ExecuteChunk"):
        VecControlHorizon(DummyVecEnv(makers), numbered_policy(), (2,))
    with pytest.raises(InvalidSpec, match=r"\(8, 2\) .*take \(6, 2\)"):
        twin(makers, numbered_policy(chunk_size=8), (2,))
    with pytest.raises(InvalidSpec, match=r"\(6, 2\) .*take \(6, 1\)"):
        twin([pendulum(5)], numbered_policy(), (2,))
    with pytest.raises(InvalidHorizon, match="got 7"):
        twin(makers, numbered_policy(), (7,))
    with pytest.raises(InvalidSpec, match="action_kinds"):
        twin(makers, numbered_policy(), playback_rates=(1.0, 2.0))
    with pytest.raises(InvalidConfig, match="max_episode_steps .* -1"):
        twin(makers, numbered_policy(), max_episode_steps=-1)
    with pytest.raises(InvalidConfig, match="'dict', 'features', 'summary', 'flat'"):
        twin(makers, numbered_policy(), observation="flatt")  # type: ignore[arg-type]
    with pytest.raises(InvalidSpec, match="got int"):
        twin(makers, 3)  # type: ignore[arg-type]
    with pytest.raises(InvalidChunk, match="each of 2 observations, got 3"):
        twin(makers, BatchedPolicy(num_answers=3)).reset()
    with pytest.raises(InvalidChunk, match=r"\(6, 2\), got \(2, 2\)"):
        twin(makers, BatchedPolicy(num_actions=2)).reset()
