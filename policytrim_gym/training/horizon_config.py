"""Everything that decides the training of a horizon controller, in one typed configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from policytrim_gym.config import check_fields
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.horizon_observation import ObservationLayout
from policytrim_gym.selectors.sb3_algorithms import check_algorithm
from policytrim_gym.wrappers.trim_reward import BASE_FACTOR, TrimReward


@dataclass(frozen=True)
class HorizonTrainingConfig:
    """Configuration of `train_horizon`. Unknown keys and wrong types are refused.

    Args:
        algo: SB3 algorithm: "ppo", "a2c", "dqn" or "qrdqn".
        total_timesteps: training steps of the learner, each of which is one call of the policy.
        horizons: strictly increasing choices, each in 1..chunk_size [steps].
        playback_rates: strictly increasing choices of at least 1, each with each horizon; above 1 the policy must know its action kinds.
        observation: what the controller sees: "summary" (features and a summary of the chunk), "flat" (features and the chunk),
            "features", or "dict" (all of it, images included).
        beta: weight of the execute horizon in the reward; saved calls are paid by `kappa_calls` already.
        kappa: weight of saved steps.
        lam: weight of the stability penalty; a training state rarely comes twice, so that it has few to compare with.
        kappa_calls: weight of saved calls.
        n_envs: environments side by side; the policy is asked once for all of them.
        validation_states: initial states of each task on which the policy and every controller are measured.
        num_validations: of the controller, evenly spread, the last one at the end.
        success_floor: least success on the validation states of a controller that needs no excuse; None: that of the policy at its stock
            horizon, less `success_tolerance`.
        success_tolerance: how far below the stock success the floor is.
        patience: the training stops after so many validations in a row below the floor; None never does.
        num_workers: rollout processes of the validations; 0 uses the caller's.
        subprocesses: whether each training environment has a process of its own; pays where a step costs more than a message between
            processes, and costs some 300 MB each.
        seed: of the network, the exploration and the environments.
        hyperparameters: of the algorithm, in place of those in its file (`training/hyperparameters/<algo>.yml`).
    """

    algo: str = "ppo"
    total_timesteps: int = 100_000
    horizons: tuple[int, ...] = (2, 4, 8, 16, 32)
    playback_rates: tuple[float, ...] = (1.0,)
    observation: ObservationLayout = "summary"
    beta: float = 0.0
    kappa: float = 0.2
    lam: float = 0.0
    kappa_calls: float = 2.0
    n_envs: int = 16
    validation_states: int = 25
    num_validations: int = 10
    success_floor: float | None = None
    success_tolerance: float = 0.0
    patience: int | None = 5
    num_workers: int = 2
    subprocesses: bool = False
    seed: int = 0
    hyperparameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "algo", check_algorithm(self.algo))
        for name in ("total_timesteps", "n_envs", "validation_states", "num_validations"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("success_tolerance", "num_workers", "seed"):
            self._require(name, getattr(self, name) >= 0, "at least 0")
        self._require("success_floor", self.success_floor is None or 0 <= self.success_floor <= 1, "in 0..1")
        self._require("patience", self.patience is None or self.patience >= 1, "at least 1, or None")
        self.reward({"any": 1.0}, {"any": 1.0})  # the trim reward holds the ranges of its weights

    def reward(self, steps_by_task: Mapping[str, float], calls_by_task: Mapping[str, float]) -> TrimReward:
        """Returns the trim reward; its bases are `BASE_FACTOR` times what the policy itself takes, task by task."""
        return TrimReward(
            beta=self.beta,
            kappa=self.kappa,
            lam=self.lam,
            kappa_calls=self.kappa_calls,
            base_steps={task: BASE_FACTOR * steps for task, steps in steps_by_task.items()},
            base_calls={task: BASE_FACTOR * calls for task, calls in calls_by_task.items()},
        )

    def floor_of(self, stock_success: float) -> float:
        """Returns the least success of a controller that needs no excuse."""
        return self.success_floor if self.success_floor is not None else max(0.0, stock_success - self.success_tolerance)

    def _require(self, name: str, holds: bool, expectation: str) -> None:
        if not holds:
            raise InvalidConfig(f"{name} must be {expectation}, got {getattr(self, name)}")
