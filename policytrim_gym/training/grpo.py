"""PolicyTrim's two-stage training as a trainer with Stable-Baselines3's manners."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import Logger, configure

from policytrim_gym.chunk import ActionChunk
from policytrim_gym.config import from_mapping, to_mapping
from policytrim_gym.errors import InvalidConfig, InvalidSpec
from policytrim_gym.evaluation.efficiency_report import EfficiencyReport
from policytrim_gym.evaluation.evaluate import Evaluator
from policytrim_gym.policies.checkpoint_facts import CheckpointFacts
from policytrim_gym.policies.model_card import write_facts
from policytrim_gym.policies.proof import utc_date
from policytrim_gym.policy import ChunkPolicy, Observation, TrainableChunkPolicy
from policytrim_gym.rollouts.collector import Rollout
from policytrim_gym.rollouts.env_factory import EnvFactory, EnvLike, as_factory
from policytrim_gym.training.grpo_update import GRPOUpdater
from policytrim_gym.training.origin import Origin
from policytrim_gym.training.sampling_controller import SamplingController
from policytrim_gym.training.stages import group_requests, stage1_advantages, stage1_rollout_windows, stage1_windows, stage2_advantages
from policytrim_gym.training.state_counts import check_num_states
from policytrim_gym.training.train_state import PHASES, SavedState, TrainState, load_state, save_state
from policytrim_gym.training.training_log import iteration_row
from policytrim_gym.training.trim_config import TrimConfig
from policytrim_gym.training.trim_facts import trimmed_facts
from policytrim_gym.training.trim_progress import TrimProgress
from policytrim_gym.training.validation import checkpoint_score, choose_horizon, mean_steps_by_task, validation_row
from policytrim_gym.training.warm_start import num_rollouts, warm_start
from policytrim_gym.training.weight_average import average_into

Callback = Callable[["TrimGRPO"], "bool | None"]
"""Called after every iteration and validation; returning False stops the training, which `learn` can take up again."""

STATE_FILE = "resume/state.pt"
SAVE_EVERY_S = 5.0


class TrimGRPO:
    """Trims a policy: warm start, stage 1 (longer reliable chunks), choice of the horizon, stage 2 (fewer steps).

    Args:
        policy: a TrainableChunkPolicy, trained in place; after `learn` it holds the best weights and names the chosen horizon.
        env: a Gymnasium id, a spec, a function that makes an environment, or an EnvFactory; each worker makes its own.
        config: a TrimConfig; what it leaves to the policy is settled by it, see `TrimConfig.for_policy`.
        run_dir: where TensorBoard events and the state to resume from are written; None writes nothing. A folder with a state goes on
            from it.
        policy_uri: where the policy was loaded from, which a checkpoint names; a folder with the run of another one is refused.

    Raises:
        InvalidSpec: a frozen policy.
        InvalidConfig, InvalidHorizon: a setting that policy or environment rule out, or a folder with another run.
        CorruptCheckpoint: the folder's state is damaged, or of an older version.

    >>> # TrimGRPO(load_policy("runs/base"), "PolicyTrim/MetaWorld-v0").learn(1_000_000, progress_bar=True).save("runs/trimmed")
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        env: EnvLike | EnvFactory,
        config: TrimConfig | None = None,
        run_dir: str | os.PathLike[str] | None = None,
        policy_uri: str | None = None,
    ) -> None:
        if not isinstance(policy, TrainableChunkPolicy):
            raise InvalidSpec(f"TrimGRPO needs a TrainableChunkPolicy, got {type(policy).__name__}; train the horizon of a frozen policy")
        self.policy: TrainableChunkPolicy = policy
        self.config = (config or TrimConfig()).for_policy(policy)
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.state = TrainState(stock_horizon=policy.spec.horizon)
        self._evaluator = Evaluator(env, self.config.num_workers)
        self._check_settings()
        self._origin = Origin.of(self.factory, policy_uri)
        self._progress = TrimProgress(1, self.state, show=False)
        self._updater = GRPOUpdater(policy, self.config)
        self._best_weights: dict[str, Any] = copy.deepcopy(policy.state_dict())
        self._average: dict[str, Any] = copy.deepcopy(policy.state_dict())
        self._stage1_weights: dict[str, Any] = {}
        self._logger: Logger | None = None
        self._last_save = 0.0
        if self.run_dir is not None and (self.run_dir / STATE_FILE).exists():
            self._restore(load_state(self.run_dir / STATE_FILE, self._origin, to_mapping(self.config)))

    @property
    def factory(self) -> EnvFactory:
        """Makes the environment that is trained in."""
        return self._evaluator.collector.factory

    @property
    def windows(self) -> tuple[int, ...]:
        """The execute horizons among which stage 1 ends in a choice."""
        return stage1_windows(self.config, self.state.stock_horizon, self.policy.spec.chunk_size)

    @property
    def num_timesteps(self) -> int:
        """Physical training steps so far."""
        return self.state.num_timesteps

    @property
    def stage1_weights(self) -> dict[str, Any]:
        """The best weights of stage 1, for the ablation; empty before it ends or when it was left out."""
        return self._stage1_weights

    @contextmanager
    def weights(self, weights: dict[str, Any]) -> Iterator[None]:
        """Lends the policy other weights for a `with` block."""
        present = copy.deepcopy(self.policy.state_dict())
        self.policy.load_state_dict(weights)
        try:
            yield
        finally:
            self.policy.load_state_dict(present)

    def best_weights(self) -> AbstractContextManager[None]:
        """Lends the policy the best weights so far for a `with` block."""
        return self.weights(self._best_weights)

    @property
    def logger(self) -> Logger:
        """Stable-Baselines3's logger; writes TensorBoard events below `run_dir`."""
        if self._logger is None:
            self._logger = configure(
                None if self.run_dir is None else str(self.run_dir / "tensorboard"), ["tensorboard"] if self.run_dir else []
            )
        return self._logger

    def learn(self, total_timesteps: int, callback: Callback | Sequence[Callback] | None = None, progress_bar: bool = False) -> TrimGRPO:
        """Trains until `total_timesteps` physical steps have been run in all, or goes on where a stopped run left off.

        Args:
            total_timesteps: budget of both stages and the warm start together; validation is not counted. It is looked at between
                iterations, and each stage has one at least, so a budget that the warm start uses up is exceeded by two iterations.
            callback: one or several functions of the trainer.
            progress_bar: whether to show one.
        """
        if total_timesteps < 1:
            raise InvalidConfig(f"total_timesteps must be at least 1, got {total_timesteps}")
        callbacks = [] if callback is None else [callback] if callable(callback) else list(callback)
        self._progress = TrimProgress(total_timesteps, self.state, show=progress_bar)
        steps = {
            "baseline": self._measure_baseline,
            "warm-start": self._warm_start,
            "stage1": self._iterate,
            "horizon": self._choose_horizon,
            "stage2": self._iterate,
        }
        try:
            while self.state.phase != "done":
                self._progress.begin(self.state.phase)
                started = time.perf_counter()
                row = steps[self.state.phase](total_timesteps)
                self.state.seconds += time.perf_counter() - started
                row.update(stage=row.get("stage", self.state.phase), seconds=self.state.seconds, timesteps=self.num_timesteps)
                self._log(row)
                if any(function(self) is False for function in callbacks):
                    break
            self._save_state()
        finally:
            self._evaluator.close()
            self._progress.close()
        if self.state.phase == "done":
            self.policy.load_state_dict(self._best_weights)
        return self

    def predict(
        self, observation: Observation, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[ActionChunk, None]:
        """Returns the chunk for one observation, in the signature of Stable-Baselines3."""
        return self.policy.predict_action_chunk(observation), None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a checkpoint folder with the policy and its facts, and beside it the state to go on from."""
        self.policy.save_pretrained(str(path))
        write_facts(Path(path), self.facts())
        save_state(Path(path) / STATE_FILE, self._saved_state())

    def facts(self, demonstrations: dict[str, Any] | None = None) -> CheckpointFacts:
        """Returns what a checkpoint of the best weights so far knows beside them.

        Args:
            demonstrations: that the entering policy was cloned from.
        """
        return trimmed_facts(self._evaluator, self.policy.spec, self.config, self.state, self._origin.policy, demonstrations)

    @classmethod
    def load(cls, path: str | os.PathLike[str], env: EnvLike | EnvFactory) -> TrimGRPO:
        """Takes back what `save` wrote; `learn` goes on from there.

        Raises:
            CorruptCheckpoint: the folder is incomplete, truncated or of an older version.
            InvalidConfig: it was trained in another environment.
        """
        from policytrim_gym.policies.loading import load_policy

        policy = load_policy(str(path))
        factory = as_factory(env)
        saved = load_state(Path(path) / STATE_FILE, Origin.of(factory, None))
        if not isinstance(policy, TrainableChunkPolicy):
            raise InvalidSpec(f"{path} holds a {type(policy).__name__}, which cannot be trained")
        trainer = cls(policy, factory, from_mapping(TrimConfig, saved.config))
        trainer._restore(saved)
        return trainer

    def validate(self, execute_horizon: int) -> EfficiencyReport:
        """Evaluates the present weights on the validation states."""
        states = self.config.validation_states
        show = self._progress.rollouts(f"{self.state.phase}: validation h={execute_horizon}", states * len(self._evaluator.tasks))
        return self._evaluator.evaluate(self.policy, execute_horizon, states, split="validation", on_episode=show)

    # One step of each phase. Each returns a row for the log and sets the next phase when it is through.

    def _measure_baseline(self, total_timesteps: int) -> dict[str, Any]:
        """Sets the success floor, and each task's mean steps at the stock horizon."""
        arm = self.validate(self.state.stock_horizon)
        floor = self.config.success_floor
        self.state.success_floor = arm.success_rate if floor is None else floor
        self._set_mean_steps(arm)
        self._enter("warm-start" if self.config.warm_start else self._first_stage())
        return {"stage": "baseline", **validation_row(arm)}

    def _warm_start(self, total_timesteps: int) -> dict[str, Any]:
        assert self.config.warm_start is not None
        config, progress = self.config.warm_start, self._progress
        show_rollout = progress.rollouts("warm-start: rollout", num_rollouts(self.policy, self._evaluator, config), training=True)
        show_step = progress.gradient_steps("warm-start: gradient step", config.gradient_steps)
        summary = warm_start(self.policy, self._evaluator, config, self.config.seed, show_rollout, show_step)
        self.state.num_timesteps += summary["timesteps"]
        arm = self.validate(self.policy.spec.chunk_size)
        self._set_mean_steps(arm)
        is_best = self._remember_if_best(arm)  # stage 1 may not better it
        self._enter(self._first_stage())
        row = {f"warm_start_{key}": value for key, value in summary.items()}
        return {"stage": "warm-start", **row, **validation_row(arm), "is_best": is_best}

    def _iterate(self, total_timesteps: int) -> dict[str, Any]:
        """Runs one iteration of a stage: rollouts, update, and from time to time a validation."""
        stage = self.state.phase
        begin, end = self._stage_range(total_timesteps)
        progress = min(1.0, (self.num_timesteps - begin) / max(1, end - begin))
        self._explore(progress)
        self._updater.set_learning_rate((1 - progress) * self.config.learning_rate + progress * self.config.final_learning_rate)
        rollouts = self._collect()
        self.state.num_timesteps += sum(rollout.steps for rollout in rollouts)
        advantages = (
            stage1_advantages(rollouts, self.policy.spec.chunk_size, self.config)
            if stage == "stage1"
            else stage2_advantages(rollouts, self.state.mean_steps, self.config)
        )
        statistics = self._updater.update(rollouts, advantages, seed=self.state.iteration)
        self.state.iteration += 1
        average_into(self._average, self.policy.state_dict(), self.config.average_decay, self.state.iteration)
        row = iteration_row(rollouts, statistics)
        through = self.num_timesteps >= end
        due = begin + (self.state.num_validations + 1) * (end - begin) / self.config.num_validations
        if through or self.num_timesteps >= due:
            row.update(self._validate_checkpoint())
        if through:
            self._finish_stage(stage)
        return {"stage": stage, **row}

    def _choose_horizon(self, total_timesteps: int) -> dict[str, Any]:
        """Chooses the execute horizon of stage 2 on the validation states: the longest that stage 2 can bring to the floor."""
        arms = [self.validate(window) for window in self.windows]
        chosen = choose_horizon(arms, self.state.success_floor - self.config.success_tolerance - self.config.horizon_tolerance)
        self.state.execute_horizon = chosen.execute_horizon
        self._set_mean_steps(chosen)
        self.state.best_score = []
        self._remember_if_best(chosen)
        self._enter("stage2" if self.config.stage1_fraction < 1 else "done")
        choice = {arm.name: arm.success_rate for arm in arms}
        return {"stage": "horizon", "execute_horizon": chosen.execute_horizon, "horizon_success": choice, **validation_row(chosen)}

    # Parts of the steps.

    def _check_settings(self) -> None:
        """Refuses, before anything is written or run, what policy and environment rule out."""
        _ = self.windows  # checked against the chunk size
        self._explore(0.0)  # a spread that this policy does not have is refused now, not after the warm start
        if self._evaluator.has_initial_states:
            check_num_states("validation_states", self.config.validation_states, "validation")
            if self.config.warm_start is not None:
                check_num_states("warm_start.states_per_task", self.config.warm_start.num_states(self._evaluator), "train")

    def _first_stage(self) -> str:
        return "stage1" if self.config.stage1_fraction > 0 else "horizon"

    def _enter(self, phase: str) -> None:
        assert phase in PHASES
        self.state.phase, self.state.iteration, self.state.num_validations = phase, 0, 0
        self.state.phase_start_timesteps = self.num_timesteps
        self._average = copy.deepcopy(self.policy.state_dict())
        self._updater = GRPOUpdater(self.policy, self.config)
        self._last_save = 0.0  # a change of phase is always saved

    def _stage_range(self, total_timesteps: int) -> tuple[int, int]:
        """Returns at how many timesteps the present stage began and is to end."""
        begin = self.state.phase_start_timesteps
        if self.state.phase == "stage2":
            return begin, total_timesteps
        return begin, begin + int(self.config.stage1_fraction * max(0, total_timesteps - begin))

    def _explore(self, progress: float) -> None:
        """Sets the exploration between its start and its end."""
        exploration = self.config.exploration_at(progress)
        if exploration:
            self.policy.set_exploration(**exploration)

    def _collect(self) -> list[Rollout]:
        is_stage1 = self.state.phase == "stage1"
        windows = stage1_rollout_windows(self.config, self.windows) if is_stage1 else (self.state.execute_horizon,)
        requests = group_requests(
            self._evaluator.tasks,
            self._evaluator.num_training_states,
            windows,
            {task: self.state.step_limits[str(task)] for task in self._evaluator.tasks},
            self.config,
            key=(self.config.seed, PHASES.index(self.state.phase), self.state.iteration),
        )
        return self._evaluator.collector.collect(requests, SamplingController(self.policy), keep_observations=True)

    def _validate_checkpoint(self) -> dict[str, Any]:
        """Validates the averaged weights and remembers them when they are the best so far."""
        self.state.num_validations += 1
        horizon = self.state.execute_horizon or self.policy.spec.chunk_size
        with self.weights(self._average):
            arm = self.validate(horizon)
            is_best = self._remember_if_best(arm)
        return {**validation_row(arm), "is_best": is_best}

    def _remember_if_best(self, arm: EfficiencyReport) -> bool:
        score = list(checkpoint_score(arm, self.state.success_floor - self.config.success_tolerance))
        if self.state.best_score and score >= self.state.best_score:
            return False
        self.state.best_score = score
        self.state.best_validation = {"execute_horizon": arm.execute_horizon, **validation_row(arm)}
        self._best_weights = copy.deepcopy(self.policy.state_dict())
        self._set_policy_horizon(arm.execute_horizon)  # a checkpoint names the horizon that its evidence is for
        return True

    def _finish_stage(self, stage: str) -> None:
        """Takes the stage's best weights and goes on to the next phase."""
        self.policy.load_state_dict(self._best_weights)
        if stage == "stage1":
            self._stage1_weights = copy.deepcopy(self._best_weights)
        self._enter("horizon" if stage == "stage1" else "done")

    def _set_mean_steps(self, arm: EfficiencyReport) -> None:
        means = mean_steps_by_task(arm)
        self.state.mean_steps = means
        self.state.step_limits = {task: max(1, int(self.config.step_limit_factor * mean)) for task, mean in means.items()}

    def _set_policy_horizon(self, execute_horizon: int) -> None:
        set_horizon = getattr(self.policy, "set_execute_horizon", None)
        if set_horizon is not None:
            set_horizon(execute_horizon)

    # Log and state.

    def _log(self, row: dict[str, Any]) -> None:
        self.state.rows.append({**row, "date": utc_date()})
        for key, value in row.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self.logger.record(f"{row['stage']}/{key}", value)
        self.logger.dump(self.num_timesteps)
        self._progress.end(row)
        if time.monotonic() - self._last_save > SAVE_EVERY_S:
            self._save_state()

    def _saved_state(self) -> SavedState:
        tensors = {
            "policy": self.policy.state_dict(),
            "best": self._best_weights,
            "average": self._average,
            "stage1": self._stage1_weights,
            "optimizer": self._updater.optimizer.state_dict(),
        }
        return SavedState(self.state, to_mapping(self.config), self._origin, tensors)

    def _save_state(self) -> None:
        if self.run_dir is not None:
            save_state(self.run_dir / STATE_FILE, self._saved_state())
            self._last_save = time.monotonic()

    def _restore(self, saved: SavedState) -> None:
        self.state, self._origin, tensors = saved.state, saved.origin, saved.tensors
        self.policy.load_state_dict(tensors["policy"])
        self._best_weights, self._average, self._stage1_weights = tensors["best"], tensors["average"], tensors["stage1"]
        self._updater.optimizer.load_state_dict(tensors["optimizer"])
        if self.state.best_validation:
            self._set_policy_horizon(self.state.best_validation["execute_horizon"])
