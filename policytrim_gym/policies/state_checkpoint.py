"""Reads and writes the checkpoint folder of a `StatePolicy`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from policytrim_gym.errors import CorruptCheckpoint, InvalidSpec
from policytrim_gym.files import write_atomic, write_json_atomic
from policytrim_gym.policies.action_steps import ACTION_STEPS, check_action_steps, with_action_steps
from policytrim_gym.policies.model_card import remove_facts
from policytrim_gym.policies.pretrained_folder import check_finite
from policytrim_gym.policies.state_policy import StatePolicy, StatePolicyConfig
from policytrim_gym.policies.word_tokenizer import WordTokenizer

MODEL_TYPE = "policytrim_state"


def save_state_policy(policy: StatePolicy, folder: str) -> None:
    """Writes config.json, tokenizer.json and model.safetensors, each whole or not at all; the weights come last.

    What a checkpoint that stood there says of other weights, policytrim.json and the model card, goes with them.

    Raises:
        CannotWrite: the disk is full or not writable.
    """
    from safetensors.torch import save

    path = Path(folder)
    config = {"model_type": MODEL_TYPE, **asdict(policy.config), "execute_horizon": policy.spec.horizon}
    write_json_atomic(path / "config.json", with_action_steps(config, policy.spec.horizon))
    write_atomic(path / "tokenizer.json", policy.tokenizer.to_json())
    weights, file = save({key: value.contiguous() for key, value in policy.state_dict().items()}), path / "model.safetensors"
    if not (file.is_file() and file.read_bytes() == weights):
        remove_facts(path)
    write_atomic(file, weights)


def load_state_policy(folder: str) -> StatePolicy:
    """Reads what `save_state_policy` wrote.

    Raises:
        CorruptCheckpoint: a file is missing, truncated, or belongs to another architecture; the message names it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(folder)
    config_values = _read_json(path / "config.json")
    model_type = config_values.pop("model_type", None)
    if model_type != MODEL_TYPE:
        raise CorruptCheckpoint(f"{path / 'config.json'}: model_type must be {MODEL_TYPE!r}, got {model_type!r}")
    try:
        for name in ("action_kinds", "action_origins"):
            if config_values.get(name) is not None:
                config_values[name] = tuple(config_values[name])
        action_steps = config_values.pop(ACTION_STEPS, None)
        config = StatePolicyConfig(**config_values)
        check_action_steps(action_steps, config.execute_horizon)
        policy = StatePolicy(config, WordTokenizer(_read_json(path / "tokenizer.json")["words"]))
    except (TypeError, KeyError, ValueError) as error:
        raise CorruptCheckpoint(f"{path}: config.json or tokenizer.json does not describe a policy: {error}") from error
    weights = path / "model.safetensors"
    try:
        state = load(weights.read_bytes())
        policy.load_state_dict(state)
    except FileNotFoundError as error:
        raise CorruptCheckpoint(f"{weights} is missing") from error
    except (SafetensorError, RuntimeError, InvalidSpec) as error:
        reason = str(error).splitlines()[0]
        raise CorruptCheckpoint(f"{weights} is truncated or belongs to another architecture: {reason}") from error
    check_finite(weights, state)
    return policy


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise CorruptCheckpoint(f"{path} is missing") from error
    except (ValueError, TypeError) as error:
        raise CorruptCheckpoint(f"{path} is not readable JSON: {error}") from error
