"""Reads and writes the checkpoint folder of a `Pi0Policy`: what transformers writes, and `interface.json` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from policytrim_gym.config import from_mapping, to_mapping
from policytrim_gym.errors import CorruptCheckpoint, InvalidConfig, InvalidHorizon, InvalidSpec
from policytrim_gym.policies.action_steps import ACTION_STEPS, check_action_steps, with_action_steps
from policytrim_gym.policies.norm_statistics import NormStatistics
from policytrim_gym.policies.pi0 import Pi0Policy
from policytrim_gym.policies.pi0_interface import Pi0Interface
from policytrim_gym.policies.pretrained_folder import CONFIG, one_line, quiet, read_json, read_model, read_tokenizer, write_pretrained

INTERFACE, STATISTICS = "interface.json", "processor_config.json"
STATISTIC_KEYS = ("state_mean", "state_std", "actions_mean", "actions_std")


def save_pi0(policy: Pi0Policy, folder: str) -> None:
    """Writes the checkpoint, each file whole or not at all, the weights last and in one file; adapters are merged into them.

    Raises:
        CannotWrite: the disk is full or not writable; what stood there is untouched.
    """
    horizon = policy.spec.horizon
    write_pretrained(
        Path(folder),
        policy.model,
        policy.tokenizer,
        policy.merged_state(),
        lambda config: with_action_steps(config, horizon),
        {INTERFACE: to_mapping(policy.interface), STATISTICS: _processor_config(policy)},
    )


def load_pi0(folder: str, device: str | None = None) -> Pi0Policy:
    """Reads a checkpoint of `PI0ForConditionalGeneration` with tokenizer, statistics and `interface.json`.

    Weights become float32: the log-probs of one gradient step differ by less than bfloat16 can hold.

    Args:
        folder: of the checkpoint.
        device: where the model runs; None takes a GPU where there is one.

    Raises:
        CorruptCheckpoint: a file is missing, truncated or of another architecture; the message names it.
        MissingExtra: adapters without peft.
    """
    from transformers import PI0ForConditionalGeneration

    path = Path(folder)
    interface = _read_interface(path / INTERFACE)
    state_statistics, action_statistics = _read_statistics(path / STATISTICS)
    config = _read_config(path)
    tokenizer = read_tokenizer(path, "pi0 needs the tokenizer that it was trained with")
    model = read_model(PI0ForConditionalGeneration, path, config)
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        policy = Pi0Policy(model, tokenizer, state_statistics, action_statistics, interface, chosen)
        action_steps = getattr(config, ACTION_STEPS, None)
        if interface.execute_horizon is not None:
            check_action_steps(action_steps, policy.spec.horizon)
        elif action_steps is not None:  # as LeRobot's users leave it
            policy.set_execute_horizon(action_steps)
    except (InvalidSpec, InvalidConfig, InvalidHorizon) as error:
        raise CorruptCheckpoint(f"{path}: its files do not fit together: {error}") from error
    return policy


def _processor_config(policy: Pi0Policy) -> dict[str, Any]:
    """Returns the statistics under the keys of transformers' PI0Processor."""
    both = {"state": policy.state_statistics, "actions": policy.action_statistics}
    statistics = {f"{name}_{what}": list(getattr(of, what)) for name, of in both.items() for what in ("mean", "std")}
    config = policy.model.config
    return {"processor_class": "PI0Processor", "max_state_dim": config.max_state_dim, "chunk_size": config.chunk_size, **statistics}


def _read_interface(path: Path) -> Pi0Interface:
    hint = 'it names the cameras in the order of the training, such as {"cameras": ["front", "wrist"]}'
    try:
        return from_mapping(Pi0Interface, read_json(path, hint))
    except InvalidConfig as error:
        raise CorruptCheckpoint(f"{path}: {error}") from error


def _read_statistics(path: Path) -> tuple[NormStatistics, NormStatistics]:
    hint = f"it holds the statistics that the model was trained with: {', '.join(STATISTIC_KEYS)}"
    values = read_json(path, hint)
    missing = [key for key in STATISTIC_KEYS if values.get(key) is None]
    if missing:
        raise CorruptCheckpoint(f"{path} lacks {', '.join(missing)}: {hint}")
    try:
        state, actions = (NormStatistics(values[f"{name}_mean"], values[f"{name}_std"]) for name in ("state", "actions"))
    except InvalidConfig as error:
        raise CorruptCheckpoint(f"{path}: {error}") from error
    return state, actions


def _read_config(path: Path) -> Any:
    from transformers import PI0Config

    values = read_json(path / CONFIG, "the folder holds no checkpoint")
    if values.get("model_type") != Pi0Policy.model_type:
        raise CorruptCheckpoint(f"{path / CONFIG}: model_type must be 'pi0', got {values.get('model_type')!r}")
    try:
        with quiet():
            return PI0Config.from_pretrained(path, local_files_only=True)
    except Exception as error:  # its validation raises errors of its own kinds
        raise CorruptCheckpoint(f"{path / CONFIG} does not describe a pi0: {one_line(error)}") from error
