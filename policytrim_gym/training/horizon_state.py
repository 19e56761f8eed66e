"""Where the training of a horizon controller stands: everything that a stopped one goes on from, beside its model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policytrim_gym.config import check_fields, from_mapping, to_mapping
from policytrim_gym.differences import first_difference
from policytrim_gym.errors import CorruptCheckpoint, InvalidConfig
from policytrim_gym.files import write_json_atomic
from policytrim_gym.selectors.policy_fingerprint import PolicyFingerprint
from policytrim_gym.training.horizon_config import HorizonTrainingConfig
from policytrim_gym.training.origin import Origin

STATE_FILE = "state.json"
CHANGES_NO_OUTCOME = ("num_workers", "subprocesses")


@dataclass
class HorizonTrainingState:
    """Progress of `train_horizon`.

    Args:
        config: of the training; a folder goes on with the same one only.
        policy: that it trains for.
        env, env_kwargs: where.
        num_timesteps: of the learner so far, each a call of the policy.
        model: file beside this one with the last model; None before the first validation.
        finished: whether the training has ended, at its budget or early.
        stopped_early: whether it gave up below the success floor.
        success_floor: least success on the validation states.
        stock: of the policy at its stock horizon on the validation states: success, steps and calls.
        stock_steps, stock_calls: mean of each task, the bases of the reward.
        best_score: of the best controller, see `checkpoint_score`; empty before the first.
        num_below: validations in a row below the floor.
        rows: the log: a row for each validation.
    """

    config: HorizonTrainingConfig
    policy: PolicyFingerprint
    env: str
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    num_timesteps: int = 0
    model: str | None = None
    finished: bool = False
    stopped_early: bool = False
    success_floor: float = 0.0
    stock: dict[str, Any] = field(default_factory=dict)
    stock_steps: dict[str, float] = field(default_factory=dict)
    stock_calls: dict[str, float] = field(default_factory=dict)
    best_score: tuple[float, ...] = ()
    num_below: int = 0
    rows: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def best(self) -> dict[str, Any] | None:
        """The log's row of the best controller so far; None before the first."""
        return next((row for row in reversed(self.rows) if row["is_best"]), None)

    def save(self, folder: Path) -> None:
        """Writes state.json; raises CannotWrite, and then the old one is untouched."""
        write_json_atomic(folder / STATE_FILE, to_mapping(self))

    @classmethod
    def load(cls, folder: Path) -> HorizonTrainingState | None:
        """Reads state.json; None when there is none.

        Raises:
            CorruptCheckpoint: the file is damaged.
        """
        path = folder / STATE_FILE
        try:
            return from_mapping(cls, json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:  # our own errors of a bad value are ValueErrors
            raise CorruptCheckpoint(f"{path} is not a readable training state: {error}") from error

    def check_same(self, other: HorizonTrainingState, folder: Path) -> None:
        """Raises InvalidConfig, naming the first difference, unless another start asks for the same training."""
        difference = first_difference(self._settings(), other._settings(), CHANGES_NO_OUTCOME)
        difference = self._origin().difference(other._origin()) if difference is None else difference
        if difference is not None:
            raise InvalidConfig(f"{folder} holds a training with {difference}; use another folder")

    def _settings(self) -> dict[str, Any]:
        # Of a policy without weights of its own, the sizes may differ under the same URI.
        return {**to_mapping(self.config), "policy": {**to_mapping(self.policy), "uri": None, "weights_sha256": None}}

    def _origin(self) -> Origin:
        return Origin(self.env, self.env_kwargs, self.policy.uri, self.policy.weights_sha256)
