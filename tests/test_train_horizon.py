"""Laws of training a horizon controller: what it is paid, on which states, what is kept, and that a stopped run goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import yaml
from line_env import CHUNK_SIZE, LineEnv
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.vec_env import VecNormalize

import policytrim_gym.training.horizon as horizon_module
from policytrim_gym.cli.main import main
from policytrim_gym.envs.initial_states import choose_initial_state
from policytrim_gym.errors import InvalidConfig, InvalidHorizon
from policytrim_gym.evaluation.evaluate import Evaluator, evaluate_policy
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policy import CallablePolicy
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.selectors.learned import LearnedSelector
from policytrim_gym.selectors.loading import load_selector
from policytrim_gym.selectors.sb3_algorithms import ALGORITHMS
from policytrim_gym.selectors.selector_file import SelectorFacts
from policytrim_gym.spec import PolicySpec
from policytrim_gym.training.horizon import train_horizon
from policytrim_gym.training.horizon_callbacks import EvaluateEfficiency, KeepBestSelector, StopBelowFloor
from policytrim_gym.training.horizon_config import HorizonTrainingConfig
from policytrim_gym.training.horizon_envs import make_training_envs
from policytrim_gym.training.horizon_hyperparameters import FOLDER, Hyperparameters
from policytrim_gym.training.horizon_state import HorizonTrainingState

POLICY = "python:test_train_horizon:line_policy"
SMALL = {"n_steps": 8, "batch_size": 32, "n_epochs": 2, "policy_kwargs": {"net_arch": [8]}}
CONFIG = HorizonTrainingConfig(
    total_timesteps=128,
    horizons=(1, 4, 8),
    playback_rates=(1.0, 2.0),
    n_envs=4,
    validation_states=3,
    num_validations=2,
    num_workers=0,
    hyperparameters=SMALL,
)
RESETS: list[dict[str, Any] | None] = []


def line_policy() -> CallablePolicy:
    """Plans to the goal at half the possible speed; its plan is right to the end, so that the longest horizon is the best."""

    def plan(observation: Any) -> np.ndarray:
        position, goal = observation["state"]
        speeds = np.zeros((CHUNK_SIZE, 1))
        for step in range(CHUNK_SIZE):
            speeds[step] = np.clip((goal - position) / 0.1, -0.5, 0.5)
            position += 0.1 * speeds[step, 0]
        return speeds

    spec = PolicySpec(CHUNK_SIZE, 1, execute_horizon=2, observation_shapes={"state": (2,)}, action_kinds=("delta",))
    return CallablePolicy(plan, spec)


class SplitLineEnv(LineEnv):
    """A LineEnv of two tasks with initial states, whose own default is the test split."""

    tasks = ("near", "far")
    instructions = ("go near", "go far")
    initial_state: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        gym.Env.reset(self, seed=seed)
        RESETS.append(options)
        self.initial_state = choose_initial_state(self.tasks, {"split": "test", **(options or {})}, self.np_random)
        distance = {"near": 1.5, "far": 2.5}[self.initial_state.task]
        self._position, self._goal, self._steps = 0.0, distance + 0.1 * self.initial_state.generator().random(), 0
        self.instruction = f"go {self.initial_state.task}"
        info = {"task": self.initial_state.task, "initial_state": self.initial_state.index, "instruction": self.instruction}
        return self._observe(), info


if "Line-v0" not in gym.registry:
    gym.register("Line-v0", entry_point="line_env:LineEnv")


def train(out: Path, config: HorizonTrainingConfig = CONFIG, env: Any = LineEnv, **options: Any) -> HorizonTrainingState:
    return train_horizon(POLICY, EnvFactory(env), out, config, progress_bar=False, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, HorizonTrainingState, list[str]]:
    folder, lines = tmp_path_factory.mktemp("horizon"), []
    return folder, train(folder, report=lines.append), lines


def test_the_folder_holds_the_controller_whose_evidence_it_shows(run) -> None:
    folder, state, lines = run
    assert state.finished and not state.stopped_early and state == HorizonTrainingState.load(folder / "resume")
    assert json.loads((folder / "training.json").read_text()) == list(state.rows)
    assert [row["timesteps"] for row in state.rows] == [64, 128] and len(lines) == 3
    selector = LearnedSelector.load(folder, POLICY)
    arm = evaluate_policy(line_policy(), LineEnv, num_episodes=3, split="validation", num_workers=0, selector=selector)
    evidence = selector.facts.evidence
    assert evidence is not None and evidence["success_floor"] == state.success_floor == 1.0
    assert (evidence["validation_success"], evidence["validation_steps"]) == (arm.success_rate, arm.steps_mean_success)
    assert state.best is not None and evidence["timesteps"] == state.best["timesteps"]
    assert (selector.facts.env, selector.facts.policy.uri) == ("LineEnv", POLICY)
    assert yaml.safe_load((folder / "config.yaml").read_text())["total_timesteps"] == 128
    assert list((folder / "tensorboard").rglob("events*"))


def test_the_reward_is_measured_against_the_policy_alone(run) -> None:
    _, state, _ = run
    stock = evaluate_policy(line_policy(), LineEnv, 2, num_episodes=3, split="validation", num_workers=0)
    assert state.stock_steps == {"None": stock.steps_mean_success} and state.stock_calls == {"None": stock.num_replans_mean_success}
    reward = CONFIG.reward(state.stock_steps, state.stock_calls)
    assert reward.base_steps == {"None": pytest.approx(1.3 * stock.steps_mean_success)}
    assert reward.base_calls == {"None": pytest.approx(1.3 * stock.num_replans_mean_success)}


def test_a_finished_folder_is_left_as_it_is(run) -> None:
    folder, state, _ = run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    lines: list[str] = []
    assert train(folder, replace(CONFIG, num_workers=1), report=lines.append).rows == state.rows
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")} and lines == []


@pytest.mark.parametrize("change", [{"beta": 0.5}, {"total_timesteps": 256}, {"hyperparameters": {"n_steps": 16}}])
def test_another_training_is_refused(run, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig, match=rf"holds a training with {next(iter(change))}[=.].*, now it is"):
        train(run[0], replace(CONFIG, **change))


def test_another_policy_or_environment_is_refused(run) -> None:
    with pytest.raises(InvalidConfig, match="holds a training with env='LineEnv', now it is 'SplitLineEnv'"):
        train(run[0], env=SplitLineEnv)
    with pytest.raises(InvalidConfig, match="with policy='python:test_train_horizon:line_policy', now it is 'python:test_train"):
        train_horizon("python:test_train_horizon:failing_policy", EnvFactory(LineEnv), run[0], CONFIG)


@pytest.mark.parametrize("algo", ["ppo", "dqn"])
def test_a_stopped_run_goes_on_from_the_last_validation(algo: str, tmp_path: Path, monkeypatch) -> None:
    small = SMALL if algo == "ppo" else {"learning_starts": 16, "buffer_size": 500, "policy_kwargs": {"net_arch": [8]}}
    config = replace(CONFIG, algo=algo, hyperparameters=small, total_timesteps=192, num_validations=3)
    evaluate = EvaluateEfficiency._evaluate

    def evaluate_once(self):
        if self._evaluator.stop_next:
            raise KeyboardInterrupt
        self._evaluator.stop_next = True
        return evaluate(self)

    monkeypatch.setattr(Evaluator, "stop_next", False, raising=False)
    monkeypatch.setattr(EvaluateEfficiency, "_evaluate", evaluate_once)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, config)
    stopped = HorizonTrainingState.load(tmp_path / "resume")
    assert stopped is not None and not stopped.finished and stopped.num_timesteps == 64 and len(stopped.rows) == 1
    LearnedSelector.load(tmp_path, POLICY)  # what there is can be used

    monkeypatch.undo()
    seen: list[tuple[int, float]] = []
    make_model = horizon_module._make_model

    def spy(state, folder, venv):
        model = make_model(state, folder, venv)
        vec_normalize = model.get_vec_normalize_env()
        assert isinstance(vec_normalize, VecNormalize)
        seen.append((model.num_timesteps, float(vec_normalize.obs_rms.count)))
        return model

    monkeypatch.setattr(horizon_module, "_make_model", spy)
    lines: list[str] = []
    finished = train(tmp_path, config, report=lines.append)
    assert finished.finished and [row["timesteps"] for row in finished.rows] == [64, 128, 192]
    assert finished.rows[0] == stopped.rows[0] and "going on from 64 of 192 calls" in lines[0]
    assert seen[0][0] == 64 and seen[0][1] > 64  # the statistics of the observations go on as well
    assert [path.name for path in (tmp_path / "resume").glob("*.zip")] == [finished.model]


def test_a_run_that_was_stopped_twice_still_learns(tmp_path: Path, monkeypatch) -> None:
    """The archive holds the learning start that the last resume had set; added up, they would pass the end of the training."""
    small = {"learning_starts": 16, "buffer_size": 500, "policy_kwargs": {"net_arch": [8]}}
    config = replace(CONFIG, algo="dqn", hyperparameters=small, total_timesteps=192, num_validations=3)
    starts: list[tuple[int, int]] = []
    make_model = horizon_module._make_model

    def spy(state, folder, venv):
        model = make_model(state, folder, venv)
        starts.append((model.num_timesteps, model.learning_starts))
        return model

    monkeypatch.setattr(horizon_module, "_make_model", spy)
    evaluate = EvaluateEfficiency._evaluate

    def evaluate_and_stop(self):
        evaluate(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(EvaluateEfficiency, "_evaluate", evaluate_and_stop)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, config)
    assert starts == [(0, 16), (64, 80), (128, 144)]


class CameraLineEnv(LineEnv):
    """A LineEnv with a camera."""

    def __init__(self) -> None:
        super().__init__()
        spaces = {"image_front": gym.spaces.Box(0, 255, (36, 36, 3), np.uint8), **self.observation_space.spaces}
        self.observation_space = gym.spaces.Dict(spaces)

    def _observe(self) -> dict[str, np.ndarray]:
        return {"image_front": np.zeros((36, 36, 3), np.uint8), **super()._observe()}


def test_images_are_not_normalised_but_seen_by_a_convolution(tmp_path: Path) -> None:
    config = replace(CONFIG, total_timesteps=32, observation="dict", num_validations=1, validation_states=1)
    train(tmp_path, config, env=CameraLineEnv)
    selector = LearnedSelector.load(tmp_path, POLICY)
    assert type(selector._model.policy.features_extractor.extractors["image_front"]).__name__ == "NatureCNN"


def test_only_training_states_are_trained_on_and_only_validation_states_choose(tmp_path: Path) -> None:
    RESETS.clear()
    train(tmp_path, env=SplitLineEnv)
    validation = [options for options in RESETS if options and options["split"] == "validation"]
    training = [options for options in RESETS if options and options["split"] == "train"]
    assert len(validation) == 3 * 2 * (1 + CONFIG.num_validations)  # the policy alone, then the controllers, on both tasks
    assert len(training) + len(validation) == len(RESETS) and len(training) >= CONFIG.n_envs
    assert LearnedSelector.load(tmp_path, POLICY).facts.instructions == SplitLineEnv.instructions


def test_an_episode_that_runs_out_of_time_is_a_failure_and_earns_nothing() -> None:
    """SB3 would add the critic's hope to the reward of a truncated episode, and the longest episodes would be the best paid."""
    factory = EnvFactory("Line-v0", {"max_steps": 9})
    venv = make_training_envs(line_policy(), factory, replace(CONFIG, n_envs=2), CONFIG.reward({"None": 40.0}, {"None": 20.0}))
    venv.reset()
    for _ in range(2):
        _, rewards, dones, infos = venv.step(np.array([4, 4]))
    assert dones.all() and not rewards.any()
    assert not any(info["TimeLimit.truncated"] for info in infos)


def test_training_episodes_without_initial_states_are_not_those_of_the_test(tmp_path: Path, monkeypatch) -> None:
    seeds: list[int] = []
    reset = LineEnv.reset
    monkeypatch.setattr(LineEnv, "reset", lambda self, *, seed=None, options=None: seeds.append(seed) or reset(self, seed=seed))
    train(tmp_path, replace(CONFIG, num_validations=1))
    given = [seed for seed in seeds if seed is not None]
    assert {seed // 1_000_000 for seed in given} == {1, 2}  # training and validation; those of the test are below a million


def test_a_controller_learns_to_play_far_and_fast_where_the_plan_holds(tmp_path: Path) -> None:
    """The plan of `line_policy` is exact: every saved call and step is free, and a few hundred calls show it."""
    hyperparameters = {**SMALL, "n_steps": 32, "n_epochs": 10, "learning_rate": 0.01}
    config = replace(CONFIG, total_timesteps=2048, num_validations=1, hyperparameters=hyperparameters)
    state = train(tmp_path, config)
    assert state.best is not None and state.best["validation_success"] == 1.0
    assert state.best["validation_calls"] < 0.4 * state.stock["validation_calls"]
    assert state.best["validation_steps"] < 0.7 * state.stock["validation_steps"]


def failing_policy() -> CallablePolicy:
    return CallablePolicy(lambda observation: np.zeros((CHUNK_SIZE, 1)), line_policy().spec)


def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InvalidConfig, match="succeeds in none of 3 validation episodes at its stock horizon 2"):
        train_horizon("python:test_train_horizon:failing_policy", EnvFactory(LineEnv), out, CONFIG, progress_bar=False)
    with pytest.raises(InvalidHorizon, match="got 9"):
        train(out, replace(CONFIG, horizons=(1, 9)))
    with pytest.raises(InvalidConfig, match="unknown hyperparameter 'n_stps' of ppo; known: .*n_steps"):
        train(out, replace(CONFIG, hyperparameters={"n_stps": 8}))
    for wrong in ({"n_steps": "many"}, {"batch_size": 1}):
        with pytest.raises(InvalidConfig, match=f"ppo cannot be made with the hyperparameters .*{next(iter(wrong))}"):
            train(out, replace(CONFIG, hyperparameters=wrong))
    assert not out.exists()
    with pytest.raises(InvalidConfig, match="must not be the folder of the policy"):
        train_horizon(str(tmp_path), EnvFactory(LineEnv), tmp_path, CONFIG)


@pytest.mark.parametrize("name", ["model.safetensors", "policytrim.json", "config.yaml"])
def test_a_folder_with_something_else_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("tasks: [reach-v3]")
    with pytest.raises(InvalidConfig, match="use another folder"):
        train(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "tasks: [reach-v3]"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"algo": "sac"}, "'sac' takes continuous ones only. Those that can: a2c, dqn, ppo, qrdqn"),
        ({"total_timesteps": 0}, "total_timesteps must be at least 1, got 0"),
        ({"patience": 0}, "patience must be at least 1, or None, got 0"),
        ({"success_floor": 1.5}, r"success_floor must be in 0..1, got 1.5"),
        ({"observation": "all"}, "observation must be one of"),
        ({"kappa": -1.0}, "kappa"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        HorizonTrainingConfig(**values)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_algorithm_has_a_file_of_hyperparameters_with_gamma_one(algo: str) -> None:
    hyperparameters = Hyperparameters.of(algo, {})
    assert hyperparameters.arguments["gamma"] == 1.0 and hyperparameters.normalize
    changed = Hyperparameters.of(algo, {"gamma": 0.9, "normalize": False})
    assert changed.arguments["gamma"] == 0.9 and not changed.normalize and changed.arguments.keys() == hyperparameters.arguments.keys()
    assert {path.stem for path in FOLDER.glob("*.yml")} == set(ALGORITHMS)


@pytest.mark.parametrize("algo", ["ppo", "dqn", "qrdqn"])
def test_every_algorithm_trains_on_a_dict_observation(algo: str, tmp_path: Path) -> None:
    small = SMALL if algo == "ppo" else {"learning_starts": 16, "buffer_size": 500}
    state = train(tmp_path, replace(CONFIG, algo=algo, observation="dict", hyperparameters=small, num_validations=1))
    assert state.finished and LearnedSelector.load(tmp_path, POLICY).facts.observation == "dict"


def test_a_linear_schedule_falls_to_zero() -> None:
    rate = Hyperparameters.of("ppo", {"learning_rate": "lin_1e-3"}).arguments["learning_rate"]
    assert [rate(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([1e-3, 5e-4, 0.0])
    with pytest.raises(InvalidConfig, match="learning_rate must be a number, or"):
        Hyperparameters.of("ppo", {"learning_rate": "cos_1e-3"})


class Sequence(BaseCallback):
    """Gives the callbacks under test an arm of a chosen success and cost, and keeps what they answer."""

    def __init__(self, arms: list[Any], callback: BaseCallback) -> None:
        super().__init__()
        self.arms, self.callback, self.answers = arms, callback, []
        callback.parent = self

    def _init_callback(self) -> None:
        self.callback.init_callback(self.model)

    def _on_step(self) -> bool:
        if not self.arms:
            return False
        self.arm = self.arms.pop(0)
        self.answers.append(self.callback.on_step())
        return True


def test_success_goes_before_cost_and_patience_counts_in_a_row(tmp_path: Path) -> None:
    policy = line_policy()
    stock = evaluate_policy(policy, LineEnv, 2, num_episodes=3, num_workers=0)
    costly = evaluate_policy(policy, LineEnv, 1, num_episodes=3, num_workers=0)
    cheap = evaluate_policy(policy, LineEnv, 8, num_episodes=3, num_workers=0)
    below = replace(cheap, success_rate=0.9)
    venv = make_training_envs(policy, EnvFactory(LineEnv), replace(CONFIG, n_envs=1), CONFIG.reward({"None": 40.0}, {"None": 20.0}))
    facts, kept = SelectorFacts.of(venv, "a2c", None), []
    best, stop = KeepBestSelector(tmp_path, facts, 0.95), StopBelowFloor(0.95, patience=2)
    order = [below, costly, stock, costly, below, cheap, below, below]

    class Note(BaseCallback):
        def _on_step(self) -> bool:
            kept.append(best.best_score)
            return True

    sequence = Sequence(list(order), CallbackList([best, stop, Note()]))
    A2C("MlpPolicy", venv, device="cpu").learn(100, sequence)
    assert sequence.answers == [True] * 7 + [False]
    changed = [True, *(now != before for before, now in zip(kept, kept[1:]))]
    assert changed == [True, True, True, False, False, True, False, False]
    assert SelectorFacts.load(tmp_path).evidence["validation_calls"] == cheap.num_replans_mean_success


def test_a_training_below_the_floor_is_given_up(tmp_path: Path) -> None:
    """A floor above what any choice reaches: the time limit is too short for every controller."""
    factory = EnvFactory("Line-v0", {"max_steps": 40})
    config = replace(CONFIG, total_timesteps=4000, num_validations=40, patience=2, success_floor=1.0, horizons=(1,), playback_rates=(1.0,))
    state = train_horizon("python:test_train_horizon:tired_policy", factory, tmp_path, config, progress_bar=False)
    assert state.finished and state.stopped_early and len(state.rows) == 2 and state.stock["validation_success"] < 1.0


def tired_policy() -> CallablePolicy:
    """Reaches near goals only."""
    plan = line_policy()

    def tired(observation: Any) -> np.ndarray:
        return plan.predict_action_chunk(observation).actions * (observation["state"][1] < 1.9)

    return CallablePolicy(tired, plan.spec)


@pytest.mark.slow
def test_the_command_trains_and_evaluate_takes_what_it_wrote(tmp_path: Path, capsys) -> None:
    out = tmp_path / "horizon"
    subject = ["--policy", POLICY, "--env", "Line-v0", "--workers", "0"]
    command = ["train-horizon", *subject, "--out", str(out), "--timesteps", "64", "--horizons", "2,4,8", "--playback-rates", "1,2"]
    settings = ["--set", "hyperparameters={n_steps: 8, batch_size: 32}", "n_envs=4", "validation_states=2", "num_validations=1"]
    assert main([*command, *settings]) == 0
    printed = capsys.readouterr().out
    assert "stock: success 100.0%" in printed and f"{out} holds the best controller, after 64 of 64 calls" in printed
    assert main([*command, *settings, "--json", "-"]) == 0  # a finished folder only answers
    result = json.loads(capsys.readouterr().out)
    assert result["best"]["timesteps"] == 64 and result["selector"] == str(out)

    evaluate = ["evaluate", *subject, "--episodes", "2"]
    assert main([*evaluate, "--selector", str(out / "model.zip"), "--json", "-"]) == 0
    arm = json.loads(capsys.readouterr().out)
    assert arm["selector"] == load_selector(str(out), POLICY).name == "ppo h=2,4,8 x1,2"
    assert main([*evaluate, "--selector", "fixed:4", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["selector"] == "h=4"
    for wrong in (["--horizon", "4"], ["--playback-rate", "2"]):
        assert main([*evaluate, "--selector", "fixed:4", *wrong]) == 1
        assert "--selector chooses horizon and playback rate itself, got" in capsys.readouterr().err
    assert main([*command, "--algo", "sac"]) == 1
    assert "'sac' takes continuous ones only" in capsys.readouterr().err
    assert load_policy(POLICY).spec.chunk_size == CHUNK_SIZE
