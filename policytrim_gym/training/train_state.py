"""Where a trim stands: everything that a resumed run needs, in one file."""

from __future__ import annotations

import io
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from policytrim_gym.config import to_mapping
from policytrim_gym.differences import first_difference
from policytrim_gym.errors import CorruptCheckpoint, InvalidConfig
from policytrim_gym.files import write_atomic
from policytrim_gym.training.origin import Origin
from policytrim_gym.training.trim_config import TrimConfig

PHASES = ("baseline", "warm-start", "stage1", "horizon", "stage2", "done")
"""In their order; "horizon" chooses the execute horizon of stage 2 on validation states."""

NO_OUTCOME = ("num_workers", "max_chunks_per_pass")
"""Settings that a run may go on without: they change what it costs, and its outcome by rounding at most."""


@dataclass
class TrainState:
    """Progress of `TrimGRPO`.

    There is no state of random generators in it: every iteration seeds its own from (seed, phase, iteration), so that a run that was
    stopped and started again does what an uninterrupted one does.
    """

    phase: str = "baseline"
    iteration: int = 0  # within the phase
    num_timesteps: int = 0  # physical training steps so far
    phase_start_timesteps: int = 0
    seconds: float = 0.0  # of training so far
    num_validations: int = 0  # within the phase
    stock_horizon: int = 0  # of the policy that entered
    success_floor: float = 0.0
    execute_horizon: int = 0  # of stage 2; 0 before it is chosen
    mean_steps: dict[str, float] = field(default_factory=dict)  # of the policy that entered the stage, task by task
    step_limits: dict[str, int] = field(default_factory=dict)
    best_score: list[float] = field(default_factory=list)  # empty before the first validation; see `checkpoint_score`
    best_validation: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)  # the log


class SavedState(NamedTuple):
    """What a state file holds."""

    state: TrainState
    config: dict[str, Any]
    origin: Origin
    tensors: dict[str, Any]


def save_state(path: str | os.PathLike[str], saved: SavedState) -> None:
    """Writes state, configuration, origin and tensors into one file, whole or not at all."""
    buffer = io.BytesIO()
    content = {"state": asdict(saved.state), "config": saved.config, "origin": to_mapping(saved.origin), "tensors": saved.tensors}
    torch.save(content, buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: str | os.PathLike[str], origin: Origin, config: dict[str, Any] | None = None) -> SavedState:
    """Reads what `save_state` wrote.

    Args:
        path: of the file.
        origin: the policy and environment that the run is to go on with.
        config: the configuration that it is to go on with, or None to take the file's.

    Raises:
        CorruptCheckpoint: not such a file, truncated, or of an older version.
        InvalidConfig: the file was written for another policy or environment, or under another configuration; the message names the
            first difference.
    """
    try:
        # weights_only: a state file is data; it must not be able to run code.
        content = torch.load(Path(path), weights_only=True, map_location="cpu")
        state, saved_config, tensors = TrainState(**content["state"]), content["config"], content["tensors"]
        saved_origin = Origin(**content["origin"]) if "origin" in content else None
    except FileNotFoundError as error:
        raise CorruptCheckpoint(f"{path} is missing") from error
    except Exception as error:  # torch raises many types for a damaged archive, some with a page of advice
        reason = re.split(r"(?<=[.!?])\s|\n", str(error).strip())[0] or type(error).__name__
        raise CorruptCheckpoint(f"{path} is not a readable training state: {reason}") from error
    if saved_origin is None:
        raise CorruptCheckpoint(
            f"{path} is of an older version, which did not note policy and environment, so it cannot be gone on with; use another folder"
        )
    difference = saved_origin.difference(origin)
    if difference is None and config is not None:
        # A run from before a setting existed was made with its default.
        difference = first_difference({**to_mapping(TrimConfig()), **saved_config}, config, ignore=NO_OUTCOME)
    if difference is not None:
        raise InvalidConfig(f"{path} was written with {difference}; use another folder")
    return SavedState(state, saved_config, saved_origin, tensors)
