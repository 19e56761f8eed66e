"""Where a trim stands: everything that a resumed run needs, in one file."""

from __future__ import annotations

import io
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from policytrim_gym.errors import CorruptCheckpoint, InvalidConfig
from policytrim_gym.files import write_atomic

PHASES = ("baseline", "warm-start", "stage1", "horizon", "stage2", "done")
"""In their order; "horizon" chooses the execute horizon of stage 2 on validation states."""


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


def save_state(path: str | os.PathLike[str], state: TrainState, config: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Writes state, configuration and tensors into one file, whole or not at all."""
    buffer = io.BytesIO()
    torch.save({"state": asdict(state), "config": config, "tensors": tensors}, buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: str | os.PathLike[str], config: dict[str, Any] | None) -> tuple[TrainState, dict[str, Any], dict[str, Any]]:
    """Reads what `save_state` wrote: state, configuration, tensors.

    Args:
        path: of the file.
        config: the configuration that the run is to go on with, or None to take the file's.

    Raises:
        CorruptCheckpoint: not such a file, or truncated.
        InvalidConfig: the file was written under another configuration; the message names the first difference.
    """
    try:
        # weights_only: a state file is data; it must not be able to run code.
        content = torch.load(Path(path), weights_only=True, map_location="cpu")
        state = TrainState(**content["state"])
        saved_config, tensors = content["config"], content["tensors"]
    except FileNotFoundError as error:
        raise CorruptCheckpoint(f"{path} is missing") from error
    except Exception as error:  # torch raises many types for a damaged archive
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptCheckpoint(f"{path} is not a readable training state: {reason}") from error
    if config is not None:
        for key in sorted(set(config) | set(saved_config)):
            if key != "num_workers" and config.get(key) != saved_config.get(key):  # the number of workers changes no outcome
                raise InvalidConfig(
                    f"{path} was written with {key}={saved_config.get(key)!r}, now it is {config.get(key)!r}; use another folder"
                )
    return state, saved_config, tensors
