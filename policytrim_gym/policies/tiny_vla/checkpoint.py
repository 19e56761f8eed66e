"""Reads and writes the checkpoint folder of a `TinyVLAPolicy`: what transformers writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from policytrim_gym.errors import CorruptCheckpoint, InvalidConfig, InvalidHorizon, InvalidSpec
from policytrim_gym.policies.action_steps import ACTION_STEPS, check_action_steps, with_action_steps
from policytrim_gym.policies.pretrained_folder import CONFIG, one_line, read_json, read_model, read_tokenizer, write_pretrained
from policytrim_gym.policies.tiny_vla.configuration import TinyVLAConfig
from policytrim_gym.policies.tiny_vla.modeling import TinyVLAModel
from policytrim_gym.policies.tiny_vla.policy import TinyVLAPolicy

TOKENIZER_CONFIG = "tokenizer_config.json"


def save_tiny_vla(policy: TinyVLAPolicy, folder: str) -> None:
    """Writes config, tokenizer and weights, each file whole or not at all, the weights last.

    Raises:
        CannotWrite: the disk is full or not writable; what stood there is untouched.
    """
    horizon = policy.spec.horizon
    write_pretrained(
        Path(folder),
        policy.model,
        policy.tokenizer,
        policy.model.state_dict(),
        lambda config: with_action_steps({**config, "execute_horizon": horizon}, horizon),
    )


def load_tiny_vla(folder: str) -> TinyVLAPolicy:
    """Reads what `save_tiny_vla` wrote.

    Raises:
        CorruptCheckpoint: a file is missing, truncated or of another architecture; the message names it.
    """
    path = Path(folder)
    config = _read_config(path)
    tokenizer = read_tokenizer(path, "the policy needs the words that it was trained with")
    if not (path / TOKENIZER_CONFIG).is_file():  # without it the library makes up other special tokens
        raise CorruptCheckpoint(f"{path / TOKENIZER_CONFIG} is missing: it says which tokens pad and stand for unknown words")
    try:
        model = read_model(TinyVLAModel, path, config)
    except CorruptCheckpoint as error:
        raise CorruptCheckpoint(f"{error}; {CONFIG} is read as head: {config.head}, image_size: {config.image_size}") from error
    try:
        return TinyVLAPolicy(model, tokenizer)
    except (InvalidSpec, InvalidConfig) as error:
        raise CorruptCheckpoint(f"{path}: its files do not fit together: {error}") from error


def _read_config(path: Path) -> TinyVLAConfig:
    values: dict[str, Any] = read_json(path / CONFIG, "the folder holds no checkpoint")
    if values.get("model_type") != TinyVLAPolicy.model_type:
        raise CorruptCheckpoint(f"{path / CONFIG}: model_type must be {TinyVLAPolicy.model_type!r}, got {values.get('model_type')!r}")
    missing = sorted(name for name in TinyVLAConfig.__annotations__ if name not in values)
    if missing:
        raise CorruptCheckpoint(f"{path / CONFIG} lacks {', '.join(missing)}: what the weights were trained with cannot be guessed")
    try:
        config = TinyVLAConfig(**values)
        config.check()
        check_action_steps(values.get(ACTION_STEPS), config.execute_horizon)
    except (InvalidConfig, InvalidSpec, InvalidHorizon) as error:
        raise CorruptCheckpoint(f"{path / CONFIG}: {error}") from error
    except Exception as error:  # the library's validation raises errors of its own kinds
        raise CorruptCheckpoint(f"{path / CONFIG} does not describe a tiny VLA: {one_line(error)}") from error
    return config
