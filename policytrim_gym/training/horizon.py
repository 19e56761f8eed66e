"""The training of a horizon controller as a run folder: the best controller, its log, and what a stopped run goes on from."""

from __future__ import annotations

import os
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from policytrim_gym.config import dump_yaml
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.evaluation.evaluate import SPLIT_SEEDS, Evaluator
from policytrim_gym.files import write_atomic, write_json_atomic
from policytrim_gym.identity import plain_kwargs
from policytrim_gym.policies.loading import load_policy
from policytrim_gym.policy import ChunkPolicy
from policytrim_gym.replan import HorizonMenu
from policytrim_gym.rollouts.env_factory import EnvFactory
from policytrim_gym.run_folder import check_run_folder
from policytrim_gym.selectors.learned import load_model, write_model
from policytrim_gym.selectors.observation_normalizer import ObservationNormalizer
from policytrim_gym.selectors.policy_fingerprint import PolicyFingerprint
from policytrim_gym.selectors.sb3_algorithms import algorithm_class
from policytrim_gym.selectors.selector_file import SelectorFacts
from policytrim_gym.training.horizon_callbacks import EvaluateEfficiency, KeepBestSelector, Report, ShowProgress, StopBelowFloor
from policytrim_gym.training.horizon_config import HorizonTrainingConfig
from policytrim_gym.training.horizon_envs import make_training_envs
from policytrim_gym.training.horizon_hyperparameters import Hyperparameters
from policytrim_gym.training.horizon_state import STATE_FILE, HorizonTrainingState
from policytrim_gym.training.training_log import validation_words
from policytrim_gym.training.validation import mean_calls_by_task, mean_steps_by_task, validation_row

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

LOG_FILE = "training.json"
RESUME_FOLDER = "resume"
SEEDS_OF_A_SPLIT = SPLIT_SEEDS["validation"] - SPLIT_SEEDS["train"] - 1000


def train_horizon(
    policy_uri: str,
    env: EnvFactory,
    out: str | os.PathLike[str],
    config: HorizonTrainingConfig,
    progress_bar: bool = True,
    report: Report | None = None,
) -> HorizonTrainingState:
    """Trains a controller of a frozen policy's horizon into a run folder, or goes on with the training that the folder holds.

    First the policy is measured at its stock horizon on validation states: that gives the success floor and the bases of the reward. Then
    SB3 trains on training states. At each validation the best controller so far (model.zip and selector.json, for `policytrim evaluate
    --selector`), training.json (the log) and resume/ are written, each file whole or not at all. A folder whose training has ended is
    left as it is. What a stopped run did since its last validation is done again; the replay buffer of DQN and QR-DQN begins empty.

    Args:
        policy_uri: of the policy; `load_policy` reads it.
        env: where it is trained.
        out: the run folder.
        config: of the training; must be the one that a run to go on with was started with.
        progress_bar: whether to show one.
        report: takes one line for each validation, such as `print`.

    Returns:
        What the folder's resume/state.json holds: the stock measurement, the log, whether the training has ended.

    Raises:
        InvalidConfig: the folder holds something else than this training or is the policy's own, the policy never succeeds, or the
            algorithm refuses a hyperparameter.
        InvalidHorizon, InvalidSpec: horizons or playback rates that the policy cannot run.
        CannotWrite: the disk is full or not writable; what was written before is whole.
    """
    folder = Path(out)
    check_run_folder(folder, policy_uri, "horizon training", f"{RESUME_FOLDER}/{STATE_FILE}", HorizonTrainingConfig)
    policy = load_policy(policy_uri)
    HorizonMenu(config.horizons, config.playback_rates, policy.spec)
    Hyperparameters.of(config.algo, config.hyperparameters, config.observation)  # a wrong one must not cost a measurement of the policy
    asked = HorizonTrainingState(config, PolicyFingerprint.of(policy.spec, policy_uri), env.id, plain_kwargs(env.kwargs))
    state = HorizonTrainingState.load(folder / RESUME_FOLDER)
    if state is not None:
        state.check_same(asked, folder)
        state.config, state.policy = config, asked.policy  # with this start's processes, and where the policy lies now
        if state.finished:
            return state
    with Evaluator(env, config.num_workers) as evaluator:
        if state is None:
            state = _measure_stock(asked, policy, evaluator)
        if report is not None:
            report(_beginning(state))
        reward = config.reward(state.stock_steps, state.stock_calls)
        venv = make_training_envs(policy, env, config, reward)
        try:
            _learn(state, folder, venv, policy, evaluator, progress_bar, report)
        finally:
            venv.close()
    return state


def _measure_stock(state: HorizonTrainingState, policy: ChunkPolicy, evaluator: Evaluator) -> HorizonTrainingState:
    """Returns the state with what the policy does alone."""
    config = state.config
    arm = evaluator.evaluate(policy, policy.spec.horizon, config.validation_states, split="validation", seed=config.seed)
    if arm.success_rate == 0:
        raise InvalidConfig(
            f"the policy succeeds in none of {len(arm.episodes)} validation episodes at its stock horizon {policy.spec.horizon}, and a "
            'controller is paid for successes only; does the environment tell them, as info["is_success"] or info["success"]?'
        )
    return replace(
        state,
        stock=validation_row(arm),
        success_floor=config.floor_of(arm.success_rate),
        stock_steps=mean_steps_by_task(arm),
        stock_calls=mean_calls_by_task(arm),
    )


def _learn(
    state: HorizonTrainingState,
    folder: Path,
    venv: VecEnv,
    policy: ChunkPolicy,
    evaluator: Evaluator,
    progress_bar: bool,
    report: Report | None,
) -> None:
    """Runs the rest of the training and keeps the state up to date, in memory and in the folder."""
    config = state.config
    facts = SelectorFacts.of(venv, config.algo, policy_uri=None)
    facts = replace(facts, policy=state.policy, env=state.env, env_kwargs=state.env_kwargs)
    model = _make_model(state, folder, venv)
    if state.model is None:  # from here on the folder stands for these settings, which the algorithm has accepted
        write_atomic(folder / "config.yaml", dump_yaml(config))
        state.save(folder / RESUME_FOLDER)
    best = KeepBestSelector(folder, facts, state.success_floor, state.best_score)
    stop = StopBelowFloor(state.success_floor, config.patience, state.num_below)
    every = ceil(config.total_timesteps / config.num_validations)
    keep = _KeepState(state, folder, best, stop)
    evaluate = EvaluateEfficiency(
        evaluator,
        policy,
        facts,
        every,
        config.validation_states,
        seed=config.seed,
        callback=CallbackList([best, stop, keep]),
        report=report,
    )
    left = config.total_timesteps - state.num_timesteps
    callbacks: list[BaseCallback] = [ShowProgress(), evaluate] if progress_bar else [evaluate]
    model.learn(max(left, 0), callbacks, tb_log_name=config.algo, reset_num_timesteps=False)
    state.finished = True
    state.save(folder / RESUME_FOLDER)


def _make_model(state: HorizonTrainingState, folder: Path, venv: VecEnv) -> BaseAlgorithm:
    """Returns a new model, or the last one of a stopped run."""
    config = state.config
    hyperparameters = Hyperparameters.of(config.algo, config.hyperparameters, config.observation)
    normalized = _normalized(venv) if hyperparameters.normalize else venv
    logs = str(folder / "tensorboard")
    if state.model is None:
        network = "MultiInputPolicy" if config.observation == "dict" else "MlpPolicy"
        algorithm: Any = algorithm_class(config.algo)  # the constructors share these arguments, which their base does not say
        try:
            model: BaseAlgorithm = algorithm(
                network, normalized, seed=config.seed, device="cpu", tensorboard_log=logs, **hyperparameters.arguments
            )
        except (TypeError, ValueError, AssertionError) as error:  # SB3 checks little, and by assertions
            raise InvalidConfig(f"{config.algo} cannot be made with the hyperparameters {hyperparameters.arguments}: {error}") from error
    else:
        archive = folder / RESUME_FOLDER / state.model
        normalizer = ObservationNormalizer.read(archive)
        if normalizer is not None and isinstance(normalized, VecNormalize):
            normalizer.restore(normalized)
        model = load_model(archive, config.algo, env=normalized, tensorboard_log=logs)
        if "learning_starts" in hyperparameters.arguments:
            # The replay buffer is empty again. The archive holds what a start before this one has made of the number.
            model.learning_starts = hyperparameters.arguments["learning_starts"] + state.num_timesteps  # type: ignore[attr-defined]
    # SB3 seeds with the training's own seed, by which an environment without initial states would show the test episodes. A run that
    # goes on must not begin with the same episodes again.
    normalized.seed(SPLIT_SEEDS["train"] + (config.seed * config.n_envs + state.num_timesteps) % SEEDS_OF_A_SPLIT)
    return model


def _normalized(venv: VecEnv) -> VecNormalize:
    """Returns the environments with normalised observations; images stay as they are, or SB3 would no longer know them as such."""
    space = venv.observation_space
    keys = [key for key, box in space.spaces.items() if not is_image_space(box)] if isinstance(space, gym.spaces.Dict) else None
    return VecNormalize(venv, norm_reward=False, norm_obs_keys=keys)


class _KeepState(BaseCallback):
    """Writes the last model and the state after each validation, the state last: it says which model counts."""

    parent: EvaluateEfficiency

    def __init__(self, state: HorizonTrainingState, folder: Path, best: KeepBestSelector, stop: StopBelowFloor) -> None:
        super().__init__()
        self._state, self._folder, self._best, self._stop = state, folder, best, stop

    def _on_step(self) -> bool:
        arm, state, resume = self.parent.arm, self._state, self._folder / RESUME_FOLDER
        assert arm is not None
        row = {"timesteps": self.num_timesteps, **validation_row(arm), "is_best": self._best.best_score != state.best_score}
        old_model = state.model
        state.model = f"model-{self.num_timesteps}-{len(state.rows)}.zip"
        write_model(self.model, resume / state.model)
        state.num_timesteps, state.rows = self.num_timesteps, (*state.rows, row)
        state.best_score, state.num_below = self._best.best_score, self._stop.num_below
        patience = state.config.patience
        state.stopped_early = patience is not None and state.num_below >= patience
        state.save(resume)
        write_json_atomic(self._folder / LOG_FILE, state.rows)
        if old_model is not None:
            (resume / old_model).unlink(missing_ok=True)
        return True


def _beginning(state: HorizonTrainingState) -> str:
    """Returns what is known before the training goes on, in one line."""
    line = f"stock: {validation_words(state.stock)}; success floor {state.success_floor:.1%}"
    return line if state.model is None else f"{line}; going on from {state.num_timesteps} of {state.config.total_timesteps} calls"
