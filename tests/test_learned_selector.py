"""Laws of selectors that a learner trained: they act as in training, and only for the policy that they were trained for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scripted_envs import CountingEnv, numbered_policy
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from test_evaluate import make_pendulum, pendulum_policy

from policytrim_gym.errors import (
    CorruptCheckpoint,
    InvalidConfig,
    InvalidHorizon,
    InvalidSpec,
    MismatchedSelector,
    MissingObservation,
    UnknownSelector,
)
from policytrim_gym.evaluation.evaluate import evaluate_policy
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.selectors.learned import LearnedSelector, save_selector
from policytrim_gym.selectors.loading import load_selector
from policytrim_gym.selectors.policy_fingerprint import PolicyFingerprint
from policytrim_gym.selectors.sb3_algorithms import ALGORITHMS, algorithm_class, algorithm_name, check_algorithm
from policytrim_gym.selectors.selector_file import SelectorFacts
from policytrim_gym.spec import PolicySpec
from policytrim_gym.wrappers.control_horizon import ControlHorizon

HORIZONS, RATES = (1, 3, 6), (1.0, 2.0)


def control(observation: str = "summary", horizons=HORIZONS, **more) -> ControlHorizon:
    return ControlHorizon(make_pendulum(), pendulum_policy(), horizons, None, observation, playback_rates=RATES, **more)


def ppo(env, **more) -> PPO:
    policy = "MultiInputPolicy" if hasattr(env.observation_space, "spaces") else "MlpPolicy"
    return PPO(policy, env, n_steps=16, batch_size=16, n_epochs=1, seed=0, device="cpu", **more)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("selector")
    env = control()
    save_selector(ppo(env).learn(16), folder, env, "python:my_module:make_policy")
    return folder


def horizons_in_the_wrapper(predict, env: ControlHorizon, seed: int) -> list[int]:
    """Returns the steps of each call of an episode that a model drives through the wrapper."""
    observation, _ = env.reset(seed=seed)
    steps, ended = [], False
    while not ended:
        observation, _, terminated, truncated, info = env.step(predict(observation))
        steps.append(info["chunk"]["executed_steps"])
        ended = terminated or truncated
    return steps


@pytest.mark.parametrize("observation", ["dict", "features", "summary", "flat"])
def test_a_loaded_selector_runs_the_episode_that_the_model_ran_in_training(observation: str, tmp_path: Path) -> None:
    env = control(observation)
    model = ppo(env, learning_rate=0.1).learn(32)
    save_selector(model, tmp_path, env)
    expected = horizons_in_the_wrapper(lambda seen: int(model.predict(seen, deterministic=True)[0]), env, seed=7)
    for path in (tmp_path, tmp_path / "model.zip"):
        selector = LearnedSelector.load(path, pendulum_policy())
        arm = evaluate_policy(pendulum_policy(), make_pendulum, num_episodes=1, num_workers=0, seed=7, selector=selector)
        assert list(arm.episodes[0].executed_steps) == expected
        assert arm.selector == "ppo h=1,3,6 x1,2"


def test_statistics_of_the_observations_travel_in_the_archive(tmp_path: Path) -> None:
    """Without them the model would be asked in another unit than it was trained in."""
    env = control("flat")
    venv = VecNormalize(DummyVecEnv([lambda: env]), norm_reward=False, clip_obs=3.0)
    model = ppo(venv).learn(64)
    save_selector(model, tmp_path, env)
    venv.training = False
    loaded, live = LearnedSelector.load(tmp_path, pendulum_policy()), LearnedSelector(model, SelectorFacts.of(env, "ppo", None))
    batch = np.random.default_rng(0).normal(size=(5, env.observation_space.shape[0])).astype(np.float32)
    np.testing.assert_allclose(loaded._normalize(batch), venv.normalize_obs(batch), rtol=1e-5)
    assert abs(loaded._normalize(batch) - batch).max() > 0.01
    np.testing.assert_array_equal(live._normalize(batch), venv.normalize_obs(batch))


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_algorithm_of_the_registry_round_trips(algo: str, tmp_path: Path) -> None:
    env = control()
    model = algorithm_class(algo)("MlpPolicy", env, device="cpu", seed=0)
    assert algorithm_name(model) == algo
    save_selector(model, tmp_path, env)
    selector = LearnedSelector.load(tmp_path, pendulum_policy())
    assert type(selector._model) is type(model) and selector.longest_horizon == 6


def test_algorithms_for_continuous_actions_are_refused_by_name() -> None:
    for name in ("sac", "TD3", "tqc"):
        with pytest.raises(InvalidConfig, match=f"{name}.*continuous.*a2c, dqn, ppo, qrdqn"):
            check_algorithm(name)
    with pytest.raises(InvalidConfig, match="got 'pppo'"):
        check_algorithm("pppo")
    with pytest.raises(InvalidConfig, match="sac"):
        algorithm_name(SAC("MlpPolicy", make_pendulum(), device="cpu", buffer_size=10))

    class MyDQN(DQN):
        pass

    assert algorithm_name(MyDQN("MlpPolicy", control(), device="cpu", buffer_size=10)) == "dqn"


def test_the_batch_is_one_call_and_its_rows_are_the_single_answers(saved: Path) -> None:
    selector = LearnedSelector.load(saved, pendulum_policy())
    env, contexts = control(), []
    for seed in range(6):
        env.reset(seed=seed)
        contexts.append(env._context)
    assert selector.select([]) == []
    assert selector.select(contexts) == [selector.select([context])[0] for context in contexts]
    calls: list[int] = []
    predict = selector._model.predict
    selector._model.predict = lambda batch, deterministic: calls.append(len(batch)) or predict(batch, deterministic=deterministic)
    selector.select(contexts)
    assert calls == [6]
    with pytest.raises(MissingObservation, match=r"shape \(3,\), got the keys \['image_front'\]"):
        selector._check_features({"image_front": np.zeros(3)})


def test_the_selector_file_says_all_that_the_archive_does_not(saved: Path) -> None:
    values = json.loads((saved / "selector.json").read_text())
    assert values["schema"] == "policytrim.selector/1"
    assert (values["algo"], values["horizons"], values["playback_rates"], values["observation"]) == (
        "ppo",
        [1, 3, 6],
        [1.0, 2.0],
        "summary",
    )
    assert values["features"] == {"state": {"shape": [3], "dtype": "float32"}} and not values["is_mapping"]
    assert values["policy"]["chunk_size"], values["policy"]["action_dim"] == (6, 1)
    assert values["policy"]["uri"] == "python:my_module:make_policy"
    assert values["env"] == "Pendulum-v1"
    assert SelectorFacts.load(saved).layout().space.shape == control().observation_space.shape


def test_another_policy_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(MismatchedSelector, match="trained for the policy 'python:my_module:make_policy', got 'python:other:make'"):
        LearnedSelector.load(saved, "python:other:make")
    with pytest.raises(MismatchedSelector, match="chunk_size 6, this one has 7"):
        LearnedSelector.load(saved, pendulum_policy(7))
    selector = LearnedSelector.load(saved, "python:my_module:make_policy")
    with pytest.raises(MismatchedSelector, match="chunk_size 6, this one has 7"):
        evaluate_policy(pendulum_policy(7), make_pendulum, num_episodes=1, num_workers=0, selector=selector)
    unknown = CallablePolicy(lambda observation: np.zeros((6, 1)), PolicySpec(6, 1, observation_shapes={"state": (3,)}))
    with pytest.raises(MismatchedSelector, match="action_kinds"):
        LearnedSelector.load(saved, unknown)


def test_a_checkpoint_is_known_by_its_weights_wherever_it_lies(tmp_path: Path) -> None:
    for name, weights in (("base", b"1"), ("copy", b"1"), ("trained further", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(weights)
    fingerprint = PolicyFingerprint.of(PolicySpec(4, 1), str(tmp_path / "base"))
    fingerprint.check_uri(str(tmp_path / "copy"))
    for other in (str(tmp_path / "trained further"), "python:base:make"):
        with pytest.raises(MismatchedSelector, match="weights 6b86b273ff34"):
            fingerprint.check_uri(other)
    fingerprint.check_spec(PolicySpec(4, 1, execute_horizon=2))  # a controller replaces the stock horizon
    (tmp_path / "copy" / "model.safetensors").unlink()
    with pytest.raises(CorruptCheckpoint, match=r"model\.safetensors cannot be read"):
        fingerprint.check_uri(str(tmp_path / "copy"))


def change(folder: Path, **values) -> None:
    path = folder / "selector.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    env, path = control(), tmp_path / "selector.json"
    save_selector(ppo(env), tmp_path, env)
    good, policy = path.read_text(), pendulum_policy()
    for values, error, message in [
        ({"horizons": [1, 3]}, MismatchedSelector, r"Discrete\(6\), but its selector file tells of 4"),
        ({"observation": "flat"}, MismatchedSelector, "the model observes"),
        ({"schema": "policytrim.selector/9"}, CorruptCheckpoint, r"schema must be 'policytrim.selector/1', got 'policytrim.selector/9'"),
        ({"horizons": [3, 1, 6]}, CorruptCheckpoint, "strictly increasing"),
        ({"horizons": [1, 3, 7]}, CorruptCheckpoint, "got 7"),
        ({"algo": "sac"}, CorruptCheckpoint, "continuous"),
        ({"colour": "red"}, CorruptCheckpoint, 'unknown key "colour"'),
    ]:
        change(tmp_path, **values)
        with pytest.raises(error, match=message):
            LearnedSelector.load(tmp_path, policy)
        path.write_text(good)
    path.write_text(good[:40])
    with pytest.raises(CorruptCheckpoint, match=r"selector\.json is not a readable selector file"):
        LearnedSelector.load(tmp_path, policy)
    path.unlink()
    with pytest.raises(CorruptCheckpoint, match=r"selector\.json is missing"):
        LearnedSelector.load(tmp_path, policy)


def test_a_damaged_or_missing_archive_is_refused(tmp_path: Path) -> None:
    env, archive = control(), tmp_path / "model.zip"
    save_selector(ppo(env), tmp_path, env)
    whole = archive.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2]):
        archive.write_bytes(damaged)
        with pytest.raises(CorruptCheckpoint, match=r"model\.zip is not a readable (model archive|ppo model)"):
            LearnedSelector.load(tmp_path, pendulum_policy())
    archive.unlink()
    with pytest.raises(CorruptCheckpoint, match=r"model\.zip is missing"):
        LearnedSelector.load(tmp_path, pendulum_policy())


def test_what_was_not_trained_on_the_environment_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(MismatchedSelector, match="tells of 4"):
        save_selector(ppo(control()), tmp_path, control(horizons=(1, 3)))
    with pytest.raises(InvalidSpec, match="must be ControlHorizon or VecControlHorizon"):
        save_selector(ppo(control()), tmp_path, make_pendulum())
    assert not list(tmp_path.iterdir())


def test_urls_and_unknown_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownSelector, match="cloudpickle, which can run code"):
        load_selector("https://example.org/model.zip", "runs/base")
    for text in (str(tmp_path / "nothing"), "nonsense:3"):
        with pytest.raises(UnknownSelector, match="no such selector.*or one of fixed:"):
            load_selector(text, "runs/base")
    for text in ("fixed:", "fixed:8x", "fixed:-8", "fixed:8 x2"):
        with pytest.raises(UnknownSelector, match='expected "fixed:16"'):
            load_selector(text, "runs/base")
    with pytest.raises(InvalidHorizon, match="got 0"):
        load_selector("fixed:0", "runs/base").check_policy(PolicySpec(8, 1))


def test_an_environment_with_images_round_trips(tmp_path: Path) -> None:
    env = ControlHorizon(CountingEnv(truncate_at=8, observation="dict"), numbered_policy(), (2, 6), None, "features")
    save_selector(A2C("MlpPolicy", env, device="cpu"), tmp_path, env)
    selector = LearnedSelector.load(tmp_path, numbered_policy())
    observation = {"state": np.zeros(2, np.float32), "image_front": np.zeros((4, 4, 3), np.uint8), "instruction": "count"}
    env.reset(seed=0)
    assert env._context is not None and env._context.observation.keys() == observation.keys()
    assert selector.select([env._context])[0].execute_horizon in (2, 6)
