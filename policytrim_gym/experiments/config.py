"""What an experiment is: a base, a trim and the table that compares them, in one typed configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from policytrim_gym.chunk import check_horizon
from policytrim_gym.config import check_fields
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.training.base_policies import MODELS
from policytrim_gym.training.clone_config import CloneConfig
from policytrim_gym.training.state_counts import check_num_states
from policytrim_gym.training.trim_config import TrimConfig

META_WORLD = "policytrim_gym:PolicyTrim/MetaWorld-v0"
ARM = "policytrim_gym:PolicyTrim/Arm-v0"
STATE_TASKS = ("reach-v3", "push-v3", "pick-place-v3", "door-open-v3", "button-press-topdown-v3", "peg-insert-side-v3")

Ablation = Literal["stage 2 only", "no warm start"]


@dataclass(frozen=True)
class ExperimentConfig:
    """Clone, sweep, trim, evaluate, report: everything that decides the outcome.

    Args:
        env: Gymnasium id, with the module that registers it. Its `unwrapped` offers `make_expert`; the report has its `tasks`.
        env_kwargs: of that environment; Meta-World without `tasks` gets six of them.
        tasks: short for `env_kwargs: {tasks: [...]}`; it is moved there, and replaces what is there.
        clone: the base policy.
        trim: the two-stage training; its success floor is set from the sweep, and the exploration that it leaves open is that of the
            base's model.
        total_timesteps: physical training steps of the trim.
        horizons, playback_rates: the untrained settings, each with each.
        delays: inference delays that the trimmed policy is tested at [steps]; its horizon is cut to make room.
        ensemble_horizon: the base asks every so many steps when its chunks are ensembled.
        sweep_states: validation states of each task for the choice of the best untrained setting.
        test_states: states of each task in the final table.
        ablations: further trainings of the same budget.
        transfer_env_kwargs: replaced in `env_kwargs` for an evaluation of stock and trimmed policy in another simulation, on the same test
            states; None leaves it out.
        margin: of the non-inferiority of success.
        num_workers: processes.
        seed: of everything; also the seed of clone and trim.
    """

    env: str = META_WORLD
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] | None = None
    clone: CloneConfig = CloneConfig()
    trim: TrimConfig = field(default_factory=TrimConfig)
    total_timesteps: int = 1_000_000
    horizons: tuple[int, ...] = (8, 16, 24, 32)
    playback_rates: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0)
    delays: tuple[int, ...] = (1, 3)
    ensemble_horizon: int = 4
    sweep_states: int = 40
    test_states: int = 100
    ablations: tuple[Ablation, ...] = ("stage 2 only",)
    transfer_env_kwargs: dict[str, Any] | None = None
    margin: float = 0.03
    num_workers: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        self._fold_tasks()
        object.__setattr__(self, "trim", self.trim.for_policy(MODELS[self.clone.model].explorer(self.clone)))
        self._check_transfer()
        for name in ("total_timesteps", "num_workers"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} must be at least 1, got {getattr(self, name)}")
        self._check_states()
        self._check_horizons()

    def _fold_tasks(self) -> None:
        """Moves `tasks` into `env_kwargs`: a folder of before `env` was a setting has them there, and is the same experiment."""
        tasks = self.tasks
        if tasks is None and self.env == META_WORLD and "tasks" not in self.env_kwargs:
            tasks = STATE_TASKS
        if tasks is not None:
            object.__setattr__(self, "env_kwargs", {**self.env_kwargs, "tasks": list(tasks)})
            object.__setattr__(self, "tasks", None)

    def _check_transfer(self) -> None:
        other = self.transfer_env_kwargs
        if other is not None and {**self.env_kwargs, **other} == self.env_kwargs:
            raise InvalidConfig(f"transfer_env_kwargs must change something in env_kwargs {self.env_kwargs}, got {other}")

    def _check_states(self) -> None:
        check_num_states("sweep_states", self.sweep_states, "validation")
        check_num_states("test_states", self.test_states, "test")
        if self.clone.demos_per_task is not None:
            check_num_states("clone.demos_per_task", self.clone.demos_per_task, "train")
        check_num_states("trim.validation_states", self.trim.validation_states, "validation")
        if self.trim.warm_start is not None and self.trim.warm_start.states_per_task is not None:
            check_num_states("trim.warm_start.states_per_task", self.trim.warm_start.states_per_task, "train")

    def _check_horizons(self) -> None:
        """Refuses before the clone what its chunk size rules out, instead of hours later."""
        chunk_size = self.clone.chunk_size
        check_horizon(self.ensemble_horizon, chunk_size, "ensemble_horizon")
        for name, horizons in (("horizons", self.horizons), ("trim.windows", self.trim.windows or ())):
            for horizon in horizons:
                check_horizon(horizon, chunk_size, name)
        for delay in self.delays:
            if not 0 <= 2 * delay <= chunk_size:
                raise InvalidConfig(f"delays must be in 0..{chunk_size // 2} (half of clone.chunk_size {chunk_size}), got {delay}")
        for rate in self.playback_rates:
            if not 0 < rate < float("inf"):
                raise InvalidConfig(f"playback_rates must be above 0, got {rate}")

    def clone_config(self) -> CloneConfig:
        """Returns the clone's configuration with the experiment's seed."""
        return replace(self.clone, seed=self.seed)

    def trim_config(self, success_floor: float, ablation: Ablation | None = None) -> TrimConfig:
        """Returns the trim's configuration, or that of an ablation.

        Args:
            success_floor: least success on validation states of a checkpoint to keep.
            ablation: None for the full method.
        """
        config = replace(self.trim, seed=self.seed, success_floor=success_floor, num_workers=self.num_workers)
        if ablation == "stage 2 only":
            return replace(config, stage1_fraction=0.0, warm_start=None)
        return replace(config, warm_start=None) if ablation == "no warm start" else config
