"""Everything that decides a clone, in one typed configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from policytrim_gym.chunk import check_horizon
from policytrim_gym.config import check_fields
from policytrim_gym.errors import InvalidConfig
from policytrim_gym.policies.pi0_small import SmallPi0Config
from policytrim_gym.policies.tiny_vla.settings import TinyVLASettings
from policytrim_gym.training.state_counts import spread_over_tasks

ALL_DEMOS, LEAST_DEMOS = 240, 40


@dataclass(frozen=True)
class CloneConfig:
    """How a base policy is cloned.

    Args:
        demonstrator: how the scripted expert moves: "slow-uneven" or "full-speed".
        demos_per_task: successful demonstrations of each task; None shares 240 out among the tasks, with at least 40 for each.
        chunk_size: H, actions of one prediction.
        execute_horizon: stock horizon, written into the checkpoint.
        hidden_size, num_layers: of the MLP of model "state".
        gradient_steps: of Adam.
        batch_size: samples in each.
        learning_rate: at the start; falls to 0 along a cosine.
        seed: of demonstrations, weights and batches.
        model: "state", an MLP on the state; "tiny-vla", a small VLA on images and state; or "pi0", a small pi0 on the same.
        tiny_vla: architecture of model "tiny-vla".
        pi0: architecture of model "pi0".

    Raises:
        InvalidConfig, InvalidHorizon: naming the field, the value and what was expected.
    """

    demonstrator: str = "slow-uneven"
    demos_per_task: int | None = None
    chunk_size: int = 32
    execute_horizon: int = 8
    hidden_size: int = 512
    num_layers: int = 3
    gradient_steps: int = 4000
    batch_size: int = 256
    learning_rate: float = 1e-3
    seed: int = 0
    model: Literal["state", "tiny-vla", "pi0"] = "state"
    tiny_vla: TinyVLASettings = TinyVLASettings()
    pi0: SmallPi0Config = SmallPi0Config()

    def __post_init__(self) -> None:
        check_fields(self)
        if self.demos_per_task is not None and self.demos_per_task < 1:
            raise InvalidConfig(f"demos_per_task must be at least 1, got {self.demos_per_task}")
        for name in ("chunk_size", "execute_horizon", "hidden_size", "num_layers", "gradient_steps", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise InvalidConfig(f"learning_rate must be above 0, got {self.learning_rate}")
        check_horizon(self.execute_horizon, self.chunk_size)  # before minutes of demonstrations

    def for_tasks(self, num_tasks: int) -> CloneConfig:
        """Returns the configuration with what it leaves open settled for so many tasks."""
        return replace(self, demos_per_task=spread_over_tasks(self.demos_per_task, ALL_DEMOS, num_tasks, LEAST_DEMOS))
